//! A small VPP: what it is asked for it keeps, and refuses with the codes of the recording what that refuses. It makes
//! sockets, in the pod's network namespace too, and loses all it has when it is restarted.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};

use super::peer::{Answers, Request, Told};
use super::recording::Recording;

/// An interface.
#[derive(Debug, Default)]
pub(crate) struct Interface {
    pub(crate) tag: String,
    pub(crate) up: bool,
    pub(crate) link: bool,
    pub(crate) mtu: u32,
    pub(crate) rewrite: [u32; 4],
    pub(crate) filter: bool,
    pub(crate) kind: Kind,
    /// What it listens at.
    listening: Option<OwnedFd>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Vhost { path: String, serves: bool, regions: u32, error: u32 },
    Memif { socket: u32, slave: bool, mac: [u8; 6], queues: u8, zero_copy: bool },
}

impl Default for Kind {
    fn default() -> Self {
        Self::Vhost { path: String::new(), serves: false, regions: 0, error: 0 }
    }
}

/// A bridge domain: its tag, and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) tag: String,
    pub(crate) members: Vec<u32>,
}

/// Something that somebody else does.
pub(crate) type Act = fn(&mut StandIn);

/// The VPP.
pub(crate) struct StandIn {
    recording: Recording,
    pub(crate) interfaces: BTreeMap<u32, Interface>,
    pub(crate) sockets: BTreeMap<u32, String>,
    pub(crate) bridges: BTreeMap<u32, Bridge>,
    /// A request that is refused, with what code, but only once.
    pub(crate) refuse_once: Option<(&'static str, i32)>,
    /// What somebody else does right behind a request of some name, and how often.
    pub(crate) behind: Option<(&'static str, u32, Act)>,
}

impl std::fmt::Debug for StandIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entry(&self.interfaces).entry(&self.sockets).entry(&self.bridges).finish()
    }
}

impl StandIn {
    /// One with the bridge domain 7, which somebody else made.
    pub(crate) fn new() -> Self {
        Self {
            recording: Recording::load(),
            interfaces: BTreeMap::new(),
            sockets: BTreeMap::from([(0, "/run/vpp/memif.sock".to_owned())]),
            bridges: BTreeMap::from([(7, Bridge::default())]),
            refuse_once: None,
            behind: None,
        }
    }

    /// Restarts: all is lost but the operator's bridge domain, and sockets stay behind as files.
    pub(crate) fn restart(&mut self) {
        *self = Self::new();
    }

    /// The only interface.
    pub(crate) fn only(&mut self) -> &mut Interface {
        assert_eq!(self.interfaces.len(), 1, "{:?}", self.interfaces);
        self.interfaces.values_mut().next().unwrap()
    }

    /// Whether nobody has made anything.
    pub(crate) fn is_pristine(&self) -> bool {
        self.interfaces.is_empty() && self.sockets.len() == 1 && self.bridges == Self::new().bridges
    }

    /// The lowest index that is free: VPP gives one that is gone to the next.
    fn free(&self) -> u32 {
        (1..).find(|index| !self.interfaces.contains_key(index)).unwrap()
    }

    fn create_vhost(&mut self, mut asked: Fields<'_>) -> (i32, Vec<u8>) {
        let (serves, path) = (asked.bool(), asked.text(256));
        let same =
            |other: &Interface| matches!(&other.kind, Kind::Vhost { path: there, .. } if *there == path);
        if self.interfaces.values().any(same) {
            return (-79, 1_u32.to_be_bytes().to_vec());
        }
        let tag = asked.last_text(64);
        let listening = match serves.then(|| file_socket(Path::new(&path), SockType::Stream)) {
            Some(None) => return (-12, u32::MAX.to_be_bytes().to_vec()),
            listening => listening.flatten(),
        };
        let kind = Kind::Vhost { path, serves, regions: 0, error: 0 };
        (0, self.insert(Interface { tag, mtu: 9000, kind, listening, ..Interface::default() }))
    }

    fn insert(&mut self, made: Interface) -> Vec<u8> {
        let index = self.free();
        self.interfaces.insert(index, made);
        index.to_be_bytes().to_vec()
    }

