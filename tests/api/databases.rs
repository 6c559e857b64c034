//! The schema of databases, storages and backups, and who may write them.

use kube::api::DeleteParams;
use serde_json::{Value, json};
use switchback::api::{BackupStorage, DatabaseBackup, DatabaseInstance};

use crate::{
    schema::{Demand, OUR_LABELS, all_demands, changed, jobs, try_job_labels, try_patterns},
    support::{Namespace, assert_refused, in_namespace},
};

const CHOICE: &str = "name exactly one of s3 and volume";
const IMMUTABLE: &str = "a DatabaseBackup cannot be changed: create another one";

/// Each kind with a value at every place that a rule or pattern is about.
fn database() -> Value {
    let keys =
        json!({ "host": "h", "port": "p", "dbname": "d", "username": "u", "password": "w", "sslmode": "s", "ca": "c" });
    json!({
        "metadata": { "name": "shop" },
        "spec": {
            "environment": "Production",
            "postgres": {
                "secret": "shop-db", "keys": keys, "caSecret": "ca", "backup": "b", "migrate": "m", "admin": "a",
            },
            "capacity": "200Gi",
            "backups": { "storage": ["offsite"], "proof": "Restored", "yieldToDDL": true },
            "scratch": { "storageClassName": "fast", "size": "20Gi" },
            "tools": { "image": "registry.example.com/postgres-tools:15" },
            "adoptIdentity": "7000/16384/shop/none",
            "jobs": jobs(),
        },
    })
}

fn bucket() -> Value {
    json!({
        "metadata": { "name": "offsite" },
        "spec": {
            "s3": { "bucket": "backups", "prefix": "shop", "endpoint": "https://s3.example.com", "region": "eu", "secret": "keys" },
            "allowedDatabases": ["shop"],
            "jobs": jobs(),
        },
    })
}

fn volume() -> Value {
    json!({ "metadata": { "name": "disk" }, "spec": { "volume": { "claim": "disk", "path": "backups" } } })
}

fn backup() -> Value {
    json!({ "metadata": { "name": "now" }, "spec": { "database": "shop", "storage": ["offsite"], "proof": "Readable" } })
}

#[tokio::test]
async fn input_04_and_input_50_every_pattern_of_databases_accepts_and_refuses() {
    in_namespace("schema", async |namespace| {
        try_patterns::<DatabaseInstance>(namespace, "DatabaseInstance", database()).await;
        try_patterns::<DatabaseBackup>(namespace, "DatabaseBackup", backup()).await;
        try_patterns::<BackupStorage>(namespace, "BackupStorage", bucket()).await;
    })
    .await;
}

