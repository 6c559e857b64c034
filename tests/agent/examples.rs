//! The examples of `docs/checks.md`: our own types read them, and each tells a breach from none against real servers.

use std::path::Path;

use serde_json::json;
use switchback::{
    api::{Check, CheckKind, CheckPhase, Duration, HttpCheck, PrometheusCheck, Scheme, TlsCheck, compile},
    protocol::{CheckVerdict, Finding, HttpProbe, ProbeKind},
};

use crate::{
    bench::{check, later, soon},
    prometheus::{Prometheus, Series},
    server::{Authority, Reply, provider, serve, serve_tls},
};

/// Every example, in the order of the page.
const NAMES: [&str; 14] = [
    "security-headers",
    "smoke",
    "certificate",
    "domain",
    "stuck-orders",
    "server-errors",
    "not-ready",
    "database-connections",
    "worker-jobs",
    "worker-lag",
    "availability",
    "mean-response",
    "error-rate",
    "objectives",
];

fn examples() -> Vec<Check> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md")).unwrap();
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .flat_map(|block| serde_yaml::from_str::<Vec<Check>>(block).unwrap_or_else(|error| panic!("{error}: {block}")))
        .collect()
}

fn example(name: &str) -> Check {
    examples().into_iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no example {name}"))
}

#[test]
fn every_example_is_read_by_our_own_types_and_named_once() {
    let names: Vec<String> = examples().iter().map(|check| check.name.clone()).collect();
    assert_eq!(names, NAMES);
    for check in examples() {
        for (field, pattern) in check.patterns() {
            compile(pattern).unwrap_or_else(|error| panic!("{} {field}: {error}", check.name));
        }
    }
}

/// A ready-made check without a page that says what to do leaves whoever it wakes alone. The rule on that page must fire when
/// the check would go back.
#[test]
fn every_ready_made_check_has_a_runbook_with_the_same_alert() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = std::fs::read_to_string(docs.join("checks.md")).unwrap();
    let (_, ready_made) = page.split_once("## Ready-made").unwrap();
    let mut rules = 0;
    for block in ready_made.split("```yaml\n").skip(1) {
        let (yaml, after) = block.split_once("```").unwrap();
        let check = serde_yaml::from_str::<Vec<Check>>(yaml).unwrap().remove(0);
        let link = after.trim_start().strip_prefix("Runbook: [").and_then(|rest| rest.split(['(', ')']).nth(1));
        let link = link.unwrap_or_else(|| panic!("{} is not followed by its runbook", check.name));
        let runbook = std::fs::read_to_string(docs.join(link)).unwrap_or_else(|error| panic!("{link}: {error}"));
        for section in ["Meaning", "Impact", "Diagnosis", "Mitigation"] {
            assert!(runbook.contains(&format!("\n## {section}\n\n")), "{link} lacks {section}");
        }
        assert!(runbook.contains(&format!("`{}`", check.name)), "{link} does not name {}", check.name);
        let CheckKind::Prometheus(asks) = check.kind else { continue };
        let yaml = runbook.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
        let found: Vec<serde_json::Value> = serde_yaml::from_str(yaml.expect("a rule")).unwrap();
        let expr = match (&asks.min, &asks.max) {
            (Some(min), None) => format!("{} < {min}", asks.query),
            (None, Some(max)) => format!("{} > {max}", asks.query),
            both => panic!("{}: {both:?}", check.name),
        };
        let rule = found.iter().find(|rule| rule["expr"] == json!(expr));
        let rule = rule.unwrap_or_else(|| panic!("{link} has no rule for {expr}: {found:#?}"));
        let lasts = rule["for"].as_str().map_or(0, |lasts| lasts.parse::<Duration>().unwrap().as_std().as_secs());
        assert_eq!(lasts, asks.breach_for.as_std().as_secs(), "{link}");
        rules += 1;
    }
    assert_eq!(rules, 8);
}

