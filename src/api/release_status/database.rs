//! What an attempt knows of its database: as it was looked at, its backup, its migration.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::PlanRecord;
use crate::api::{DataLoss, Duration, Environment, ProofLevel, RevisionId};

/// What was seen of the database when the plan was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseRecord {
    /// Name of the DatabaseInstance.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID of the DatabaseInstance.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Who it is: `SYSTEM/OID/NAME/MARKER`.
    #[schemars(length(max = 256))]
    pub fingerprint: String,
    /// Where it answered.
    #[schemars(length(max = 300))]
    pub endpoint: String,
    /// Version of the server.
    #[schemars(length(max = 64))]
    pub server_version: String,
    /// Its size in bytes.
    pub size_bytes: i64,
    /// What it is declared to be.
    pub environment: Environment,
    /// Names of the BackupStorages that the backup goes to.
    #[schemars(length(max = 4), inner(length(max = 253)))]
    pub storages: Vec<String>,
    /// Fingerprint of its schema, where a backup is reused: only one of the same schema is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub schema: Option<String>,
    /// How far ReleasePolicies want its backup proven, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_proof: Option<ProofLevel>,
    /// What the migration consists of; absent when nothing of it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingMigration>,
    /// Whether its own command, `migration.pending`, has said what is due.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
}

/// What a migration consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingMigration {
    /// SHA-256 over names and contents of all files; empty for a command.
    #[schemars(length(max = 64))]
    pub checksum: String,
    /// Files not applied yet; of a command it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u32>,
    /// Names of the first of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub names: Vec<String>,
    /// What lint found in these, the first of it; of a command it is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub findings: Vec<LintFinding>,
    /// How many findings there are.
    #[serde(default)]
    pub found: u32,
}

/// What lint found in a file of SQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LintFinding {
    /// Name of the file.
    #[schemars(length(max = 253))]
    pub file: String,
    /// Line of the file, from 1.
    pub line: u32,
    /// The rule: one of squawk's, or `unbounded-delete`, `unbounded-update`, `truncate`.
    #[schemars(length(max = 64))]
    pub rule: String,
    /// What it says.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// The last backup that a release took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupRecord {
    /// Name of the DatabaseBackup.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Key of the manifest in the first storage.
    #[schemars(length(max = 1024))]
    pub manifest: String,
    /// Name of that storage.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub storage: String,
    /// SHA-256 of the manifest, hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub sha256: String,
    /// Fingerprint of the schema in it; empty where the agent that took it knew none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub schema: String,
    /// How far it is proven.
    pub proof: ProofLevel,
    /// When its snapshot was taken.
    pub taken_at: MicroTime,
}

/// The last rehearsal of a migration that passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RehearsalRecord {
    /// The revision whose migration it was.
    pub revision: RevisionId,
    /// UID of the DatabaseBackup that was restored for it, and so proven.
    #[schemars(length(max = 64))]
    pub backup: String,
    /// When it was seen to have passed.
    pub at: MicroTime,
    /// How long fetching, restoring and comparing that backup took: the time a recovery would take.
    pub recovery: Duration,
    /// What was seen.
    #[serde(flatten)]
    pub findings: RehearsalFindings,
}

/// What a rehearsal has shown, on a scratch server that waits for no disk and serves nobody else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RehearsalFindings {
    /// How long the migration took.
    pub took: Duration,
    /// The files of SQL that took longest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub files: Vec<TimedFile>,
    /// Locks that keep others from writing or reading, those held longest. One held for less than some hundredths of a
    /// second may not be seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub locks: Vec<HeldLock>,
    /// Tables that were written anew as a whole, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 128)))]
    pub rewritten: Vec<String>,
    /// Rows inserted, updated and deleted.
    #[serde(default)]
    pub rows: i64,
    /// Tables and columns that taking it back removes or makes others, the first of them; with them go their rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub takes: Vec<Taken>,
    /// Whether there are more of these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_more: bool,
    /// Objects of the schema that became others.
    #[serde(default)]
    pub changes: u32,
    /// How long taking it back took; absent when nothing says how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<Duration>,
    /// Whether production's address answered from there.
    #[serde(default)]
    pub reaches_production: bool,
}

