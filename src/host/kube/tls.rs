//! The trusted connection to an API server: whose certificates are believed, and which one is shown.
//!
//! It is put together here, from the library's parsed configuration: the library's own asks login programs for a
//! certificate first, and with them links JSONPath and regular expressions, a megabyte that is never used.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_rustls::{ConfigBuilderExt as _, FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use kube::Config;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secrecy::ExposeSecret as _;

use super::access::unusable;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Longest certificate or key read, in bytes.
const MAX_PEM: u64 = 1 << 20;

/// Connects over `tcp`, and over TLS where the server's address says so. `source` is the file that is to be corrected
/// if what it holds cannot be used.
pub(super) fn connector(
    config: &Config,
    tcp: HttpConnector,
    source: &Path,
) -> Outcome<HttpsConnector<HttpConnector>> {
    let connector = HttpsConnectorBuilder::new().with_tls_config(client(config, source)?).https_or_http();
    let Some(name) = &config.tls_server_name else {
        return Ok(connector.enable_http1().wrap_connector(tcp));
    };
    let name = ServerName::try_from(name.clone()).map_err(|cause| unusable(source).because(cause))?;
    let connector = connector.with_server_name_resolver(FixedServerNameResolver::new(name));
    Ok(connector.enable_http1().wrap_connector(tcp))
}

fn client(config: &Config, source: &Path) -> Outcome<ClientConfig> {
    let builder = ClientConfig::builder();
    let builder = match &config.root_cert {
        Some(certificates) => builder.with_root_certificates(roots(certificates, source)?),
        // Whoever asks for no check needs no authority; an image of nothing but programs has none.
        None if config.accept_invalid_certs => builder.with_root_certificates(RootCertStore::empty()),
        // The library's words are not for people.
        None => builder.with_native_roots().map_err(|_| {
            Fault::new(
                FaultKind::Config,
                "no certificate authorities are found on this node (/etc/ssl/certs)",
            )
            .remedy(format!("name the API server's authority in {source:?}"))
        })?,
    };
    let mut client = match identity(config, source)? {
        // The library's words may quote what it could not use.
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|_| unusable(source))?,
        None => builder.with_no_client_auth(),
    };
    if config.accept_invalid_certs {
        let provider = client.crypto_provider().clone();
        client.dangerous().set_certificate_verifier(Arc::new(Unchecked(provider)));
    }
    Ok(client)
}

fn roots(certificates: &[Vec<u8>], source: &Path) -> Outcome<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(CertificateDer::from_slice(certificate));
        added.map_err(|cause| unusable(source).because(cause))?;
    }
    Ok(roots)
}

/// The certificate that logs in, and its key.
fn identity(
    config: &Config,
    source: &Path,
) -> Outcome<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
    let login = &config.auth_info;
    let chain = pem(login.client_certificate_data.as_deref(), login.client_certificate.as_deref(), source)?;
    let key_data = login.client_key_data.as_ref().map(|data| data.expose_secret());
    // One file may hold both: what is read of it once fits together, also while it is replaced.
    let one_file = login.client_certificate_data.is_none() && key_data.is_none();
    let key = match &login.client_key {
        Some(file) if one_file && login.client_certificate.as_ref() == Some(file) => chain.clone(),
        file => pem(key_data, file.as_deref(), source)?,
    };
    let (chain, key) = match (chain, key) {
        (None, None) => return Ok(None),
        (Some(chain), Some(key)) => (chain, key),
        (Some(_), None) | (None, Some(_)) => {
            return Err(unusable(source).because("a certificate needs a key, and a key a certificate"));
        }
    };
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| unusable(source))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| unusable(source))?;
    Ok(Some((chain, key)))
}

/// What is written in the kubeconfig itself, or else in a file that it names.
pub(super) fn pem(data: Option<&str>, file: Option<&str>, source: &Path) -> Outcome<Option<Vec<u8>>> {
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        return STANDARD.decode(data).map(Some).map_err(|_| unusable(source).because("it is no base64"));
    }
    let Some(file) = file.filter(|file| !file.is_empty()) else { return Ok(None) };
    let unreadable = |cause: std::io::Error| {
        Fault::new(FaultKind::Io, format!("cannot read {file:?}, named by kubeconfig {source:?}"))
            .because(cause)
            .remedy("correct the file's name or its permissions")
    };
    if fs::metadata(file).map_err(unreadable)?.len() > MAX_PEM {
        return Err(unusable(source).because(format!("{file:?} has more than {MAX_PEM} bytes")));
    }
    fs::read(file).map(Some).map_err(unreadable)
}

/// Believes whatever certificate a server shows, as `insecure-skip-tls-verify` asks. That the server has its key is still
/// checked.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
