//! How long it takes to give a pod a virtual function and to take it back: Manifold beside the steps of the peer
//! (`peer`), and seven at once beside seven in a row. `docs/benchmarks.md` explains the rows.

#[allow(dead_code, reason = "shared with the other benchmarks, which use more of it")]
#[path = "../../benches/attach/race.rs"]
mod race;
#[allow(dead_code, reason = "shared with the other benchmarks, which use more of it")]
#[path = "../../benches/attach/table.rs"]
mod table;

mod caller;
mod floor;
mod peer;
mod vf;

use std::rc::Rc;
use std::thread;

use serde_json::json;

use self::caller::Caller;
use self::floor::Floor;
use self::peer::Peer;
use self::race::{Contender, race};
use self::vf::Vf;
use crate::adapter::Adapter;
use crate::need::Need;
use crate::node::{Netns, Node};
use crate::options::{Measure, Options};
use crate::plugin::{Attachment, REFERENCE, Subject, addresses};
use crate::report;
use crate::trouble::{Outcome, Trouble};

/// What it cannot do without.
const NEEDS: &[Need] = &[
    Need::SriovAdapter,
    Need::Vfs(CROWD),
    Need::Settings(&["spoofchk", "trust"]),
    Need::Plugin(GO),
    IPAM_NEED,
];

const IPAM_NEED: Need = Need::Plugin(IPAM);

/// The plugin whose start stands for that of the peer: written in the same language, with the same libraries.
const GO: &str = "macvlan";

/// What leases the peer's addresses.
const IPAM: &str = "host-local";

/// How many virtual functions are given to pods at once.
const CROWD: usize = 7;

/// What must not be dropped before the last call: virtual functions, their pods, and the folder of everyone's files.
struct Scene {
    // Dropped first: a namespace that goes gives the interfaces in it back.
    pods: Vec<Netns>,
    adapter: Adapter,
    node: Node,
    subject: Subject,
}

/// Measures, and prints tables.
///
/// # Errors
/// The machine lacks something, or the scene cannot be set.
pub(crate) fn run(options: &Options, measure: Measure) -> Outcome<()> {
    for need in NEEDS {
        need.probe().map_err(Trouble::doing(format!("the machine has not {need}")))?;
    }
    let scene = Scene::set(options)?;
    for (name, value) in report::machine() {
        println!("* {name}: {value}");
    }
    println!("* subject: {}", scene.subject.version_of_program()?);

    match measure {
        Measure::One => one(&scene, options.rounds),
        Measure::Seven => seven(&scene, options.rounds),
    }
}

fn one(scene: &Scene, rounds: usize) -> Outcome<()> {
    let contenders = vec![
        scene.peer("peers, 3 processes", (0, 2))?,
        scene.peer("peer's plugin, 2 processes", (1, 1))?,
        scene.peers_steps("peer's steps, no process", 2)?,
        scene.manifold("manifold, 1 process", 3)?,
        scene.floor("bare kernel", 4)?,
    ];
    let times = race(rounds, contenders);
    table::print("ADD of a VF", &times.adds(), &[0, 1, 4]);
    table::print("DEL of a VF", &times.dels(), &[0, 1, 4]);
    Ok(())
}

fn seven(scene: &Scene, rounds: usize) -> Outcome<()> {
    let times = race(rounds, vec![scene.in_a_row()?, scene.at_once()?]);
    table::print(&format!("ADD of {CROWD} VFs"), &times.adds(), &[0]);
    table::print(&format!("DEL of {CROWD} VFs"), &times.dels(), &[0]);
    Ok(())
}

impl Scene {
    fn set(options: &Options) -> Outcome<Self> {
        let (node, adapter) = (Node::of_machine()?, Adapter::with_vfs(CROWD)?);
        let pods = (0..CROWD).map(|n| node.netns(&format!("pod{n}"))).collect::<Outcome<_>>()?;
        let folder = node.path("bin");
        std::fs::create_dir_all(&folder).map_err(Trouble::doing(format!("cannot make {folder:?}")))?;
        // Each written as a whole, as an installer does, and none on the file system that the machine borrows.
        let install = |from: std::path::PathBuf, name: &str| {
            std::fs::copy(&from, folder.join(name)).map_err(Trouble::doing(format!("cannot copy {from:?}")))
        };
        install(options.manifold()?, "manifold")?;
        for name in [GO, IPAM] {
            install(std::path::Path::new(REFERENCE).join(name), name)?;
        }
        let subject = Subject::Manifold(folder.join("manifold"));
        Ok(Self { pods, adapter, node, subject })
    }

    fn pod(&self, number: usize) -> Outcome<&Netns> {
        self.pods.get(number).ok_or_else(|| Trouble::new("there is no such pod"))
    }