    fn memif_socket(&mut self, mut asked: Fields<'_>, v2: bool) -> (i32, Vec<u8>) {
        let (add, number) = (asked.bool(), asked.u32());
        let name = if v2 { asked.long_text() } else { asked.text(108) };
        if !add {
            let used = |made: &Interface| matches!(made.kind, Kind::Memif { socket, .. } if socket == number);
            return match self.sockets.get(&number) {
                None => (-73, number.to_be_bytes().to_vec()),
                Some(_) if self.interfaces.values().any(used) => (-74, number.to_be_bytes().to_vec()),
                Some(_) => {
                    self.sockets.remove(&number);
                    (0, number.to_be_bytes().to_vec())
                }
            };
        }
        let number = if number == u32::MAX {
            0x3c6e_f35f + u32::try_from(self.sockets.len()).unwrap()
        } else {
            number
        };
        let taken = self.sockets.get(&number).is_some_and(|there| *there != name);
        self.sockets.entry(number).or_insert(name);
        (if taken { -116 } else { 0 }, number.to_be_bytes().to_vec())
    }

    fn create_memif(&mut self, asked: &Fields<'_>, v2: bool) -> (i32, Vec<u8>) {
        let mut asked = *asked;
        let (role, _mode, queues, _) = (asked.u32(), asked.u32(), asked.u8(), asked.u8());
        let (_id, socket, _ring, _buffer) = (asked.u32(), asked.u32(), asked.u32(), asked.skip(2));
        let zero_copy = !asked.bool();
        if v2 {
            asked.skip(1);
        }
        let mac = asked.skip(6).try_into().unwrap();
        let none = 0_u32.to_be_bytes().to_vec();
        let Some(name) = self.sockets.get(&socket).cloned() else { return (-73, none) };
        let same =
            |made: &Interface| matches!(made.kind, Kind::Memif { socket: there, .. } if there == socket);
        if self.interfaces.values().any(same) {
            return (-68, none);
        }
        let listening = (role == 0).then(|| memif_listener(&name));
        if matches!(listening, Some(None)) {
            return (-14, none);
        }
        let kind = Kind::Memif { socket, slave: role == 1, mac, queues, zero_copy };
        let listening = listening.flatten();
        (0, self.insert(Interface { mtu: 9000, kind, listening, ..Interface::default() }))
    }

    /// Removes an interface of one kind: a vhost-user interface with its socket, a memif without.
    fn delete(&mut self, index: u32, memif: bool) -> i32 {
        let found = self.interfaces.get(&index);
        if found.is_none_or(|made| matches!(made.kind, Kind::Memif { .. }) != memif) {
            return -2;
        }
        let Some(made) = self.interfaces.remove(&index) else { return -2 };
        if let (Kind::Vhost { path, .. }, Some(_)) = (&made.kind, &made.listening) {
            drop(std::fs::remove_file(path));
        }
        for bridge in self.bridges.values_mut() {
            bridge.members.retain(|member| *member != index);
        }
        0
    }

    fn bridge(&mut self, mut asked: Fields<'_>) -> i32 {
        let number = asked.u32();
        asked.skip(7);
        let (tag, add) = (asked.text(64), asked.bool());
        match (self.bridges.get(&number), add) {
            _ if number == 0 => -121,
            (Some(_), true) => -119,
            (None, true) => {
                self.bridges.insert(number, Bridge { tag, members: Vec::new() });
                0
            }
            (None, false) => -6,
            (Some(bridge), false) if !bridge.members.is_empty() => -120,
            (Some(_), false) => {
                self.bridges.remove(&number);
                0
            }
        }
    }

    /// Changes an interface.
    fn change(&mut self, name: &str, mut asked: Fields<'_>) -> i32 {
        let add = name == "sw_interface_tag_add_del" && asked.bool();
        let index = asked.u32();
        let Some(made) = self.interfaces.get_mut(&index) else { return -2 };
        match name {
            "sw_interface_tag_add_del" => made.tag = if add { asked.text(64) } else { String::new() },
            "sw_interface_set_flags" => made.up = asked.u32() & 1 == 1,
            "sw_interface_set_mtu" => made.mtu = asked.u32(),
            "l2_interface_vlan_tag_rewrite" => made.rewrite = std::array::from_fn(|_| asked.u32()),
            "l2_interface_efp_filter" => made.filter = asked.bool(),
            "sw_interface_set_l2_bridge" => {
                // One that is not there is brought about, without a tag.
                let bridge = self.bridges.entry(asked.u32()).or_default();
                bridge.members.retain(|member| *member != index);
                bridge.members.push(index);
            }
            other => panic!("{other} was asked"),
        }
        0
    }

