//! Migrate: one Job at a time, after a live look at the backup, against the database's own ledger; pure.
//!
//! The Job is made suspended; the step and its UID are recorded; only a look that reads that record back resumes it. From then on
//! the step is let end, whatever the spec, a person or a deletion says: half a migration helps nobody. What is said before that
//! look is heard: the Job is deleted while nothing of it has run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        manifests::{self, Kind},
        observed::{self, Ask, BackupState, InstanceSeen, JobSeen, Observed},
    },
    Action, Move, Plan, Situation, abort, as_before, candidate_content, config, contract,
    database::{self, LOST_JOBS, Said},
    ending, enter, images, later, overdue, recorded, rehearse, still_wanted,
};
use crate::{
    agent_job::{AGENT_CONTAINER, targets},
    api::{DatabaseRecord, Duration, MigrationProgress, MigrationRecord, Reason, Record, RevisionId, Step},
    protocol::{Answer, MigrateResult, MigrationState},
};

/// How long the pod of a Job may take to start: pulling the image, finding a node.
pub(super) const START: Duration = Duration::from_secs(600);

/// How long before that it is noted that the pod has started: what says so may be gone then.
const NEAR: Duration = Duration::from_secs(300);

/// How long nobody is believed to be waiting in vain for it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn plan(seen: &Observed, record: Record) -> Move {
    if !is_running(&record) {
        if seen.release.deleting || !still_wanted(seen, &record) {
            return ending::superseded(seen, record);
        }
        if let Some(turned) = abort::check(seen, &record) {
            return turned;
        }
        // It was held after its end.
        if record.migration.as_ref().is_some_and(|migration| is_applied(&record, migration)) {
            return applied(seen, record);
        }
    }
    let number = record.migration.as_ref().map_or(1, |migration| migration.attempt);
    let name = manifests::migrate_name(&seen.release, &record, number);
    match seen.job(&name) {
        None => make(seen, record, (&name, number)),
        Some(job) if job.suspended => start(seen, record, (job, number)),
        Some(job) if is_recorded(&record, job) => follow(seen, record, job),
        Some(job) => of_somebody(seen, record, (job, number)),
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
    if is_running(&record) {
        if let Some(moved) = gives_up(seen, &record, (name, None)) {
            return moved;
        }
        if record.migration.as_ref().is_some_and(|migration| !migration.job.is_empty()) {
            return again(seen, record, format!("Job {name} is gone."));
        }
    } else if overdue(seen, &record) && !contract::is_under_way(&record) {
        return not_begun(seen, record, (Reason::JobLost, format!("Job {name} could not be made in time.")));
    }
    let Some(instance) = seen.instance(&looked.name).filter(|instance| instance.uid == looked.uid) else {
        let message = format!("DatabaseInstance {} is gone or is another one now.", looked.name);
        return not_begun(seen, record, (Reason::DatabaseNotFound, message));
    };
    if let Some(waits) = contract::may_not_run(seen, &record) {
        return held_up(seen, record, (name, waits));
    }
    if !is_approved(instance, looked) {
        let message = format!(
            "DatabaseInstance {} is another database now than the one that was approved and backed up.",
            looked.name
        );
        return not_begun(seen, record, (Reason::IdentityUncertain, message));
    }
    if backup.proof < database.proof(true, looked.policy_proof) && !rehearse::restored(&record, backup) {
        let message = format!("DatabaseBackup {} is not proven as far as was asked.", backup.name);
        return not_begun(seen, record, (Reason::BackupFailed, message));
    }
    if let Some(actions) =
        database::end_former(seen, number, |number| manifests::migrate_name(&seen.release, &record, number))
    {
        let situation = told(&record, "Removing a Job that was not recorded before it ran.");
        return Plan { actions, ..Plan::stay(record, situation) }.into();
    }
    let (backup_uid, schema) = (&backup.uid, &backup.schema);
    let what = manifests::Migrate { name, number, instance, database, looked, backup_uid, schema };
    let job = manifests::migrate_job((&seen.release, &seen.settings), &content, what, attempt(seen, &record));
    let Some(job) = job else { return ending::content_lost(seen, record) };
    let actions = config::before(seen, (&content, attempt(seen, &record)), vec![Action::Create(Box::new(job))]);
    if !recorded(seen, &record) {
        // Suspended, it does nothing yet. The step and its UID are then recorded at once.
        return Plan { actions, ..as_before(seen, record) }.into();
    }
    let situation = told(&record, &format!("Making Job {name}, attempt {number}."));
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

/// Records the Job and, when a look has read that record back and the backup is still there, resumes it.
fn start(seen: &Observed, mut record: Record, (job, number): (&JobSeen, u8)) -> Move {
    let (Some(backup), Some(candidate)) = (record.backup.clone(), &record.candidate) else {
        return ending::content_lost(seen, record);
    };
    let revision = candidate.revision.clone();
    if let Some(waits) = contract::may_not_run(seen, &record) {
        if is_running(&record) && is_recorded(&record, job) && waits.is_known(seen) {
            return withdraw(record, job, waits.waiting());
        }
        return held_up(seen, record, (&job.name, waits));
    }
    // A Job that is recorded and does not run yet holds nobody: what ends the step ends it here as well.
    if is_running(&record) && is_recorded(&record, job) {
        match gives_up(seen, &record, (&job.name, None)) {
            Some(Move::To(_)) => return withdraw(record, job, "it is not to begin any more"),
            Some(asking) => return asking,
            None => {}
        }
    }
    let ask = Ask::LiveBackup(backup.name.clone());
    match seen.answer(&ask) {
        None => {
            let situation = told(&record, "Looking at the backup once more.");
            return Plan { asks: vec![ask], ..Plan::stay(record, situation) }.into();
        }
        Some(observed::Answer::Backup(Some(live))) if live.uid == backup.uid && is_whole(&live.state, &backup) => {}
        Some(_) if is_running(&record) && is_recorded(&record, job) => {
            return withdraw(record, job, "its backup is gone");
        }
        Some(_) => {
            let message = format!("DatabaseBackup {} is gone or not complete any more.", backup.name);
            return not_begun(seen, record, (Reason::BackupFailed, message));
        }
    }
    let now = started(revision, (number, job.uid.clone()));
    let read_back = recorded(seen, &record) && seen.record().migration.as_ref() == Some(&now);
    record.migration = Some(now);
    let actions = if read_back { vec![Action::resume(job)] } else { vec![] };
    let situation = migrating(&record, job, None);
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

/// Ends it before a Job of it runs; what an earlier one has done is not known then.
fn not_begun(seen: &Observed, mut record: Record, (reason, message): (Reason, String)) -> Move {
    let state = if is_first(&record) { MigrationProgress::NotStarted } else { MigrationProgress::Uncertain };
    if let Some(migration) = record.migration.as_mut().filter(|migration| migration.attempt > 1) {
        migration.state = state;
    }
    ending::failed(seen, record, (reason, format!("{message} {}", stands(state))))
}

/// Takes back a Job that is recorded and that nobody was seen to resume. Whoever led before may be about to: it is deleted
/// while nothing of it has run, and only then given up.
fn withdraw(record: Record, job: &JobSeen, why: &str) -> Move {
    let situation = told(&record, &format!("Removing Job {}: {why}.", job.name));
    let actions = if job.deleting { vec![] } else { vec![Action::delete(Kind::Job, &job.name, &job.uid)] };
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

/// Waits until a Contract migration may run: not for ever, and not against anybody's word.
fn held_up(seen: &Observed, record: Record, (name, waits): (&str, contract::Waits)) -> Move {
    // Before it is running that is asked at the begin of each look.
    if is_running(&record)
        && waits.is_known(seen)
        && let Some(moved) = gives_up(seen, &record, (name, Some(waits.waiting())))
    {
        return moved;
    }
    let situation = told(&record, &format!("Job {name} waits: {}.", waits.waiting()));
    waits.wait(seen, record, situation)
}

/// Believes nothing of a Job that was not recorded before it ran: somebody else made it, or resumed it. Another one takes its
/// place, which is recorded first: who reads an old status takes its own Job for that of somebody else, and cannot write.
fn of_somebody(seen: &Observed, mut record: Record, (job, number): (&JobSeen, u8)) -> Move {
    let Some(candidate) = &record.candidate else { return ending::content_lost(seen, record) };
    if record.migration.is_none() {
        record.migration = Some(started(candidate.revision.clone(), (number, String::new())));
    }
    again(seen, record, format!("Job {} was made or resumed by somebody else.", job.name))
}

/// Returns the record of a Job that may run from now on.
fn started(revision: RevisionId, (attempt, job): (u8, String)) -> MigrationRecord {
    let state = MigrationProgress::Started;
    MigrationRecord { revision, state, attempt, job, ended_at: None, undo: None, restore: None }
}

/// Returns whether status names this very Job, so that somebody may be about to resume it.
fn is_recorded(record: &Record, job: &JobSeen) -> bool {
    record.migration.as_ref().is_some_and(|migration| migration.job == job.uid)
}

fn is_whole(state: &BackupState, backup: &crate::api::BackupRecord) -> bool {
    matches!(state, BackupState::Complete(live) if live.proof >= backup.proof && live.manifest == backup.manifest)
}

/// Waits for the Job and reads what it says.
fn follow(seen: &Observed, mut record: Record, job: &JobSeen) -> Move {
    let answer: Answer<MigrateResult> = match database::result(seen, job) {
        Said::Nothing if !has_started(seen, job) => return not_started(seen, record, job),
        Said::Nothing => {
            // The deadline was for its start; from here on the agent keeps the time. Few migrations last until it is near.
            let near = record.deadline().and_then(|end| end.checked_sub(NEAR.as_signed()).ok());
            let near = near.filter(|near| seen.now < *near);
            if near.is_none() {
                record.deadline = None;
            }
            let situation = migrating(&record, job, None);
            let mut plan = Plan::stay(record, situation);
            near.into_iter().for_each(|near| plan.look_again_at(near));
            return plan.into();
        }
        Said::Lost(message) => return again(seen, record, message),
        Said::This(answer) => *answer,
    };
    let (state, problem) = match answer {
        // A Job that follows a lost one cannot speak for it.
        Answer::Refused(refusal) if is_first(&record) => (MigrationProgress::NotStarted, Some(refusal)),
        Answer::Refused(refusal) => (MigrationProgress::Uncertain, Some(refusal)),
        Answer::Done(result) => (progress(result.state), result.problem),
    };
    if let Some(migration) = &mut record.migration {
        migration.state = state;
        migration.ended_at = Some(MicroTime(seen.now));
    }
    let problem = if state == MigrationProgress::Applied {
        let content = candidate_content(seen, &record).cloned();
        let moved = content
            .and_then(|content| images::note_migration(seen, &mut record, &content, (&job.name, AGENT_CONTAINER)));
        if moved.is_none() {
            return applied(seen, record);
        }
        moved
    } else {
        problem.map(|problem| (problem.reason, problem.message))
    };
    let (reason, message) =
        problem.unwrap_or_else(|| (Reason::MigrationFailed, "It ended without success and said no more.".to_owned()));
    ending::failed(seen, record, (reason, format!("{} {}", ending::sentence(&message), stands(state))))
}

fn is_applied(record: &Record, migration: &MigrationRecord) -> bool {
    let of_candidate = record.candidate.as_ref().is_some_and(|candidate| candidate.revision == migration.revision);
    // Of this step, not of an earlier attempt of the same revision.
    let since = record.step_since.as_ref();
    let ended = migration.ended_at.as_ref().zip(since).is_some_and(|(ended, since)| ended.0 >= since.0);
    of_candidate && ended && migration.state == MigrationProgress::Applied
}

fn applied(seen: &Observed, record: Record) -> Move {
    if contract::is_under_way(&record) {
        return contract::applied(seen, record);
    }
    let limit = candidate_content(seen, &record).map(|content| content.deadlines.deploy);
    enter(record, Step::Deploy, seen.now, limit)
}

/// Returns whether the database is still the one that was looked at; it may have been marked since.
pub(super) fn is_approved(instance: &InstanceSeen, looked: &DatabaseRecord) -> bool {
    let Some(identity) = &instance.status.identity else { return false };
    let now = targets::fingerprint(identity);
    let without_marker = |text: &str| text.rsplit_once('/').map(|(who, _)| who.to_owned());
    now == looked.fingerprint
        || (looked.fingerprint.ends_with("/none") && without_marker(&now) == without_marker(&looked.fingerprint))
}

fn is_first(record: &Record) -> bool {
    record.migration.as_ref().is_none_or(|migration| migration.attempt == 1)
}

const fn progress(state: MigrationState) -> MigrationProgress {
    match state {
        MigrationState::Applied => MigrationProgress::Applied,
        MigrationState::Failed => MigrationProgress::Failed,
        MigrationState::Started => MigrationProgress::Uncertain,
        MigrationState::NotStarted | MigrationState::Undone => MigrationProgress::NotStarted,
    }
}

/// Returns whether the agent in a Job's pod was seen to run.
pub(super) fn has_started(seen: &Observed, job: &JobSeen) -> bool {
    seen.pods.iter().any(|pod| pod.job.as_deref() == Some(&job.name) && pod.agent_ran)
}

/// Waits for the pod to start. As long as it has not, nothing was migrated and nobody has to wait for it: it ends with
/// the deadline, with another spec, an abort or a deletion. The Job is deleted first; a pod that starts meanwhile is told
/// to end, and the ledger says how far it came.
fn not_started(seen: &Observed, record: Record, job: &JobSeen) -> Move {
    let pods = seen.pods.iter().filter(|pod| pod.job.as_deref() == Some(&job.name));
    let problem = pods.filter_map(|pod| pod.problem.as_deref()).next_back();
    let situation = migrating(&record, job, problem);
    // Its pod may run already and the node not have said so.
    let patience =
        record.deadline().and_then(|end| end.checked_sub(START.as_signed()).ok()).map(|since| later(since, PATIENCE));
    if let Some(until) = patience.filter(|until| problem.is_none() && seen.now < *until) {
        let mut plan = Plan::stay(record, situation);
        plan.look_again_at(until);
        return plan.into();
    }
    match gives_up(seen, &record, (&job.name, problem)) {
        Some(Move::To(_)) if !job.deleting => {
            let actions = vec![Action::delete(Kind::Job, &job.name, &job.uid)];
            Plan { actions, ..Plan::stay(record, situation) }.into()
        }
        Some(moved) => moved,
        None => Plan::stay(record, situation).into(),
    }
}

/// Says what is waited for, from before it is let begin until its end: that its pod has come up is worth no word of its own.
fn migrating(record: &Record, job: &JobSeen, problem: Option<&str>) -> Situation {
    told(record, &format!("Waiting for Job {} to migrate{}.", job.name, because(problem)))
}

/// Returns how a migration ends whose pod was not seen to start.
fn gives_up(seen: &Observed, record: &Record, (job, problem): (&str, Option<&str>)) -> Option<Move> {
    let mut record = record.clone();
    if let Some(migration) = &mut record.migration {
        migration.state = MigrationProgress::Uncertain;
        migration.ended_at = Some(MicroTime(seen.now));
    }
    if seen.release.deleting || !still_wanted(seen, &record) {
        return Some(ending::superseded(seen, record));
    }
    if overdue(seen, &record) {
        let message = format!("Job {job} did not start in time{}.", because(problem));
        return Some(ending::failed(seen, record, (Reason::JobLost, message)));
    }
    abort::check(seen, &record)
}

fn because(problem: Option<&str>) -> String {
    problem.map(|problem| format!(": {problem}")).unwrap_or_default()
}

/// Says what stays of a migration that was not applied.
const fn stands(state: MigrationProgress) -> &'static str {
    match state {
        MigrationProgress::NotStarted => "Nothing was migrated.",
        MigrationProgress::Failed => "What its files or its tool had committed before stays.",
        MigrationProgress::Applied => "The migration is applied.",
        MigrationProgress::Started | MigrationProgress::Uncertain => "The ledger in the database says how far it came.",
    }
}

/// Makes another Job when the pod of one was lost: the agent in it reads the ledger before it does anything.
fn again(seen: &Observed, mut record: Record, message: String) -> Move {
    match &mut record.migration {
        Some(migration) if migration.attempt < LOST_JOBS => {
            migration.attempt += 1;
            migration.job.clear();
            record.deadline = Some(MicroTime(later(seen.now, START)));
            let situation = told(&record, &format!("{message} Another Job asks the ledger how far it came."));
            Plan::stay(record, situation).into()
        }
        Some(migration) => {
            migration.state = MigrationProgress::Uncertain;
            ending::failed(seen, record, (Reason::MigrationUncertain, message))
        }
        None => ending::failed(seen, record, (Reason::MigrationUncertain, message)),
    }
}

fn attempt<'a>(seen: &'a Observed, record: &Record) -> Option<&'a super::super::observed::AttemptSeen> {
    seen.attempt(record.candidate.as_ref()?.attempt)
}

fn told(record: &Record, what: &str) -> Situation {
    let serves = record.active.as_ref().map(|active| format!(" {} serves on, untouched.", active.version));
    Situation::Working(Reason::Migrating, format!("{what}{}", serves.unwrap_or_default()))
}
