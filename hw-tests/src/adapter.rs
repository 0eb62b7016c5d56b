//! An SR-IOV adapter of the machine, with virtual functions for one case.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::command::Program;
use crate::need::sriov_adapter;
use crate::node::Node;
use crate::plugin::IFNAME;
use crate::profile::Profile;
use crate::trouble::{Outcome, Trouble, equal};

/// How long virtual functions may take to get their interfaces, and those to work: igbvf resets one that its PF does not
/// answer only ten seconds after the last reset.
const APPEARS: Duration = Duration::from_secs(20);

/// An adapter with virtual functions.
pub(crate) struct Adapter {
    /// The name of its interface.
    pub(crate) pf: String,
    /// Its directory in sysfs, by PCI address: it stays when the interface is renamed.
    device: PathBuf,
    /// The PCI addresses of its virtual functions, by number.
    pub(crate) vfs: Vec<String>,
    profile: &'static Profile,
}

impl Adapter {
    /// The adapter that the profile names, with this many virtual functions, each with an interface of its own, and as if nobody
    /// had used them. To make them takes seconds, so those that an earlier case left are used again if they are so.
    ///
    /// # Errors
    /// There is none, or it did not make them.
    pub(crate) fn with_vfs(count: usize) -> Outcome<Self> {
        let (profile, pf) = (Profile::current()?, sriov_adapter()?);
        let device = Profile::device()?.to_owned();
        Program::new(["ip", "link", "set", &pf, "up"]).output()?;
        let mut adapter = Self { pf, device, vfs: Vec::new(), profile };
        adapter.vfs = adapter.addresses();
        if adapter.vfs.len() != profile.vfs || !adapter.is_unused()? {
            adapter.remake()?;
        }
        adapter.vfs.truncate(count);
        Ok(adapter)
    }

    /// Takes all virtual functions away and makes them anew.
    ///
    /// # Errors
    /// The kernel refused, or they did not get interfaces.
    pub(crate) fn remake(&mut self) -> Outcome<()> {
        self.remove_vfs()?;
        self.write("sriov_numvfs", &self.profile.vfs.to_string())?;
        self.vfs = self.addresses();
        // Where no udev does it.
        let alias =
            std::fs::read_to_string(Path::new("/sys/bus/pci/devices").join(self.vf(0)).join("modalias"));
        Program::new(["modprobe", alias.unwrap_or_default().trim()]).output()?;
        let missing = || (0..self.profile.vfs).find(|number| self.port(*number).is_err());
        await_that("the virtual functions have no interfaces", || missing().is_none())?;
        match &self.profile.driver {
            Some(driver) => equal("the driver of the virtual functions", self.driver(0), driver.clone()),
            None => Ok(()),
        }
    }

