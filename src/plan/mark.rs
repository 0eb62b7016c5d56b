//! The marks by which Manifold knows its own things, made of the owner's name alone.

use std::path::Path;

use crate::model::{ContainerId, MacAddr, Owner};

/// FNV-1a, 64 bits: small, stable for ever, and good enough to tell the pods of one node apart.
fn fnv1a(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|p| p.bytes().chain([0]));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    // The low bits of FNV mix badly; one round of the finaliser of MurmurHash3 mends that.
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// The link group of links that nobody has marked: the kernel's default.
pub const UNMARKED: u32 = 0;

/// The link group (`IFLA_GROUP`) of a container's native links.
///
/// It is set in the request that creates a link, so there is no moment at which a link of ours carries no mark. Bit 30
/// is set and bit 31 clear: far from the small numbers people choose, and positive for tools that print it signed.
pub fn link_group(container: &ContainerId) -> u32 {
    let [.., a, b, c, d] = fnv1a(&["group", container.as_str()]).to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]) >> 2) | 0x4000_0000
}

/// The group into which some links of a container are moved to be deleted together while others stay.
pub fn condemned(group: u32) -> u32 {
    group ^ 1
}

/// The name of an attachment's port of a switch.
pub fn port_name(owner: &Owner) -> String {
    format!("vu{}", hexadecimal(&["port", owner.container.as_str(), owner.ifname.as_str()]))
}

/// The tag of an attachment's interface of VPP: whose it is, and which Manifold made it. VPP keeps 63 bytes, less than an
/// owner's name may have.
pub fn vpp_tag(state_dir: &Path, owner: &Owner) -> String {
    format!("{}{}", vpp_owner(owner), vpp_maker(state_dir))
}

/// What the tag of any interface of an owner begins with, whichever Manifold made it.
pub fn vpp_owner(owner: &Owner) -> String {
    format!("manifold/{}/{}/", vpp_container(&owner.container), owner.ifname)
}

/// What the tag of any interface ends with that a Manifold with this directory of records made.
pub fn vpp_maker(state_dir: &Path) -> String {
    digest(&state_dir.to_string_lossy())
}

/// The tag of a bridge domain that a Manifold with this directory of records made.
pub fn vpp_bridge(state_dir: &Path) -> String {
    format!("manifold/{}", vpp_maker(state_dir))
}

/// The Ethernet address of VPP's own side of an attachment's interface, by which a memif is known before it has a tag.
pub fn vpp_mac(owner: &Owner) -> MacAddr {
    MacAddr::local(fnv1a(&["vpp mac", owner.container.as_str(), owner.ifname.as_str()]))
}

/// What stands for a container in a tag.
pub fn vpp_container(container: &ContainerId) -> String {
    format!("{:016x}", fnv1a(&["vpp", container.as_str()]))
}

/// The container that a tag stands for, if a Manifold with this directory of records made it.
pub fn vpp_tagged<'a>(tag: &'a str, state_dir: &Path) -> Option<&'a str> {
    let mut parts = tag.strip_prefix("manifold/")?.split('/');
    let (container, _, maker) = (parts.next()?, parts.next()?, parts.next()?);
    (maker == vpp_maker(state_dir) && parts.next().is_none()).then_some(container)
}

/// The name of an attachment's short link to the directory of its socket.
pub fn link_name(owner: &Owner) -> String {
    hexadecimal(&["link", owner.container.as_str(), owner.ifname.as_str()])
}

/// A container's id in twelve characters, as file names have it: the beginning of one that a runtime made up, which is
/// hexadecimal, and a digest of any other.
pub fn short_id(container: &ContainerId) -> String {
    let text = container.as_str();
    match text.get(..SHORT) {
        Some(start) if text.len() > SHORT && text.bytes().all(|b| b.is_ascii_hexdigit()) => start.to_owned(),
        Some(_) | None => hexadecimal(&["id", text]),
    }
}

/// A digest of a text, in twelve characters.
pub fn digest(text: &str) -> String {
    hexadecimal(&["text", text])
}

/// Length of a short id or a digest, in characters.
const SHORT: usize = 12;

fn hexadecimal(parts: &[&str]) -> String {
    let mut digits = format!("{:016x}", fnv1a(parts));
    digits.truncate(SHORT);
    digits
}

/// The Ethernet address of an attachment that asks for none: the same at every try, so it is known before the link is.
pub fn derived_mac(owner: &Owner) -> MacAddr {
    MacAddr::local(fnv1a(&["mac", owner.container.as_str(), owner.ifname.as_str()]))
}

/// The alias of a device's link: that of a link, and the name it had on the host. It stays with the link when the pod's
/// namespace dies, so that the link is known by it wherever it turns up.
pub fn device_alias(owner: &Owner, name: &str) -> String {
    format!("{}{WAS}{name}", alias(owner))
}

const MARK: &str = "manifold:";
const WAS: &str = " was ";

/// Whose device's link an alias is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aliased<'a> {
    /// Nobody's: it is no alias of ours.
    Nobody,
    /// This owner's, with the name the link had on the host, if that is told.
    Ours(Option<&'a str>),
    /// Another owner's.
    Another,
}

/// Reads the alias of a device's link.
pub fn read_alias<'a>(text: &'a str, owner: &Owner) -> Aliased<'a> {
    let Some(rest) = text.strip_prefix(MARK) else { return Aliased::Nobody };
    let (whose, name) = rest.split_once(WAS).map_or((rest, None), |(whose, name)| (whose, Some(name)));
    if whose == owner.to_string() { Aliased::Ours(name) } else { Aliased::Another }
}

/// The alias (`IFLA_IFALIAS`) for people who look at a link: `manifold:` and the owner, at most 255 bytes.
pub fn alias(owner: &Owner) -> String {
    format!("{MARK}{owner}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_tag_fits_and_tells_whose_it_is() {
        let owner = |id: &str, ifname: &str| Owner::parse(id, ifname).unwrap();
        let (long, dir) = (owner(&"f0".repeat(32), "fifteen-bytes-x"), Path::new("/var/lib/cni/manifold"));
        let tag = vpp_tag(dir, &long);

        assert!(tag.len() <= 63, "{tag}");
        assert!(tag.starts_with(&vpp_owner(&long)) && !tag.starts_with(&vpp_owner(&owner("f0", "net1"))));
        assert_eq!(vpp_tagged(&tag, dir), Some(vpp_container(&long.container).as_str()));
        assert_eq!(vpp_tagged(&tag, Path::new("/elsewhere")), None);
        for other in
            ["", "manifold/", "manifold/x/y", &format!("{tag}/z"), "somebody/x/y/z", &vpp_bridge(dir)]
        {
            assert_eq!(vpp_tagged(other, dir), None, "{other}");
        }
    }
}
