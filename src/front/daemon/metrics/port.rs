//! The port at which metrics are read, and a kubelet probes. Whoever reaches the node may come there.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_blocking};

use crate::front::daemon::desk::Desk;
use crate::front::daemon::server::{plain, readiness};
use crate::model::fault::{Fault, FaultKind, Outcome};

/// How long nobody is let in after a connection could not be taken.
const PAUSE: Duration = Duration::from_secs(2);
/// Most connections at a time. One more ends the oldest, so that nobody who stays keeps a probe out.
const MOST: usize = 64;

/// What connections share.
struct Port {
    desk: Arc<Desk>,
    /// Who has it gathers the metrics, on the one thread that there is for it.
    turn: Arc<Mutex<()>>,
}

/// Listens where the configuration says, if it does.
///
/// # Errors
/// The address cannot be had.
pub(in crate::front::daemon) async fn listen(address: Option<SocketAddr>) -> Outcome<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|cause| {
        Fault::new(FaultKind::Io, format!("cannot serve metrics at {address}"))
            .because(cause)
            .remedy("choose another \"metricsPort\" or \"metricsAddress\"")
    })?;
    Ok(Some(listener))
}

/// Serves them there.
pub(in crate::front::daemon) fn serve(desk: &Arc<Desk>, listener: TcpListener) {
    let port = Arc::new(Port { desk: Arc::clone(desk), turn: Arc::default() });
    drop(tokio::spawn(async move {
        let mut callers = VecDeque::with_capacity(MOST);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    port.let_in(&mut callers, stream);
                    // Whoever was let in is heard before it may have to go for those who crowd in behind.
                    tokio::task::yield_now().await;
                }
                // Out of descriptors or memory: it stays so for a while, and calls are to get their turn.
                Err(cause) => {
                    tracing::warn!("cannot take a connection to the metrics: {cause}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }));
}

impl Port {
    fn let_in(self: &Arc<Self>, callers: &mut VecDeque<AbortHandle>, stream: TcpStream) {
        callers.retain(|caller| !caller.is_finished());
        if callers.len() >= MOST {
            callers.pop_front().into_iter().for_each(|oldest| oldest.abort());
        }
        callers.push_back(tokio::spawn(connection(Arc::clone(self), stream)).abort_handle());
    }
}

async fn connection(port: Arc<Port>, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let port = Arc::clone(&port);
        async move { Ok::<_, Infallible>(answer(&port, request.uri().path()).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    server.serve_connection(TokioIo::new(stream), service).await.unwrap_or_default();
}

async fn answer(port: &Port, path: &str) -> Response<Full<Bytes>> {
    match path {
        "/metrics" => {}
        // A kubelet probes no unix socket.
        "/healthz" => return plain(StatusCode::OK, ""),
        "/readyz" => return readiness(&port.desk),
        _ => return plain(StatusCode::NOT_FOUND, ""),
    }
    let (desk, turn) = (Arc::clone(&port.desk), Arc::clone(&port.turn).lock_owned().await);
    let gathered = spawn_blocking(move || {
        let _turn = turn;
        desk.metrics.text(&desk)
    });
    let Ok(text) = gathered.await else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "they could not be gathered");
    };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}
