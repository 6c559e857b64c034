//! What several steps share about the database of a Release: the Job that looks at it, the claim, its words; pure.

use jiff::{SignedDuration, Timestamp};

use super::{
    super::{
        manifests::{self, LookFor},
        observed::{Answer, Ask, InstanceSeen, JobSeen, JobState, Observed, StorageSeen},
    },
    Action, checks, contract, pending, when_recorded,
};
use crate::{
    agent_job::targets,
    api::{
        Change, DatabaseRecord, DatabaseRollback, Migration, MigrationSource, PendingMigration, Reason, Record,
        ReleaseDatabase, ReleaseSpec,
    },
    protocol::{self, DatabaseFacts, InspectResult, MigrationFacts, MigrationState, Refusal, Word},
};

/// How many times a Job is made again whose pod ended without a word.
pub(super) const LOST_JOBS: u8 = 3;

/// What is known of the database.
pub(super) enum Look {
    /// Not enough yet: what to do, what to ask, what to tell.
    Working(Vec<Action>, Vec<Ask>, String),
    /// It may not be used as it is.
    Refused(Reason, String),
    /// What was seen.
    Seen(Box<DatabaseRecord>),
}

/// Looks at the database by a Job of its own, once per step.
pub(super) fn look(seen: &Observed, record: &Record, spec: &ReleaseSpec, database: &ReleaseDatabase) -> Look {
    let instance = match usable(seen, database) {
        Ok(instance) => instance,
        Err(look) => return *look,
    };
    if let Some(look) = claimed_by_another(seen, instance).or_else(|| cannot_restore(spec, instance)) {
        return look;
    }
    let storages = match storages(seen, instance, database) {
        Ok(storages) => storages,
        Err((reason, message)) => return Look::Refused(reason, message),
    };
    let name = manifests::look_name(&seen.release, record);
    let Some(job) = seen.job(&name) else {
        let what = LookFor { name, instance, storages: &storages, migration: database.migration.as_ref() };
        let job = manifests::look_job((&seen.release, &seen.settings), spec, what);
        // What is made counts from the record, which must be there first.
        let actions = when_recorded(seen, record, Action::Create(Box::new(job)));
        return Look::Working(actions, vec![], checks::looking(record, spec));
    };
    match result::<InspectResult>(seen, job) {
        Said::Nothing => Look::Working(vec![], vec![], checks::looking(record, spec)),
        Said::Lost(message) => Look::Refused(Reason::JobLost, message),
        Said::This(result) => {
            let names = storages.iter().map(|storage| storage.name.clone()).collect();
            match judge(*result, (database, instance), names) {
                Err(refusal) => refused(&database.name, refusal),
                Ok((looked, state)) => pending::ask(seen, record, (spec, instance), (looked, state)),
            }
        }
    }
}

/// Has a database marked that never was; seen when the Job says so, done when the DatabaseInstance does.
pub(super) fn mark(seen: &Observed, record: &Record, (spec, instance): (&ReleaseSpec, &InstanceSeen)) -> Look {
    let name = manifests::mark_name(&seen.release, record);
    let told = || format!("Marking database {} as ours.", instance.name);
    let Some(job) = seen.job(&name) else {
        let owner = record.candidate.as_ref().and_then(|candidate| seen.attempt(candidate.attempt));
        let job = manifests::mark_job((&seen.release, &seen.settings), spec, (name, instance), owner);
        let actions = when_recorded(seen, record, Action::Create(Box::new(job)));
        return Look::Working(actions, vec![], told());
    };
    if job.suspended {
        return Look::Working(vec![Action::resume(job)], vec![], told());
    }
    match result::<protocol::Answer<DatabaseFacts>>(seen, job) {
        Said::Lost(message) => Look::Refused(Reason::JobLost, message),
        Said::Nothing => Look::Working(vec![], vec![], told()),
        Said::This(answer) => match *answer {
            protocol::Answer::Refused(refusal) => refused(&instance.name, refusal),
            protocol::Answer::Done(_) => Look::Working(vec![], vec![], told()),
        },
    }
}

pub(super) fn refused(database: &str, refusal: Refusal) -> Look {
    Look::Refused(refusal.reason, format!("Database {database}: {}", refusal.message))
}

/// Returns the DatabaseInstance when it is ready to be used.
fn usable<'a>(seen: &'a Observed, database: &ReleaseDatabase) -> Result<&'a InstanceSeen, Box<Look>> {
    let name = &database.name;
    let Some(instance) = seen.instance(name) else {
        let message = format!(
            "DatabaseInstance {name} does not exist in namespace {}. Nothing was changed. Create it, or correct \
             spec.database.name.",
            seen.release.namespace
        );
        return Err(Box::new(Look::Refused(Reason::DatabaseNotFound, message)));
    };
    if instance.is_ready() {
        return Ok(instance);
    }
    let why = instance.problem();
    if instance.is_stalled() {
        let message = format!("DatabaseInstance {name} is not ready: {why} Nothing was changed.");
        return Err(Box::new(Look::Refused(Reason::DatabaseNotReady, message)));
    }
    Err(Box::new(Look::Working(vec![], vec![], format!("Waiting for DatabaseInstance {name}: {why}"))))
}

