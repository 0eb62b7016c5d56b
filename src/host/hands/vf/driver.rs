//! The driver of a VF: another for an application, and the former one back.

use std::fs::File;
use std::time::Duration;

use nix::libc;

use super::pace::Pace;
use crate::host::sysfs::{Netdevs, Sysfs};
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, PciAddress};
use crate::plan::vf::Binding;

/// How long a driver may take to make its network interface.
const PROBES: Duration = Duration::from_secs(5);

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
/// [`FaultKind::TryLater`] while a process uses the VF: to unbind it would wait for that process, without a limit.
pub(super) fn restore(sysfs: &Sysfs, vf: PciAddress, binding: &Binding) -> Outcome<()> {
    let bound = sysfs.driver(vf);
    if bound == binding.was {
        return sysfs.set_override(vf, binding.was_override.as_deref());
    }
    // Somebody else has bound it to a driver of their own since.
    if bound.as_ref().is_some_and(|bound| *bound != binding.to) {
        return Ok(());
    }
    is_unused(sysfs, vf)?;
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

/// Whether no process has the VF open through VFIO: a group can be opened once.
fn is_unused(sysfs: &Sysfs, vf: PciAddress) -> Outcome<()> {
    let Some((group, noiommu)) = sysfs.iommu_group(vf) else { return Ok(()) };
    let path = format!("/dev/vfio/{}{group}", if noiommu { "noiommu-" } else { "" });
    match File::options().read(true).write(true).open(&path) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            Err(Fault::new(FaultKind::TryLater, format!("a process still uses VF {vf} ({path})"))
                .remedy(format!("end that process; \"fuser -v {path}\" tells which")))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