    fn list(&self, name: &str, mut asked: Fields<'_>) -> Vec<Told> {
        let told = |name: &str, fields: Vec<Vec<u8>>| -> Vec<Told> {
            let name = self.recording.whole_name(name);
            fields.into_iter().map(|fields| (name.clone(), fields)).collect()
        };
        match name {
            "sw_interface_dump" => told(
                "sw_interface_details",
                self.interfaces.iter().map(|(n, made)| details(*n, made)).collect(),
            ),
            "sw_interface_vhost_user_dump" => told(
                "sw_interface_vhost_user_details",
                self.interfaces.iter().filter_map(|(n, made)| vhost_details(*n, made)).collect(),
            ),
            "memif_dump" => told(
                "memif_details",
                self.interfaces.iter().filter_map(|(n, made)| memif_details(*n, made)).collect(),
            ),
            "memif_socket_filename_dump" => {
                let each = self.sockets.iter();
                let each =
                    each.map(|(number, name)| [number.to_be_bytes().to_vec(), fixed(name, 108)].concat());
                told("memif_socket_filename_details", each.collect())
            }
            "bridge_domain_dump" => {
                let wanted = asked.u32();
                let each = self.bridges.iter().filter(|(number, _)| wanted == u32::MAX || **number == wanted);
                told(
                    "bridge_domain_details",
                    each.map(|(number, bridge)| bridge_details(*number, bridge)).collect(),
                )
            }
            other => panic!("{other} was asked"),
        }
    }
}

impl Answers for StandIn {
    fn answer(&mut self, request: &Request) -> Vec<Told> {
        let told = self.carry_out(request);
        if let Some((name, times, act)) = self.behind.filter(|(name, ..)| *name == request.name) {
            self.behind = (times > 1).then_some((name, times - 1, act));
            act(self);
        }
        told
    }
}

impl StandIn {
    fn carry_out(&mut self, request: &Request) -> Vec<Told> {
        let name = request.name.as_str();
        let mut asked = Fields(&request.fields);
        if name.ends_with("_dump") {
            return self.list(name, asked);
        }
        let refused = self.refuse_once.take_if(|(refused, _)| *refused == name);
        let (code, fields) = match (refused, name) {
            (Some((_, code)), _) => (code, vec![0; 4]),
            (_, "control_ping") => (0, vec![0; 8]),
            (_, "show_version") => {
                (0, [fixed("vpe", 32), fixed("26.06-stand-in", 32), vec![0; 288]].concat())
            }
            (_, "create_vhost_user_if_v2" | "create_vhost_user_if") => self.create_vhost(asked),
            (_, "delete_vhost_user_if") => (self.delete(asked.u32(), false), Vec::new()),
            (_, "memif_socket_filename_add_del_v2") => self.memif_socket(asked, true),
            (_, "memif_socket_filename_add_del") => (self.memif_socket(asked, false).0, Vec::new()),
            (_, "memif_create_v2") => self.create_memif(&asked, true),
            (_, "memif_create") => self.create_memif(&asked, false),
            (_, "memif_delete") => (self.delete(asked.u32(), true), Vec::new()),
            (_, "bridge_domain_add_del_v2") => (self.bridge(asked), request.fields[..4].to_vec()),
            (_, "bridge_domain_add_del") => (self.bridge(asked), Vec::new()),
            _ => (self.change(name, asked), Vec::new()),
        };
        let reply = self.recording.whole_name(&format!("{name}_reply"));
        vec![(reply, [code.to_be_bytes().to_vec(), fields].concat())]
    }
}

