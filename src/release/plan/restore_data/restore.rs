//! Restore: on the way back, the backup of the attempt takes the place of the database, once people have approved what is
//! lost by that; pure.
//!
//! A Job counts what would be lost and writes nothing. What it says is a plan with a digest of its own, which waits for
//! Decisions with gate DataLoss while the earlier version serves. Nobody's word, another version that is asked for, or
//! too long a time leaves the data as they are. Once it is approved, a Job is made suspended, its UID is recorded, and only
//! a look that reads that record back resumes it; from then on it is let end.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        super::{
            manifests::{self, Restore},
            observed::{InstanceSeen, JobSeen, Observed, StorageSeen},
        },
        Action, Move, Plan, Situation, candidate_content,
        database::{self, LOST_JOBS, Said},
        ending, enter, later, migrate, overdue, recorded, when_recorded,
    },
    ask,
};
use crate::{
    agent_job::targets,
    api::{BackupRecord, DatabaseRecord, Reason, Record, ReleaseSpec, RestoreProgress, RestoreRecord, Step, clamp},
    protocol::{Answer, RestoreDataResult},
};

pub(super) fn record_of(record: &Record) -> Option<&RestoreRecord> {
    record.migration.as_ref()?.restore.as_ref()
}

/// Returns whether one of its Jobs may have started.
pub(super) fn is_running(record: &Record) -> bool {
    record.step == Step::RestoreData
        && record_of(record).is_some_and(|restore| {
            // Of one that follows a lost one nobody knows how far that came.
            restore.state == RestoreProgress::Started && (!restore.job.is_empty() || restore.attempt > 1)
        })
}

/// Returns whether it is not at its end.
pub(super) fn is_open(record: &Record) -> bool {
    record_of(record).is_some_and(RestoreRecord::is_open)
}

/// Returns whether people are asked.
pub(in super::super) fn is_waiting(record: &Record) -> bool {
    record.step == Step::RestoreData
        && record_of(record).is_some_and(|restore| restore.state == RestoreProgress::Waiting)
}

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    let Some(restore) = record_of(&record).cloned() else {
        note(&mut record, began(seen, RestoreProgress::Counting));
        record.deadline = Some(MicroTime(later(seen.now, migrate::START)));
        return plan(seen, record);
    };
    match restore.state {
        RestoreProgress::Counting => ask::count(seen, record, &restore),
        RestoreProgress::Waiting => ask::wait(seen, record, &restore),
        RestoreProgress::Started => run(seen, record, &restore),
        RestoreProgress::Restored | RestoreProgress::Kept | RestoreProgress::Uncertain => {
            enter(record, Step::CleanUp, seen.now, None)
        }
    }
}

pub(super) fn began(seen: &Observed, state: RestoreProgress) -> RestoreRecord {
    RestoreRecord {
        state,
        attempt: 1,
        job: String::new(),
        since: MicroTime(seen.now),
        loss: None,
        plan: None,
        decision: String::new(),
        approved_by: vec![],
        before: None,
        safety: vec![],
    }
}

/// What a Job works on, as it was approved and is still there.
pub(super) struct Found<'a> {
    pub content: &'a ReleaseSpec,
    pub looked: &'a DatabaseRecord,
    pub backup: &'a BackupRecord,
    pub instance: &'a InstanceSeen,
    pub storages: Vec<StorageSeen>,
}

pub(super) fn find<'a>(seen: &'a Observed, record: &'a Record) -> Result<Found<'a>, &'static str> {
    let content = candidate_content(seen, record).ok_or("its content is gone")?;
    let (_, looked) = database::of(content, record).ok_or("its database is not known any more")?;
    let backup = record.backup.as_ref().ok_or("its backup is not known any more")?;
    let instance = seen.instance(&looked.name).filter(|instance| is_as_approved(instance, looked));
    let instance = instance.ok_or("the database is gone or is another one now")?;
    let find = |name: &String| seen.storages.iter().find(|storage| storage.name == *name).cloned();
    let storages: Option<Vec<StorageSeen>> = looked.storages.iter().map(find).collect();
    let storages = storages.ok_or("a BackupStorage of it is gone")?;
    Ok(Found { content, looked, backup, instance, storages })
}

