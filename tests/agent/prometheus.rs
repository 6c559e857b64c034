//! Queries to Prometheus: to a real one, and to what only looks like one.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::{Value, json};
use switchback::{
    clock,
    protocol::{CheckParameters, CheckVerdict, Finding, Probe, ProbeKind},
};

use crate::{
    bench::{check, later, soon},
    process::{Folder, Running, free_port, run, soon as wait_until},
    server::{Reply, provider, serve},
};

const STARTS: usize = 5;
/// How many samples of each series there are, and how far they are apart.
const SAMPLES: i64 = 241;
const STEP_SECONDS: i64 = 10;

/// A real Prometheus on loopback, filled with series from twenty minutes ago to twenty minutes from now: whoever
/// takes his time to ask finds data, too.
pub struct Prometheus {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    // In the order in which they go.
    _process: Running,
    _folder: Folder,
}

/// A series: its name with labels, and what it is at second `t`.
pub type Series = (&'static str, fn(i64) -> f64);

impl Prometheus {
    /// Starts one with these series.
    pub fn start(series: &[Series]) -> Self {
        for _ in 0..STARTS {
            let folder = Folder::new("prometheus");
            let [data, metrics, settings, log] =
                ["data", "metrics", "prometheus.yml", "log"].map(|name| folder.path().join(name));
            fs::write(&metrics, open_metrics(series)).unwrap();
            fs::write(&settings, "global: {}\n").unwrap();
            let text = |path: &Path| path.display().to_string();
            let made = ["tsdb", "create-blocks-from", "openmetrics", &text(&metrics), &text(&data)];
            run(&program("promtool"), &made, None);
            let address = format!("127.0.0.1:{}", free_port());
            let arguments = [
                format!("--config.file={}", text(&settings)),
                format!("--storage.tsdb.path={}", text(&data)),
                format!("--web.listen-address={address}"),
                // What nobody asks for takes no place.
                "--storage.tsdb.wal-segment-size=10MB".to_owned(),
                "--log.level=warn".to_owned(),
            ];
            let process = Running::start(&program("prometheus"), &arguments, None, &log);
            wait_until(|| is_ready(&address) || !process.is_alive());
            let said = fs::read_to_string(&log).unwrap();
            if process.is_alive() {
                return Self { address: format!("http://{address}"), _process: process, _folder: folder };
            }
            assert!(said.contains("address already in use"), "Prometheus did not start: {said}");
        }
        panic!("no port was free {STARTS} times");
    }
}

fn is_ready(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n").and_then(|()| stream.read_to_string(&mut answer));
    asked.is_ok() && answer.starts_with("HTTP/1.0 200")
}

fn open_metrics(series: &[Series]) -> String {
    let begin = clock::now().as_second() - SAMPLES / 2 * STEP_SECONDS;
    let mut text = String::new();
    for (name, value) in series {
        for number in 0..SAMPLES {
            let second = number * STEP_SECONDS;
            text.push_str(&format!("{name} {} {}\n", value(second), begin + second));
        }
    }
    text + "# EOF\n"
}

/// Returns one of its programs, building it when nobody has yet.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/build");
        let output = run(&build, &["--print", "prometheus"], None);
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    });
    folder.join(name)
}

fn query(address: &str, more: Value) -> ProbeKind {
    let mut what = json!({ "address": address, "timeout": "2s", "every": "1s" });
    what.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ProbeKind::Prometheus { check: serde_json::from_value(what).unwrap(), ca: None }
}

/// The server that these tests share.
fn shared() -> &'static Prometheus {
    static SHARED: OnceLock<Prometheus> = OnceLock::new();
    provider();
    SHARED.get_or_init(|| {
        Prometheus::start(&[
            ("queue_length", |_| 7.0),
            ("requests_total{code=\"200\"}", |t| t as f64 * 9.0),
            ("requests_total{code=\"500\"}", |t| t as f64),
            ("broken", |_| f64::NAN),
        ])
    })
}

