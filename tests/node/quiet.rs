//! A settled Release costs nothing.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};

use switchback::api::DatabaseBackup;

use crate::{
    database_scene::{apply, bring_up},
    harness::{Scene, proof},
    support::{CONTROLLER, Namespace, SOON, in_namespace, within},
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
        stays_quiet(namespace, "quiet").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settled_databases_storages_and_backups_make_no_request_but_watches() {
    in_namespace("quiet-db", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        apply::<DatabaseBackup>(&scene, "early", json!({ "spec": { "database": "shop" } })).await;
        let backups: kube::Api<DatabaseBackup> = namespace.api(&namespace.cluster.admin);
        within(SOON * 4, "the backup waits for the marker", async || {
            let conditions = backups.get("early").await.unwrap().status?.conditions;
            conditions.iter().any(|condition| condition.reason == "NotMarked").then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        stays_quiet(namespace, "quiet-databases").await;
    })
    .await;
}

async fn stays_quiet(namespace: &Namespace, name: &str) {
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
    proof(name, &json!({ "seconds": QUIET.as_secs(), "requests": ours.len() }).to_string());
    assert!(ours.is_empty(), "{ours:#?}");
}
