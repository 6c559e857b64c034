//! A settled Release costs nothing.

use std::time::Duration;

use serde_json::json;

use switchback::api::DatabaseBackup;

use crate::{
    audited::requests_within,
    database_scene::{apply, bring_up},
    harness::{Scene, proof},
    support::{SOON, in_namespace, within},
};

/// How long nothing may happen.
const QUIET: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_release_makes_no_request_but_watches() {
    in_namespace("quiet", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        // Events of the release are still on their way, and the garbage collector still works.
        tokio::time::sleep(Duration::from_secs(5)).await;
        stays_quiet(&scene, "quiet").await;
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
        stays_quiet(&scene, "quiet-databases").await;
    })
    .await;
}

async fn stays_quiet(scene: &Scene<'_>, name: &str) {
    let ours = requests_within(scene.namespace, QUIET).await;
    let kib = scene.memory("VmRSS");
    proof(name, &json!({ "seconds": QUIET.as_secs(), "requests": ours.len(), "vmRssKiB": kib }).to_string());
    assert!(ours.is_empty(), "{ours:#?}");
}
