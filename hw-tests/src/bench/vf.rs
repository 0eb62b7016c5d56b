//! A virtual function that is given to a pod without any program: which it is, and where what is noted of it stays.

use std::fs;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use manifold::host::netlink::Socket;
use manifold::host::netns::Netns as OpenNetns;
use manifold::model::NetnsPath;
use manifold::plan::step::VlanProtocol;
use manifold::plan::vf::{VfSettings, VfVlan};

use crate::adapter::Adapter;
use crate::node::{Netns, Node};
use crate::plugin::IFNAME;
use crate::trouble::{Outcome, Trouble};

/// The VLAN that everybody's virtual functions are put into.
pub(super) const VLAN: u16 = 100;

/// A virtual function, its pod, and a folder for files.
pub(super) struct Vf {
    /// The interface of its PF.
    pub(super) pf: String,
    /// Its number there.
    pub(super) number: u32,
    /// Its PCI address.
    pub(super) address: String,
    /// Where its pod is.
    pub(super) netns: NetnsPath,
    /// Where files go.
    pub(super) folder: PathBuf,
}

impl Vf {
    /// This one for this pod.
    ///
    /// # Errors
    /// There is no such pod.
    pub(super) fn new(node: &Node, adapter: &Adapter, (number, pod): (usize, &Netns)) -> Outcome<Self> {
        let folder = node.path("by-hand");
        fs::create_dir_all(&folder).map_err(Trouble::doing("cannot make a folder"))?;
        Ok(Self {
            pf: adapter.pf.clone(),
            number: u32::try_from(number).map_err(Trouble::doing("there are not so many VFs"))?,
            address: adapter.vf(number).to_owned(),
            netns: pod.path().parse().map_err(Trouble::doing("that is no path of a namespace"))?,
            folder,
        })
    }

    /// The name of its PF's interface.
    pub(super) fn find_pf(&self) -> Outcome<String> {
        first_name(&self.device().join("physfn/net"))
    }

    /// The name of its own interface, on the host.
    pub(super) fn port(&self) -> Outcome<String> {
        first_name(&self.device().join("net"))
    }

    /// Its pod's namespace.
    pub(super) fn pod(&self) -> Outcome<OpenNetns> {
        OpenNetns::open_existing(&self.netns).map_err(Trouble::doing("the pod is gone"))
    }

    fn device(&self) -> PathBuf {
        Path::new("/sys/bus/pci/devices").join(&self.address)
    }

    /// Where the name that its interface had is written down.
    pub(super) fn cache(&self) -> PathBuf {
        self.folder.join(format!("{}-{IFNAME}", self.address))
    }

    /// The address for the pod.
    pub(super) fn ip(&self) -> Outcome<IpNetwork> {
        let address = format!("10.78.1.{}/24", self.number + 1);
        address.parse().map_err(Trouble::doing("that is no address"))
    }

    /// The settings that are asked for.
    pub(super) fn wanted(&self) -> VfSettings {
        let vlan = VfVlan { id: VLAN, qos: 0, protocol: VlanProtocol::Dot1Q };
        VfSettings { vlan: Some(vlan), spoofchk: Some(false), trust: Some(true), ..VfSettings::default() }
    }

    /// Those that every virtual function has to begin with.
    pub(super) fn former(&self) -> VfSettings {
        let vlan = VfVlan { id: 0, qos: 0, protocol: VlanProtocol::Dot1Q };
        VfSettings { vlan: Some(vlan), spoofchk: Some(true), trust: Some(false), ..VfSettings::default() }
    }
}

/// A socket on the host.
pub(super) fn socket() -> Outcome<Socket> {
    Socket::open().map_err(Trouble::doing("no socket"))
}

fn first_name(folder: &Path) -> Outcome<String> {
    let entries = fs::read_dir(folder).map_err(Trouble::doing(format!("cannot list {folder:?}")))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.into_iter().next().ok_or_else(|| Trouble::new(format!("{folder:?} is empty")))
}

/// Writes a file.
pub(super) fn write(path: &Path, text: &str) -> Outcome<()> {
    fs::write(path, text).map_err(Trouble::doing(format!("cannot write {path:?}")))
}
