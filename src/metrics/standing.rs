//! What stands, counted when somebody asks: Releases by step and by what holds of them, backups, who leads, who waits.
//!
//! In: the caches. Out: a registry of its own. Nothing has to be taken back when an object goes.

use std::collections::BTreeMap;

use kube::{ResourceExt as _, core::DeserializeGuard};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::{
    api::{BackupProof, Condition, ConditionType, DatabaseBackup, Release},
    databases::Shared,
    kube_io::leadership::Role,
    release::Context,
};

/// What is told of a Release: that it is not as it is at rest, and why.
const TOLD: [(ConditionType, &str); 5] = [
    (ConditionType::Stalled, "True"),
    (ConditionType::ContractPending, "True"),
    (ConditionType::TrafficContested, "True"),
    (ConditionType::Ready, "False"),
    (ConditionType::Ready, "Unknown"),
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct At {
    namespace: String,
    step: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Holds {
    namespace: String,
    condition: String,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct Database {
    namespace: String,
    database: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Proof {
    namespace: String,
    database: String,
    phase: &'static str,
}

type Numbers = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Counts everything.
#[must_use]
pub fn standing(context: &Context, databases: &Shared) -> Registry {
    let mut registry = Registry::with_prefix("switchback");
    process(&mut registry, context, databases);
    releases(&mut registry, context.cache.sources.all().iter().map(|release| &**release));
    backups(&mut registry, databases.cache.all_backups().iter().map(|backup| &**backup));
    registry
}

/// What this process does.
fn process(registry: &mut Registry, context: &Context, databases: &Shared) {
    let mut gauge = |name: &str, help: &str, value: i64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let leads = *context.leadership.role().borrow() != Role::Follows && context.leadership.may_write();
    gauge("leader", "1 while this process leads and works", i64::from(leads));
    if let Some(term) = context.leadership.term() {
        gauge("leader_term", "How many times the lease had changed hands when this process began to lead", term);
    }
    let waiting = i64::try_from(context.turns.waiting()).unwrap_or(i64::MAX);
    gauge("queue_waiting", "Releases that wait for their turn", waiting);
    let whole = context.filled.is_whole() && databases.filled.is_whole();
    gauge("caches_filled", "1 once every watch has listed", i64::from(whole));
}

/// Where Releases stand.
fn releases<'a>(registry: &mut Registry, all: impl Iterator<Item = &'a DeserializeGuard<Release>>) {
    let (steps, conditions) = (Family::<At, Gauge>::default(), Family::<Holds, Gauge>::default());
    for release in all.filter_map(|release| release.0.as_ref().ok()) {
        let Some(status) = &release.status else { continue };
        let namespace = release.namespace().unwrap_or_default();
        steps.get_or_create(&At { namespace: namespace.clone(), step: status.record.step.as_str() }).inc();
        for condition in status.conditions.iter().filter(|condition| is_told(condition)) {
            let (condition, reason) = (condition.type_.clone(), condition.reason.clone());
            conditions.get_or_create(&Holds { namespace: namespace.clone(), condition, reason }).inc();
        }
    }
    registry.register("release_step", "Releases by the step at which they stand", steps);
    registry.register("release_condition", "Releases that are not as at rest, by condition and reason", conditions);
}

fn is_told(condition: &Condition) -> bool {
    TOLD.iter().any(|(type_, status)| condition.type_ == type_.as_str() && condition.status == *status)
}

/// The newest backup of each database that is whole and proven.
fn backups<'a>(registry: &mut Registry, all: impl Iterator<Item = &'a DatabaseBackup>) {
    let mut newest: BTreeMap<Database, &DatabaseBackup> = BTreeMap::new();
    for backup in all.filter(|backup| proven(backup)) {
        let database =
            Database { namespace: backup.namespace().unwrap_or_default(), database: backup.spec.database.clone() };
        let known = newest.entry(database).or_insert(backup);
        if taken(backup) > taken(known) {
            *known = backup;
        }
    }
    let (times, sizes) = (Family::<Database, Numbers>::default(), Family::<Database, Numbers>::default());
    let proofs = Family::<Proof, Numbers>::default();
    for (database, backup) in newest {
        let Some(status) = &backup.status else { continue };
        times.get_or_create(&database).set(taken(backup));
        if let Some(bytes) = status.size_bytes {
            #[expect(clippy::cast_precision_loss, reason = "nobody reads single bytes of terabytes")]
            sizes.get_or_create(&database).set(bytes as f64);
        }
        let seconds = status.proof.as_ref().and_then(BackupProof::took);
        let phases =
            seconds.map(|took| [("fetch", Some(took.fetch)), ("restore", took.restore), ("check", took.check)]);
        for (phase, took) in phases.into_iter().flatten().filter_map(|(phase, took)| Some((phase, took?))) {
            let Database { namespace, database } = database.clone();
            proofs.get_or_create(&Proof { namespace, database, phase }).set(took);
        }
    }
    let help = "When the newest backup of a database that is whole and proven was taken";
    registry.register_with_unit("backup_taken_timestamp", help, Unit::Seconds, times);
    registry.register_with_unit("backup_size", "Stored bytes of one copy of it", Unit::Bytes, sizes);
    registry.register_with_unit("backup_proof", "What its proof took, by phase", Unit::Seconds, proofs);
}

fn proven(backup: &DatabaseBackup) -> bool {
    backup.status.as_ref().is_some_and(|status| status.phase == "Completed" && status.proof.is_some())
}

fn taken(backup: &DatabaseBackup) -> f64 {
    let taken = backup.status.as_ref().and_then(|status| status.taken_at.as_ref());
    taken.map_or(0.0, |taken| taken.0.duration_since(jiff::Timestamp::UNIX_EPOCH).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use serde_json::json;

    use super::*;

    fn told(registry: &Registry) -> String {
        let mut out = String::new();
        text::encode(&mut out, registry).unwrap();
        out
    }

    fn holds(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line}\n{text}");
        }
    }

    #[test]
    fn releases_are_counted_where_they_stand_and_never_named() {
        let release = |name: &str, step: &str, stalled: &str| {
            let condition = json!({
                "type": "Stalled", "status": stalled, "reason": "RolledBack", "message": "m",
                "lastTransitionTime": "2026-11-21T12:00:00Z", "observedGeneration": 1,
            });
            let release = json!({
                "metadata": { "namespace": "prod", "name": name },
                "spec": { "version": "1.0.0", "workloads": [] },
                "status": { "step": step, "conditions": [condition] },
            });
            DeserializeGuard(Ok(serde_json::from_value::<Release>(release).unwrap()))
        };
        let all = [release("a", "Watch", "False"), release("b", "Watch", "True"), release("c", "Idle", "True")];
        let mut registry = Registry::with_prefix("switchback");
        releases(&mut registry, all.iter());
        let text = told(&registry);
        holds(
            &text,
            &[
                r#"switchback_release_step{namespace="prod",step="Watch"} 2"#,
                r#"switchback_release_step{namespace="prod",step="Idle"} 1"#,
                r#"switchback_release_condition{namespace="prod",condition="Stalled",reason="RolledBack"} 2"#,
            ],
        );
    }

    #[test]
    fn of_each_database_the_newest_proven_backup_counts() {
        let backup = |database: &str, phase: &str, taken: &str, bytes: i64| {
            let proof = json!({
                "level": "Restored", "at": taken, "seconds": { "fetch": 1.5, "restore": 20.0, "check": 3.0 },
            });
            serde_json::from_value::<DatabaseBackup>(json!({
                "metadata": { "namespace": "prod", "name": taken },
                "spec": { "database": database },
                "status": { "phase": phase, "takenAt": taken, "sizeBytes": bytes, "proof": proof },
            }))
            .unwrap()
        };
        let all = [
            backup("shop", "Completed", "1970-01-01T00:01:40.000000Z", 7),
            backup("shop", "Completed", "1970-01-01T00:03:20.000000Z", 8),
            backup("shop", "Failed", "1970-01-01T00:05:00.000000Z", 9),
        ];
        let mut registry = Registry::with_prefix("switchback");
        backups(&mut registry, all.iter());
        holds(
            &told(&registry),
            &[
                r#"switchback_backup_taken_timestamp_seconds{namespace="prod",database="shop"} 200.0"#,
                r#"switchback_backup_size_bytes{namespace="prod",database="shop"} 8.0"#,
                r#"switchback_backup_proof_seconds{namespace="prod",database="shop",phase="restore"} 20.0"#,
            ],
        );
        // What was only read says nothing of a restore: a nought would be the fastest recovery there is.
        let mut read = backup("shop", "Completed", "1970-01-01T00:06:40.000000Z", 8);
        // So an earlier version of ours wrote it.
        let proof = json!({ "level": "Readable", "at": "1970-01-01T00:06:40.000000Z",
            "seconds": { "fetch": 1.5, "restore": 0.0, "check": 0.0 } });
        read.status.as_mut().unwrap().proof = serde_json::from_value(proof).unwrap();
        let mut registry = Registry::with_prefix("switchback");
        backups(&mut registry, [read].iter());
        let told = told(&registry);
        holds(&told, &[r#"switchback_backup_proof_seconds{namespace="prod",database="shop",phase="fetch"} 1.5"#]);
        assert!(!told.contains(r#"phase="restore""#) && !told.contains(r#"phase="check""#), "{told}");
    }
}
