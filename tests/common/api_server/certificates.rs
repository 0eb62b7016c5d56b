//! The certificates of the stand-in: an authority, the server's, and a client's.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::signing::Signing;

/// Whether the server's certificate can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    Valid,
    Expired,
    /// Valid, and for another name.
    Elsewhere,
}

/// Issues an authority, the server's certificate and a client's; what a client needs is put into the folder.
pub(super) fn issue(folder: &Path, certificate: Certificate) -> (rustls::ServerConfig, Signing) {
    let key = || KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new([]).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = key();
    let root = authority.self_signed(&authority_key).expect("an authority");
    let issuer = Issuer::new(authority, authority_key);

    let names = match certificate {
        Certificate::Elsewhere => vec!["elsewhere.invalid".to_owned()],
        Certificate::Valid | Certificate::Expired => vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
    };
    let mut params = CertificateParams::new(names).expect("parameters");
    if certificate == Certificate::Expired {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let server_key = key();
    let server = params.signed_by(&server_key, &issuer).expect("the server's certificate");
    let client_key = key();
    let client = CertificateParams::new([]).expect("parameters").signed_by(&client_key, &issuer);
    for (name, text) in [
        ("ca.crt", root.pem()),
        ("client.crt", client.expect("a client's certificate").pem()),
        ("client.key", client_key.serialize_pem()),
    ] {
        fs::write(folder.join(name), text).expect("a file");
    }

    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der().clone()).expect("an authority");
    let signing = Signing::new(|authority| roots.add(authority.der().clone()).expect("an authority"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.allow_unauthenticated().build().expect("a verifier");
    let key = PrivateKeyDer::from_pem_slice(server_key.serialize_pem().as_bytes()).expect("a key");
    let chain: Vec<CertificateDer<'static>> = vec![server.der().clone()];
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .expect("a certificate");
    (config, signing)
}
