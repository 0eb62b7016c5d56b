//! What is kept of results, and that it is read as it was written.

use super::*;
use std::os::unix::fs::PermissionsExt;

const CONFIG: &str = r#"{ "cniVersion":"1.0.0", "name":"blue-net",
    "plugins":[{"type":"bridge","big":12345678901234567890}] }"#;

fn attachment(container: &str, ifname: &str) -> Attachment {
    Attachment {
        args: "IgnoreUnknown=1;K8S_POD_NAME=p".parse().unwrap(),
        capabilities: Object::parse(br#"{"mac":"02:00:00:00:00:01"}"#, "the test").unwrap(),
        ..Attachment::new(
            Owner::parse(container, ifname).unwrap(),
            Network::parse(CONFIG.as_bytes(), None).unwrap(),
        )
    }
}

fn result() -> CniResult {
    let text =
        r#"{"interfaces":[{"name":"net1","sandbox":"/run/netns/p"}],"ips":[{"address":"10.1.2.3/24"}]}"#;
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_is_put_is_got_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, it) = (ResultCache::new(dir.path()), attachment("c1", "net1"));
    let netns: NetnsPath = "/run/netns/p".parse().unwrap();

    cache.put(&it, Some(&netns), &CniResult::default()).unwrap();
    cache.put(&it, Some(&netns), &result()).unwrap();

    let got = cache.get(&it.owner, &it.network.name).unwrap().unwrap();
    assert_eq!(got.config, CONFIG.as_bytes());
    assert_eq!((got.netns, got.args, got.capabilities), (Some(netns), it.args, it.capabilities));
    assert_eq!(got.result, Some(result()));

    cache.remove(&it.owner, &it.network.name).unwrap();
    cache.remove(&it.owner, &it.network.name).unwrap();
    assert_eq!(cache.get(&it.owner, &it.network.name).unwrap(), None);
}

#[test]
fn the_file_is_as_the_library_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = ResultCache::new(&dir.path().join("made/on/demand"));

    cache.put(&attachment("c1", "net1"), Some(&"/n".parse().unwrap()), &result()).unwrap();

    let results = dir.path().join("made/on/demand/results");
    let file = results.join("blue-net-c1-net1");
    let (config, text) = (STANDARD.encode(CONFIG), fs::read_to_string(&file).unwrap());
    let (head, result) = text.split_once(",\"result\":").unwrap();
    assert_eq!(
        head,
        format!(
            r#"{{"kind":"cniCacheV1","containerId":"c1","config":"{config}","ifName":"net1","networkName":"blue-net","netns":"/n","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAME","p"]],"capabilityArgs":{{"mac":"02:00:00:00:00:01"}}"#
        )
    );
    assert!(result.contains(r#""cniVersion":"1.0.0""#), "{result}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&results)), (0o600, 0o700));
}

#[test]
fn a_file_that_did_not_get_to_its_place_is_not_beside_the_cached_ones() {
    // A directory in its place keeps the new file from it.
    let dir = tempfile::tempdir().unwrap();
    let (cache, it) = (ResultCache::new(dir.path()), attachment("c1", "net1"));
    let results = dir.path().join("results");
    fs::create_dir_all(results.join("blue-net-c1-net1/full")).unwrap();
    let files = |dir: &Path| {
        fs::read_dir(dir).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count()
    };

    cache.put(&it, None, &result()).unwrap_err();
    assert_eq!((files(&results), files(&results.join(NURSERY))), (0, 0));

    // What a crash left goes with the attachment.
    fs::write(results.join(NURSERY).join("blue-net-c1-net1"), "half of it").unwrap();
    cache.remove(&it.owner, &it.network.name).unwrap();
    assert_eq!(files(&results.join(NURSERY)), 0);
}

#[test]
fn a_file_of_another_attachment_counts_as_none_and_stays() {
    // Two attachments whose files have one name: network "blue", container "net-c1".
    let dir = tempfile::tempdir().unwrap();
    let (cache, it) = (ResultCache::new(dir.path()), attachment("c1", "net1"));
    let other = Owner { container: "net-c1".parse().unwrap(), ..it.owner.clone() };
    cache.put(&it, None, &result()).unwrap();

    assert_eq!(cache.get(&other, &"blue".parse().unwrap()).unwrap(), None);
    assert!(cache.get(&it.owner, &it.network.name).unwrap().is_some());
}

#[test]
fn a_foreign_or_broken_file_counts_as_none_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, it) = (ResultCache::new(dir.path()), attachment("c1", "net1"));
    let file = dir.path().join("results/blue-net-c1-net1");
    cache.put(&it, None, &result()).unwrap();
    let whole = fs::read_to_string(&file).unwrap();

    for text in [
        "".to_owned(),
        "{".to_owned(),
        r#"{"cniVersion":"0.3.1","ips":[]}"#.to_owned(),
        whole.replace(KIND, "cniCacheV2"),
        whole.replace(r#""config":""#, r#""config":"!"#),
        whole[..whole.len() / 2].to_owned(),
    ] {
        fs::write(&file, &text).unwrap();
        assert_eq!(cache.get(&it.owner, &it.network.name).unwrap(), None, "{text}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn a_result_that_cannot_be_read_does_not_hide_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, it) = (ResultCache::new(dir.path()), attachment("c1", "net1"));
    let file = dir.path().join("results/blue-net-c1-net1");
    cache.put(&it, None, &result()).unwrap();
    let spoilt = fs::read_to_string(&file).unwrap().replace("10.1.2.3/24", "nowhere");
    fs::write(&file, spoilt).unwrap();

    let got = cache.get(&it.owner, &it.network.name).unwrap().unwrap();

    assert_eq!((got.config.as_slice(), got.result), (CONFIG.as_bytes(), None));
}

#[test]
fn what_the_oldest_versions_have_no_words_for_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, mut it) = (ResultCache::new(dir.path()), attachment("c1", "net1"));
    it.network = Network::parse(br#"{"name":"old","type":"macvlan"}"#, None).unwrap();

    cache.put(&it, None, &CniResult::default()).unwrap();

    let got = cache.get(&it.owner, &it.network.name).unwrap().unwrap();
    assert_eq!((got.config.as_slice(), got.result), (br#"{"name":"old","type":"macvlan"}"#.as_slice(), None));
}

#[test]
fn the_attachments_of_a_container_are_found_among_all_files() {
    let dir = tempfile::tempdir().unwrap();
    let cache = ResultCache::new(dir.path());
    assert_eq!(cache.of_container(&"c1".parse().unwrap()).unwrap(), []);
    for (container, ifname) in [("c1", "net1"), ("c1", "eth0"), ("c1-net1", "eth0"), ("c2", "eth0")] {
        cache.put(&attachment(container, ifname), None, &result()).unwrap();
    }
    fs::write(dir.path().join("results/blue-net-c1-net9"), "{").unwrap();

    let found = cache.of_container(&"c1".parse().unwrap()).unwrap();

    let names: Vec<&str> = found.iter().map(|(owner, _)| owner.ifname.as_str()).collect();
    assert_eq!(names, ["eth0", "net1"]);
}

#[test]
fn a_cache_that_cannot_be_written_says_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("results"), "a file in the way").unwrap();
    let (cache, it) = (ResultCache::new(dir.path()), attachment("c1", "net1"));

    let fault = cache.put(&it, None, &result()).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Io);
    assert!(fault.to_string().contains("\"blue-net-c1-net1\""), "{fault}");
    assert_eq!(cache.get(&it.owner, &it.network.name).unwrap(), None);
}

