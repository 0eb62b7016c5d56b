//! What the stand-in holds, and how it answers: as the API server does, for what Manifold asks of it.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Response};
use hyper::body::{Body, Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::rights::forbidden;
use super::signing::{Approval, Signing};
use super::{Asked, Mishap};

/// How the collection of requests for certificates ends.
const REQUESTS: &str = "/certificatesigningrequests";

#[derive(Default)]
pub(super) struct State {
    pub(super) objects: BTreeMap<Key, Value>,
    version: u64,
    pub(super) tokens: Vec<String>,
    pub(super) log: Vec<Asked>,
    pub(super) mishaps: VecDeque<(Method, String, Mishap)>,
    /// What accounts may not do, as "verb resource/subresource".
    pub(super) denied: Vec<String>,
    history: Vec<Change>,
    /// Changes up to this version are forgotten.
    forgotten: u64,
    watchers: Vec<Watcher>,
    signing: Option<Signing>,
}

/// What happened to an object.
struct Change {
    version: u64,
    place: String,
    kind: &'static str,
    object: Value,
}

/// Who is told of changes.
struct Watcher {
    asked: Asked,
    to: mpsc::UnboundedSender<Bytes>,
}

/// The body of an answer: at once, or line by line.
pub(super) enum Reply {
    Whole(Option<Bytes>),
    Watch(mpsc::UnboundedReceiver<Bytes>),
}

pub(super) type Answer = Response<Reply>;

/// The path of a collection, and a name in it.
pub(super) type Key = (String, String);

impl State {
    /// Holds nothing, and lets in who has this token.
    pub(super) fn of(token: &str, signing: Signing) -> Self {
        Self { tokens: vec![token.into()], signing: Some(signing), ..Self::default() }
    }

    pub(super) fn signing(&mut self) -> &mut Signing {
        self.signing.as_mut().expect("what signs")
    }

    /// Has requests for certificates looked at like this, also those that wait.
    pub(super) fn approve(&mut self, approval: Approval) {
        self.signing().approval = approval;
        let waiting =
            |((place, _), object): &(&Key, &Value)| place.ends_with(REQUESTS) && object["status"].is_null();
        let waiting = self.objects.iter().filter(waiting);
        let waiting: Vec<(Key, Value)> = waiting.map(|(key, object)| (key.clone(), object.clone())).collect();
        for (key, request) in waiting {
            let answered = self.signing().answer(request);
            self.put(key, answered);
        }
    }

    pub(super) fn mishap(&mut self, asked: &Asked) -> Option<Mishap> {
        let meant = |(method, path, _): &(Method, String, Mishap)| {
            *method == asked.method && asked.path.contains(path)
        };
        let at = self.mishaps.iter().position(meant)?;
        self.mishaps.remove(at).map(|(_, _, mishap)| mishap)
    }

    pub(super) fn put(&mut self, key: Key, mut object: Value) {
        let kind = if self.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.changed(&key.0, kind, object.clone());
        self.objects.insert(key, object);
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(mut object) = self.objects.remove(key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.changed(&key.0, "DELETED", object);
        }
    }

    fn changed(&mut self, place: &str, kind: &'static str, object: Value) {
        let change = Change { version: self.version, place: place.to_owned(), kind, object };
        self.watchers.retain(|watcher| watcher.told(&change));
        self.history.push(change);
    }

    /// Ends all watches, as the API server does after a while.
    pub(super) fn end_watches(&mut self) {
        self.watchers.clear();
    }

    /// How many watch.
    pub(super) fn watches(&mut self) -> usize {
        self.watchers.retain(|watcher| !watcher.to.is_closed());
        self.watchers.len()
    }

    /// Forgets all changes so far: who would go on from one of them has to list anew.
    pub(super) fn forget(&mut self) {
        self.version += 1;
        self.forgotten = self.version;
        self.history.clear();
    }

    pub(super) fn answer(&mut self, asked: &Asked) -> Answer {
        if let Some(why) = forbidden(asked) {
            return refuse(403, "Forbidden", &why);
        }
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let path = path.strip_suffix("/status").unwrap_or(path);
        let (place, name) = path.rsplit_once('/').unwrap_or((path, ""));
        let key = (place.to_owned(), name.to_owned());
        let collection =
            ["pods", "events", "network-attachment-definitions", "resourceslices"].contains(&name);
        match asked.method {
            Method::GET if collection && query.contains("watch=") => self.watch(asked, query),
            Method::GET if collection => self.list(asked),
            Method::GET if path == "/version" => {
                whole(200, json!({"major": "1", "gitVersion": "v1.34.1"}).to_string())
            }
            Method::GET if path == "/apis/k8s.cni.cncf.io/v1" => whole(
                200,
                json!({"kind": "APIResourceList", "groupVersion": "k8s.cni.cncf.io/v1"}).to_string(),
            ),
            Method::POST if path.ends_with("/selfsubjectaccessreviews") => self.review(&asked.body),
            Method::GET => self.get(&key, asked),
            Method::POST if path.ends_with(REQUESTS) => self.ask_to_sign(path, asked),
            Method::POST => self.post(path, &asked.body),
            Method::PATCH => self.patch(key, asked),
            Method::PUT => self.write(key, &asked.body, asked),
            _ => refuse(405, "MethodNotAllowed", "not allowed"),
        }
    }

    fn get(&self, key: &Key, asked: &Asked) -> Answer {
        match self.objects.get(key) {
            Some(object) => whole(200, shown(object, asked).to_string()),
            None => refuse(404, "NotFound", &format!("{:?} not found", key.1)),
        }
    }

    fn list(&self, asked: &Asked) -> Answer {
        let meant = self.objects.iter().filter(|((place, _), object)| is_meant(asked, place, object));
        let items: Vec<Value> = meant.map(|(_, object)| shown(object, asked)).collect();
        let metadata = json!({"resourceVersion": self.version.to_string()});
        whole(
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}).to_string(),
        )
    }

    /// What changed since the version in the query, and what changes from now on.
    fn watch(&mut self, asked: &Asked, query: &str) -> Answer {
        let since = query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")?.parse().ok());
        let since: u64 = since.unwrap_or(0);
        let (to, lines) = mpsc::unbounded_channel();
        let watcher = Watcher { asked: asked.clone(), to };
        if since < self.forgotten {
            let status = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old", "status": "Failure"});
            let line = format!("{}\n", json!({"type": "ERROR", "object": status}));
            watcher.to.send(line.into()).expect("a watcher");
            return Response::new(Reply::Watch(lines));
        }
        let news = self.history.iter().filter(|change| change.version > since);
        news.for_each(|change| assert!(watcher.told(change), "a watcher"));
        self.watchers.push(watcher);
        Response::new(Reply::Watch(lines))
    }

    fn post(&mut self, place: &str, body: &Value) -> Answer {
        let key = (place.to_owned(), body["metadata"]["name"].as_str().unwrap_or_default().to_owned());
        if self.objects.contains_key(&key) {
            return refuse(409, "AlreadyExists", "it already exists");
        }
        self.put(key, body.clone());
        whole(201, body.to_string())
    }

    /// Whether an account may do something; nothing is kept of the question.
    fn review(&self, body: &Value) -> Answer {
        let attribute = |key: &str| body["spec"]["resourceAttributes"][key].as_str().unwrap_or_default();
        let [verb, resource, part] = ["verb", "resource", "subresource"].map(attribute);
        let asked = format!("{verb} {resource}/{part}");
        let allowed = !self.denied.iter().any(|denied| *denied == asked.trim_end_matches('/'));
        let mut answer = body.clone();
        answer["status"] = json!({"allowed": allowed});
        whole(201, answer.to_string())
    }

    /// A request for a certificate: the API server writes down who asks.
    fn ask_to_sign(&mut self, place: &str, asked: &Asked) -> Answer {
        let mut request = asked.body.clone();
        request["spec"]["username"] = json!(asked.who.user);
        request["spec"]["groups"] = json!(asked.who.groups);
        let answered = self.signing().answer(request);
        self.post(place, &answered)
    }

    /// A merge patch; metadata that may not change must fit.
    fn patch(&mut self, key: Key, asked: &Asked) -> Answer {
        if asked.content != "application/merge-patch+json" {
            return refuse(415, "UnsupportedMediaType", "only merge patches");
        }
        let mut patched = self.objects.get(&key).cloned().unwrap_or(Value::Null);
        merge(&mut patched, &asked.body);
        self.write(key, &patched, asked)
    }

    /// Writes what the status subresource lets through: status and annotations.
    fn write(&mut self, key: Key, new: &Value, asked: &Asked) -> Answer {
        let Some(mut object) = self.objects.get(&key).cloned() else { return self.get(&key, asked) };
        if let Some(misfit) = misfit(&object, new) {
            return misfit;
        }
        object["status"] = new["status"].clone();
        object["metadata"]["annotations"] = new["metadata"]["annotations"].clone();
        self.put(key.clone(), object);
        self.get(&key, asked)
    }
}