/// Refuses a release that asks for a restore on its way back which could not be made.
fn cannot_restore(spec: &ReleaseSpec, instance: &InstanceSeen) -> Option<Look> {
    if spec.rollback.database != DatabaseRollback::Restore {
        return None;
    }
    let lacks = match (&instance.spec.postgres.admin, &instance.spec.capacity) {
        (Some(_), Some(_)) => return None,
        (None, _) => "spec.postgres.admin, the role that makes and renames databases",
        (Some(_), None) => "spec.capacity, how much the server may hold",
    };
    let message = format!(
        "spec.rollback.database is Restore, and DatabaseInstance {} lacks {lacks}. Nothing was changed. Have an administrator \
         add it, or ask for Keep.",
        instance.name
    );
    Some(Look::Refused(Reason::RestoreNotPossible, message))
}

/// Refuses a database that a Release which still exists has claimed.
pub(super) fn claimed_by_another(seen: &Observed, instance: &InstanceSeen) -> Option<Look> {
    let claim = instance.claim().filter(|claim| claim.release_uid != seen.release.uid)?;
    let ask = Ask::LiveRelease { name: claim.release.clone(), uid: claim.release_uid.clone() };
    match seen.answer(&ask) {
        None => Some(Look::Working(vec![], vec![ask], format!("Asking whether Release {} exists.", claim.release))),
        Some(Answer::Exists(false)) => None,
        Some(_) => Some(Look::Refused(
            Reason::DatabaseClaimed,
            format!(
                "DatabaseInstance {} belongs to Release {}: one Release per database. Nothing was changed.",
                instance.name, claim.release
            ),
        )),
    }
}

/// Returns where the backup goes.
fn storages(
    seen: &Observed,
    instance: &InstanceSeen,
    database: &ReleaseDatabase,
) -> Result<Vec<StorageSeen>, (Reason, String)> {
    let asked = &database.backup.storage;
    let default = instance.spec.backups.as_ref().map(|backups| &backups.storage);
    let names = default.filter(|_| asked.is_empty()).unwrap_or(asked);
    if names.is_empty() {
        let message = format!(
            "No BackupStorage is named: neither spec.database.backup.storage nor spec.backups.storage of \
             DatabaseInstance {}. Nothing was changed.",
            instance.name
        );
        return Err((Reason::StorageNotFound, message));
    }
    names
        .iter()
        .map(|name| {
            let found = seen.storages.iter().find(|storage| storage.name == *name).ok_or_else(|| {
                let message = format!("BackupStorage {name} does not exist in namespace {}.", seen.release.namespace);
                (Reason::StorageNotFound, message)
            })?;
            if found.allows(&instance.name) {
                Ok(found.clone())
            } else {
                let message = format!("BackupStorage {name} does not allow database {}.", instance.name);
                Err((Reason::DestinationNotAllowed, message))
            }
        })
        .collect()
}

/// Concludes from what the Job has seen: also what the ledger says of the migration.
fn judge(
    result: InspectResult,
    (database, instance): (&ReleaseDatabase, &InstanceSeen),
    storages: Vec<String>,
) -> Result<(DatabaseRecord, Option<MigrationState>), Refusal> {
    let facts = match result.database {
        Some(protocol::Answer::Done(facts)) => facts,
        Some(protocol::Answer::Refused(refusal)) => return Err(refusal),
        None => return Err(said_nothing("the database")),
    };
    let seen: Vec<&String> = result.storages.iter().map(|storage| &storage.name).collect();
    if seen.len() != storages.len() {
        return Err(said_nothing("each storage"));
    }
    if let Some(problem) = result.storages.into_iter().find_map(|storage| storage.problem) {
        return Err(problem);
    }
    let (pending, state) = match (&database.migration, result.migration) {
        (None, _) => (None, None),
        (Some(_), None) => return Err(said_nothing("the migration")),
        (Some(_), Some(protocol::Answer::Refused(refusal))) => return Err(refusal),
        (Some(migration), Some(protocol::Answer::Done(facts))) => {
            let state = facts.state;
            let is_sql = matches!(migration.source, MigrationSource::Sql(_));
            (due_of(facts, is_sql, migration.is_idempotent())?, Some(state))
        }
    };
    let schema = match (database.backup.is_reused(), result.schema) {
        (true, Some(protocol::Answer::Done(schema))) => Some(schema),
        (true, Some(protocol::Answer::Refused(refusal))) => return Err(refusal),
        (true, None) => return Err(said_nothing("the schema")),
        (false, _) => None,
    };
    let looked = DatabaseRecord {
        name: database.name.clone(),
        uid: instance.uid.clone(),
        fingerprint: targets::fingerprint(&targets::identity(&facts)),
        endpoint: facts.endpoint,
        server_version: facts.server_version,
        size_bytes: i64::try_from(facts.size_bytes).unwrap_or(i64::MAX),
        environment: instance.spec.environment,
        storages,
        schema,
        policy_proof: None,
        pending,
        asked: false,
    };
    Ok((looked, state))
}

