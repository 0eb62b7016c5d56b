//! A link as `ip -details -json address show` describes it.

use serde_json::Value;

use crate::trouble::{Outcome, Trouble, equal};

/// A link.
pub(crate) struct Link(Value);

impl Link {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.text("/ifname")
    }

    /// Holds its kind against this one.
    ///
    /// # Errors
    /// It is another.
    pub(crate) fn is_a(&self, kind: &str) -> Outcome<()> {
        equal("the kind of the link", self.text("/linkinfo/info_kind"), kind)
    }

    /// Holds a property of its kind against this value.
    ///
    /// # Errors
    /// It is another, or absent.
    pub(crate) fn has(&self, property: &str, wanted: impl Into<Value>) -> Outcome<()> {
        let found = self.0.pointer(&format!("/linkinfo/info_data/{property}"));
        equal(&format!("{property} of {:?}", self.name()), found.cloned(), Some(wanted.into()))
    }

    /// Holds its MTU, in bytes, against this one.
    ///
    /// # Errors
    /// It is another.
    pub(crate) fn has_mtu(&self, wanted: u64) -> Outcome<()> {
        equal("the MTU", self.0.get("mtu").and_then(Value::as_u64), Some(wanted))
    }

    /// Its MTU in bytes.
    pub(crate) fn mtu(&self) -> u64 {
        self.0.get("mtu").and_then(Value::as_u64).unwrap_or_default()
    }

    /// Its Ethernet address.
    pub(crate) fn mac(&self) -> &str {
        self.text("/address")
    }

    /// Its alias; empty if it has none.
    pub(crate) fn alias(&self) -> &str {
        self.text("/ifalias")
    }

    /// The names that it has beside its own.
    pub(crate) fn altnames(&self) -> Vec<String> {
        let names = self.0.get("altnames").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Whether it has this flag, such as `ALLMULTI`.
    pub(crate) fn has_flag(&self, wanted: &str) -> bool {
        let flags = self.0.get("flags").and_then(Value::as_array);
        flags.is_some_and(|flags| flags.iter().any(|flag| flag == wanted))
    }

    /// The name of the link it lies on; empty if it lies on none.
    pub(crate) fn parent(&self) -> &str {
        self.text("/link")
    }

    /// Whether it is up.
    pub(crate) fn is_up(&self) -> bool {
        self.has_flag("UP")
    }

    /// Its IPv4 addresses with their prefix lengths.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let all = self.0.get("addr_info").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(ipv4).collect()
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Reads what `ip` printed.
///
/// # Errors
/// It is not what `ip` prints.
pub(crate) fn links(printed: &str) -> Outcome<Vec<Link>> {
    // A namespace without links yields an empty text with some releases of iproute2.
    if printed.trim().is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<Value> =
        serde_json::from_str(printed).map_err(Trouble::doing("cannot read what ip printed"))?;
    // Filters leave empty objects behind.
    Ok(all.into_iter().filter(|link| link.get("ifname").is_some()).map(Link).collect())
}

fn ipv4(address: &Value) -> Option<String> {
    if address.get("family")?.as_str()? != "inet" {
        return None;
    }
    Some(format!("{}/{}", address.get("local")?.as_str()?, address.get("prefixlen")?.as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"[{},{"ifname":"net1","flags":["UP"],"mtu":1400,
        "linkinfo":{"info_kind":"vlan","info_data":{"protocol":"802.1Q","id":100}},
        "addr_info":[{"family":"inet","local":"10.0.0.2","prefixlen":24},
                     {"family":"inet6","local":"fe80::1","prefixlen":64}]}]"#;

    #[test]
    fn a_link_is_read_from_what_ip_prints() {
        let links = links(PRINTED).unwrap();

        let link = links.first().unwrap();

        assert_eq!(links.len(), 1);
        assert!(link.is_a("vlan").is_ok() && link.has("id", 100).is_ok() && link.has_mtu(1400).is_ok());
        assert!(link.is_up());
        assert_eq!(link.addresses(), ["10.0.0.2/24"]);
    }

    #[test]
    fn a_property_that_differs_or_is_absent_is_named() {
        let links = links(PRINTED).unwrap();
        let link = links.first().unwrap();

        let differs = link.has("id", 200).unwrap_err().to_string();
        let absent = link.has("mode", "bridge").unwrap_err().to_string();

        assert_eq!(differs, "id of \"net1\" is Some(Number(100)), not Some(Number(200))");
        assert_eq!(absent, "mode of \"net1\" is None, not Some(String(\"bridge\"))");
    }

    #[test]
    fn no_links_are_no_trouble() {
        assert!(links("").unwrap().is_empty());
    }
}
