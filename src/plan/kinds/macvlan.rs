//! `macvlan`: a link with an Ethernet address of its own on a master (kernel `drivers/net/macvlan.c`).

use serde::Deserialize;

use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::plan::keys::{self, Known};
use crate::plan::kind::{Ask, Kind, Wanted};
use crate::plan::mark;
use crate::plan::step::{LinkKind, MacvlanMode};
use crate::plan::virtual_link::{self, Layer3, VirtualLink, WantedMaster};

/// The plugin type `macvlan`, with the keys of the reference plugin, mode `source`, and `dad`.
pub(super) struct Macvlan;

#[derive(Deserialize)]
struct Keys {
    master: Option<String>,
    mode: Option<String>,
    mtu: Option<i64>,
    mac: Option<String>,
    #[serde(default)]
    linkincontainer: bool,
    bcqueuelen: Option<u32>,
}

const KNOWN: Known =
    Known { plain: &["bcQueueLen", "linkInContainer", "mac", "master", "mode", "mtu"], objects: &[] };

const PASSTHRU_MAC: &str =
    "an Ethernet address has no effect in mode \"passthru\": the link has its master's";

impl Kind for Macvlan {
    fn plugin_type(&self) -> &'static str {
        "macvlan"
    }

    fn keys(&self) -> &'static [&'static Known] {
        &[&KNOWN, &virtual_link::KNOWN, &keys::EVERYWHERE]
    }

    fn read(&self, ask: Ask<'_>) -> Outcome<Box<dyn Wanted>> {
        let keys: Keys = ask.conf.object().decode("the configuration")?;
        let mode = mode(keys.mode.as_deref())?;
        let asked = ask.mac(keys.mac.as_deref())?;
        let (mac, in_vain) = match (mode, asked) {
            // The kernel gives such a link its master's address, whatever the request says.
            (MacvlanMode::Passthru, asked) => (None, asked.map(|_| PASSTHRU_MAC.to_owned())),
            (_, asked) => (Some(asked.unwrap_or_else(|| mark::derived_mac(&ask.attachment.owner))), None),
        };
        Ok(Box::new(VirtualLink {
            owner: ask.attachment.owner.clone(),
            kind: LinkKind::Macvlan { mode, bc_queue_len: keys.bcqueuelen.filter(|n| *n > 0) },
            master: WantedMaster::read(keys.master.as_deref(), keys.linkincontainer)?,
            mac,
            mtu: virtual_link::mtu(keys.mtu)?,
            announce: true,
            layer3: Layer3::read(ask)?,
            claims: Vec::new(),
            in_vain: in_vain.into_iter().collect(),
        }))
    }
}

fn mode(name: Option<&str>) -> Outcome<MacvlanMode> {
    match name.unwrap_or_default() {
        "" | "bridge" => Ok(MacvlanMode::Bridge),
        "private" => Ok(MacvlanMode::Private),
        "vepa" => Ok(MacvlanMode::Vepa),
        "passthru" => Ok(MacvlanMode::Passthru),
        "source" => Ok(MacvlanMode::Source),
        other => Err(Fault::new(FaultKind::Config, format!("\"mode\" is {other:?}"))
            .remedy("use \"bridge\", \"private\", \"vepa\", \"passthru\" or \"source\"")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{Attachment, Network, Owner};
    use crate::plan::keys::tests::assert_read;
    use crate::plan::step::Step;

    /// The Ethernet address that is asked of the kernel, and what is asked of Manifold in vain.
    fn mac(conf: Value, args: &str) -> (Option<String>, Vec<String>) {
        let mut named = conf;
        named["name"] = json!("n");
        named["type"] = json!("macvlan");
        let network = Network::parse(named.to_string().as_bytes(), None).unwrap();
        let owner = Owner::parse("pod-1", "net1").unwrap();
        let attachment = Attachment { args: args.parse().unwrap(), ..Attachment::new(owner, network) };
        let wanted =
            Macvlan.read(Ask { conf: &attachment.network.plugins[0], attachment: &attachment }).unwrap();
        let macs = wanted.traces().into_iter().filter_map(|step| {
            let Step::Link(link) = step else { return None };
            link.mac
        });
        (macs.map(|mac| mac.to_string()).next(), wanted.warnings())
    }

    #[test]
    fn an_empty_address_does_not_take_the_place_of_another() {
        let (low, high) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
        let derived = mark::derived_mac(&Owner::parse("pod-1", "net1").unwrap()).to_string();
        for (conf, args, expected) in [
            (json!({"mac": low, "runtimeConfig": {"mac": ""}}), "MAC=", low),
            (json!({"mac": low, "runtimeConfig": {"mac": ""}}), "MAC=02:00:00:00:00:02", high),
            (json!({"mac": low, "runtimeConfig": {"mac": high}}), "", high),
            (json!({"mac": "", "runtimeConfig": {"mac": ""}}), "MAC=", &derived),
        ] {
            assert_eq!(mac(conf.clone(), args), (Some(expected.to_owned()), Vec::new()), "{conf} {args}");
        }
    }

    #[test]
    fn in_mode_passthru_the_address_is_the_masters_whatever_is_asked() {
        let passthru = |mac: &str| json!({"mode": "passthru", "mac": mac});

        assert_eq!(mac(passthru(""), ""), (None, Vec::new()));
        let (asked, told) = mac(passthru("02:00:00:00:00:01"), "");
        assert_eq!((asked, told), (None, vec![PASSTHRU_MAC.to_owned()]));
    }

    #[test]
    fn the_keys_that_are_known_are_those_that_are_read() {
        assert_read::<Keys>(&KNOWN);
    }
}
