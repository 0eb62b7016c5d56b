//! The certificate of this node: one file, with its key, and a kubeconfig that logs in with it.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::json;
use yasna::models::ObjectIdentifier;
use yasna::tags::TAG_UTCTIME;
use yasna::{ASN1Result, BERReader};

use super::kubeconfig::Kubeconfig;
use crate::host::conf_dir;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Longest file read, in bytes.
const MAX: u64 = 1 << 20;
/// The attribute of a name that holds a common name.
const COMMON_NAME: [u64; 4] = [2, 5, 4, 3];

/// A certificate with its key, which fit each other.
pub struct Certificate {
    text: String,
    /// From when until when it is valid.
    pub valid: Range<SystemTime>,
    /// Whom it stands for: its common name.
    pub holder: Option<String>,
    /// A fingerprint, which tells a renewed certificate from the old one.
    pub print: u64,
}

impl Certificate {
    /// Reads the one in a file; `None` if there is no such file.
    ///
    /// # Errors
    /// It cannot be read ([`FaultKind::Io`]), or holds no certificate with its key ([`FaultKind::Decode`]).
    pub fn read(path: &Path) -> Outcome<Option<Self>> {
        let failed = |cause| Fault::new(FaultKind::Io, format!("cannot read {path:?}")).because(cause);
        let mut text = String::new();
        match File::open(path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.and_then(|file| file.take(MAX).read_to_string(&mut text)).map_err(failed)?,
        };
        Self::parse(text).map(Some).map_err(|fault| fault.while_doing(format!("cannot use {path:?}")))
    }

    /// Reads one, and its key, in PEM.
    ///
    /// # Errors
    /// It is none, or the key is of another ([`FaultKind::Decode`]). What is quoted is no secret.
    pub(super) fn parse(text: String) -> Outcome<Self> {
        let wrong = |why: &str| {
            Fault::new(FaultKind::Decode, "it holds no certificate with its key").because(why.to_owned())
        };
        let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| wrong("it is no PEM"))?;
        let first = chain.first().ok_or_else(|| wrong("there is no certificate"))?.clone();
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| wrong("there is no key"))?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider)
            .map_err(|_| wrong("the key is not that of the certificate"))?;
        let (holder, valid) = yasna::parse_der(&first, look).map_err(|_| wrong("it is no X.509"))?;
        let mut print = DefaultHasher::new();
        first.hash(&mut print);
        Ok(Self { text, valid, holder, print: print.finish() })
    }

    /// Puts it into a file that nobody else may read.
    ///
    /// # Guarantees
    /// Whoever looks finds the old one or the new one, whole.
    ///
    /// # Errors
    /// It cannot be written; the old one is there.
    pub fn write(&self, path: &Path) -> Outcome<()> {
        conf_dir::put(path, 0o600, &mut self.text.as_bytes())
    }
}

impl std::fmt::Debug for Certificate {
    /// The key is left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("holder", &self.holder)
            .field("valid", &self.valid)
            .finish_non_exhaustive()
    }
}

/// Puts a kubeconfig there that reaches the same cluster as another one, and logs in with the certificate in a file.
///
/// # Errors
/// The other one cannot be read or names no cluster; this one cannot be written.
pub fn kubeconfig(like: &Path, certificate: &Path, to: &Path) -> Outcome<()> {
    let mut cluster = Kubeconfig::read(like)?.cluster;
    if let Some(authority) = cluster.file("certificate-authority")? {
        cluster.entries.insert("certificate-authority".to_owned(), authority.into());
    }
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "node",
        "contexts": [{"name": "node", "context": {"cluster": "cluster", "user": "node"}}],
        "clusters": [{"name": "cluster", "cluster": cluster.entries}],
        "users": [{"name": "node", "user": {"client-certificate": certificate, "client-key": certificate}}],
    });
    let text = format!("{text:#}\n");
    // Written anew it would make all connections be made anew.
    if conf_dir::read(to).is_ok_and(|now| now == text.as_bytes()) {
        return Ok(());
    }
    conf_dir::put(to, 0o600, &mut text.as_bytes())
}

/// Looks into a certificate (RFC 5280, section 4.1).
fn look(certificate: BERReader<'_, '_>) -> ASN1Result<(Option<String>, Range<SystemTime>)> {
    certificate.read_sequence(|certificate| {
        let found = certificate.next().read_sequence(|signed| {
            signed.read_optional(|version| {
                version.read_tagged(yasna::Tag::context(0), |version| version.read_der())
            })?;
            // The serial number, the algorithm, who signed it.
            for _ in 0..3 {
                signed.next().read_der()?;
            }
            let valid = signed.next().read_sequence(|valid| Ok(time(valid.next())?..time(valid.next())?))?;
            let holder = common_name(signed.next())?;
            // The key, and what else there may be.
            while signed.read_optional(|rest| rest.read_der())?.is_some() {}
            Ok((holder, valid))
        })?;
        certificate.next().read_der()?;
        certificate.next().read_der()?;
        Ok(found)
    })
}

