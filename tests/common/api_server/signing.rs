//! How the stand-in signs what it is asked to: approved by the rules of the peer's approver, signed by an authority that
//! may be replaced by another.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, date_time_ymd,
};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
    /// Who signed the certificate that says so.
    pub(super) issuer: String,
}

/// What becomes of requests for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approval {
    /// An approver like the peer's approves what it lets through, and denies all else.
    Approver,
    /// Nobody looks at them.
    Nobody,
    /// All are denied.
    Denied,
}

/// What signs.
pub(super) struct Signing {
    authorities: Vec<(String, Issuer<'static, KeyPair>)>,
    /// The authorities before this one are not known any more.
    now: usize,
    pub(super) approval: Approval,
    /// How long certificates are valid, where that is less than what is asked for.
    pub(super) lifetime: Option<Duration>,
}

impl Who {
    /// The holder of a token.
    pub(super) fn node() -> Self {
        let groups = ["system:nodes", "system:authenticated"].map(str::to_owned).to_vec();
        Self { user: "system:node:node".into(), groups, issuer: String::new() }
    }

    /// The holder of a certificate.
    pub(super) fn certified(certificate: &[u8]) -> Self {
        let (_, certificate) = X509Certificate::from_der(certificate).expect("a certificate");
        let (user, mut groups) = names(certificate.subject());
        groups.push("system:authenticated".to_owned());
        let (issuer, _) = names(certificate.issuer());
        Self { user, groups, issuer }
    }
}

/// The common name, and the organizations.
fn names(name: &X509Name<'_>) -> (String, Vec<String>) {
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        attribute.as_str().expect("a text").to_owned()
    };
    let common = name.iter_common_name().map(text).collect::<Vec<_>>().join(",");
    (common, name.iter_organization().map(text).collect())
}

impl Signing {
    /// Two authorities; their certificates go to whom they are to be trusted by.
    pub(super) fn new(mut trust: impl FnMut(&rcgen::Certificate)) -> Self {
        let authorities = ["signer-1", "signer-2"].map(|name| {
            let mut params = CertificateParams::new([]).expect("parameters");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().expect("a key");
            trust(&params.self_signed(&key).expect("an authority"));
            (name.to_owned(), Issuer::new(params, key))
        });
        Self { authorities: authorities.into(), now: 0, approval: Approval::Approver, lifetime: None }
    }

    /// Goes over to the next authority.
    pub(super) fn turn(&mut self) {
        self.now += 1;
    }

    pub(super) fn knows(&self, who: &Who) -> bool {
        !self.authorities.iter().take(self.now).any(|(name, _)| *name == who.issuer)
    }

    /// A request for a certificate, after whoever looks at it has looked.
    pub(super) fn answer(&self, mut request: Value) -> Value {
        let who: Vec<String> = serde_json::from_value(request["spec"]["groups"].clone()).expect("groups");
        let user = request["spec"]["username"].as_str().expect("a user").to_owned();
        let judged = match self.approval {
            Approval::Nobody => return request,
            Approval::Denied => Err("all are".to_owned()),
            Approval::Approver => judge(&request["spec"], &user, &who),
        };
        request["status"] = match judged {
            Ok(()) => {
                json!({"conditions": [{"type": "Approved", "status": "True"}], "certificate": self.sign(&request["spec"])})
            }
            Err(why) => {
                json!({"conditions": [{"type": "Denied", "status": "True", "reason": "CSRDenied", "message": why}]})
            }
        };
        request
    }

    fn sign(&self, spec: &Value) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(&pem(spec)).expect("a request");
        let asked = Duration::from_secs(spec["expirationSeconds"].as_u64().expect("a number"));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
        request.params.not_before = date_time_ymd(1970, 1, 1) + now;
        request.params.not_after =
            request.params.not_before + self.lifetime.map_or(asked, |most| most.min(asked));
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (_, issuer) = &self.authorities[self.now];
        STANDARD.encode(request.signed_by(issuer).expect("a certificate").pem())
    }
}

fn pem(spec: &Value) -> String {
    let bytes = STANDARD.decode(spec["request"].as_str().expect("a request")).expect("base64");
    String::from_utf8(bytes).expect("PEM")
}

/// The peer's rules: who may ask, and for what.
fn judge(spec: &Value, user: &str, groups: &[String]) -> Result<(), String> {
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}: {spec}")) };
    let prefix = |user: &str| {
        let node = user.strip_prefix("system:node:").or_else(|| user.strip_prefix("system:multus:"))?;
        (!node.is_empty()).then(|| node.to_owned())
    };
    let node = prefix(user).ok_or("the user is no node")?;
    must(spec["signerName"] == "kubernetes.io/kube-apiserver-client", "the signer")?;
    let usages: BTreeSet<&str> =
        spec["usages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    must(usages == BTreeSet::from(["client auth", "digital signature"]), "the usages")?;
    let known = ["system:nodes", "system:multus", "system:authenticated"];
    must(groups.iter().all(|group| known.contains(&group.as_str())), "the groups")?;
    let (_, request) = x509_parser::pem::parse_x509_pem(pem(spec).as_bytes()).map_err(|_| "no PEM")?;
    let request = x509_parser::certification_request::X509CertificationRequest::from_der(&request.contents);
    let (_, request) = request.map_err(|_| "no request")?;
    let (common, organizations) = names(&request.certification_request_info.subject);
    must(common == format!("system:multus:{node}"), "the common name")?;
    must(organizations == ["system:multus"], "the organization")?;
    let seconds = spec["expirationSeconds"].as_u64().ok_or("no lifetime")?;
    must((600..=365 * 24 * 3600).contains(&seconds), "the lifetime")
}
