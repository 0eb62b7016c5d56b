//! The driver of a VF: another for an application, and the former one back.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use nix::libc;

use super::super::pace::Pace;
use crate::host::sysfs::{Netdevs, Sysfs};
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, PciAddress};
use crate::plan::vf::Binding;

/// How long a driver may take to make its network interface.
const PROBES: Duration = Duration::from_secs(5);

/// Where the files of devices are: our own, and the node's. A container's lack what came after it.
const FILES: [&str; 2] = ["/dev", "/proc/1/root/dev"];

/// Binds a VF to a driver, and makes sure that it is bound.
///
/// The override makes the driver fit a device it does not name, and the kernel probe a VF of which it was told to keep
/// its hands off (`sriov_drivers_autoprobe`).
pub(super) fn bind(sysfs: &Sysfs, vf: PciAddress, driver: &str) -> Outcome<()> {
    if !sysfs.has_driver(driver) {
        return Err(Fault::new(FaultKind::Absent, format!("the kernel has no driver {driver:?}"))
            .remedy(format!("load its module on this node: \"modprobe {driver}\"")));
    }
    sysfs.set_override(vf, Some(driver))?;
    sysfs.unbind(vf)?;
    sysfs.probe(vf)?;
    match sysfs.driver(vf) {
        Some(bound) if bound == driver => Ok(()),
        _ => Err(Fault::new(FaultKind::Kernel, format!("driver {driver:?} does not take VF {vf}"))
            .remedy("see the kernel's log; VFIO needs an IOMMU (intel_iommu=on or amd_iommu=on)")),
    }
}

/// Gives a VF its former driver back, and waits for its network interface if it had one.
///
/// # Errors
/// [`FaultKind::TryLater`] while a process uses the VF, or may: to unbind it would wait for that process, without a limit.
pub(super) fn restore(sysfs: &Sysfs, vf: PciAddress, binding: &Binding) -> Outcome<()> {
    let bound = sysfs.driver(vf);
    if bound == binding.was {
        return sysfs.set_override(vf, binding.was_override.as_deref());
    }
    // Somebody else has bound it to a driver of their own since.
    if bound.as_ref().is_some_and(|bound| *bound != binding.to) {
        return Ok(());
    }
    // Nobody uses what is not bound.
    bound.map_or(Ok(()), |_| is_unused(sysfs, vf, &FILES))?;
    match &binding.was {
        Some(driver) => bind(sysfs, vf, driver)?,
        None => sysfs.unbind(vf)?,
    }
    sysfs.set_override(vf, binding.was_override.as_deref())?;
    let mut pace = Pace::of(PROBES);
    while binding.port.is_some() && !matches!(sysfs.netdevs(vf), Netdevs::Here(_)) {
        if !pace.again() {
            return Err(Fault::new(FaultKind::TimedOut, format!("VF {vf} has no interface after 5 s"))
                .remedy("see the kernel's log for what its driver says"));
        }
    }
    Ok(())
}

/// Whether no process has the VF open through VFIO, by the files of devices in `folders`.
///
/// The kernel lets a group be opened once. A device's own file says nothing when it is opened, so whoever has it is
/// looked for among the processes.
fn is_unused(sysfs: &Sysfs, vf: PciAddress, folders: &[&str]) -> Outcome<()> {
    let used = |path: &str| {
        Err(Fault::new(FaultKind::TryLater, format!("a process still uses VF {vf} ({path})"))
            .remedy(format!("end that process; \"fuser -v {path}\" tells which")))
    };
    for device in sysfs.vfio_devices(vf) {
        let file = format!("vfio/devices/{device}");
        if is_open(&file) {
            return used(&format!("/dev/{file}"));
        }
    }
    let Some((group, noiommu)) = sysfs.iommu_group(vf) else { return Ok(()) };
    let group = format!("{}{group}", if noiommu { "noiommu-" } else { "" });
    if !sysfs.has_vfio_group(&group) {
        return Ok(());
    }
    let path = format!("/dev/vfio/{group}");
    for folder in folders {
        match File::options().read(true).write(true).open(format!("{folder}/vfio/{group}")) {
            Ok(_) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return used(&path),
            Err(_) => {}
        }
    }
    Err(Fault::new(
        FaultKind::TryLater,
        format!("cannot tell whether a process uses VF {vf}: no {path} here"),
    )
    .remedy("let the daemon see the node's processes (hostPID) or its /dev"))
}

/// Whether a process has a file open whose path ends so.
fn is_open(file: &str) -> bool {
    let folders = |path: PathBuf| fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    folders("/proc".into())
        .flat_map(|process| folders(process.path().join("fd")))
        .any(|open| fs::read_link(open.path()).is_ok_and(|path| path.ends_with(file)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_vf_is_unused_only_if_its_group_can_be_opened() {
        let tree = tempfile::tempdir().unwrap();
        let at = |path: &str| tree.path().join(path);
        let vf: PciAddress = "0000:01:10.0".parse().unwrap();
        let (none, dev) = (at("none").display().to_string(), at("dev").display().to_string());
        let kind = |folders: &[&str]| is_unused(&Sysfs::at(tree.path()), vf, folders).map_err(|f| f.kind());
        fs::create_dir_all(at("bus/pci/devices/0000:01:10.0")).unwrap();
        symlink("../../../kernel/iommu_groups/12", at("bus/pci/devices/0000:01:10.0/iommu_group")).unwrap();
        assert_eq!(kind(&[&none]), Ok(()), "it is not driven by VFIO");

        fs::create_dir_all(at("class/vfio/12")).unwrap();
        assert_eq!(kind(&[&none, &dev]), Err(FaultKind::TryLater));
        fs::create_dir_all(at("dev/vfio/devices")).unwrap();
        fs::write(at("dev/vfio/12"), "").unwrap();
        assert_eq!(kind(&[&none, &dev]), Ok(()));

        let name = format!("vfio{}", std::process::id());
        fs::create_dir_all(at("bus/pci/devices/0000:01:10.0/vfio-dev").join(&name)).unwrap();
        let open = File::create(at("dev/vfio/devices").join(&name)).unwrap();
        assert_eq!(kind(&[&none, &dev]), Err(FaultKind::TryLater));
        drop(open);
        assert_eq!(kind(&[&none, &dev]), Ok(()));
    }
}
