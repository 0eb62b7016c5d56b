//! Addresses, routes and the way up, in as few requests as the kernel allows.

use std::net::IpAddr;
use std::time::Duration;
use std::{fs, mem};

use ipnetwork::IpNetwork;
use nix::libc;

use super::link::{drift, netns};
use super::pace::Pace;
use crate::engine::ports::Site;
use crate::host::netlink::addr::{self, Detection};
use crate::host::netlink::link::Seen;
use crate::host::netlink::socket::Refusal;
use crate::host::netlink::sockets::Pod;
use crate::host::netlink::{Request, Socket, Sockets, link, route};
use crate::model::fault::{Fault, Outcome};
use crate::model::result::{IpConfig, Route};
use crate::model::{CniResult, FaultKind};
use crate::plan::mark::{self, Aliased};
use crate::plan::step::{Bearer, ConfigureStep, Dad, Progress};

/// Adds addresses, brings the link up, adds routes, and waits for duplicate address detection where that is asked for.
pub(super) fn apply(
    sockets: &Sockets,
    site: Site<'_>,
    step: &ConfigureStep,
    progress: &mut Progress,
) -> Outcome<()> {
    let mut ips = step.given.ips.clone();
    ips.append(&mut progress.leased.ips);
    let mut routes = step.given.routes.clone();
    routes.append(&mut progress.leased.routes);
    if ips.is_empty() && step.needs_address {
        return Err(Fault::new(FaultKind::Plugin, "IPAM gave no address")
            .remedy("add a range or an address to \"ipam\""));
    }
    match step.bearer {
        Bearer::Application => {}
        Bearer::Link => {
            sockets
                .pod(netns(site)?, |pod| Configuring { site, step, ips: &ips, routes: &routes }.run(pod))?;
        }
    }
    let result = progress.result.get_or_insert_default();
    result.ips = ips.into_iter().map(|ip| IpConfig { interface: Some(0), ..ip }).collect();
    result.routes = routes;
    result.dns = if step.leased_dns { mem::take(&mut progress.leased.dns) } else { step.given.dns.clone() };
    Ok(())
}

/// What is to be configured, and for whom.
struct Configuring<'a> {
    site: Site<'a>,
    step: &'a ConfigureStep,
    ips: &'a [IpConfig],
    routes: &'a [Route],
}

