//! The database of a Release: its last backup, its last migration, the Jobs that work on it; pure.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    super::seen::{Backup, Job, Seen},
    ObjectView, RehearsalView, RevisionView, State,
    revisions::job,
};
use crate::{
    api::{
        BackupCopy, BackupProof, BackupProofSeconds, BackupRecord, DatabaseRecord, Environment, MigrationProgress,
        MigrationRecord, ProofLevel,
    },
    protocol::{self, Answer, DatabaseFacts, Done, InspectResult, MigrateResult, PendingResult, Refusal, Word},
    release::{observed::BackupState, words::proven},
};

/// The database of a Release, as the last attempt saw it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseView {
    /// Name of the DatabaseInstance.
    pub name: String,
    /// How its backup, its rehearsal and its migration are.
    pub state: State,
    /// The same in words.
    pub says: String,
    /// What it is declared to be; nothing before the first look.
    pub environment: Option<Environment>,
    /// `host:port`.
    pub endpoint: Option<String>,
    /// Version of the server.
    pub server_version: Option<String>,
    /// Its size when it was looked at.
    pub size_bytes: Option<i64>,
    /// The Jobs that looked at it, asked what is due and marked it.
    pub jobs: Vec<ObjectView>,
}

/// The last backup of a Release.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupView {
    /// Name of the DatabaseBackup.
    pub name: String,
    /// How it is.
    pub state: State,
    /// The same in words.
    pub says: String,
    /// What is done, or why it failed.
    pub message: Option<String>,
    /// When it was asked for.
    pub created: Option<Timestamp>,
    /// When its content was what the database held.
    pub taken_at: Option<Timestamp>,
    /// Stored bytes of one copy.
    pub size_bytes: Option<i64>,
    /// Tables in it.
    pub tables: Option<i64>,
    /// Rows in it.
    pub rows: Option<i64>,
    /// How far it is proven.
    pub proof: Option<ProofLevel>,
    /// What the proof took.
    pub proof_seconds: Option<BackupProofSeconds>,
    /// Where it is: a manifest in each storage.
    pub copies: Vec<BackupCopy>,
    /// Its Jobs, while it is not complete.
    pub jobs: Vec<ObjectView>,
}

/// The last migration of a Release.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationView {
    /// The revision it belongs to.
    pub revision: String,
    /// Version text of that revision, when it is known.
    pub version: Option<String>,
    /// What the ledger in the database says.
    pub progress: MigrationProgress,
    /// How it is.
    pub state: State,
    /// The same in words.
    pub says: String,
    /// What came of it, in the words of its last Job.
    pub message: Option<String>,
    /// How many Jobs were made for it.
    pub attempt: u8,
    /// When it was seen to have ended.
    pub ended_at: Option<Timestamp>,
    /// Its Jobs.
    pub jobs: Vec<ObjectView>,
}

/// Returns the database; `None` for a Release that has none.
pub(super) fn of(
    seen: &Seen,
    backup: Option<&BackupView>,
    rehearsal: Option<&RehearsalView>,
    migration: Option<&MigrationView>,
) -> Option<DatabaseView> {
    let record = seen.release.status.as_ref().and_then(|status| status.record.database.as_ref());
    let name = seen.release.spec.database.as_ref().map(|database| &database.name);
    let name = name.or_else(|| record.map(|record| &record.name))?.clone();
    let record = record.filter(|record| record.name == name);
    let children = [
        backup.map(|it| (it.state, format!("backup {}", it.says))),
        rehearsal.map(|it| (it.state, format!("rehearsal {}", it.says))),
        migration.map(|it| (it.state, format!("migration {}", it.says))),
    ];
    let (state, says) = sum_up(record, children);
    let looks = [InspectResult::VERB, PendingResult::VERB, DatabaseFacts::VERB];
    let jobs = seen.jobs.iter().filter(|job| job.verb.as_deref().is_some_and(|verb| looks.contains(&verb)));
    Some(DatabaseView {
        name,
        state,
        says,
        environment: record.map(|record| record.environment),
        endpoint: record.map(|record| record.endpoint.clone()),
        server_version: record.map(|record| record.server_version.clone()),
        size_bytes: record.map(|record| record.size_bytes),
        jobs: in_order(seen, jobs),
    })
}

fn sum_up(record: Option<&DatabaseRecord>, children: [Option<(State, String)>; 3]) -> (State, String) {
    let worst = children.into_iter().flatten().max_by_key(|(state, _)| *state);
    let told = worst.filter(|(state, _)| *state > State::Well && *state != State::Unknown);
    told.unwrap_or_else(|| match record {
        Some(_) => (State::Well, "looked at".to_owned()),
        None => (State::Off, "not looked at yet".to_owned()),
    })
}

