//! The messages used of VPP's API: names with the digests of their layouts, requests laid out. The digests have
//! been the same from VPP 21.06 to 26.06, where the message is there at all.

use super::wire::Writer;
use crate::model::MacAddr;
use crate::model::fault::Outcome;

/// A request, without its number, and the answer it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Its name.
    pub(super) name: &'static str,
    /// The name of its reply; of what it lists, if it is a dump.
    pub(super) reply: &'static str,
    /// What stands behind client and context.
    pub(super) fields: Vec<u8>,
}

/// The greeting and its answer have numbers of their own, for nothing is known yet.
pub(super) const GREETING: u16 = 15;
pub(super) const GREETED: u16 = 16;

pub(super) const KEEPALIVE: &str = "memclnt_keepalive_51077d14";
pub(super) const KEEPALIVE_REPLY: &str = "memclnt_keepalive_reply_e8d4e804";

pub(super) const CREATE_VHOST_V2: &str = "create_vhost_user_if_v2_dba1cc1d";
pub(super) const CREATE_VHOST: &str = "create_vhost_user_if_c785c6fc";
pub(super) const CREATE_MEMIF_V2: &str = "memif_create_v2_8c7de5f7";
pub(super) const CREATE_MEMIF: &str = "memif_create_b1b25061";
pub(super) const MEMIF_SOCKET_V2: &str = "memif_socket_filename_add_del_v2_34223bdf";
pub(super) const MEMIF_SOCKET: &str = "memif_socket_filename_add_del_a2ce1a10";
pub(super) const MEMIF_DUMP: &str = "memif_dump_51077d14";
pub(super) const VHOST_DUMP: &str = "sw_interface_vhost_user_dump_f9e6675e";
pub(super) const VLAN_REWRITE: &str = "l2_interface_vlan_tag_rewrite_62cc0bbc";
pub(super) const VLAN_FILTER: &str = "l2_interface_efp_filter_5501adee";
pub(super) const BRIDGE_V2: &str = "bridge_domain_add_del_v2_600b7170";
pub(super) const BRIDGE: &str = "bridge_domain_add_del_600b7170";

/// Stands for "all", or "let VPP choose".
pub(super) const ANY: u32 = u32::MAX;

/// Sizes of fields with texts.
pub(super) const TAG: usize = 64;
pub(super) const NAME: usize = 64;
pub(super) const VHOST_PATH: usize = 256;
pub(super) const MEMIF_PATH: usize = 108;
const MEMIF_SECRET: usize = 24;

/// Rings and buffers of a memif: what VPP has where nothing is said.
const RING: u32 = 1024;
const BUFFER: u16 = 2048;

/// What a memif carries: Ethernet frames.
pub(super) const ETHERNET: u32 = 0;

/// Frames that come in get this tag, and frames that go out lose it.
pub(super) const PUSH_ONE: u32 = 1;

fn message(name: &'static str, reply: &'static str, fields: Writer) -> Message {
    Message { name, reply, fields: fields.finish() }
}

pub(super) fn greeting(context: u32, name: &str) -> Outcome<Vec<u8>> {
    Ok(Writer::default().u16(GREETING).u32(context).fixed(name, NAME)?.finish())
}

/// Ends the list of a dump, which has no end of its own.
pub(super) fn control_ping() -> Message {
    message("control_ping_51077d14", "control_ping_reply_f6b0b8ca", Writer::default())
}

pub(super) fn show_version() -> Message {
    message("show_version_51077d14", "show_version_reply_c919bde1", Writer::default())
}

/// A vhost-user interface to make.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewVhost<'a> {
    pub(super) path: &'a str,
    pub(super) serves: bool,
    pub(super) mac: MacAddr,
    pub(super) tag: &'a str,
}

pub(super) fn create_vhost(new: NewVhost<'_>, v2: bool) -> Outcome<Message> {
    let (name, reply) = match v2 {
        true => (CREATE_VHOST_V2, "create_vhost_user_if_v2_reply_5383d31f"),
        false => (CREATE_VHOST, "create_vhost_user_if_reply_5383d31f"),
    };
    // No renumbering; mergeable buffers and indirect descriptors stay on, segmentation and packed rings off.
    let features = if v2 { 6 } else { 5 };
    let fields = Writer::default().bool(new.serves).fixed(new.path, VHOST_PATH)?.zeros(features);
    // No instance number.
    let fields = fields.u32(0).bool(true).mac(new.mac).fixed(new.tag, TAG)?;
    Ok(message(name, reply, fields))
}

pub(super) fn delete_vhost(index: u32) -> Message {
    let fields = Writer::default().u32(index);
    message("delete_vhost_user_if_f9e6675e", "delete_vhost_user_if_reply_e8d4e804", fields)
}

pub(super) fn vhost_dump() -> Message {
    message(VHOST_DUMP, "sw_interface_vhost_user_details_0cee1e53", Writer::default().u32(ANY))
}

pub(super) fn add_memif_socket(name: &str) -> Message {
    let fields = Writer::default().bool(true).u32(ANY).text(name);
    message(MEMIF_SOCKET_V2, "memif_socket_filename_add_del_v2_reply_9f29bdb9", fields)
}

/// As [`add_memif_socket`], where VPP does not choose numbers.
pub(super) fn add_memif_socket_as(number: u32, name: &str) -> Outcome<Message> {
    let fields = Writer::default().bool(true).u32(number).fixed(name, MEMIF_PATH)?;
    Ok(message(MEMIF_SOCKET, "memif_socket_filename_add_del_reply_e8d4e804", fields))
}

