//! What is observed of a Release, and the little that cannot be observed and so must be remembered.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::{Condition, Environment, ProofLevel, RevisionId};

/// Status of a Release.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// Generation of the spec that the conditions speak of; -1 before the first look.
    #[serde(default = "never_observed")]
    pub observed_generation: i64,
    /// What holds, in the form that kstatus reads.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What is remembered between two looks.
    #[serde(flatten)]
    pub record: Record,
}

const fn never_observed() -> i64 {
    -1
}

impl Default for ReleaseStatus {
    fn default() -> Self {
        Self { observed_generation: never_observed(), conditions: Vec::new(), record: Record::default() }
    }
}

/// What is remembered between two looks: only what cannot be observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// How the last attempt that ended has ended.
    pub outcome: Option<Outcome>,
    /// The last revision that passed its watch window: the one traffic goes back to.
    pub active: Option<ActiveRevision>,
    /// The revision an attempt is under way for.
    pub candidate: Option<CandidateRevision>,
    /// The revision before the active one, kept scaled to zero for a while.
    pub previous: Option<PreviousRevision>,
    /// Where the attempt stands.
    pub step: Step,
    /// When that step began.
    pub step_since: Option<MicroTime>,
    /// When that step ends for want of success.
    pub deadline: Option<MicroTime>,
    /// What the attempt will do, as people approve it.
    pub plan: Option<PlanRecord>,
    /// What was seen of the database when the plan was made.
    pub database: Option<DatabaseRecord>,
    /// The last backup that a release took.
    pub backup: Option<BackupRecord>,
    /// The last migration.
    pub migration: Option<MigrationRecord>,
    /// Where each Service was pointed by the last switch.
    #[schemars(length(max = 128))]
    pub traffic: Vec<TrafficRecord>,
    /// Since when fewer pods are ready than `watch.readyPercent` asks for.
    pub unready_since: Option<MicroTime>,
    /// Why the attempt under way turned back.
    pub ending: Option<Ending>,
    /// The attempt whose revision still stands in the spec and is not tried again by itself.
    pub failure: Option<FailureRecord>,
    /// The Decisions that took effect, newest last.
    #[schemars(length(max = 32))]
    pub decisions: Vec<DecisionRecord>,
    /// The attempts that ended, newest last.
    #[schemars(length(max = 20))]
    pub history: Vec<HistoryEntry>,
    /// Number of the last attempt.
    pub attempts: i64,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum Outcome {
    /// The new version serves and passed its watch window.
    Succeeded,
    /// Traffic had moved and went back.
    RolledBack,
    /// It ended before traffic moved.
    Failed,
    /// A person rejected the plan.
    Rejected,
    /// A person aborted it.
    Aborted,
    /// A newer spec took its place.
    Superseded,
}

/// Where an attempt stands.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    IntoStaticStr,
    VariantArray,
)]
pub enum Step {
    /// Nothing is under way.
    #[default]
    Idle,
    /// The plan is made.
    Inspect,
    /// The plan waits for approval.
    Approve,
    /// Facts are checked again, claims and new Services are made.
    Preflight,
    /// A backup is taken and proven.
    Backup,
    /// The schema is changed.
    Migrate,
    /// The candidate comes up.
    Deploy,
    /// Checks run against the candidate.
    Verify,
    /// Services are moved.
    Switch,
    /// The candidate serves and is watched.
    Watch,
    /// The former version drains.
    Retire,
    /// Services go back.
    SwitchBack,
    /// What the candidate left is removed.
    CleanUp,
}

impl Step {
    /// Returns the name of the step.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The revision that traffic goes back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveRevision {
    /// Its name.
    pub revision: RevisionId,
    /// Its version text.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Number of the attempt that brought it.
    pub attempt: i64,
    /// Since when it is the active one.
    pub since: MicroTime,
}

/// The revision an attempt is under way for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateRevision {
    /// Its name.
    pub revision: RevisionId,
    /// Its version text.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Number of this attempt.
    pub attempt: i64,
    /// When the attempt began.
    pub since: MicroTime,
}

/// The revision before the active one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousRevision {
    /// Its name.
    pub revision: RevisionId,
    /// Its version text.
    #[schemars(length(max = 64))]
    pub version: String,
    /// When its Deployments are removed.
    pub keep_until: MicroTime,
}

/// The steps a revision will go through, as people approve them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanRecord {
    /// Digest over everything that an approval covers.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// The revision it is for.
    pub revision: RevisionId,
    /// What happens, in order.
    #[schemars(length(max = 32))]
    pub steps: Vec<PlannedStep>,
    /// What going back restores and loses, by the step after which it is asked for.
    #[schemars(length(max = 16))]
    pub way_back: Vec<WayBackPoint>,
    /// What could go wrong and is known.
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub risks: Vec<String>,
    /// What is still missing, and who can meet it.
    #[schemars(length(max = 32), inner(length(max = 512)))]
    pub unmet: Vec<String>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// Which.
    pub step: Step,
    /// What it will do here.
    #[schemars(length(max = 1024))]
    pub does: String,
}

/// What going back restores and loses after a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WayBackPoint {
    /// After which step.
    pub after: Step,
    /// How much comes back.
    pub scope: Scope,
    /// What is lost.
    #[schemars(length(max = 512))]
    pub loses: String,
}

/// How much going back restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum Scope {
    /// Everything.
    Full,
    /// Nothing by itself: there is no earlier version to go back to, or it is no longer running.
    ForwardOnly,
}

/// Where a Service was pointed by the last switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficRecord {
    /// Name of the Service.
    #[schemars(length(max = 63))]
    pub service: String,
    /// The revision its selector names, as last observed or about to be written.
    pub revision: Option<RevisionId>,
    /// How many pods that revision had when it was switched to.
    pub pods: i32,
    /// When the selector was seen to name it.
    pub switched_at: Option<MicroTime>,
    /// When the endpoints had followed and `settle` was over.
    pub settled_at: Option<MicroTime>,
}

/// Why an attempt turned back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// One word for machines.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What was seen.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// How the attempt will count.
    pub outcome: Outcome,
    /// The step it turned back from.
    pub from: Step,
    /// When.
    pub at: MicroTime,
}

/// An attempt that is not tried again by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureRecord {
    /// The revision.
    pub revision: RevisionId,
    /// How its attempt ended.
    pub outcome: Outcome,
    /// One word for machines.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What was seen.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When.
    pub at: MicroTime,
}

/// A Decision that took effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// Name of the Decision.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID of the Decision: it is used once.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// What was decided.
    #[schemars(length(max = 32))]
    pub kind: String,
    /// Who decided.
    #[schemars(length(max = 256))]
    pub actor: String,
    /// The digest it approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// When it took effect.
    pub at: MicroTime,
}

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
    /// What the migration consists of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingMigration>,
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
    /// How far it is proven.
    pub proof: ProofLevel,
    /// When its snapshot was taken.
    pub taken_at: MicroTime,
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

/// An attempt that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Number of the attempt.
    pub attempt: i64,
    /// Its revision.
    pub revision: RevisionId,
    /// Its version text.
    #[schemars(length(max = 64))]
    pub version: String,
    /// How it ended.
    pub outcome: Outcome,
    /// One word for machines.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What was seen.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When it began.
    pub started_at: MicroTime,
    /// When it ended.
    pub ended_at: MicroTime,
}

impl Record {
    /// Returns when the present step ends for want of success.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline.as_ref().map(|time| time.0)
    }
}
