//! `rehearse`: one migration on a restored copy of the data, before it runs on the database itself.
//!
//! Three containers of one pod, one after the other: `restore` has the storage's credentials and no user's code, `migrate`
//! and `conclude` have the user's image and nothing but the copy. Between the last two a pod of the old version may have to
//! get ready. What each has seen lies in the folder that they share, for the one that speaks for all.
//!
//! Never here: a credential of production. Its address is tried without one, to say whether it could be reached.

mod observe;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use self::observe::{Observer, Tables};
use super::{
    backup::Places,
    manifest::Manifest,
    mark, migrate,
    postgres::{connect, fingerprint::Catalogue},
    proof::{self, Proven},
    redact::Redactor,
    refuse, say,
    scratch::{self, keep},
    store::Store,
};
use crate::{
    api::{Duration as Length, Reason, RehearsalFindings},
    clock::Stopwatch,
    protocol::{
        DatabaseTarget, MarkParameters, MigrateParameters, MigrateResult, MigrationState, MigrationWork, ProofSeconds,
        Refusal, RehearseParameters, RehearseResult,
    },
};

/// How long production's address may take to answer.
const REACH: Duration = Duration::from_secs(3);
/// How long a storage may fail before it is given up, as for backups.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many differences a message names.
const NAMED: usize = 5;
/// What `restore` leaves.
const RESTORED: &str = "restored.json";
/// What `migrate` leaves.
const MIGRATED: &str = "migrated.json";

/// What the migration has shown, and what the schema was before.
#[derive(Serialize, Deserialize)]
struct Migrated {
    findings: RehearsalFindings,
    before: Catalogue,
    /// Tables and columns once it had run.
    tables: Tables,
}

/// Where a rehearsal's folders are.
#[derive(Debug, Clone)]
pub struct Folders {
    /// In memory, for what must be a file.
    pub memory: PathBuf,
    /// What the pod's containers share.
    pub shared: PathBuf,
}

/// Restores the backup into the scratch container, where it stays; by that it is proven.
///
/// # Errors
/// It is not what was stored, or not what was counted.
pub async fn restore(parameters: &RehearseParameters, folders: &Folders) -> Result<ProofSeconds, Refusal> {
    let store = Store::open(&parameters.storage, PATIENCE).await?;
    let (attempt, manifest) = Manifest::read(&store, &parameters.copy).await?;
    if manifest.backup_uid != parameters.migration.backup_uid {
        let text = format!("{} is of another DatabaseBackup", parameters.copy.manifest);
        return Err(refuse(Reason::BackupVerificationFailed, text));
    }
    let places = Places { programs: PathBuf::new(), memory: folders.memory.clone(), scratch: folders.shared.clone() };
    let proven = Proven { places: &places, attempt: &attempt, content: &manifest.content, data: &manifest.data };
    let seconds = proof::restored(&store, &proven, &scratch::Request::kept(&manifest.content)).await?;
    leave(&folders.shared, RESTORED, &seconds)?;
    Ok(seconds)
}

/// Runs the migration on the copy as it will run on the database, and looks at what it does.
///
/// # Errors
/// It did not pass.
pub async fn migrate(
    parameters: &RehearseParameters,
    redactor: &Redactor,
    folders: &Folders,
) -> Result<RehearsalFindings, Refusal> {
    let reaches_production = answers(&parameters.production).await;
    let copy = known(&parameters.migration.database).await?;
    let observer = Observer::begin(&copy).await?;
    let work = parameters.migration.work.clone().rehearsed();
    let migration = MigrateParameters { database: copy, work, ..parameters.migration.clone() };
    let result = passed(migrate::run(&migration, redactor, &folders.memory).await)?;
    let (before, tables, seen) = observer.end(&migration).await?;
    let findings = RehearsalFindings { took: length(result.seconds), reaches_production, ..seen };
    leave(&folders.shared, MIGRATED, &Migrated { findings: findings.clone(), before, tables })?;
    Ok(findings)
}

