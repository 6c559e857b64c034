//! A PostgreSQL server and a storage beside the application, and what tests ask of both.

use std::{path::Path, process::Stdio};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use switchback::api::{BackupStorage, DatabaseBackup, DatabaseInstance, Release};

use crate::{
    harness::{Scene, merge, record},
    support::{SOON, within},
};

/// The first migration: what version 1 needs.
pub const ORDERS: &str = "CREATE TABLE orders (id bigserial PRIMARY KEY, address text NOT NULL);
INSERT INTO orders (address) SELECT 'street ' || n FROM generate_series(1, 500) AS n;";
/// The second: a column that version 1 does not mind.
pub const SLOT: &str = "ALTER TABLE orders ADD COLUMN delivery_slot text;";

/// Brings both servers up and tells our kinds of them.
pub async fn bring_up(scene: &Scene<'_>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/database");
    let output =
        tokio::process::Command::new(script).arg(&scene.namespace.name).stdin(Stdio::null()).output().await.unwrap();
    assert!(output.status.success(), "lab/database: {}", String::from_utf8_lossy(&output.stderr));
    make_storage(scene, "offsite", "backups").await;
    let spec = json!({
        "environment": "Staging",
        "postgres": { "secret": "shop-db" },
        "backups": { "storage": ["offsite"] },
    });
    apply::<DatabaseInstance>(scene, "shop", json!({ "spec": spec })).await;
}

pub async fn make_storage(scene: &Scene<'_>, name: &str, bucket: &str) {
    let s3 = json!({
        "bucket": bucket, "endpoint": "http://s3:7070", "region": "us-east-1", "secret": "backup-store",
    });
    apply::<BackupStorage>(scene, name, json!({ "spec": { "s3": s3 } })).await;
}

/// Applies an object of ours.
pub async fn apply<K>(scene: &Scene<'_>, name: &str, mut body: Value)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    merge(&mut body, json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()) }));
    merge(&mut body, json!({ "metadata": { "name": name } }));
    let api: Api<K> = scene.namespace.api(&scene.namespace.cluster.admin);
    api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(&body)).await.unwrap();
}

/// Files of SQL as an immutable ConfigMap.
pub async fn make_sql(scene: &Scene<'_>, name: &str, files: &[(&str, &str)]) {
    let data: serde_json::Map<String, Value> =
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
    apply::<ConfigMap>(scene, name, json!({ "data": data, "immutable": true })).await;
}

/// What a Release says of its database when files of SQL migrate it.
pub fn by_sql(config_map: &str) -> Value {
    by(json!({ "sql": { "configMap": config_map } }))
}

/// What a Release says of its database.
pub fn by(what: Value) -> Value {
    let mut migration = json!({ "change": "Expand", "timeout": "60s" });
    merge(&mut migration, what);
    json!({ "database": { "name": "shop", "migration": migration } })
}

/// Asks PostgreSQL as its superuser, inside its pod.
pub async fn psql(scene: &Scene<'_>, sql: &str) -> String {
    let namespace = &scene.namespace.name;
    let inside = ["exec", "deployment/postgres", "-n", namespace, "--"];
    let output = tokio::process::Command::new("kubectl")
        .args(inside)
        .args(["psql", "-h", "/tmp", "-d", "shop", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub async fn backups(scene: &Scene<'_>) -> Vec<DatabaseBackup> {
    let api: Api<DatabaseBackup> = scene.namespace.api(&scene.namespace.cluster.admin);
    api.list(&kube::api::ListParams::default()).await.unwrap().items
}

/// Waits until a DatabaseBackup is at its end; returns it.
pub async fn until_backed_up(scene: &Scene<'_>, name: &str) -> DatabaseBackup {
    let api: Api<DatabaseBackup> = scene.namespace.api(&scene.namespace.cluster.admin);
    within(SOON * 4, "the backup is at its end", async || {
        let found = api.get(name).await.unwrap();
        let phase = found.status.as_ref().map(|status| status.phase.clone()).unwrap_or_default();
        ["Completed", "Failed"].contains(&phase.as_str()).then_some(found)
    })
    .await
}

/// Waits until a migration has begun and has not ended.
pub async fn until_it_migrates(scene: &Scene<'_>) {
    within(SOON, "the migration runs", async || {
        let began = psql(scene, "SELECT count(*) FROM switchback.ledger WHERE state = 'Started'").await;
        (began == "1").then_some(())
    })
    .await;
}

/// Waits until what became of a release stands beside its backup: nobody waits for that, so it comes after the end.
pub async fn until_recorded(scene: &Scene<'_>) -> Release {
    let is_recorded = |release: &Release| record(release).history.last().is_some_and(|entry| entry.recorded);
    scene.until("what became of it is written beside its backup", is_recorded).await
}

/// Tells everything of our kinds, for a failure.
pub async fn report(scene: &Scene<'_>) -> String {
    let namespace = &scene.namespace.name;
    let output = tokio::process::Command::new("kubectl")
        .args(["get", "databaseinstances,backupstorages,databasebackups,jobs,pods", "-n", namespace, "-o", "yaml"])
        .output()
        .await
        .unwrap();
    format!("{}\n{}", scene.report().await, String::from_utf8_lossy(&output.stdout))
}

/// Returns the names of the backups that are held by something.
pub async fn held(scene: &Scene<'_>) -> Vec<String> {
    backups(scene).await.iter().filter(|backup| !backup.finalizers().is_empty()).map(ResourceExt::name_any).collect()
}
