//! The messages are generated ahead, so that building needs no generator.

use std::fs;
use std::path::{Path, PathBuf};

/// Generates the messages with a client, or with a server.
fn generated(client: bool) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("podresources-{client}"));
    fs::create_dir_all(&folder).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let protocol = protox::compile(["podresources/v1/api.proto"], [root]).unwrap();
    let generator = tonic_prost_build::configure().build_client(client).build_server(!client);
    generator.build_transport(false).out_dir(&folder).compile_fds(protocol).unwrap();
    folder.join("v1.rs")
}

#[test]
fn the_messages_are_what_the_protocol_says() {
    for (client, committed) in [(true, "src/host/kubelet/api.rs"), (false, "tests/common/kubelet/server.rs")]
    {
        let generated = generated(client);
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(committed);
        let same =
            fs::read_to_string(&generated).unwrap() == fs::read_to_string(&committed).unwrap_or_default();
        assert!(same, "cp {} {}", generated.display(), committed.display());
    }
}
