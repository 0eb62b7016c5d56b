//! DELs that could not be delivered: `<stateDir>/spool/<sandbox>.<interface>.json`. The daemon does and removes them.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::thick::{SPOOL_FORMAT, Spooled};
use crate::model::{ContainerId, IfName, Object};

/// Keeps a DEL. One that is kept already is replaced: it is the same.
///
/// # Guarantees
/// Whoever reads sees all of it or nothing, and a power failure does not take it: nobody will ask again.
///
/// # Errors
/// It is not kept; then the runtime must be told.
pub(super) fn keep(state: &Path, env: &BTreeMap<String, String>, mut config: Object) -> Outcome<()> {
    let text = |key: &str| env.get(key).map(String::as_str).unwrap_or_default();
    let (container, ifname): (ContainerId, IfName) =
        (text("CNI_CONTAINERID").parse()?, text("CNI_IFNAME").parse()?);
    // It can be long, and a DEL of ours is done from the record.
    config.remove("prevResult");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let spooled = Spooled { format: SPOOL_FORMAT, since, env: env.clone(), config };
    let folder = state.join("spool");
    let name = format!("{container}.{ifname}.json");
    let failed = |cause: io::Error| {
        Fault::new(FaultKind::Io, format!("cannot keep the DEL in {folder:?}"))
            .because(cause)
            .remedy("make room, or make it writable")
    };
    let bytes = serde_json::to_vec(&spooled).map_err(|cause| failed(cause.into()))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
    write(&folder, &name, &bytes).map_err(failed)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    // Several shims may keep the same DEL at once.
    let young = folder.join(format!(".{}-{name}", std::process::id()));
    match fs::remove_file(&young) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&young)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| fs::rename(&young, folder.join(name)));
    placed.inspect_err(|_| fs::remove_file(&young).unwrap_or_default())?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_del_is_kept_whole_once_and_for_root_alone() {
        let dir = tempfile::tempdir().unwrap();
        let env = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0")];
        let env: BTreeMap<String, String> = env.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let config =
            Object::parse(br#"{"name":"n","type":"manifold","prevResult":{"ips":[]}}"#, "it").unwrap();

        keep(dir.path(), &env, config.clone()).unwrap();
        keep(dir.path(), &env, config).unwrap();

        let files: Vec<_> =
            fs::read_dir(dir.path().join("spool")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(files, [dir.path().join("spool/c1.eth0.json")]);
        assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
        let kept: Spooled = serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap();
        assert_eq!(kept.env, env);
        assert_eq!(String::from_utf8(kept.config.to_bytes()).unwrap(), r#"{"name":"n","type":"manifold"}"#);
    }

    #[test]
    fn a_name_that_would_lead_elsewhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let env = [("CNI_CONTAINERID", "../../etc"), ("CNI_IFNAME", "eth0")];
        let env = env.map(|(k, v)| (k.to_owned(), v.to_owned())).into();

        keep(dir.path(), &env, Object::default()).unwrap_err();

        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
