//! What one settled Release costs: requests of the controller within a minute, by the API server's audit log, and the
//! memory that the release build holds. Run by `make bench-idle`; prints both and writes `target/proof/idle.json`.
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

use std::time::Duration;

use serde_json::json;

use harness::{Scene, proof};

/// How long events of the release may be on their way and the garbage collector at work.
const SETTLING: Duration = Duration::from_secs(5);
/// How long is measured.
const MEASURED: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    support::in_namespace("idle", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        tokio::time::sleep(SETTLING).await;
        let requests = audited::requests_within(namespace, MEASURED).await.len();
        let (kib, most) = (scene.memory("VmRSS"), scene.memory("VmHWM"));
        let mib = |kib: u64| f64::from(u32::try_from(kib).unwrap()) / 1024.0;
        let seconds = MEASURED.as_secs();
        println!("one settled Release, {seconds} s: {requests} requests but watches (asked for: 0)");
        println!("VmRSS {:.1} MiB, at most {:.1} MiB until then (asked for: 25 MiB)", mib(kib), mib(most));
        let figures = json!({ "seconds": seconds, "requests": requests, "vmRssKiB": kib, "vmHwmKiB": most });
        proof("idle", &figures.to_string());
    })
    .await;
}