impl Configuring<'_> {
    fn run(&self, pod: &mut Pod) -> Outcome<()> {
        let name = self.site.attachment.owner.ifname.as_str();
        let seen = link::by_name(&mut pod.socket, name)?;
        let seen = seen.ok_or_else(|| drift(format!("interface {name:?} is gone")))?;
        let index = seen.index;
        if self.ips.iter().any(|ip| ip.address.is_ipv6()) {
            pod.netns.within(|| self.prepare_ipv6(name))??;
        }
        let mut monitor = match self.waiting().is_empty() {
            true => None,
            false => Some(pod.netns.within(|| Socket::listening(addr::IPV6_CHANGES))??),
        };
        self.ask(&mut pod.socket, &seen)?;
        match &mut monitor {
            Some(monitor) => self.detect(monitor, pod, index),
            None => Ok(()),
        }
    }

    /// Asks for everything. Where the link's Ethernet address is still that of a link in a namespace that has just gone,
    /// whose links the kernel takes down a moment later, what is left of it is asked for again.
    fn ask(&self, socket: &mut Socket, seen: &Seen) -> Outcome<()> {
        let mut pace = Pace::of(DYING);
        let mut done = 0;
        loop {
            let mut wanted = self.requests(seen);
            let (requests, subjects): (Vec<_>, Vec<_>) = wanted.split_off(done).into_iter().unzip();
            let answers = socket.ask_all(requests)?.into_iter().zip(subjects);
            let mut refusals = answers.enumerate().filter_map(|(at, (answer, subject))| {
                answer.err().map(|refusal| (done + at, refusal, subject))
            });
            let Some((at, refusal, subject)) = refusals.next() else { return Ok(()) };
            if !is_taken(&refusal, &subject) || !pace.again() {
                return Err(refused(refusal, &subject, self.site.attachment.owner.ifname.as_str()));
            }
            done = at;
        }
    }

    /// The addresses whose duplicate address detection is waited for: as the reference plugins do, those with a gateway
    /// in their family, for only they can be used for anything at once.
    fn waiting(&self) -> Vec<IpNetwork> {
        let ipv6 = || self.ips.iter().filter(|ip| ip.address.is_ipv6());
        match self.step.dad == Dad::Wait && ipv6().any(|ip| ip.gateway.is_some()) {
            true => ipv6().map(|ip| ip.address).collect(),
            false => Vec::new(),
        }
    }

    /// Everything at once: the kernel takes the requests in order. Addresses come before "up", which announces
    /// them; routes after, for their gateways must be reachable.
    fn requests(&self, seen: &Seen) -> Vec<(Request, Subject)> {
        let index = seen.index;
        let owner = &self.site.attachment.owner;
        // That of a device's link also tells the name it came with.
        let alias = match mark::read_alias(&seen.alias, owner) {
            Aliased::Ours(Some(_)) => seen.alias.clone(),
            Aliased::Ours(None) | Aliased::Another | Aliased::Nobody => mark::alias(owner),
        };
        let announce = self.step.announce && !self.ips.is_empty();
        let mut all = vec![(link::introduce(index, &alias, announce), Subject::Link)];
        for ip in self.ips {
            all.push((addr::add(index, ip.address, self.step.dad), Subject::Address(ip.address)));
        }
        all.push((link::raise(index), Subject::Up));
        for route in self.routes {
            let gateway = self.gateway(route.dst.is_ipv4());
            all.push((route::add(index, route, gateway), Subject::Route(route.clone(), gateway)));
        }
        all
    }

    /// The first gateway of a family.
    fn gateway(&self, ipv4: bool) -> Option<IpAddr> {
        self.ips.iter().filter(|ip| ip.address.is_ipv4() == ipv4).find_map(|ip| ip.gateway)
    }

    /// Switches IPv6 on and sets what there is no netlink attribute for. Runs in the pod's namespace: `/proc/sys/net`
    /// shows that of the calling thread.
    fn prepare_ipv6(&self, name: &str) -> Outcome<()> {
        for link in ["lo", name] {
            let path = format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
            match fs::read_to_string(&path) {
                Ok(text) if text.trim() == "0" => {}
                Ok(_) => set(&path, "0")?,
                // A kernel without IPv6 has no such file, nor those below, and will refuse the address with a better reason.
                Err(_) => return Ok(()),
            }
        }
        let conf = format!("/proc/sys/net/ipv6/conf/{name}");
        set(&format!("{conf}/keep_addr_on_down"), "1")?;
        if self.step.announce {
            set(&format!("{conf}/ndisc_notify"), "1")?;
        }
        if self.step.dad == Dad::Optimistic {
            set(&format!("{conf}/optimistic_dad"), "1")?;
            set(&format!("{conf}/use_optimistic"), "1")?;
        }
        Ok(())
    }

    fn detect(&self, monitor: &mut Socket, pod: &mut Pod, index: u32) -> Outcome<()> {
        match addr::await_detection(monitor, index, self.waiting())? {
            Detection::Passed => Ok(()),
            Detection::Duplicate(address) => Err(Fault::new(
                FaultKind::Exists,
                format!("address {address} is used by another host on the link"),
            )
            .remedy("find that host, or take the address out of the network's range")),
            // Without carrier detection cannot end, and no other host can be reached either.
            Detection::Undecided => match link::by_index(&mut pod.socket, index)? {
                Some(seen) if seen.carrier => {
                    Err(Fault::new(FaultKind::TimedOut, "duplicate address detection did not end in 5 s")
                        .remedy("look at the link's traffic, or set \"dad\": \"off\" in the network"))
                }
                Some(_) | None => Ok(()),
            },
        }
    }
}

/// How long a link waits for its Ethernet address to be free.
const DYING: Duration = Duration::from_secs(1);

/// Whether a link cannot come up because another on the same master has its Ethernet address.
fn is_taken(refusal: &Refusal, subject: &Subject) -> bool {
    matches!((subject, refusal.errno), (Subject::Up, libc::EBUSY | libc::EADDRINUSE))
}

/// What a request was about.
enum Subject {
    Link,
    Up,
    Address(IpNetwork),
    Route(Route, Option<IpAddr>),
}

/// Says what the kernel's refusal means.
fn refused(refusal: Refusal, subject: &Subject, name: &str) -> Fault {
    let (what, kind, remedy) = match (subject, refusal.errno) {
        (Subject::Link, _) => {
            (format!("cannot mark {name:?}"), FaultKind::Kernel, "see the kernel's log on this node")
        }
        (Subject::Up, libc::EBUSY | libc::EADDRINUSE) => (
            format!("cannot bring {name:?} up"),
            FaultKind::Exists,
            "another link on the same master has its Ethernet address: choose another \"mac\"",
        ),
        (Subject::Up, _) => {
            (format!("cannot bring {name:?} up"), FaultKind::Kernel, "see the kernel's log on this node")
        }
        (Subject::Address(address), libc::EEXIST) => (
            format!("cannot add address {address} to {name:?}"),
            FaultKind::Exists,
            "the pod has that address already: choose another",
        ),
        (Subject::Address(address), _) => (
            format!("cannot add address {address} to {name:?}"),
            FaultKind::Kernel,
            "check the address, and that its family is not disabled in the pod",
        ),
        (Subject::Route(route, gateway), libc::EEXIST) => (
            format!("cannot add route {} to {name:?}", shown(route, *gateway)),
            FaultKind::Exists,
            "the pod has that route already: give this one another \"priority\", or leave it out",
        ),
        (Subject::Route(route, gateway), _) => (
            format!("cannot add route {} to {name:?}", shown(route, *gateway)),
            FaultKind::Kernel,
            "check that the gateway is in one of the interface's subnets",
        ),
    };
    Fault::new(kind, what).because(refusal).remedy(remedy)
}

