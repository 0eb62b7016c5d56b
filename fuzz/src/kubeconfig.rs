//! A kubeconfig, and behind a zero byte the file that it may name `pem`: its text, or else which bytes of a certificate that
//! stands in it with its key are others.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use manifold::host::kube::{Budget, Certificate, KubeCluster, certified_kubeconfig};
use manifold::model::fault::Outcome;

use rcgen::{CertificateParams, DnType, KeyPair};

use crate::{peer, stand};

static ISSUED: LazyLock<(Vec<u8>, String)> = LazyLock::new(|| {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, "system:node:n1");
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().der().to_vec(), key.serialize_pem())
});

pub(crate) fn run(data: &[u8]) {
    let (config, beside) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    let folder = peer::folder();
    let [like, pem, own, again] = ["config", "pem", "own", "again"].map(|name| folder.path().join(name));
    fs::write(&like, config).unwrap();
    fs::write(&pem, certificate(beside.get(1..).unwrap_or_default())).unwrap();
    told(cluster(&like));
    // What is written for the node's own certificate can be read, and comes to the same once more.
    if told(certified_kubeconfig(&like, &pem, &own)).is_some() {
        told(cluster(&own));
        certified_kubeconfig(&own, &pem, &again).unwrap();
        assert_eq!(fs::read(&again).unwrap(), fs::read(&own).unwrap());
    }
    if let Some(certificate) = told(Certificate::read(&pem)).flatten() {
        certificate.write(&own).unwrap();
        let kept = Certificate::read(&own).unwrap().unwrap();
        assert_eq!(
            (kept.print, &kept.holder, &kept.valid),
            (certificate.print, &certificate.holder, &certificate.valid)
        );
    }
}

/// A text, or pairs of a place in two bytes and the byte that stands there.
fn certificate(told: &[u8]) -> Vec<u8> {
    if told.starts_with(b"-") {
        return told.to_vec();
    }
    let (mut der, key) = ISSUED.clone();
    for other in told.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([other[0], other[1]])) % der.len();
        der[place] = other[2];
    }
    let text = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n{key}").into_bytes()
}

/// Nothing is sent.
fn cluster(file: &Path) -> Outcome<KubeCluster> {
    let second = Duration::from_secs(1);
    KubeCluster::from_kubeconfig(file, Budget { whole: second, one_try: second })
}

fn told<T>(outcome: Outcome<T>) -> Option<T> {
    outcome.inspect_err(stand::told).ok()
}
