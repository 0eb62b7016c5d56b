//! What a runtime tells a plugin: the variables of CNI, and standard input (CNI specification 1.1.0, section 2).

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Read as _};

use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::model::object::MAX_BYTES;

/// The variables of CNI, and no others.
#[allow(clippy::disallowed_methods, reason = "doors read the environment")]
pub(super) fn variables() -> BTreeMap<String, String> {
    let texts =
        env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.to_string_lossy().into_owned())));
    texts.filter(|(key, _)| key.starts_with("CNI_")).collect()
}

/// Standard input; of one that is too long to be a configuration, enough for its reader to notice.
pub(super) fn stdin() -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|cause| Fault::new(FaultKind::Io, "cannot read standard input").because(cause))?;
    Ok(bytes)
}
