//! A stand-in for the API server: what Manifold asks of one, over real TLS, on the loopback of the network namespace
//! that it is started in. It holds pods, network definitions and events, and can be told to misbehave.

#![allow(dead_code, reason = "every test uses its part")]
#![allow(clippy::expect_used, reason = "a test may panic")]

mod certificates;
mod rights;
mod signing;
mod store;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

pub(crate) use certificates::Certificate;
use certificates::issue;
pub(crate) use signing::{Approval, Who};
use store::{Answer, State, refuse, whole};

/// The token that is let in from the start.
pub(crate) const TOKEN: &str = "a-token-nobody-may-see";

/// An API server on a thread of its own, until it is dropped.
pub(crate) struct ApiServer {
    address: SocketAddr,
    folder: TempDir,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One request, as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) accept: String,
    pub(crate) content: String,
    pub(crate) body: Value,
    pub(crate) who: Who,
}

/// How an answer goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Mishap {
    /// It comes late.
    Late(Duration),
    /// It is this code, as the API server words it.
    Code(u16),
    /// It is 429 and says after how many seconds to ask again.
    Busy(u16),
    /// The connection is reset instead.
    Reset,
    /// It is no JSON.
    Garbage,
    /// It is lost on its way back: what was asked is done, and the connection is reset.
    Lost,
}

// ---------------------------------------------------------------- what a test says to it

impl ApiServer {
    /// Starts one in the network namespace of the calling thread.
    pub(crate) fn start() -> Self {
        Self::start_with(Certificate::Valid)
    }