fn shown(route: &Route, gateway: Option<IpAddr>) -> String {
    match route::next_hop(route, gateway) {
        Some(gateway) => format!("{} via {gateway}", route.dst),
        None => route.dst.to_string(),
    }
}

fn set(path: &str, value: &str) -> Outcome<()> {
    fs::write(path, value).map_err(|cause| {
        Fault::new(FaultKind::Kernel, format!("cannot write {value:?} to {path:?}"))
            .because(cause)
            .remedy("check that IPv6 is enabled on this node")
    })
}

/// Whether the link is up, and every address and route of the result is there. What an application has is not seen from here.
pub(super) fn holds(sockets: &Sockets, site: Site<'_>, step: &ConfigureStep) -> Outcome<()> {
    if step.bearer == Bearer::Application {
        return Ok(());
    }
    let name = site.attachment.owner.ifname.as_str();
    let empty = CniResult::default();
    let result = site.result.unwrap_or(&empty);
    sockets.pod(netns(site)?, |pod| {
        let seen = link::by_name(&mut pod.socket, name)?
            .ok_or_else(|| drift(format!("interface {name:?} is gone")))?;
        // That took some addresses and routes along, and is why they are gone.
        if !seen.up {
            return Err(
                drift(format!("interface {name:?} is down")).remedy("bring it up, or restart the pod")
            );
        }
        let addresses = addr::of_link(&mut pod.socket, seen.index)?;
        if let Some(lost) = result.ips.iter().find(|ip| !addresses.contains(&ip.address)) {
            return Err(drift(format!("interface {name:?} has lost address {}", lost.address)));
        }
        let routes =
            if result.routes.is_empty() { Vec::new() } else { route::of_link(&mut pod.socket, seen.index)? };
        let gateway = |ipv4: bool| {
            result.ips.iter().filter(|ip| ip.address.is_ipv4() == ipv4).find_map(|ip| ip.gateway)
        };
        // A later plugin of the chain may have moved routes into tables of its own, as "sbr" does.
        let alone = site.attachment.network.plugins.len() == 1;
        let main = alone.then_some(route::MAIN);
        let is_lost =
            |route: &&Route| !is_there(route, gateway(route.dst.is_ipv4()), route.table.or(main), &routes);
        match result.routes.iter().find(is_lost) {
            Some(lost) => Err(drift(format!(
                "interface {name:?} has lost route {}",
                shown(lost, gateway(lost.dst.is_ipv4()))
            ))),
            None => Ok(()),
        }
    })
}

/// Whether a route is there; without a table, in any.
fn is_there(route: &Route, gateway: Option<IpAddr>, table: Option<u32>, seen: &[route::Seen]) -> bool {
    seen.iter().any(|s| {
        let network = (s.dst.network(), s.dst.prefix()) == (route.dst.network(), route.dst.prefix());
        let metric = route.priority.is_none_or(|p| p == s.priority);
        network
            && metric
            && table.is_none_or(|table| table == s.table)
            && s.gw == route::next_hop(route, gateway)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::result::Dns;
    use crate::model::{Attachment, Network, Owner};

    #[test]
    fn the_name_service_is_the_planned_one_or_came_with_the_addresses() {
        let network = Network::parse(br#"{"name":"n","type":"sriov"}"#, None).unwrap();
        let attachment = Attachment::new(Owner::parse("pod-1", "net1").unwrap(), network);
        let site = Site { attachment: &attachment, netns: None, result: None };
        let dns = |domain: &str| Dns { domain: domain.to_owned(), ..Dns::default() };
        for (leased_dns, domain) in [(false, "planned"), (true, "leased")] {
            let step = ConfigureStep {
                given: CniResult { dns: dns("planned"), ..CniResult::default() },
                leased_dns,
                needs_address: false,
                dad: Dad::Off,
                announce: false,
                bearer: Bearer::Application,
            };
            let leased = CniResult { dns: dns("leased"), ..CniResult::default() };
            let mut progress = Progress { leased, ..Progress::default() };

            apply(&Sockets::default(), site, &step, &mut progress).unwrap();

            assert_eq!(progress.result.unwrap().dns, dns(domain));
        }
    }
}
