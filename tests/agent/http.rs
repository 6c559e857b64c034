//! Checks over HTTP.

use serde_json::json;
use switchback::{
    agent::{checks, job, redact::Redactor},
    protocol::{CheckParameters, CheckResult, CheckVerdict, Finding, HttpProbe, Probe, ProbeKind, RESULT_BYTES},
};

use crate::{
    bench::{check, http, later, soon},
    server::{Authority, Reply, serve, serve_tls},
};

#[tokio::test]
async fn an_answer_counts_at_once() {
    for (status, passed) in [("200 OK", Finding::Yes), ("500 no", Finding::No), ("302 Found", Finding::No)] {
        let server = serve(move |_, _| Reply::status(status)).await;
        let verdict = check(http(&server.url(), json!({})), None).await;
        assert_eq!((verdict.passed, server.asked()), (passed, 1), "{status}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again_because_nodes_learn_of_a_service_late() {
    let server = serve(|number, _| if number > 1 { Reply::status("200 OK") } else { Reply::Nothing }).await;
    let verdict = check(http(&server.url(), json!({})), None).await;
    assert!(verdict.passed == Finding::Yes && verdict.failures == 2, "{verdict:?}");
}

#[tokio::test]
async fn nobody_there_is_no_success() {
    crate::server::provider();
    let verdict = check(http("http://127.0.0.1:9/", json!({})), None).await;
    assert!(verdict.passed == Finding::No && verdict.detail.contains("refused"), "{verdict:?}");
}

#[tokio::test]
async fn a_watch_asks_until_the_window_ends_each_time_anew() {
    let server = serve(|_, _| Reply::status("200 OK")).await;
    let verdict = check(http(&server.url(), json!({})), soon()).await;
    assert!(verdict.passed == Finding::Yes && verdict.requests > 1, "{verdict:?}");
    assert_eq!(server.asked() as u64, verdict.requests);
}

#[tokio::test]
async fn the_last_question_belongs_to_the_end_of_the_window_however_seldom_it_asks() {
    let server = serve(|_, _| Reply::status("200 OK")).await;
    let verdict = check(http(&server.url(), json!({ "every": "1h" })), soon()).await;
    assert_eq!((verdict.passed, verdict.requests), (Finding::Yes, 2), "{verdict:?}");
}

#[tokio::test]
async fn a_watch_ends_with_the_first_failure_unless_a_breach_takes_longer() {
    let once = |number, _: &str| Reply::status(if number == 2 { "500 no" } else { "200 OK" });
    let verdict = check(http(&serve(once).await.url(), json!({})), later()).await;
    assert!(verdict.passed == Finding::No && verdict.requests == 3, "{verdict:?}");

    let longer = json!({ "breachFor": "500ms" });
    // Even where everything takes its time, one failure of many is not as long as the window.
    let much_longer = json!({ "breachFor": "30s" });
    let verdict = check(http(&serve(once).await.url(), much_longer), soon()).await;
    assert!(verdict.passed == Finding::Yes && verdict.failures <= 1, "{verdict:?}");

    let server = serve(|_, _| Reply::status("500 no")).await;
    let verdict = check(http(&server.url(), longer), later()).await;
    assert!(verdict.passed == Finding::No && verdict.requests > 1, "{verdict:?}");
}

#[tokio::test]
async fn a_watch_that_starts_too_late_reports_what_it_sees_and_no_failure_of_its_own() {
    let server = serve(|_, _| Reply::status("200 OK")).await;
    let verdict = check(http(&server.url(), json!({})), Some(jiff::Timestamp::UNIX_EPOCH)).await;
    assert!(verdict.passed == Finding::Yes && verdict.requests == 1, "{verdict:?}");
}

#[tokio::test]
async fn a_failing_check_ends_the_watch_of_the_others() {
    let (well, ill) = (serve(|_, _| Reply::status("200 OK")).await, serve(|_, _| Reply::status("500 no")).await);
    let probe = |name: &str, url: &str| Probe { name: name.into(), must_tell: false, what: http(url, json!({})) };
    let checks = vec![probe("well", &well.url()), probe("ill", &ill.url())];
    let result = checks::run(&CheckParameters { checks, until: later() }).await;
    let said: Vec<_> = result.checks.iter().map(|check| (check.name.as_str(), check.passed)).collect();
    assert_eq!(said, [("ill", Finding::No)]);
}

#[tokio::test]
async fn headers_must_be_there_and_say_what_is_expected() {
    let headers = "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\nX-Two: a\r\nX-Two: b\r\n\
                   Set-Cookie: session=s3cr3t\r\n";
    let server = serve(move |_, _| Reply::Answer("200 OK", headers.into(), String::new())).await;
    let table = [
        (json!([{ "name": "strict-transport-security", "matches": "^max-age=[0-9]{8,}" }]), None),
        (json!([{ "name": "X-Two", "value": "b" }]), None),
        (json!([{ "name": "X-Two", "value": "c" }]), Some("header x-two says \"a\", expected \"c\"")),
        (json!([{ "name": "X-Two", "value": "" }]), Some("says \"a\"")),
        (json!([{ "name": "Content-Security-Policy", "matches": "" }]), Some("is missing")),
        (json!([{ "name": "Strict-Transport-Security", "matches": "max-age=0" }]), Some("that matches \"max-age=0\"")),
        (json!([{ "name": "Set-Cookie", "matches": "Secure" }]), Some("header set-cookie says something else")),
    ];
    for (expected, words) in table {
        let verdict = check(http(&server.url(), json!({ "headers": expected })), None).await;
        let passed = if words.is_none() { Finding::Yes } else { Finding::No };
        assert_eq!(verdict.passed, passed, "{verdict:?}");
        assert!(verdict.detail.contains(words.unwrap_or("answered 200")), "{verdict:?}");
        assert!(!verdict.detail.contains("s3cr3t"), "{verdict:?}");
    }
}

#[tokio::test]
async fn a_body_must_hold_what_is_expected() {
    let server = serve(|_, _| Reply::body("{\"status\": \"ok\", \"version\": \"2.4.0\"}")).await;
    for (body, passed) in [
        (json!({ "contains": "\"2.4.0\"" }), Finding::Yes),
        (json!({ "matches": "\"status\": *\"(ok|fine)\"" }), Finding::Yes),
        (json!({ "contains": "2.4.1" }), Finding::No),
        (json!({ "matches": "^ok$" }), Finding::No),
    ] {
        let verdict = check(http(&server.url(), json!({ "body": body })), None).await;
        assert_eq!(verdict.passed, passed, "{body}: {verdict:?}");
        assert!(passed == Finding::Yes || !verdict.detail.contains("status"), "the body is told: {verdict:?}");
    }
}

#[tokio::test]
async fn an_answer_is_read_no_further_than_it_may_be_and_no_longer() {
    let huge = serve(|_, _| Reply::Huge(100 << 20)).await;
    let verdict = check(http(&huge.url(), json!({})), None).await;
    assert_eq!(verdict.passed, Finding::Yes, "{verdict:?}");
    let verdict = check(http(&huge.url(), json!({ "body": { "contains": "y" } })), None).await;
    assert!(verdict.passed == Finding::No && verdict.detail.contains("256 KiB"), "{verdict:?}");
    for (reply, words) in [
        (Reply::Drip, "no answer in time"),
        (Reply::Silence, "no answer in time"),
        (Reply::BreakOff, "end of file before message length reached"),
        (Reply::Nothing, "connection closed"),
    ] {
        let server = serve(move |_, _| reply.clone()).await;
        let verdict = check(http(&server.url(), json!({ "timeout": "300ms" })), None).await;
        assert!(verdict.passed == Finding::No && verdict.detail.contains(words), "{words}: {verdict:?}");
    }
}

#[tokio::test]
async fn threat_t17_redirects_are_not_followed() {
    let elsewhere = serve(|_, _| Reply::status("200 OK")).await;
    let location = format!("Location: {}\r\n", elsewhere.url());
    let server = serve(move |_, _| Reply::Answer("302 Found", location.clone(), String::new())).await;
    let verdict = check(http(&server.url(), json!({ "status": [302] })), None).await;
    assert_eq!((verdict.passed, elsewhere.asked()), (Finding::Yes, 0), "{verdict:?}");
}

#[tokio::test]
async fn latency_is_judged_over_a_share_of_the_requests() {
    // One of ten takes long.
    let slow = |number: usize, _: &str| {
        if number % 10 == 4 {
            std::thread::sleep(std::time::Duration::from_millis(1500));
        }
        Reply::status("200 OK")
    };
    let server = serve(slow).await;
    let asked = json!({ "requests": 10, "maxLatency": "1200ms", "percentile": 90 });
    let verdict = check(http(&server.url(), asked), None).await;
    assert_eq!((verdict.passed, verdict.requests, server.asked()), (Finding::Yes, 10, 10), "{verdict:?}");
    let verdict = check(http(&server.url(), json!({ "requests": 10, "maxLatency": "1200ms" })), None).await;
    assert!(verdict.passed == Finding::No && verdict.detail.contains("100 % of 10 answers"), "{verdict:?}");
    // One that fails is one too many, however many there are.
    let server = serve(|number, _| Reply::status(if number == 7 { "503 no" } else { "200 OK" })).await;
    let verdict =
        check(http(&server.url(), json!({ "requests": 10, "percentile": 50, "maxLatency": "1s" })), None).await;
    assert_eq!((verdict.passed, verdict.requests), (Finding::No, 8), "{verdict:?}");
}

#[tokio::test]
async fn a_rate_judges_all_requests_of_the_window_together() {
    let one_of = |share: usize| {
        move |number: usize, _: &str| Reply::status(if number.is_multiple_of(share) { "500 no" } else { "200 OK" })
    };
    let rate = |max: &str, samples: u32| json!({ "requests": 10, "rate": { "over": "10s", "maxFailurePercent": max, "minSamples": samples } });
    let verdict = check(http(&serve(one_of(10)).await.url(), rate("20", 10)), soon()).await;
    assert!(verdict.passed == Finding::Yes && verdict.failures >= 1, "{verdict:?}");
    let verdict = check(http(&serve(one_of(10)).await.url(), rate("5", 20)), later()).await;
    assert!(verdict.passed == Finding::No && verdict.requests == 20, "{verdict:?}");
    let verdict = check(http(&serve(one_of(10)).await.url(), rate("5", 100_000)), soon()).await;
    assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains("are needed"), "{verdict:?}");
}

#[tokio::test]
async fn a_service_is_asked_under_the_name_that_users_know() {
    let authority = Authority::new();
    let says_host = |_: usize, request: &str| {
        let host = request.lines().find(|line| line.to_lowercase().starts_with("host:")).unwrap_or_default();
        Reply::body(format!("{}|{}", host.to_lowercase(), request.to_lowercase().contains("x-forwarded-proto: https")))
    };
    // Without TLS: the name is in the request.
    let server = serve(says_host).await;
    let probe = |url: &str, port: u16, more: serde_json::Value| {
        let ProbeKind::Http(probe) = http(url, more) else { unreachable!() };
        let ca = Some(authority.file()).filter(|_| url.starts_with("https"));
        ProbeKind::Http(Box::new(HttpProbe { connect: Some(format!("127.0.0.1:{port}")), ca, ..*probe }))
    };
    let asked = json!({
        "send": [{ "name": "X-Forwarded-Proto", "value": "https" }],
        "body": { "contains": "host: shop.example.com|true" },
    });
    let verdict = check(probe("http://shop.example.com/", server.port, asked), None).await;
    assert_eq!(verdict.passed, Finding::Yes, "{verdict:?}");
    // With TLS: the certificate must be made out for it.
    let server = serve_tls(&authority.pair(30), says_host).await;
    let asked = json!({ "body": { "contains": "host: localhost|false" } });
    let verdict = check(probe("https://localhost/", server.port, asked.clone()), None).await;
    assert_eq!(verdict.passed, Finding::Yes, "{verdict:?}");
    let verdict = check(probe("https://shop.example.com/", server.port, asked), None).await;
    assert!(verdict.passed == Finding::No && verdict.detail.contains("not valid for name"), "{verdict:?}");
}

#[tokio::test]
async fn https_is_no_success_without_a_certificate_that_is_trusted() {
    let authority = Authority::new();
    let server = serve_tls(&authority.pair(30), |_, _| Reply::status("200 OK")).await;
    let verdict = check(http(&format!("https://localhost:{}/", server.port), json!({})), None).await;
    assert!(verdict.passed == Finding::No && verdict.detail.contains("certificate"), "{verdict:?}");
    let gone = authority.folder().join("gone.crt");
    let ProbeKind::Http(probe) = http("https://localhost/", json!({})) else { unreachable!() };
    let verdict = check(ProbeKind::Http(Box::new(HttpProbe { ca: Some(gone), ..*probe })), None).await;
    assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains("gone.crt cannot be read"), "{verdict:?}");
}

