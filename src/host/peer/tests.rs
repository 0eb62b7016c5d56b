use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::attachment::Routing;
use crate::model::{Network, Object};

fn attachment(ifname: &str, config: &str) -> Attachment {
    Attachment {
        in_place: true,
        label: "ns/blue".to_owned(),
        ..Attachment::new(
            Owner::parse("c1", ifname).unwrap(),
            Network::parse(config.as_bytes(), Some("blue")).unwrap(),
        )
    }
}

const SINGLE: &str =
    r#"{"type":"macvlan","master":"ens1","ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}"#;
const LIST: &str = r#"{"cniVersion":"1.0.0","name":"red","vendor":1,"plugins":[{"type":"bridge"},{"type":"tuning","mtu":1400}]}"#;

fn file(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("c1")).unwrap()).unwrap()
}

#[test]
fn the_file_has_the_keys_that_the_other_program_reads() {
    let dir = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::new(dir.path());
    let mut single = attachment("net1", SINGLE);
    single.capabilities = Object::parse(
        br#"{"mac":"02:00:00:00:00:01","ips":["10.1.0.9/24"],"deviceID":"0000:18:02.5"}"#,
        "it",
    )
    .unwrap();
    single.routing =
        Routing { take_default: vec!["10.1.0.1".parse().unwrap()], yield_ipv6: true, ..Routing::default() };

    sandboxes.put(&single).unwrap();
    sandboxes.put(&attachment("net2", LIST)).unwrap();

    let bytes = r#"{"type":"macvlan","master":"ens1","ipam":{"type":"host-local","subnet":"10.1.0.0/24"},"cniVersion":"0.1.0","name":"blue"}"#;
    let file = file(dir.path());
    assert_eq!(
        file[0],
        json!({
            "Conf": {"cniVersion": "0.1.0", "name": "blue", "type": "macvlan", "ipam": {"type": "host-local"}, "dns": {}},
            "ConfList": {}, "Name": "ns/blue", "ifnameRequest": "net1", "macRequest": "02:00:00:00:00:01",
            "ipRequest": ["10.1.0.9/24"], "deviceID": "0000:18:02.5", "default-route": ["10.1.0.1"],
            "IsFilterV4Gateway": false, "IsFilterV6Gateway": true, "Bytes": STANDARD.encode(bytes), "manifold": true,
        })
    );
    assert_eq!(file[1]["Conf"], json!({"ipam": {}, "dns": {}}));
    assert_eq!(file[1]["ConfList"]["plugins"][1]["type"], "tuning");
    assert_eq!(file[1]["Bytes"], STANDARD.encode(LIST));
    let mode = fs::metadata(dir.path().join("c1")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_put_is_read_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::new(dir.path());
    let (one, two) = (attachment("net1", SINGLE), attachment("net2", LIST));
    let container = &one.owner.container;
    assert!(sandboxes.read(container).unwrap().is_none());

    sandboxes.put(&one).unwrap();
    sandboxes.put(&two).unwrap();
    sandboxes.put(&two).unwrap();

    let read: Vec<Delegate> =
        sandboxes.read(container).unwrap().unwrap().delegates.into_iter().collect::<Outcome<_>>().unwrap();
    let shown: Vec<(&str, usize, bool)> = read
        .iter()
        .map(|d| (d.interface.as_ref().unwrap().as_str(), d.network.plugins.len(), d.ours))
        .collect();
    assert_eq!(shown, [("net1", 1, true), ("net2", 2, true)]);
    sandboxes.remove(&one.owner).unwrap();
    sandboxes.remove(&one.owner).unwrap();
    assert_eq!(sandboxes.read(container).unwrap().unwrap().delegates.len(), 1);
    sandboxes.remove(&two.owner).unwrap();
    assert!(!dir.path().join("c1").exists());
}

#[test]
fn an_entry_stays_while_one_behind_it_is_known_by_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::new(dir.path());
    let entry =
        |asked: &str| json!({"ifnameRequest": asked, "Bytes": STANDARD.encode(r#"{"name":"n","type":"x"}"#)});
    fs::write(dir.path().join("c1"), json!([entry(""), entry("data0"), entry("")]).to_string()).unwrap();
    let more = attachment("more0", SINGLE);
    sandboxes.put(&more).unwrap();

    sandboxes.remove(&Owner { ifname: "data0".parse().unwrap(), ..more.owner.clone() }).unwrap();
    assert_eq!(file(dir.path()).as_array().unwrap().len(), 4);
    sandboxes.remove(&more.owner).unwrap();
    assert_eq!(file(dir.path()), json!([entry(""), entry("data0"), entry("")]));
}

#[test]
fn a_file_that_is_no_list_is_an_error_and_is_not_lost_to_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::new(dir.path());
    let it = attachment("net1", SINGLE);
    let crowd = format!("[{}1]", "1,".repeat(MAX_ENTRIES));
    for text in ["", "{}", "null", "[1,", &crowd] {
        fs::write(dir.path().join("c1"), text).unwrap();
        let fault = sandboxes.read(&it.owner.container).unwrap_err();
        assert!(fault.to_string().contains("\"c1\""), "{fault}");
        sandboxes.remove(&it.owner).unwrap();

        sandboxes.put(&it).unwrap();

        assert_eq!(file(dir.path()).as_array().unwrap().len(), 1);
        assert_eq!(fs::read_to_string(dir.path().join(".manifold/c1.unreadable")).unwrap(), text);
    }
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let long = fs::File::create(dir.path().join("c1")).unwrap();
    long.set_len(MAX_FILE + 1).unwrap();

    let fault = Sandboxes::new(dir.path()).read(&"c1".parse().unwrap()).unwrap_err();
    assert!(fault.to_string().contains("longer than"), "{fault}");
}

#[test]
fn the_directory_of_results_is_no_sandbox() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("results")).unwrap();
    let sandboxes = Sandboxes::new(dir.path());
    let mut it = attachment("net1", SINGLE);
    it.owner.container = "results".parse().unwrap();

    sandboxes.put(&it).unwrap();
    assert!(sandboxes.read(&it.owner.container).unwrap().is_none());
    sandboxes.remove(&it.owner).unwrap();
    assert!(dir.path().join("results").is_dir());
}

proptest! {
    #[test]
    fn no_file_makes_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), key in "[a-zA-Z]{0,12}") {
        let dir = tempfile::tempdir().unwrap();
        let container: ContainerId = "c1".parse().unwrap();
        let entry = json!([{ key: STANDARD.encode(&bytes), "Bytes": STANDARD.encode(&bytes) }]).to_string();
        for text in [bytes.as_slice(), entry.as_bytes()] {
            fs::write(dir.path().join("c1"), text).unwrap();
            drop(Sandboxes::new(dir.path()).read(&container));
        }
    }
}
