//! Two witnesses for the layouts of messages, which share nothing with the client: the digest in each message's name,
//! which VPP's compiler makes of its layout, and `vpp_papi`, VPP's own client for Python, which reads our requests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::recording::{GREETED, Recording};
use super::stage::Stage;
use super::*;

/// The layouts as VPP's compiler writes them, as far as they are used.
fn definitions() -> Value {
    serde_json::from_str(include_str!("definitions.json")).unwrap()
}

/// How long a field is, and which field says so.
type Extent = Option<(u64, Option<String>)>;

/// Fields without the number of the message and what is said of it as a whole.
fn fields(message: &Value) -> Vec<(&str, &str, Extent)> {
    let all = message.as_array().unwrap()[1..].iter().filter_map(Value::as_array);
    let all = all.filter(|each| each[1] != "_vl_msg_id");
    let field = |each: &'_ Vec<Value>| {
        let size = each.get(2).and_then(Value::as_u64);
        size.map(|size| (size, each.get(3).and_then(Value::as_str).map(str::to_owned)))
    };
    all.map(|each| (each[0].as_str().unwrap(), each[1].as_str().unwrap(), field(each))).collect()
}

/// A list of fields as VPP's compiler, which is in Python, prints it before it makes a digest of it.
fn printed(fields: &[(&str, &str, Extent)]) -> String {
    let each = fields.iter().map(|(kind, name, extent)| match extent {
        None => format!("['{kind}', '{name}']"),
        Some((size, None)) => format!("['{kind}', '{name}', {size}, None]"),
        Some((size, Some(length))) => format!("['{kind}', '{name}', {size}, '{length}']"),
    });
    format!("[{}]", each.collect::<Vec<_>>().join(", "))
}

/// CRC-32 as zlib has it, going on from another.
fn crc(text: &str, before: u32) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    !text.bytes().fold(!before, |sum, byte| (0..8).fold(sum ^ u32::from(byte), step))
}

/// The digest of a layout: of its fields, then of each type among them.
fn digest(of: &[(&str, &str, Extent)], definitions: &Value, before: u32) -> u32 {
    let named = |list: &str, name: &str| {
        definitions[list].as_array().unwrap().iter().find(|each| each[0] == name).cloned()
    };
    of.iter().fold(before, |sum, (kind, _, _)| {
        let Some(name) = kind.strip_prefix("vl_api_").and_then(|name| name.strip_suffix("_t")) else {
            return sum;
        };
        if let Some(values) = named("enums", name) {
            let values = values.as_array().unwrap()[1..].iter().filter_map(Value::as_array);
            let values = values.map(|value| format!("['{}', {}]", value[0].as_str().unwrap(), value[1]));
            return crc(&format!("[{}]", values.collect::<Vec<_>>().join(", ")), sum);
        }
        match named("types", name) {
            Some(inner) => digest(&fields(&inner), definitions, crc(&printed(&fields(&inner)), sum)),
            // Another name for something simple.
            None => crc("[]", sum),
        }
    })
}

#[test]
fn layouts_have_the_digests_that_a_real_vpp_tells() {
    let (definitions, recording) = (definitions(), Recording::load());
    assert_eq!(crc("123456789", 0), 0xcbf4_3926, "the check of this CRC");

    for message in definitions["messages"].as_array().unwrap() {
        let name = message[0].as_str().unwrap();
        let fields = fields(message);
        let made = digest(&fields, &definitions, crc(&printed(&fields), 0));
        assert_eq!(recording.whole_name(name), format!("{name}_{made:08x}"));
        assert_eq!(message.as_array().unwrap().last().unwrap()["crc"], format!("0x{made:08x}"), "{name}");
    }
}