#[test]
fn input_54_a_result_fits_a_termination_message_and_is_redacted() {
    let verdict = |number: usize| CheckVerdict {
        name: format!("check-{number}"),
        passed: Finding::No,
        detail: format!("{}\u{1f600}\"hunter22", "\u{1f600}\"".repeat(if number == 0 { 0 } else { 2000 })),
        requests: 1,
        failures: 1,
    };
    let result = CheckResult { checks: (0..32).map(verdict).collect() };
    let mut redactor = Redactor::default();
    redactor.add("hunter22");
    let message = job::message(&result, &redactor).unwrap();
    assert!(message.len() <= RESULT_BYTES, "{} bytes", message.len());
    assert!(!message.contains("hunter22"), "{message}");
    let read: CheckResult = serde_json::from_str(&message).unwrap();
    assert_eq!(read.checks.len(), 32);
}

#[test]
fn what_an_older_agent_says_is_understood() {
    let text = r#"{"checks":[{"name":"a","passed":true,"detail":"","requests":1,"failures":0},
        {"name":"b","passed":false,"detail":"","requests":1,"failures":1}]}"#;
    let read: CheckResult = serde_json::from_str(text).unwrap();
    assert_eq!([read.checks[0].passed, read.checks[1].passed], [Finding::Yes, Finding::No]);
    let unsure = CheckVerdict { passed: Finding::CannotTell, ..read.checks[0].clone() };
    let written = serde_json::to_string(&unsure).unwrap();
    assert!(!written.contains("passed"), "{written}");
    assert_eq!(serde_json::from_str::<CheckVerdict>(&written).unwrap(), unsure);
}