    /// A call of the plugin under test for a virtual function and its pod.
    fn attachment(&self, number: usize) -> Outcome<Attachment<'_>> {
        let config = json!({"type": "sriov", "deviceID": self.adapter.vf(number), "vlan": vf::VLAN,
            "spoofchk": "off", "trust": "on", "ipam": addresses(&self.node)});
        Ok(Attachment::new(&self.subject, &self.node, self.pod(number)?, config))
    }

    fn manifold(&self, name: &str, number: usize) -> Outcome<Contender> {
        let attachment = self.attachment(number)?;
        let (add, del) = (Caller::new(&attachment, "ADD"), Caller::new(&attachment, "DEL"));
        Ok(contender(name, move || add.run(), move || del.run()))
    }

    /// The peer: so many processes start, the last of which takes the steps, and has another lease the address.
    fn peer(&self, name: &str, (number, processes): (usize, usize)) -> Outcome<Contender> {
        let (start, ipam) = (self.start(number)?, (self.ipam(number, "ADD")?, self.ipam(number, "DEL")?));
        let (start, steps) = (Rc::new(start), Rc::new(Peer(self.vf(number)?)));
        let (starting, stepping) = (Rc::clone(&start), Rc::clone(&steps));
        let begin = move |start: &Caller| (0..processes).try_for_each(|_| start.run());
        let add = move || {
            begin(&starting)?;
            stepping.add(|| ipam.0.run())
        };
        let del = move || {
            begin(&start)?;
            steps.del(|| ipam.1.run())
        };
        Ok(contender(name, add, del))
    }

    fn peers_steps(&self, name: &str, number: usize) -> Outcome<Contender> {
        let steps = Rc::new(Peer(self.vf(number)?));
        let stepping = Rc::clone(&steps);
        Ok(contender(name, move || stepping.add(|| Ok(())), move || steps.del(|| Ok(()))))
    }

    fn vf(&self, number: usize) -> Outcome<Vf> {
        Vf::new(&self.node, &self.adapter, (number, self.pod(number)?))
    }

    fn floor(&self, name: &str, number: usize) -> Outcome<Contender> {
        let floor = Rc::new(Floor(self.vf(number)?));
        let adding = Rc::clone(&floor);
        Ok(contender(name, move || adding.add(), move || floor.del()))
    }

    /// A process in the peer's language that does nothing but start, read its input and answer.
    fn start(&self, number: usize) -> Outcome<Caller> {
        let input = json!({"cniVersion": "1.0.0"});
        Ok(Caller::of_program(self.node.path("bin").join(GO), &self.attachment(number)?, ("VERSION", &input)))
    }

    fn ipam(&self, number: usize, command: &str) -> Outcome<Caller> {
        let addresses = json!({"type": IPAM, "dataDir": self.node.path("peers-addresses"),
            "ranges": [[{"subnet": "10.78.0.0/24"}]]});
        let input = json!({"cniVersion": "1.0.0", "name": "peers", "type": "sriov", "ipam": addresses});
        Ok(Caller::of_program(self.node.path("bin").join(IPAM), &self.attachment(number)?, (command, &input)))
    }

    fn in_a_row(&self) -> Outcome<Contender> {
        let (adds, dels) = (self.crowd("ADD")?, self.crowd("DEL")?);
        let all = |calls: &[Caller]| calls.iter().try_for_each(Caller::run);
        Ok(contender(&format!("{CROWD} in a row"), move || all(&adds), move || all(&dels)))
    }

    fn at_once(&self) -> Outcome<Contender> {
        let (adds, dels) = (self.crowd("ADD")?, self.crowd("DEL")?);
        let all = |calls: &[Caller]| {
            thread::scope(|scope| {
                let threads: Vec<_> = calls.iter().map(|call| scope.spawn(|| call.run())).collect();
                threads.into_iter().try_for_each(|t| t.join().map_err(|_| Trouble::new("a call died"))?)
            })
        };
        Ok(contender(&format!("{CROWD} at once"), move || all(&adds), move || all(&dels)))
    }

    fn crowd(&self, command: &str) -> Outcome<Vec<Caller>> {
        (0..CROWD).map(|number| Ok(Caller::new(&self.attachment(number)?, command))).collect()
    }
}

fn contender(
    name: &str,
    add: impl Fn() -> Outcome<()> + 'static,
    del: impl Fn() -> Outcome<()> + 'static,
) -> Contender {
    let fatal = |work: &dyn Fn() -> Outcome<()>| work().unwrap_or_else(|trouble| panic!("{trouble}"));
    Contender::new(name, move || fatal(&add), move || fatal(&del))
}
