//! What is told of the device behind an interface (Network Plumbing Working Group, "Device Information Specification"
//! 1.1.0). Device plugins and CNI plugins write it to files; the pod finds it in its network status.

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKind, Outcome};

/// The version of the specification written.
pub const VERSION: &str = "1.1.0";

/// Longest text read, in bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// A device, with the version its description is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct DeviceInfo {
    /// The version of the specification, as its writer has it.
    pub version: String,
    /// The device.
    pub device: Device,
}

/// A device, by its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// A PCI function.
    Pci(Pci),
    /// A vDPA device.
    Vdpa(Vdpa),
    /// A vhost-user socket.
    VhostUser(VhostUser),
    /// A shared memory interface.
    Memif(Memif),
}

/// A PCI function. Addresses are written `dddd:bb:dd.f`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Pci {
    /// Its address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pci_address: String,
    /// Path of the vhost-net device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vhost_net: String,
    /// Name of the RDMA device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rdma_device: String,
    /// Address of the physical function.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pf_pci_address: String,
    /// Name of the representor.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub representor_device: String,
}

/// A vDPA device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Vdpa {
    /// Its parent on the vDPA bus.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub parent_device: String,
    /// Its driver: `vhost` or `virtio`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Path of its device file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Address of the PCI function it is made of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pci_address: String,
    /// Address of the physical function.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pf_pci_address: String,
    /// Name of the representor.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub representor_device: String,
}

/// A vhost-user socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VhostUser {
    /// Which end the pod is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<VhostUserMode>,
    /// Path of the socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// Which end of a vhost-user socket the pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VhostUserMode {
    /// It connects.
    Client,
    /// It listens.
    Server,
}

/// A shared memory interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memif {
    /// Which end the pod is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<MemifRole>,
    /// Path of the socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<MemifMode>,
}

/// Which end of a shared memory interface the pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemifRole {
    /// The one that listens and owns the memory's layout.
    Master,
    /// The one that connects.
    Slave,
}

/// What a shared memory interface carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemifMode {
    /// Ethernet frames.
    Ethernet,
    /// IP packets.
    Ip,
    /// Whatever is punted.
    #[serde(rename = "inject-punt", alias = "punt")]
    Punt,
}

impl DeviceInfo {
    /// A description in the version written.
    pub fn new(device: Device) -> Self {
        Self { version: VERSION.to_owned(), device }
    }

    /// Reads the text of a file; keys that are not known are passed over.
    ///
    /// # Errors
    /// [`FaultKind::Decode`]: too long, no JSON, or of a type that the specification does not have.
    pub fn parse(bytes: &[u8]) -> Outcome<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(Fault::new(
                FaultKind::Decode,
                format!("the device information is longer than {MAX_BYTES} bytes"),
            ));
        }
        serde_json::from_slice(bytes).map_err(|cause| {
            Fault::new(FaultKind::Decode, "cannot read the device information")
                .because(cause)
                .remedy("see which device plugin or CNI plugin wrote it")
        })
    }
}

/// As it is written: a type, and beside it the object of that type.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Wire {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pci: Option<Pci>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vdpa: Option<Vdpa>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost_user: Option<VhostUser>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memif: Option<Memif>,
}

impl TryFrom<Wire> for DeviceInfo {
    type Error = Fault;

    fn try_from(wire: Wire) -> Outcome<Self> {
        let Wire { kind, version, pci, vdpa, vhost_user, memif } = wire;
        let device = match kind.as_str() {
            "pci" => Device::Pci(pci.unwrap_or_default()),
            "vdpa" => Device::Vdpa(vdpa.unwrap_or_default()),
            "vhost-user" => Device::VhostUser(vhost_user.unwrap_or_default()),
            "memif" => Device::Memif(memif.unwrap_or_default()),
            other => {
                return Err(Fault::new(FaultKind::Decode, format!("\"type\" is {other:?}"))
                    .remedy("use \"pci\", \"vdpa\", \"vhost-user\" or \"memif\""));
            }
        };
        Ok(Self { version, device })
    }
}

impl From<DeviceInfo> for Wire {
    fn from(info: DeviceInfo) -> Self {
        let DeviceInfo { version, device } = info;
        let of = |kind: &str| Self { kind: kind.to_owned(), version, ..Self::default() };
        match device {
            Device::Pci(pci) => Self { pci: Some(pci), ..of("pci") },
            Device::Vdpa(vdpa) => Self { vdpa: Some(vdpa), ..of("vdpa") },
            Device::VhostUser(socket) => Self { vhost_user: Some(socket), ..of("vhost-user") },
            Device::Memif(memif) => Self { memif: Some(memif), ..of("memif") },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_and_written_to_the_letter() {
        for text in [
            r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:18:02.5","vhost-net":"/dev/vhost-net","rdma-device":"mlx5_3","pf-pci-address":"0000:18:00.0","representor-device":"eth3"}}"#,
            r#"{"type":"vdpa","version":"1.0.0","vdpa":{"parent-device":"vdpa0","driver":"vhost","path":"/dev/vhost-vdpa-0","pci-address":"0000:18:02.5","pf-pci-address":"0000:18:00.0","representor-device":"eth3"}}"#,
            r#"{"type":"vhost-user","version":"1.1.0","vhost-user":{"mode":"client","path":"/run/vhost/a.sock"}}"#,
            r#"{"type":"memif","version":"1.1.0","memif":{"role":"slave","path":"/run/memif.sock","mode":"ethernet"}}"#,
        ] {
            let info = DeviceInfo::parse(text.as_bytes()).unwrap();
            assert_eq!(serde_json::to_string(&info).unwrap(), text);
        }
    }

    #[test]
    fn what_writers_leave_out_or_add_does_not_matter() {
        let text = br#"{"type":"pci","vendor":{"x":1},"pci":{"pci-address":"0000:18:02.5","new":[]}}"#;
        let info = DeviceInfo::parse(text).unwrap();

        let pci = Pci { pci_address: "0000:18:02.5".to_owned(), ..Pci::default() };
        assert_eq!(info, DeviceInfo { version: String::new(), device: Device::Pci(pci) });
        let bare = DeviceInfo::parse(br#"{"type":"memif"}"#).unwrap();
        assert_eq!(bare.device, Device::Memif(Memif::default()));
    }

    #[test]
    fn what_is_no_device_is_refused() {
        let long = format!(r#"{{"type":"pci","x":"{}"}}"#, "y".repeat(MAX_BYTES));
        for text in
            ["", "[]", "{}", r#"{"type":"usb"}"#, r#"{"type":"vhost-user","vhost-user":{"mode":"x"}}"#, &long]
        {
            let fault = DeviceInfo::parse(text.as_bytes()).unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Decode, "{fault}");
        }
    }
}
