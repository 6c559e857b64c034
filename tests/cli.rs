//! What people read from the plugin: pages and error texts, as snapshots that read like documentation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::core::Status;
use serde_json::{Value, json};
use switchback::{
    api::{
        ActiveRevision, CandidateRevision, ConditionType, ContractRecord, DatabaseRecord, DecidedBy, DecisionRecord,
        Ending, FailureRecord, Gate, HistoryEntry, MigrationProgress, MigrationRecord, Outcome, PlanRecord,
        PlannedStep, PreviousRevision, ProofLevel, Reason, Record, Release, ReleaseSpec, ReleaseStatus, Scope, Source,
        Step, Suspension, TrafficRecord, WayBackPoint, Withdrawal, set_condition,
    },
    cli::{
        abort, approve,
        decide::Proposal,
        expedite,
        follow::differences,
        look::{Change, Kind, Objects},
        plan,
        problem::{Exit, Problem},
        promote, reject, retry, rollback,
        show::{Page, yaml},
        style::Style,
        suspend,
        text::{self, Detail},
        view::{ListView, PlanView, ReleaseView, Summary, unreadable},
    },
    error::Error,
    protocol::{
        Answer, BackupResult, CheckResult, CheckVerdict, DatabaseFacts, Finding, Identity, InspectResult,
        MigrateResult, MigrationState, ProofResult, Refusal, RehearseResult, StorageFacts, Word,
    },
    release::{
        observed::{Observed, ReleaseSeen},
        plan::forecast,
        plan_text,
    },
};

const UID: &str = "757958d0-b1f5-4068-86cc-0b9202d263db";
const ICONS: Style = Style { icons: true, colours: false, width: 100 };
const ASCII: Style = Style { icons: false, colours: false, width: 100 };
const DIGEST: &str = "sha256:9cce1962ca5de4345bd8cd6d7fb5986732fa2dd176d4e47db2736d49bdf89fe2";

fn ago(seconds: i64) -> Timestamp {
    let now: Timestamp = "2026-11-21T15:00:00Z".parse().unwrap();
    now - SignedDuration::from_secs(seconds)
}

fn micro(seconds: i64) -> MicroTime {
    MicroTime(ago(seconds))
}

fn spec(version: &str) -> ReleaseSpec {
    serde_json::from_value(json!({
        "version": version,
        "notes": "Adds delivery slots.",
        "source": { "repository": "https://git.example.com/shop", "commit": "0f3c2d1" },
        "workloads": [{
            "name": "web",
            "replicas": 3,
            "services": [{ "name": "shop", "spec": { "ports": [{ "port": 80, "targetPort": 8080 }] } }],
            "template": { "spec": { "containers": [{
                "name": "web",
                "image": format!("registry.example.com/shop:{version}"),
                "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 } },
            }] } }
        }],
        "checks": [{ "name": "home", "phase": "Verify", "http": { "service": "shop" } }],
    }))
    .unwrap()
}

fn digits(version: &str) -> String {
    spec(version).revision().digits().to_owned()
}

/// A Release in namespace prod, with what its controller says of it.
fn release(version: &str, record: Record, told: &[(ConditionType, Option<bool>, Reason, &str)]) -> Release {
    let mut release = Release::new("shop", spec(version));
    release.metadata = serde_json::from_value(json!({
        "name": "shop", "namespace": "prod", "uid": UID, "generation": 4, "creationTimestamp": ago(90_000),
    }))
    .unwrap();
    let mut conditions = vec![];
    for (type_, status, reason, message) in told {
        set_condition(&mut conditions, (*type_, *status, *reason), message, (4, ago(10)));
    }
    release.status = Some(ReleaseStatus { observed_generation: 4, conditions, record });
    release
}

fn active(version: &str, seconds: i64) -> Option<ActiveRevision> {
    let revision = spec(version).revision();
    Some(ActiveRevision {
        revision,
        version: version.into(),
        attempt: 7,
        generation: 3,
        since: micro(seconds),
        content: None,
        approved_by: vec![],
    })
}

fn candidate(version: &str, seconds: i64) -> Option<CandidateRevision> {
    let revision = spec(version).revision();
    Some(CandidateRevision {
        revision,
        version: version.into(),
        attempt: 8,
        generation: 4,
        since: micro(seconds),
        content: None,
        approved_by: vec![],
        source: None,
        images: vec![],
        rollback: None,
        contract: false,
        backup: None,
        beside_broken: false,
    })
}

fn entry(attempt: i64, version: &str, outcome: Outcome, message: &str) -> HistoryEntry {
    HistoryEntry {
        attempt,
        generation: attempt,
        revision: spec(version).revision(),
        version: version.into(),
        outcome,
        reason: Reason::Released.as_str().into(),
        message: message.into(),
        contract: false,
        digest: Some(DIGEST.into()),
        decisions: vec![DecidedBy {
            kind: "approve".into(),
            actor: "anna@example.com".into(),
            decision: "shop-approve-x7k2p".into(),
            at: micro(86_400 * (9 - attempt) + 290),
        }],
        source: Some(Source { repository: None, commit: Some("3f0c9c1f".into()) }),
        backup: None,
        recorded: false,
        steps: vec![],
        content: None,
        started_at: micro(86_400 * (9 - attempt) + 300),
        ended_at: micro(86_400 * (9 - attempt)),
    }
}

/// An attempt to bring 2.4.0 in place of 2.3.0, begun ten minutes ago.
fn attempt(step: Step) -> Record {
    Record {
        active: active("2.3.0", 80_000),
        candidate: candidate("2.4.0", 600),
        step,
        step_since: Some(micro(130)),
        plan: Some(plan_record(DIGEST)),
        history: vec![entry(7, "2.3.0", Outcome::Succeeded, "2.3.0 serves and passed its watch window.")],
        ..Record::default()
    }
}

