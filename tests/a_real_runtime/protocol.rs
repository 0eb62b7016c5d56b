//! The messages are generated ahead, so that building needs no generator.

use std::fs;
use std::path::Path;

#[test]
fn the_messages_are_what_the_protocol_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cri");
    fs::create_dir_all(&folder).unwrap();

    let protocol = protox::compile(["cri/v1/api.proto"], [root.join("proto")]).unwrap();
    let generator =
        tonic_prost_build::configure().build_server(false).build_transport(false).out_dir(&folder);
    generator.compile_fds(protocol).unwrap();

    let generated = folder.join("runtime.v1.rs");
    let committed = root.join("tests/a_real_runtime/cri.rs");
    let same = fs::read_to_string(&generated).unwrap() == fs::read_to_string(&committed).unwrap_or_default();
    assert!(same, "cp {} {}", generated.display(), committed.display());
}
