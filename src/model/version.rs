//! Versions of the CNI specification, and what each one allows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKind};

/// A version of the CNI specification that Manifold speaks, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum CniVersion {
    /// 0.1.0: ADD and DEL of single configurations. What an absent `cniVersion` means.
    V0_1_0,
    /// 0.2.0: adds VERSION.
    V0_2_0,
    /// 0.3.0: adds lists of plugins and `prevResult`.
    V0_3_0,
    /// 0.3.1: corrects a typing error of 0.3.0.
    V0_3_1,
    /// 0.4.0: adds CHECK.
    V0_4_0,
    /// 1.0.0: only lists; `version` leaves the addresses of a result.
    V1_0_0,
    /// 1.1.0: adds GC and STATUS, and more keys in results.
    V1_1_0,
}

impl CniVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest version.
    pub const NEWEST: Self = Self::V1_1_0;

    /// As configurations and results spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Whether the version knows CHECK, and `prevResult` on DEL.
    pub fn has_check(self) -> bool {
        self >= Self::V0_4_0
    }

    /// Whether the version knows GC and STATUS.
    pub fn has_gc_and_status(self) -> bool {
        self >= Self::V1_1_0
    }

    /// The version to use for a list: the newest we speak of `versions` and `version` (specification 1.1.0,
    /// `cniVersions`). Entries newer than we speak are passed over; without any list `version` is taken as it is.
    ///
    /// # Errors
    /// An entry that is not a version at all, or nothing that we speak.
    pub fn choose(version: Option<&str>, versions: &[String]) -> Result<Self, Fault> {
        if versions.is_empty() {
            return version.unwrap_or_default().parse();
        }
        for entry in versions.iter().map(String::as_str).chain(version) {
            numbers(entry).ok_or_else(|| {
                Fault::new(FaultKind::Config, format!("{entry:?} in \"cniVersions\" is not a version"))
                    .remedy("write one to three numbers with dots between them")
            })?;
        }
        let spoken = versions.iter().map(String::as_str).chain(version).filter_map(|v| v.parse().ok()).max();
        spoken.ok_or_else(|| unspoken(&versions.join(", ")))
    }
}

/// The answer to VERSION: one line of JSON with its newline. As the reference library's, it is always labelled with the
/// newest version (specification 1.1.0, section 2, "VERSION").
pub fn version_reply() -> String {
    let known = CniVersion::ALL.map(|v| format!("{:?}", v.as_str())).join(",");
    format!("{{\"cniVersion\":{:?},\"supportedVersions\":[{known}]}}\n", CniVersion::NEWEST.as_str())
}

/// `1.2.3` as numbers; one to three of them.
fn numbers(text: &str) -> Option<Vec<u32>> {
    let parts: Vec<u32> = text.split('.').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    (parts.len() <= 3).then_some(parts)
}

fn unspoken(text: &str) -> Fault {
    let known = CniVersion::ALL.map(CniVersion::as_str).join(", ");
    Fault::new(FaultKind::Version, format!("CNI version {text:?} is not supported"))
        .remedy(format!("use one of {known}"))
}

impl FromStr for CniVersion {
    type Err = Fault;

    /// Reads a `cniVersion`; the empty text is 0.1.0.
    fn from_str(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Ok(Self::V0_1_0);
        }
        Self::ALL.into_iter().find(|v| v.as_str() == text).ok_or_else(|| unspoken(text))
    }
}

impl TryFrom<String> for CniVersion {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<CniVersion> for &'static str {
    fn from(version: CniVersion) -> Self {
        version.as_str()
    }
}

impl fmt::Display for CniVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|e| (*e).to_owned()).collect()
    }

    #[test]
    fn the_version_reply_is_one_line() {
        assert_eq!(
            version_reply(),
            "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"
        );
    }

    #[test]
    fn an_absent_version_is_the_oldest() {
        assert_eq!(CniVersion::choose(None, &[]).unwrap(), CniVersion::V0_1_0);
    }

    #[test]
    fn the_newest_version_we_speak_is_chosen() {
        let chosen = CniVersion::choose(Some("0.3.1"), &list(&["0.4.0", "1.0.0", "7.1"])).unwrap();
        assert_eq!(chosen, CniVersion::V1_0_0);
    }

    #[test]
    fn a_version_we_do_not_speak_is_refused_with_code_1() {
        for fault in [
            CniVersion::choose(Some("1.2.0"), &[]).unwrap_err(),
            CniVersion::choose(None, &list(&["2.0.0"])).unwrap_err(),
        ] {
            assert_eq!(fault.kind(), FaultKind::Version);
        }
    }

    #[test]
    fn an_entry_that_is_no_version_is_refused() {
        let fault = CniVersion::choose(Some("1.0.0"), &list(&["one"])).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Config);
    }
}