pub(super) fn remove_memif_socket(number: u32, v2: bool) -> Message {
    let fields = Writer::default().bool(false).u32(number);
    match v2 {
        true => message(MEMIF_SOCKET_V2, "memif_socket_filename_add_del_v2_reply_9f29bdb9", fields.text("")),
        false => {
            let fields = fields.zeros(MEMIF_PATH);
            message(MEMIF_SOCKET, "memif_socket_filename_add_del_reply_e8d4e804", fields)
        }
    }
}

pub(super) fn memif_socket_dump() -> Message {
    let name = "memif_socket_filename_dump_51077d14";
    message(name, "memif_socket_filename_details_7ff326f7", Writer::default())
}

/// A memif interface to make.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewMemif {
    pub(super) serves: bool,
    pub(super) queues: u8,
    pub(super) socket: u32,
    pub(super) mac: MacAddr,
}

pub(super) fn create_memif(new: NewMemif, v2: bool) -> Message {
    let role = u32::from(!new.serves);
    // Otherwise, where VPP connects, it would share all its memory for packets with the pod, others' among them.
    let no_zero_copy = true;
    let fields = Writer::default().u32(role).u32(ETHERNET).u8(new.queues).u8(new.queues).u32(0);
    let fields = fields.u32(new.socket).u32(RING).u16(BUFFER).bool(no_zero_copy);
    let fields = if v2 { fields.bool(false) } else { fields };
    // No secret: whoever can reach the socket may use it.
    let fields = fields.mac(new.mac).zeros(MEMIF_SECRET);
    match v2 {
        true => message(CREATE_MEMIF_V2, "memif_create_v2_reply_5383d31f", fields),
        false => message(CREATE_MEMIF, "memif_create_reply_5383d31f", fields),
    }
}

pub(super) fn delete_memif(index: u32) -> Message {
    message("memif_delete_f9e6675e", "memif_delete_reply_e8d4e804", Writer::default().u32(index))
}

pub(super) fn memif_dump() -> Message {
    message(MEMIF_DUMP, "memif_details_da34feb9", Writer::default())
}

pub(super) fn set_up(index: u32) -> Message {
    let fields = Writer::default().u32(index).u32(ADMIN_UP);
    message("sw_interface_set_flags_f5aec1b8", "sw_interface_set_flags_reply_e8d4e804", fields)
}

/// Flags of an interface.
pub(super) const ADMIN_UP: u32 = 1;
pub(super) const LINK_UP: u32 = 2;

pub(super) fn set_tag(index: u32, tag: &str) -> Outcome<Message> {
    let fields = Writer::default().bool(true).u32(index).fixed(tag, TAG)?;
    Ok(message("sw_interface_tag_add_del_426f8bc1", "sw_interface_tag_add_del_reply_e8d4e804", fields))
}

/// Sets the MTU of what is routed; those of single protocols follow it.
pub(super) fn set_mtu(index: u32, mtu: u32) -> Message {
    let fields = Writer::default().u32(index).u32(mtu).zeros(12);
    message("sw_interface_set_mtu_5cbe85e5", "sw_interface_set_mtu_reply_e8d4e804", fields)
}

pub(super) fn interface_dump() -> Message {
    let fields = Writer::default().u32(ANY).bool(false).text("");
    message("sw_interface_dump_aa610c27", "sw_interface_details_6c221fc7", fields)
}

/// Adds a bridge domain that floods, forwards and learns, or removes one.
pub(super) fn bridge(number: u32, tag: &str, add: bool, v2: bool) -> Outcome<Message> {
    let (name, reply) = match v2 {
        true => (BRIDGE_V2, "bridge_domain_add_del_v2_reply_fcb1e980"),
        false => (BRIDGE, "bridge_domain_add_del_reply_e8d4e804"),
    };
    let fields = Writer::default().u32(number).bool(true).bool(true).bool(true).bool(true);
    // ARP is left to the pods, and addresses do not age.
    Ok(message(name, reply, fields.zeros(3).fixed(tag, TAG)?.bool(add)))
}

pub(super) fn bridge_dump(number: u32) -> Message {
    let fields = Writer::default().u32(number).u32(ANY);
    message("bridge_domain_dump_74396a43", "bridge_domain_details_0fa506fd", fields)
}

pub(super) fn enter_bridge(index: u32, bridge: u32) -> Message {
    let name = "sw_interface_set_l2_bridge_d0678b13";
    // A plain port, in no group that is kept from itself.
    let fields = Writer::default().u32(index).u32(bridge).u32(0).u8(0).bool(true);
    message(name, "sw_interface_set_l2_bridge_reply_e8d4e804", fields)
}

/// Frames that come in get the tag of a VLAN, and lose it on their way out.
pub(super) fn push_vlan(index: u32, vlan: u16) -> Message {
    // The tag is one of 802.1Q; there is no second one.
    let fields = Writer::default().u32(index).u32(PUSH_ONE).u32(1).u32(vlan.into()).u32(0);
    message(VLAN_REWRITE, "l2_interface_vlan_tag_rewrite_reply_e8d4e804", fields)
}

/// Only frames with the tag that would be taken off go out.
pub(super) fn keep_vlan_apart(index: u32) -> Message {
    let fields = Writer::default().u32(index).bool(true);
    message(VLAN_FILTER, "l2_interface_efp_filter_reply_e8d4e804", fields)
}