fn said_nothing(of: &str) -> Refusal {
    Refusal { reason: Reason::JobLost, message: format!("the Job that looked said nothing of {of}.") }
}

/// Returns what is due; `None` when nothing is.
fn due_of(facts: MigrationFacts, files: bool, idempotent: bool) -> Result<Option<PendingMigration>, Refusal> {
    match facts.state {
        // Files that were added since are due, whatever the revision's row says.
        MigrationState::Applied if !files => return Ok(None),
        MigrationState::Started if !idempotent => {
            let message =
                "the migration of this revision began earlier and its end is not known: look at the database, \
                           then declare the migration idempotent or release something else."
                    .to_owned();
            return Err(Refusal { reason: Reason::MigrationUncertain, message });
        }
        MigrationState::Started
        | MigrationState::NotStarted
        | MigrationState::Failed
        | MigrationState::Undone
        | MigrationState::Applied => {}
    }
    if files && facts.pending == 0 {
        return Ok(None);
    }
    let names = facts.pending_names.into_iter().take(16).collect();
    Ok(Some(PendingMigration {
        checksum: facts.checksum,
        files: files.then_some(facts.pending),
        names,
        findings: facts.findings.into_iter().take(16).collect(),
        found: facts.found,
    }))
}

/// Returns the migration that the attempt runs when something of it is due: of a release one that the version before
/// works on; the other kind has an attempt of its own.
pub(super) fn due<'a>(
    record: &Record,
    (database, looked): (&'a ReleaseDatabase, &DatabaseRecord),
) -> Option<&'a Migration> {
    let change = if contract::is_under_way(record) { Change::Contract } else { Change::Expand };
    database.migration_of(change).filter(|_| looked.pending.is_some())
}

/// What a Job has said.
pub(super) enum Said<T> {
    /// It runs still.
    Nothing,
    /// It ended without a word that can be read.
    Lost(String),
    /// This.
    This(Box<T>),
}

/// How long the word of a Job that has ended may take to be seen: Jobs and pods come through different watches.
const LATE: SignedDuration = SignedDuration::from_secs(10);

/// Returns when the last word that may still come would have come.
pub(super) fn last_word(seen: &Observed) -> Option<Timestamp> {
    let late = |job: &JobSeen| job.ended?.checked_add(LATE).ok();
    seen.jobs.iter().filter(|job| job.ours).filter_map(late).filter(|at| *at > seen.now).max()
}

/// Reads the result of a Job; a missing one is neither a success nor a reason to run again.
pub(super) fn result<W: Word>(seen: &Observed, job: &JobSeen) -> Said<W> {
    let ended = match &job.state {
        JobState::Running => return Said::Nothing,
        JobState::Complete => "is complete and left no result that can be read".to_owned(),
        JobState::Failed { reason, message } => format!("failed: {reason}: {message}"),
    };
    let mut pods: Vec<_> = seen.pods.iter().filter(|pod| pod.job.as_deref() == Some(&job.name)).collect();
    pods.sort_by_key(|pod| pod.created);
    let said = pods.iter().rev().find_map(|pod| pod.message.as_deref());
    match said.and_then(protocol::read) {
        Some(result) => Said::This(Box::new(result)),
        None if job.ended.and_then(|ended| ended.checked_add(LATE).ok()).is_some_and(|late| late > seen.now) => {
            Said::Nothing
        }
        None => {
            let problem = pods.iter().rev().find_map(|pod| pod.problem.clone());
            Said::Lost(problem.map_or_else(
                || format!("Job {} {ended}.", job.name),
                |problem| format!("Job {} {ended}: {problem}.", job.name),
            ))
        }
    }
}

/// Ends Jobs that still run though others have taken their place; `None` when there is none. How far they came says the
/// ledger, or the server, to the next one.
pub(super) fn end_former(seen: &Observed, number: u8, name: impl Fn(u8) -> String) -> Option<Vec<Action>> {
    let names: Vec<String> = (1..number).map(name).collect();
    let former = names.iter().filter_map(|name| seen.job(name)).filter(|job| job.state == JobState::Running);
    let former: Vec<&JobSeen> = former.collect();
    let ends =
        former.iter().filter(|job| !job.deleting).map(|job| Action::delete(manifests::Kind::Job, &job.name, &job.uid));
    (!former.is_empty()).then(|| ends.collect())
}

/// Returns the database that a content names and the attempt has looked at.
pub(super) fn of<'a>(
    content: &'a ReleaseSpec,
    record: &'a Record,
) -> Option<(&'a ReleaseDatabase, &'a DatabaseRecord)> {
    Some((content.database.as_ref()?, record.database.as_ref()?))
}
