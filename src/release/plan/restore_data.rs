//! RestoreData: on the way back, `down` takes the migration back where the release asks for it, or the data of the backup
//! come back (`restore_data/restore.rs`); pure.
//!
//! Traffic has gone back before, and nothing here keeps the attempt from ending: what is not taken back stays, which the
//! earlier version is declared to work on. The agent refuses, under the database's lock, what would lose a row. As with a
//! migration, the Job is made suspended, its UID is recorded, and only a look that reads that record back resumes it; from
//! then on it is let end.

mod ask;
mod restore;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        manifests,
        observed::{JobSeen, Observed},
    },
    Action, Move, Plan, Situation, candidate_content,
    database::{self, LOST_JOBS, Said},
    ending, enter, later, migrate, overdue, recorded, when_recorded,
};
use crate::{
    api::{
        DatabaseRollback, Migration, MigrationProgress, Reason, Record, RehearsalFindings, RehearsalRecord,
        ReleaseSpec, RestoreRecord, Step, UndoProgress, UndoRecord, clamp,
    },
    protocol::{Answer, MigrateResult, MigrationState},
};

pub(super) use ask::{approve, reject};
pub(super) use restore::is_waiting;

/// Returns whether the attempt that goes back has migrated, asks for that to be taken back, and does not know yet what
/// became of it.
pub(super) fn is_due(seen: &Observed, record: &Record) -> bool {
    let Some(candidate) = record.candidate.as_ref().filter(|candidate| !candidate.contract) else { return false };
    let content = candidate_content(seen, record);
    let restores = content.is_some_and(|content| content.rollback.database == DatabaseRollback::Restore);
    let asks = restores || content.is_some_and(|content| asked(content).is_some());
    asks && record.migration.as_ref().is_some_and(|migration| {
        let of_attempt = migration.ended_at.as_ref().is_some_and(|ended| ended.0 >= candidate.since.0);
        let open = if restores {
            migration.restore.as_ref().is_none_or(RestoreRecord::is_open)
        } else {
            migration.undo.as_ref().is_none_or(|undo| undo.state == UndoProgress::Started)
        };
        migration.state == MigrationProgress::Applied && migration.revision == candidate.revision && of_attempt && open
    })
}

/// Returns the migration of a content that is taken back on the way back.
fn asked(content: &ReleaseSpec) -> Option<&Migration> {
    let migration = content.database.as_ref()?.migration.as_ref()?;
    (content.rollback.database == DatabaseRollback::Down && !migration.down.is_empty()).then_some(migration)
}

/// Returns whether its Job may have started.
pub(super) fn is_running(record: &Record) -> bool {
    restore::is_running(record) || is_undoing(record)
}

fn is_undoing(record: &Record) -> bool {
    record.step == Step::RestoreData && undo(record).is_some_and(|undo| undo.state == UndoProgress::Started)
}

fn undo(record: &Record) -> Option<&UndoRecord> {
    record.migration.as_ref()?.undo.as_ref()
}

pub(super) fn plan(seen: &Observed, record: Record) -> Move {
    if !is_running(&record) && !is_due(seen, &record) {
        return without_content(seen, record);
    }
    let restores = candidate_content(seen, &record).map(|content| content.rollback.database);
    // What runs is let end, by the record alone.
    if restore::is_running(&record) || (!is_undoing(&record) && restores == Some(DatabaseRollback::Restore)) {
        return restore::plan(seen, record);
    }
    let number = undo(&record).map_or(1, |undo| undo.attempt);
    let name = manifests::undo_name(&seen.release, &record, number);
    match seen.job(&name) {
        None if is_undoing(&record) && undo(&record).is_some_and(|undo| !undo.job.is_empty()) => {
            again(seen, record, format!("Job {name} is gone."))
        }
        None => make(seen, record, (&name, number)),
        Some(job) if job.suspended => start(seen, record, (job, number)),
        Some(job) if undo(&record).is_some_and(|undo| undo.job == job.uid) => follow(seen, record, job),
        // Nothing is believed of a Job that was not recorded before it ran.
        Some(_) => again(seen, record, format!("Job {name} was made or resumed by somebody else.")),
    }
}

/// Goes on; where people were asked, or were about to be, it is said why nothing follows.
fn without_content(seen: &Observed, record: Record) -> Move {
    if candidate_content(seen, &record).is_none() && restore::is_open(&record) {
        return restore::kept(seen, record, "what was approved is gone: somebody deleted its ControllerRevision");
    }
    enter(record, Step::CleanUp, seen.now, None)
}

