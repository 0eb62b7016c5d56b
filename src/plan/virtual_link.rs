//! A virtual link on a master, with addresses: what the Kinds that make such links have in common.

use super::claim::Claim;
use super::facts::{Facts, LinkFacts, Place, Question};
use super::ipam::{self, Ipam};
use super::keys::Known;
use super::kind::{Ask, Wanted};
use super::mark;
use super::step::{Bearer, ConfigureStep, Dad, LinkKind, LinkStep, Master, Step};
use crate::model::attachment::Routing;
use crate::model::fault::{Fault, Outcome};
use crate::model::result::Dns;
use crate::model::{FaultKind, IfName, MacAddr, Owner};

/// A virtual link, read and checked.
pub struct VirtualLink {
    /// Whose it is.
    pub owner: Owner,
    /// What kind of link.
    pub kind: LinkKind,
    /// Which link it sits on.
    pub master: WantedMaster,
    /// Its Ethernet address; `None` takes the master's.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes; `None` takes the master's.
    pub mtu: Option<u32>,
    /// Whether the kernel announces its addresses.
    pub announce: bool,
    /// Its addresses, and how they are brought up.
    pub layer3: Layer3,
    /// What it has for itself on the node.
    pub claims: Vec<Claim>,
    /// What it was asked to have and cannot.
    pub in_vain: Vec<String>,
}

/// The keys that [`Layer3`] reads; those in `ipam` are of its type.
pub const KNOWN: Known = Known { plain: &["dad", "ipam"], objects: &[("dns", &Known::DNS)] };

/// Which link a virtual link is to sit on.
pub struct WantedMaster {
    place: Place,
    /// Its name; without one, it is the link that the default route goes through.
    name: Option<IfName>,
}

/// The keys about addresses.
pub struct Layer3 {
    ipam: Ipam,
    dns: Dns,
    dad: Dad,
    routing: Routing,
}

impl Layer3 {
    /// Reads `ipam`, `dns` and `dad`.
    ///
    /// # Errors
    /// A value that can never be right.
    pub fn read(ask: Ask<'_>) -> Outcome<Self> {
        #[derive(serde::Deserialize)]
        struct Keys {
            #[serde(default)]
            dns: Dns,
            dad: Option<String>,
        }
        let keys: Keys = ask.conf.object().decode("the configuration")?;
        let dad = match keys.dad.as_deref() {
            None | Some("wait") => Dad::Wait,
            Some("optimistic") => Dad::Optimistic,
            Some("off") => Dad::Off,
            Some(other) => {
                return Err(Fault::new(FaultKind::Config, format!("\"dad\" is {other:?}"))
                    .remedy("use \"wait\", \"optimistic\" or \"off\""));
            }
        };
        let routing = ask.attachment.routing.clone();
        Ok(Self { ipam: ipam::read(ask)?, dns: keys.dns, dad, routing })
    }

    /// What must be known about the node before planning.
    pub fn questions(&self) -> Vec<Question> {
        self.ipam.questions()
    }

    /// The step that gives the interface what it was asked to have; `announce` has the kernel announce its addresses.
    ///
    /// # Errors
    /// A file the configuration names is not there, or is not what it should be.
    pub fn configure(&self, facts: &Facts, announce: bool) -> Outcome<ConfigureStep> {
        let mut given = self.ipam.given(facts)?;
        if !self.dns.is_empty() {
            given.dns = self.dns.clone();
        }
        // Not made, they cannot clash with those of another interface.
        given.routes.retain(|route| !self.routing.displaces_route(route));
        Ok(ConfigureStep {
            leased_dns: given.dns.is_empty(),
            given,
            needs_address: self.ipam.needs_address(),
            dad: self.dad,
            announce,
            bearer: Bearer::Link,
        })
    }

    /// The step that yields the addresses, if one is needed.
    pub fn lease_step(&self) -> Option<Step> {
        self.ipam.lease_step()
    }

    /// The steps that make an interface and the one that configures it, in order, with the one that yields addresses.
    ///
    /// Where an address is taken out of a store, that comes before the interface: a full store is found out first. A
    /// plugin that hands out addresses comes after it: DHCP asks through the interface.
    pub fn arrange(&self, make: Vec<Step>, configure: Step) -> Vec<Step> {
        let lease = self.lease_step();
        let (before, after) = match lease {
            Some(lease @ Step::Exec(_)) => (None, Some(lease)),
            lease => (lease, None),
        };
        before.into_iter().chain(make).chain(after).chain([configure]).collect()
    }
}

