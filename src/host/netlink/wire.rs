//! What netlink carries: messages with a header each, and attributes in them (`netlink(7)`, `rtnetlink(7)`).
//!
//! What is sent is laid out by `netlink-packet-route`. What comes is read from its bytes, and only what is asked for: the
//! library makes a value of every attribute of every kind of link there is, for each link, and throws most away.

use std::net::IpAddr;

use netlink_packet_core::Emitable;
use nix::libc;

use super::socket::Refusal;
use crate::model::MacAddr;

/// Length of a message's header (`struct nlmsghdr`).
const HEADER: usize = 16;
/// A value's kind without the flags in its upper bits (`NLA_TYPE_MASK`).
const KIND: u16 = 0x3fff;

/// A message with its header.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The number of the request that it is, or answers.
    pub sequence: u32,
    /// What follows its header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message of a datagram, and what follows it; `None` if it is cut off.
    pub fn first(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
        let message = Self {
            kind: u16_at(datagram, 4)?,
            flags: u16_at(datagram, 6)?,
            sequence: u32_at(datagram, 8)?,
            body: datagram.get(HEADER..length)?,
        };
        Some((message, datagram.get(length.next_multiple_of(4)..).unwrap_or_default()))
    }

    /// Appends it to what is about to be sent, at the alignment netlink wants.
    pub fn append_to(&self, wire: &mut Vec<u8>) {
        let length = u32::try_from(HEADER + self.body.len()).unwrap_or(u32::MAX);
        wire.extend(length.to_ne_bytes());
        wire.extend(self.kind.to_ne_bytes());
        wire.extend(self.flags.to_ne_bytes());
        wire.extend(self.sequence.to_ne_bytes());
        // The kernel is port 0.
        wire.extend(0_u32.to_ne_bytes());
        wire.extend(self.body);
        wire.resize(wire.len().next_multiple_of(4), 0);
    }

    /// What a message of type `NLMSG_ERROR` says: nothing is refused where its code is zero.
    pub fn refusal(&self) -> Option<Refusal> {
        // The header of the refused request stands between.
        (self.code() != 0).then(|| self.refused(4 + HEADER))
    }

    /// What a message of type `NLMSG_DONE` says: the list is whole where its code is not negative.
    pub fn broken_off(&self) -> Option<Refusal> {
        (self.code() < 0).then(|| self.refused(4))
    }

    fn code(&self) -> i32 {
        u32_at(self.body, 0).unwrap_or_default().cast_signed()
    }

    /// The refusal by its code, and the kernel's words where its attributes begin.
    fn refused(&self, attributes: usize) -> Refusal {
        let mut told = Attributes(self.body.get(attributes..).unwrap_or_default());
        let words = told.find(|(kind, _)| *kind == ACK_WORDS).map(|(_, words)| text(words));
        Refusal { errno: self.code().saturating_abs(), words }
    }
}

/// What the kernel sent: a message's type and what follows its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The type (`RTM_*`).
    pub kind: u16,
    /// The body, attributes and all.
    pub body: Vec<u8>,
}

/// The kernel's words in an extended acknowledgement (`NLMSGERR_ATTR_MSG`).
const ACK_WORDS: u16 = 1;

/// A link that came: what counts of its header (`struct ifinfomsg`, 16 bytes), and what follows it.
pub struct Link<'a> {
    /// Its index.
    pub index: u32,
    /// What kind of hardware it is (`ARPHRD_*`).
    pub hardware: u16,
    /// Its attributes (`IFLA_*`).
    pub attributes: Attributes<'a>,
    flags: u32,
}

impl<'a> Link<'a> {
    /// Reads one; `None` if something else came.
    pub fn read(told: &'a Told) -> Option<Self> {
        let body = &told.body;
        (told.kind == libc::RTM_NEWLINK).then_some(())?;
        Some(Self {
            index: u32_at(body, 4)?,
            hardware: u16_at(body, 2)?,
            attributes: Attributes(body.get(16..)?),
            flags: u32_at(body, 8)?,
        })
    }

    /// Whether a flag is set (`IFF_*`).
    pub fn has(&self, flag: i32) -> bool {
        self.flags & flag.cast_unsigned() != 0
    }
}

/// A message's body as it is sent.
pub fn body(message: &impl Emitable) -> Vec<u8> {
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    body
}

/// Attributes that follow each other: the kind and the value of each. One that is cut off ends them.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, value, rest) = attribute(self.0)?;
        self.0 = rest;
        Some((kind, value))
    }
}

/// The kind and value of the first attribute, and what follows it.
pub fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16_at(bytes, 0)?);
    let value = bytes.get(4..length)?;
    Some((kind(bytes)?, value, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The kind of the first attribute.
pub fn kind(bytes: &[u8]) -> Option<u16> {
    u16_at(bytes, 2).map(|kind| kind & KIND)
}

/// Two bytes, as this machine orders them.
pub fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    bytes.get(place..)?.first_chunk().map(|word| u16::from_ne_bytes(*word))
}

/// Four bytes, as this machine orders them.
pub fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(place..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

/// A text, which ends with a zero.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// An Ethernet address, if that is one that a link can carry.
pub fn mac(value: &[u8]) -> Option<MacAddr> {
    MacAddr::new(<[u8; 6]>::try_from(value).ok()?).ok()
}

/// An address of either family.
pub fn ip(value: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(value).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kernel says of a request refused with EPERM.
    fn refusal(words: &[u8]) -> Vec<u8> {
        let mut body = (-1_i32).to_ne_bytes().to_vec();
        body.extend([0; HEADER]);
        body.extend(u16::try_from(4 + words.len()).unwrap().to_ne_bytes());
        body.extend(ACK_WORDS.to_ne_bytes());
        body.extend(words);
        body
    }

    #[test]
    fn what_is_appended_is_read_again() {
        let mut wire = Vec::new();
        Message { kind: 16, flags: 5, sequence: 1, body: b"12345" }.append_to(&mut wire);
        Message { kind: 17, flags: 6, sequence: 2, body: &refusal(b"no\0") }.append_to(&mut wire);

        let (first, rest) = Message::first(&wire).unwrap();
        let (second, rest) = Message::first(rest).unwrap();

        assert_eq!((first.kind, first.flags, first.sequence, first.body), (16, 5, 1, &b"12345"[..]));
        assert_eq!((second.kind, second.flags, second.sequence), (17, 6, 2));
        assert_eq!(second.refusal(), Some(Refusal { errno: 1, words: Some("no".to_owned()) }));
        assert!(rest.is_empty());
    }

    #[test]
    fn an_acknowledgement_is_no_refusal() {
        let mut wire = Vec::new();
        Message { kind: 2, flags: 0, sequence: 1, body: &[0; 20] }.append_to(&mut wire);

        assert_eq!(Message::first(&wire).unwrap().0.refusal(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic_or_go_on_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = bytes.as_slice();
            while let Some((message, next)) = Message::first(rest) {
                let _refusal = message.refusal();
                let _count = Attributes(message.body).count();
                prop_assert!(next.len() < rest.len());
                rest = next;
            }
        }
    }
}
