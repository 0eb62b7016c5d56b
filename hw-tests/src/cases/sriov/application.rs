//! VFs that an application drives.

use std::fs::File;

use serde_json::json;

use super::{NEEDS, Stage};
use crate::catalogue::{Case, HoldsFor};
use crate::command::Program;
use crate::need::Need;
use crate::plugin::{IFNAME, Subject, addresses_in};
use crate::trouble::{Outcome, Trouble, equal, holds};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_vf_is_bound_to_vfio_for_an_application_and_back",
        proves: "bindDriver: PF settings made, addresses told and not applied, pciID in the result; DEL rebinds and renames",
        needs: &[Need::SriovAdapter, Need::Vfio],
        holds_for: HoldsFor::Manifold,
        run: bound,
    },
    Case {
        name: "a_dummy_carries_what_an_application_asks_the_kernel_for",
        proves: "dummy: name, address and Ethernet address of the VF are on a dummy link in the pod, gone after DEL",
        needs: &[Need::SriovAdapter, Need::Vfio, Need::Link("dummy")],
        holds_for: HoldsFor::Manifold,
        run: dummy,
    },
    Case {
        name: "a_vf_that_was_bound_to_vfio_stays_so",
        proves: "a VF on vfio-pci before ADD gets its PF settings, and is on vfio-pci after DEL",
        needs: &[Need::SriovAdapter, Need::Vfio],
        holds_for: HoldsFor::Manifold,
        run: bound_before,
    },
    Case {
        name: "a_vf_on_a_uio_driver_is_an_applications",
        proves: "a VF on uio_pci_generic gets its settings at the PF and no link in the pod, and stays on that driver",
        needs: &[Need::SriovAdapter, Need::Module("uio_pci_generic")],
        holds_for: HoldsFor::Manifold,
        run: on_uio,
    },
    Case {
        name: "a_vf_that_the_kernel_does_not_probe_is_bound_for_an_application",
        proves: "sriov_drivers_autoprobe is 0 and no driver is bound: bindDriver binds one, and after DEL none is bound",
        needs: &[Need::SriovAdapter, Need::Vfio],
        holds_for: HoldsFor::Manifold,
        run: not_probed,
    },
    Case {
        name: "a_vf_that_a_process_still_drives_is_not_waited_for",
        proves: "DEL says try later (11) while the VFIO group is open, instead of waiting without a limit",
        needs: &[Need::SriovAdapter, Need::Vfio],
        holds_for: HoldsFor::Manifold,
        run: still_open,
    },
    Case {
        name: "a_vf_without_a_driver_is_told_apart",
        proves: "the refusal says that no driver is bound, not that the VF is in use",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: unbound,
    },
];

const MAC: &str = "02:aa:00:00:00:20";

fn bound(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let keys = json!({"bindDriver": "vfio-pci", "mac": MAC, "vlan": 50});
    let attachment = stage.attachment(subject, keys);

    let result = attachment.add()?;

    equal("the driver", stage.adapter.driver(0).as_str(), "vfio-pci")?;
    let settings = stage.adapter.settings(0)?;
    equal("the address", settings.get("address"), Some(&json!(MAC)))?;
    equal("the VLAN", settings.pointer("/vlan_list/0/vlan"), Some(&json!(50)))?;
    let told = |key: &str| result.pointer(&format!("/interfaces/0/{key}")).cloned();
    equal("the PCI address told", told("pciID"), Some(json!(stage.adapter.vf(0))))?;
    equal("the address told", told("mac"), Some(json!(MAC)))?;
    equal("the number of addresses told", addresses_in(&result).len(), 1)?;
    equal("the pod's links", stage.pod.names()?, vec!["lo".to_owned()])?;
    equal("what CHECK complains of", attachment.check(&result)?.err().map(|refusal| refusal.text), None)?;

    attachment.del(Some(&result))?;

    equal("the VF", stage.picture()?, before)?;
    equal("the override", driver_override(&stage)?.as_str(), "(null)")?;
    attachment.left_nothing()
}

fn dummy(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let keys = json!({"bindDriver": "vfio-pci", "mac": MAC, "dummy": true});
    let attachment = stage.attachment(subject, keys);

    let result = attachment.add()?;

    let link = stage.pod.link(IFNAME)?;
    link.is_a("dummy")?;
    equal("its address", link.mac(), MAC)?;
    equal("its addresses", link.addresses(), addresses_in(&result))?;
    equal("the PCI address told", result.pointer("/interfaces/0/pciID"), Some(&json!(stage.adapter.vf(0))))?;
    equal("what CHECK complains of", attachment.check(&result)?.err().map(|refusal| refusal.text), None)?;

    attachment.del(Some(&result))?;

    equal("the pod's links", stage.pod.names()?, vec!["lo".to_owned()])?;
    equal("the VF", stage.picture()?, before)
}

