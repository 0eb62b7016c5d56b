//! Devices that the kubelet gave a pod: which there are, and in what order they are handed to its networks.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKind};
use super::ids::checked_text;

/// Longest name of a device or a resource, in bytes: both become parts of file names.
pub const MAX_NAME: usize = 128;

checked_text!(
    /// A device's name, as its device plugin chose it; of an SR-IOV virtual function its PCI address,
    /// `0000:03:02.1`. 1 to 128 bytes without control characters.
    DeviceId,
    check_device
);

checked_text!(
    /// The name of a resource that nodes offer, `intel.com/sriov_netdevice`; of a claim of Dynamic Resource Allocation,
    /// what its device's attribute says. 1 to 128 bytes without control characters.
    ResourceName,
    check_resource
);

fn check_device(text: &str) -> Result<(), Fault> {
    check("device", text)
}

fn check_resource(text: &str) -> Result<(), Fault> {
    check("resource", text)
}

fn check(what: &str, text: &str) -> Result<(), Fault> {
    let wrong = |how: &str| {
        let shown: String = text.chars().take(40).collect();
        Err(Fault::new(FaultKind::Config, format!("{what} name {shown:?} {how}"))
            .remedy(format!("give 1 to {MAX_NAME} printable bytes")))
    };
    if text.is_empty() {
        wrong("is empty")
    } else if text.len() > MAX_NAME {
        wrong(&format!("is longer than {MAX_NAME} bytes"))
    } else if text.chars().any(char::is_control) {
        wrong("has control characters")
    } else {
        Ok(())
    }
}

/// The device that an attachment is made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub id: DeviceId,
    /// The resource of which the kubelet gave it; `None` if the pod named it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceName>,
}

/// The devices of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allotment {
    /// The resource.
    pub resource: ResourceName,
    /// Its devices, in the order in which they are handed out.
    pub devices: Vec<DeviceId>,
}

/// The devices of one resource that one container of a pod was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    /// The container's name.
    pub container: String,
    /// The resource.
    pub resource: ResourceName,
    /// The devices, in no particular order.
    pub devices: Vec<DeviceId>,
    /// The same in the order in which the container is shown them (`PCIDEVICE_…`), where that is known.
    pub shown: Option<Vec<DeviceId>>,
}

impl Portion {
    /// Adds devices to the portion of a container and a resource, which is made if there is none.
    pub fn add(
        portions: &mut Vec<Self>,
        container: &str,
        resource: &ResourceName,
        devices: impl IntoIterator<Item = DeviceId>,
    ) {
        let same = |one: &&mut Self| one.container == container && one.resource == *resource;
        match portions.iter_mut().find(same) {
            Some(portion) => portion.devices.extend(devices),
            None => portions.push(Self {
                container: container.to_owned(),
                resource: resource.clone(),
                devices: devices.into_iter().collect(),
                shown: None,
            }),
        }
    }
}

/// A device that a container has of a claim (Dynamic Resource Allocation), by its driver's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDevice {
    /// The container's name.
    pub container: String,
    /// The driver.
    pub driver: String,
    /// The driver's pool it is of.
    pub pool: String,
    /// Its name in the pool.
    pub device: String,
}

impl fmt::Display for ClaimedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.driver, self.pool, self.device)
    }
}

/// What a driver publishes of a device that can be a network's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedDevice {
    /// The driver's pool it is of.
    pub pool: String,
    /// Its name in the pool.
    pub device: String,
    /// The resource that networks name.
    pub resource: ResourceName,
    /// The name by which plugins know it.
    pub id: DeviceId,
}

/// All devices of a pod, as its kubelet tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodDevices {
    allotments: Vec<Allotment>,
    claimed: Vec<ClaimedDevice>,
}

impl PodDevices {
    /// Adds devices behind those that are there already. One that is told twice, as for each of its NUMA nodes, counts
    /// once.
    pub fn add(&mut self, resource: &ResourceName, devices: impl IntoIterator<Item = DeviceId>) {
        let at = self.allotments.iter().position(|held| held.resource == *resource).unwrap_or_else(|| {
            self.allotments.push(Allotment { resource: resource.clone(), devices: Vec::new() });
            self.allotments.len() - 1
        });
        let Some(held) = self.allotments.get_mut(at) else { return };
        for device in devices {
            if !held.devices.contains(&device) {
                held.devices.push(device);
            }
        }
    }

    /// The devices of a pod by its containers, in the containers' order. Within a container the order is the one it is
    /// shown, else that of the devices' names: the same at every try.
    pub fn of(portions: Vec<Portion>) -> Self {
        let mut all = Self::default();
        all.add_portions(portions);
        all
    }

    /// The same devices, and some of its claims, of which no resource is known yet. Several containers may have one claim.
    #[must_use]
    pub fn with_claimed(mut self, claimed: impl IntoIterator<Item = ClaimedDevice>) -> Self {
        self.claimed.extend(claimed);
        self
    }