fn time(time: BERReader<'_, '_>) -> ASN1Result<SystemTime> {
    if time.lookahead_tag()? == TAG_UTCTIME {
        return Ok(SystemTime::from(*time.read_utctime()?.datetime()));
    }
    Ok(SystemTime::from(*time.read_generalized_time()?.datetime()))
}

fn common_name(name: BERReader<'_, '_>) -> ASN1Result<Option<String>> {
    let attributes = name.collect_sequence_of(|set| {
        set.collect_set_of(|attribute| {
            attribute.read_sequence(|attribute| {
                let kind = attribute.next().read_oid()?;
                Ok((kind, attribute.next().read_tagged_der()?))
            })
        })
    })?;
    let wanted = ObjectIdentifier::from_slice(&COMMON_NAME);
    let found = attributes.into_iter().flatten().find(|(kind, _)| *kind == wanted);
    Ok(found.map(|(_, text)| String::from_utf8_lossy(text.value()).into_owned()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate of "holder", valid in 2020 to 2060, and its key.
    fn signed(holder: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "many");
        params.distinguished_name.push(DnType::CommonName, holder);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2060, 1, 1));
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_tells_whose_it_is_and_how_long() {
        let (certificate, key) = signed("me");

        let read = Certificate::parse(format!("{certificate}{key}")).unwrap();

        assert_eq!(read.holder.as_deref(), Some("me"));
        // The later one is written in another form.
        let dates = [date_time_ymd(2020, 1, 1), date_time_ymd(2060, 1, 1)].map(SystemTime::from);
        assert_eq!([read.valid.start, read.valid.end], dates);
        assert!(!format!("{read:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_no_certificate_with_its_key_is_refused_and_not_quoted() {
        let ((certificate, key), (_, another)) = (signed("me"), signed("you"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in [
            String::new(),
            certificate.clone(),
            key.clone(),
            format!("{certificate}{another}"),
            format!("{broken}{key}"),
            certificate[..certificate.len() / 2].to_owned(),
        ] {
            let fault = Certificate::parse(text.clone()).unwrap_err();

            assert_eq!(fault.kind(), FaultKind::Decode, "{text}");
            assert!(!fault.to_string().contains("BEGIN"), "{fault}");
        }
    }

    #[test]
    fn a_file_is_for_nobody_else_and_read_again_alike() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certs/current.pem");
        assert!(Certificate::read(&path).unwrap().is_none());
        let (certificate, key) = signed("me");
        let written = Certificate::parse(format!("{certificate}{key}")).unwrap();

        written.write(&path).unwrap();

        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Certificate::read(&path).unwrap().unwrap().print, written.print);
    }

    #[test]
    fn a_kubeconfig_reaches_the_same_cluster_and_logs_in_with_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let [like, to] = ["like", "to"].map(|name| folder.path().join(name));
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: b\nclusters:\n\
                    - {name: one, cluster: {server: 'https://one', certificate-authority: ca.crt}}\n\
                    - {name: two, cluster: {server: 'https://two', certificate-authority: ca.crt, tls-server-name: x}}\n\
                    contexts:\n- {name: a, context: {cluster: one, user: u}}\n- {name: b, context: {cluster: two, user: u}}\n\
                    users:\n- {name: u, user: {token: secret}}\n";
        std::fs::write(&like, text).unwrap();

        kubeconfig(&like, Path::new("/c/current.pem"), &to).unwrap();

        let written = std::fs::read_to_string(&to).unwrap();
        assert!(!written.contains("secret"), "{written}");
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        let authority = folder.path().join("ca.crt");
        let cluster =
            json!({"server": "https://two", "certificate-authority": authority, "tls-server-name": "x"});
        assert_eq!(read["clusters"][0]["cluster"], cluster);
        let user = json!({"client-certificate": "/c/current.pem", "client-key": "/c/current.pem"});
        assert_eq!(read["users"][0]["user"], user);
        let made = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&to).unwrap());
        let before = made();
        kubeconfig(&like, Path::new("/c/current.pem"), &to).unwrap();
        assert_eq!(made(), before);
    }
}