/// Makes the Job, suspended; what it would lose has to be known.
fn make(seen: &Observed, record: Record, (name, number): (&str, u8)) -> Move {
    let Some(content) = candidate_content(seen, &record).cloned() else {
        return kept(seen, record, "its content is gone");
    };
    let (Some((database, looked)), Some(backup)) = (database::of(&content, &record), &record.backup) else {
        return kept(seen, record, "its database is not known any more");
    };
    // Of this attempt: `down` may be another one, and another attempt may have used the same backup.
    let is_its_own = |rehearsal: &&RehearsalRecord| {
        let candidate = record.candidate.as_ref();
        rehearsal.backup == backup.uid
            && candidate.is_some_and(|it| rehearsal.revision == it.revision && rehearsal.at.0 >= it.since.0)
    };
    let rehearsal = record.rehearsal.as_ref().filter(is_its_own);
    let Some(findings) = rehearsal.map(|rehearsal| &rehearsal.findings).filter(|findings| is_known(findings)) else {
        return kept(seen, record, "what `down` loses is not known: it was not rehearsed, or takes too many columns");
    };
    let instance = seen.instance(&looked.name).filter(|instance| instance.uid == looked.uid);
    let Some(instance) = instance.filter(|instance| migrate::is_approved(instance, looked)) else {
        return kept(seen, record, "the database is gone or is another one now");
    };
    let (backup_uid, schema) = (&backup.uid, "");
    let what = manifests::Migrate { name, number, instance, database, looked, backup_uid, schema };
    let owner = record.candidate.as_ref().and_then(|candidate| seen.attempt(candidate.attempt));
    let job = manifests::undo_job((&seen.release, &seen.settings), &content, (what, findings.takes.clone()), owner);
    let Some(job) = job else { return kept(seen, record, "it has no migration") };
    if overdue(seen, &record) {
        return kept(seen, record, &format!("Job {name} could not be made in time"));
    }
    let former = database::end_former(seen, number, |number| manifests::undo_name(&seen.release, &record, number));
    let actions = former.unwrap_or_else(|| when_recorded(seen, &record, Action::Create(Box::new(job))));
    let situation = told(&record);
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

fn is_known(findings: &RehearsalFindings) -> bool {
    findings.down.is_some() && !findings.takes_more
}

/// Records the Job and, when a look has read that record back, resumes it.
fn start(seen: &Observed, mut record: Record, (job, number): (&JobSeen, u8)) -> Move {
    let now = UndoRecord { state: UndoProgress::Started, attempt: number, job: job.uid.clone() };
    let before = seen.record().migration.as_ref().and_then(|migration| migration.undo.as_ref());
    let read_back = recorded(seen, &record) && before == Some(&now);
    note(&mut record, now);
    let actions = if read_back { vec![Action::resume(job)] } else { vec![] };
    let situation = told(&record);
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

/// Waits for the Job and reads what it says.
fn follow(seen: &Observed, mut record: Record, job: &JobSeen) -> Move {
    let answer: Answer<MigrateResult> = match database::result(seen, job) {
        Said::Nothing if migrate::has_started(seen, job) => {
            // From here on the agent keeps the time.
            record.deadline = None;
            let situation = told(&record);
            return Plan::stay(record, situation).into();
        }
        Said::Nothing if overdue(seen, &record) => {
            let why = format!("Job {} did not start in time", job.name);
            return ended(seen, record, (UndoProgress::Uncertain, &why));
        }
        Said::Nothing => {
            let situation = told(&record);
            return Plan::stay(record, situation).into();
        }
        Said::Lost(message) => return again(seen, record, message),
        Said::This(answer) => *answer,
    };
    match answer {
        Answer::Refused(refusal) => kept(seen, record, &refusal.message),
        Answer::Done(result) => match (result.state, result.problem) {
            (MigrationState::Undone, _) => ended(seen, record, (UndoProgress::Undone, "")),
            (_, Some(problem)) => ended(seen, record, (UndoProgress::Uncertain, &problem.message)),
            (_, None) => ended(seen, record, (UndoProgress::Uncertain, "it ended without success and said no more")),
        },
    }
}

/// Makes another Job when the pod of one was lost: the agent in it reads the ledger before it does anything.
fn again(seen: &Observed, mut record: Record, message: String) -> Move {
    let number = undo(&record).map_or(1, |undo| undo.attempt);
    if number >= LOST_JOBS {
        return ended(seen, record, (UndoProgress::Uncertain, &message));
    }
    note(&mut record, UndoRecord { state: UndoProgress::Started, attempt: number + 1, job: String::new() });
    record.deadline = Some(MicroTime(later(seen.now, migrate::START)));
    let situation = told(&record);
    Plan::stay(record, situation).into()
}

/// Ends it where it is refused or cannot begin; one that follows a lost one cannot speak for that.
fn kept(seen: &Observed, record: Record, why: &str) -> Move {
    let is_first = undo(&record).is_none_or(|undo| undo.attempt == 1);
    ended(seen, record, (if is_first { UndoProgress::Kept } else { UndoProgress::Uncertain }, why))
}

/// Says what became of it, and goes on: nothing of this keeps an attempt from ending.
fn ended(seen: &Observed, mut record: Record, (state, why): (UndoProgress, &str)) -> Move {
    let before = undo(&record).cloned().unwrap_or(UndoRecord { state, attempt: 1, job: String::new() });
    note(&mut record, UndoRecord { state, ..before });
    let why = why.trim_end_matches('.');
    let text = match state {
        UndoProgress::Undone => "`down` took the migration back; it is due again.".to_owned(),
        UndoProgress::Kept => format!("The schema stays as it was migrated: {why}."),
        UndoProgress::Started | UndoProgress::Uncertain => {
            format!("Whether `down` took the migration back is not certain, the ledger in the database says: {why}.")
        }
    };
    if let Some(ending) = &mut record.ending {
        ending.message = clamp(&format!("{} {text}", ending::sentence(&ending.message))).to_owned();
    }
    enter(record, Step::CleanUp, seen.now, None)
}

fn note(record: &mut Record, undo: UndoRecord) {
    if let Some(migration) = &mut record.migration {
        migration.undo = Some(undo);
    }
}

fn told(record: &Record) -> Situation {
    let message = format!("{} `down` takes the migration back.", ending::told(record));
    Situation::Working(Reason::RestoringData, message)
}
