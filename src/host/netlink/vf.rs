//! What a PF holds of its VFs, over netlink (kernel `if_link.h`, `IFLA_VFINFO_LIST`).
//!
//! A driver says by a value of all ones that it does not know, and a list of more than 64 KiB has a length that is wrong.

use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkVfInfo, VfInfo, VfInfoLinkState, VfInfoMac, VfInfoRate,
    VfInfoSpoofCheck, VfInfoTrust, VfLinkState as WireState, VfVlan as WireVlan, VfVlanInfo,
    VlanProtocol as WireProtocol,
};
use nix::libc;
use rtnetlink::LinkUnspec;

use super::socket::{Request, Socket};
use super::wire::{self, Attributes, attribute, u16_at, u32_at};
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, MacAddr};
use crate::plan::step::VlanProtocol;
use crate::plan::vf::{VfLinkState, VfRate, VfSettings, VfVlan};

/// A PF, and what it says of one VF.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenPf {
    /// Its index.
    pub index: u32,
    /// Whether it is Ethernet (`ARPHRD_ETHER`).
    pub ethernet: bool,
    /// Whether it is administratively up.
    pub up: bool,
    /// The settings of the VF, if the PF tells them.
    pub settings: Option<VfSettings>,
}

/// Asks a PF, by the name of its interface, for the settings of one VF; `None` if there is no such interface.
///
/// # Errors
/// The kernel could not be asked. That it cannot tell so many VFs at once is an answer without settings.
pub fn of_pf(socket: &mut Socket, pf: &str, number: u32) -> Outcome<Option<SeenPf>> {
    let ask = |mask| {
        let builder = LinkUnspec::new_with_name(pf);
        let message = builder.append_extra_attribute(LinkAttribute::ExtMask(mask)).build();
        Request::one(libc::RTM_GETLINK, &message)
    };
    let with_vfs = socket.ask_for_long(&ask(vec![LinkExtentMask::Vf, LinkExtentMask::SkipStats]))?;
    let answer = match with_vfs {
        Err(refusal) if refusal.errno == libc::EMSGSIZE => {
            socket.ask_for_long(&ask(vec![LinkExtentMask::SkipStats]))?
        }
        answer => answer,
    };
    match answer {
        Ok(bytes) => Ok(read(&bytes, number)),
        Err(refusal) if refusal.errno == libc::ENODEV => Ok(None),
        Err(refusal) => {
            Err(Fault::new(FaultKind::Kernel, format!("cannot ask PF {pf:?} for its VFs")).because(refusal))
        }
    }
}

/// The requests that make settings, each in one of its own: the kernel makes several of one request in an order of its
/// own and stops at the first it refuses. The rate comes last, for some adapters want a link for it.
pub fn set(pf: u32, number: u32, settings: &VfSettings) -> Vec<(Setting, Request)> {
    let mut all = Vec::new();
    if let Some(mac) = settings.mac {
        all.push((Setting::Mac, address(number, mac.bytes())));
    }
    if let Some(VfVlan { id, qos, protocol }) = settings.vlan {
        let protocol = match protocol {
            VlanProtocol::Dot1Q => WireProtocol::Ieee8021Q,
            VlanProtocol::Dot1Ad => WireProtocol::Ieee8021Ad,
        };
        let vlan = VfVlanInfo::new(number, u32::from(id), u32::from(qos), protocol);
        all.push((Setting::Vlan, VfInfo::VlanList(vec![WireVlan::Info(vlan)])));
    }
    if let Some(on) = settings.spoofchk {
        all.push((Setting::Spoofchk, VfInfo::SpoofCheck(VfInfoSpoofCheck::new(number, on))));
    }
    if let Some(on) = settings.trust {
        all.push((Setting::Trust, VfInfo::Trust(VfInfoTrust::new(number, on))));
    }
    if let Some(state) = settings.link_state {
        let state = match state {
            VfLinkState::Auto => WireState::Auto,
            VfLinkState::Enable => WireState::Enable,
            VfLinkState::Disable => WireState::Disable,
        };
        all.push((Setting::LinkState, VfInfo::LinkState(VfInfoLinkState::new(number, state))));
    }
    if let Some(VfRate { min, max }) = settings.rate {
        all.push((Setting::Rate, VfInfo::Rate(VfInfoRate::new(number, min, max))));
    }
    all.into_iter().map(|(setting, info)| (setting, request(pf, info))).collect()
}

/// The request that gives a VF an administrative address.
pub fn set_address(pf: u32, number: u32, mac: MacAddr) -> Request {
    request(pf, address(number, mac.bytes()))
}

/// The request that takes a VF's administrative address away.
pub fn clear_address(pf: u32, number: u32) -> Request {
    request(pf, address(number, [0; 6]))
}

fn address(number: u32, bytes: [u8; 6]) -> VfInfo {
    VfInfo::Mac(VfInfoMac::new(number, &bytes))
}

fn request(pf: u32, info: VfInfo) -> Request {
    let list = LinkAttribute::VfInfoList(vec![LinkVfInfo(vec![info])]);
    let message = LinkUnspec::new_with_index(pf).append_extra_attribute(list).build();
    Request::change(libc::RTM_SETLINK, &message, 0)
}