/// The fields of a request.
#[derive(Debug, Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn skip(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.skip(1)[0]
    }

    fn bool(&mut self) -> bool {
        self.u8() == 1
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.skip(4).try_into().unwrap())
    }

    fn text(&mut self, size: usize) -> String {
        let bytes: Vec<u8> = self.skip(size).iter().copied().take_while(|byte| *byte != 0).collect();
        String::from_utf8(bytes).unwrap()
    }

    fn long_text(&mut self) -> String {
        let size = self.u32();
        String::from_utf8(self.skip(size.try_into().unwrap()).to_vec()).unwrap()
    }

    fn last_text(&self, size: usize) -> String {
        Fields(&self.0[self.0.len() - size..]).text(size)
    }
}

fn fixed(text: &str, size: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.bytes().take(size - 1).collect();
    bytes.resize(size, 0);
    bytes
}

fn details(index: u32, made: &Interface) -> Vec<u8> {
    let flags = u32::from(made.up) | u32::from(made.link) << 1;
    let name = match made.kind {
        Kind::Vhost { .. } => format!("VirtualEthernet0/0/{index}"),
        Kind::Memif { socket, .. } => format!("memif{socket}/0"),
    };
    let rewrite: Vec<u8> = made.rewrite.iter().flat_map(|word| word.to_be_bytes()).collect();
    [
        &index.to_be_bytes()[..],
        &index.to_be_bytes(),
        &[0; 6],
        &flags.to_be_bytes(),
        &[0; 14],
        &made.mtu.to_be_bytes(),
        &[0; 12 + 13],
        &rewrite,
        &[0; 20],
        &fixed(&name, 64),
        &fixed("", 64),
        &fixed(&made.tag, 64),
    ]
    .concat()
}

fn vhost_details(index: u32, made: &Interface) -> Option<Vec<u8>> {
    let Kind::Vhost { path, serves, regions, error } = &made.kind else { return None };
    Some(
        [
            &index.to_be_bytes()[..],
            &fixed("", 64),
            &[0; 12],
            &[u8::from(*serves)],
            &fixed(path, 256),
            &regions.to_be_bytes(),
            &error.to_be_bytes(),
        ]
        .concat(),
    )
}

fn memif_details(index: u32, made: &Interface) -> Option<Vec<u8>> {
    let Kind::Memif { socket, slave, mac, zero_copy, .. } = &made.kind else { return None };
    Some(
        [
            &index.to_be_bytes()[..],
            mac,
            &[0; 4],
            &u32::from(*slave).to_be_bytes(),
            &[0; 4],
            &[u8::from(*zero_copy)],
            &socket.to_be_bytes(),
            &[0; 4 + 2 + 4 + 64],
        ]
        .concat(),
    )
}

fn bridge_details(number: u32, bridge: &Bridge) -> Vec<u8> {
    let count = u32::try_from(bridge.members.len()).unwrap();
    let members: Vec<u8> =
        bridge.members.iter().flat_map(|index| [&[0; 4], &index.to_be_bytes()[..], &[0]].concat()).collect();
    [
        &number.to_be_bytes()[..],
        &[1, 1, 1, 1, 0, 0, 0],
        &fixed(&bridge.tag, 64),
        &[0xff; 8],
        &count.to_be_bytes(),
        &members,
    ]
    .concat()
}

/// Listens at a path; what is there before goes, as with VPP.
fn file_socket(path: &Path, kind: SockType) -> Option<OwnedFd> {
    drop(std::fs::remove_file(path));
    bound(&UnixAddr::new(path).ok()?, kind)
}

fn bound(address: &UnixAddr, kind: SockType) -> Option<OwnedFd> {
    let made = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).ok()?;
    bind(made.as_raw_fd(), address).ok()?;
    listen(&made, Backlog::new(5).ok()?).ok()?;
    Some(made)
}

/// Listens as a memif does: at a path, or by a name in a network namespace.
fn memif_listener(spelled: &str) -> Option<OwnedFd> {
    let Some(named) = spelled.strip_prefix("abstract:") else {
        return file_socket(Path::new(spelled), SockType::SeqPacket);
    };
    let (name, netns) = named.split_once(",netns_name=")?;
    let (name, netns) = (name.to_owned(), PathBuf::from(netns));
    let inside = std::thread::spawn(move || {
        let there = std::fs::File::open(netns).ok()?;
        setns(there, CloneFlags::CLONE_NEWNET).ok()?;
        bound(&UnixAddr::new_abstract(name.as_bytes()).ok()?, SockType::SeqPacket)
    });
    inside.join().ok().flatten()
}