fn plan_record(digest: &str) -> PlanRecord {
    let took = |step| (step == Step::Deploy).then_some(switchback::api::Duration::from_millis(41_300));
    let step = |step, does: &str| PlannedStep { step, does: does.to_owned(), expected: took(step) };
    let back = |after, scope, loses: &str| WayBackPoint { after, scope, loses: loses.to_owned() };
    PlanRecord {
        digest: digest.to_owned(),
        revision: spec("2.4.0").revision(),
        steps: vec![
            step(Step::Preflight, "Inspects again and makes missing Services (shop), which select nothing yet."),
            step(Step::Deploy, "Brings web x 3 (registry.example.com/shop:2.4.0) up, beside 2.3.0."),
            step(Step::Verify, "Runs home against the preview Services; each must pass."),
            step(
                Step::Switch,
                "Moves shop from 2.3.0 to 2.4.0 by one write each, waits until the endpoints have followed and 5s \
                 more. Connections that are kept alive stay where they are until their pods end.",
            ),
            step(Step::Watch, "Watches for 15m: traffic goes back to 2.3.0 at once below 50 % ready pods."),
            step(Step::Retire, "2.3.0 drains and is scaled to zero; its Deployments are kept for 24h."),
        ],
        way_back: vec![
            back(Step::Verify, Scope::Full, "nothing: no traffic has moved"),
            back(Step::Watch, Scope::Full, "nothing of ours; what the new version wrote elsewhere stays"),
            back(Step::Retire, Scope::ForwardOnly, "the former version no longer runs"),
        ],
        risks: vec!["Workload web: container web has no preStop hook.".to_owned()],
        statements: vec![],
        unmet: vec!["One approval by somebody who holds the verb `approve` on this Release.".to_owned()],
    }
}

fn approved(mut record: Record) -> Record {
    if let Some(candidate) = &mut record.candidate {
        candidate.approved_by = vec!["anna@example.com".into()];
    }
    let decision = DecisionRecord {
        name: "shop-approve-x7k2p".into(),
        uid: "d-1".into(),
        kind: "approve".into(),
        actor: "anna@example.com".into(),
        digest: Some(DIGEST.into()),
        gate: None,
        at: micro(200),
    };
    Record { decisions: vec![decision], ..record }
}

/// The objects of a Release, as the API server sends them.
#[derive(Default)]
struct Cluster(Objects);

impl Cluster {
    fn add(mut self, kind: Kind, (name, role, digits, seconds): (&str, &str, &str, i64), mut rest: Value) -> Self {
        rest["apiVersion"] = "v1".into();
        rest["kind"] = format!("{kind:?}").trim_start_matches("Backup").into();
        rest["metadata"] = json!({
            "name": name, "namespace": "prod", "uid": name, "creationTimestamp": ago(seconds), "generation": 1,
            "labels": {
                "switchback.dev/release-uid": UID,
                "switchback.dev/role": role,
                "switchback.dev/revision": digits,
                "switchback.dev/workload": if role == "workload" { "web" } else { "" },
                "kubernetes.io/service-name": rest["service"],
                "switchback.dev/verb": rest["verb"],
                "switchback.dev/backup-uid": rest["backup"],
            },
            "annotations": { "switchback.dev/version": rest["version"] },
            "ownerReferences": rest["owners"].as_array().cloned().unwrap_or_default(),
        });
        for key in ["service", "version", "owners", "verb", "backup"] {
            rest.as_object_mut().unwrap().remove(key);
        }
        let metadata = &mut rest["metadata"];
        for map in ["labels", "annotations"] {
            metadata[map].as_object_mut().unwrap().retain(|_, value| !value.is_null() && value != "");
        }
        self.0.take(Change::Object(kind, Box::new(serde_json::from_value(rest).unwrap())));
        self
    }

    /// A Deployment of a version with its pods; each pod by what it says.
    fn deployment(self, (version, seconds): (&str, i64), wanted: i64, pods: &[Value]) -> Self {
        let digits = digits(version);
        let ready = pods.iter().filter(|pod| pod["ready"] == true).count();
        let name = format!("shop-web-{digits}");
        let rest = json!({
            "version": version,
            "spec": { "replicas": wanted },
            "status": { "observedGeneration": 1, "replicas": pods.len(), "availableReplicas": ready },
        });
        let mut cluster = self.add(Kind::Deployment, (&name, "workload", &digits, seconds), rest);
        for (index, pod) in pods.iter().enumerate() {
            let status = json!({
                "phase": "Running",
                "conditions": [{ "type": "Ready", "status": if pod["ready"] == true { "True" } else { "False" } }],
                "containerStatuses": pod["containers"],
            });
            let name = format!("{name}-5d9f-{index}");
            let rest = json!({ "spec": { "nodeName": "node-1" }, "status": status });
            cluster = cluster.add(Kind::Pod, (&name, "workload", &digits, seconds), rest);
        }
        cluster
    }

    /// The autoscaler of a version's Deployment.
    fn autoscaler(self, version: &str, status: Value) -> Self {
        let digits = digits(version);
        let rest = json!({ "spec": { "minReplicas": 2, "maxReplicas": 8 }, "status": status });
        self.add(Kind::HorizontalPodAutoscaler, (&format!("shop-web-{digits}"), "workload", &digits, 90), rest)
    }

    fn service(self, name: &str, version: &str, ready: usize) -> Self {
        let digits = digits(version);
        let role = if name.ends_with("-preview") { "preview" } else { "active" };
        let endpoints: Vec<Value> = (0..ready)
            .map(|index| {
                json!({ "conditions": { "ready": true }, "targetRef": { "name": format!("shop-web-{digits}-5d9f-{index}") } })
            })
            .collect();
        let rest = json!({ "spec": { "selector": { "switchback.dev/revision": digits } } });
        let cluster = self.add(Kind::Service, (name, role, "", 80_000), rest);
        let rest = json!({ "service": name, "endpoints": endpoints });
        cluster.add(Kind::EndpointSlice, (&format!("{name}-1"), role, "", 80_000), rest)
    }

