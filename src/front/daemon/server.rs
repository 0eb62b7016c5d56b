//! The unix socket and what is asked there: HTTP/1.1, one request for each connection as shims do it, or several.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::call::{self, Wanted};
use super::desk::{Desk, Ended};
use super::door::{Door, Place};
use super::{keep, metrics, tidy};
use crate::model::fault::{ErrorReply, Fault, FaultKind, Outcome};
use crate::model::settings::DaemonSettings;
use crate::model::thick::{CNI, DELEGATE, MAX_REQUEST};

/// How long calls that are served may take to end when the daemon is told to stop.
const GRACE: Duration = Duration::from_secs(25);
/// How often it is looked whether the socket is still in its place.
const LOOK: Duration = Duration::from_secs(2);
/// How long nobody may have come before it is believed that nobody is left at the door.
const DRAIN: Duration = Duration::from_millis(50);
/// How long answers may take to their callers at the end.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a caller may take for the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// The answer to a request.
type Answer = Response<Full<Bytes>>;

/// All that a daemon listens to; nobody is served yet.
pub(super) struct Ears {
    door: Door,
    metrics: Option<TcpListener>,
    terminate: Signal,
    interrupt: Signal,
}

impl Ears {
    /// Takes what the daemon listens to, the socket last: who finds it finds the rest, and a signal stops in order.
    ///
    /// # Errors
    /// One of them cannot be had; where another daemon has the socket, that is the error. Then the socket is as it was.
    pub(super) async fn open(settings: &DaemonSettings) -> Outcome<Self> {
        let failed = |cause| Fault::new(FaultKind::Io, "cannot wait for signals").because(cause);
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let place = Place::take(&settings.socket_dir)?;
        let metrics = metrics::listen(settings.metrics).await?;
        Ok(Self { door: Door::open(place)?, metrics, terminate, interrupt })
    }
}

/// Serves until a signal says to stop, then lets those who are served finish.
pub(super) async fn serve(desk: &Arc<Desk>, ears: Ears) {
    let Ears { mut door, metrics, mut terminate, mut interrupt } = ears;
    if let Some(listener) = metrics {
        metrics::serve(desk, listener);
    }
    tidy::start(desk);
    keep::start(desk);
    tracing::info!(socket = ?door.path, "serving");
    let mut look = interval(LOOK);
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            taken = door.listener.accept() => match taken {
                Ok((stream, _)) => drop(callers.spawn(connection(Arc::clone(desk), TokioIo::new(stream)))),
                // Out of descriptors or memory: the next may go better, in a while.
                Err(cause) => {
                    tracing::warn!("cannot take a connection: {cause}");
                    tokio::time::sleep(LOOK).await;
                }
            },
            Some(_) = callers.join_next() => {}
            _ = look.tick() => door.mend(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    let (waiting, working) = desk.crowd();
    tracing::info!(waiting, working, "stopping");
    keep::stop(desk);
    // From here on callers find nobody, or hear 503, and wait for the next daemon; DELs are kept for it. Those who were
    // connected before hear it too: a connection that is reset would tell them nothing.
    desk.refuse();
    door.shut();
    while let Ok(Ok((stream, _))) = timeout(DRAIN, door.listener.accept()).await {
        callers.spawn(connection(Arc::clone(desk), TokioIo::new(stream)));
    }
    match desk.close(Instant::now() + GRACE).await {
        0 => tracing::info!("stopped"),
        left => tracing::warn!(left, "stopped before all calls were done; what they did is on record"),
    }
    // What was answered is to reach its caller; who keeps a connection open without a word is not waited for.
    let farewell = async { while callers.join_next().await.is_some() {} };
    timeout(FAREWELL, farewell).await.unwrap_or_default();
}

async fn connection(desk: Arc<Desk>, stream: TokioIo<tokio::net::UnixStream>) {
    let service = service_fn(|request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(answer(&desk, request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 << 10);
    // A caller that went away has heard enough.
    server.serve_connection(stream, service).await.unwrap_or_default();
}

async fn answer(desk: &Arc<Desk>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let wanted = match path.as_str() {
        CNI => Some(Wanted::Cni),
        DELEGATE => Some(Wanted::Delegate),
        _ => None,
    };
    let answer = match (wanted, path.as_str(), &method) {
        (Some(wanted), _, &Method::POST) => work(desk, wanted, request).await,
        (None, "/healthz", &Method::GET | &Method::POST) => plain(StatusCode::OK, ""),
        (None, "/readyz", &Method::GET | &Method::POST) => readiness(desk),
        (Some(_), ..) | (None, "/healthz" | "/readyz", _) => {
            plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
        }
        (None, ..) => plain(StatusCode::NOT_FOUND, ""),
    };
    let handler = match path.as_str() {
        CNI | DELEGATE | "/healthz" | "/readyz" => path.as_str(),
        _ => "NotFound",
    };
    desk.metrics.request(handler, answer.status().as_u16(), &method);
    answer
}

async fn work(desk: &Arc<Desk>, wanted: Wanted, request: Request<Incoming>) -> Answer {
    let body = match Limited::new(request.into_body(), MAX_REQUEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(cause) => {
            let fault = Fault::new(FaultKind::Decode, "cannot read the request").because(cause.to_string());
            return refused(&fault.to_reply());
        }
    };
    let question = match call::read(&body) {
        Ok(question) => question,
        Err(error) => return refused(&error),
    };
    let env = question.env.clone();
    let told = |reply: Result<Vec<u8>, ErrorReply>| match reply {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => refused(&error),
    };
    if let Err(fault) = desk.ready(call::awaited(wanted, &question).as_deref()).await {
        return told(call::unserved(desk, &env, fault));
    }
    let ended = desk.serve(call::sort(&question), move |desk| call::serve(desk, wanted, &question)).await;
    match ended {
        Ended::Done(reply) => told(reply),
        Ended::Busy => told(call::busy(desk, &env)),
        Ended::Closed => plain(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        Ended::Broken => plain(StatusCode::INTERNAL_SERVER_ERROR, "the call broke off; see the daemon's log"),
    }
}

/// An error, as the peer's shim and ours read it.
fn refused(error: &ErrorReply) -> Answer {
    // Numbers and texts: they cannot fail to be JSON.
    json(StatusCode::BAD_REQUEST, serde_json::to_vec(error).unwrap_or_default())
}

fn json(code: StatusCode, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = code;
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}

/// Whether a pod would get its networks, as far as the daemon itself knows.
pub(super) fn readiness(desk: &Desk) -> Answer {
    match desk.trouble() {
        None => plain(StatusCode::OK, ""),
        Some(trouble) => plain(StatusCode::SERVICE_UNAVAILABLE, trouble),
    }
}

pub(super) fn plain(code: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = code;
    answer
}