#[tokio::test]
async fn a_real_prometheus_is_asked_and_one_number_within_bounds_is_success() {
    let address = &shared().address;
    let table = [
        (json!({ "query": "queue_length", "max": "7" }), Finding::Yes),
        (json!({ "query": "queue_length", "max": "6.999" }), Finding::No),
        (json!({ "query": "queue_length", "min": "7.001" }), Finding::No),
        (json!({ "query": "scalar(queue_length)", "min": "7", "max": "7" }), Finding::Yes),
        (
            json!({ "query": "sum(rate(requests_total{code='500'}[5m])) / sum(rate(requests_total[5m]))", "max": "0.101" }),
            Finding::Yes,
        ),
        (
            json!({ "query": "sum(rate(requests_total{code='500'}[5m])) / sum(rate(requests_total[5m]))", "max": "0.099" }),
            Finding::No,
        ),
    ];
    for (what, passed) in table {
        let verdict = check(query(address, what.clone()), None).await;
        assert_eq!((verdict.passed, verdict.requests), (passed, 1), "{what}: {verdict:?}");
    }
}

#[tokio::test]
async fn input_53_a_real_prometheus_without_one_number_tells_nothing() {
    let address = &shared().address;
    for (what, words) in [
        ("nothing_of_that_name", "no data"),
        ("broken", "NaN"),
        ("requests_total", "2 series"),
        ("\"text\"", "is a string"),
        ("requests_total[1m]", "is a matrix"),
        ("sum(", "parse error"),
        ("queue_length / 0", "no number"),
    ] {
        let verdict = check(query(address, json!({ "query": what, "max": "1" })), None).await;
        assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains(words), "{what}: {verdict:?}");
        let verdict = check(query(address, json!({ "query": what, "max": "1" })), soon()).await;
        assert_eq!(verdict.passed, Finding::CannotTell, "{what}, watched: {verdict:?}");
    }
}

#[tokio::test]
async fn input_53_what_only_looks_like_prometheus_tells_nothing() {
    let elsewhere =
        serve(|_, _| Reply::body(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"0"]}}"#)).await;
    let location = format!("Location: {}api/v1/query?query=up\r\n", elsewhere.url());
    let table = [
        (Reply::body("<!doctype html><title>Sign in</title>"), "no answer of Prometheus"),
        (Reply::Huge(100 << 20), "more than 64 KiB"),
        (Reply::Answer("302 Found", location, String::new()), "redirects are not followed"),
        (Reply::Drip, "no answer in time"),
        (Reply::Silence, "no answer in time"),
        (Reply::BreakOff, "end of file"),
        (Reply::status("503 Service Unavailable"), "503"),
    ];
    for (reply, words) in table {
        let server = serve(move |_, _| reply.clone()).await;
        let what = json!({ "query": "up", "max": "1", "timeout": "300ms" });
        let verdict = check(query(&server.url(), what), None).await;
        assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains(words), "{words}: {verdict:?}");
    }
    assert_eq!(elsewhere.asked(), 0, "a redirect was followed");
}

#[tokio::test]
async fn a_query_travels_whole() {
    let server = serve(|_, request| {
        let asked =
            request.starts_with("GET /prometheus/api/v1/query?query=a%7Bb%3D%22c%26d%22%7D+%2B+1&timeout=2000ms ");
        Reply::body(format!(
            r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"{}"]}}}}"#,
            u8::from(asked)
        ))
    })
    .await;
    let what = json!({ "query": "a{b=\"c&d\"} + 1", "min": "1" });
    let verdict = check(query(&format!("{}prometheus/", server.url()), what), None).await;
    assert_eq!(verdict.passed, Finding::Yes, "{verdict:?}");
}

#[tokio::test]
async fn too_few_samples_tell_nothing_and_before_the_switch_it_asks_until_there_are_enough() {
    let server =
        serve(|_, _| Reply::body(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"0"]}}"#)).await;
    let what = json!({ "query": "up", "max": "1", "minSamples": 3 });
    let verdict = check(query(&server.url(), what.clone()), None).await;
    assert_eq!((verdict.passed, verdict.requests), (Finding::Yes, 3), "{verdict:?}");
    let mut seldom = what;
    seldom["every"] = "1h".into();
    let verdict = check(query(&server.url(), seldom), soon()).await;
    assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains("2 answers"), "{verdict:?}");
}

#[tokio::test]
async fn who_must_tell_ends_the_watch_early() {
    let server = serve(|_, _| Reply::status("503 no")).await;
    let what = query(&server.url(), json!({ "query": "up", "max": "1", "breachFor": "1s" }));
    let probe = Probe { name: "errors".into(), must_tell: true, what };
    let parameters = CheckParameters { checks: vec![probe], until: later() };
    let result = switchback::agent::checks::run(&parameters).await;
    let [CheckVerdict { passed, requests, .. }] = result.checks.as_slice() else { panic!("{result:?}") };
    assert_eq!((*passed, *requests), (Finding::CannotTell, 3));
}
