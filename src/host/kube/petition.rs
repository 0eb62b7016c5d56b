//! Asking the cluster for a certificate of this node (`certificates.k8s.io/v1`, CertificateSigningRequest).
//!
//! What is asked for is what approvers of the peer's requests let through: the common name is that of the node among all
//! daemons, the organization theirs, and the usages are those of a client.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};

use super::certificate::Certificate;
use super::line::{Ask, Budget, Line, Wire};
use super::reactor::Reactor;
use super::segment;
use super::trunk::Source;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// To whom all daemons belong, and what their names begin with.
const ORGANIZATION: &str = "system:multus";
/// Where requests are.
const PLACE: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// The pause between two looks at a request: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A request for a certificate, with the key it is for.
pub struct Petition {
    source: Source,
    name: String,
    node: String,
    key: String,
    body: Value,
    handed_in: bool,
}

/// What is read of a request.
#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    certificate: String,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// Whom the certificate of a node stands for.
fn holder(node: &str) -> String {
    format!("{ORGANIZATION}:{node}")
}

impl Certificate {
    /// Whether it is one of this node's.
    pub fn is_of(&self, node: &str) -> bool {
        self.holder.as_deref() == Some(&holder(node))
    }
}

impl Petition {
    /// Makes a key and a request for it, which goes to the cluster of `source`. Nothing is sent yet.
    ///
    /// # Errors
    /// The node's name is none; no key can be made.
    pub fn new(source: Source, node: &str, lifetime: Duration) -> Outcome<Self> {
        segment("node", node)?;
        let failed = |cause: rcgen::Error| {
            Fault::new(FaultKind::Io, format!("cannot make a certificate request for node {node:?}"))
                .because(cause)
        };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, ORGANIZATION);
        params.distinguished_name.push(DnType::CommonName, holder(node));
        let request = params.serialize_request(&key).and_then(|request| request.pem()).map_err(failed)?;
        let mut print = DefaultHasher::new();
        request.hash(&mut print);
        // The name is that of the key: asked for again after a lost answer, it is still one request.
        let name = format!("manifold-{:016x}", print.finish());
        let body = json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
            "spec": {
                "request": STANDARD.encode(request),
                "signerName": "kubernetes.io/kube-apiserver-client",
                "expirationSeconds": lifetime.as_secs(),
                "usages": ["digital signature", "client auth"],
            },
        });
        Ok(Self { source, name, node: node.to_owned(), key: key.serialize_pem(), body, handed_in: false })
    }

    /// The name of the request.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands the request in, if it was not yet, and waits until it is signed. Where it is not in time it may be waited
    /// for again.
    ///
    /// # Errors
    /// It is not signed in time ([`FaultKind::TimedOut`]); it was denied or the account may not ask
    /// ([`FaultKind::Cluster`]); what came is no certificate for it ([`FaultKind::Decode`]).
    pub fn plead(&mut self, budget: Budget, limit: Duration) -> Outcome<Certificate> {
        let (wire, line) = line(&self.source, budget)?;
        if !self.handed_in {
            self.hand_in(&line)?;
            self.handed_in = true;
        }
        let (end, mut pause) = (Instant::now() + limit, PAUSES.0);
        loop {
            if let Some(signed) = self.look(&line)? {
                return self.fitting(Certificate::parse(format!("{}\n{}", signed.trim_end(), self.key))?);
            }
            if Instant::now() + pause >= end {
                return Err(self.unanswered(limit));
            }
            wire.rest(pause)?;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn hand_in(&self, line: &Line) -> Outcome<()> {
        let ask = Ask::post(
            format!("ask for a certificate by request {:?}", self.name),
            PLACE.to_owned(),
            &self.body,
        );
        let answer = line.ask(&ask)?;
        match answer.code {
            // 409: an earlier try arrived, and only its answer was lost.
            200..=299 | 409 => Ok(()),
            _ => Err(line.refusal(&ask, &answer)),
        }
    }

    /// The certificate, once it is signed.
    fn look(&self, line: &Line) -> Outcome<Option<String>> {
        let ask = Ask::get(
            format!("look at certificate request {:?}", self.name),
            format!("{PLACE}/{}", self.name),
        );
        let Some(answer) = line.found(&ask)? else { return Err(self.lost("it was removed")) };
        let status = line.decode::<Request>(&ask, &answer)?.status;
        let ended = |condition: &&Condition| condition.r#type == "Denied" || condition.r#type == "Failed";
        if let Some(Condition { r#type, reason, message }) = status.conditions.iter().find(ended) {
            return Err(self.lost(&format!("{type}: {reason}: {message:?}")));
        }
        if status.certificate.is_empty() {
            return Ok(None);
        }
        let text = STANDARD.decode(status.certificate).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        text.map(Some).ok_or_else(|| {
            Fault::new(
                FaultKind::Decode,
                format!("certificate request {:?} is answered with no text", self.name),
            )
        })
    }

    fn fitting(&self, certificate: Certificate) -> Outcome<Certificate> {
        if certificate.is_of(&self.node) {
            return Ok(certificate);
        }
        let what = format!("the certificate of request {:?} is not that of node {:?}", self.name, self.node);
        Err(Fault::new(FaultKind::Decode, what)
            .because(format!("it is that of {:?}", certificate.holder.unwrap_or_default()))
            .remedy("look at what signs requests of this cluster"))
    }

    fn lost(&self, why: &str) -> Fault {
        Fault::new(FaultKind::Cluster, format!("certificate request {:?} is not signed", self.name))
            .because(why.to_owned())
            .remedy("look at what approves requests of this node (kubectl get csr)")
    }

    fn unanswered(&self, limit: Duration) -> Fault {
        let what = format!("certificate request {:?} is not signed after {} s", self.name, limit.as_secs());
        Fault::new(FaultKind::TimedOut, what)
            .remedy(format!("let an approver run, or approve it: kubectl certificate approve {}", self.name))
    }
}

impl std::fmt::Debug for Petition {
    /// The key is left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Petition").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether the cluster does not know who asks, or cannot be trusted, with what is in a source.
///
/// # Errors
/// Neither can be said: it does not answer.
pub fn is_refused(source: &Source, budget: Budget) -> Outcome<bool> {
    let (_, line) = line(source, budget)?;
    let ask = Ask::get("ask for the version".to_owned(), "/version".to_owned());
    match line.ask(&ask) {
        Ok(answer) => Ok(answer.code == 401),
        Err(fault) if fault.kind() == FaultKind::Cluster => Ok(true),
        Err(fault) => Err(fault),
    }
}

fn line(source: &Source, budget: Budget) -> Outcome<(Arc<Wire>, Line)> {
    let wire = Arc::new(Wire::open(source.access()?, Reactor::own()?, budget.one_try)?);
    Ok((Arc::clone(&wire), Line::over(wire, budget)))
}

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::pem::parse_x509_pem;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    fn petition(node: &str) -> Outcome<Petition> {
        Petition::new(Source::Kubeconfig("/nowhere".into()), node, Duration::from_secs(3600))
    }

    #[test]
    fn what_is_asked_for_is_what_approvers_let_through() {
        let petition = petition("worker-1.example").unwrap();

        let spec = &petition.body["spec"];
        assert_eq!(spec["signerName"], "kubernetes.io/kube-apiserver-client");
        assert_eq!(spec["usages"], json!(["digital signature", "client auth"]));
        assert_eq!(spec["expirationSeconds"], 3600);
        let pem = STANDARD.decode(spec["request"].as_str().unwrap()).unwrap();
        let (_, pem) = parse_x509_pem(&pem).unwrap();
        assert_eq!(pem.label, "CERTIFICATE REQUEST");
        let (rest, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
        assert!(rest.is_empty());
        let subject = &request.certification_request_info.subject;
        let texts = |attributes: Vec<&str>| attributes.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let names = subject.iter_common_name().map(|name| name.as_str().unwrap()).collect();
        let organizations = subject.iter_organization().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(texts(names), ["system:multus:worker-1.example"]);
        assert_eq!(texts(organizations), ["system:multus"]);
        assert_eq!(subject.iter_attributes().count(), 2);
        // No other names, and nothing else that a signer would have to judge.
        assert_eq!(request.requested_extensions().map_or(0, Iterator::count), 0);
    }

    #[test]
    fn each_request_is_for_a_key_of_its_own_which_nobody_sees() {
        let [one, other] = ["node", "node"].map(|node| petition(node).unwrap());

        assert_ne!((&one.key, &one.name), (&other.key, &other.name));
        assert!(!one.body.to_string().contains("PRIVATE") && !format!("{one:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_name_that_no_node_has_is_not_asked_for() {
        for name in ["", "Upper", "a/b", "-a", &"a".repeat(254)] {
            assert_eq!(petition(name).unwrap_err().kind(), FaultKind::Config, "{name}");
        }
    }
}
