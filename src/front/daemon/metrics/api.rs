//! Requests to the API server, counted by what was asked and how it ended.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::host::kube::{Ended, Tried};

/// What was asked. There are few of these: verbs of Kubernetes, and kinds of objects without their names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    verb: &'static str,
    resource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    verb: &'static str,
    resource: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unanswered {
    verb: &'static str,
    resource: String,
    reason: &'static str,
}

/// The counters of requests to the API server.
pub(in crate::front::daemon) struct ApiMetrics {
    answered: Family<Answered, Counter>,
    unanswered: Family<Unanswered, Counter>,
    took: Family<Asked, Histogram>,
}

impl Default for ApiMetrics {
    fn default() -> Self {
        // From a millisecond to some sixteen seconds: a try ends after ten.
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        Self {
            answered: Family::default(),
            unanswered: Family::default(),
            took: Family::new_with_constructor(histogram),
        }
    }
}

impl ApiMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { answered, unanswered, took } = self;
        registry.register(
            "manifold_api_requests",
            "Tries of requests that the API server answered, by HTTP code",
            answered.clone(),
        );
        registry.register(
            "manifold_api_errors",
            "Tries of requests that the API server did not answer",
            unanswered.clone(),
        );
        registry.register(
            "manifold_api_request_duration_seconds",
            "How long tries of requests to the API server took",
            took.clone(),
        );
    }

    /// Counts the tries of a call.
    pub(in crate::front::daemon) fn count(&self, tries: &[Tried]) {
        for Tried { verb, resource, ended, took } in tries {
            let (verb, resource) = (*verb, resource.clone());
            let asked = Asked { verb, resource: resource.clone() };
            self.took.get_or_create(&asked).observe(took.as_secs_f64());
            let reason = match ended {
                Ended::Answered(code) => {
                    self.answered.get_or_create(&Answered { verb, resource, code: *code }).inc();
                    continue;
                }
                Ended::Late => "timeout",
                Ended::Broken => "connection",
                Ended::Impossible => "refused",
            };
            self.unanswered.get_or_create(&Unanswered { verb, resource, reason }).inc();
        }
    }
}
