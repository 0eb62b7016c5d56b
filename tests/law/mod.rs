//! The laws and what they are tried on: random pods, and mutants of the ports.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use manifold::engine::Node;
use manifold::engine::add::add;
use manifold::engine::check::check;
use manifold::engine::del::{Detach, del};
use manifold::engine::foresee::foresee;
use manifold::engine::gc::{Audience, Valid, gc};
use manifold::engine::ports::{Entry, Hands, Holder, Journal, Patience, Records, Site, Undo};
use manifold::engine::record::Record;
use manifold::engine::scope::Scope;
use manifold::model::attachment::{Called, Routing};
use manifold::model::call::ValidList;
use manifold::model::fault::{Fault, Outcome};
use manifold::model::vhost_user::PortVlans;
use manifold::model::{Attachment, ContainerId, Device, FaultKind, IfName, Network, Owner, Role};
use manifold::plan::claim::Claim;
use manifold::plan::step::{ExecStep, Progress, Step, UndoRank};
use manifold::sim::{Fuse, Moment, SimLink, SimNode, World};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// How one port is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Not at all.
    None,
    /// Undoing a link takes whatever has its name.
    NoOwnerMark,
    /// A record is only written when all is done.
    RecordAfterEffects,
    /// Undoing stops at the first error.
    StopsAtFirstError,
    /// Claims are given to everybody.
    NoClaim,
    /// Undoing forgets addresses.
    LeavesLeases,
    /// Undoing fails without the pod's namespace.
    NeedsNetns,
    /// CHECK looks at nothing.
    BlindCheck,
}

/// A node with one port broken.
struct Broken<'a> {
    sim: &'a SimNode,
    mutant: Mutant,
}

impl Broken<'_> {
    fn node(&self) -> Node<'_> {
        Node { probe: self.sim, hands: self, journal: self }
    }
}

impl Hands for Broken<'_> {
    fn apply(&self, site: Site<'_>, step: &mut Step, progress: &mut Progress) -> Outcome<()> {
        self.sim.apply(site, step, progress)
    }

    fn revert(&self, steps: &[Undo<'_>]) -> Vec<Outcome<()>> {
        let failed = || Err(Fault::new(FaultKind::Kernel, "not undone"));
        let mut stopped = false;
        let mut answers = Vec::new();
        for undo in steps {
            let answer = match (self.mutant, undo.step) {
                (Mutant::LeavesLeases, Step::Lease(_)) => Ok(()),
                (Mutant::NeedsNetns, _) if undo.site.netns.is_none() => failed(),
                (Mutant::StopsAtFirstError, _) if stopped => failed(),
                (Mutant::NoOwnerMark, Step::Link(_)) => {
                    let name = undo.site.attachment.owner.ifname.to_string();
                    self.sim.meddle(|world| world.links.retain(|(_, n), _| *n != name));
                    Ok(())
                }
                _ => self.sim.revert(std::slice::from_ref(undo)).remove(0),
            };
            stopped |= answer.is_err();
            answers.push(answer);
        }
        answers
    }

    fn holds(&self, site: Site<'_>, step: &Step) -> Outcome<()> {
        if self.mutant == Mutant::BlindCheck { Ok(()) } else { self.sim.holds(site, step) }
    }

    fn status(&self, network: &Network, plugin: &ExecStep) -> Outcome<()> {
        self.sim.status(network, plugin)
    }

    fn gc(&self, network: &Network, plugin: &ExecStep, valid: &[Owner]) -> Outcome<()> {
        Hands::gc(self.sim, network, plugin, valid)
    }

    fn collect(&self, store: &Path, keep: &dyn Fn(&ContainerId) -> bool) -> Outcome<()> {
        self.sim.collect(store, keep)
    }
}

/// The records of a sandbox, kept as the mutant has it.
struct BrokenRecords<'a> {
    sound: Box<dyn Records + 'a>,
    mutant: Mutant,
}