/// A Python that has `vpp_papi`: the one that `.ci/deps` makes ready, or the machine's.
fn python() -> Option<PathBuf> {
    let ready = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/vpp-papi/bin/python3");
    let has = |python: &PathBuf| {
        let asked = Command::new(python).args(["-c", "import vpp_papi"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    [ready, PathBuf::from("python3")].into_iter().find(has)
}

/// The requests of some pods' lives, each with its whole bytes.
fn requests() -> Vec<(String, String)> {
    let mut heard = Vec::new();
    let recording = Recording::load();
    let older = [
        "create_vhost_user_if_v2",
        "memif_create_v2",
        "memif_socket_filename_add_del_v2",
        "bridge_domain_add_del_v2",
    ];
    for unknown in [vec![], older.to_vec()] {
        let stage = Stage::new();
        stage.peer.behave(Manners { unknown, trouble: None });
        for keys in [
            json!({"vlan": 100, "mtu": 1400, "mode": "client"}),
            json!({"interfaceType": "memif", "queues": 3, "bridge": 9, "createBridge": true}),
        ] {
            stage.add(&keys);
            stage.call("CHECK", &keys).result();
            stage.del(&keys);
        }
        heard.extend(stage.peer.heard());
    }
    let bytes = |request: peer::Request| {
        let number = recording.number(&recording.whole_name(&request.name)).to_be_bytes();
        let body = [&number, &GREETED.to_be_bytes()[..], &7_u32.to_be_bytes(), &request.fields].concat();
        (request.name, body.iter().map(|byte| format!("{byte:02x}")).collect())
    };
    heard.into_iter().map(bytes).collect()
}

#[test]
fn an_independent_client_reads_our_requests() {
    let Some(python) = python() else {
        return skipped("no Python here has vpp_papi; \".ci/deps test\" installs it");
    };
    let asked = requests();
    let mut command = Command::new(python);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vpp");
    command.arg(folder.join("witness.py")).arg(folder.join("definitions.json"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());

    let output = scene::feed(command, &serde_json::to_vec(&asked).unwrap());

    assert!(output.status.success(), "{:?}", output.status);
    let told: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told.len(), asked.len());
    // Written anew by it, each is the same to the byte.
    for ((name, bytes), read) in asked.iter().zip(&told) {
        assert_eq!(&read["again"], bytes, "{name}");
    }
    let read = |name: &str| {
        let found = told.iter().find(|read| read["name"] == name);
        found.unwrap_or_else(|| panic!("{name} was not asked for"))["read"].clone()
    };
    for name in ["create_vhost_user_if_v2", "create_vhost_user_if"] {
        let vhost = read(name);
        assert_eq!((&vhost["is_server"], &vhost["renumber"]), (&json!(true), &json!(false)));
        assert!(vhost["sock_filename"].as_str().unwrap().ends_with("/net1"), "{vhost}");
        assert!(vhost["tag"].as_str().unwrap().starts_with("manifold/"), "{vhost}");
    }
    for name in ["memif_create_v2", "memif_create"] {
        let memif = read(name);
        let seen = ["role", "mode", "rx_queues", "tx_queues", "id", "ring_size", "buffer_size"]
            .map(|key| &memif[key]);
        assert_eq!(seen.map(|value| value.as_u64().unwrap()), [0, 0, 3, 3, 0, 1024, 2048], "{name}");
        assert_eq!((&memif["no_zero_copy"], &memif["secret"]), (&json!(true), &json!("")));
    }
    let bridge = read("bridge_domain_add_del_v2");
    assert_eq!(
        ["flood", "uu_flood", "forward", "learn"].map(|key| bridge[key] == true),
        [true; 4],
        "{bridge}"
    );
    let vlan = read("l2_interface_vlan_tag_rewrite");
    assert_eq!((&vlan["vtr_op"], &vlan["push_dot1q"], &vlan["tag1"]), (&json!(1), &json!(1), &json!(100)));
    assert_eq!(read("l2_interface_efp_filter")["enable_disable"], true);
    assert_eq!(read("sw_interface_set_mtu")["mtu"], json!([1400, 0, 0, 0]));
    assert_eq!(read("sw_interface_set_flags")["flags"], 1);
    assert_eq!(read("sw_interface_set_l2_bridge")["bd_id"], 7);
}
