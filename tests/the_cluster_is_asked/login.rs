//! Where the server is and how to log in: the forms of a kubeconfig, and a service account.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use manifold::engine::ports::Cluster as _;
use manifold::host::kube::{KubeCluster, ServiceAccount};
use manifold::model::FaultKind;
use manifold::model::fault::Fault;
use serde_json::{Value, json};

use crate::api_server::{ApiServer, Certificate, TOKEN};
use crate::{AMPLE, Cluster, anonymous, of, web};

fn encoded(path: &Path) -> String {
    STANDARD.encode(fs::read(path).unwrap())
}

/// What a kubeconfig with this cluster and this user comes to.
fn finds_the_pod(api: &ApiServer, cluster: &Value, user: &Value) -> Result<(), Fault> {
    let found = of(&api.kubeconfig_with(cluster, user), AMPLE)?.pod(&web("uid-1"))?;
    assert!(found.is_some());
    Ok(())
}

#[test]
fn every_form_of_login_is_let_in() {
    let Cluster { api, _node } = &Cluster::new();
    api.file("token", &format!("{TOKEN}\n"));
    let (authority, certificate, key) = (api.path("ca.crt"), api.path("client.crt"), api.path("client.key"));
    let by_file = json!({"server": api.url(), "certificate-authority": authority});
    let inline = json!({"server": api.url(), "certificate-authority-data": encoded(&authority)});
    let beside = json!({"server": api.url(), "certificate-authority": "ca.crt"});
    let unchecked = json!({"server": api.url(), "insecure-skip-tls-verify": true});
    let bracketed =
        json!({"server": format!("https://[127.0.0.1]:{}", api.port()), "certificate-authority": authority});
    let renamed =
        json!({"server": api.url(), "certificate-authority": authority, "tls-server-name": "localhost"});

    for (cluster, user) in [
        (&by_file, json!({"token": TOKEN})),
        (&inline, json!({"tokenFile": api.path("token")})),
        (&beside, json!({"tokenFile": "token"})),
        (&by_file, json!({"tokenFile": "token", "token": "an old one"})),
        (&by_file, json!({"client-certificate": certificate, "client-key": key})),
        (
            &inline,
            json!({"client-certificate-data": encoded(&certificate), "client-key-data": encoded(&key)}),
        ),
        (&unchecked, json!({"token": TOKEN})),
        (&bracketed, json!({"token": TOKEN})),
        (&renamed, json!({"token": TOKEN})),
    ] {
        finds_the_pod(api, cluster, &user).unwrap_or_else(|fault| panic!("{cluster} {user}: {fault}"));
    }
}

#[test]
fn a_service_account_is_let_in() {
    let Cluster { api, _node } = &Cluster::new();
    api.file("token", TOKEN);
    let folder = api.path("ca.crt").parent().unwrap().to_owned();
    let account = ServiceAccount { host: "127.0.0.1".into(), port: api.port(), folder };

    let found = KubeCluster::in_cluster(&account, AMPLE).unwrap().pod(&web("uid-1")).unwrap();

    assert!(found.is_some());
}

#[test]
fn a_service_account_without_its_files_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let account = ServiceAccount { host: "::1".into(), port: 443, folder: folder.path().to_owned() };

    let fault = KubeCluster::in_cluster(&account, AMPLE).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Io);
    assert!(fault.to_string().contains("ca.crt"), "{fault}");
}

#[test]
fn a_token_file_is_read_again() {
    let Cluster { api, _node } = &Cluster::new();
    let file = api.file("token", TOKEN);
    api.put_pod("default/late", "uid-2", &json!({}));
    let cluster = of(&api.kubeconfig_of(&json!({"tokenFile": file})), AMPLE).unwrap();
    assert!(cluster.pod(&web("uid-1")).unwrap().is_some());

    api.accept_only("the next token");
    api.file("token", "the next token\n");

    let late = manifold::model::pod::PodName { name: "late".into(), ..anonymous() };
    assert!(cluster.pod(&late).unwrap().is_some());
}

#[test]
fn a_token_file_that_is_gone_or_empty_is_named() {
    let Cluster { api, _node } = &Cluster::new();
    let kubeconfig = api.kubeconfig_of(&json!({"tokenFile": "token"}));
    for (text, kind) in [(None, FaultKind::Io), (Some(" \n"), FaultKind::Config)] {
        text.map(|text| api.file("token", text));

        let fault = of(&kubeconfig, AMPLE).unwrap().pod(&web("uid-1")).unwrap_err();

        assert_eq!(fault.kind(), kind);
        assert!(fault.to_string().contains(&format!("{:?}", api.path("token"))), "{fault}");
    }
    assert!(api.asked().is_empty());
}

