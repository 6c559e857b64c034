//! Checks of certificates and of names.

use std::path::PathBuf;

use serde_json::{Value, json};
use switchback::protocol::{CheckVerdict, Finding, ProbeKind};

use crate::{
    bench::{check, soon},
    server::{Authority, Reply, Server, serve, serve_tls},
};

async fn tls(port: u16, ca: Option<PathBuf>, more: Value) -> CheckVerdict {
    let mut what = json!({ "host": "localhost", "port": port, "timeout": "1s" });
    what.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    check(ProbeKind::Tls { check: serde_json::from_value(what).unwrap(), ca }, None).await
}

async fn shows(authority: &Authority, days: u32) -> Server {
    serve_tls(&authority.pair(days), |_, _| Reply::status("200 OK")).await
}

#[tokio::test]
async fn a_certificate_must_be_trusted_made_out_for_the_name_and_valid_for_long_enough() {
    let authority = Authority::new();
    let server = shows(&authority, 30).await;
    let (ca, other) = (|| Some(authority.file()), Authority::new());
    let verdict = tls(server.port, ca(), json!({})).await;
    assert!(verdict.passed == Finding::Yes && verdict.detail.contains("valid until 20"), "{verdict:?}");
    let table = [
        (ca(), json!({ "validFor": "744h" }), "is valid until 20"),
        (ca(), json!({ "name": "shop.example.com" }), "not valid for name"),
        (None, json!({}), "the certificate is refused"),
        (Some(other.file()), json!({}), "the certificate is refused"),
    ];
    for (ca, more, words) in table {
        let verdict = tls(server.port, ca, more.clone()).await;
        assert!(verdict.passed == Finding::No && verdict.detail.contains(words), "{more}: {verdict:?}");
        assert_eq!(verdict.requests, 1, "{more}: it said so at once");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_no_success() {
    let authority = Authority::new();
    let server = shows(&authority, 0).await;
    // It ends with the second in which it was made.
    for _ in 0..50 {
        let verdict = tls(server.port, Some(authority.file()), json!({ "validFor": "0s" })).await;
        if verdict.passed == Finding::No && verdict.detail.contains("has expired on 20") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("an expired certificate passed");
}

#[tokio::test]
async fn what_says_nothing_of_a_certificate_is_no_verdict_on_it() {
    let authority = Authority::new();
    for reply in [Reply::Nothing, Reply::Silence, Reply::status("200 OK")] {
        let server = serve(move |_, _| reply.clone()).await;
        let verdict = tls(server.port, Some(authority.file()), json!({ "timeout": "300ms" })).await;
        assert_eq!(verdict.passed, Finding::CannotTell, "{verdict:?}");
    }
    let verdict = tls(9, Some(authority.file()), json!({})).await;
    assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains("refused"), "{verdict:?}");
    let verdict = tls(9, Some(authority.folder().join("gone.crt")), json!({})).await;
    assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains("cannot be read"), "{verdict:?}");
}

fn dns(what: &Value) -> ProbeKind {
    ProbeKind::Dns(serde_json::from_value(what.clone()).unwrap())
}

#[tokio::test]
async fn a_name_must_resolve_and_to_nothing_but_what_is_expected() {
    let local = |more: Value| {
        let mut what = json!({ "host": "localhost" });
        what.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        what
    };
    let table = [
        (local(json!({})), Finding::Yes, "localhost resolves to "),
        (local(json!({ "addresses": ["127.0.0.1", "::1"] })), Finding::Yes, "resolves to "),
        (local(json!({ "names": ["localhost"] })), Finding::Yes, "resolves to "),
        (local(json!({ "addresses": ["192.0.2.1"] })), Finding::No, "expected nothing but 192.0.2.1"),
        (local(json!({ "names": ["192.0.2.7"] })), Finding::No, "expected nothing but 192.0.2.7"),
        (json!({ "host": "203.0.113.9", "addresses": ["203.0.113.9"] }), Finding::Yes, "resolves to 203.0.113.9"),
    ];
    for (what, passed, words) in table {
        let verdict = check(dns(&what), None).await;
        assert!(verdict.passed == passed && verdict.detail.contains(words), "{what}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_no_success() {
    // Whether a resolver can be reached or not: no such name, or no word of it.
    let nowhere = json!({ "host": "nowhere.invalid", "timeout": "2s", "every": "1s" });
    let verdict = check(dns(&nowhere), None).await;
    assert_ne!(verdict.passed, Finding::Yes, "{verdict:?}");
    let verdict = check(dns(&nowhere), soon()).await;
    assert_ne!(verdict.passed, Finding::Yes, "{verdict:?}");
    let compared = json!({ "host": "localhost", "names": ["nowhere.invalid"], "timeout": "2s" });
    let verdict = check(dns(&compared), None).await;
    assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains("nowhere.invalid"), "{verdict:?}");
}