/// Takes the migration back where a command says how, and says what all have seen.
///
/// # Errors
/// It cannot be taken back, or leaves another schema than there was.
pub async fn conclude(
    parameters: &RehearseParameters,
    redactor: &Redactor,
    folders: &Folders,
) -> Result<RehearseResult, Refusal> {
    let restored: ProofSeconds = read(&folders.shared, RESTORED)?;
    let Migrated { mut findings, before, tables } = read(&folders.shared, MIGRATED)?;
    if parameters.down.is_empty() {
        return Ok(RehearseResult { restored, findings });
    }
    // The old version would hold what is taken away.
    keep::close(&folders.shared).await?;
    let copy = known(&parameters.migration.database).await?;
    let watch = Stopwatch::start();
    let work = MigrationWork::Down { argv: parameters.down.clone(), takes: None, direct: false };
    let down = MigrateParameters { database: copy.clone(), work, ..parameters.migration.clone() };
    passed(migrate::run(&down, redactor, &folders.memory).await)?;
    findings.down = Some(length(watch.elapsed().as_secs_f64()));
    let session = connect(&copy, "rehearsal").await?;
    let mut takes = observe::taken(&tables, &observe::tables(&session.client).await?);
    findings.takes_more = takes.len() > observe::TOLD;
    takes.truncate(observe::TOLD);
    findings.takes = takes;
    let left = before.changes_to(&Catalogue::read(&session.client).await?);
    if left.is_empty() {
        return Ok(RehearseResult { restored, findings });
    }
    let more = left.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let named: Vec<&str> = left.iter().take(NAMED).map(String::as_str).collect();
    let text = format!("`down` does not restore the schema that was there before: {}{more}", named.join("; "));
    Err(refuse(Reason::RehearsalFailed, text))
}

/// Returns the copy, and who it must be: a copy has no marker until it gets one.
async fn known(copy: &DatabaseTarget) -> Result<DatabaseTarget, Refusal> {
    let facts = mark::run(&MarkParameters { database: copy.clone() }).await?;
    Ok(DatabaseTarget { expect: Some(facts.identity), endpoint: Some(facts.endpoint), ..copy.clone() })
}

/// Returns what came of a migration that passed.
fn passed(came: Result<MigrateResult, Refusal>) -> Result<MigrateResult, Refusal> {
    let result = came.map_err(failed)?;
    match (&result.problem, result.state) {
        (None, MigrationState::Applied | MigrationState::Undone) => Ok(result),
        (None, state) => Err(failed(refuse(Reason::MigrationFailed, format!("the ledger of the copy says {state:?}")))),
        (Some(problem), _) => Err(failed(problem.clone())),
    }
}

/// What failed, failed on the copy; what it would have been called otherwise stays in the words.
fn failed(problem: Refusal) -> Refusal {
    let text = format!("On a restored copy of the data: {}: {}", problem.reason.as_str(), problem.message);
    refuse(Reason::RehearsalFailed, text)
}

/// Returns whether something accepts a connection there.
async fn answers(endpoint: &str) -> bool {
    let connecting = tokio::net::TcpStream::connect(endpoint);
    let answered = matches!(tokio::time::timeout(REACH, connecting).await, Ok(Ok(_)));
    if answered {
        say(&format!("note: {endpoint} answers from where the migration is rehearsed"));
    }
    answered
}

fn length(seconds: f64) -> Length {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    Length::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn leave(folder: &Path, name: &str, what: &impl Serialize) -> Result<(), Refusal> {
    let failed = |why: String| refuse(Reason::RehearsalFailed, format!("{name} cannot be written: {why}"));
    let text = serde_json::to_vec(what).map_err(|error| failed(error.to_string()))?;
    std::fs::write(folder.join(name), text).map_err(|error| failed(error.to_string()))
}

fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, Refusal> {
    let failed = |why: String| refuse(Reason::RehearsalFailed, format!("{name} cannot be read: {why}"));
    let text = std::fs::read(folder.join(name)).map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))
}