    /// The devices of its claims of which no resource is known.
    pub fn claimed(&self) -> &[ClaimedDevice] {
        &self.claimed
    }

    /// Whose devices these are.
    pub fn drivers(&self) -> Vec<String> {
        let drivers: BTreeSet<&String> = self.claimed.iter().map(|device| &device.driver).collect();
        drivers.into_iter().cloned().collect()
    }

    /// Adds the devices of its claims that a driver publishes as some of a resource, in the order of [`PodDevices::of`].
    pub fn learn(&mut self, driver: &str, published: &[PublishedDevice]) {
        let mut portions: Vec<Portion> = Vec::new();
        self.claimed.retain(|claimed| {
            let same = |one: &&PublishedDevice| (&one.pool, &one.device) == (&claimed.pool, &claimed.device);
            let Some(known) = published.iter().find(same).filter(|_| claimed.driver == driver) else {
                return true;
            };
            Portion::add(&mut portions, &claimed.container, &known.resource, [known.id.clone()]);
            false
        });
        self.add_portions(portions);
    }

    fn add_portions(&mut self, portions: Vec<Portion>) {
        for Portion { resource, mut devices, shown, .. } in portions {
            devices.sort_unstable();
            devices.dedup();
            let same = |shown: &Vec<DeviceId>| {
                let mut sorted = shown.clone();
                sorted.sort_unstable();
                sorted == devices
            };
            let ordered = shown.filter(same);
            self.add(&resource, ordered.unwrap_or(devices));
        }
    }

    /// The devices of a resource, in order.
    pub fn devices(&self, resource: &ResourceName) -> &[DeviceId] {
        self.allotments
            .iter()
            .find(|held| held.resource == *resource)
            .map_or(&[], |held| held.devices.as_slice())
    }

    /// The same without some.
    #[must_use]
    pub fn without(mut self, others: &[DeviceId]) -> Self {
        self.allotments.iter_mut().for_each(|held| held.devices.retain(|id| !others.contains(id)));
        self
    }

    /// All of them.
    pub fn all(&self) -> &[Allotment] {
        &self.allotments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_told_for_each_of_its_numa_nodes_is_one_device() {
        let (resource, other): (ResourceName, ResourceName) =
            ("intel.com/vf".parse().unwrap(), "x/y".parse().unwrap());
        let ids = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<DeviceId>>();
        let mut devices = PodDevices::default();

        devices.add(&resource, ids(&["b", "a"]));
        devices.add(&resource, ids(&["a", "c"]));

        assert_eq!(devices.devices(&resource), ids(&["b", "a", "c"]));
        assert!(devices.devices(&other).is_empty());
    }

    #[test]
    fn containers_get_their_devices_in_the_order_they_are_shown() {
        let resource: ResourceName = "intel.com/vf".parse().unwrap();
        let ids = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<DeviceId>>();
        let portion = |container: &str, devices: &[&str], shown: Option<&[&str]>| Portion {
            container: container.to_owned(),
            resource: resource.clone(),
            devices: ids(devices),
            shown: shown.map(ids),
        };

        let all = PodDevices::of(vec![
            portion("first", &["5", "3"], Some(&["5", "3"])),
            portion("second", &["9", "1", "1"], None),
            portion("third", &["8", "7"], Some(&["8", "2"])),
        ]);

        assert_eq!(all.devices(&resource), ids(&["5", "3", "1", "9", "7", "8"]));
    }

    #[test]
    fn devices_of_claims_count_once_their_driver_says_what_they_are() {
        let resource: ResourceName = "intel.com/vf".parse().unwrap();
        let claimed = |container: &str, driver: &str, device: &str| ClaimedDevice {
            container: container.to_owned(),
            driver: driver.to_owned(),
            pool: "node".to_owned(),
            device: device.to_owned(),
        };
        let published = |device: &str, id: &str| PublishedDevice {
            pool: "node".to_owned(),
            device: device.to_owned(),
            resource: resource.clone(),
            id: id.parse().unwrap(),
        };
        let mut all = PodDevices::default().with_claimed(vec![
            claimed("second", "nic", "d3"),
            claimed("second", "nic", "d2"),
            claimed("first", "nic", "d1"),
            claimed("first", "gpu", "d1"),
        ]);
        all.add(&resource, ["0".parse().unwrap()]);

        assert_eq!(all.drivers(), ["gpu", "nic"]);
        all.learn("nic", &[published("d1", "1"), published("d2", "2"), published("d3", "3")]);

        let ids: Vec<&str> = all.devices(&resource).iter().map(DeviceId::as_str).collect();
        assert_eq!(ids, ["0", "2", "3", "1"]);
        assert_eq!(all.claimed(), [claimed("first", "gpu", "d1")]);
    }

    #[test]
    fn names_that_cannot_be_parts_of_file_names_are_refused() {
        for text in ["", "a\nb", &"x".repeat(MAX_NAME + 1)] {
            assert!(text.parse::<DeviceId>().is_err() && text.parse::<ResourceName>().is_err(), "{text:?}");
        }
    }
}