#[test]
fn who_is_not_let_in_is_told_what_to_renew() {
    let Cluster { api, _node } = &Cluster::new();
    let cluster = of(&api.kubeconfig(), AMPLE).unwrap();
    api.accept_only("the next token");

    let fault = cluster.pod(&web("uid-1")).unwrap_err();

    let said = format!(
        "cannot get pod \"default/web\" at API server {:?}: it answers 401: \"Unauthorized\"",
        api.url()
    );
    assert_eq!(fault.kind(), FaultKind::Cluster);
    assert_eq!(fault.to_string(), said);
    assert_eq!(fault.advice(), Some("renew the token or the client certificate"));
    assert_eq!(api.asked().len(), 1);
}

#[test]
fn a_server_that_cannot_be_trusted_is_not_asked() {
    for (certificate, remedy) in [
        (Certificate::Expired, "renew the API server's certificate, or correct this node's clock"),
        (
            Certificate::Elsewhere,
            "use an address that the API server's certificate names, or \"tls-server-name\"",
        ),
    ] {
        std::thread::spawn(move || {
            let Cluster { api, _node } = &Cluster::of(|| ApiServer::start_with(certificate));

            let fault = of(&api.kubeconfig(), AMPLE).unwrap().pod(&web("uid-1")).unwrap_err();

            assert_eq!(fault.kind(), FaultKind::Cluster);
            assert_eq!(fault.advice(), Some(remedy), "{fault}");
            assert!(fault.to_string().contains("certificate"), "{fault}");
            assert!(api.asked().is_empty());
        })
        .join()
        .unwrap();
    }
}

#[test]
fn an_unknown_authority_is_not_trusted() {
    let Cluster { api, _node } = &Cluster::new();
    let other = ApiServer::start();
    let cluster = json!({"server": api.url(), "certificate-authority": other.path("ca.crt")});

    let fault = finds_the_pod(api, &cluster, &json!({"token": TOKEN})).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Cluster);
    assert_eq!(
        fault.advice(),
        Some("name the authority that signed the API server's certificate"),
        "{fault}"
    );
}

#[test]
fn a_client_whose_certificate_is_not_trusted_is_told() {
    let Cluster { api, _node } = &Cluster::new();
    let other = ApiServer::start();
    let user =
        json!({"client-certificate": other.path("client.crt"), "client-key": other.path("client.key")});

    let fault = of(&api.kubeconfig_of(&user), AMPLE).unwrap().pod(&web("uid-1")).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Cluster);
    assert_eq!(
        fault.advice(),
        Some("renew the client certificate, or let the API server trust its authority"),
        "{fault}"
    );
}

#[test]
fn what_is_wrong_with_a_kubeconfig_is_named_and_no_secret_is() {
    let Cluster { api, _node } = &Cluster::new();
    let gone = api.path("gone");
    let cluster = json!({"server": api.url(), "certificate-authority": api.path("ca.crt")});
    let with = |more: Value| {
        let mut cluster = cluster.clone();
        cluster.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        api.kubeconfig_with(&cluster, &json!({"token": TOKEN}))
    };
    let user = |user: Value| api.kubeconfig_with(&cluster, &user);
    let cases: [(&dyn Fn() -> std::path::PathBuf, FaultKind, &str); 10] = [
        (&|| gone.clone(), FaultKind::Io, "cannot read kubeconfig"),
        (&|| api.file("kubeconfig", &format!("token: [{TOKEN}")), FaultKind::Decode, "malformed kubeconfig"),
        (&|| api.file("kubeconfig", &format!("users: {TOKEN}\n")), FaultKind::Decode, "malformed kubeconfig"),
        (&|| api.file("kubeconfig", "kind: Config\n"), FaultKind::Config, "kubeconfig"),
        (&|| with(json!({"server": null})), FaultKind::Config, "kubeconfig"),
        (&|| with(json!({"certificate-authority": "gone"})), FaultKind::Io, "named by kubeconfig"),
        (&|| with(json!({"proxy-url": "http://proxy:3128"})), FaultKind::Unsupported, "asks for a proxy"),
        (
            &|| user(json!({"client-certificate": "gone", "client-key": "gone"})),
            FaultKind::Io,
            "named by kubeconfig",
        ),
        (
            &|| user(json!({"client-certificate": "ca.crt", "client-key-data": STANDARD.encode(TOKEN)})),
            FaultKind::Config,
            "cannot log in",
        ),
        (
            &|| user(json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "login"}})),
            FaultKind::Unsupported,
            "asks for a program",
        ),
    ];
    for (kubeconfig, kind, said) in cases {
        let fault = of(&kubeconfig(), AMPLE).unwrap_err();

        let text = format!("{fault} {fault:?} {:?}", fault.to_reply());
        assert_eq!(fault.kind(), kind, "{fault}");
        assert!(text.contains(said), "{said}: {text}");
        assert!(!text.contains(TOKEN), "{text}");
        assert!(fault.advice().is_some(), "{text}");
    }
}
