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
        // In mode passthru the link takes its master's address unless one is asked for.
        let derived = || (mode != MacvlanMode::Passthru).then(|| mark::derived_mac(&ask.attachment.owner));
        Ok(Box::new(VirtualLink {
            owner: ask.attachment.owner.clone(),
            kind: LinkKind::Macvlan { mode, bc_queue_len: keys.bcqueuelen.filter(|n| *n > 0) },
            master: WantedMaster::read(keys.master.as_deref(), keys.linkincontainer)?,
            mac: asked.or_else(derived),
            mtu: virtual_link::mtu(keys.mtu)?,
            announce: true,
            layer3: Layer3::read(ask)?,
            claims: Vec::new(),
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
    use super::*;
    use crate::plan::keys::tests::assert_read;

    #[test]
    fn the_keys_that_are_known_are_those_that_are_read() {
        assert_read::<Keys>(&KNOWN);
    }
}
