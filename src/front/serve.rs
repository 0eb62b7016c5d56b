//! One request, served: which part this program plays, and the verb.

use super::context::Context;
use super::{meta, standalone};
use crate::model::call::{Config, Request};
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::Program;
use crate::model::version::version_reply;
use crate::model::{FaultKind, object};
use crate::plan::kinds;

/// What the configuration is: Manifold's own, or that of one native plugin whose part this program plays.
enum Part {
    Meta,
    Plugin,
}

/// Serves one request and gives the reply's bytes.
///
/// # Errors
/// Whatever the verb says.
pub(super) fn serve(request: Request, context: &Context) -> Outcome<Vec<u8>> {
    match request {
        Request::Add(sandbox, config) => match part(&config)? {
            Part::Meta => meta::add(&sandbox, &config, context),
            Part::Plugin => standalone::add(&sandbox, &config, context),
        },
        // A configuration that has become wrong since must not keep a pod from being taken down.
        Request::Del(leaving, config) => silent(match part(&config) {
            Ok(Part::Plugin) => standalone::del(&leaving, &config, context),
            Ok(Part::Meta) | Err(_) => meta::del(&leaving, &config, context),
        }),
        Request::Check(sandbox, config) => silent(match part(&config)? {
            Part::Meta => meta::check(&sandbox, &config, context),
            Part::Plugin => standalone::check(&sandbox, &config, context),
        }),
        Request::Gc(config, valid) => silent(match part(&config)? {
            Part::Meta => meta::gc(&config, &valid, context),
            Part::Plugin => standalone::gc(&config, &valid, context),
        }),
        Request::Status(config) => silent(match part(&config)? {
            Part::Meta => meta::status(&config, context),
            Part::Plugin => standalone::status(&config, context),
        }),
        Request::Version => Ok(version_reply().into_bytes()),
    }
}

/// A verb that answers nothing but that it succeeded.
fn silent(done: Outcome<()>) -> Outcome<Vec<u8>> {
    done.map(|()| Vec::new())
}

/// Which part the configuration gives this program.
fn part(config: &Config) -> Outcome<Part> {
    let kind: String =
        config.object.find("type").map_or(Ok(String::new()), |raw| object::decode(raw, "\"type\""))?;
    match kind.as_str() {
        kind if Program::named(kind).is_some() => Ok(Part::Meta),
        other if kinds::is_native_type(other) => Ok(Part::Plugin),
        other => Err(Fault::new(FaultKind::Config, format!("\"type\" is {other:?}")).remedy(
            "use \"manifold\" or \"multus\", or the type of a plugin that Manifold makes in process",
        )),
    }
}
