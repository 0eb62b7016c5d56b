//! The line to the API server: one request, tried until it is answered or its time is over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout};
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::util::rng::HasherRng;

use super::access::Access;
use super::failure::{Act, Failure, is_distrust};
use super::login::Login;
use super::reactor::Reactor;
use super::refusals::Refusals;
use super::tried::{Teller, Tried};
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Longest answer read, in bytes. What Kubernetes stores of an object is limited to about 1.5 MiB.
const MAX_ANSWER: usize = 4 << 20;
/// Shortest and longest pause between two tries; up to as much again is added at random.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// As what Manifold presents itself.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("manifold/", env!("CARGO_PKG_VERSION")));

/// How long an answer to a list or a watch may take to begin.
const HEAD: Duration = Duration::from_secs(30);

/// How long the API server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// For all requests of one call together. When it is used up, each further request still has one try.
    pub whole: Duration,
    /// For one try of one request.
    pub one_try: Duration,
}

/// A request.
pub(super) struct Ask {
    act: String,
    pub(super) method: Method,
    pub(super) path: String,
    accept: &'static str,
    content: Option<(&'static str, Vec<u8>)>,
}

/// What the API server answered.
pub(super) struct Answer {
    /// The HTTP status code.
    pub(super) code: u16,
    /// The body.
    pub(super) body: Vec<u8>,
    /// After how long to try again, if it says so.
    pause: Option<Duration>,
}

/// The line of one call.
pub(super) struct Line {
    wire: Arc<Wire>,
    budget: Budget,
    left: Mutex<Duration>,
    /// Who is told of each try.
    pub(super) teller: Option<Teller>,
}

/// The HTTP client: connections to one API server, and how to log in there. Calls of one process may share it.
pub(super) struct Wire {
    reactor: Reactor,
    client: Client,
    login: Login,
    server: String,
    refusals: Option<Arc<Refusals>>,
}

impl Ask {
    pub(super) fn get(act: String, path: String) -> Self {
        Self { act, method: Method::GET, path, accept: "application/json", content: None }
    }

    pub(super) fn post(act: String, path: String, body: &Value) -> Self {
        let content = Some(("application/json", body.to_string().into_bytes()));
        Self { method: Method::POST, content, ..Self::get(act, path) }
    }

    pub(super) fn put(act: String, path: String, body: &Value) -> Self {
        Self { method: Method::PUT, ..Self::post(act, path, body) }
    }

    /// A merge patch (RFC 7386).
    pub(super) fn patch(act: String, path: String, body: &Value) -> Self {
        let content = Some(("application/merge-patch+json", body.to_string().into_bytes()));
        Self { method: Method::PATCH, content, ..Self::get(act, path) }
    }

    /// Wants the answer to hold the object's metadata alone (Kubernetes API concepts, "Metadata-only fetches").
    pub(super) fn metadata_only(self) -> Self {
        let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json";
        Self { accept, ..self }
    }
}

impl Wire {
    pub(super) fn open(access: Access, reactor: Reactor, connect: Duration) -> Outcome<Self> {
        // An error only says that one is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reactor.within(|| access.client(connect))??;
        let login = access.login()?;
        let server = access.config.cluster_url.to_string().trim_end_matches('/').to_owned();
        Ok(Self { reactor, client, login, server, refusals: None })
    }

    /// The same; it is told when the server refuses who asks.
    pub(super) fn telling(self, refusals: Arc<Refusals>) -> Self {
        Self { refusals: Some(refusals), ..self }
    }

    /// Lets some time pass.
    pub(super) fn rest(&self, time: Duration) -> Outcome<()> {
        self.reactor.run(async move { tokio::time::sleep(time).await })
    }

    async fn send(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        noted(self.client.send(request).await, self.refusals.as_deref())
    }

    /// A client that logs in by itself, for what asks without a [`Line`].
    pub(super) fn client(&self) -> Client {
        let (client, login, refusals) = (self.client.clone(), self.login.clone(), self.refusals.clone());
        let service = tower::service_fn(move |mut request: Request<Body>| {
            let (client, refusals) = (client.clone(), refusals.clone());
            // Without a login the server refuses, and says so.
            if let Ok(Some(login)) = login.header() {
                request.headers_mut().insert(AUTHORIZATION, login);
            }
            request.headers_mut().insert(USER_AGENT, AGENT);
            async move {
                let answer = timeout(HEAD, client.send(request)).await;
                let answer = answer.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())));
                noted(answer, refusals.as_deref())
            }
        });
        Client::new(service, "default")
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }
}

/// What came, after a refusal in it was told.
fn noted(came: kube::Result<Response<Body>>, refusals: Option<&Refusals>) -> kube::Result<Response<Body>> {
    let refused = match &came {
        Ok(response) => response.status() == StatusCode::UNAUTHORIZED,
        Err(cause) => is_distrust(cause),
    };
    if let Some(refusals) = refusals.filter(|_| refused) {
        refusals.tell();
    }
    came
}