impl Watcher {
    /// Tells of a change, if it is one that is watched; `false` if nobody hears any more.
    fn told(&self, change: &Change) -> bool {
        if !is_meant(&self.asked, &change.place, &change.object) {
            return !self.to.is_closed();
        }
        let line = json!({"type": change.kind, "object": shown(&change.object, &self.asked)});
        self.to.send(format!("{line}\n").into()).is_ok()
    }
}

/// Whether a request for a collection, of one namespace or of all, means this object.
fn is_meant(asked: &Asked, place: &str, object: &Value) -> bool {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let (api, name) = path.rsplit_once('/').unwrap_or(("", path));
    let all = place.strip_prefix(api).is_some_and(|rest| {
        rest.strip_prefix("/namespaces/").is_some_and(|rest| rest.split('/').skip(1).eq([name]))
    });
    let selector = query.split('&').find_map(|part| part.strip_prefix("fieldSelector="));
    let selector = selector.unwrap_or_default().replace("%3D", "=").replace("%2C", ",");
    let fits = selector.split(',').filter_map(|field| field.split_once('=')).all(|(field, value)| {
        object.pointer(&format!("/{}", field.replace('.', "/"))) == Some(&json!(value))
    });
    (path == place || all) && fits
}

/// Why a write does not fit the object there is.
fn misfit(object: &Value, new: &Value) -> Option<Answer> {
    let same = |key: &str| object["metadata"][key] == new["metadata"][key];
    if same("uid") && same("resourceVersion") {
        return None;
    }
    Some(refuse(409, "Conflict", "the object has been modified or replaced"))
}

/// A merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// An object as it was asked for.
fn shown(object: &Value, asked: &Asked) -> Value {
    if !asked.accept.contains("as=PartialObjectMetadata") {
        return object.clone();
    }
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}

pub(super) fn refuse(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    whole(code, status.to_string())
}

pub(super) fn whole(code: u16, text: String) -> Answer {
    let answer = Response::builder().status(code).header("content-type", "application/json");
    answer.body(Reply::Whole(Some(text.into()))).expect("an answer")
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Watch(lines) => lines.poll_recv(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