/// What is lost with a table or a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// The table, quoted as PostgreSQL quotes it.
    #[schemars(length(max = 140))]
    pub table: String,
    /// The column; absent: the whole table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 140))]
    pub column: Option<String>,
}

/// A file of SQL and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimedFile {
    /// Its name.
    #[schemars(length(max = 128))]
    pub name: String,
    /// How long it took.
    pub took: Duration,
}

/// A lock on a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldLock {
    /// The table, with its schema.
    #[schemars(length(max = 128))]
    pub table: String,
    /// Its mode, as PostgreSQL names it.
    #[schemars(length(max = 32))]
    pub mode: String,
    /// How long it was held at a stretch.
    pub held: Duration,
}

/// The last migration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationRecord {
    /// The revision it belongs to.
    pub revision: RevisionId,
    /// What is known of it.
    pub state: MigrationProgress,
    /// How many Jobs were made for it.
    pub attempt: u8,
    /// UID of the last of these.
    #[schemars(length(max = 64))]
    pub job: String,
    /// When it was seen to have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<MicroTime>,
    /// What became of taking it back, when its attempt went back and asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoRecord>,
    /// What became of restoring the data of its backup, when its attempt went back and asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreRecord>,
}

/// How the data of a backup are restored on the way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreRecord {
    /// How far it is.
    pub state: RestoreProgress,
    /// How many Jobs were made for what it does now.
    pub attempt: u8,
    /// UID of the last of these.
    #[schemars(length(max = 64))]
    pub job: String,
    /// Since when it is so.
    pub since: MicroTime,
    /// What would be lost, as it was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<DataLoss>,
    /// What people approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanRecord>,
    /// UID of the Decision by which it began; the backup of what is replaced has it too.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub decision: String,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 256)))]
    pub approved_by: Vec<String>,
    /// Name of the former database, which is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub before: Option<String>,
    /// Keys of the manifests of the backup of what was replaced, one per storage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(max = 1300)))]
    pub safety: Vec<String>,
}

/// How far restoring the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum RestoreProgress {
    /// What would be lost is counted.
    Counting,
    /// It waits for Decisions with gate DataLoss.
    Waiting,
    /// It was approved; its Job is about to start, or has.
    Started,
    /// The backup is in the place of the database.
    Restored,
    /// The data stay as they are.
    Kept,
    /// Its Jobs were lost: the agent of another one would find out.
    Uncertain,
}

impl RestoreRecord {
    /// Returns whether it is not at its end.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        match self.state {
            RestoreProgress::Counting | RestoreProgress::Waiting | RestoreProgress::Started => true,
            RestoreProgress::Restored | RestoreProgress::Kept | RestoreProgress::Uncertain => false,
        }
    }
}

/// How a migration is taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UndoRecord {
    /// What is known of it.
    pub state: UndoProgress,
    /// How many Jobs were made for it.
    pub attempt: u8,
    /// UID of the last of these.
    #[schemars(length(max = 64))]
    pub job: String,
}

/// What is known of taking a migration back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum UndoProgress {
    /// Its Job is about to start, or has.
    Started,
    /// The ledger says that it was taken back: it is due again.
    Undone,
    /// The schema stays as it was migrated.
    Kept,
    /// It began and its end is not known, or it failed.
    Uncertain,
}
/// What is known of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum MigrationProgress {
    /// Its Job is about to start, or has.
    Started,
    /// The ledger says applied.
    Applied,
    /// The ledger says that it ended without success.
    Failed,
    /// It began and its end is not known.
    Uncertain,
    /// It ended before its first statement.
    NotStarted,
}
