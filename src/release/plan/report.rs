//! Report: what became of an attempt is written beside the backup that it rested on; pure.
//!
//! Nothing waits for it and nothing fails by it. It is kept in status when the attempt ends; at rest a Job of the agent is
//! made for it, the oldest first; when that has ended, well or not, or its time is over, it is forgotten, and the history
//! says whether it is there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use serde_json::{Value, json};

use super::{
    super::{
        manifests,
        observed::{Observed, StorageSeen},
    },
    Action, Plan,
    database::{Said, result},
    later,
};
use crate::{
    api::{Duration, HistoryEntry, Record, ReleaseReport, Step},
    protocol::{Answer, ReportResult},
};

/// How long it is tried: nobody waits, and a storage that is away for longer is told by what looks at storages.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Longest text, in bytes: as the schema has it, and half of what one argument of a program may have.
const LONGEST: usize = 65_536;
/// How many may wait: as the schema has it.
const MOST: usize = 4;
/// Version of the form of what is written.
const FORM: u8 = 1;

/// Keeps the account of an attempt that has just ended, where it rested on a backup.
pub(super) fn keep(record: &mut Record, entry: &HistoryEntry) {
    let backup = record.backup.as_ref().filter(|backup| entry.backup.as_ref() == Some(&backup.name));
    let (Some(backup), Some(looked)) = (backup, &record.database) else { return };
    let others = looked.storages.iter().filter(|name| **name != backup.storage);
    let storages = [&backup.storage].into_iter().chain(others).filter(|name| !name.is_empty()).cloned().collect();
    let report = ReleaseReport {
        attempt: entry.attempt,
        database: looked.name.clone(),
        storages,
        manifest: backup.manifest.clone(),
        text: text(record, entry),
        until: MicroTime(later(entry.ended_at.0, PATIENCE)),
    };
    record.reports.push(report);
    let superfluous = record.reports.len().saturating_sub(MOST);
    record.reports.drain(..superfluous);
}

/// Returns the account: all of it, or without the plan's words where that would be too long.
fn text(record: &Record, entry: &HistoryEntry) -> String {
    let of_it = record.migration.as_ref().filter(|migration| {
        migration.ended_at.as_ref().is_some_and(|ended| ended.0 >= entry.started_at.0)
            && migration.revision == entry.revision
    });
    let rehearsal = record
        .rehearsal
        .as_ref()
        .filter(|rehearsal| record.backup.as_ref().is_some_and(|backup| backup.uid == rehearsal.backup));
    let mut all = json!({
        "form": FORM,
        "attempt": entry,
        "plan": record.plan,
        "database": record.database,
        "backup": record.backup,
        "rehearsal": rehearsal,
        "migration": of_it,
    });
    if all.to_string().len() > LONGEST
        && let Value::Object(all) = &mut all
    {
        all.insert("plan".to_owned(), Value::Null);
    }
    all.to_string()
}

/// Returns the name of the Job that may be at work.
pub(super) fn job(seen: &Observed, record: &Record) -> Option<String> {
    record.reports.first().map(|report| manifests::report_name(&seen.release, report.attempt))
}

/// Has the oldest written, at rest.
pub(super) fn write(seen: &Observed, plan: &mut Plan) {
    let Some(report) = plan.record.reports.first().cloned() else { return };
    if seen.record().step != Step::Idle || seen.record().reports.first() != Some(&report) {
        return;
    }
    let name = manifests::report_name(&seen.release, report.attempt);
    let recorded = match seen.job(&name) {
        _ if report.until.0 <= seen.now => false,
        None => match manifest(seen, &report) {
            None => false,
            Some(job) => {
                plan.actions.push(Action::Create(Box::new(job)));
                return plan.look_again_at(report.until.0);
            }
        },
        Some(job) => match result::<Answer<ReportResult>>(seen, job) {
            Said::Nothing => return plan.look_again_at(report.until.0),
            Said::Lost(_) => false,
            Said::This(answer) => matches!(*answer, Answer::Done(_)),
        },
    };
    plan.record.reports.remove(0);
    for entry in plan.record.history.iter_mut().filter(|entry| entry.attempt == report.attempt) {
        entry.recorded = recorded;
    }
}

/// Returns its Job; `None` when the database or a storage is not there any more.
fn manifest(seen: &Observed, report: &ReleaseReport) -> Option<manifests::Manifest> {
    let instance = seen.instance(&report.database)?;
    let find = |name: &String| seen.storages.iter().find(|storage| storage.name == *name);
    let storages: Vec<&StorageSeen> = report.storages.iter().map(find).collect::<Option<_>>()?;
    let of = (&seen.release, &seen.settings);
    manifests::report_job(of, &seen.release.spec, (report, instance), &storages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> HistoryEntry {
        let entry = json!({
            "attempt": 2, "revision": "v1-0123456789", "version": "2.0.0", "outcome": "Succeeded", "reason": "Released",
            "message": "2.0.0 serves.", "startedAt": "2026-11-21T12:00:00.000000Z",
            "endedAt": "2026-11-21T12:30:00.000000Z",
        });
        serde_json::from_value(entry).unwrap()
    }

    fn with_plan(risks: usize) -> Record {
        let plan = json!({
            "digest": "sha256:00", "revision": "v1-0123456789", "wayBack": [], "unmet": [], "risks": vec!["r".repeat(512); risks],
            "steps": vec![json!({ "step": "Deploy", "does": "d".repeat(1024) }); 32],
        });
        Record { plan: serde_json::from_value(plan).unwrap(), ..Record::default() }
    }

    #[test]
    fn an_account_is_never_longer_than_status_takes() {
        let read = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
        let whole = text(&with_plan(2), &entry());
        assert_eq!(read(&whole)["plan"]["risks"].as_array().unwrap().len(), 2);
        let cut = text(&with_plan(64), &entry());
        assert!(cut.len() <= LONGEST, "{} bytes", cut.len());
        assert_eq!((&read(&cut)["plan"], &read(&cut)["attempt"]["outcome"]), (&Value::Null, &json!("Succeeded")));
    }
}