fn is_as_approved(instance: &InstanceSeen, looked: &DatabaseRecord) -> bool {
    instance.uid == looked.uid && migrate::is_approved(instance, looked)
}

/// Returns what a Job works on; `safety` is the UID and the attempt of the backup of what is replaced.
pub(super) fn what<'a>(found: &'a Found<'_>, name: &'a str, safety: (&'a str, u8)) -> Restore<'a> {
    let Found { content: _, looked, backup, instance, storages } = found;
    Restore { name, instance, looked, backup, storages, safety }
}

/// Restores, by a Job that is let end.
fn run(seen: &Observed, record: Record, restore: &RestoreRecord) -> Move {
    let name = manifests::restore_name(&seen.release, &record, restore.attempt);
    match seen.job(&name) {
        None if restore.job.is_empty() => make(seen, record, (&name, restore)),
        Some(job) if job.suspended && restore.job.is_empty() => start(seen, record, (job, restore)),
        Some(job) if job.uid == restore.job && job.suspended => start(seen, record, (job, restore)),
        Some(job) if job.uid == restore.job => follow(seen, record, (job, restore)),
        None => again(seen, record, (restore, format!("Job {name} is gone: somebody deleted it"))),
        // Nothing is believed of a Job that was not recorded before it ran.
        Some(_) => again(seen, record, (restore, format!("Job {name} was made or resumed by somebody else"))),
    }
}

fn make(seen: &Observed, record: Record, (name, restore): (&str, &RestoreRecord)) -> Move {
    let made = find(seen, &record).and_then(|found| {
        let what = what(&found, name, (&restore.decision, restore.attempt));
        let owner = record.candidate.as_ref().and_then(|candidate| seen.attempt(candidate.attempt));
        manifests::restore_job((&seen.release, &seen.settings), found.content, (&what, &record), owner)
            .ok_or("the DatabaseInstance names no capacity, or the storage of the backup is gone")
    });
    match made {
        Ok(_) if overdue(seen, &record) => {
            let why = format!("Job {name} could not be made in time");
            not_made(seen, record, (restore, &why))
        }
        Ok(job) => {
            let of = |number| manifests::restore_name(&seen.release, &record, number);
            let former = database::end_former(seen, restore.attempt, of);
            let actions = former.unwrap_or_else(|| when_recorded(seen, &record, Action::Create(Box::new(job))));
            let situation = told(&record);
            Plan { actions, ..Plan::stay(record, situation) }.into()
        }
        Err(why) => not_made(seen, record, (restore, why)),
    }
}

/// Ends it when there is no Job to be made. What an earlier one has done is not known then.
fn not_made(seen: &Observed, record: Record, (restore, why): (&RestoreRecord, &str)) -> Move {
    let state = if restore.attempt > 1 { RestoreProgress::Uncertain } else { RestoreProgress::Kept };
    ended(seen, record, (state, why))
}

/// Records the Job and, when a look has read that record back, resumes it.
fn start(seen: &Observed, mut record: Record, (job, restore): (&JobSeen, &RestoreRecord)) -> Move {
    let now = RestoreRecord { job: job.uid.clone(), ..restore.clone() };
    let read_back = recorded(seen, &record) && record_of(seen.record()) == Some(&now);
    note(&mut record, now);
    let actions = if read_back { vec![Action::resume(job)] } else { vec![] };
    let situation = told(&record);
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

/// Waits for the Job and reads what it says.
fn follow(seen: &Observed, mut record: Record, (job, restore): (&JobSeen, &RestoreRecord)) -> Move {
    let answer: Answer<RestoreDataResult> = match database::result(seen, job) {
        Said::Nothing if migrate::has_started(seen, job) => {
            // From here on the agent keeps the time.
            record.deadline = None;
            let situation = told(&record);
            return Plan::stay(record, situation).into();
        }
        Said::Nothing if overdue(seen, &record) => {
            let why = format!("Job {} did not start in time", job.name);
            return ended(seen, record, (RestoreProgress::Uncertain, &why));
        }
        Said::Nothing => {
            let situation = told(&record);
            return Plan::stay(record, situation).into();
        }
        Said::Lost(message) => return again(seen, record, (restore, message)),
        Said::This(answer) => *answer,
    };
    match answer {
        Answer::Refused(refusal) if refusal.reason == Reason::RestoreUncertain => {
            again(seen, record, (restore, refusal.message))
        }
        Answer::Refused(refusal) => kept(seen, record, &refusal.message),
        Answer::Done(result) => restored(seen, record, &result),
    }
}

/// Has the DatabaseInstance know who its database is now, then says that it is done.
fn restored(seen: &Observed, mut record: Record, result: &RestoreDataResult) -> Move {
    let ours = |instance: &&InstanceSeen| {
        let claimed = instance.claim().is_some_and(|claim| claim.release_uid == seen.release.uid);
        let was = instance.status.identity.as_ref().is_some_and(|it| it.oid == i64::from(result.before_oid));
        // Only who was replaced; whatever else it is said to be by now is not ours to say.
        claimed && was && record.database.as_ref().is_some_and(|looked| is_as_approved(instance, looked))
    };
    let instance = record.database.as_ref().and_then(|looked| seen.instance(&looked.name));
    if let Some(instance) = instance.filter(ours) {
        let identify = Action::identify(instance, targets::identity(&result.database), seen.now);
        let actions = when_recorded(seen, &record, identify);
        let situation = told(&record);
        return Plan { actions, ..Plan::stay(record, situation) }.into();
    }
    if let Some(restore) = record.migration.as_mut().and_then(|migration| migration.restore.as_mut()) {
        restore.loss = Some(result.loss.clone());
        restore.before = Some(result.before.clone());
        restore.safety = result.safety.iter().map(|copy| format!("{}/{}", copy.storage, copy.manifest)).collect();
    }
    let lost = result.loss.words();
    let why = format!("Lost were {lost}. The former database stays, closed, as {}", result.before);
    ended(seen, record, (RestoreProgress::Restored, &why))
}

/// Stays with what it does now.
pub(super) fn stay_with(mut record: Record, restore: RestoreRecord, told: impl Fn(&Record) -> Situation) -> Move {
    note(&mut record, restore);
    let situation = told(&record);
    Plan::stay(record, situation).into()
}

/// Makes another Job when the word of one was lost: the agent in it finds out how far that came.
fn again(seen: &Observed, mut record: Record, (restore, message): (&RestoreRecord, String)) -> Move {
    if restore.attempt >= LOST_JOBS {
        return ended(seen, record, (RestoreProgress::Uncertain, &message));
    }
    record.deadline = Some(MicroTime(later(seen.now, migrate::START)));
    stay_with(record, RestoreRecord { attempt: restore.attempt + 1, job: String::new(), ..restore.clone() }, told)
}

pub(super) fn kept(seen: &Observed, record: Record, why: &str) -> Move {
    ended(seen, record, (RestoreProgress::Kept, why))
}

/// Says what became of it, and goes on: nothing of this keeps an attempt from ending.
fn ended(seen: &Observed, mut record: Record, (state, why): (RestoreProgress, &str)) -> Move {
    let before = record_of(&record).cloned().unwrap_or_else(|| began(seen, state));
    note(&mut record, RestoreRecord { state, since: MicroTime(seen.now), ..before });
    let why = why.trim_end_matches('.');
    let text = match state {
        RestoreProgress::Restored => format!("The data of its backup are back. {why}."),
        RestoreProgress::Kept => format!("The data and the migrated schema stay as they are: {why}."),
        RestoreProgress::Counting
        | RestoreProgress::Waiting
        | RestoreProgress::Started
        | RestoreProgress::Uncertain => {
            format!("Whether its backup is in the place of the database is not certain: {why}.")
        }
    };
    if let Some(ending) = &mut record.ending {
        ending.message = clamp(&format!("{} {text}", ending::sentence(&ending.message))).to_owned();
    }
    enter(record, Step::CleanUp, seen.now, None)
}

pub(super) fn note(record: &mut Record, restore: RestoreRecord) {
    if let Some(migration) = &mut record.migration {
        migration.restore = Some(restore);
    }
}

pub(super) fn told(record: &Record) -> Situation {
    let by = record_of(record).map(|restore| restore.approved_by.join(", ")).unwrap_or_default();
    let message = format!("{} The backup takes the place of the database, approved by {by}.", ending::told(record));
    Situation::Working(Reason::RestoringData, message)
}
