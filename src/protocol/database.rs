//! Databases: what a Job shall do with one, and what came of it.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::api::{
    BackupProofSeconds, Duration, Environment, LintFinding, ProofLevel, Reason, RehearsalFindings, Taken,
};

/// What came of a Job: what it was asked for, or why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer<T> {
    /// It was done.
    Done(T),
    /// It was refused or failed; nothing is left that looks as if it had been done.
    Refused(Refusal),
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// For machines.
    pub reason: Reason,
    /// For people: what happened, on which object, why. Redacted.
    pub message: String,
}

/// Who a database is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The server's system identifier, `pg_control_system()`.
    pub system_identifier: String,
    /// The database's oid.
    pub oid: u32,
    /// The database's name.
    pub name: String,
    /// The row of `switchback.identity`; absent before the first write contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<Marker>,
}

/// The one row of `switchback.identity`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marker {
    /// Made once, for ever.
    pub uuid: Uuid,
    /// What the database was declared to be.
    pub environment: Environment,
    /// Rises at each write contact of ours.
    pub epoch: i64,
}

/// A database, and who it must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseTarget {
    /// Name of the `DatabaseInstance`, for messages.
    pub name: String,
    /// Folder with the Secret's files.
    pub secret: PathBuf,
    /// Declared environment.
    pub environment: Environment,
    /// Who it was when it was last seen: system identifier, oid, name and marker must be equal, the epoch at least
    /// that high. Absent: never seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Identity>,
    /// `host:port` where it was seen last; nothing is sent to another. A copy that was started elsewhere may have
    /// everything else in common with the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// What was seen of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseFacts {
    /// Who it is.
    pub identity: Identity,
    /// `host:port` as connected to.
    pub endpoint: String,
    /// SHA-256 of the server certificate's public key, hex; absent without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Version of the server, `15.18`.
    pub server_version: String,
    /// Size of the database in bytes.
    pub size_bytes: u64,
}

/// A storage for backups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageTarget {
    /// Name of the `BackupStorage`.
    pub name: String,
    /// Where it is.
    pub place: StoragePlace,
}

/// Where a storage is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum StoragePlace {
    /// S3 and compatible.
    S3 {
        /// Bucket.
        bucket: String,
        /// What every key begins with; may be empty.
        #[serde(default)]
        prefix: String,
        /// Address of the service; absent: Amazon's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        /// Region.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        /// Folder with the Secret's files.
        secret: PathBuf,
    },
    /// A mounted volume.
    Volume {
        /// Folder in it.
        path: PathBuf,
    },
}

/// `inspect`: looks at a database and at storages; writes nothing but a probe object in each storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectParameters {
    /// The database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseTarget>,
    /// Storages: a probe object is written once, a second create of it must be refused, it is read and deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storages: Vec<StorageTarget>,
    /// The migration that is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrationTarget>,
    /// Whether the schema is read, to tell which backups hold it as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub schema: bool,
}

/// Whose migration it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationTarget {
    /// UID of the Release.
    pub release_uid: String,
    /// Revision of the Release, `v1-` and ten digits.
    pub revision: String,
    /// Folder with files of SQL; absent for a migration by command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<PathBuf>,
}

/// What `inspect` saw; it is always done. Each part by itself may have been refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectResult {
    /// The database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Answer<DatabaseFacts>>,
    /// The storages, in the order asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storages: Vec<StorageFacts>,
    /// The migration; absent also when the database was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Answer<MigrationFacts>>,
    /// Fingerprint of the schema, hex, where it was asked for; absent also when the database was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Answer<String>>,
}

/// What was seen of a storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageFacts {
    /// Name of the `BackupStorage`.
    pub name: String,
    /// Why it cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Refusal>,
}

