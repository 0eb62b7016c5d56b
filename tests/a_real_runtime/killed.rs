//! The runtime is killed, and started again on what it left.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::pods::runtime;
use crate::runtime::Runtime;

/// A plugin that waits once, the first time it is called with one verb. It tells through one pipe that it is there, and
/// goes on when the other one says so.
#[derive(Clone)]
pub(crate) struct Gate {
    reached: PathBuf,
    open: PathBuf,
}

impl Gate {
    /// Puts the plugin in place, and the network "gate" that has it.
    pub(crate) fn before(verb: &str, runtime: &Runtime) -> Self {
        let gate = Self { reached: runtime.scene.path("reached"), open: runtime.scene.path("open") };
        for pipe in [&gate.reached, &gate.open] {
            mkfifo(pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }
        let (reached, open) = (gate.reached.display(), gate.open.display());
        let result = r#"{"cniVersion": "1.0.0", "interfaces": [], "ips": []}"#;
        let wait = format!(
            "if [ $CNI_COMMAND = {verb} -a -p {reached} ]; then exec 3<>{open}; echo >{reached}; read go <&3; fi"
        );
        runtime.plugin("gate", &format!("{wait}\n[ $CNI_COMMAND != ADD ] || echo '{result}'"));
        let network = json!({"cniVersion": "1.0.0", "name": "gate", "type": "gate"});
        runtime.scene.network("gate.conf", &network.to_string());
        gate
    }

    /// Returns when the plugin waits.
    pub(crate) fn await_arrival(&self) {
        fs::read(&self.reached).unwrap();
        fs::remove_file(&self.reached).unwrap();
    }

    /// Lets the plugin go on.
    fn open(&self) {
        File::options().read(true).write(true).open(&self.open).unwrap().write_all(b"\n").unwrap();
    }
}

/// A runtime that was killed while the last of a pod's networks was made, and started again: it knows the pod.
fn killed_while_running() -> (Runtime, Gate, String) {
    let mut runtime = runtime();
    let gate = Gate::before("ADD", &runtime);
    let arrival = gate.clone();
    runtime.kill_while_running(runtime.pod("web", "data,lab@lab,gate"), move || arrival.await_arrival());
    runtime.restart();
    let id = runtime.pods().pop().expect("the pod that was begun");
    (runtime, gate, id)
}

#[test]
fn an_add_that_outlives_the_runtime_is_undone_by_the_next() {
    let (runtime, gate, id) = killed_while_running();

    // The DEL comes while the ADD still runs.
    runtime.stop_and(&id, || gate.open()).unwrap();
    runtime.remove(&id).unwrap();

    runtime.assert_empty();
}

#[test]
fn an_add_that_dies_with_the_runtime_is_undone_by_the_next() {
    let (runtime, _gate, id) = killed_while_running();
    runtime.kill_plugins();
    assert_ne!(runtime.scene.kept(), Default::default());

    runtime.stop(&id).unwrap();
    runtime.remove(&id).unwrap();

    runtime.assert_empty();
    // The pod's next try, as a kubelet makes it.
    let mut again = runtime.pod("web", "data,lab@lab,gate");
    again.metadata.as_mut().unwrap().attempt = 1;
    let id = runtime.run(again).unwrap();
    runtime.stop(&id).unwrap();
    runtime.remove(&id).unwrap();
    runtime.assert_empty();
}

#[test]
fn a_del_that_dies_with_the_runtime_is_finished_by_the_next() {
    let mut runtime = runtime();
    let gate = Gate::before("DEL", &runtime);
    let id = runtime.run(runtime.pod("web", "data,gate,lab@lab")).unwrap();
    runtime.kill_while_stopping(&id, move || gate.await_arrival());
    runtime.kill_plugins();

    runtime.restart();
    runtime.stop(&id).unwrap();
    runtime.remove(&id).unwrap();

    runtime.assert_empty();
}

#[test]
fn pods_outlive_the_runtime_and_are_taken_down_by_the_next() {
    let mut runtime = runtime();
    let ids =
        runtime.run_all((0..2).map(|n| runtime.pod(&format!("web-{n}"), "data,lab@lab")).collect()).unwrap();
    let before = runtime.scene.kept();

    runtime.kill();
    runtime.restart();

    assert_eq!(runtime.scene.kept(), before);
    for id in &ids {
        assert_eq!(runtime.seen(id, "link").as_array().unwrap().len(), 4);
        runtime.stop(id).unwrap();
        runtime.remove(id).unwrap();
    }
    runtime.assert_empty();
}
