//! Where the API server is, and as whom it is spoken with: a kubeconfig, or a pod's service account.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt as _;
use kube::config::{AuthInfo, Kubeconfig, KubeconfigError, LoadDataError};
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret as _;
use tower::Layer as _;

use super::login::Login;
use super::tls;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Stands for "no proxy" while a kubeconfig is read: the library would look into the environment otherwise, where a
/// container runtime keeps the proxy it fetches images through.
const NO_PROXY: &str = "http://none.invalid";

/// How long nothing may come before it is asked whether anybody is there.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// The service account of the pod that this process runs in.
#[derive(Debug, Clone)]
pub struct ServiceAccount {
    /// The API server's address or name (`KUBERNETES_SERVICE_HOST`).
    pub host: String,
    /// Its port (`KUBERNETES_SERVICE_PORT`).
    pub port: u16,
    /// The folder with `token` and `ca.crt`, see [`ServiceAccount::FOLDER`].
    pub folder: PathBuf,
}

impl ServiceAccount {
    /// Where Kubernetes mounts an account's token and certificate.
    pub const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
}

/// A server, and how to log in there.
pub(super) struct Access {
    /// Everything but a token that is kept in a file.
    pub(super) config: Config,
    /// The file that holds the token, if one does.
    token: Option<PathBuf>,
    /// The kubeconfig, or the folder of the account, that all this is from.
    source: PathBuf,
    /// The files that were read: when one of them changes, this is no longer true.
    pub(super) files: Vec<PathBuf>,
}

impl Access {
    pub(super) fn from_kubeconfig(path: &Path) -> Outcome<Self> {
        let mut kubeconfig = Kubeconfig::read_from(path).map_err(|cause| unreadable(path, cause))?;
        for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
            let proxy = cluster.proxy_url.take().filter(|url| !url.is_empty());
            cluster.proxy_url = Some(proxy.unwrap_or_else(|| NO_PROXY.to_owned()));
        }
        let files = files(path, &kubeconfig);
        let mut config = Config::try_from(kubeconfig).map_err(|cause| unreadable(path, cause))?;
        if config.proxy_url.take().is_some_and(|url| url.host() != Some("none.invalid")) {
            return Err(unsupported(path, "a proxy", "reach the API server without one"));
        }
        let login = &mut config.auth_info;
        if login.exec.is_some() || login.auth_provider.is_some() {
            let remedy = "log in with a client certificate, \"token\" or \"tokenFile\"";
            return Err(unsupported(path, "a program to log in with", remedy));
        }
        let token = login.token_file.take().filter(|file| !file.is_empty()).map(PathBuf::from);
        if token.is_some() {
            login.token = None;
        }
        Ok(Self { config, token, source: path.to_owned(), files })
    }

    pub(super) fn of_account(account: &ServiceAccount) -> Outcome<Self> {
        let ServiceAccount { host, port, folder } = account;
        let authority = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        let wrong = |what: String| {
            Fault::new(FaultKind::Config, what)
                .remedy("correct the pod's environment and its service account")
        };
        let uri = format!("https://{authority}").parse().map_err(|cause: http::uri::InvalidUri| {
            wrong(format!("no API server at {host:?}")).because(cause)
        })?;
        let authorities = folder.join("ca.crt");
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&authorities)
            .and_then(Iterator::collect)
            .map(|found: Vec<CertificateDer<'_>>| found.iter().map(|one| one.to_vec()).collect());
        let certificates = certificates.map_err(|cause| {
            wrong(format!("cannot read certificates in {authorities:?}")).recast(FaultKind::Io).because(cause)
        })?;
        let mut config = Config::new(uri);
        config.root_cert = Some(certificates);
        let token = Some(folder.join("token"));
        Ok(Self { config, token, source: folder.clone(), files: vec![authorities] })
    }
}

