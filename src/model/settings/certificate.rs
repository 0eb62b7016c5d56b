//! The certificate that the daemon has signed for its node; key `perNodeCertificate`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object::Object;
use crate::model::path::absolute;

/// How the daemon comes by a certificate of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCertificate {
    /// The kubeconfig that the first one is asked for with; key `bootstrapKubeconfig`.
    pub bootstrap: PathBuf,
    /// Where it is kept; key `certDir`.
    pub dir: PathBuf,
    /// How long it is asked to be valid; key `certDuration`.
    pub lifetime: Duration,
}

#[derive(Deserialize)]
struct Keys {
    pernodecertificate: Option<CertificateKeys>,
}

#[derive(Deserialize)]
struct CertificateKeys {
    #[serde(default)]
    enabled: bool,
    bootstrapkubeconfig: Option<PathBuf>,
    certdir: Option<PathBuf>,
    certduration: Option<String>,
}

/// The shortest and the longest that may be asked for: what the API takes, and what approvers let through.
const LIFETIMES: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(365 * 24 * 3600));

impl NodeCertificate {
    /// The certificate with its key.
    pub fn file(&self) -> PathBuf {
        self.dir.join("multus-client-current.pem")
    }

    /// The kubeconfig that logs in with it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("multus-client.kubeconfig")
    }

    /// Reads how it is come by, and has calls log in with it.
    ///
    /// # Errors
    /// As [`NodeCertificate::read`].
    pub fn apply(object: &mut Object) -> Outcome<Option<Self>> {
        let certificate = Self::read(object)?;
        if let Some(certificate) = &certificate {
            object.put("kubeconfig", &certificate.kubeconfig())?;
        }
        Ok(certificate)
    }

    /// Reads how it is come by; `None` where it is not asked for.
    ///
    /// # Errors
    /// A value of the wrong type; a path that is absent or not absolute; a duration that is none or that nobody signs.
    pub fn read(object: &Object) -> Outcome<Option<Self>> {
        let keys: Keys = object.decode("the daemon's configuration")?;
        let Some(keys) = keys.pernodecertificate.filter(|keys| keys.enabled) else { return Ok(None) };
        let lifetime = match keys.certduration.as_deref().unwrap_or_default() {
            "" => LIFETIMES.0,
            text => duration(text)
                .filter(|lifetime| (LIFETIMES.0..=LIFETIMES.1).contains(lifetime))
                .ok_or_else(|| {
                    wrong("certDuration", Path::new(text))
                        .remedy("give 10m to 8760h, such as \"24h\" or \"1h30m\"")
                })?,
        };
        Ok(Some(Self {
            bootstrap: absolute("bootstrapKubeconfig", keys.bootstrapkubeconfig.unwrap_or_default())?,
            dir: absolute("certDir", keys.certdir.unwrap_or_default())?,
            lifetime,
        }))
    }
}

fn wrong(key: &str, value: &Path) -> Fault {
    Fault::new(FaultKind::Config, format!("{key:?} in \"perNodeCertificate\" is {value:?}"))
}

/// A duration as Go writes it, in whole hours, minutes and seconds: `1h30m`.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let unit = match part.chars().last()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let number: u64 = part.get(..part.len() - 1)?.parse().ok()?;
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
    }
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<Option<NodeCertificate>> {
        NodeCertificate::read(&Object::parse(text.as_bytes(), "the test")?)
    }

    #[test]
    fn it_is_asked_for_where_it_is_enabled() {
        assert_eq!(read("{}").unwrap(), None);
        assert_eq!(read(r#"{"perNodeCertificate": {"certDir": "x"}}"#).unwrap(), None);

        let text =
            r#"{"PerNodeCertificate": {"Enabled": true, "bootstrapKubeconfig": "/k", "certDir": "/c"}}"#;
        let asked = read(text).unwrap().unwrap();

        assert_eq!(asked.lifetime, Duration::from_secs(600));
        assert_eq!(asked.file(), Path::new("/c/multus-client-current.pem"));
        assert_eq!((asked.bootstrap, asked.dir), ("/k".into(), "/c".into()));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for wrong in [
            r#""certDir": "/c""#,
            r#""bootstrapKubeconfig": "/k""#,
            r#""bootstrapKubeconfig": "k", "certDir": "/c""#,
            r#""bootstrapKubeconfig": "/k", "certDir": "/c", "certDuration": "9m59s""#,
            r#""bootstrapKubeconfig": "/k", "certDir": "/c", "certDuration": "8761h""#,
            r#""bootstrapKubeconfig": "/k", "certDir": "/c", "certDuration": "soon""#,
        ] {
            let fault =
                read(&format!(r#"{{"perNodeCertificate": {{"enabled": true, {wrong}}}}}"#)).unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Config, "{wrong}");
            assert!(fault.advice().is_some(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, seconds) in [
            ("24h", Some(86_400)),
            ("1h30m", Some(5_400)),
            ("10m0s", Some(600)),
            ("600", None),
            ("h", None),
            ("-1h", None),
            ("1.5h", None),
            ("99999999999999999999h", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