impl Line {
    pub(super) fn over(wire: Arc<Wire>, budget: Budget) -> Self {
        Self { wire, budget, left: Mutex::new(budget.whole), teller: None }
    }

    /// Asks until there is an answer that asking again would not change.
    ///
    /// # Errors
    /// There was none in time, or there will be none. A code that stands for a refusal is an answer.
    pub(super) fn ask(&self, ask: &Ask) -> Outcome<Answer> {
        let allowance = self.left().max(self.budget.one_try);
        let (answer, taken) = self.wire.reactor.run(async {
            let start = Instant::now();
            (self.insist(ask, start + allowance).await, start.elapsed())
        })?;
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(taken);
        drop(left);
        answer
    }

    /// The answer to a GET; `None` if there is no such object.
    pub(super) fn found(&self, ask: &Ask) -> Outcome<Option<Answer>> {
        let answer = self.ask(ask)?;
        match answer.code {
            200..=299 => Ok(Some(answer)),
            404 => Ok(None),
            _ => Err(self.refusal(ask, &answer)),
        }
    }

    /// What an answer holds.
    pub(super) fn decode<T: DeserializeOwned>(&self, ask: &Ask, answer: &Answer) -> Outcome<T> {
        serde_json::from_slice(&answer.body).map_err(|cause| self.act(ask).undecodable(&cause))
    }

    /// The address of the API server.
    pub(super) fn server(&self) -> &str {
        self.wire.server()
    }

    /// The fault that an answer stands for.
    pub(super) fn refusal(&self, ask: &Ask, answer: &Answer) -> Fault {
        self.act(ask).refusal(answer)
    }

    fn left(&self) -> Duration {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act<'a>(&'a self, ask: &'a Ask) -> Act<'a> {
        Act { what: &ask.act, server: &self.wire.server }
    }

    async fn insist(&self, ask: &Ask, deadline: Instant) -> Outcome<Answer> {
        let start = Instant::now();
        let mut pauses = pauses()?;
        loop {
            let limit = self.budget.one_try.min(deadline.saturating_duration_since(Instant::now()));
            let began = Instant::now();
            let tried = timeout(limit, self.once(ask)).await;
            if let Some(tell) = &self.teller {
                tell(Tried::of(ask, &tried, began.elapsed()));
            }
            let (cause, asked_for) = match tried {
                Ok(Ok(answer)) if !answer.is_busy() => return Ok(answer),
                Ok(Ok(answer)) => (answer.words().into(), answer.pause),
                Ok(Err(Failure::Passing(cause))) => (cause, None),
                Ok(Err(Failure::Lasting(fault))) => return Err(fault),
                Err(_) => (format!("no answer within {:.1} s", limit.as_secs_f64()).into(), None),
            };
            let pause = pauses.next_backoff().deadline();
            // A server may ask for more time than there is.
            let asked_for =
                asked_for.map(|asked_for| Instant::now().checked_add(asked_for).unwrap_or(deadline));
            let next = asked_for.map_or(pause, |asked_for| pause.max(asked_for));
            if next >= deadline {
                return Err(self.act(ask).too_late(start.elapsed()).because(cause));
            }
            sleep_until(next).await;
        }
    }

    async fn once(&self, ask: &Ask) -> Result<Answer, Failure> {
        let response =
            self.wire.send(self.request(ask)?).await.map_err(|cause| self.act(ask).broken(cause))?;
        let code = response.status().as_u16();
        let pause = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|cause| self.act(ask).cut_off(cause))?.to_bytes().to_vec();
        Ok(Answer { code, body, pause: pause.map(Duration::from_secs) })
    }

    fn request(&self, ask: &Ask) -> Result<Request<Body>, Failure> {
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(&ask.path)
            .header(ACCEPT, ask.accept)
            .header(USER_AGENT, AGENT);
        if let Some(login) = self.wire.login.header().map_err(Failure::Lasting)? {
            request = request.header(AUTHORIZATION, login);
        }
        let body = match &ask.content {
            None => Body::empty(),
            Some((kind, body)) => {
                request = request.header(CONTENT_TYPE, *kind);
                Body::from(body.clone())
            }
        };
        request.body(body).map_err(|cause| Failure::Lasting(self.act(ask).unsendable(cause)))
    }
}

impl Answer {
    /// Whether the API server, or what stands before it, says that it is not able to answer now.
    fn is_busy(&self) -> bool {
        matches!(self.code, 429 | 500 | 502 | 503 | 504)
    }
}

impl std::fmt::Debug for Line {
    /// The client is left out: it holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("server", &self.wire.server)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

fn pauses() -> Outcome<ExponentialBackoff> {
    let maker = ExponentialBackoffMaker::new(PAUSES.0, PAUSES.1, 1.0, HasherRng::new());
    maker.map(|mut maker| maker.make_backoff()).map_err(|cause| {
        Fault::new(FaultKind::Config, "the pauses between two tries are wrong").because(cause)
    })
}