impl Access {
    /// A client that tries once and does not log in: [`Access::login`] is for each request. Needs the runtime it will run
    /// on to be entered.
    pub(super) fn client(&self, connect: Duration) -> Outcome<Client> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(connect));
        // A server that vanished without a word is noticed where nothing is asked, as by a watch.
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE));
        connector.set_keepalive_retries(Some(3));
        let connector = tls::connector(&self.config, connector, &self.source)?;
        let service = legacy::Client::builder(TokioExecutor::new()).build(connector);
        let service = self.config.base_uri_layer().layer(service);
        Ok(Client::new(service, self.config.default_namespace.clone()))
    }

    /// What logs a request in.
    pub(super) fn login(&self) -> Outcome<Login> {
        if let Some(path) = &self.token {
            return Ok(Login::TokenFile(path.clone()));
        }
        let AuthInfo { token, username, password, .. } = &self.config.auth_info;
        let text = match (token, username, password) {
            (Some(token), ..) => format!("Bearer {}", token.expose_secret().trim()),
            (None, Some(name), Some(password)) => {
                format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.expose_secret())))
            }
            (None, ..) => return Ok(Login::None),
        };
        // The library's words may quote what it could not use.
        let mut value = HeaderValue::try_from(text).map_err(|_| unusable(&self.source))?;
        value.set_sensitive(true);
        Ok(Login::Fixed(value))
    }
}

/// The files that a kubeconfig is made of, itself first.
fn files(path: &Path, kubeconfig: &Kubeconfig) -> Vec<PathBuf> {
    let clusters = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
    let users = kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref());
    let authorities = clusters.filter_map(|cluster| cluster.certificate_authority.as_ref());
    let certificates = users.flat_map(|user| [&user.client_certificate, &user.client_key]).flatten();
    std::iter::once(path.to_owned()).chain(authorities.chain(certificates).map(PathBuf::from)).collect()
}

/// What cannot be used is not told further: it may hold a secret.
pub(super) fn unusable(source: &Path) -> Fault {
    Fault::new(FaultKind::Config, format!("cannot log in with what {source:?} holds"))
        .remedy("correct certificates, key or token")
}

fn unsupported(path: &Path, what: &str, remedy: &'static str) -> Fault {
    Fault::new(FaultKind::Unsupported, format!("kubeconfig {path:?} asks for {what}")).remedy(remedy)
}

/// Why a kubeconfig cannot be used; the library's words about its contents are left out, they may quote a secret.
pub(super) fn unreadable(path: &Path, cause: KubeconfigError) -> Fault {
    let about = |kind: FaultKind, what: &str| Fault::new(kind, format!("{what} kubeconfig {path:?}"));
    if let KubeconfigError::ReadConfig(cause, _) = cause {
        return about(FaultKind::Io, "cannot read")
            .because(cause)
            .remedy("correct the name of the file, or leave it out to work without a cluster");
    }
    if let KubeconfigError::Parse(cause) = &cause {
        let place = cause.location().map(|at| format!("line {}, column {}", at.line(), at.column()));
        return about(FaultKind::Decode, "malformed")
            .because(place.unwrap_or_else(|| "it is no YAML of that shape".to_owned()))
            .remedy("correct the file");
    }
    if let Some((file, cause)) = unread_file(&cause) {
        return about(FaultKind::Io, &format!("cannot read {file:?}, named by"))
            .because(cause.to_string())
            .remedy("correct the file's name or its permissions");
    }
    about(FaultKind::Config, "incomplete or wrong").because(cause).remedy("correct the file")
}

/// The file that a kubeconfig names and that could not be read.
fn unread_file(cause: &KubeconfigError) -> Option<(&Path, &io::Error)> {
    if let KubeconfigError::LoadCertificateAuthority(cause)
    | KubeconfigError::LoadClientCertificate(cause)
    | KubeconfigError::LoadClientKey(cause) = cause
        && let LoadDataError::ReadFile(cause, file) = cause
    {
        return Some((file, cause));
    }
    None
}