fn bound_before(subject: &Subject) -> Outcome<()> {
    stays_bound(subject, "vfio-pci")
}

fn on_uio(subject: &Subject) -> Outcome<()> {
    stays_bound(subject, "uio_pci_generic")
}

fn not_probed(subject: &Subject) -> Outcome<()> {
    let mut stage = Stage::new(1)?;
    let vf = stage.adapter.vf(0).to_owned();
    stage.adapter.probe_vfs(false)?;
    let done = write(&format!("/sys/bus/pci/devices/{vf}/driver/unbind"), &vf).and_then(|()| {
        let attachment = stage.attachment(subject, json!({"bindDriver": "vfio-pci", "mac": MAC}));
        let result = attachment.add()?;
        let during = stage.adapter.driver(0);
        attachment.del(Some(&result))?;
        attachment.left_nothing()?;
        Ok((during, stage.adapter.driver(0), driver_override(&stage)?))
    });
    stage.adapter.probe_vfs(true)?;
    stage.adapter.remake()?;
    let expected = ("vfio-pci".to_owned(), String::new(), "(null)".to_owned());
    equal("the driver in the pod and after it, and the override", done?, expected)
}

fn stays_bound(subject: &Subject, driver: &str) -> Outcome<()> {
    let mut stage = Stage::new(1)?;
    let vf = stage.adapter.vf(0).to_owned();
    bind_by_hand(&vf, driver)?;
    let before = stage.adapter.settings(0)?;
    let keys = json!({"mac": MAC, "vlan": 51, "trust": "on"});

    let (during, after) = {
        let attachment = stage.attachment(subject, keys);
        let result = attachment.add()?;
        let during = stage.adapter.settings(0)?;
        equal("the pod's links", stage.pod.names()?, vec!["lo".to_owned()])?;
        attachment.del(Some(&result))?;
        (during, stage.adapter.settings(0)?)
    };

    equal("the VLAN", during.pointer("/vlan_list/0/vlan"), Some(&json!(51)))?;
    equal("the driver", stage.adapter.driver(0).as_str(), driver)?;
    equal("the settings", after, before)?;
    stage.adapter.remake()
}

fn still_open(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let attachment = stage.attachment(subject, json!({"bindDriver": "vfio-pci"}));
    attachment.add()?;
    let group = std::fs::read_link(format!("/sys/bus/pci/devices/{}/iommu_group", stage.adapter.vf(0)));
    let group = group.map_err(Trouble::doing("the VF has no IOMMU group"))?;
    let path = format!("/dev/vfio/{}", group.file_name().unwrap_or_default().to_string_lossy());
    let driver = File::options().read(true).write(true).open(&path);
    let driver = driver.map_err(Trouble::doing(format!("cannot open {path}")))?;

    let text = attachment.del(None).err().map(|trouble| trouble.to_string()).unwrap_or_default();

    holds(text.contains("failed with 11") && text.contains(&path), format!("DEL says {text:?}"))?;
    drop(driver);
    attachment.del(None)?;
    equal("the VF", stage.picture()?, before)?;
    attachment.left_nothing()
}

fn unbound(subject: &Subject) -> Outcome<()> {
    let mut stage = Stage::new(1)?;
    let vf = stage.adapter.vf(0).to_owned();
    write(&format!("/sys/bus/pci/devices/{vf}/driver/unbind"), &vf)?;

    let refusal = stage.attachment(subject, json!({})).refusal();

    stage.adapter.remake()?;
    let refusal = refusal?;
    equal("the code", refusal.code, 100)?;
    holds(refusal.text.contains("no driver is bound"), refusal.text)
}

fn driver_override(stage: &Stage) -> Outcome<String> {
    let path = format!("/sys/bus/pci/devices/{}/driver_override", stage.adapter.vf(0));
    let text = std::fs::read_to_string(&path).map_err(Trouble::doing(format!("cannot read {path}")))?;
    Ok(text.trim().to_owned())
}

/// Binds a VF to another driver, as people do.
pub(super) fn bind_by_hand(vf: &str, driver: &str) -> Outcome<()> {
    Program::new(["modprobe", driver]).output()?;
    let device = format!("/sys/bus/pci/devices/{vf}");
    write(&format!("{device}/driver_override"), driver)?;
    write(&format!("{device}/driver/unbind"), vf)?;
    write("/sys/bus/pci/drivers_probe", vf)
}

fn write(path: &str, value: &str) -> Outcome<()> {
    std::fs::write(path, value).map_err(Trouble::doing(format!("cannot write {value:?} to {path}")))
}