impl Records for BrokenRecords<'_> {
    fn entries(&self) -> Outcome<Vec<Entry>> {
        self.sound.entries()
    }

    fn put(&self, record: &Record) -> Outcome<()> {
        if self.mutant == Mutant::RecordAfterEffects { Ok(()) } else { self.sound.put(record) }
    }

    fn mark(&self, record: &Record) -> Outcome<()> {
        if self.mutant == Mutant::RecordAfterEffects {
            self.sound.put(record)
        } else {
            self.sound.mark(record)
        }
    }

    fn remove(&self, ifnames: &[&IfName]) -> Outcome<()> {
        self.sound.remove(ifnames)
    }

    fn set_aside(&self, ifname: Option<&IfName>) -> Outcome<()> {
        self.sound.set_aside(ifname)
    }
}

impl Journal for Broken<'_> {
    fn lock(&self, container: &ContainerId, patience: Patience) -> Outcome<Box<dyn Records + '_>> {
        let sound = self.sim.lock(container, patience)?;
        Ok(Box::new(BrokenRecords { sound, mutant: self.mutant }))
    }

    fn is_writable(&self, container: &ContainerId) -> Outcome<()> {
        self.sim.is_writable(container)
    }

    fn entries(&self, container: &ContainerId) -> Outcome<Vec<Entry>> {
        Journal::entries(self.sim, container)
    }

    fn containers(&self) -> Outcome<Vec<ContainerId>> {
        self.sim.containers()
    }

    fn claim(&self, claim: &Claim, owner: &Owner) -> Outcome<Holder> {
        if self.mutant == Mutant::NoClaim { Ok(Holder::You) } else { self.sim.claim(claim, owner) }
    }

    fn holder(&self, claim: &Claim) -> Outcome<Option<Owner>> {
        self.sim.holder(claim)
    }

    fn release(&self, claim: &Claim, owner: &Owner) -> Outcome<()> {
        self.sim.release(claim, owner)
    }
}

/// A random pod among random neighbours, and when things go wrong.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    chains: Vec<Chain>,
    neighbours: Vec<Vec<Chain>>,
    first: u32,
    second: u32,
    moment: Moment,
    foreign: bool,
}

/// The networks an attachment can be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    Leased,
    Fixed,
    Layer2,
    Tuned,
    Mixed,
    Vlan(u16),
    Vf(u16),
    /// A port of a switch, for an application.
    Port,
    /// The same, with a link that carries its addresses.
    PortWithLink,
    /// An interface of VPP: over a socket without a file, and over one with.
    Memif,
    VppPort,
    Exec,
    /// A plugin that is run, with a device of the kubelet's.
    Device,
}

/// Random cases.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    let chain = prop_oneof![
        Just(Chain::Leased),
        Just(Chain::Fixed),
        Just(Chain::Layer2),
        Just(Chain::Tuned),
        Just(Chain::Mixed),
        (1u16..4).prop_map(Chain::Vlan),
        (1u16..4).prop_map(Chain::Vf),
        Just(Chain::Port),
        Just(Chain::PortWithLink),
        Just(Chain::Memif),
        Just(Chain::VppPort),
        Just(Chain::Exec),
        Just(Chain::Device),
    ];
    let chains = proptest::collection::vec(chain, 1..5);
    let moment = prop_oneof![Just(Moment::Before), Just(Moment::After)];
    let neighbours = proptest::collection::vec(chains.clone(), 0..3);
    (chains, neighbours, 0u32..40, 0u32..40, moment, any::<bool>())
        .prop_map(|(chains, neighbours, first, second, moment, foreign)| Case {
            chains,
            neighbours,
            first,
            second,
            moment,
            foreign,
        })
        .prop_map(without_sharing)
}

/// A VLAN of a master and a VF can be had once, so every one in a case gets a number of its own.
fn without_sharing(mut case: Case) -> Case {
    let all = case.chains.iter_mut().chain(case.neighbours.iter_mut().flatten());
    let vlans =
        all.filter_map(|chain| if let Chain::Vlan(id) | Chain::Vf(id) = chain { Some(id) } else { None });
    for (id, number) in vlans.zip(1..) {
        *id = number;
    }
    case
}

