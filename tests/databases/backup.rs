//! The plan of a DatabaseBackup.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};
use switchback::{
    agent_job::seen::AgentJobSeen,
    api::{BackupStorage, DatabaseInstance},
    backup::{observed::Observed, plan::plan},
    release::observed::Settings,
};

use crate::{
    at,
    database::{facts, identity},
    done, failed, job, now, refused, told,
};

fn condition(status: &str, reason: &str) -> Value {
    json!([{ "type": "Ready", "status": status, "reason": reason, "message": "as it says",
        "lastTransitionTime": "2026-11-21T11:00:00Z", "observedGeneration": 2 }])
}

fn database(change: impl Fn(&mut Value)) -> Option<Arc<DatabaseInstance>> {
    let mut body = json!({
        "apiVersion": "switchback.dev/v1alpha1", "kind": "DatabaseInstance",
        "metadata": { "name": "shop", "namespace": "shop", "uid": "database", "generation": 2 },
        "spec": { "environment": "Production", "postgres": { "secret": "shop-db", "backup": "shop-db-backup" },
            "backups": { "storage": ["offsite"], "proof": "Restored" } },
        "status": { "observedGeneration": 2, "conditions": condition("True", "Reachable"), "identity": identity(Some(3)) },
    });
    change(&mut body);
    Some(Arc::new(serde_json::from_value(body).unwrap()))
}

pub fn storage(change: impl Fn(&mut Value)) -> Vec<(String, Option<Arc<BackupStorage>>)> {
    let mut body = json!({
        "apiVersion": "switchback.dev/v1alpha1", "kind": "BackupStorage",
        "metadata": { "name": "offsite", "namespace": "shop", "uid": "storage", "generation": 2 },
        "spec": { "s3": { "bucket": "backups", "prefix": "", "secret": "backup-store" } },
        "status": { "observedGeneration": 2, "conditions": condition("True", "Usable") },
    });
    change(&mut body);
    vec![("offsite".to_owned(), Some(Arc::new(serde_json::from_value(body).unwrap())))]
}

pub fn seen(change: impl FnOnce(&mut Observed)) -> Observed {
    let mut seen = Observed {
        now: now(),
        name: "nightly".into(),
        namespace: "shop".into(),
        uid: "backup".into(),
        generation: 1,
        deleting: false,
        held: false,
        release_uid: None,
        spec: serde_json::from_value(json!({ "database": "shop" })).unwrap(),
        status: Default::default(),
        jobs: vec![],
        database: database(|_| {}),
        storages: storage(|_| {}),
        settings: Settings {
            agent_image: "agent:1".into(),
            tools_image: "tools-{major}:1".into(),
            ..Settings::default()
        },
    };
    change(&mut seen);
    seen
}

pub fn running(seen: &mut Observed, attempts: i32, noted: bool) {
    seen.status.phase = "Running".into();
    seen.status.attempts = attempts;
    seen.status.started_at = Some(MicroTime(at("11:00:00")));
    seen.status.job = noted.then(|| format!("uid-of-nightly-{attempts}"));
}

fn job_of(attempt: i32) -> AgentJobSeen {
    job(&format!("nightly-{attempt}"), "backup", "backup")
}

fn result(level: &str, storages: &[&str]) -> Value {
    let copies: Vec<Value> = storages
        .iter()
        .map(|name| json!({ "storage": name, "manifest": "a/b/manifest.json", "sha256": "00" }))
        .collect();
    json!({ "done": {
        "database": facts("7000", Some(3)), "copies": copies, "sizeBytes": 4096, "tables": 12, "rows": 3456,
        "position": "0/16B3748", "takenAt": at("11:30:00"), "completedAt": at("11:31:00"),
        "proof": { "level": level, "at": at("11:32:00"), "seconds": { "fetch": 1.5, "restore": 7.2, "check": 2.1 } },
    } })
}

fn ended(seen: &mut Observed, attempts: i32, end: impl Fn(AgentJobSeen) -> AgentJobSeen) {
    running(seen, attempts, true);
    seen.jobs = vec![end(job_of(attempts))];
}

