//! Rehearse: the migration on a restored copy of the data, which proves the backup too; pure.
//!
//! Nothing of production is touched and nothing outlives the Job, so it begins at once, may run again, and ends at any time
//! with another spec, an abort or a deletion.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        manifests,
        observed::{JobSeen, Observed},
    },
    Action, Move, Plan, Situation, abort, candidate_content, config, contract,
    database::{self, Said},
    ending, enter, images, migrate, overdue,
    policies::Policies,
    still_wanted, when_recorded,
};
use crate::{
    agent_job::REHEARSE_CONTAINER,
    api::{BackupRecord, DatabaseRecord, Duration, Migration, Reason, Record, RehearsalRecord, ReleaseDatabase, Step},
    protocol::{Answer, RehearseResult},
};

/// How a Decision that hastens an attempt is remembered.
const EXPEDITE: &str = "expedite";

/// Returns the migration of an attempt when it is rehearsed before it runs.
pub(super) fn due<'a>(
    record: &Record,
    (database, looked): (&'a ReleaseDatabase, &DatabaseRecord),
) -> Option<&'a Migration> {
    let migration = database::due(record, (database, looked)).filter(|migration| migration.rehearse.enabled)?;
    (!is_expedited(record)).then_some(migration)
}

/// Returns whether somebody said that the attempt under way shall not wait for a rehearsal.
fn is_expedited(record: &Record) -> bool {
    let since = record.candidate.as_ref().map(|candidate| candidate.since.0);
    record
        .decisions
        .iter()
        .any(|decision| decision.kind == EXPEDITE && since.is_some_and(|since| decision.at.0 >= since))
}

/// Returns whether a backup was restored by a rehearsal.
pub(super) fn restored(record: &Record, backup: &BackupRecord) -> bool {
    record.rehearsal.as_ref().is_some_and(|rehearsal| rehearsal.backup == backup.uid)
}

pub(super) fn plan(seen: &Observed, record: Record) -> Move {
    if !still_wanted(seen, &record) {
        return ending::superseded(seen, record);
    }
    if let Some(turned) = abort::check(seen, &record) {
        return turned;
    }
    // It was held after its end.
    if is_over(&record) {
        return go_on(seen, record);
    }
    let name = manifests::rehearse_name(&seen.release, &record);
    let Some(job) = seen.job(&name) else { return make(seen, record, &name) };
    let answer: Answer<RehearseResult> = match database::result(seen, job) {
        Said::Nothing => return follow(seen, record, job),
        Said::Lost(message) => return failed(seen, record, (Reason::RehearsalFailed, &message)),
        Said::This(answer) => *answer,
    };
    match answer {
        Answer::Refused(refusal) => failed(seen, record, (refusal.reason, &refusal.message)),
        Answer::Done(result) => passed(seen, record, (&job.name, result)),
    }
}

