//! What the API server's own audit log says of us.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;

use crate::support::{CONTROLLER, Namespace};

/// Returns the lab's audit log.
pub fn audit_log() -> PathBuf {
    PathBuf::from(std::env::var("LAB_DIR").expect("the lab says where it is")).join("log/audit/audit.log")
}

/// Waits, and returns every request but watches that the controller made in a namespace meanwhile.
pub async fn requests_within(namespace: &Namespace, time: Duration) -> Vec<Value> {
    let from = std::fs::metadata(audit_log()).unwrap().len();
    tokio::time::sleep(time).await;
    let log = std::fs::read(audit_log()).unwrap();
    let lines = String::from_utf8_lossy(&log[usize::try_from(from).unwrap()..]).into_owned();
    lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["user"]["username"] == CONTROLLER && event["verb"] != "watch")
        .filter(|event| event["objectRef"]["namespace"] == namespace.name.as_str())
        .collect()
}
