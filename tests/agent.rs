//! The agent's checks against a real server on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::{
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use switchback::{
    agent::checks::http,
    api::Duration as Wait,
    clock,
    protocol::{CheckParameters, CheckResult, CheckVerdict, HttpProbe, RESULT_BYTES},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Serves one answer per connection: what `answer` says for the number of the connection; nothing for `None`.
async fn serve(answer: impl Fn(usize) -> Option<&'static str> + Send + 'static) -> (String, Arc<AtomicUsize>) {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let connections = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let number = connections.fetch_add(1, Ordering::SeqCst);
            let Some(status) = answer(number) else { continue };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
        }
    });
    (url, count)
}

fn probe(url: &str) -> HttpProbe {
    HttpProbe {
        name: "home".into(),
        url: url.into(),
        status: vec![200],
        timeout: Wait::from_secs(2),
        every: Wait::from_millis(100),
        breach_for: Wait::default(),
    }
}

async fn check(probe: HttpProbe, until: Option<Timestamp>) -> CheckVerdict {
    let parameters = CheckParameters { checks: vec![probe], until };
    let result = tokio::time::timeout(Duration::from_secs(30), http::run(&parameters)).await.unwrap();
    result.checks.into_iter().next().unwrap()
}

fn soon() -> Option<Timestamp> {
    Some(clock::now().checked_add(SignedDuration::from_secs(2)).unwrap())
}

#[tokio::test]
async fn an_answer_counts_at_once() {
    for (status, passed) in [("200 OK", true), ("500 no", false), ("302 Found", false)] {
        let (url, asked) = serve(move |_| Some(status)).await;
        let verdict = check(probe(&url), None).await;
        assert_eq!((verdict.passed, asked.load(Ordering::SeqCst)), (passed, 1), "{status}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again_because_nodes_learn_of_a_service_late() {
    let (url, _) = serve(|number| (number > 1).then_some("200 OK")).await;
    let verdict = check(probe(&url), None).await;
    assert!(verdict.passed && verdict.failures == 2, "{verdict:?}");
}

#[tokio::test]
async fn nobody_there_is_no_success() {
    let verdict = check(probe("http://127.0.0.1:9/"), None).await;
    assert!(!verdict.passed && verdict.detail.contains("refused"), "{verdict:?}");
}

#[tokio::test]
async fn a_watch_asks_until_the_window_ends_each_time_anew() {
    let (url, asked) = serve(|_| Some("200 OK")).await;
    let verdict = check(probe(&url), soon()).await;
    assert!(verdict.passed && verdict.requests > 3, "{verdict:?}");
    assert_eq!(asked.load(Ordering::SeqCst) as u64, verdict.requests);
}

#[tokio::test]
async fn a_watch_ends_with_the_first_failure_unless_a_breach_takes_longer() {
    let (url, _) = serve(|number| Some(if number == 2 { "500 no" } else { "200 OK" })).await;
    let verdict = check(probe(&url), soon()).await;
    assert!(!verdict.passed && verdict.requests == 3, "{verdict:?}");

    let (url, _) = serve(|number| Some(if number == 2 { "500 no" } else { "200 OK" })).await;
    let verdict = check(HttpProbe { breach_for: Wait::from_millis(500), ..probe(&url) }, soon()).await;
    assert!(verdict.passed && verdict.failures == 1, "{verdict:?}");

    let (url, _) = serve(|_| Some("500 no")).await;
    let verdict = check(HttpProbe { breach_for: Wait::from_millis(500), ..probe(&url) }, soon()).await;
    assert!(!verdict.passed && verdict.requests > 3, "{verdict:?}");
}

#[tokio::test]
async fn a_watch_that_starts_too_late_reports_what_it_sees_and_no_failure_of_its_own() {
    let (url, _) = serve(|_| Some("200 OK")).await;
    let verdict = check(probe(&url), Some(Timestamp::UNIX_EPOCH)).await;
    assert!(verdict.passed && verdict.requests == 1, "{verdict:?}");
}

#[test]
fn a_result_fits_a_termination_message() {
    let verdict = |number: usize| CheckVerdict {
        name: format!("check-{number}"),
        passed: false,
        detail: "\u{1f600}\"".repeat(2000),
        requests: 1,
        failures: 1,
    };
    let result = CheckResult { checks: (0..32).map(verdict).collect() };
    let message = result.to_message(RESULT_BYTES);
    assert!(message.len() <= RESULT_BYTES, "{} bytes", message.len());
    let read: CheckResult = serde_json::from_str(&message).unwrap();
    assert_eq!(read.checks.len(), 32);
}