fn make(seen: &Observed, record: Record, name: &str) -> Move {
    let Some(content) = candidate_content(seen, &record).cloned() else { return ending::content_lost(seen, record) };
    let (Some((database, looked)), Some(backup)) = (database::of(&content, &record), &record.backup) else {
        return ending::content_lost(seen, record);
    };
    let Some(instance) = seen.instance(&looked.name).filter(|instance| instance.uid == looked.uid) else {
        let message = format!("DatabaseInstance {} is gone or is another one now.", looked.name);
        return failed(seen, record, (Reason::DatabaseNotFound, &message));
    };
    let Some(storage) = seen.storages.iter().find(|storage| storage.name == backup.storage) else {
        let message = format!("BackupStorage {}, which has the backup, is gone.", backup.storage);
        return failed(seen, record, (Reason::StorageNotFound, &message));
    };
    let what = manifests::Rehearse { name, instance, database, looked, backup, storage };
    let owner = record.candidate.as_ref().and_then(|candidate| seen.attempt(candidate.attempt));
    let job = manifests::rehearse_job((&seen.release, &seen.settings), &content, what, owner);
    let Some(job) = job else { return ending::content_lost(seen, record) };
    if overdue(seen, &record) {
        let message = format!("Job {name} could not be made in time.");
        return failed(seen, record, (Reason::RehearsalFailed, &message));
    }
    let actions = when_recorded(seen, &record, Action::Create(Box::new(job)));
    let actions = config::before(seen, (&content, owner), actions);
    let situation = told(&record, &working(name, ""));
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

/// Waits for the Job, as long as the old version's containers run in it.
fn follow(seen: &Observed, record: Record, job: &JobSeen) -> Move {
    let pods = seen.pods.iter().filter(|pod| pod.job.as_deref() == Some(&job.name));
    // A pod that was lost may have had its containers ended for any reason.
    let pod = pods.max_by_key(|pod| pod.created).filter(|pod| !pod.deleting);
    // Once the agent runs, they have got ready; what `down` takes from them afterwards is not theirs to live with.
    if let Some(problem) = pod.filter(|pod| !pod.agent_ran).and_then(|pod| pod.contract.as_deref()) {
        let whose = if contract::is_under_way(&record) { "The version that serves" } else { "The old version" };
        let message = format!("{whose} did not get ready on the migrated copy: {problem}.");
        return failed(seen, record, (Reason::ContractTestFailed, &message));
    }
    // Sidecars that end after the agent keep nobody waiting.
    let problem = pod.filter(|pod| !pod.agent_ran).and_then(|pod| pod.problem.as_deref());
    let because = problem.map(|problem| format!(": {problem}")).unwrap_or_default();
    if overdue(seen, &record) {
        let message = format!("The rehearsal did not end in time{because}.");
        return failed(seen, record, (Reason::RehearsalFailed, &message));
    }
    let situation = told(&record, &working(&job.name, &because));
    Plan::stay(record, situation).into()
}

/// Says what is done; the same while the Job is made, which is worth no word of its own.
fn working(job: &str, because: &str) -> String {
    format!("Job {job} restores the backup and migrates the copy{because}.")
}

fn passed(seen: &Observed, mut record: Record, (job, result): (&str, RehearseResult)) -> Move {
    let RehearseResult { restored, findings } = result;
    let (Some(candidate), Some(backup)) = (&record.candidate, &record.backup) else {
        return ending::content_lost(seen, record);
    };
    // Fetching runs beside restoring.
    let seconds = restored.fetch.max(restored.restore) + restored.check;
    let recovery = SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    record.rehearsal = Some(RehearsalRecord {
        revision: candidate.revision.clone(),
        backup: backup.uid.clone(),
        at: MicroTime(seen.now),
        recovery: Duration::from_millis(u64::try_from(recovery.as_millis()).unwrap_or(0)),
        findings,
    });
    let reaches = record.rehearsal.as_ref().is_some_and(|rehearsal| rehearsal.findings.reaches_production);
    if let Some(policy) = Policies(&seen.policies).isolates_rehearsals().filter(|_| reaches) {
        let message = format!(
            "Production's address answers from where the migration was rehearsed, which ReleasePolicy {policy} forbids. Next: \
             the NetworkPolicy of docs/rehearsals.md, on a network that enforces it."
        );
        return failed(seen, record, (Reason::RehearsalReachesProduction, &message));
    }
    let content = candidate_content(seen, &record).cloned();
    let moved =
        content.and_then(|content| images::note_migration(seen, &mut record, &content, (job, REHEARSE_CONTAINER)));
    if let Some((reason, message)) = moved {
        return failed(seen, record, (reason, &message));
    }
    go_on(seen, record)
}

/// Returns whether what this step has shown is known already.
fn is_over(record: &Record) -> bool {
    let restored = record.rehearsal.as_ref().zip(record.backup.as_ref());
    let of_step = restored.filter(|(rehearsal, backup)| rehearsal.backup == backup.uid).zip(record.step_since.as_ref());
    of_step.is_some_and(|((rehearsal, _), since)| rehearsal.at.0 >= since.0)
}

fn go_on(seen: &Observed, mut record: Record) -> Move {
    record.migration = None;
    enter(record, Step::Migrate, seen.now, Some(migrate::START))
}

fn failed(seen: &Observed, record: Record, (reason, message): (Reason, &str)) -> Move {
    let text = format!("{} Nothing was migrated: the database is as it was.", ending::sentence(message));
    ending::failed(seen, record, (reason, text))
}

fn told(record: &Record, what: &str) -> Situation {
    let serves = record.active.as_ref().map(|active| format!(" {} serves on, untouched.", active.version));
    Situation::Working(Reason::Rehearsing, format!("{what}{}", serves.unwrap_or_default()))
}
