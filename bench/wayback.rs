//! How fast traffic goes back: from the pod's Ready=False to the patch of the Service, by the API server's own
//! audit times. Run by `make bench-wayback`; prints a table and writes `target/proof/wayback.json`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a measurement may stop at the first surprise, and uses a part of the tests' harness"
)]

#[path = "../tests/node/account.rs"]
mod account;
#[path = "../tests/node/audited.rs"]
mod audited;
#[path = "../tests/node/harness.rs"]
mod harness;
#[path = "../tests/support/mod.rs"]
mod support;

use jiff::Timestamp;
use serde_json::{Value, json};
use switchback::api::Outcome;

use harness::{Scene, proof, record};

/// How many ways back are measured.
const RUNS: usize = 20;
/// How many of them one load generator lives through.
const RUNS_PER_LOAD: usize = 5;

#[tokio::main]
async fn main() {
    let mut milliseconds = Vec::new();
    support::in_namespace("wayback", async |namespace| {
        let scene = Scene::new(namespace).await;
        let settings = json!({
            "switch": { "settle": "100ms" }, "watch": { "for": "120s", "tolerate": "0s" },
        });
        scene.ask_for("1.0.0", &[], json!({ "watch": { "for": "1s" } })).await;
        scene.approve().await;
        scene.until_over().await;
        let mut load = None;
        for run in 0..RUNS {
            if run % RUNS_PER_LOAD == 0 {
                load = Some(scene.load().await);
            }
            let version = format!("2.0.{run}");
            scene.ask_for(&version, &[("UNREADY_WHEN_SERVING", "1")], settings.clone()).await;
            scene.approve().await;
            let over = scene.until_over().await;
            assert_eq!(record(&over).outcome, Some(Outcome::RolledBack), "{}", scene.report().await);
            if run % RUNS_PER_LOAD == RUNS_PER_LOAD - 1 {
                load.take().unwrap().end(&format!("wayback-load-{run}")).await;
            }
        }
        milliseconds = measure(&namespace.name);
    })
    .await;
    report(milliseconds);
}

/// Reads the audit log: each patch that sets the fence is a way back; the last pod of the namespace that was
/// written Ready=False before it is its cause.
fn measure(namespace: &str) -> Vec<f64> {
    let text = String::from_utf8_lossy(&std::fs::read(audited::audit_log()).unwrap()).into_owned();
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["objectRef"]["namespace"] == namespace && event["stage"] == "ResponseComplete")
        .collect();
    let time = |event: &Value, key: &str| event[key].as_str().unwrap().parse::<Timestamp>().unwrap();
    let unready: Vec<Timestamp> = events
        .iter()
        .filter(|event| event["objectRef"]["resource"] == "pods" && event["objectRef"]["subresource"] == "status")
        .filter(|event| {
            let conditions = event["requestObject"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "False")
        })
        // Not when its answer was complete: the watch tells us sooner, and the patch may be there before that.
        .map(|event| time(event, "requestReceivedTimestamp"))
        .collect();
    let mut backs: Vec<Timestamp> = events
        .iter()
        .filter(|event| event["objectRef"]["resource"] == "services" && event["verb"] == "patch")
        .filter(|event| event["requestObject"]["metadata"]["annotations"]["switchback.dev/fence"].is_string())
        // A look that begins before the watch has shown the patch asks for it once more, and is refused.
        .filter(|event| event["responseStatus"]["code"] == 200)
        .map(|event| time(event, "requestReceivedTimestamp"))
        .collect();
    backs.sort_unstable();
    // Pods that come up are written Ready=False as well; what counts is the first loss after the switch.
    let switches: Vec<Timestamp> = events
        .iter()
        .filter(|event| event["objectRef"]["resource"] == "services" && event["verb"] == "patch")
        .filter(|event| event["requestObject"]["metadata"]["annotations"]["switchback.dev/fence"].is_null())
        .map(|event| time(event, "stageTimestamp"))
        .collect();
    backs
        .iter()
        .map(|back| {
            let switched = switches.iter().filter(|switch| *switch < back).max().unwrap();
            let lost = unready.iter().filter(|lost| *lost > switched && *lost < back).min();
            let lost = lost.expect("a pod was written Ready=False between the switch and the way back");
            back.duration_since(*lost).as_secs_f64() * 1000.0
        })
        .collect()
}

fn report(mut milliseconds: Vec<f64>) {
    assert_eq!(milliseconds.len(), RUNS);
    milliseconds.sort_by(f64::total_cmp);
    let (median, worst) = (milliseconds[RUNS / 2], milliseconds[RUNS - 1]);
    println!(
        "way back, {RUNS} runs, from the pod's Ready=False to the Service's patch (audit times of the API server)"
    );
    println!("median {median:.1} ms, worst {worst:.1} ms (asked for: 100 ms and 500 ms)");
    let figures =
        json!({ "runs": RUNS, "medianMilliseconds": median, "worstMilliseconds": worst, "all": milliseconds });
    proof("wayback", &figures.to_string());
}