    /// A Job of the agent on the database, with its pod, which runs or has left its word: in the form that it has.
    fn database_job<W: Word + Clone>(self, (name, seconds): (&str, i64), said: Option<W>) -> Self {
        let (digits, verb) = (digits("2.4.0"), W::VERB);
        let kinds = if verb == "backup" { (Kind::BackupJob, Kind::BackupPod) } else { (Kind::Job, Kind::Pod) };
        let backup = if verb == "backup" { json!(BACKUP) } else { Value::Null };
        let done = said.is_some();
        let refused = said.clone().and_then(Word::refusal).is_some();
        let why = json!({ "type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "exit code 1" });
        let conditions = match (done, refused) {
            (false, _) => json!([]),
            (true, false) => json!([{ "type": "Complete", "status": "True" }]),
            (true, true) => json!([why]),
        };
        let rest = json!({ "verb": verb, "backup": backup, "status": { "conditions": conditions } });
        let cluster = self.add(kinds.0, (name, "database", &digits, seconds), rest);
        let state = match said {
            Some(said) => {
                let message = serde_json::to_string(&said).unwrap();
                let (code, reason) = if refused { (1, "Error") } else { (0, "Completed") };
                json!({ "terminated": { "exitCode": code, "reason": reason, "message": message } })
            }
            None => json!({ "running": {} }),
        };
        let rest = json!({
            "verb": verb,
            "backup": backup,
            "owners": [{ "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": name, "controller": true }],
            "status": {
                "phase": if refused { "Failed" } else if done { "Succeeded" } else { "Running" },
                "containerStatuses": [{ "name": "agent", "restartCount": 0, "state": state }],
            },
        });
        cluster.add(kinds.1, (&format!("{name}-k2x9"), "database", &digits, seconds), rest)
    }

    /// The DatabaseBackup of the attempt.
    fn backup(self, phase: &str, message: &str, rest: Value) -> Self {
        let complete = json!({ "type": "Complete", "status": if phase == "Completed" { "True" } else { "False" } });
        let condition = |type_: &str, mut condition: Value| {
            condition["type"] = type_.into();
            condition["reason"] = "BackingUp".into();
            condition["message"] = message.into();
            condition["lastTransitionTime"] = json!(ago(400));
            condition["observedGeneration"] = 1.into();
            condition
        };
        let standing = match phase {
            "Failed" => json!({ "type": "Stalled", "status": "True" }),
            _ => json!({ "type": "Reconciling", "status": "True" }),
        };
        let mut conditions = vec![condition("Ready", json!({ "status": "Unknown" })), condition("Complete", complete)];
        if phase != "Completed" {
            let type_ = standing["type"].as_str().unwrap().to_owned();
            conditions.push(condition(&type_, standing));
        }
        let mut status = json!({ "observedGeneration": 1, "phase": phase, "attempts": 1, "conditions": conditions });
        status.as_object_mut().unwrap().extend(rest.as_object().cloned().unwrap());
        let spec = json!({ "database": "shop", "storage": ["offsite"], "proof": "Restored" });
        self.add(Kind::DatabaseBackup, (BACKUP, "database", "", 420), json!({ "spec": spec, "status": status }))
    }

    fn page(&self, release: Release, style: Style, detail: Detail) -> String {
        text::release(&ReleaseView::of(&self.0.seen(release, ago(0))), style, detail)
    }
}

const BACKUP: &str = "shop-757958d0-8";

/// What a backup has to show that is complete.
fn taken() -> Value {
    let key = "shop/5c6e2f4e-6d0f-4a9d-9a9e-0b8a4b6f8f10/20261121T145318Z-8d8b6d9e/1/manifest.json";
    json!({
        "takenAt": ago(402),
        "sizeBytes": 412_345,
        "tables": 2,
        "rows": 12_041,
        "copies": [{ "storage": "offsite", "manifest": { "key": key, "sha256": "9c".repeat(32) } }],
        "proof": { "level": "Restored", "at": ago(390), "seconds": { "fetch": 0.21, "restore": 1.04, "check": 0.32 } },
    })
}

/// An attempt on a database, as far as its record tells.
fn with_database(step: Step) -> Record {
    let database = json!({
        "name": "shop", "uid": "i-1", "fingerprint": "7412/16385/shop/5c6e2f4e-6d0f-4a9d-9a9e-0b8a4b6f8f10",
        "endpoint": "postgres.prod.svc:5432", "serverVersion": "15.18", "sizeBytes": 7_300_000,
        "environment": "Production", "storages": ["offsite"], "pending": { "checksum": "" },
    });
    Record { database: Some(serde_json::from_value(database).unwrap()), ..approved(attempt(step)) }
}

fn migrated(state: MigrationProgress) -> Option<MigrationRecord> {
    let revision = spec("2.4.0").revision();
    let ended_at = Some(micro(380)).filter(|_| state != MigrationProgress::Started);
    Some(MigrationRecord {
        revision,
        state,
        attempt: 1,
        job: "shop-8-migrate-1".into(),
        ended_at,
        undo: None,
        restore: None,
    })
}

fn facts() -> DatabaseFacts {
    let identity = Identity { system_identifier: "7412".into(), oid: 16_385, name: "shop".into(), marker: None };
    DatabaseFacts {
        identity,
        endpoint: "postgres.prod.svc:5432".into(),
        certificate: None,
        server_version: "15.18".into(),
        size_bytes: 7_300_000,
    }
}

fn looked() -> InspectResult {
    InspectResult {
        database: Some(Answer::Done(facts())),
        storages: vec![StorageFacts { name: "offsite".into(), problem: None }],
        migration: None,
        schema: None,
    }
}

fn backed_up() -> Answer<BackupResult> {
    Answer::Done(BackupResult {
        database: facts(),
        copies: vec![],
        size_bytes: 412_345,
        tables: 2,
        rows: 12_041,
        position: "0/1".into(),
        schema: String::new(),
        taken_at: ago(402),
        completed_at: ago(390),
        proof: ProofResult { level: ProofLevel::Restored, at: ago(390), seconds: None },
    })
}

/// What a migration leaves that took so many seconds for so many files.
fn came(state: MigrationState, (files, seconds): (u32, f64), problem: Option<Refusal>) -> Answer<MigrateResult> {
    Answer::Done(MigrateResult { state, problem, database: Some(facts()), began_at: None, files, seconds })
}

fn refusal(message: &str) -> Refusal {
    Refusal { reason: Reason::MigrationFailed, message: message.into() }
}

#[test]
fn get_backing_up() {
    let message = "A backup of shop is taken into offsite and proven.";
    let told = working(Reason::BackingUp, "DatabaseBackup shop-757958d0-8: a backup is taken into offsite and proven.");
    let cluster = served()
        .database_job(("shop-8-preflight-0", 430), Some(looked()))
        .backup("Running", message, json!({}))
        .database_job(("shop-757958d0-8-1", 418), None::<Answer<BackupResult>>);
    snapshot("backing_up", &release("2.4.0", with_database(Step::Backup), &told), &cluster);
}

#[test]
fn get_migrated() {
    let record = Record { migration: migrated(MigrationProgress::Applied), ..with_database(Step::Deploy) };
    let told = working(Reason::Deploying, "0 of 3 pods of web are available.");
    let applied = came(MigrationState::Applied, (0, 0.42), None);
    let cluster = served()
        .database_job(("shop-8-preflight-0", 430), Some(looked()))
        .backup("Completed", "Backed up and restored.", taken())
        .database_job(("shop-757958d0-8-1", 418), Some(backed_up()))
        .database_job(("shop-8-migrate-1", 385), Some(applied))
        .deployment(("2.4.0", 100), 3, &[]);
    let release = release("2.4.0", record, &told);
    snapshot("migrated", &release, &cluster);
    insta::assert_snapshot!("migrated_brief", cluster.page(release.clone(), ICONS, Detail::Brief));
    let view = ReleaseView::of(&cluster.0.seen(release, ago(0)));
    insta::assert_snapshot!("migrated_yaml", yaml(&(view.database, view.backup, view.migration)).unwrap());
}

#[test]
fn get_migration_failed() {
    let cause = "statement 2 of 002_slots.sql: ERROR: column \"slot\" of relation \"orders\" already exists";
    let result = came(MigrationState::Failed, (1, 0.12), Some(refusal(cause)));
    let message = format!("{cause}. What its files or its tool had committed before stays. {AFTER}");
    let mut record = ended(Outcome::Failed, Reason::MigrationFailed, cause);
    record.migration = migrated(MigrationProgress::Failed);
    record.database = with_database(Step::Idle).database;
    let cluster = served()
        .backup("Completed", "Backed up and restored.", taken())
        .database_job(("shop-8-migrate-1", 385), Some(result));
    snapshot("migration_failed", &release("2.4.0", record, &stalled(Reason::MigrationFailed, &message)), &cluster);
}

#[test]
fn get_a_migration_that_was_refused_before_it_began() {
    let mut record = ended(Outcome::Failed, Reason::DatabaseBusy, "somebody else holds the lock");
    record.migration = migrated(MigrationProgress::NotStarted);
    record.database = with_database(Step::Idle).database;
    let message = "Database shop: another migration holds the lock".to_owned();
    let word: Answer<MigrateResult> = Answer::Refused(Refusal { reason: Reason::DatabaseBusy, message });
    let release = release("2.4.0", record, &stalled(Reason::DatabaseBusy, "somebody else holds the lock"));
    let cluster = served().database_job(("shop-8-migrate-1", 385), Some(word));
    let view = ReleaseView::of(&cluster.0.seen(release, ago(0)));
    let migration = view.migration.unwrap();
    assert_eq!(migration.message.unwrap(), "DatabaseBusy: Database shop: another migration holds the lock");
    assert_eq!(migration.jobs[0].problem.as_deref(), Some("Database shop: another migration holds the lock"));
}

#[test]
fn get_with_a_backup_that_may_not_be_read() {
    let backup = json!({
        "name": BACKUP, "uid": "b-1", "manifest": "shop/5c6e2f4e/1/manifest.json", "proof": "Restored", "takenAt": ago(402),
    });
    let record = Record { backup: Some(serde_json::from_value(backup).unwrap()), ..with_database(Step::Deploy) };
    let mut cluster = served();
    cluster.0.take(Change::Problem(Kind::DatabaseBackup, "cannot list databasebackups: forbidden".into()));
    let told = working(Reason::Deploying, "0 of 3 pods of web are available.");
    let page = cluster.page(release("2.4.0", record, &told), Style::PLAIN, Detail::Normal);
    insta::assert_snapshot!(page);
}

/// What a rehearsal has found.
fn rehearsed(reaches_production: bool) -> Value {
    json!({
        "revision": spec("2.4.0").revision(), "backup": "b-1", "at": micro(390), "recovery": "3s200ms", "took": "2s400ms",
        "files": [{ "name": "002_slots.sql", "took": "2s400ms" }],
        "locks": [{ "table": "orders", "mode": "AccessExclusiveLock", "held": "2s300ms" }],
        "rewritten": ["orders"], "rows": 500, "changes": 1, "reachesProduction": reaches_production,
    })
}

/// A release of a workload that is scaled by itself, with hooks and a rehearsed migration.
fn scaled() -> (Record, Release) {
    let hooks = json!([
        { "name": "flag-on", "when": "Switch", "at": micro(60) },
        { "name": "dns", "when": "SwitchBack", "problem": "exit code 1: no such zone", "at": micro(20) },
    ]);
    let mut record = Record { migration: migrated(MigrationProgress::Applied), ..with_database(Step::CleanUp) };
    record.rehearsal = Some(serde_json::from_value(rehearsed(false)).unwrap());
    record.hooks = serde_json::from_value(hooks).unwrap();
    let mut release = release("2.4.0", record.clone(), &working(Reason::CleaningUp, "Removing what 2.4.0 has left."));
    release.spec.workloads[0].autoscaling =
        serde_json::from_value(json!({ "min": 2, "max": 8, "targetCPU": 70 })).unwrap();
    (record, release)
}

#[test]
fn get_with_autoscalers_hooks_and_a_rehearsal() {
    let cannot = json!({ "type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric",
        "message": "the HPA was unable to compute the replica count: no metrics returned from resource metrics API" });
    let cluster = served()
        .deployment(("2.4.0", 100), 3, &[ready(), ready(), ready()])
        .autoscaler("2.3.0", json!({ "desiredReplicas": 3 }))
        .autoscaler("2.4.0", json!({ "desiredReplicas": 3, "conditions": [cannot] }));
    let (_, release) = scaled();
    snapshot("scaled", &release, &cluster);
    let view = ReleaseView::of(&cluster.0.seen(release.clone(), ago(0)));
    let scaled: Vec<_> = view.revisions.iter().map(|revision| &revision.autoscalers).collect();
    insta::assert_snapshot!("scaled_yaml", yaml(&(scaled, &view.hooks, &view.rehearsal)).unwrap());
    // Who may not see autoscalers is told where there are some to be missed.
    let mut blind = served();
    blind
        .0
        .take(Change::Problem(Kind::HorizontalPodAutoscaler, "cannot list horizontalpodautoscalers: forbidden".into()));
    assert!(blind.page(release, Style::PLAIN, Detail::Normal).contains("cannot list horizontalpodautoscalers"));
    assert!(!blind.page(waiting(), Style::PLAIN, Detail::Normal).contains("autoscalers"));
}

#[test]
fn get_with_a_rehearsal_that_failed() {
    let (mut record, _) = scaled();
    record.step = Step::Rehearse;
    record.migration = None;
    // Of an earlier attempt: the Job is the newer word.
    let refused: Answer<RehearseResult> = Answer::Refused(refusal("002_slots.sql:1: column \"slot\" already exists"));
    let cluster = served().database_job(("shop-8-rehearse", 200), Some(refused));
    let release = release("2.4.0", record, &working(Reason::Rehearsing, "Waiting for Job shop-8-rehearse."));
    let page = cluster.page(release, Style::PLAIN, Detail::Normal);
    insta::assert_snapshot!("rehearsal_failed", page);
}

fn ready() -> Value {
    json!({ "ready": true, "containers": [{ "name": "web", "restartCount": 0, "state": {} }] })
}

fn crashed() -> Value {
    let ended = json!({ "exitCode": 2, "reason": "Error", "message": "READY_AFTER is no number" });
    let back_off = "back-off 40s restarting failed container=web pod=shop-web-5d9f-1_prod(5968de21)";
    json!({ "ready": false, "containers": [{
        "name": "web",
        "restartCount": 3,
        "state": { "waiting": { "reason": "CrashLoopBackOff", "message": back_off } },
        "lastState": { "terminated": ended },
    }] })
}

fn both(style: Style) -> &'static str {
    if style.icons { "icons" } else { "ascii" }
}

/// What one page looks like on a terminal and in a file.
fn snapshot(name: &str, release: &Release, cluster: &Cluster) {
    for style in [Style::PLAIN, ICONS] {
        insta::assert_snapshot!(
            format!("{name}_{}", both(style)),
            cluster.page(release.clone(), style, Detail::Normal)
        );
    }
}

fn served() -> Cluster {
    Cluster::default().deployment(("2.3.0", 80_000), 3, &[ready(), ready(), ready()]).service("shop", "2.3.0", 3)
}

const SERVES: (ConditionType, Option<bool>, Reason, &str) =
    (ConditionType::Serving, Some(true), Reason::Released, "2.3.0 serves users.");

fn working(reason: Reason, message: &str) -> [(ConditionType, Option<bool>, Reason, &str); 3] {
    [(ConditionType::Ready, None, reason, message), (ConditionType::Reconciling, Some(true), reason, message), SERVES]
}

fn waiting() -> Release {
    let message = format!(
        "The plan for 2.4.0 is ready and nothing has happened yet: {}. Read it: kubectl switchback plan shop. Next: kubectl \
         switchback approve shop, or reject shop.",
        switchback::release::plan_text::brief(&plan_record(DIGEST))
    );
    release("2.4.0", attempt(Step::Approve), &working(Reason::WaitingForApproval, &message))
}

#[test]
fn get_waiting_for_approval() {
    snapshot("waiting_for_approval", &waiting(), &served());
}

#[test]
fn get_deploy_with_a_crash_cause() {
    let record = Record { deadline: Some(MicroTime(ago(-470))), ..approved(attempt(Step::Deploy)) };
    let told = working(Reason::Deploying, "1 of 3 pods of web are available (container web ended with exit code 2).");
    let cluster = served()
        .deployment(("2.4.0", 130), 3, &[ready(), crashed(), json!({ "ready": false, "containers": [] })])
        .service("shop-preview", "2.4.0", 1);
    snapshot("deploy_with_a_crash", &release("2.4.0", record, &told), &cluster);
}

#[test]
fn get_watching() {
    let traffic = TrafficRecord {
        pods_before: None,
        service: "shop".into(),
        revision: Some(spec("2.4.0").revision()),
        pods: 3,
        switched_at: Some(micro(140)),
        settled_at: Some(micro(130)),
    };
    let record = approved(attempt(Step::Watch));
    let record = Record { deadline: Some(MicroTime(ago(-770))), traffic: vec![traffic], ..record };
    let mut told = working(Reason::Watching, "2.4.0 serves and is watched until 15:12:50 UTC.");
    told[2].3 = "2.4.0 serves users.";
    let (name, detail) = ("home".to_owned(), "200".to_owned());
    let home = CheckVerdict { name, passed: Finding::Yes, detail, requests: 1, failures: 0 };
    let verdict = serde_json::to_string(&CheckResult { checks: vec![home] }).unwrap();
    let job =
        json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": "shop-8-verify", "uid": "j", "controller": true }]);
    let agent = json!({ "name": "agent", "restartCount": 0, "state": { "terminated": {
        "exitCode": 0, "reason": "Completed", "message": verdict,
    } } });
    let done = json!({ "conditions": [{ "type": "Complete", "status": "True" }] });
    let digits = digits("2.4.0");
    let cluster = Cluster::default()
        .deployment(("2.3.0", 80_000), 3, &[ready(), ready(), ready()])
        .deployment(("2.4.0", 400), 3, &[ready(), ready(), ready()])
        .service("shop", "2.4.0", 3)
        .service("shop-preview", "2.4.0", 3)
        .add(Kind::Job, ("shop-8-verify", "check", &digits, 200), json!({ "status": done }))
        .add(
            Kind::Pod,
            ("shop-8-verify-k2x9", "check", &digits, 200),
            json!({ "owners": job, "status": { "phase": "Succeeded", "containerStatuses": [agent] } }),
        );
    let release = release("2.4.0", record, &told);
    snapshot("watching", &release, &cluster);
    insta::assert_snapshot!("watching_brief", cluster.page(release.clone(), ICONS, Detail::Brief));
    insta::assert_snapshot!("watching_yaml", yaml(&ReleaseView::of(&cluster.0.seen(release, ago(0)))).unwrap());
}

/// The record of an attempt that ended badly, at rest.
fn ended(outcome: Outcome, reason: Reason, cause: &str) -> Record {
    let revision = spec("2.4.0").revision();
    let (reason, message) = (reason.as_str().to_owned(), cause.to_owned());
    let mut history = attempt(Step::Idle).history;
    history.push(entry(8, "2.4.0", outcome, cause));
    Record {
        outcome: Some(outcome),
        candidate: None,
        plan: None,
        failure: Some(FailureRecord { revision, outcome, reason, message, at: micro(130) }),
        history,
        ..attempt(Step::Idle)
    }
}

fn stalled(reason: Reason, message: &str) -> [(ConditionType, Option<bool>, Reason, &str); 3] {
    [
        (ConditionType::Ready, Some(false), reason, message),
        (ConditionType::Stalled, Some(true), reason, message),
        SERVES,
    ]
}

const AFTER: &str = "2.3.0 serves users. The spec still says 2.4.0: it is not tried again by itself. Push a fix or \
                     revert the spec. Next: kubectl switchback get shop";

#[test]
fn get_rolled_back() {
    let cause = "1 of 3 pods behind Service shop are ready";
    let message = format!("Rolled back to 2.3.0 at 14:57:50 UTC ({cause}). {AFTER}");
    let record = ended(Outcome::RolledBack, Reason::ReadinessLost, cause);
    snapshot("rolled_back", &release("2.4.0", record, &stalled(Reason::RolledBack, &message)), &served());
}

#[test]
fn get_on_the_way_back() {
    let ending = Ending {
        reason: Reason::ReadinessLost.as_str().into(),
        message: "1 of 3 pods behind Service shop are ready".into(),
        outcome: Outcome::RolledBack,
        from: Step::Watch,
        at: micro(1),
    };
    let record = Record { ending: Some(ending), ..approved(attempt(Step::SwitchBack)) };
    let told = working(Reason::SwitchingBack, "Moving shop back to 2.3.0.");
    let cluster = served().deployment(("2.4.0", 400), 3, &[crashed(), crashed(), ready()]);
    snapshot("on_the_way_back", &release("2.4.0", record, &told), &cluster);
}

#[test]
fn get_failed() {
    let cause = "Check home failed: http://shop-preview.prod.svc:80/ answered 500";
    let message = format!("{cause}. {AFTER}");
    let record = ended(Outcome::Failed, Reason::ChecksFailed, cause);
    snapshot("failed", &release("2.4.0", record, &stalled(Reason::ChecksFailed, &message)), &served());
}

#[test]
fn get_idle() {
    let previous = PreviousRevision {
        revision: spec("2.2.0").revision(),
        version: "2.2.0".into(),
        attempt: 6,
        generation: 2,
        content: None,
        keep_until: MicroTime(ago(-6_400)),
    };
    let record = Record { previous: Some(previous), candidate: None, plan: None, ..attempt(Step::Idle) };
    let told = [(ConditionType::Ready, Some(true), Reason::Released, "2.3.0 serves."), SERVES];
    let cluster = served().deployment(("2.2.0", 170_000), 0, &[]);
    snapshot("idle", &release("2.3.0", record.clone(), &told), &cluster);
    let wide = cluster.page(release("2.3.0", record, &told), Style::PLAIN, Detail::Wide);
    insta::assert_snapshot!("idle_wide", wide);
}

#[test]
fn get_before_the_controller_has_looked() {
    let mut new = release("1.0.0", Record::default(), &[]);
    new.status = Some(ReleaseStatus::default());
    insta::assert_snapshot!(Cluster::default().page(new, Style::PLAIN, Detail::Normal));
}

#[test]
fn what_may_not_be_read_is_unknown_and_never_bad() {
    let mut cluster = Cluster::default().service("shop", "2.3.0", 0);
    for kind in [
        Kind::Deployment,
        Kind::EndpointSlice,
        Kind::Pod,
        Kind::Job,
        Kind::DatabaseBackup,
        Kind::HorizontalPodAutoscaler,
    ] {
        cluster.0.take(Change::Problem(kind, format!("cannot list {kind:?}s: forbidden")));
    }
    assert!(!cluster.0.is_whole());
    cluster.0.take(Change::Complete(Kind::Service));
    assert!(cluster.0.is_whole());
    insta::assert_snapshot!(cluster.page(waiting(), Style::PLAIN, Detail::Normal));
}

#[test]
fn what_a_watch_does_not_tell_again_is_gone_and_the_rest_stays_meanwhile() {
    let mut cluster = served();
    let pods = |cluster: &Cluster| cluster.0.seen(waiting(), ago(0)).pods.len();
    cluster.0.take(Change::Anew(Kind::Pod));
    assert_eq!(pods(&cluster), 3);
    cluster.0.take(Change::Complete(Kind::Pod));
    assert_eq!(pods(&cluster), 0);
}

#[test]
fn an_approval_of_an_earlier_plan_is_not_shown_as_one_of_this_plan() {
    let mut record = approved(attempt(Step::Approve));
    assert_eq!(Summary::of(&release("2.4.0", record.clone(), &[]), ago(0)).approved_by.unwrap(), "anna@example.com");
    // The same plan of the next attempt has the same digest, and waits for an approval of its own.
    record.candidate = candidate("2.4.0", 60);
    assert_eq!(Summary::of(&release("2.4.0", record, &[]), ago(0)).approved_by, None);
}

#[test]
fn list_of_releases() {
    let cause = "1 of 3 pods behind Service shop are ready";
    let back = ended(Outcome::RolledBack, Reason::ReadinessLost, cause);
    let mut back = release("2.4.0", back, &stalled(Reason::RolledBack, cause));
    back.metadata.namespace = Some("staging".into());
    let mut strange = serde_json::to_value(waiting()).unwrap();
    strange["metadata"]["name"] = "till".into();
    strange["status"]["step"] = "Rehearse".into();
    let strange = serde_json::from_value(strange).unwrap();
    let items = || {
        vec![
            Summary::of(&back, ago(0)),
            Summary::of(&waiting(), ago(0)),
            unreadable(&strange, "unknown variant `Rehearse`"),
        ]
    };
    insta::assert_snapshot!("list_all", text::list(&ListView::of(items(), true, ago(0)), ICONS, Detail::Normal));
    insta::assert_snapshot!("list_wide", text::list(&ListView::of(items(), false, ago(0)), Style::PLAIN, Detail::Wide));
}

#[test]
fn plan_that_waits_runs_or_is_foretold() {
    let forecast = PlanView::forecast(&waiting(), plan_record(""));
    insta::assert_snapshot!("plan_forecast", plan::text(&forecast, Style::PLAIN));
    insta::assert_snapshot!("plan_waiting", plan::text(&PlanView::of(&waiting()).unwrap(), ICONS));
    let running = release("2.4.0", approved(attempt(Step::Watch)), &[]);
    insta::assert_snapshot!("plan_running", plan::text(&PlanView::of(&running).unwrap(), ICONS));
    assert_eq!(PlanView::of(&release("2.4.0", Record::default(), &[])), None);
}

/// What `plan -f` says of a database that nobody has looked at yet, and the plan that the controller then makes.
#[test]
fn plan_with_a_database() {
    let mut spec = serde_json::to_value(spec("2.4.0")).unwrap();
    spec["database"] = json!({ "name": "shop", "migration": {
        "workload": "web", "command": ["migrate", "up"], "change": "Expand",
    } });
    let mut release = waiting();
    release.spec = serde_json::from_value(spec).unwrap();
    let seen = ReleaseSeen {
        name: "shop".into(),
        namespace: "prod".into(),
        uid: UID.into(),
        generation: 4,
        deleting: false,
        deleted_at: None,
        resource_version: String::new(),
        finalizers: vec![],
        finalizer: true,
        created: ago(0),
        changed_by: None,
        wanted: release.spec.revision(),
        spec: Arc::new(release.spec.clone()),
        status: Arc::default(),
    };
    let active = active("2.3.0", 80_000);
    let plan = |looked: Option<&DatabaseRecord>| {
        let record = Record { active: active.clone(), database: looked.cloned(), ..Record::default() };
        PlanView::forecast(&release, forecast(&Observed::of_release(seen.clone(), ago(0)), &record))
    };
    insta::assert_snapshot!("plan_database_forecast", plan::text(&plan(None), Style::PLAIN));
    let looked = with_database(Step::Approve).database;
    insta::assert_snapshot!("plan_database", plan::text(&plan(looked.as_ref()), Style::PLAIN));
    let short = plan_text::short(&plan(looked.as_ref()).plan);
    let lines: Vec<String> = short.iter().map(|line| format!("{}: {}", line.head, line.text)).collect();
    insta::assert_snapshot!("plan_database_short", lines.join("\n"));
    let pending = json!({ "checksum": "c0ffee", "files": 3, "names": ["007_slots.sql"], "found": 3, "findings": [
        { "file": "007_slots.sql", "line": 4, "rule": "ban-drop-column", "message": "Dropping a column may break existing clients." },
        { "file": "007_slots.sql", "line": 9, "rule": "unbounded-delete", "message": "Deletes every row: it has no WHERE." },
    ] });
    let linted = looked.map(|looked| DatabaseRecord { pending: serde_json::from_value(pending).unwrap(), ..looked });
    insta::assert_snapshot!("plan_database_linted", plan::text(&plan(linted.as_ref()), Style::PLAIN));
}

#[test]
fn each_change_is_one_line_and_the_release_comes_first() {
    let facts =
        |cluster: &Cluster, release| Page::One(Box::new(ReleaseView::of(&cluster.0.seen(release, ago(0))))).facts();
    let before = facts(&served(), waiting());
    let told = working(Reason::Deploying, "0 of 3 pods of web are available.");
    let cluster = served().deployment(("2.4.0", 1), 3, &[crashed()]);
    let after = facts(&cluster, release("2.4.0", approved(attempt(Step::Deploy)), &told));
    let at = "2026-11-21T15:00:00Z";
    insta::assert_snapshot!("lines_first", differences(&BTreeMap::new(), &before, at));
    insta::assert_snapshot!("lines_changed", differences(&before, &after, at));
    insta::assert_snapshot!("lines_gone", differences(&after, &before, at));
    assert_eq!(differences(&after, &after, at), "");
}

#[test]
fn errors_say_what_on_which_object_why_and_the_next_command() {
    let api = |doing, object: &str, code, message: &str| {
        let status = Status::failure(message, "").with_code(code);
        Error::Api { doing, object: object.to_owned(), source: Box::new(kube::Error::Api(Box::new(status))) }
    };
    let shop = "Release prod/shop";
    let json = serde_json::from_str::<ReleaseStatus>(r#"{"step":"Ponder"}"#).unwrap_err();
    let errors = [
        api("read", shop, 404, "releases.switchback.dev \"shop\" not found"),
        api("read", shop, 404, "404 page not found"),
        api("read", shop, 401, "Unauthorized"),
        api("read", shop, 403, "releases.switchback.dev \"shop\" is forbidden: User \"bob\" cannot get resource"),
        api("validate", shop, 422, "Release.switchback.dev \"shop\" is invalid: spec.version: Required value"),
        api("list", "Releases of all namespaces", 500, "etcdserver: request timed out"),
        Error::Timeout { doing: "read", object: shop.to_owned(), limit: Duration::from_secs(30) },
        Error::Api { doing: "read", object: shop.to_owned(), source: Box::new(kube::Error::SerdeError(json)) },
    ];
    let texts: Vec<String> = errors
        .iter()
        .map(Problem::of_api)
        .map(|problem| format!("exit code {}\n{problem}\n", problem.exit.code()))
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn exit_codes_are_those_of_the_reference() {
    let table = [Exit::Reached, Exit::Failed, Exit::Usage, Exit::TimeOut, Exit::NotFoundOrForbidden].map(Exit::code);
    assert_eq!(table, [0, 1, 2, 3, 8]);
}

/// The Contract migration of 2.4.0.
fn contract(state: &str) -> ContractRecord {
    let plan = PlanRecord {
        steps: vec![PlannedStep {
            step: Step::Migrate,
            does: "Runs `migrate up` under the database's lock.".into(),
            expected: None,
        }],
        way_back: vec![WayBackPoint {
            after: Step::Migrate,
            scope: Scope::ForwardOnly,
            loses: "earlier versions are declared not to work on the result".into(),
        }],
        ..plan_record(DIGEST)
    };
    let database = json!({
        "name": "shop", "uid": "u", "fingerprint": "f", "endpoint": "db:5432", "serverVersion": "15.18", "sizeBytes": 1,
        "environment": "Production", "storages": ["offsite"],
    });
    let waits = json!({
        "revision": spec("2.4.0").revision(), "version": "2.4.0", "state": state, "reason": "ContractPending",
        "message": "It waits.", "since": micro(60), "database": database,
    });
    let contract: ContractRecord = serde_json::from_value(waits).unwrap();
    ContractRecord { plan: Some(plan), ..contract }
}

#[test]
fn the_plan_of_a_contract_that_waits() {
    let record = Record { active: active("2.4.0", 4_000), contract: Some(contract("Pending")), ..Record::default() };
    let message = "The Contract migration of 2.4.0 waits for its approval; 2.4.0 serves without it.";
    let told = [
        (ConditionType::Ready, Some(true), Reason::Released, "2.4.0 serves."),
        (ConditionType::ContractPending, Some(true), Reason::ContractPending, message),
    ];
    let release = release("2.4.0", record, &told);
    insta::assert_snapshot!("plan_contract", plan::text(&PlanView::of_contract(&release).unwrap(), ICONS));
    let summary = Summary::of(&release, ago(0));
    assert!(summary.notes.iter().any(|note| note.contains(message)), "{:?}", summary.notes);
    assert!(
        summary.next.iter().any(|next| next.contains("approve shop -n prod --gate contract")),
        "{:?}",
        summary.next
    );
}

/// A Release in a step of an attempt, in words and as an object.
fn situations() -> Vec<(String, Release)> {
    let at = |step: Step| {
        let record = attempt(step);
        (format!("in {}", step.as_str()), release("2.4.0", record, &[]))
    };
    let served = || Record {
        active: active("2.4.0", 4_000),
        history: vec![
            entry(6, "2.2.0", Outcome::Succeeded, "2.2.0 serves and passed its watch window."),
            entry(7, "2.3.0", Outcome::Succeeded, "2.3.0 serves and passed its watch window."),
            entry(8, "2.4.0", Outcome::Succeeded, "2.4.0 serves and passed its watch window."),
        ],
        ..Record::default()
    };
    let failure = FailureRecord {
        revision: spec("2.5.0").revision(),
        outcome: Outcome::Failed,
        reason: Reason::ChecksFailed.as_str().into(),
        message: "Checks failed: home answered 500.".into(),
        at: micro(60),
    };
    let failed = Record { failure: Some(failure), ..served() };
    let by = Suspension { actor: "anna".into(), decision: "shop-suspend-x1".into(), at: micro(60) };
    let suspended = Record { suspended: Some(by), ..attempt(Step::Verify) };
    let first = Record { candidate: candidate("2.4.0", 60), step: Step::Watch, ..Record::default() };
    let steps = [Step::Approve, Step::Deploy, Step::Migrate, Step::Switch, Step::Watch, Step::Retire, Step::CleanUp];
    let mut all: Vec<(String, Release)> = steps.into_iter().map(at).collect();
    all.push(("served, at rest".into(), release("2.4.0", served(), &[])));
    let contract = |state: &str| Record { contract: Some(contract(state)), ..served() };
    all.push(("served, a Contract waits".into(), release("2.4.0", contract("Pending"), &[])));
    all.push(("served, a Contract was rejected".into(), release("2.4.0", contract("Rejected"), &[])));
    let withdrawn = json!({ "before": 8, "version": "2.4.0", "at": micro(60) });
    let applied = Record { withdrawn: serde_json::from_value(withdrawn).unwrap(), ..contract("Applied") };
    all.push(("served, a Contract was applied".into(), release("2.4.0", applied, &[])));
    all.push(("failed, at rest".into(), release("2.5.0", failed, &[])));
    all.push(("suspended in Verify".into(), release("2.4.0", suspended, &[])));
    all.push(("watching a first release".into(), release("2.4.0", first, &[])));
    all
}

#[test]
fn a_version_that_a_contract_withdrew_and_history_has_forgotten_is_not_gone_back_to() {
    let active = active("2.4.0", 4_000);
    let before = active.as_ref().unwrap().attempt;
    let revisions = ["2.3.0", "2.2.0"].map(|version| spec(version).revision());
    let last = Withdrawal { before, version: "2.4.0".into(), at: micro(3_000), revisions: revisions.to_vec() };
    let record = Record { active, withdrawn: Some(last.clone()), ..Record::default() };
    let why = |record: &Record, to: Option<&str>| {
        rollback::propose(&release("2.4.0", record.clone(), &[]), to, ASCII).unwrap_err().why
    };
    for (to, is) in [(None, &revisions[0]), (Some(revisions[1].to_string()), &revisions[1])] {
        let said = why(&record, to.as_deref());
        let words = format!(
            "{is} is withdrawn: it does not work on the schema that the Contract migration of 2.4.0 made; the way is forward"
        );
        assert!(said.contains(&words), "{said}");
    }
    // History had the versions' texts, and they are gone with it.
    let said = why(&record, Some("2.2.0"));
    assert!(said.contains("2.2.0 never served or is forgotten; remembered is no other version."), "{said}");
    assert!(said.contains("Whatever served before 2.4.0 is withdrawn"), "{said}");
    // The one before the active one is not meant where that came after the Contract.
    let later = Withdrawal { before: before - 1, ..last };
    let said = why(&Record { withdrawn: Some(later), ..record }, None);
    assert!(said.contains("no earlier version is remembered"), "{said}");
}

#[test]
fn each_decision_says_what_it_would_do_or_why_it_would_do_nothing() {
    type Propose = fn(&Release) -> Result<Proposal, Problem>;
    let verbs: [(&str, Propose); 12] = [
        ("approve", |release| approve::propose(release, (Gate::Release, None), ASCII)),
        ("approve --gate contract", |release| approve::propose(release, (Gate::Contract, None), ASCII)),
        ("reject", |release| reject::propose(release, Gate::Release, ASCII)),
        ("reject --gate contract", |release| reject::propose(release, Gate::Contract, ASCII)),
        ("abort", |release| abort::propose(release, ASCII)),
        ("retry", |release| retry::propose(release, ASCII)),
        ("rollback", |release| rollback::propose(release, None, ASCII)),
        ("rollback --to 2.2.0", |release| rollback::propose(release, Some("2.2.0"), ASCII)),
        ("suspend", |release| suspend::suspend(release, ASCII)),
        ("resume", |release| suspend::resume(release, ASCII)),
        ("promote", |release| promote::propose(release, ASCII)),
        ("expedite", |release| expedite::propose(release, ASCII)),
    ];
    let mut text = String::new();
    for (situation, release) in situations() {
        text.push_str(&format!("{situation}\n"));
        for (verb, propose) in &verbs {
            let line = match propose(&release) {
                Ok(proposal) => format!("{}{}", proposal.text, proposal.question),
                Err(problem) => format!("- {}", problem.why),
            };
            let indented: Vec<String> = line.lines().map(|line| format!("    {line}")).collect();
            text.push_str(&format!("  {verb}\n{}\n", indented.join("\n")));
        }
        text.push('\n');
    }
    insta::assert_snapshot!("decisions", text);
}

/// A rehearsal takes time as well, so who hastens a release goes without one; that must be said where there would be one.
#[test]
fn whoever_expedites_is_told_that_the_migration_is_not_rehearsed() {
    let told = |steps: &[Step]| {
        let mut record = attempt(Step::Approve);
        let plan = record.plan.as_mut().unwrap();
        let planned = |step: &Step| PlannedStep { step: *step, does: String::new(), expected: None };
        plan.steps = steps.iter().map(planned).collect();
        let waits = "The plan for 2.4.0 is ready.";
        let told = (ConditionType::Ready, None, Reason::WaitingForApproval, waits);
        let proposal = expedite::propose(&release("2.4.0", record, &[told]), ASCII).unwrap();
        proposal.text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let words = "Its migration runs without having been rehearsed.";
    assert!(told(&[Step::Backup, Step::Rehearse, Step::Migrate]).contains(words));
    assert!(!told(&[Step::Backup, Step::Migrate]).contains("rehears"));
}
