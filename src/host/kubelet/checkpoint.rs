//! What the kubelet's device manager keeps in a file, its checkpoint: JSON, replaced as a whole whenever a device is given.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use serde::Deserialize;

use crate::host::file;
use crate::model::device::{DeviceId, Portion};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::pod::PodName;

/// Longest file read, in bytes.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Checkpoint {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    #[serde(default)]
    pod_device_entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "PodUID")]
    pod_uid: String,
    container_name: String,
    resource_name: String,
    #[serde(rename = "DeviceIDs")]
    device_ids: Ids,
    /// The device plugin's answer (`ContainerAllocateResponse` of the device plugin API), in base64.
    #[serde(default)]
    alloc_resp: Option<String>,
}

/// By NUMA node; plain in the files of old kubelets.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    ByNode(HashMap<String, Vec<String>>),
    Plain(Vec<String>),
}

/// What a container is shown of its devices: the field of the device plugin API's answer that matters here.
#[derive(Clone, PartialEq, prost::Message)]
struct Allocated {
    #[prost(map = "string, string", tag = "1")]
    envs: HashMap<String, String>,
}

/// The devices of a pod by container, containers in the order of their names.
///
/// # Errors
/// [`FaultKind::Absent`]: there is no such file, or the pod's UID is not known. Others: it cannot be read.
pub(super) fn portions(file: &Path, pod: &PodName) -> Outcome<Vec<Portion>> {
    let failed = |kind: FaultKind| {
        Fault::new(kind, format!("cannot read the kubelet's checkpoint {file:?}"))
            .remedy("correct \"kubeletDir\"")
    };
    let uid = pod.uid.as_deref().ok_or_else(|| {
        failed(FaultKind::Absent).because("it knows pods by UID, which the runtime does not tell")
    })?;
    let bytes = file::read(file, MAX_BYTES).map_err(|cause| {
        let kind = if cause.kind() == ErrorKind::NotFound { FaultKind::Absent } else { FaultKind::Io };
        failed(kind).because(cause)
    })?;
    of_pod(&bytes, uid).map_err(|cause| failed(FaultKind::Decode).because(cause))
}

fn of_pod(bytes: &[u8], uid: &str) -> Result<Vec<Portion>, serde_json::Error> {
    let checkpoint: Checkpoint = serde_json::from_slice(bytes)?;
    let entries = checkpoint.data.pod_device_entries.unwrap_or_default();
    let mut portions: Vec<Portion> =
        entries.into_iter().filter(|entry| entry.pod_uid == uid).filter_map(Entry::into_portion).collect();
    portions.sort_by(|a, b| (&a.container, &a.resource).cmp(&(&b.container, &b.resource)));
    Ok(portions)
}

impl Entry {
    /// `None` for a resource that cannot be one; devices that cannot be one are passed over.
    fn into_portion(self) -> Option<Portion> {
        let ids = match self.device_ids {
            Ids::ByNode(by_node) => by_node.into_values().flatten().collect(),
            Ids::Plain(ids) => ids,
        };
        let mut devices: Vec<DeviceId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        devices.sort_unstable();
        devices.dedup();
        let shown = self.alloc_resp.as_deref().and_then(|answer| shown(answer, &devices));
        Some(Portion {
            container: self.container_name,
            resource: self.resource_name.parse().ok()?,
            devices,
            shown,
        })
    }
}

/// The devices in the order of the variable that lists just them: its name is up to the device plugin.
fn shown(answer: &str, devices: &[DeviceId]) -> Option<Vec<DeviceId>> {
    let allocated = Allocated::decode(STANDARD.decode(answer).ok()?.as_slice()).ok()?;
    allocated.envs.values().find_map(|value| {
        let listed: Vec<DeviceId> =
            value.split(',').map(|id| id.trim().parse().ok()).collect::<Option<_>>()?;
        let mut sorted = listed.clone();
        sorted.sort_unstable();
        (sorted == devices).then_some(listed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allocated(name: &str, value: &str) -> String {
        let envs = HashMap::from([("OTHER".to_owned(), "x".to_owned()), (name.to_owned(), value.to_owned())]);
        STANDARD.encode(Allocated { envs }.encode_to_vec())
    }

    fn texts(devices: &[DeviceId]) -> Vec<&str> {
        devices.iter().map(DeviceId::as_str).collect()
    }

    #[test]
    fn a_pods_devices_are_those_of_its_uid_in_the_order_its_containers_are_shown() {
        let answer = allocated("PCIDEVICE_INTEL_COM_VF", "0000:03:02.5,0000:03:02.1");
        let text = format!(
            r#"{{"Data":{{"PodDeviceEntries":[
                {{"PodUID":"u1","ContainerName":"b","ResourceName":"intel.com/vf","DeviceIDs":{{"0":["0000:03:02.1"],"1":["0000:03:02.5"]}},"AllocResp":"{answer}"}},
                {{"PodUID":"u2","ContainerName":"b","ResourceName":"intel.com/vf","DeviceIDs":{{"-1":["0000:03:02.7"]}},"AllocResp":""}},
                {{"PodUID":"u1","ContainerName":"a","ResourceName":"intel.com/vf","DeviceIDs":["0000:03:03.0"]}}],
                "RegisteredDevices":{{}}}},"Checksum":1}}"#
        );

        let portions = of_pod(text.as_bytes(), "u1").unwrap();

        assert_eq!(portions.iter().map(|p| p.container.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((texts(&portions[0].devices), &portions[0].shown), (vec!["0000:03:03.0"], &None));
        assert_eq!(texts(portions[1].shown.as_ref().unwrap()), ["0000:03:02.5", "0000:03:02.1"]);
        assert!(of_pod(text.as_bytes(), "u9").unwrap().is_empty());
    }

    #[test]
    fn a_file_without_entries_has_no_devices() {
        assert!(of_pod(br#"{"Data":{"PodDeviceEntries":null}}"#, "u").unwrap().is_empty());
    }

    #[test]
    fn a_variable_that_lists_other_devices_tells_no_order() {
        let devices: Vec<DeviceId> = vec!["1".parse().unwrap(), "2".parse().unwrap()];
        assert_eq!(shown(&allocated("PCIDEVICE_X", "2,3"), &devices), None);
        assert_eq!(shown("no base64", &devices), None);
        assert_eq!(texts(&shown(&allocated("PCIDEVICE_X", "2,1"), &devices).unwrap()), ["2", "1"]);
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(of_pod(&bytes, "u"));
            drop(shown(&STANDARD.encode(&bytes), &[]));
        }
    }
}
