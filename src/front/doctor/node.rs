//! The node itself: rights, plugins, kernel, kubelet, devices.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::unistd::geteuid;

use super::{Finding, bad, ok, warning};
use crate::host::netlink::{Socket, link};
use crate::host::rights;
use crate::host::stream::{Deadline, dial};
use crate::model::FaultKind;
use crate::model::fault::Fault;
use crate::plan::step::{LinkKind, MacvlanMode, VlanProtocol};

/// Whether the doctor may look, and Manifold work.
pub(super) fn rights() -> Finding {
    let missing = || {
        let fault = Fault::new(FaultKind::Environment, format!("user {} is not root", geteuid()));
        Err(fault.remedy("run Manifold, and this, as root on the host"))
    };
    match rights::suffice().and_then(|()| if geteuid().is_root() { Ok(()) } else { missing() }) {
        Ok(()) => ok("rights", "root"),
        Err(fault) => bad("rights", &fault),
    }
}

/// The plugins that can be run; by a daemon, which may have another root directory than the doctor.
pub(super) fn plugins(dir: &Path, by_daemon: bool) -> Finding {
    if by_daemon && !dir.exists() {
        return ok(
            "plugins",
            format!("{dir:?} is not seen from here: STATUS tells of those that every pod needs"),
        );
    }
    let is_program = |entry: &fs::DirEntry| {
        entry.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    match entries.filter(is_program).count() {
        0 => warning(
            "plugins",
            format!("there is none in {dir:?}"),
            "only kinds made in process will work; set \"binDir\", or install the plugins",
        ),
        number => ok("plugins", format!("{number} in {dir:?}")),
    }
}

/// Which kinds of link the kernel makes.
pub(super) fn kernel() -> Vec<Finding> {
    let mut socket = match Socket::open() {
        Ok(socket) => socket,
        Err(fault) => return vec![bad("netlink", &fault)],
    };
    let macvlan = LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None };
    let vlan = LinkKind::Vlan { id: 1, protocol: VlanProtocol::Dot1Q };
    let kinds = [("macvlan", macvlan, "macvlan"), ("vlan", vlan, "8021q")];
    let each = kinds.map(|(what, kind, module)| match link::is_made(&mut socket, &kind) {
        Ok(true) => ok(what, "the kernel makes such links"),
        Ok(false) => {
            let remedy = format!("\"modprobe {module}\", or leave such networks to other nodes");
            warning(what, "the kernel makes no such links", remedy)
        }
        Err(fault) => bad(what, &fault),
    });
    each.into()
}

/// Whether the kubelet tells which devices it gave to whom.
pub(super) fn kubelet(socket: &Path) -> Finding {
    match dial(socket, Deadline::after(5)) {
        Ok(_) => ok("kubelet", format!("tells which devices pods have, at {socket:?}")),
        Err(cause) => warning(
            "kubelet",
            format!("does not tell which devices pods have: {socket:?}: {cause}"),
            "needed for networks with a resourceName; set \"kubeletDir\" if its directory is another",
        ),
    }
}

/// How many virtual functions each adapter has been told to make, of how many.
pub(super) fn virtual_functions() -> Finding {
    let adapters = fs::read_dir("/sys/class/net").into_iter().flatten().filter_map(Result::ok);
    let mut each: Vec<String> = adapters
        .filter_map(|adapter| {
            let number = |file| fs::read_to_string(adapter.path().join("device").join(file)).ok();
            let (made, most) = (number("sriov_numvfs")?, number("sriov_totalvfs")?);
            Some(format!("{} {} of {}", adapter.file_name().to_string_lossy(), made.trim(), most.trim()))
        })
        .collect();
    each.sort_unstable();
    ok(
        "virtual functions",
        if each.is_empty() { "no adapter offers any".to_owned() } else { each.join(", ") },
    )
}

/// How many huge pages are free, of how many, by size.
pub(super) fn huge_pages() -> Finding {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().filter_map(Result::ok);
    let mut each: Vec<String> = sizes
        .filter_map(|size| {
            let number = |file| fs::read_to_string(size.path().join(file)).ok();
            let (free, all) = (number("free_hugepages")?, number("nr_hugepages")?);
            let name = size.file_name().to_string_lossy().replace("hugepages-", "");
            (all.trim() != "0").then(|| format!("{name}: {} of {} free", free.trim(), all.trim()))
        })
        .collect();
    each.sort_unstable();
    ok("huge pages", if each.is_empty() { "none are set aside".to_owned() } else { each.join(", ") })
}