/// One setting of a VF, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `mac`.
    Mac,
    /// `vlan`, `vlanQoS`, `vlanProto`.
    Vlan,
    /// `spoofchk`.
    Spoofchk,
    /// `trust`.
    Trust,
    /// `link_state`.
    LinkState,
    /// `min_tx_rate`, `max_tx_rate`.
    Rate,
}

impl Setting {
    /// Its key in a configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::Vlan => "vlan",
            Self::Spoofchk => "spoofchk",
            Self::Trust => "trust",
            Self::LinkState => "link_state",
            Self::Rate => "max_tx_rate",
        }
    }
}

/// Attribute of a list of VFs.
const VF_INFO: u16 = 1;
/// Attributes of a VF (`IFLA_VF_*`).
const VF_MAC: u16 = 1;
const VF_VLAN: u16 = 2;
const VF_SPOOFCHK: u16 = 4;
const VF_LINK_STATE: u16 = 5;
const VF_RATE: u16 = 6;
const VF_TRUST: u16 = 9;
const VF_VLAN_LIST: u16 = 12;
/// How a driver says that it does not know.
const UNKNOWN: u32 = u32::MAX;
/// Ethertype of an 802.1ad tag.
const ETH_P_8021AD: u16 = 0x88a8;

/// Reads a link, and what it says of one VF: a header of 16 bytes (`struct ifinfomsg`), then attributes.
pub fn read(bytes: &[u8], number: u32) -> Option<SeenPf> {
    let flags = u32_at(bytes, 8)?;
    let mut seen = SeenPf {
        index: u32_at(bytes, 4)?,
        ethernet: u16_at(bytes, 2)? == libc::ARPHRD_ETHER,
        up: flags & libc::IFF_UP.cast_unsigned() != 0,
        settings: None,
    };
    let mut count = 0;
    let mut rest = bytes.get(16..)?;
    while let Some(kind) = wire::kind(rest) {
        if kind == libc::IFLA_VFINFO_LIST {
            // The length in the list's header has 16 bits: of many VFs it is what is left over. The VFs follow each
            // other all the same, as many as the kernel said before.
            seen.settings = find(rest.get(4..).unwrap_or_default(), count, number);
            return Some(seen);
        }
        let Some((_, value, next)) = attribute(rest) else { break };
        if kind == libc::IFLA_NUM_VF {
            count = u32_at(value, 0).unwrap_or_default();
        }
        rest = next;
    }
    Some(seen)
}

/// Finds the settings of a VF by its number, which stands in each of them; its place in the list says nothing.
fn find(list: &[u8], count: u32, number: u32) -> Option<VfSettings> {
    let mut rest = list;
    for _ in 0..count {
        let (kind, value, next) = attribute(rest)?;
        if kind != VF_INFO {
            return None;
        }
        if let Some((VF_MAC, mac, _)) = attribute(value)
            && u32_at(mac, 0) == Some(number)
        {
            return Some(settings(value));
        }
        rest = next;
    }
    None
}

fn settings(told: &[u8]) -> VfSettings {
    let mut settings = VfSettings::default();
    for (kind, value) in Attributes(told) {
        let word = |place: usize| u32_at(value, place * 4);
        let known = |word: Option<u32>| word.filter(|value| *value != UNKNOWN).map(|value| value != 0);
        match kind {
            VF_MAC => {
                settings.mac = value.get(4..10).and_then(wire::mac);
            }
            // Kernels before 4.9 have no list.
            VF_VLAN if settings.vlan.is_none() => {
                settings.vlan = word(1).zip(word(2)).and_then(|(id, qos)| vlan(id, qos, VlanProtocol::Dot1Q));
            }
            VF_VLAN_LIST => settings.vlan = outer_vlan(value).or(settings.vlan),
            VF_SPOOFCHK => settings.spoofchk = known(word(1)),
            VF_TRUST => settings.trust = known(word(1)),
            VF_LINK_STATE => {
                settings.link_state = match word(1) {
                    Some(0) => Some(VfLinkState::Auto),
                    Some(1) => Some(VfLinkState::Enable),
                    Some(2) => Some(VfLinkState::Disable),
                    Some(_) | None => None,
                };
            }
            VF_RATE => settings.rate = word(1).zip(word(2)).map(|(min, max)| VfRate { min, max }),
            _ => {}
        }
    }
    settings
}

/// The first entry of a list of VLANs: `struct ifla_vf_vlan_info`.
fn outer_vlan(list: &[u8]) -> Option<VfVlan> {
    let (_, value, _) = attribute(list)?;
    let ethertype = u16::from_be_bytes(*value.get(12..)?.first_chunk()?);
    let protocol = if ethertype == ETH_P_8021AD { VlanProtocol::Dot1Ad } else { VlanProtocol::Dot1Q };
    vlan(u32_at(value, 4)?, u32_at(value, 8)?, protocol)
}

fn vlan(id: u32, qos: u32, protocol: VlanProtocol) -> Option<VfVlan> {
    Some(VfVlan { id: u16::try_from(id).ok()?, qos: u8::try_from(qos).ok()?, protocol })
}

#[cfg(test)]
#[path = "vf/tests.rs"]
mod tests;