impl Chain {
    /// Whether the kernel has no part in it.
    fn is_without_link(self) -> bool {
        matches!(self, Self::Port | Self::Memif | Self::VppPort)
    }

    fn network(self) -> Network {
        let leased = r#""ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24"}]]}"#;
        let both = r#""ipam":{"type":"host-local","ranges":[[{"subnet":"10.2.0.0/24"}],[{"subnet":"10.3.0.0/24"}]]}"#;
        let fixed = r#""ipam":{"type":"static","addresses":[{"address":"10.9.0.5/24","gateway":"10.9.0.1"}],"routes":[{"dst":"10.8.0.0/16"},{"dst":"0.0.0.0/0"}]}"#;
        let plugins = match self {
            Self::Leased => format!(r#"{{"type":"macvlan","master":"ens1",{leased}}}"#),
            Self::Fixed => format!(r#"{{"type":"macvlan","master":"ens1","mode":"private",{fixed}}}"#),
            Self::Layer2 => r#"{"type":"macvlan","master":"ens2"}"#.to_owned(),
            Self::Tuned => format!(r#"{{"type":"macvlan","master":"ens1",{leased}}},{{"type":"tuning"}}"#),
            Self::Mixed => format!(
                r#"{{"type":"macvlan","master":"ens2","ipam":{{"type":"dhcp"}}}},{{"type":"tuning"}},{{"type":"macvlan","master":"ens2","native":false,{both}}}"#
            ),
            Self::Vlan(id) => format!(r#"{{"type":"vlan","master":"ens1","vlanId":{id},{both}}}"#),
            Self::Vf(number) => format!(
                r#"{{"type":"sriov","deviceID":"{}","vlan":{number},"spoofchk":"off",{leased}}}"#,
                device(number)
            ),
            Self::Port => {
                format!(r#"{{"type":"vhost-user","bridge":"br0","vlan":7,"socketDir":"/run/s",{leased}}}"#)
            }
            Self::PortWithLink => {
                format!(r#"{{"type":"vhost-user","bridge":"br0","dummy":true,"socketDir":"/run/s",{fixed}}}"#)
            }
            Self::Memif => {
                format!(
                    r#"{{"type":"vhost-user","engine":"vpp","interfaceType":"memif","bridge":7,{leased}}}"#
                )
            }
            Self::VppPort => format!(
                r#"{{"type":"vhost-user","engine":"vpp","bridge":7,"vlan":7,"socketDir":"/run/s",{leased}}}"#
            ),
            Self::Exec => r#"{"type":"bridge"},{"type":"tuning"}"#.to_owned(),
            Self::Device => r#"{"type":"bridge","capabilities":{"CNIDeviceInfoFile":true}}"#.to_owned(),
        };
        let list = format!(
            r#"{{"cniVersion":"1.1.0","name":"{}","plugins":[{plugins}]}}"#,
            format!("{self:?}").replace(['(', ')'], "-")
        );
        Network::parse(list.as_bytes(), None).unwrap()
    }
}

/// The address of a VF of the simulated node.
fn device(number: u16) -> String {
    manifold::sim::pristine().into_keys().nth(usize::from(number % 16)).unwrap().to_string()
}

impl Chain {
    /// The device of the n-th attachment of a pod.
    fn device(self, pod: &str, n: usize) -> Option<Device> {
        let id = format!("{pod}-{n}").parse().unwrap();
        (self == Self::Device).then(|| Device { id, resource: Some("test/device".parse().unwrap()) })
    }

    /// Where what is known of it is told.
    fn device_file(self, pod: &str, n: usize) -> Option<PathBuf> {
        self.device(pod, n).map(|_| format!("/devinfo/cni/{pod}_{n}").into())
    }
}

/// The attachments of a pod.
fn pod(name: &str, chains: &[Chain]) -> Vec<Attachment> {
    let each = chains.iter().enumerate().map(|(n, chain)| {
        let ifname = if n == 0 { "eth0".to_owned() } else { format!("net{n}") };
        Attachment {
            netns: Some(format!("/ns/{name}").parse().unwrap()),
            role: if n == 0 { Role::Default } else { Role::Additional },
            label: format!("{chain:?}"),
            called: Some(Called { network: "runtime".parse().unwrap(), ifname: "eth0".parse().unwrap() }),
            routing: routing(n, chains),
            device: chain.device(name, n),
            device_file: chain.device_file(name, n),
            ..Attachment::new(Owner::parse(name, &ifname).unwrap(), chain.network())
        }
    });
    each.collect()
}

/// What becomes of the default routes of the n-th attachment: of a pod with three or more, the first behind its default
/// network that has a link takes that of IPv4.
fn routing(n: usize, chains: &[Chain]) -> Routing {
    let gateways = vec!["10.1.0.9".parse().unwrap()];
    let taker = chains.iter().skip(1).position(|chain| !chain.is_without_link()).map(|at| at + 1);
    match taker {
        Some(taker) if chains.len() < 3 || taker >= chains.len() => Routing::default(),
        None => Routing::default(),
        Some(taker) if n == taker => Routing { take_default: gateways, ..Routing::default() },
        Some(_) => Routing { yield_ipv4: true, ..Routing::default() },
    }
}

fn detach(node: &Node<'_>, name: &str) -> Outcome<()> {
    let container = name.parse().unwrap();
    del(node, &Detach::recorded(&container, Scope::Own)).map(drop)
}

/// A node on which the neighbours of a case are attached.
fn stage(case: &Case) -> SimNode {
    let sim = SimNode::with_masters(&["ens1", "ens2"]);
    make_namespaces(&sim, case);
    for (n, chains) in case.neighbours.iter().enumerate() {
        add(&sim.node(), pod(&format!("neighbour{n}"), chains)).unwrap();
    }
    sim
}

fn make_namespaces(sim: &SimNode, case: &Case) {
    (0..case.neighbours.len()).for_each(|n| sim.make_netns(&format!("/ns/neighbour{n}")));
    sim.make_netns("/ns/pod");
}

fn must(done: Outcome<()>, what: &str) -> Result<(), TestCaseError> {
    done.map_err(|fault| TestCaseError::fail(format!("{what}: {fault}; also {:?}", fault.companions())))
}

fn same(now: &World, before: &World, what: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(now, before, "{}", what);
    Ok(())
}

pub(crate) fn add_then_del_twice_is_nothing(case: &Case, mutant: Mutant) -> Result<(), TestCaseError> {
    let sim = stage(case);
    let broken = Broken { sim: &sim, mutant };
    let before = sim.world();

    must(add(&broken.node(), pod("pod", &case.chains)).map(drop), "add")?;
    prop_assert_ne!(sim.world(), before.clone());
    must(detach(&broken.node(), "pod"), "del")?;
    same(&sim.world(), &before, "after del")?;
    must(detach(&broken.node(), "pod"), "second del")?;

    same(&sim.world(), &before, "after the second del")
}

pub(crate) fn a_refused_step_leaves_nothing(case: &Case, mutant: Mutant) -> Result<(), TestCaseError> {
    let sim = stage(case);
    let broken = Broken { sim: &sim, mutant };
    let before = sim.world();

    sim.light(Fuse::Refuse(case.first % 16, case.moment));
    let refused = add(&broken.node(), pod("pod", &case.chains)).is_err();

    if refused {
        same(&sim.world(), &before, "after a refused add")?;
    }
    Ok(())
}

pub(crate) fn a_crash_leaves_nothing(case: &Case, mutant: Mutant) -> Result<(), TestCaseError> {
    let sim = stage(case);
    let broken = Broken { sim: &sim, mutant };
    let before = sim.world();

    sim.light(Fuse::Kill(case.first, case.moment));
    drop(add(&broken.node(), pod("pod", &case.chains)));
    sim.revive();
    sim.light(Fuse::Kill(case.second, case.moment));
    drop(detach(&broken.node(), "pod"));
    sim.revive();
    must(detach(&broken.node(), "pod"), "del")?;

    same(&sim.world(), &before, "after recovery")?;
    must(add(&broken.node(), pod("pod", &case.chains)).map(drop), "add again")?;
    must(detach(&broken.node(), "pod"), "del again")?;
    same(&sim.world(), &before, "after add and del again")
}

pub(crate) fn a_vanished_pod_gives_everything_back(case: &Case, mutant: Mutant) -> Result<(), TestCaseError> {
    let sim = stage(case);
    let broken = Broken { sim: &sim, mutant };
    let before = sim.world();
    add(&broken.node(), pod("pod", &case.chains)).unwrap();

    if case.foreign {
        sim.remove_netns("/ns/pod");
        must(detach(&broken.node(), "pod"), "del")?;
        return same(&sim.world(), &before, "after del without netns");
    }
    sim.reboot();
    if case.first.is_multiple_of(2) {
        // The kernel numbers namespaces anew, and may give the pod's the number that it had.
        make_namespaces(&sim, case);
        must(add(&broken.node(), pod("pod", &case.chains)).map(drop), "add behind a reboot")?;
    }
    must(detach(&broken.node(), "pod"), "del")?;
    let expected = World { links: Default::default(), vfs: manifold::sim::pristine(), ..before };
    same(&sim.world(), &expected, "after del behind a reboot")
}

pub(crate) fn check_sees_each_loss(case: &Case, mutant: Mutant) -> Result<(), TestCaseError> {
    let sim = stage(case);
    let broken = Broken { sim: &sim, mutant };
    let container: ContainerId = "pod".parse().unwrap();
    let attachments = pod("pod", &case.chains);
    let owners: Vec<Owner> = attachments.iter().map(|a| a.owner.clone()).collect();
    add(&broken.node(), attachments).unwrap();
    must(check(&broken.node(), &container, &Scope::Own, &owners), "check")?;

    let before = sim.world();
    sim.meddle(|world| lose(world, &container, case.first as usize));

    if sim.world() != before {
        prop_assert!(check(&broken.node(), &container, &Scope::Own, &owners).is_err(), "a loss went unseen");
    }
    Ok(())
}

/// Takes a port of the switch away, or gives it another VLAN, or takes its socket's directory away.
fn lose_port(world: &mut World, port: &manifold::sim::SimPort, how: usize) {
    match how {
        0 => drop(world.ports.remove(&port.made.name)),
        1 => world.ports.get_mut(&port.made.name).unwrap().made.vlans = PortVlans::Access(99),
        _ => drop(world.sockets.remove(&port.owner)),
    }
}

/// Takes an interface of VPP away, or puts it into another bridge domain.
fn lose_in_vpp(world: &mut World, owner: &Owner, whole: bool) {
    match world.vpp.remove(owner) {
        Some(mut port) if !whole => {
            port.bridge.number += 1;
            world.vpp.insert(owner.clone(), port);
        }
        Some(_) | None => {}
    }
}

/// Takes the n-th thing of a container away.
fn lose(world: &mut World, container: &ContainerId, n: usize) {
    let leases: Vec<_> =
        world.leases.iter().filter(|(_, o)| o.container == *container).map(|(k, _)| k.clone()).collect();
    let plugins: Vec<_> = world.plugins.iter().filter(|(o, _)| o.container == *container).cloned().collect();
    let records: Vec<_> = world.records.keys().filter(|o| o.container == *container).cloned().collect();
    let ours = |l: &SimLink| l.group == manifold::plan::mark::link_group(container);
    let links: Vec<_> = world.links.iter().filter(|(_, l)| ours(l)).map(|(k, _)| k.clone()).collect();
    let whose = format!("{container}/");
    let ours = |vf: &manifold::sim::SimVf| vf.alias.as_ref().is_some_and(|alias| alias.starts_with(&whose));
    let vfs: Vec<_> = world.vfs.iter().filter(|(_, vf)| ours(vf)).map(|(pci, _)| *pci).collect();
    let ports: Vec<_> = world.ports.values().filter(|p| p.owner.container == *container).cloned().collect();
    let vpp: Vec<_> = world.vpp.keys().filter(|o| o.container == *container).cloned().collect();
    let pairs = vfs.len() + vpp.len();
    let threes = links.len() + ports.len();
    let all = leases.len() + plugins.len() + records.len() + 2 * pairs + 3 * threes;
    let mut n = n % all;
    if n < 2 * vpp.len() {
        return lose_in_vpp(world, &vpp[n / 2], n.is_multiple_of(2));
    }
    n -= 2 * vpp.len();
    if n < 3 * ports.len() {
        return lose_port(world, &ports[n / 3], n % 3);
    }
    n -= 3 * ports.len();
    if n < 2 * vfs.len() {
        let vf = world.vfs.get_mut(&vfs[n / 2]).unwrap();
        match n % 2 {
            0 => vf.settings.vlan = None,
            _ => vf.netns = None,
        }
        return;
    }
    n -= 2 * vfs.len();
    if n < leases.len() {
        world.leases.remove(&leases[n]);
        return;
    }
    n -= leases.len();
    if n < plugins.len() {
        world.plugins.remove(&plugins[n]);
        return;
    }
    n -= plugins.len();
    if n < records.len() {
        world.records.remove(&records[n]);
        return;
    }
    n -= records.len();
    if n < links.len() {
        world.links.remove(&links[n]);
        return;
    }
    n -= links.len();
    let link = world.links.get_mut(&links[n % links.len()]).unwrap();
    if n < links.len() {
        link.up = false;
        return;
    }
    link.addresses.clear();
    link.routes.clear();
}

pub(crate) fn one_stuck_step_does_not_keep_the_others(
    case: &Case,
    mutant: Mutant,
) -> Result<(), TestCaseError> {
    let sim = stage(case);
    let broken = Broken { sim: &sim, mutant };
    let before = sim.world();
    let attachments = pod("pod", &case.chains);
    let stuck = attachments[case.first as usize % attachments.len()].owner.clone();
    let rank = [UndoRank::Plugin, UndoRank::Link, UndoRank::Files][case.second as usize % 3];
    add(&broken.node(), attachments).unwrap();

    sim.light(Fuse::Stick(rank, stuck.ifname.clone()));
    let answer = detach(&broken.node(), "pod");

    let left: BTreeSet<Owner> =
        sim.world().records.into_keys().filter(|o| !before.records.contains_key(o)).collect();
    match answer {
        Ok(()) => same(&sim.world(), &before, "nothing was stuck")?,
        Err(_) => prop_assert_eq!(
            left,
            BTreeSet::from([stuck.clone()]),
            "the record of what is stuck stays, and no other"
        ),
    }
    sim.light(Fuse::None);
    must(detach(&broken.node(), "pod"), "del once it is loose")?;
    same(&sim.world(), &before, "after the second del")
}

pub(crate) fn neighbours_do_not_feel_it(case: &Case, mutant: Mutant) -> Result<(), TestCaseError> {
    let sim = stage(case);
    let broken = Broken { sim: &sim, mutant };
    if case.foreign {
        sim.add_foreign_link("/ns/pod", if case.chains.len() > 1 { "net1" } else { "eth0" });
    }
    let before = sim.world();

    sim.light(Fuse::Refuse(case.first % 16, case.moment));
    drop(add(&broken.node(), pod("pod", &case.chains)));
    sim.light(Fuse::Kill(case.second, case.moment));
    drop(add(&broken.node(), pod("pod", &case.chains)));
    sim.revive();
    must(detach(&broken.node(), "pod"), "del")?;

    same(&sim.world(), &before, "the neighbours")?;
    for n in 0..case.neighbours.len() {
        let container = format!("neighbour{n}").parse().unwrap();
        must(check(&sim.node(), &container, &Scope::Own, &[]), "a neighbour's check")?;
    }
    Ok(())
}

pub(crate) fn a_device_changes_hands(case: &Case, mutant: Mutant) -> Result<(), TestCaseError> {
    let sim = stage(case);
    let broken = Broken { sim: &sim, mutant };
    let before = sim.world();
    // The 15th VF for both, put into VLAN 15 and then 31.
    let (device, wanted) = match case.foreign {
        true => (Chain::Vlan(100), Chain::Vlan(100)),
        false => (Chain::Vf(15), Chain::Vf(31)),
    };
    let chains: Vec<Chain> = [device].into_iter().chain(case.chains.iter().copied()).collect();
    sim.make_netns("/ns/next");
    add(&broken.node(), pod("pod", &chains)).unwrap();

    // While the first pod is there, the second waits.
    let refused = add(&broken.node(), pod("next", &[wanted])).unwrap_err();
    prop_assert_eq!(refused.kind(), FaultKind::TryLater, "{}", refused);
    let foreseen =
        || foresee(&broken.node(), pod("next", &[wanted])).map(drop).map_err(|fault| fault.to_string());
    prop_assert_eq!(foreseen(), Err(refused.to_string()));

    // Once it is gone, its device is free, whatever became of its DEL.
    sim.remove_netns("/ns/pod");
    prop_assert_eq!(foreseen(), Ok(()));
    must(add(&broken.node(), pod("next", &[wanted])).map(drop), "add of the next pod")?;
    must(detach(&broken.node(), "pod"), "late del")?;

    let next: ContainerId = "next".parse().unwrap();
    must(check(&broken.node(), &next, &Scope::Own, &[]), "check of the next pod")?;
    let claim = match case.foreign {
        true => Claim::new("vlan 100 on ens1").unwrap(),
        false => Claim::new(format!("pci {}", self::device(15))).unwrap(),
    };
    let now = sim.world();
    prop_assert_eq!(now.claims.get(&claim).map(|o| &o.container), Some(&next));
    must(detach(&broken.node(), "next"), "del of the next pod")?;
    same(&World { links: before.links.clone(), ..sim.world() }, &before, "after both")
}

pub(crate) fn gc_prunes_the_rest(case: &Case, mutant: Mutant) -> Result<(), TestCaseError> {
    let sim = stage(case);
    let broken = Broken { sim: &sim, mutant };
    let before = sim.world();
    let valid = ValidList::of("runtime".parse().unwrap(), before.records.keys().cloned().collect());

    sim.light(Fuse::Kill(case.first, case.moment));
    drop(add(&sim.node(), pod("pod", &case.chains)));
    sim.revive();
    let network = Chain::Leased.network();
    let store = Path::new("/var/lib/cni/networks").join(network.name.as_str());
    let orphan = Owner::parse("lost", "net1").unwrap();
    sim.meddle(|world| drop(world.leases.insert((store, "10.1.0.254".parse().unwrap()), orphan)));
    let audience = Audience { networks: &[network], inherited: &[] };
    must(gc(&broken.node(), &Scope::Own, Valid::Listed(&valid), &audience), "gc")?;

    same(&sim.world(), &before, "after gc")
}

pub(crate) fn records_round_trip(case: &Case) -> Result<(), TestCaseError> {
    let sim = stage(case);
    add(&sim.node(), pod("pod", &case.chains)).unwrap();
    for (owner, bytes) in sim.world().records {
        let record: Record = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(&record.attachment.owner, &owner);
        prop_assert_eq!(serde_json::to_vec(&record).unwrap(), bytes);
    }
    Ok(())
}