/// A world in which everything keeps within the bounds of the examples, if narrowly.
const WELL: &[Series] = &[
    // 1000 requests a second, 0.09 % of them fail.
    ("http_requests_total{namespace=\"shop\",code=\"200\"}", |t| t as f64 * 999.1),
    ("http_requests_total{namespace=\"shop\",code=\"500\"}", |t| t as f64 * 0.9),
    ("http_requests_total{namespace=\"other\",code=\"500\"}", |t| t as f64 * 1000.0),
    ("http_request_duration_seconds_sum{namespace=\"shop\"}", |t| t as f64 * 190.0),
    ("http_request_duration_seconds_count{namespace=\"shop\"}", |t| t as f64 * 1000.0),
    ("kube_pod_status_ready{namespace=\"shop\",pod=\"shop-web-1\",condition=\"false\"}", |_| 0.0),
    ("kube_pod_status_ready{namespace=\"shop\",pod=\"shop-web-1\",condition=\"true\"}", |_| 1.0),
    ("kube_pod_status_ready{namespace=\"shop\",pod=\"other-1\",condition=\"false\"}", |_| 1.0),
    // 2.7 in five minutes.
    ("db_connection_failures_total{namespace=\"shop\"}", |t| t as f64 * 0.009),
    ("kube_job_status_failed{namespace=\"shop\",job_name=\"shop-import-1\"}", |_| 1.0),
    ("kube_job_status_failed{namespace=\"shop\",job_name=\"shop-import-2\"}", |_| 1.0),
    ("queue_oldest_job_age_seconds{namespace=\"shop\"}", |_| 890.0),
];

/// The same world with each of them broken, if narrowly.
const ILL: &[Series] = &[
    // 2.1 % fail.
    ("http_requests_total{namespace=\"shop\",code=\"200\"}", |t| t as f64 * 979.0),
    ("http_requests_total{namespace=\"shop\",code=\"500\"}", |t| t as f64 * 21.0),
    ("http_request_duration_seconds_sum{namespace=\"shop\"}", |t| t as f64 * 210.0),
    ("http_request_duration_seconds_count{namespace=\"shop\"}", |t| t as f64 * 1000.0),
    ("kube_pod_status_ready{namespace=\"shop\",pod=\"shop-web-1\",condition=\"false\"}", |_| 1.0),
    // 3.3 in five minutes.
    ("db_connection_failures_total{namespace=\"shop\"}", |t| t as f64 * 0.011),
    ("kube_job_status_failed{namespace=\"shop\",job_name=\"shop-import-1\"}", |_| 2.0),
    ("queue_oldest_job_age_seconds{namespace=\"shop\"}", |_| 910.0),
];

/// More fail than objectives allow, by a hair.
const AMISS: &[Series] = &[
    ("http_requests_total{namespace=\"shop\",code=\"200\"}", |t| t as f64 * 998.9),
    ("http_requests_total{namespace=\"shop\",code=\"500\"}", |t| t as f64 * 1.1),
];

/// Nearly as many fail as wake somebody.
const BAD: &[Series] = &[
    ("http_requests_total{namespace=\"shop\",code=\"200\"}", |t| t as f64 * 981.0),
    ("http_requests_total{namespace=\"shop\",code=\"500\"}", |t| t as f64 * 19.0),
];

/// How long each lasts before it counts, in seconds, as requirements A8 and A9 have it.
const LASTS: [(&str, u64); 8] = [
    ("server-errors", 300),
    ("not-ready", 180),
    ("database-connections", 0),
    ("worker-jobs", 0),
    ("worker-lag", 0),
    ("availability", 60),
    ("mean-response", 60),
    ("error-rate", 60),
];

#[tokio::test]
async fn of_failing_requests_each_example_has_a_bound_of_its_own() {
    provider();
    let expected = [("server-errors", Finding::Yes), ("availability", Finding::No), ("error-rate", Finding::No)];
    for world in [AMISS, BAD] {
        let prometheus = Prometheus::start(world);
        for (name, expected) in &expected {
            let CheckKind::Prometheus(wanted) = example(name).kind else { panic!("{name} asks no Prometheus") };
            assert_eq!(ask(&prometheus, wanted).await, *expected, "{name}");
        }
    }
}

/// Asks once: how long a breach lasts is the judge's.
async fn ask(prometheus: &Prometheus, wanted: PrometheusCheck) -> Finding {
    let address = prometheus.address.clone();
    let wanted = PrometheusCheck { address, min_samples: 1, every: "1s".parse().unwrap(), ..wanted };
    check(ProbeKind::Prometheus { check: wanted, ca: None }, None).await.passed
}