#[tokio::test]
async fn every_rule_of_databases_accepts_and_refuses() {
    in_namespace("schema", async |namespace| {
        for kind in ["DatabaseInstance", "BackupStorage", "DatabaseBackup"] {
            for (place, demand) in all_demands(kind) {
                let Demand::Rule(message) = demand else { continue };
                assert!(
                    [CHOICE, IMMUTABLE, OUR_LABELS].contains(&message.as_str()),
                    "no examples of {message:?} at {place}"
                );
            }
        }
        let admin = &namespace.cluster.admin;
        for good in [bucket(), volume()] {
            namespace.try_make::<BackupStorage>(admin, &good).await.unwrap();
        }
        try_job_labels::<BackupStorage>(namespace, &bucket()).await;
        try_job_labels::<DatabaseInstance>(namespace, &database()).await;
        let both = changed(bucket(), &[("/spec/volume", json!({ "claim": "disk" }))]);
        assert_refused(namespace.try_make::<BackupStorage>(admin, &both).await, CHOICE);
        let neither = json!({ "metadata": { "name": "nowhere" }, "spec": {} });
        assert_refused(namespace.try_make::<BackupStorage>(admin, &neither).await, CHOICE);
        namespace.make::<DatabaseBackup>(admin, &backup()).await.unwrap();
        let other = json!({ "spec": { "proof": "Stored" } });
        assert_refused(namespace.patch::<DatabaseBackup>(admin, "now", other).await, IMMUTABLE);
        let labelled = json!({ "metadata": { "labels": { "team": "shop" } } });
        namespace.patch::<DatabaseBackup>(admin, "now", labelled).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn input_01_02_and_25_what_is_wrong_with_a_database_is_named() {
    in_namespace("schema", async |namespace| {
        let admin = &namespace.cluster.admin;
        let many = |count: usize| Value::Array(vec!["offsite".into(); count]);
        let table: [(&str, Value, &str); 11] = [
            ("/spec", json!({}), "spec.environment: Required value"),
            ("/spec/environment", json!("Test"), r#"supported values: "Development", "Staging", "Production""#),
            ("/spec/postgres/secret", Value::Null, "spec.postgres.secret: Required value"),
            ("/spec/postgres/url", json!("postgres://shop:secret@db/shop"), r#"unknown field "spec.postgres.url""#),
            ("/spec/postgres/password", json!("secret"), r#"unknown field "spec.postgres.password""#),
            ("/spec/postgres/secret", json!("postgres://shop:secret@db/shop"), "spec.postgres.secret: Invalid value"),
            ("/spec/backups/storage", json!([]), "should have at least 1 items"),
            ("/spec/backups/storage", many(5), "must have at most 4 items"),
            ("/spec/backups/proof", json!("Hoped"), r#"supported values: "Stored", "Readable", "Restored""#),
            ("/spec/schedule", json!("0 3 * * *"), r#"unknown field "spec.schedule""#),
            ("/spec/postgres/keys/host", "x".repeat(254).into(), "may not be more than 253"),
        ];
        for (place, value, words) in table {
            assert_refused(
                namespace.try_make::<DatabaseInstance>(admin, &changed(database(), &[(place, value)])).await,
                words,
            );
        }
        let table: [(&str, Value, &str); 3] = [
            ("/spec/s3/accessKeyId", json!("AKIA"), r#"unknown field "spec.s3.accessKeyId""#),
            ("/spec/s3/bucket", json!("ab"), "spec.s3.bucket: Invalid value"),
            ("/spec/s3/prefix", "x".repeat(257).into(), "may not be more than 256"),
        ];
        for (place, value, words) in table {
            assert_refused(
                namespace.try_make::<BackupStorage>(admin, &changed(bucket(), &[(place, value)])).await,
                words,
            );
        }
    })
    .await;
}

async fn says_that_nobody_looked<K>(namespace: &Namespace, body: &Value)
where
    K: kube::Resource<DynamicType = ()>,
{
    let made = namespace.make::<K>(&namespace.cluster.admin, body).await.unwrap();
    assert_eq!(made.data["status"]["observedGeneration"], -1, "{}", K::kind(&()));
}

#[tokio::test]
async fn new_databases_storages_and_backups_say_that_nobody_has_looked_at_them() {
    in_namespace("schema", async |namespace| {
        says_that_nobody_looked::<DatabaseInstance>(namespace, &database()).await;
        says_that_nobody_looked::<BackupStorage>(namespace, &bucket()).await;
        says_that_nobody_looked::<DatabaseBackup>(namespace, &backup()).await;
        // The shortest of each, with its defaults, are read and written again as the server stores them.
        let admin = &namespace.cluster.admin;
        let short = json!({ "metadata": { "name": "short" }, "spec": { "environment": "Development",
            "postgres": { "secret": "db" }, "backups": { "storage": ["offsite"] } } });
        let made = namespace.make::<DatabaseInstance>(admin, &short).await.unwrap();
        assert_eq!(made.data["spec"]["backups"]["proof"], "Restored");
        assert_eq!(made.data["spec"]["backups"]["yieldToDDL"], true);
        let read: DatabaseInstance = namespace.api(admin).get("short").await.unwrap();
        assert_eq!(serde_json::to_value(&read.spec).unwrap(), made.data["spec"]);
        namespace.api::<DatabaseInstance>(admin).delete("short", &DeleteParams::default()).await.unwrap();
    })
    .await;
}