/// What was seen of a migration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationFacts {
    /// What the ledger says of this release and revision.
    pub state: MigrationState,
    /// SHA-256 over names and contents of all files, hex; empty for a migration by command. An approval covers it.
    #[serde(default)]
    pub checksum: String,
    /// How many files there are.
    #[serde(default)]
    pub files: u32,
    /// How many of them were not applied yet.
    #[serde(default)]
    pub pending: u32,
    /// Names of the first of these.
    #[serde(default)]
    pub pending_names: Vec<String>,
    /// What lint found in the pending files, the first of it.
    #[serde(default)]
    pub findings: Vec<LintFinding>,
    /// How many findings there are.
    #[serde(default)]
    pub found: u32,
}

/// What the ledger says of one migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MigrationState {
    /// Nothing.
    NotStarted,
    /// It began and its end is not known.
    Started,
    /// It was applied.
    Applied,
    /// It ended without success.
    Failed,
    /// It was applied and taken back: it is due again.
    Undone,
}

/// `mark`: writes the marker of a database that has none; one that is there already is reported, not replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MarkParameters {
    /// The database; its `expect` must have no marker or the one that is found. Result: `Answer<DatabaseFacts>`.
    pub database: DatabaseTarget,
}

/// `backup`: takes one backup, stores it, proves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupParameters {
    /// The database.
    pub database: DatabaseTarget,
    /// Where it goes; done when all hold it.
    pub storages: Vec<StorageTarget>,
    /// UID of the `DatabaseBackup`.
    pub backup_uid: String,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// How far it is proven in this Job.
    pub proof: ProofLevel,
    /// Gives way when the dump's locks make others wait for more than five seconds.
    pub yield_to_ddl: bool,
    /// When the Job gives up by itself.
    pub timeout: Duration,
}

/// What came of `backup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupResult {
    /// The database as it was.
    pub database: DatabaseFacts,
    /// One entry per storage.
    pub copies: Vec<CopyResult>,
    /// Stored bytes of one copy.
    pub size_bytes: u64,
    /// Tables in it.
    pub tables: u64,
    /// Rows in it.
    pub rows: u64,
    /// Position of the snapshot in the write-ahead log (`pg_lsn`).
    pub position: String,
    /// Fingerprint of the schema in it, hex.
    #[serde(default)]
    pub schema: String,
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
    /// When the last manifest was written.
    pub completed_at: Timestamp,
    /// How far it is proven.
    pub proof: ProofResult,
}

/// One copy of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyResult {
    /// Name of the `BackupStorage`.
    pub storage: String,
    /// Key of the manifest in it.
    pub manifest: String,
    /// SHA-256 of the manifest, hex.
    pub sha256: String,
}

/// How far a backup is proven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofResult {
    /// How far.
    pub level: ProofLevel,
    /// When.
    pub at: Timestamp,
    /// What it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<BackupProofSeconds>,
}

/// What a restore took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofSeconds {
    /// To fetch and read the data.
    pub fetch: f64,
    /// To restore it; fetching runs beside.
    pub restore: f64,
    /// To compare and check what was restored.
    pub check: f64,
}

impl From<ProofSeconds> for BackupProofSeconds {
    fn from(ProofSeconds { fetch, restore, check }: ProofSeconds) -> Self {
        Self { fetch, restore: Some(restore), check: Some(check) }
    }
}

/// `migrate`: runs one migration under the database's lock, against the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrateParameters {
    /// The database; `expect` with a marker.
    pub database: DatabaseTarget,
    /// UID of the Release.
    pub release_uid: String,
    /// Revision of the Release.
    pub revision: String,
    /// UID of the `DatabaseBackup` that was proven before; recorded in the ledger.
    pub backup_uid: String,
    /// What runs.
    pub work: MigrationWork,
    /// Whether it may run again after an uncertain end.
    pub idempotent: bool,
    /// Fingerprint of the schema that was backed up and rehearsed, hex: another one is refused. Empty: none is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub schema: String,
    /// Whether this Job follows one of the same attempt whose word was lost: it asks what came of that one, and does
    /// not try again what has failed.
    #[serde(default)]
    pub again: bool,
    /// How long it may take.
    pub timeout: Duration,
    /// How long one statement may wait for a lock.
    pub lock_timeout: Duration,
}