impl WantedMaster {
    /// Reads the keys about it; an empty name is none.
    ///
    /// # Errors
    /// A name that no link can have.
    pub fn read(name: Option<&str>, in_container: bool) -> Outcome<Self> {
        let place = if in_container { Place::Pod } else { Place::Host };
        let name = name.filter(|name| !name.is_empty()).map(str::parse).transpose();
        let name = name.map_err(|fault: Fault| fault.recast(FaultKind::Config).while_doing("\"master\""))?;
        Ok(Self { place, name })
    }

    /// The name of one that is named, and on the host.
    pub fn on_host(&self) -> Option<&IfName> {
        self.name.as_ref().filter(|_| self.place == Place::Host)
    }

    fn question(&self) -> Question {
        match &self.name {
            Some(name) => Question::Link(self.place, name.clone()),
            None => Question::DefaultLink(self.place),
        }
    }

    fn missing(&self) -> Fault {
        let side = match self.place {
            Place::Host => "on this node",
            Place::Pod => "in the pod",
        };
        match &self.name {
            Some(name) => Fault::new(FaultKind::Absent, format!("master {:?} is not {side}", name.as_str()))
                .remedy("correct the network's \"master\", or schedule the pod where that link is"),
            None => Fault::new(FaultKind::Absent, format!("no default route {side} names a master"))
                .remedy("name the master in the network's \"master\""),
        }
    }
}

/// Checks an MTU: 0 and absent both take the master's.
///
/// # Errors
/// A negative number, or one no link can have.
pub fn mtu(value: Option<i64>) -> Outcome<Option<u32>> {
    let value = value.unwrap_or_default();
    match u32::try_from(value) {
        Ok(0) => Ok(None),
        Ok(mtu) if mtu <= 65_536 => Ok(Some(mtu)),
        Ok(_) | Err(_) => Err(Fault::new(FaultKind::Config, format!("\"mtu\" is {value}"))
            .remedy("give bytes, at most the master's MTU, or leave the key out to take the master's")),
    }
}

impl VirtualLink {
    fn link(&self, master: Master) -> Step {
        Step::Link(LinkStep {
            kind: self.kind.clone(),
            master: Some(master),
            mac: self.mac,
            mtu: self.mtu,
            group: mark::link_group(&self.owner.container),
        })
    }

    fn fits(&self, master: &LinkFacts) -> Outcome<()> {
        let Some(mtu) = self.mtu.filter(|mtu| *mtu > master.mtu) else { return Ok(()) };
        Err(Fault::new(
            FaultKind::Config,
            format!("\"mtu\" is {mtu}, but master {:?} has {}", master.name.as_str(), master.mtu),
        )
        .remedy("lower \"mtu\", or raise the master's"))
    }
}

impl Wanted for VirtualLink {
    fn claims(&self) -> Outcome<Vec<Claim>> {
        Ok(self.claims.clone())
    }

    fn warnings(&self) -> Vec<String> {
        self.in_vain.clone()
    }

    fn questions(&self) -> Vec<Question> {
        let mut questions = self.layer3.questions();
        questions.push(self.master.question());
        questions
    }

    fn steps(&self, facts: &Facts) -> Outcome<Vec<Step>> {
        let seen = facts.link(&self.master.question()).ok_or_else(|| self.master.missing())?;
        self.fits(seen)?;
        let master = Master { place: self.master.place, name: seen.name.clone(), index: seen.index };
        let mut configure = self.layer3.configure(facts, self.announce)?;
        // As the reference plugins of these links: the network's own "dns", and never that of IPAM.
        configure.given.dns = self.layer3.dns.clone();
        configure.leased_dns = false;
        Ok(self.layer3.arrange(vec![self.link(master)], Step::Configure(configure)))
    }

    fn traces(&self) -> Vec<Step> {
        // Undoing a link looks for its mark, not for its master.
        let name = self.master.name.as_ref().unwrap_or(&self.owner.ifname).clone();
        let link = self.link(Master { place: self.master.place, name, index: 0 });
        self.layer3.lease_step().into_iter().chain([link]).collect()
    }
}