    /// Starts one with such a certificate.
    pub(crate) fn start_with(certificate: Certificate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener for an asynchronous task");
        let address = listener.local_addr().expect("an address");
        let folder = tempfile::tempdir().expect("a folder");
        let (config, signing) = issue(folder.path(), certificate);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let state = Arc::new(Mutex::new(State::of(TOKEN, signing)));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                tokio::spawn(accept(listener, acceptor, served));
                // An error means that the test is gone, which stops the server too.
                stopped.await.unwrap_or(());
            });
        });
        Self { address, folder, state, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// A path in the server's folder, which holds `ca.crt`, `client.crt` and `client.key`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the server's folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// A kubeconfig that logs in with [`TOKEN`].
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of(&json!({"token": TOKEN}))
    }

    /// A kubeconfig that logs in like this.
    pub(crate) fn kubeconfig_of(&self, user: &Value) -> PathBuf {
        let cluster = json!({"server": self.url(), "certificate-authority": self.path("ca.crt")});
        self.kubeconfig_with(&cluster, user)
    }

    /// A kubeconfig of this cluster and this user.
    pub(crate) fn kubeconfig_with(&self, cluster: &Value, user: &Value) -> PathBuf {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts:\n- name: here\n  context: {{cluster: c, user: u}}\n\
             clusters:\n- name: c\n  cluster: {cluster}\nusers:\n- name: u\n  user: {user}\n"
        );
        self.file("kubeconfig", &text)
    }

    /// Lets in who has this token, and nobody else.
    pub(crate) fn accept_only(&self, token: &str) {
        self.state().tokens = vec![token.into()];
    }

    /// Says from now on that accounts may not do this, "verb resource/subresource". They can all the same: it is only asked
    /// about.
    pub(crate) fn deny(&self, right: &str) {
        self.state().denied.push(right.to_owned());
    }

    /// Puts a pod, named "namespace/name", there, in place of the one that has its name.
    pub(crate) fn put_pod(&self, pod: &str, uid: &str, annotations: &Value) {
        let (namespace, name) = split(pod);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": name, "uid": uid, "annotations": annotations},
            "spec": {"nodeName": "node", "containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending"},
        });
        self.state().put((pods(namespace), name.to_owned()), pod);
    }

    /// Puts a network definition, named "namespace/name", there.
    pub(crate) fn put_definition(&self, network: &str, config: &str, annotations: &Value) {
        let (namespace, name) = split(network);
        let definition = json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"namespace": namespace, "name": name, "uid": name, "annotations": annotations},
            "spec": {"config": config},
        });
        self.state().put((definitions(namespace), name.to_owned()), definition);
    }

    /// Puts a slice of a driver's devices on a node there: each device is a name and its attributes, which are texts.
    pub(crate) fn put_slice(&self, slice: &str, spec: &Value) {
        let slice_object = json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": slice}, "spec": spec,
        });
        self.state()
            .put(("/apis/resource.k8s.io/v1/resourceslices".to_owned(), slice.to_owned()), slice_object);
    }

    /// Says of a pod that its extended resources are served by a claim, which got these devices: each is its container and
    /// request, its driver, and its name in the pool "node".
    pub(crate) fn put_extended(&self, pod: &str, devices: &[(&str, &str, &str, &str)]) {
        let (namespace, name) = split(pod);
        let mapping = |(container, request, ..): &(&str, &str, &str, &str)| json!({"containerName": container, "requestName": request});
        let result = |(_, request, driver, device): &(&str, &str, &str, &str)| json!({"request": request, "driver": driver, "pool": "node", "device": device});
        let mappings: Vec<Value> = devices.iter().map(mapping).collect();
        let results: Vec<Value> = devices.iter().map(result).collect();
        let claim = json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
            "metadata": {"namespace": namespace, "name": "extended"},
            "status": {"allocation": {"devices": {"results": results}}},
        });
        let mut state = self.state();
        let status = json!({"resourceClaimName": "extended", "requestMappings": mappings});
        let object = state.objects.get_mut(&(pods(namespace), name.to_owned())).expect("a pod");
        object["status"]["extendedResourceClaimStatus"] = status;
        let claims = format!("/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims");
        state.put((claims, "extended".to_owned()), claim);
    }

    /// Gives a pod volumes, and mounts of them in its container.
    pub(crate) fn put_volumes(&self, pod: &str, volumes: &Value, mounts: &Value) {
        let (namespace, name) = split(pod);
        let mut state = self.state();
        let object = state.objects.get_mut(&(pods(namespace), name.to_owned())).expect("a pod");
        object["spec"]["volumes"] = volumes.clone();
        object["spec"]["containers"][0]["volumeMounts"] = mounts.clone();
    }

    /// Takes the `spec` from a network definition.
    pub(crate) fn strip_spec(&self, network: &str) {
        let (namespace, name) = split(network);
        let mut state = self.state();
        let object = state.objects.get_mut(&(definitions(namespace), name.to_owned())).expect("a definition");
        object.as_object_mut().expect("fields").remove("spec");
    }

    /// The pod as it is now.
    pub(crate) fn pod(&self, pod: &str) -> Option<Value> {
        let (namespace, name) = split(pod);
        self.state().objects.get(&(pods(namespace), name.to_owned())).cloned()
    }

    /// Removes a pod.
    pub(crate) fn remove_pod(&self, pod: &str) {
        let (namespace, name) = split(pod);
        self.state().remove(&(pods(namespace), name.to_owned()));
    }

    /// Removes a network definition.
    pub(crate) fn remove_definition(&self, network: &str) {
        let (namespace, name) = split(network);
        self.state().remove(&(definitions(namespace), name.to_owned()));
    }

    /// Changes what a pod selects.
    pub(crate) fn select(&self, pod: &str, networks: &str) {
        let (namespace, name) = split(pod);
        let mut state = self.state();
        let key = (pods(namespace), name.to_owned());
        let mut object = state.objects.get(&key).expect("a pod").clone();
        object["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] = json!(networks);
        state.put(key, object);
    }

    /// Has requests for certificates, and those that wait, looked at like this.
    pub(crate) fn approve(&self, approval: Approval) {
        self.state().approve(approval);
    }

    /// Signs certificates that are valid for so long at most.
    pub(crate) fn sign_for(&self, lifetime: Duration) {
        self.state().signing().lifetime = Some(lifetime);
    }

    /// Trusts nobody any more whose certificate was signed until now, and has another authority sign.
    pub(crate) fn replace_authority(&self) {
        self.state().signing().turn();
    }

    /// Ends all watches, as the API server does after a while.
    pub(crate) fn end_watches(&self) {
        self.state().end_watches();
    }

    /// How many watch.
    pub(crate) fn watches(&self) -> usize {
        self.state().watches()
    }

    /// Forgets all changes so far: who would go on from one of them has to list anew.
    pub(crate) fn forget(&self) {
        self.state().forget();
    }

    /// The events of a namespace, in the order of their names.
    pub(crate) fn events(&self, namespace: &str) -> Vec<Value> {
        let state = self.state();
        let here = format!("/api/v1/namespaces/{namespace}/events");
        state
            .objects
            .iter()
            .filter(|((place, _), _)| *place == here)
            .map(|(_, event)| event.clone())
            .collect()
    }

    /// Lets the next answer to such a request, whose path contains this, go wrong; several wait in line.
    pub(crate) fn let_go_wrong(&self, method: Method, path: &str, mishap: Mishap) {
        self.state().mishaps.push_back((method, path.to_owned(), mishap));
    }

    /// All requests so far.
    pub(crate) fn log(&self) -> Vec<Asked> {
        self.state().log.clone()
    }

    /// All requests so far, as "METHOD path".
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state().log.iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the server works")
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        self.thread.take().map(JoinHandle::join);
    }
}

