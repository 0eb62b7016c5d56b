//! What VPP tells of what it has, read.

use super::message::{ADMIN_UP, ETHERNET, LINK_UP, MEMIF_PATH, NAME, TAG, VHOST_PATH};
use super::wire::Reader;

/// Size of the texts of a version.
const VERSION: usize = 32;

/// The number that an answer begins with: of an interface, or of a socket.
pub(super) fn number(fields: &[u8]) -> Option<u32> {
    Reader::new(fields).u32()
}

/// The version out of the answer to `show_version`: behind the name of the program.
pub(super) fn version(fields: &[u8]) -> Option<String> {
    let mut reader = Reader::new(fields);
    reader.skip(VERSION)?;
    reader.fixed(VERSION)
}

/// A vhost-user interface that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vhost {
    pub(super) index: u32,
    pub(super) serves: bool,
    pub(super) path: String,
    /// How much memory of the application VPP has mapped: none while none is connected.
    pub(super) regions: u32,
    /// Why it could not connect, as a number of the kernel's.
    pub(super) error: i32,
}

impl Vhost {
    pub(super) fn read(fields: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(fields);
        let index = reader.u32()?;
        // Its name, size of a packet's header, features in two halves.
        reader.skip(NAME + 12)?;
        let (serves, path) = (reader.u8()? != 0, reader.fixed(VHOST_PATH)?);
        Some(Self { index, serves, path, regions: reader.u32()?, error: reader.i32()? })
    }
}

/// A socket that VPP knows for memif interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownSocket {
    pub(super) number: u32,
    /// Its name, cut where the field ends.
    pub(super) name: String,
}

impl KnownSocket {
    pub(super) fn read(fields: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(fields);
        Some(Self { number: reader.u32()?, name: reader.fixed(MEMIF_PATH)? })
    }

    /// Whether it is the one of this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name == name || (self.name.len() >= MEMIF_PATH - 1 && name.starts_with(&self.name))
    }
}

/// A memif interface that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memif {
    pub(super) index: u32,
    pub(super) mac: [u8; 6],
    pub(super) serves: bool,
    /// Whether it carries Ethernet frames.
    pub(super) ethernet: bool,
    pub(super) socket: u32,
}

impl Memif {
    pub(super) fn read(fields: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(fields);
        let (index, mac) = (reader.u32()?, reader.bytes()?);
        // Its number on the socket.
        reader.skip(4)?;
        let (role, mode) = (reader.u32()?, reader.u32()?);
        // Whether memory is shared.
        reader.skip(1)?;
        let socket = reader.u32()?;
        Some(Self { index, mac, serves: role == 0, ethernet: mode == ETHERNET, socket })
    }
}

/// An interface that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) admin_up: bool,
    pub(super) link_up: bool,
    pub(super) mtu: u32,
    /// What becomes of its frames' tags, and the tag.
    pub(super) rewrite: (u32, u32),
    pub(super) name: String,
    pub(super) tag: String,
}

impl Interface {
    pub(super) fn read(fields: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(fields);
        let index = reader.u32()?;
        // The interface it is part of, and its Ethernet address.
        reader.skip(4 + 6)?;
        let flags = reader.u32()?;
        // Type, duplex, speed, MTU of the link; then the four of protocols, of which the first is kept.
        reader.skip(4 + 4 + 4 + 2)?;
        let mtu = reader.u32()?;
        // What it is as a part of another: number, number of tags, two ids, flags.
        reader.skip(12 + 4 + 1 + 2 + 2 + 4)?;
        let operation = reader.u32()?;
        reader.skip(4)?;
        let rewrite = (operation, reader.u32()?);
        // The second tag, and tags of provider bridges.
        reader.skip(4 + 2 + 6 + 6 + 2 + 4)?;
        let name = reader.fixed(NAME)?;
        reader.skip(NAME)?;
        let (admin_up, link_up) = (flags & ADMIN_UP != 0, flags & LINK_UP != 0);
        Some(Self { index, admin_up, link_up, mtu, rewrite, name, tag: reader.fixed(TAG)? })
    }
}

/// A bridge domain that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bridge {
    pub(super) number: u32,
    pub(super) tag: String,
    /// The interfaces in it.
    pub(super) members: Vec<u32>,
}

impl Bridge {
    pub(super) fn read(fields: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(fields);
        let number = reader.u32()?;
        // How it forwards, and how soon addresses age.
        reader.skip(6 + 1)?;
        let tag = reader.fixed(TAG)?;
        // The interface of the node itself, and the one for unknown destinations.
        reader.skip(4 + 4)?;
        let count = reader.u32()?;
        let member = |reader: &mut Reader<'_>| {
            reader.skip(4)?;
            let index = reader.u32()?;
            reader.u8()?;
            Some(index)
        };
        let members = (0..count).map(|_| member(&mut reader)).collect::<Option<_>>()?;
        Some(Self { number, tag, members })
    }
}