#[tokio::test]
async fn every_query_tells_a_breach_from_none_in_a_real_prometheus() {
    provider();
    let worlds = [
        (Finding::Yes, Prometheus::start(WELL)),
        (Finding::No, Prometheus::start(ILL)),
        // Nothing is known of the shop: no example takes that for a success.
        (Finding::CannotTell, Prometheus::start(&[("up", |_| 1.0)])),
    ];
    let mut asked = 0;
    for example in examples() {
        let CheckKind::Prometheus(wanted) = example.kind else { continue };
        let lasts = (example.name.as_str(), wanted.breach_for.as_std().as_secs());
        assert_eq!(lasts, LASTS[asked]);
        asked += 1;
        for (expected, prometheus) in &worlds {
            assert_eq!(ask(prometheus, wanted.clone()).await, *expected, "{}", example.name);
        }
    }
    assert_eq!(asked, 8);
}

fn http_check(name: &str) -> HttpCheck {
    let CheckKind::Http(wanted) = example(name).kind else { panic!("{name} is no http check") };
    wanted
}

#[tokio::test]
async fn security_headers_are_missed() {
    let wanted = http_check("security-headers");
    assert_eq!(wanted.scheme(), Scheme::Http);
    let good = "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\
                Content-Security-Policy: default-src 'self'\r\nX-Content-Type-Options: nosniff\r\n";
    let lines: Vec<&str> = good.split_inclusive("\r\n").collect();
    let without = |line: usize| good.replace(lines[line], "");
    let short = good.replace("31536000", "300");
    for (headers, passed) in [
        (good.to_owned(), Finding::Yes),
        (short, Finding::No),
        (without(0), Finding::No),
        (without(1), Finding::No),
        (without(2), Finding::No),
    ] {
        let told = headers.clone();
        let server = serve(move |_, request| {
            // The new version sends people to https unless it is told that they are there.
            if request.to_lowercase().contains("x-forwarded-proto: https") {
                Reply::Answer("200 OK", headers.clone(), String::new())
            } else {
                Reply::status("301 Moved Permanently")
            }
        })
        .await;
        let connect = Some(format!("127.0.0.1:{}", server.port));
        let probe = HttpProbe { url: "http://shop.example.com/".into(), connect, check: wanted.clone(), ca: None };
        let verdict = check(ProbeKind::Http(Box::new(probe)), None).await;
        assert_eq!(verdict.passed, passed, "{told}: {verdict:?}");
    }
}

#[tokio::test]
async fn objectives_are_missed_without_prometheus_too() {
    let wanted = http_check("objectives");
    for (share, milliseconds, passed) in
        [(None, 0, Finding::Yes), (Some(500), 0, Finding::No), (None, 210, Finding::No)]
    {
        let server = serve(move |number, _| {
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
            Reply::status(if share.is_some_and(|share| number % share == 1) { "503 no" } else { "200 OK" })
        })
        .await;
        // As many requests as in a minute, in a moment.
        let mut quick = serde_json::to_value(&wanted).unwrap();
        quick["every"] = json!("100ms");
        quick["requests"] = json!(100);
        if milliseconds > 0 {
            quick["requests"] = json!(5);
            quick["rate"]["minSamples"] = json!(5);
        } else {
            quick["rate"]["minSamples"] = json!(100);
        }
        let check_here = serde_json::from_value(quick).unwrap();
        let probe = HttpProbe { url: server.url(), connect: None, check: check_here, ca: None };
        let until = if passed == Finding::Yes { soon() } else { later() };
        let verdict = check(ProbeKind::Http(Box::new(probe)), until).await;
        assert_eq!(verdict.passed, passed, "{share:?} {milliseconds}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_ends_soon_and_a_name_that_points_elsewhere_are_seen() {
    let authority = Authority::new();
    let CheckKind::Tls(wanted) = example("certificate").kind else { panic!("no tls") };
    for (days, passed) in [(15, Finding::Yes), (13, Finding::No)] {
        let server = serve_tls(&authority.pair(days), |_, _| Reply::status("200 OK")).await;
        let here = TlsCheck { host: "localhost".into(), port: server.port, ..wanted.clone() };
        let CheckVerdict { passed: found, detail, .. } =
            check(ProbeKind::Tls { check: here, ca: Some(authority.file()) }, None).await;
        assert_eq!(found, passed, "{days}: {detail}");
    }
    let CheckKind::Dns(wanted) = example("domain").kind else { panic!("no dns") };
    for (host, passed) in [("203.0.113.10", Finding::Yes), ("203.0.113.11", Finding::No)] {
        let mut here = wanted.clone();
        host.clone_into(&mut here.host);
        let verdict = check(ProbeKind::Dns(here), None).await;
        assert_eq!(verdict.passed, passed, "{verdict:?}");
    }
    assert_eq!(example("certificate").phase, CheckPhase::Preflight);
}