fn split(object: &str) -> (&str, &str) {
    object.split_once('/').expect("namespace and name")
}

fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

fn definitions(namespace: &str) -> String {
    format!("/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}/network-attachment-definitions")
}

// ---------------------------------------------------------------- connections

async fn accept(listener: tokio::net::TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(connection(socket, acceptor.clone(), Arc::clone(&state)));
    }
}

async fn connection(socket: tokio::net::TcpStream, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    let twin = Arc::new(socket.as_fd().try_clone_to_owned().expect("a descriptor"));
    // A client that does not trust the server hangs up.
    let Ok(tls) = acceptor.accept(socket).await else { return };
    let certificate = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certified = certificate.map(|certificate| Who::certified(certificate));
    let service = service_fn(move |request| {
        let (state, twin, certified) = (Arc::clone(&state), Arc::clone(&twin), certified.clone());
        async move { serve(request, certified, &state, &twin).await }
    });
    // It ends with an error where a mishap resets it, and where the client goes away.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await);
}

/// Answers one request; an error resets the connection.
async fn serve(
    request: Request<Incoming>,
    certified: Option<Who>,
    state: &Mutex<State>,
    socket: &OwnedFd,
) -> Result<Answer, std::io::Error> {
    let token = header(&request, "authorization");
    let asked = Asked {
        method: request.method().clone(),
        path: request.uri().path_and_query().expect("a path").to_string(),
        who: certified.clone().unwrap_or_else(Who::node),
        accept: header(&request, "accept"),
        content: header(&request, "content-type"),
        body: {
            let bytes = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
            serde_json::from_slice(&bytes).unwrap_or(Value::Null)
        },
    };
    let mishap = {
        let mut state = state.lock().expect("the server works");
        state.log.push(asked.clone());
        state.mishap(&asked)
    };
    let answer = || {
        let mut state = state.lock().expect("the server works");
        let known = match &certified {
            Some(who) => state.signing().knows(who),
            None => state.tokens.iter().any(|known| token == format!("Bearer {known}")),
        };
        if known { state.answer(&asked) } else { refuse(401, "Unauthorized", "Unauthorized") }
    };
    match mishap {
        None => Ok(answer()),
        Some(Mishap::Late(time)) => {
            tokio::time::sleep(time).await;
            Ok(answer())
        }
        Some(Mishap::Code(code)) => Ok(refuse(code, "Mishap", "the API server was told to refuse")),
        Some(Mishap::Busy(seconds)) => {
            let mut answer = refuse(429, "TooManyRequests", "too many requests");
            answer.headers_mut().insert("retry-after", seconds.into());
            Ok(answer)
        }
        Some(Mishap::Garbage) => Ok(whole(200, "<html>a captive portal</html>".into())),
        Some(Mishap::Reset) => Err(reset(socket)),
        Some(Mishap::Lost) => {
            drop(answer());
            Err(reset(socket))
        }
    }
}

fn header(request: &Request<Incoming>, name: &str) -> String {
    let value = request.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Lets the end of a connection be a reset.
fn reset(socket: &OwnedFd) -> std::io::Error {
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::Linger, &at_once).expect("a socket");
    std::io::Error::other("a mishap")
}
