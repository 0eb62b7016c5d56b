//! Where the API server is, and as whom it is spoken with: a kubeconfig, or a pod's service account.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt as _;
use kube::config::AuthInfo;
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret as _, SecretString};
use tower::Layer as _;

use super::kubeconfig::{Kubeconfig, Section, incomplete};
use super::login::Login;
use super::tls;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

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
        let kubeconfig = Kubeconfig::read(path)?;
        let Kubeconfig { cluster, user } = &kubeconfig;
        if cluster.text("proxy-url")?.is_some() {
            return Err(unsupported(path, "a proxy", "reach the API server without one"));
        }
        if user.has("exec") || user.has("auth-provider") {
            let remedy = "log in with a client certificate, \"token\" or \"tokenFile\"";
            return Err(unsupported(path, "a program to log in with", remedy));
        }
        let server = cluster.text("server")?;
        let server = server.ok_or_else(|| incomplete(path, "its cluster has no \"server\"".to_owned()))?;
        let uri = server.parse().map_err(|cause: http::uri::InvalidUri| {
            incomplete(path, format!("server {server:?} is no address: {cause}"))
        })?;
        let mut config = Config::new(uri);
        config.root_cert = authorities(cluster, path)?;
        config.accept_invalid_certs = cluster.flag("insecure-skip-tls-verify")?;
        config.tls_server_name = cluster.text("tls-server-name")?.map(str::to_owned);
        config.auth_info = login(user)?;
        let token = user.file("tokenFile")?.map(PathBuf::from);
        let files = std::iter::once(path.to_owned()).chain(kubeconfig.files()?).collect();
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

/// The authorities that a kubeconfig names; `None` if it leaves that to the node.
fn authorities(cluster: &Section, source: &Path) -> Outcome<Option<Vec<Vec<u8>>>> {
    let data = cluster.text("certificate-authority-data")?;
    let file = cluster.file("certificate-authority")?;
    let Some(pem) = tls::pem(data, file.as_deref(), source)? else { return Ok(None) };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    let found = found.ok_or_else(|| unusable(source).because("its authority is no certificate in PEM"))?;
    Ok(Some(found.iter().map(|one| one.to_vec()).collect()))
}

/// What a user of a kubeconfig logs in with, but for a token in a file.
fn login(user: &Section) -> Outcome<AuthInfo> {
    let text = |key: &str| Ok::<_, Fault>(user.text(key)?.map(str::to_owned));
    let secret = |key: &str| Ok::<_, Fault>(user.text(key)?.map(SecretString::from));
    Ok(AuthInfo {
        username: text("username")?,
        password: secret("password")?,
        token: secret("token")?,
        client_certificate: user.file("client-certificate")?,
        client_certificate_data: text("client-certificate-data")?,
        client_key: user.file("client-key")?,
        client_key_data: secret("client-key-data")?,
        ..AuthInfo::default()
    })
}

/// What cannot be used is not told further: it may hold a secret.
pub(super) fn unusable(source: &Path) -> Fault {
    Fault::new(FaultKind::Config, format!("cannot log in with what {source:?} holds"))
        .remedy("correct certificates, key or token")
}

fn unsupported(path: &Path, what: &str, remedy: &'static str) -> Fault {
    Fault::new(FaultKind::Unsupported, format!("kubeconfig {path:?} asks for {what}")).remedy(remedy)
}
