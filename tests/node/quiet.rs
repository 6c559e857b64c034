//! A settled Release costs nothing.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    harness::{Scene, proof},
    support::{CONTROLLER, in_namespace},
};

/// How long nothing may happen.
const QUIET: Duration = Duration::from_secs(60);

fn audit_log() -> PathBuf {
    PathBuf::from(std::env::var("LAB_DIR").expect("the lab says where it is")).join("log/audit/audit.log")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_release_makes_no_request_but_watches() {
    in_namespace("quiet", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        // Events of the release are still on their way, and the garbage collector still works.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let from = std::fs::metadata(audit_log()).unwrap().len();
        tokio::time::sleep(QUIET).await;
        let log = std::fs::read(audit_log()).unwrap();
        let lines = String::from_utf8_lossy(&log[usize::try_from(from).unwrap()..]).into_owned();
        let ours: Vec<Value> = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["user"]["username"] == CONTROLLER && event["verb"] != "watch")
            .filter(|event| event["objectRef"]["namespace"] == namespace.name.as_str())
            .collect();
        proof("quiet", &json!({ "seconds": QUIET.as_secs(), "requests": ours.len() }).to_string());
        assert!(ours.is_empty(), "{ours:#?}");
    })
    .await;
}
