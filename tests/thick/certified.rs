//! A daemon that has a certificate of its node signed, and asks the cluster with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::api_server::{Approval, Asked, Mishap};
use crate::live::Cluster;
use crate::seen::metrics;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// As whom the node asks, and as whom its daemon does.
const NODE: &str = "system:node:node";
const DAEMON: &str = "system:multus:node";

impl Cluster {
    /// A cluster whose daemon is to have a certificate.
    fn certifying() -> Self {
        let mut cluster = Self::selecting("red");
        let conf = &mut cluster.stage.daemon_conf;
        conf["perNodeCertificate"] = json!({
            "enabled": true, "bootstrapKubeconfig": conf["kubeconfig"], "certDir": cluster.stage.scene.path("certs"),
            "certDuration": "24h",
        });
        conf.as_object_mut().unwrap().remove("kubeconfig");
        cluster
    }

    fn file(&self) -> PathBuf {
        self.stage.scene.path("certs/multus-client-current.pem")
    }

    /// The requests for certificates that were handed in, and by whom.
    fn requests(&self) -> Vec<(String, Value)> {
        let handed_in = |asked: &Asked| asked.method == Method::POST && asked.path == REQUESTS;
        let requests = self.server.log().into_iter().filter(handed_in);
        requests.map(|asked| (asked.who.user, asked.body)).collect()
    }

    fn requesters(&self) -> Vec<String> {
        self.requests().into_iter().map(|(user, _)| user).collect()
    }

    fn attach_and_detach(&self) {
        self.call("ADD").result();
        self.call("DEL").result();
    }
}

#[test]
fn the_node_has_a_certificate_signed_and_asks_with_nothing_else() {
    let mut cluster = Cluster::certifying();
    cluster.stage.daemon_conf["metricsPort"] = json!(9091);
    let daemon = cluster.stage.daemon();
    cluster.await_watches();

    cluster.attach_and_detach();

    // The stand-in signs by the rules of the peer's approver.
    let [(user, request)] = cluster.requests().try_into().unwrap();
    assert_eq!((user.as_str(), &request["spec"]["expirationSeconds"]), (NODE, &json!(86_400)));
    for asked in cluster.server.log() {
        let bootstraps = asked.path.starts_with(REQUESTS);
        assert_eq!(asked.who.user, if bootstraps { NODE } else { DAEMON }, "{asked:?}");
    }
    assert_eq!(fs::metadata(cluster.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!daemon.log().contains("PRIVATE"), "{}", daemon.log());
    let (code, text) = cluster.stage.http("GET", "/readyz", "");
    assert_eq!(code, 200, "{text}");
    let file = fs::read(cluster.file()).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&file).unwrap();
    let end = pem.parse_x509().unwrap().validity().not_after.timestamp();
    let text = metrics();
    assert!(text.contains(&format!("\nmanifold_certificate_expiry_timestamp_seconds {end}\n")), "{text}");
}

#[test]
fn the_next_daemon_goes_on_with_it() {
    let cluster = Cluster::certifying();
    let daemon = cluster.stage.daemon();
    cluster.await_watches();
    drop(daemon);
    cluster.stage.await_that("that the first is gone", || cluster.server.watches() == 0);

    let _daemon = cluster.stage.daemon();
    cluster.await_watches();

    cluster.attach_and_detach();
    assert_eq!(cluster.requesters(), [NODE]);
}

#[test]
fn it_is_renewed_with_itself_before_it_expires() {
    let cluster = Cluster::certifying();
    cluster.server.sign_for(Duration::from_secs(15));
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    let first = fs::read(cluster.file()).unwrap();

    // By the third the first one is not valid any more.
    cluster.stage.await_that("that it is renewed", || cluster.requesters().len() >= 3);

    assert_ne!(fs::read(cluster.file()).unwrap(), first);
    assert_eq!(cluster.requesters()[..3], [NODE, DAEMON, DAEMON]);
    cluster.attach_and_detach();
}