    /// The addresses of the virtual functions that there are, by number.
    fn addresses(&self) -> Vec<String> {
        let link = |number| std::fs::read_link(self.device.join(format!("virtfn{number}"))).ok();
        let links = (0..).map_while(link);
        links.map(|link| link.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect()
    }

    /// Whether all virtual functions are as they are made.
    fn is_unused(&self) -> Outcome<bool> {
        let new = |settings: &Value| {
            let has = |key: &str, value: Value| settings.pointer(key).is_none_or(|found| *found == value);
            let checks = has("/spoofchk", json!(true)) && has("/trust", json!(false));
            checks && has("/vlan_list/0/vlan", json!(0)) && has("/rate/max_tx", json!(0))
        };
        let links = Node::of_machine()?.own.links()?;
        let idle = |port: &str| {
            let link = links.iter().find(|link| link.name() == port);
            link.is_some_and(|link| !link.is_up() && link.alias().is_empty() && port != IFNAME)
        };
        let ports: Outcome<Vec<String>> = (0..self.profile.vfs).map(|number| self.port(number)).collect();
        let idle = ports.is_ok_and(|ports| ports.iter().all(|port| idle(port)));
        Ok(idle && self.all_settings()?.iter().all(new))
    }

    /// Its PCI address.
    pub(crate) fn pci(&self) -> String {
        self.device.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The PCI address of a virtual function.
    pub(crate) fn vf(&self, number: usize) -> &str {
        self.vfs.get(number).map(String::as_str).unwrap_or_default()
    }

    /// The name of a virtual function's interface, which must be on the machine.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn port(&self, number: usize) -> Outcome<String> {
        let folder = Path::new("/sys/bus/pci/devices").join(self.vf(number)).join("net");
        let entries = std::fs::read_dir(&folder).map_err(Trouble::doing(format!("no {folder:?}")))?;
        let name =
            entries.filter_map(Result::ok).next().map(|e| e.file_name().to_string_lossy().into_owned());
        name.ok_or_else(|| Trouble::new(format!("the interface of {} is not on the host", self.vf(number))))
    }

    /// The driver of a virtual function.
    pub(crate) fn driver(&self, number: usize) -> String {
        let link = std::fs::read_link(Path::new("/sys/bus/pci/devices").join(self.vf(number)).join("driver"));
        link.ok().and_then(|l| Some(l.file_name()?.to_string_lossy().into_owned())).unwrap_or_default()
    }

    /// What the adapter holds of a virtual function, as `ip` describes it.
    ///
    /// # Errors
    /// `ip` failed, or does not describe it.
    pub(crate) fn settings(&self, number: usize) -> Outcome<Value> {
        let all = self.all_settings()?;
        let found = all.into_iter().find(|vf| vf.get("vf").and_then(Value::as_u64) == Some(number as u64));
        let mut found =
            found.ok_or_else(|| Trouble::new(format!("{:?} says nothing of VF {number}", self.pf)))?;
        // Counters are no settings.
        if let Some(keys) = found.as_object_mut() {
            keys.remove("stats");
        }
        Ok(found)
    }

    fn all_settings(&self) -> Outcome<Vec<Value>> {
        let printed = Program::new(["ip", "-details", "-json", "link", "show", &self.pf]).output()?;
        let all: Value =
            serde_json::from_str(&printed).map_err(Trouble::doing("cannot read what ip printed"))?;
        Ok(all.pointer("/0/vfinfo_list").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Makes a setting of a virtual function by hand.
    ///
    /// # Errors
    /// `ip` failed.
    pub(crate) fn set(&self, number: usize, words: &str) -> Outcome<()> {
        let number = number.to_string();
        let start = ["ip", "link", "set", &self.pf, "vf", &number];
        Program::new(start.into_iter().chain(words.split_whitespace())).output().map(|_| ())
    }

    /// The virtual function and its interface, as they are now.
    ///
    /// # Errors
    /// Its interface is not on the machine.
    pub(crate) fn picture(&self, node: &Node, number: usize) -> Outcome<Picture> {
        let port = self.port(number)?;
        let link = node.own.link(&port)?;
        let mut settings = self.settings(number)?;
        // Some adapters tell the address that the VF has chosen, once it has told them.
        let own = [link.mac(), "00:00:00:00:00:00"];
        if let Some(keys) = settings.as_object_mut()
            && keys.get("address").and_then(Value::as_str).is_some_and(|address| own.contains(&address))
        {
            keys.remove("address");
        }
        Ok(Picture {
            settings,
            mac: link.mac().to_owned(),
            mtu: link.mtu(),
            alias: link.alias().to_owned(),
            up: link.is_up(),
            port,
        })
    }

    /// Takes its driver from the physical function, and tells which it was.
    ///
    /// # Errors
    /// It has none, or the kernel refused.
    pub(crate) fn unbind_pf(&self) -> Outcome<String> {
        let driver = std::fs::read_link(self.device.join("driver"));
        let driver = driver.map_err(Trouble::doing("the physical function has no driver"))?;
        self.write("driver/unbind", &self.pci())?;
        Ok(driver.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    /// Gives it this driver, and waits for its interface.
    ///
    /// # Errors
    /// The kernel refused, or there is no interface.
    pub(crate) fn bind_pf(&self, driver: &str) -> Outcome<()> {
        let path = format!("/sys/bus/pci/drivers/{driver}/bind");
        std::fs::write(&path, self.pci()).map_err(Trouble::doing(format!("cannot write to {path}")))?;
        let has_name =
            || std::fs::read_dir(self.device.join("net")).is_ok_and(|mut names| names.next().is_some());
        await_that("the physical function has no interface", has_name)
    }

    /// Has the kernel bind drivers to virtual functions by itself, or not.
    ///
    /// # Errors
    /// The kernel refused.
    pub(crate) fn probe_vfs(&self, on: bool) -> Outcome<()> {
        self.write("sriov_drivers_autoprobe", if on { "1" } else { "0" })
    }

    /// Takes every virtual function away.
    ///
    /// # Errors
    /// The kernel refused.
    pub(crate) fn remove_vfs(&self) -> Outcome<()> {
        self.write("sriov_numvfs", "0")
    }

    fn write(&self, attribute: &str, value: &str) -> Outcome<()> {
        let path = self.device.join(attribute);
        std::fs::write(&path, value).map_err(Trouble::doing(format!("cannot write {value} to {path:?}")))
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // Nobody is there to tell, and the next case looks for itself.
        let renamed = std::fs::read_dir(self.device.join("net")).into_iter().flatten().filter_map(Result::ok);
        for entry in renamed.filter(|entry| entry.file_name() != self.pf.as_str()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            Program::new(["ip", "link", "set", &name, "down", "name", &self.pf]).output().ok();
        }
        Program::new(["ip", "link", "set", &self.pf, "up"]).output().ok();
    }
}

/// A virtual function and its interface: what must be as it was once a pod has given it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    /// What the adapter holds of it.
    pub(crate) settings: Value,
    /// The name of the interface.
    pub(crate) port: String,
    /// Its Ethernet address.
    pub(crate) mac: String,
    /// Its MTU in bytes.
    pub(crate) mtu: u64,
    /// Its alias.
    pub(crate) alias: String,
    /// Whether it is up.
    pub(crate) up: bool,
}

/// Waits until something is so.
///
/// # Errors
/// It is not in time.
pub(crate) fn await_that(otherwise: &str, is_so: impl Fn() -> bool) -> Outcome<()> {
    await_within(APPEARS, otherwise, is_so)
}

/// Waits for so long until something is so.
///
/// # Errors
/// It is not in time.
pub(crate) fn await_within(limit: Duration, otherwise: &str, is_so: impl Fn() -> bool) -> Outcome<()> {
    let end = Instant::now() + limit;
    while !is_so() {
        if Instant::now() > end {
            return Err(Trouble::new(format!("{otherwise} after {} seconds", limit.as_secs())));
        }
        rest();
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
fn rest() {
    std::thread::sleep(Duration::from_millis(20));
}
