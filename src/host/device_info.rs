//! The files that tell of devices, and what the kernel tells of a PCI function (`Documentation/ABI/testing/sysfs-bus-pci`).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path};

use nix::libc;

use super::file;
use crate::model::device::DeviceId;
use crate::model::device_info::{Device, DeviceInfo, MAX_BYTES, Pci};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::plan::mark;
use crate::plan::step::DeviceInfoStep;

/// Where the kernel tells of PCI functions.
const PCI: &str = "/sys/bus/pci/devices";

/// Gives the attachment's plugins a copy of what the device plugin wrote, completed by what the kernel tells. Where the
/// device plugin wrote nothing, the plugins may.
pub(super) fn prepare(step: &DeviceInfoStep) -> Outcome<()> {
    // What a crash left of an earlier try of this sandbox.
    remove(step)?;
    let Some(source) = &step.source else { return Ok(()) };
    let Some(text) = read(source)? else { return Ok(()) };
    // A file that cannot be read is no reason to keep a pod from its network: it only tells.
    let Ok(info) = DeviceInfo::parse(&text) else { return Ok(()) };
    let text = serde_json::to_vec(&completed(info, Path::new(PCI)))
        .map_err(|cause| failed("write", &step.file, cause.into()))?;
    write(&step.file, &text).map_err(|cause| failed("write", &step.file, cause))
}

/// What is known once the plugins are done: what stands in the attachment's file, else what the kernel tells.
pub(super) fn collect(step: &DeviceInfoStep) -> Option<DeviceInfo> {
    let written = read(&step.file).ok().flatten().and_then(|text| DeviceInfo::parse(&text).ok());
    let info = written.or_else(|| {
        let id = step.device.as_ref()?;
        is_function(id, Path::new(PCI))
            .then(|| DeviceInfo::new(Device::Pci(Pci { pci_address: id.to_string(), ..Pci::default() })))
    })?;
    Some(completed(info, Path::new(PCI)))
}

/// One description out of what stands in the file and what a Kind has learnt: what the file leaves open is filled in.
pub(super) fn joined(written: Option<DeviceInfo>, learnt: Option<DeviceInfo>) -> Option<DeviceInfo> {
    match (written, learnt) {
        (Some(mut written), Some(learnt)) => {
            if let (Device::Pci(pci), Device::Pci(more)) = (&mut written.device, learnt.device) {
                fill(&mut pci.pf_pci_address, || Some(more.pf_pci_address));
                fill(&mut pci.rdma_device, || Some(more.rdma_device));
                fill(&mut pci.representor_device, || Some(more.representor_device));
            }
            Some(written)
        }
        (written, learnt) => written.or(learnt),
    }
}

/// Removes the attachment's file.
pub(super) fn remove(step: &DeviceInfoStep) -> Outcome<()> {
    file::gone(fs::remove_file(&step.file)).map_err(|cause| failed("remove", &step.file, cause))
}

/// The description with what it leaves open, as far as the kernel knows it.
fn completed(mut info: DeviceInfo, devices: &Path) -> DeviceInfo {
    match &mut info.device {
        Device::Pci(pci) => {
            fill(&mut pci.pf_pci_address, || physical(devices, &pci.pci_address));
            fill(&mut pci.rdma_device, || rdma(devices, &pci.pci_address));
        }
        Device::Vdpa(vdpa) => fill(&mut vdpa.pf_pci_address, || physical(devices, &vdpa.pci_address)),
        Device::VhostUser(_) | Device::Memif(_) => {}
    }
    info
}

fn fill(field: &mut String, known: impl FnOnce() -> Option<String>) {
    if field.is_empty() {
        *field = known().unwrap_or_default();
    }
}

/// Whether a device is a PCI function of this node.
fn is_function(id: &DeviceId, devices: &Path) -> bool {
    function(devices, id.as_str()).is_some_and(|path| path.exists())
}

/// The folder of a function. An address is one plain component of a path.
fn function(devices: &Path, address: &str) -> Option<std::path::PathBuf> {
    let mut parts = Path::new(address).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    plain.then(|| devices.join(address))
}

fn physical(devices: &Path, address: &str) -> Option<String> {
    let link = fs::read_link(function(devices, address)?.join("physfn")).ok()?;
    link.file_name()?.to_str().map(str::to_owned)
}

/// The RDMA devices of a function; several with commas between them, as device plugins write them.
fn rdma(devices: &Path, address: &str) -> Option<String> {
    let listing = fs::read_dir(function(devices, address)?.join("infiniband")).ok()?;
    let mut names: Vec<String> =
        listing.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).take(16).collect();
    names.sort_unstable();
    Some(names.join(","))
}

/// The text of a plain file, bounded; `None` if there is none.
fn read(path: &Path) -> Outcome<Option<Vec<u8>>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(cause) => return Err(failed("read", path, cause)),
    };
    let mut text = Vec::new();
    let done = file.take(MAX_BYTES as u64 + 1).read_to_end(&mut text);
    done.map(|_| Some(text)).map_err(|cause| failed("read", path, cause))
}

/// Writes a file beside its place and moves it there: whoever reads sees all of it.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    // A dot more may be one too many for a name.
    let young = folder.join(format!(".{}", mark::digest(&name.to_string_lossy())));
    file::put(&young, path, 0o444, text)
}