fn rows() -> Vec<(&'static str, Observed)> {
    let gave_way = refused("YieldedToDDL", "ALTER TABLE of session 77 waited for 5 s");
    vec![
        ("new, all is there", seen(|_| {})),
        ("its database is not there", seen(|seen| seen.database = None)),
        (
            "its database is being looked at",
            seen(|seen| seen.database = database(|body| body["status"] = json!({ "conditions": [] }))),
        ),
        (
            "its database is not who it was",
            seen(|seen| {
                seen.database = database(|body| body["status"]["conditions"] = condition("False", "IdentityUncertain"));
            }),
        ),
        (
            "its database is not marked",
            seen(|seen| {
                seen.database = database(|body| body["status"]["identity"]["marker"] = Value::Null);
            }),
        ),
        ("no storage is named", seen(|seen| seen.storages = vec![])),
        ("its storage is not there", seen(|seen| seen.storages = vec![("offsite".into(), None)])),
        (
            "its storage does not allow the database",
            seen(|seen| {
                seen.storages = storage(|body| body["spec"]["allowedDatabases"] = json!(["billing"]));
            }),
        ),
        (
            "its storage cannot be used",
            seen(|seen| {
                seen.storages =
                    storage(|body| body["status"]["conditions"] = condition("False", "DestinationNotWritable"));
            }),
        ),
        ("its first Job is there", seen(|seen| seen.jobs = vec![AgentJobSeen { suspended: true, ..job_of(1) }])),
        ("an attempt is remembered, by a version that made its Job afterwards", seen(|seen| running(seen, 1, false))),
        (
            "its Job is there",
            seen(|seen| {
                running(seen, 1, false);
                seen.jobs = vec![AgentJobSeen { suspended: true, ..job_of(1) }];
            }),
        ),
        (
            "its Job is remembered",
            seen(|seen| {
                running(seen, 1, true);
                seen.jobs = vec![AgentJobSeen { suspended: true, ..job_of(1) }];
            }),
        ),
        (
            "a Job of somebody else has its name",
            seen(|seen| {
                running(seen, 1, false);
                seen.jobs = vec![AgentJobSeen { owner: None, ..job_of(1) }];
            }),
        ),
        ("it runs", seen(|seen| ended(seen, 1, |job| job))),
        ("stored and proven as asked", seen(|seen| ended(seen, 1, |job| done(job, &result("Restored", &["offsite"]))))),
        ("proven less than asked", seen(|seen| ended(seen, 1, |job| done(job, &result("Readable", &["offsite"]))))),
        ("a copy is missing", seen(|seen| ended(seen, 1, |job| done(job, &result("Restored", &["elsewhere"]))))),
        ("it gave way", seen(|seen| ended(seen, 1, |job| failed(job, Some(&gave_way))))),
        ("its pod was lost", seen(|seen| ended(seen, 2, |job| failed(job, None)))),
        ("its Job was deleted", seen(|seen| running(seen, 1, true))),
        (
            "it waits for its second attempt",
            seen(|seen| {
                running(seen, 1, true);
                seen.status.retry_at = Some(MicroTime(at("12:00:20")));
            }),
        ),
        (
            "its second attempt is due",
            seen(|seen| {
                running(seen, 1, true);
                seen.status.retry_at = Some(MicroTime(at("11:59:59")));
            }),
        ),
        (
            "its credentials were refused: they may have been changed since the pod began",
            seen(|seen| {
                ended(seen, 1, |job| failed(job, Some(&refused("AuthenticationFailed", "offsite: access denied"))));
            }),
        ),
        (
            "those of another pod were refused as well",
            seen(|seen| {
                ended(seen, 2, |job| failed(job, Some(&refused("AuthenticationFailed", "offsite: access denied"))));
            }),
        ),
        (
            "the Job of its second attempt is there",
            seen(|seen| {
                running(seen, 1, true);
                seen.status.retry_at = Some(MicroTime(at("11:59:59")));
                seen.jobs = vec![AgentJobSeen { suspended: true, ..job_of(2) }];
            }),
        ),
        ("it gave way three times", seen(|seen| ended(seen, 3, |job| failed(job, Some(&gave_way))))),
        (
            "what was stored does not restore",
            seen(|seen| {
                ended(seen, 1, |job| {
                    failed(job, Some(&refused("BackupVerificationFailed", "table orders has 9 rows, not 10")))
                });
            }),
        ),
        (
            "its copies were read and not restored",
            seen(|seen| {
                let mut done = result("Readable", &["offsite"]);
                done["done"]["proof"]["seconds"] = json!({ "fetch": 1.5 });
                seen.database = database(|body| body["spec"]["backups"]["proof"] = json!("Readable"));
                ended(seen, 1, |job| self::done(job, &done));
            }),
        ),
        ("it is complete", seen(|seen| seen.status.phase = "Completed".into())),
        (
            "it is deleted while a Release holds it",
            seen(|seen| {
                seen.status.phase = "Completed".into();
                (seen.deleting, seen.held) = (true, true);
                seen.release_uid = Some("release".into());
            }),
        ),
    ]
}

#[test]
fn plan_of_a_backup() {
    let remembered = ["phase", "attempts", "job", "retryAt", "completedAt", "copies", "proof"];
    let text: Vec<String> =
        rows().iter().map(|(name, seen)| format!("{name}\n{}", told(&plan(seen), &remembered))).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn input_24_a_storage_that_refuses_credentials_is_tried_once_more_with_what_the_secret_holds_by_then() {
    let after = |attempt: i32| {
        let refusal = refused("AuthenticationFailed", "offsite: access denied");
        plan(&seen(|seen| ended(seen, attempt, |job| failed(job, Some(&refusal))))).status
    };
    // By another pod: one that runs has what was mounted when it began.
    let first = after(1);
    assert!(first.retry_at.is_some() && first.completed_at.is_none(), "{first:?}");
    let second = after(2);
    assert!(second.retry_at.is_none() && second.completed_at.is_some(), "{second:?}");
}
