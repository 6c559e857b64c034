//! Migrate: one Job at a time, after a live look at the backup, against the database's own ledger; pure.
//!
//! The Job is made suspended; its UID is recorded; only a look that reads that record back resumes it. From then on
//! the step is let end, whatever the spec, a person or a deletion says: half a migration helps nobody.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        manifests,
        observed::{self, Ask, BackupState, JobSeen, Observed},
    },
    Action, Move, Plan, Situation, abort, candidate_content,
    database::{self, LOST_JOBS, Said},
    ending::{self, Why},
    enter, recorded, still_wanted,
};
use crate::{
    api::{MigrationProgress, MigrationRecord, Outcome, Reason, Record, Step},
    protocol::{Answer, MigrateResult, MigrationState},
};

pub(super) fn plan(seen: &Observed, record: Record) -> Move {
    if !is_running(&record) {
        if seen.release.deleting || !still_wanted(seen, &record) {
            return ending::superseded(seen, record);
        }
        if let Some(turned) = abort::check(seen, &record) {
            return turned;
        }
    }
    let number = record.migration.as_ref().map_or(1, |migration| migration.attempt);
    let name = manifests::migrate_name(&seen.release, &record, number);
    match seen.job(&name) {
        None => make(seen, record, (&name, number)),
        Some(job) if job.suspended => start(seen, record, (job, number)),
        Some(job) => follow(seen, record, job),
    }
}

/// Returns whether a Job of the migration may have started: the record that must be read back before is there.
pub(super) fn is_running(record: &Record) -> bool {
    record.step == Step::Migrate
        && record.migration.as_ref().is_some_and(|migration| migration.state == MigrationProgress::Started)
}