/// `pending`: asks a command of the user's image whether anything of its migration is due, in sessions that only read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingParameters {
    /// The database.
    pub database: DatabaseTarget,
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// How long one statement may wait for a lock.
    pub lock_timeout: Duration,
}

/// What came of `pending`. Result: `Answer<PendingResult>`; refused: it is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingResult {
    /// Whether anything is due.
    pub due: bool,
}

/// `report`: writes what became of a release beside the backup that it rested on, once, in each storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportParameters {
    /// The storages; the first is the one that the manifest's key is of.
    pub storages: Vec<StorageTarget>,
    /// Key of the backup's manifest in the first storage.
    pub manifest: String,
    /// UID of the Release.
    pub release: String,
    /// Number of its attempt. Several attempts, of several Releases, may rest on one backup.
    pub attempt: u32,
    /// What is written.
    pub report: Value,
}

/// What came of `report`. Result: `Answer<ReportResult>`; refused: at least one storage does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportResult {
    /// Its key in each storage, in the order asked.
    pub keys: Vec<String>,
}

/// `rehearse`: tries one migration on a restored copy of the data, where nothing of production can be reached by it. The
/// three containers of its pod that do so have the same parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RehearseParameters {
    /// Where the backup is.
    pub storage: StorageTarget,
    /// The backup's copy there.
    pub copy: CopyResult,
    /// The migration as it will run; its database is the copy.
    pub migration: MigrateParameters,
    /// The command that takes it back; empty: nothing does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub down: Vec<String>,
    /// `host:port` of production, which should not answer.
    pub production: String,
}

/// What came of `rehearse`. Result: `Answer<RehearseResult>`; refused: the migration must not run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RehearseResult {
    /// What restoring the backup took: it is proven as `Restored` by that.
    pub restored: ProofSeconds,
    /// What was seen of the migration.
    pub findings: RehearsalFindings,
}

/// What a migration runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum MigrationWork {
    /// Files of SQL, run by the agent.
    Sql {
        /// Folder with them.
        folder: PathBuf,
        /// Their checksum as approved: other files are refused.
        checksum: String,
    },
    /// A command of the user's image. It reaches the database through the agent's port: `DATABASE_URL` and `PG*`.
    Command {
        /// Program and arguments; no shell.
        argv: Vec<String>,
        /// The child connects by itself, not through the agent's port.
        #[serde(default)]
        direct: bool,
    },
    /// A command that takes back what another one of the same image has applied; in all else like that.
    Down {
        /// Program and arguments; no shell.
        argv: Vec<String>,
        /// What it removes: refused when rows would go with it. Absent: nothing is refused, as on a copy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        takes: Option<Vec<Taken>>,
        /// The child connects by itself, not through the agent's port.
        #[serde(default)]
        direct: bool,
    },
}

impl MigrationWork {
    /// Returns it as it is rehearsed: the copy is reached through the agent's port alone, whoever connects by itself in
    /// production.
    #[must_use]
    pub fn rehearsed(self) -> Self {
        match self {
            Self::Command { argv, direct: _ } => Self::Command { argv, direct: false },
            Self::Down { argv, takes, direct: _ } => Self::Down { argv, takes, direct: false },
            Self::Sql { .. } => self,
        }
    }

    /// Returns what the ledger says when it went well.
    #[must_use]
    pub const fn success(&self) -> MigrationState {
        match self {
            Self::Sql { .. } | Self::Command { .. } => MigrationState::Applied,
            Self::Down { .. } => MigrationState::Undone,
        }
    }
}

/// What came of `migrate`. Result: `Answer<MigrateResult>`; refused: nothing has begun in this run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrateResult {
    /// What the ledger says now; `Started`: uncertain.
    pub state: MigrationState,
    /// Why it is not `Applied`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Refusal>,
    /// The database afterwards, with its new epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseFacts>,
    /// When the first statement was sent, by this clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// Files applied in this run.
    #[serde(default)]
    pub files: u32,
    /// Seconds it took.
    #[serde(default)]
    pub seconds: f64,
}
