//! The cluster: whether the API server answers, what the account may do there, and whether pods can select networks.

use super::conf::Conf;
use super::{Finding, Health, bad, ok, warning};
use crate::front::machine;
use crate::host::kube::{KubeCluster, Right};
use crate::model::fault::Outcome;

const CORE: &str = "";
const CNI: &str = "k8s.cni.cncf.io";
const NETWORKS: &str = "network-attachment-definitions";

/// What an ADD cannot do without, what some pods miss, and what a daemon does without by asking for each call.
const NEEDED: [Right; 2] = [right("get", CORE, "pods", ""), right("patch", CORE, "pods", "status")];
const WANTED: [Right; 2] = [right("get", CNI, NETWORKS, ""), right("create", CORE, "events", "")];
const WATCHED: [Right; 4] = [
    right("list", CORE, "pods", ""),
    right("watch", CORE, "pods", ""),
    right("list", CNI, NETWORKS, ""),
    right("watch", CNI, NETWORKS, ""),
];
/// What does instead of the right to patch a status.
const INSTEAD: Right = right("update", CORE, "pods", "status");

const fn right(
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
) -> Right {
    Right { verb, group, resource, subresource }
}

/// Looks at the cluster of a configuration that is Manifold's own or its shim's.
pub(super) fn look(conf: &Conf) -> Vec<Finding> {
    const WHAT: &str = "API server";
    let Some(ground) = conf.ground() else { return Vec::new() };
    let cluster = match machine::examined(ground.kubeconfig.as_deref()) {
        Ok(Some(cluster)) => cluster,
        Ok(None) if conf.is_shims() => return vec![ok(WHAT, "the daemon's own account is used")],
        Ok(None) => return vec![ok(WHAT, "none: networks are those of the node's files")],
        // Its files are named as the daemon sees them.
        Err(fault) if conf.is_shims() => {
            return vec![warning(WHAT, fault.to_string(), "look from within the daemon's container")];
        }
        Err(fault) => return vec![bad(WHAT, &fault)],
    };
    match cluster.version().and_then(|version| Ok((version, Lacks::of(&cluster, conf.is_shims())?))) {
        Err(fault) => vec![bad(WHAT, &fault)],
        Ok((version, lacks)) => {
            let server = format!("{} answers{}", cluster.server(), told(&version));
            [Some(ok(WHAT, server)), Some(lacks.finding()), definitions(&cluster)]
                .into_iter()
                .flatten()
                .collect()
        }
    }
}

fn told(version: &str) -> String {
    if version.is_empty() { String::new() } else { format!(", version {version}") }
}

/// What the account may not do.
struct Lacks {
    needed: Vec<String>,
    others: Vec<String>,
}

impl Lacks {
    fn of(cluster: &KubeCluster, watches: bool) -> Outcome<Self> {
        let mut needed = Vec::new();
        for right in NEEDED {
            let instead = Some(INSTEAD).filter(|instead| instead.subresource == right.subresource);
            let may = cluster.may(&right)? || instead.map_or(Ok(false), |instead| cluster.may(&instead))?;
            if !may {
                needed.push(right.to_string());
            }
        }
        let mut others = Vec::new();
        let watched = WATCHED.iter().filter(|_| watches);
        for right in WANTED.iter().chain(watched) {
            if !cluster.may(right)? {
                others.push(right.to_string());
            }
        }
        Ok(Self { needed, others })
    }

    fn finding(self) -> Finding {
        let all = [self.needed.as_slice(), &self.others].concat();
        if all.is_empty() {
            return ok("account", "may do all that is needed");
        }
        let remedy = "allow it: docs/configuration.md, \"The cluster\", has the role";
        let found = warning("account", format!("may not {}", all.join(", ")), remedy);
        let health = if self.needed.is_empty() { Health::Warning } else { Health::Bad };
        Finding { health, ..found }
    }
}

/// Whether there can be network definitions at all.
fn definitions(cluster: &KubeCluster) -> Option<Finding> {
    const WHAT: &str = "definitions";
    match cluster.knows_definitions() {
        Ok(true) => Some(ok(WHAT, "the cluster knows network definitions")),
        Ok(false) => Some(warning(
            WHAT,
            "the cluster does not know network definitions, so pods cannot select any",
            "kubectl apply -f deployments/network-attachment-definition.yaml",
        )),
        // An account may be kept from looking; whether it may read them is told elsewhere.
        Err(_) => None,
    }
}
