//! DatabaseBackup: one backup and its proof.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{Condition, ProofLevel, names};

/// One backup of a database.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchback.dev",
    version = "v1alpha1",
    kind = "DatabaseBackup",
    plural = "databasebackups",
    category = "switchback",
    shortname = "dbb",
    namespaced,
    status = "DatabaseBackupStatus",
    doc = "One backup of a database and its proof. Creating it takes the backup; deleting it keeps what is stored.",
    printcolumn(name = "Database", type_ = "string", json_path = ".spec.database"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Proof", type_ = "string", json_path = ".status.proof.level"),
    printcolumn(name = "Rows", type_ = "integer", json_path = ".status.rows"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.sizeBytes"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Manifest", type_ = "string", json_path = ".status.copies[0].manifest.key", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "a DatabaseBackup cannot be changed: create another one"))]
pub struct DatabaseBackupSpec {
    /// Name of the DatabaseInstance.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub database: String,
    /// Names of the BackupStorages that get a copy each (default: those of the DatabaseInstance).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 253), regex(pattern = names::OBJECT)))]
    pub storage: Vec<String>,
    /// How far it is proven before it counts as complete (default: as the DatabaseInstance says, else Restored).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofLevel>,
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum BackupPhase {
    /// Something must be mended before it can begin.
    Waiting,
    /// It is taken and proven.
    Running,
    /// All copies are stored, and proven as far as was asked.
    Completed,
    /// It was given up; another DatabaseBackup is needed.
    Failed,
}

impl BackupPhase {
    /// Returns the phase as status carries it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Status of a DatabaseBackup.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseBackupStatus {
    /// Generation of the spec that the conditions speak of; -1 before the first look.
    #[serde(default = "super::never_observed")]
    pub observed_generation: i64,
    /// What holds, in the form that kstatus reads.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Waiting, Running, Completed or Failed.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub phase: String,
    /// When the first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// When it ended, well or badly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<MicroTime>,
    /// When its content was what the database held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<MicroTime>,
    /// Position of that moment in the write-ahead log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub position: Option<String>,
    /// Fingerprint of the schema at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub schema: Option<String>,
    /// UUID of the database's marker, under which the storages keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub marker: Option<String>,
    /// One entry per storage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub copies: Vec<BackupCopy>,
    /// Stored bytes of one copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// Tables in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<i64>,
    /// Rows in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// How far it is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<BackupProof>,
    /// How many Jobs were started for it.
    #[serde(default)]
    pub attempts: i32,
    /// UID of the present attempt's Job; it is resumed only after this stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub job: Option<String>,
    /// When the next attempt begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<MicroTime>,
}

impl Default for DatabaseBackupStatus {
    fn default() -> Self {
        Self {
            observed_generation: super::never_observed(),
            conditions: Vec::new(),
            phase: String::new(),
            started_at: None,
            completed_at: None,
            taken_at: None,
            position: None,
            schema: None,
            marker: None,
            copies: Vec::new(),
            size_bytes: None,
            tables: None,
            rows: None,
            proof: None,
            attempts: 0,
            job: None,
            retry_at: None,
        }
    }
}

/// One copy of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupCopy {
    /// Name of the BackupStorage.
    #[schemars(length(max = 253))]
    pub storage: String,
    /// What a restore begins with.
    pub manifest: BackupManifest,
}

/// The manifest of a copy: without it there is no backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupManifest {
    /// Its key in the storage.
    #[schemars(length(max = 1024))]
    pub key: String,
    /// Its SHA-256, hex.
    #[schemars(length(max = 64))]
    pub sha256: String,
}

/// How far a backup is proven.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupProof {
    /// How far.
    pub level: ProofLevel,
    /// When.
    pub at: MicroTime,
    /// What it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<BackupProofSeconds>,
}

impl BackupProof {
    /// Returns what it took. Of one that was only read an earlier version of ours noted noughts for the rest.
    #[must_use]
    pub fn took(&self) -> Option<BackupProofSeconds> {
        let seconds = self.seconds?;
        let restored = self.level == ProofLevel::Restored;
        let (restore, check) = (seconds.restore.filter(|_| restored), seconds.check.filter(|_| restored));
        Some(BackupProofSeconds { restore, check, ..seconds })
    }
}

/// What a proof took, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupProofSeconds {
    /// To fetch and read the data.
    pub fetch: f64,
    /// To restore it; fetching runs beside. None where it was only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<f64>,
    /// To compare and check what was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<f64>,
}

impl BackupProofSeconds {
    /// Returns the seconds that a recovery would take; `None` where nothing was restored: who has only read cannot know.
    #[must_use]
    pub fn recovery(&self) -> Option<f64> {
        Some(self.fetch.max(self.restore?) + self.check?)
    }
}