fn failed(verb: &str, path: &Path, cause: io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot {verb} what is known of the device, {path:?}"))
        .because(cause)
        .remedy("make its directory accessible, or set \"deviceInfoDir\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    const WRITTEN: &str = r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:ff:1f.7"}}"#;

    fn step(folder: &Path) -> DeviceInfoStep {
        DeviceInfoStep {
            file: folder.join("cni/ns-net-c1_net1"),
            source: Some(folder.join("dp/intel.com-vf-0000:ff:1f.7-device.json")),
            device: Some("0000:ff:1f.7".parse().unwrap()),
        }
    }

    fn device_plugin_wrote(step: &DeviceInfoStep, text: &str) {
        let path = step.source.as_ref().unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_write_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // What cannot be replaced by a file.
        let path = dir.path().join("n".repeat(255));
        fs::create_dir(&path).unwrap();

        write(&path, b"{}").unwrap_err();

        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::remove_dir(&path).unwrap();
        write(&path, b"{}").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}");
    }

    #[test]
    fn what_a_kind_has_learnt_fills_what_the_file_leaves_open() {
        let pci = |vhost_net: &str, representor_device: &str| {
            let (vhost_net, representor_device) = (vhost_net.to_owned(), representor_device.to_owned());
            DeviceInfo::new(Device::Pci(Pci { vhost_net, representor_device, ..Pci::default() }))
        };
        let (written, learnt) = (pci("/dev/vhost-net", ""), pci("", "rep3"));

        assert_eq!(joined(Some(written.clone()), Some(learnt.clone())), Some(pci("/dev/vhost-net", "rep3")));
        assert_eq!(joined(Some(written.clone()), None), Some(written));
        assert_eq!(joined(None, Some(learnt.clone())), Some(learnt));
    }

    #[test]
    fn what_the_device_plugin_wrote_is_the_attachments_until_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let step = step(dir.path());
        device_plugin_wrote(&step, WRITTEN);

        prepare(&step).unwrap();
        prepare(&step).unwrap();

        assert_eq!(fs::read_to_string(&step.file).unwrap(), WRITTEN);
        assert_eq!(collect(&step).unwrap(), DeviceInfo::parse(WRITTEN.as_bytes()).unwrap());
        assert_eq!(fs::read_dir(dir.path().join("cni")).unwrap().count(), 1, "nothing stands beside it");
        remove(&step).unwrap();
        remove(&step).unwrap();
        assert!(collect(&step).is_none());
        assert!(step.source.unwrap().exists(), "the device plugin's own stays");
    }

    #[test]
    fn a_plugin_may_write_the_file_itself() {
        let dir = tempfile::tempdir().unwrap();
        let step = step(dir.path());
        prepare(&step).unwrap();
        fs::create_dir_all(dir.path().join("cni")).unwrap();
        let text = r#"{"type":"vhost-user","version":"1.1.0","vhost-user":{"mode":"client","path":"/x"}}"#;

        fs::write(&step.file, text).unwrap();

        assert_eq!(collect(&step).unwrap(), DeviceInfo::parse(text.as_bytes()).unwrap());
    }

    #[test]
    fn what_cannot_be_read_tells_nothing_and_keeps_nobody_from_the_network() {
        let dir = tempfile::tempdir().unwrap();
        let step = step(dir.path());
        for text in ["", "{", "[]", &"x".repeat(MAX_BYTES + 2)] {
            device_plugin_wrote(&step, text);
            prepare(&step).unwrap();
            assert!(!step.file.exists() && collect(&step).is_none(), "{:.20}", text);
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let step = step(dir.path());
        let secret = dir.path().join("secret");
        fs::write(&secret, WRITTEN).unwrap();
        fs::create_dir_all(dir.path().join("cni")).unwrap();
        symlink(&secret, &step.file).unwrap();

        assert!(collect(&step).is_none());
        device_plugin_wrote(&step, WRITTEN);
        prepare(&step).unwrap();

        assert!(fs::symlink_metadata(&step.file).unwrap().is_file());
        assert_eq!(fs::read_to_string(secret).unwrap(), WRITTEN);
    }

    #[test]
    fn the_kernel_completes_what_was_left_open() {
        let dir = tempfile::tempdir().unwrap();
        let function: PathBuf = dir.path().join("0000:03:02.1");
        fs::create_dir_all(function.join("infiniband/mlx5_3")).unwrap();
        symlink("../0000:03:00.0", function.join("physfn")).unwrap();
        let pci = |text: &str| match completed(DeviceInfo::parse(text.as_bytes()).unwrap(), dir.path()).device
        {
            Device::Pci(pci) => (pci.pf_pci_address, pci.rdma_device),
            Device::Vdpa(_) | Device::VhostUser(_) | Device::Memif(_) => unreachable!(),
        };

        let told = r#"{"type":"pci","pci":{"pci-address":"0000:03:02.1"}}"#;
        assert_eq!(pci(told), ("0000:03:00.0".into(), "mlx5_3".into()));
        let own = r#"{"type":"pci","pci":{"pci-address":"0000:03:02.1","rdma-device":"rdma0"}}"#;
        assert_eq!(pci(own).1, "rdma0");
        let hostile = r#"{"type":"pci","pci":{"pci-address":"../0000:03:02.1"}}"#;
        assert_eq!(pci(hostile), (String::new(), String::new()));
    }
}
