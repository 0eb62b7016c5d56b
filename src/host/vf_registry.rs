//! The files by which the peer's plugin `sriov` keeps account of VFs. Manifold keeps the same account, so that both can
//! serve one node: neither takes a VF that the other has, and Manifold takes down what the peer attached.
//!
//! ```text
//! <dir>/pci/vf_lock/<pci>.lock     locked (`flock(2)`) while somebody works on the VF
//! <dir>/pci/<pci>                  the path of the network namespace that has the VF
//! <dir>/<container>-<interface>    what was done and what was there before, as JSON; Manifold leaves it where the
//!                                  peer may be put back
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::netns::Netns;
use super::{file, lock};
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, NetnsPath, Object, Owner, PciAddress};

/// Where the peer keeps its files.
pub const DIR: &str = "/var/lib/cni/sriov";
/// Longest file read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The account of VFs in a directory.
#[derive(Debug, Clone)]
pub struct VfRegistry {
    dir: PathBuf,
}

/// Who has a VF, by the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Nobody, or a network namespace that is gone.
    Nobody,
    /// This network namespace, which is there.
    Netns(NetnsPath),
}

/// What the peer left of an attachment: its configuration, and the state of the VF before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PeerVf {
    /// The VF's address.
    pub deviceid: String,
    /// VLAN id that was asked for.
    pub vlan: Option<u32>,
    /// Priority that was asked for.
    pub vlanqos: Option<u32>,
    /// Spoof check that was asked for, `on` or `off`; empty if it was not.
    pub spoofchk: String,
    /// Trust that was asked for, `on` or `off`; empty if it was not.
    pub trust: String,
    /// Carrier that was asked for, `auto`, `enable` or `disable`; empty if it was not.
    pub link_state: String,
    /// Lowest rate in Mbit/s that was asked for.
    pub min_tx_rate: Option<i64>,
    /// Highest rate in Mbit/s that was asked for.
    pub max_tx_rate: Option<i64>,
    /// What was before.
    pub origvfstate: PeerVfState,
}

/// The state of a VF before the peer changed it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PeerVfState {
    /// The name of its interface; empty if it had none.
    pub hostifname: String,
    /// Spoof check.
    pub spoofchk: bool,
    /// Trust.
    pub trust: bool,
    /// Administrative Ethernet address.
    pub adminmac: String,
    /// The interface's Ethernet address.
    pub effectivemac: String,
    /// VLAN id.
    pub vlan: u16,
    /// Priority.
    pub vlanqos: u8,
    /// Ethertype of the tag.
    pub vlanproto: u32,
    /// Lowest rate in Mbit/s.
    pub mintxrate: u32,
    /// Highest rate in Mbit/s.
    pub maxtxrate: u32,
    /// Carrier: 0 as the PF's, 1 always, 2 never.
    pub linkstate: u32,
    /// MTU in bytes; 0 if it was not noted.
    pub mtu: u32,
}

impl Default for VfRegistry {
    fn default() -> Self {
        Self::at(DIR)
    }
}

impl VfRegistry {
    /// The account in this directory.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Locks a VF against everybody who keeps the account, until the file is dropped.
    ///
    /// # Errors
    /// [`FaultKind::TryLater`] if somebody works on it for too long; or the lock's file cannot be made.
    pub fn lock(&self, vf: PciAddress) -> Outcome<File> {
        let folder = self.dir.join("pci/vf_lock");
        let path = folder.join(format!("{vf}.lock"));
        let open = || OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => make(&folder).and_then(|()| open()),
            opened => opened,
        };
        lock::exclusive(file.map_err(|cause| unusable(&path, cause))?, &path, lock::LIMIT)
    }

    /// Who has a VF.
    ///
    /// # Errors
    /// The account cannot be read.
    pub fn holder(&self, vf: PciAddress) -> Outcome<Holder> {
        let Some(text) = self.allocated(vf)? else { return Ok(Holder::Nobody) };
        let Ok(path) = text.trim_end().parse::<NetnsPath>() else { return Ok(Holder::Nobody) };
        match Netns::open(&path) {
            Ok(Some(_)) => Ok(Holder::Netns(path)),
            // A path that holds something else now is that of a namespace that is gone.
            Ok(None) | Err(_) => Ok(Holder::Nobody),
        }
    }

    /// Enters that a VF is this namespace's. The caller has the lock.
    ///
    /// # Errors
    /// The account cannot be written.
    pub fn enter(&self, vf: PciAddress, netns: &NetnsPath) -> Outcome<()> {
        let path = self.allocation(vf);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| io::Write::write_all(&mut file, netns.as_str().as_bytes()))
            .map_err(|cause| unusable(&path, cause))
    }

    /// Strikes a VF out, whoever has it. The caller has the lock.
    ///
    /// # Errors
    /// It still stands.
    pub fn strike(&self, vf: PciAddress) -> Outcome<()> {
        let path = self.allocation(vf);
        file::gone(fs::remove_file(&path)).map_err(|cause| unusable(&path, cause))
    }

    /// What the peer left of an attachment; `None` if it made none.
    ///
    /// # Errors
    /// The file cannot be read, or is no JSON.
    pub fn left_by_peer(&self, owner: &Owner) -> Outcome<Option<PeerVf>> {
        let path = self.cached(owner);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let object: Object = serde_json::from_slice(&bytes).map_err(|cause| unusable(&path, cause))?;
        object.decode("what the SR-IOV plugin left").map(Some)
    }

    /// Leaves for the peer what it leaves itself of an attachment. The caller has the lock of the VF.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn leave(&self, owner: &Owner, left: &Value) -> Outcome<()> {
        let path = self.cached(owner);
        // No name of the peer's begins so: a container's id does not.
        let young = self.dir.join(format!(".{}-{}", owner.container, owner.ifname));
        let put = file::put(&young, &path, 0o600, left.to_string().as_bytes());
        put.map_err(|cause| unusable(&path, cause))
    }

    /// Removes what the peer left of an attachment, or Manifold for it.
    ///
    /// # Errors
    /// It still stands.
    pub fn forget(&self, owner: &Owner) -> Outcome<()> {
        let path = self.cached(owner);
        // Only a crash leaves this one.
        fs::remove_file(self.dir.join(format!(".{}-{}", owner.container, owner.ifname))).ok();
        file::gone(fs::remove_file(&path)).map_err(|cause| unusable(&path, cause))
    }

    fn allocated(&self, vf: PciAddress) -> Outcome<Option<String>> {
        Ok(read(&self.allocation(vf))?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn allocation(&self, vf: PciAddress) -> PathBuf {
        self.dir.join("pci").join(vf.to_string())
    }

    fn cached(&self, owner: &Owner) -> PathBuf {
        self.dir.join(format!("{}-{}", owner.container, owner.ifname))
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn read(path: &Path) -> Outcome<Option<Vec<u8>>> {
    match file::read(path, MAX_FILE) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if file::is_none(&error) => Ok(None),
        Err(error) => Err(unusable(path, error)),
    }
}

fn unusable(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot use {path:?}, part of the account of virtual functions"))
        .because(cause)
        .remedy("look at that file, and at the space on its disk")
}