#[test]
fn a_daemon_that_may_not_renew_asks_as_the_node_again() {
    let cluster = Cluster::certifying();
    cluster.server.sign_for(Duration::from_secs(15));
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();

    cluster.server.let_go_wrong(Method::POST, REQUESTS, Mishap::Code(403));

    cluster.stage.await_that("that it asks again", || cluster.requesters().len() >= 3);
    assert_eq!(cluster.requesters()[..3], [NODE, DAEMON, NODE]);
    cluster.attach_and_detach();
}

#[test]
fn a_certificate_of_an_authority_that_nobody_knows_any_more_is_replaced() {
    let cluster = Cluster::certifying();
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();

    cluster.server.replace_authority();
    cluster.server.end_watches();

    cluster.await_watches();
    cluster.attach_and_detach();
    assert_eq!(cluster.requesters(), [NODE, NODE]);
}

#[test]
fn a_certificate_that_was_refused_meanwhile_is_replaced_at_the_start() {
    let cluster = Cluster::certifying();
    let daemon = cluster.stage.daemon();
    cluster.await_watches();
    drop(daemon);
    cluster.stage.await_that("that the first is gone", || cluster.server.watches() == 0);
    cluster.server.replace_authority();

    let _daemon = cluster.stage.daemon();

    cluster.await_watches();
    cluster.attach_and_detach();
    assert_eq!(cluster.requesters(), [NODE, NODE]);
}

#[test]
fn until_it_is_signed_the_daemon_says_what_is_missing_and_asks_once() {
    let cluster = Cluster::certifying();
    cluster.server.approve(Approval::Nobody);
    let _daemon = cluster.stage.daemon();
    cluster.stage.await_that("that it is asked for", || !cluster.requests().is_empty());

    let (code, text) = cluster.stage.http("GET", "/readyz", "");
    assert!(code == 503 && text.contains("certificate of this node"), "{code} {text}");
    let (code, message, _) = cluster.call("ADD").error();
    assert!(code == 11 && message.contains("no certificate"), "{code} {message}");
    cluster.call("DEL").result();
    cluster.server.approve(Approval::Approver);

    cluster.await_watches();
    cluster.attach_and_detach();
    assert_eq!(cluster.requesters(), [NODE]);
}

#[test]
fn a_request_that_was_denied_is_told_of_and_another_is_made() {
    let cluster = Cluster::certifying();
    cluster.server.approve(Approval::Denied);
    let daemon = cluster.stage.daemon();
    cluster.stage.await_that("that it is told of", || {
        daemon.log().contains("CSRDenied") && cluster.stage.http("GET", "/readyz", "").1.contains("CSRDenied")
    });

    cluster.server.approve(Approval::Approver);

    cluster.await_watches();
    cluster.attach_and_detach();
}

#[test]
fn a_request_whose_answer_was_lost_is_still_one() {
    let cluster = Cluster::certifying();
    cluster.server.let_go_wrong(Method::POST, REQUESTS, Mishap::Lost);
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();

    let names = cluster.requests().into_iter().map(|(_, request)| request["metadata"]["name"].clone());
    let [one, again] = names.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(one, again);
}

#[test]
fn a_file_that_holds_none_is_replaced() {
    for garbage in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let cluster = Cluster::certifying();
        fs::create_dir(cluster.stage.scene.path("certs")).unwrap();
        fs::write(cluster.file(), garbage).unwrap();

        let _daemon = cluster.stage.daemon();

        cluster.await_watches();
        cluster.attach_and_detach();
    }
}

#[test]
fn a_node_without_a_name_has_none_signed() {
    let mut cluster = Cluster::certifying();
    cluster.stage.daemon_conf.as_object_mut().unwrap().remove("nodeName");

    let daemon = cluster.stage.start();
    let log = cluster.stage.scene.path("daemon.log");

    assert!(!daemon.ended());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("MULTUS_NODE_NAME"), "{log}");
}