/// Makes the Job, suspended.
fn make(seen: &Observed, record: Record, (name, number): (&str, u8)) -> Move {
    let Some(content) = candidate_content(seen, &record).cloned() else { return ending::content_lost(seen, record) };
    let (Some((database, looked)), Some(backup)) = (database::of(&content, &record), &record.backup) else {
        return ending::content_lost(seen, record);
    };
    let Some(instance) = seen.instance(&looked.name).filter(|instance| instance.uid == looked.uid) else {
        let message = format!("DatabaseInstance {} is gone or is another one now. Nothing was migrated.", looked.name);
        return failed(seen, record, (Reason::DatabaseNotFound, message));
    };
    if record.migration.as_ref().is_some_and(|migration| is_running(&record) && !migration.job.is_empty()) {
        return again(seen, record, format!("Job {name} is gone: somebody deleted it."));
    }
    let what = manifests::Migrate { name, instance, database, looked, backup };
    let job = manifests::migrate_job((&seen.release, &seen.settings), &content, what, attempt(seen, &record));
    let Some(job) = job else { return ending::content_lost(seen, record) };
    let actions = if recorded(seen, &record) { vec![Action::Create(Box::new(job))] } else { vec![] };
    let situation = told(&record, &format!("Making Job {name}, attempt {number}."));
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

/// Records the Job and, when a look has read that record back and the backup is still there, resumes it.
fn start(seen: &Observed, mut record: Record, (job, number): (&JobSeen, u8)) -> Move {
    let (Some(backup), Some(candidate)) = (record.backup.clone(), &record.candidate) else {
        return ending::content_lost(seen, record);
    };
    let revision = candidate.revision.clone();
    let ask = Ask::LiveBackup(backup.name.clone());
    match seen.answer(&ask) {
        None => {
            let situation = told(&record, "Looking at the backup once more.");
            return Plan { asks: vec![ask], ..Plan::stay(record, situation) }.into();
        }
        Some(observed::Answer::Backup(Some(live))) if live.uid == backup.uid && is_whole(&live.state, &backup) => {}
        Some(_) => {
            let message =
                format!("DatabaseBackup {} is gone or not complete any more. Nothing was migrated.", backup.name);
            return failed(seen, record, (Reason::BackupFailed, message));
        }
    }
    let now = MigrationRecord {
        revision,
        state: MigrationProgress::Started,
        attempt: number,
        job: job.uid.clone(),
        ended_at: None,
    };
    let read_back = recorded(seen, &record) && seen.record().migration.as_ref() == Some(&now);
    record.migration = Some(now);
    let actions = if read_back { vec![Action::resume(job)] } else { vec![] };
    let situation = told(&record, &format!("Starting Job {}.", job.name));
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

fn is_whole(state: &BackupState, backup: &crate::api::BackupRecord) -> bool {
    matches!(state, BackupState::Complete(live) if live.proof >= backup.proof && live.manifest == backup.manifest)
}

/// Waits for the Job and reads what it says.
fn follow(seen: &Observed, mut record: Record, job: &JobSeen) -> Move {
    let answer: Answer<MigrateResult> = match database::result(seen, job) {
        Said::Nothing => {
            let situation = told(&record, &format!("Job {} migrates.", job.name));
            return Plan::stay(record, situation).into();
        }
        Said::Lost(message) => return again(seen, record, message),
        Said::This(answer) => *answer,
    };
    let (state, problem) = match answer {
        Answer::Refused(refusal) => (MigrationProgress::NotStarted, Some(refusal)),
        Answer::Done(result) => (progress(result.state), result.problem),
    };
    if let Some(migration) = &mut record.migration {
        migration.state = state;
        migration.ended_at = Some(MicroTime(seen.now));
    }
    if state == MigrationProgress::Applied {
        let limit = candidate_content(seen, &record).map(|content| content.deadlines.deploy);
        return enter(record, Step::Deploy, seen.now, limit);
    }
    let (reason, message) = problem.map_or_else(
        || (Reason::MigrationFailed, "It ended without success and said no more.".to_owned()),
        |problem| (problem.reason, problem.message),
    );
    failed(seen, record, (reason, format!("{} {}", ending::sentence(&message), stands(state))))
}

const fn progress(state: MigrationState) -> MigrationProgress {
    match state {
        MigrationState::Applied => MigrationProgress::Applied,
        MigrationState::Failed => MigrationProgress::Failed,
        MigrationState::Started => MigrationProgress::Uncertain,
        MigrationState::NotStarted => MigrationProgress::NotStarted,
    }
}

/// Says what stays of a migration that was not applied.
const fn stands(state: MigrationProgress) -> &'static str {
    match state {
        MigrationProgress::NotStarted => "Nothing was migrated.",
        MigrationProgress::Failed => "What its files or its tool had committed before stays.",
        MigrationProgress::Started | MigrationProgress::Uncertain | MigrationProgress::Applied => {
            "The ledger in the database says how far it came."
        }
    }
}

/// Makes another Job when the pod of one was lost: the agent in it reads the ledger before it does anything.
fn again(seen: &Observed, mut record: Record, message: String) -> Move {
    match &mut record.migration {
        Some(migration) if migration.attempt < LOST_JOBS => {
            migration.attempt += 1;
            migration.job.clear();
            let situation = told(&record, &format!("{message} Another Job asks the ledger how far it came."));
            Plan::stay(record, situation).into()
        }
        Some(migration) => {
            migration.state = MigrationProgress::Uncertain;
            failed(seen, record, (Reason::MigrationUncertain, message))
        }
        None => failed(seen, record, (Reason::MigrationUncertain, message)),
    }
}

fn failed(seen: &Observed, record: Record, (reason, message): (Reason, String)) -> Move {
    ending::turn_back(record, seen.now, Why { reason, message, outcome: Outcome::Failed })
}

fn attempt<'a>(seen: &'a Observed, record: &Record) -> Option<&'a super::super::observed::AttemptSeen> {
    seen.attempt(record.candidate.as_ref()?.attempt)
}

fn told(record: &Record, what: &str) -> Situation {
    let serves = record.active.as_ref().map(|active| format!(" {} serves on, untouched.", active.version));
    Situation::Working(Reason::Migrating, format!("{what}{}", serves.unwrap_or_default()))
}