#[test]
fn what_another_wrote_is_told_apart_from_what_is_ours() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, it) = (ResultCache::new(dir.path()), attachment("c1", "net1"));
    let netns: NetnsPath = "/run/netns/p".parse().unwrap();
    cache.put(&it, Some(&netns), &result()).unwrap();
    let text = fs::read_to_string(dir.path().join("results/blue-net-c1-net1")).unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join("results").join(name), text).unwrap();
    put("blue-net-c2-net1", &text.replace("\"c1\"", "\"c2\"").replace(",\"writer\":\"manifold\"", ""));
    put("copy", &text);
    put("broken", "{");

    let names = cache.names(None, 9).unwrap();
    assert_eq!(names, ["blue-net-c1-net1", "blue-net-c2-net1", "broken", "copy"]);
    let ours: Vec<_> = names.iter().filter_map(|name| cache.ours(name)).collect();
    assert_eq!(ours, [Ours { owner: it.owner.clone(), network: it.network.name, netns: Some(netns) }]);
}

#[test]
fn files_are_listed_part_by_part() {
    let dir = tempfile::tempdir().unwrap();
    let cache = ResultCache::new(dir.path());
    assert!(cache.names(None, 2).unwrap().is_empty());
    for ifname in ["net3", "net1", "net2"] {
        cache.put(&attachment("c1", ifname), None, &result()).unwrap();
    }

    let first = cache.names(None, 2).unwrap();
    assert_eq!(first, ["blue-net-c1-net1", "blue-net-c1-net2"]);
    assert_eq!(cache.names(Some(&first[1]), 2).unwrap(), ["blue-net-c1-net3"]);
}

#[test]
fn only_what_was_left_long_ago_is_cleared_from_the_nursery() {
    let dir = tempfile::tempdir().unwrap();
    let cache = ResultCache::new(dir.path());
    cache.put(&attachment("c1", "net1"), None, &result()).unwrap();
    let nursery = dir.path().join("results").join(NURSERY);
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    for (name, old) in [("old", true), ("older", true), ("new", false)] {
        let file = fs::File::create(nursery.join(name)).unwrap();
        if old {
            file.set_modified(hour_ago - std::time::Duration::from_secs(60)).unwrap();
        }
    }

    assert_eq!(cache.clear_nursery(hour_ago, 1).unwrap(), 1);
    assert_eq!(cache.clear_nursery(hour_ago, 9).unwrap(), 1);

    assert_eq!(cache.clear_nursery(hour_ago, 9).unwrap(), 0);
    assert!(nursery.join("new").exists());
    assert_eq!(cache.names(None, 9).unwrap(), ["blue-net-c1-net1"]);
}
