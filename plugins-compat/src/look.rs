//! What there is to see in a namespace and in a folder, without what is chance: indices, and the addresses and routes
//! that the kernel makes up by itself and in its own time.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::command::ip;

/// What is chance, or our mark: a link's group and alias are how we know it again (see the README).
const LINK_CHANCE: &[&str] =
    &["ifindex", "link_index", "link_netnsid", "broadcast", "operstate", "group", "ifalias", "permaddr"];

/// The links of the calling thread's network namespace by name, each with its addresses.
pub(crate) fn links() -> Outcome<Value> {
    let mut all = Map::new();
    for mut link in json_of("-details -json address show")? {
        let Some(keys) = link.as_object_mut() else { continue };
        LINK_CHANCE.iter().for_each(|key| drop(keys.remove(*key)));
        let Some(Value::String(name)) = keys.remove("ifname") else { continue };
        if let Some(Value::Array(flags)) = keys.get_mut("flags") {
            // The carrier comes a moment after the link.
            flags.retain(|flag| flag != "LOWER_UP" && flag != "NO-CARRIER");
        }
        if let Some(Value::Array(addresses)) = keys.get_mut("addr_info") {
            addresses.retain(|address| !is_local(address, "local"));
            for address in addresses.iter_mut().filter_map(Value::as_object_mut) {
                // Detection of duplicates ends in its own time; a scene that waits for it looks for it.
                address.remove("tentative");
            }
        }
        all.insert(name, link);
    }
    Ok(Value::Object(all))
}

/// The routes of the calling thread's network namespace, in all tables.
pub(crate) fn routes() -> Outcome<Value> {
    let mut all = json_of("-details -json -4 route show table all")?;
    let v6 = json_of("-details -json -6 route show table all")?;
    // The local ones come when the detection of duplicates is over.
    let lasting = |route: &Value| route.get("type").is_none_or(|kind| kind == "unicast");
    all.extend(v6.into_iter().filter(|route| lasting(route) && !is_local(route, "dst")));
    for route in all.iter_mut().filter_map(Value::as_object_mut) {
        if let Some(Value::Array(flags)) = route.get_mut("flags") {
            flags.retain(|flag| flag == "onlink");
        }
    }
    all.sort_by_key(Value::to_string);
    Ok(Value::Array(all))
}

/// The settings of a link in the calling thread's network namespace that are not the default ones.
pub(crate) fn sysctls(link: &str) -> Value {
    let mut all = Map::new();
    for family in ["ipv4", "ipv6"] {
        let conf = Path::new("/proc/sys/net").join(family).join("conf");
        let names = fs::read_dir(conf.join(link)).ok().into_iter().flatten();
        let names = names.filter_map(Result::ok).map(|entry| entry.file_name());
        for name in names {
            // Some cannot be read before they are set.
            let read = |of: &str| fs::read_to_string(conf.join(of).join(&name)).ok();
            let (set, default) = (read(link), read("default"));
            if set != default {
                let key = format!("{family}.{}", name.to_string_lossy());
                all.insert(key, json!(set.unwrap_or_default().trim()));
            }
        }
    }
    Value::Object(all)
}

/// The files below a folder and their content; empty if there is no such folder. Their modes are no affair of the other
/// side: root reads them all, and the reference plugin has changed its mind about them.
pub(crate) fn files(folder: &Path) -> Outcome<Value> {
    let mut all = Map::new();
    collect(folder, folder, &mut all).map_err(|cause| format!("cannot look into {folder:?}: {cause}"))?;
    Ok(Value::Object(all))
}

fn collect(root: &Path, folder: &Path, all: &mut Map<String, Value>) -> std::io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, all)?;
            continue;
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let content = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        all.insert(name.replace('/', "|"), Value::String(content));
    }
    Ok(())
}

/// Whether an address or a destination is one that the kernel gives every link of IPv6.
fn is_local(object: &Value, key: &str) -> bool {
    let text = object.get(key).and_then(Value::as_str).unwrap_or_default();
    ["fe80:", "ff00:", "multicast ff00:"].iter().any(|start| text.starts_with(start))
}

/// What `ip` prints as a list. Filters leave empty objects behind, and nothing at all is an empty text.
fn json_of(arguments: &str) -> Outcome<Vec<Value>> {
    let printed = ip(arguments)?;
    if printed.trim().is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<Value> = serde_json::from_str(&printed)
        .map_err(|cause| format!("cannot read what \"ip {arguments}\" printed: {cause}"))?;
    Ok(all.into_iter().filter(|item| item.as_object().is_some_and(|keys| !keys.is_empty())).collect())
}