/// Returns the newest backup; where it cannot be seen, what the Release remembers of it.
pub(super) fn backup(seen: &Seen) -> Option<BackupView> {
    let newest = seen.backups.iter().max_by_key(|backup| (backup.created, &backup.seen.name));
    let record = seen.release.status.as_ref().and_then(|status| status.record.backup.as_ref());
    newest.map(|backup| view(seen, backup)).or_else(|| record.map(remembered))
}

fn view(seen: &Seen, Backup { seen: backup, uid, status, created }: &Backup) -> BackupView {
    let (state, says, message) = match &backup.state {
        _ if backup.deleting => (State::Moving, "being deleted".to_owned(), None),
        BackupState::Working(what) => (State::Moving, "being taken".to_owned(), Some(what.clone())),
        BackupState::Complete(record) => (State::Well, proven(record.proof).to_owned(), None),
        BackupState::Failed { message, .. } => (State::Bad, "failed".to_owned(), Some(message.clone())),
    };
    let complete = matches!(backup.state, BackupState::Complete(_));
    let jobs = seen.jobs.iter().filter(|job| !complete && job.backup.as_deref() == Some(uid.as_str()));
    BackupView {
        name: backup.name.clone(),
        state,
        says,
        message,
        created: *created,
        taken_at: status.taken_at.as_ref().map(|time| time.0),
        size_bytes: status.size_bytes,
        tables: status.tables,
        rows: status.rows,
        proof: status.proof.as_ref().map(|proof| proof.level),
        proof_seconds: status.proof.as_ref().and_then(BackupProof::took),
        copies: status.copies.clone(),
        jobs: in_order(seen, jobs),
    }
}

fn remembered(record: &BackupRecord) -> BackupView {
    BackupView {
        name: record.name.clone(),
        state: State::Unknown,
        says: "cannot tell".to_owned(),
        message: Some(format!("it was {} and its manifest {}", proven(record.proof), record.manifest)),
        created: None,
        taken_at: Some(record.taken_at.0),
        size_bytes: None,
        tables: None,
        rows: None,
        proof: Some(record.proof),
        proof_seconds: None,
        copies: vec![],
        jobs: vec![],
    }
}

/// Returns the last migration.
pub(super) fn migration(seen: &Seen, revisions: &[RevisionView]) -> Option<MigrationView> {
    let status = seen.release.status.as_ref()?;
    let record = status.record.migration.as_ref()?;
    let (state, says) = match record.state {
        MigrationProgress::Started => (State::Moving, "running"),
        MigrationProgress::Applied => (State::Well, "applied"),
        MigrationProgress::Failed => (State::Bad, "failed"),
        MigrationProgress::Uncertain => (State::Bad, "uncertain"),
        MigrationProgress::NotStarted => (State::Warning, "not begun"),
    };
    let jobs: Vec<&Job> = seen
        .jobs
        .iter()
        .filter(|job| job.verb.as_deref() == Some(MigrateResult::VERB) && job.seen.revision == record.revision.digits())
        .collect();
    let revision = record.revision.to_string();
    let known = revisions.iter().find(|known| known.revision == revision).and_then(|known| known.version.clone());
    let history = &status.record.history;
    let ended = history.iter().rev().find(|entry| entry.revision == record.revision).map(|entry| entry.version.clone());
    Some(MigrationView {
        version: known.or(ended),
        revision,
        progress: record.state,
        state,
        says: says.to_owned(),
        message: result(seen, record, &jobs),
        attempt: record.attempt,
        ended_at: record.ended_at.as_ref().map(|time| time.0),
        jobs: in_order(seen, jobs.into_iter()),
    })
}

/// Says what came of a migration, when its Job is still there to be asked.
fn result(seen: &Seen, record: &MigrationRecord, jobs: &[&Job]) -> Option<String> {
    let job = jobs.iter().find(|job| job.seen.uid == record.job)?;
    let message = seen.message_of(&job.seen.name)?;
    let problem = |problem: Refusal| format!("{:?}: {}", problem.reason, problem.message);
    let result = match protocol::read::<Answer<MigrateResult>>(message)? {
        Answer::Refused(refusal) => return Some(problem(refusal)),
        Answer::Done(result) => result,
    };
    Some(match result.problem {
        Some(what) => problem(what),
        None if result.files == 1 => format!("1 file in {:.1} s", result.seconds),
        None if result.files > 1 => format!("{} files in {:.1} s", result.files, result.seconds),
        None => format!("in {:.1} s", result.seconds),
    })
}

pub(super) fn in_order<'a>(seen: &Seen, jobs: impl Iterator<Item = &'a Job>) -> Vec<ObjectView> {
    let mut jobs: Vec<&Job> = jobs.collect();
    jobs.sort_by_key(|job| (job.created, job.seen.name.clone()));
    jobs.into_iter().map(|it| job(seen, it)).collect()
}
