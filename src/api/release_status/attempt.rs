//! The attempts of a Release: where one stands, how it ended, which revisions it is about.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use crate::api::{Duration, RevisionId, Source};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[schemars(transform = super::super::crds::told_by_the_field)]
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
    /// The migration is tried on a restored copy of the data.
    Rehearse,
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
    /// A Contract migration begins: the database is looked at once more, and what was kept of earlier versions goes.
    Contract,
    /// Services go back.
    SwitchBack,
    /// The migration is taken back.
    RestoreData,
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
    /// Generation of the Release whose spec it was; 0 where that is not known.
    #[serde(default)]
    pub generation: i64,
    /// Since when it is the active one.
    pub since: MicroTime,
    /// UID of the ControllerRevision that holds its content: one that was made again is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub content: Option<String>,
    /// Who approved it; nobody where it began by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 256)))]
    pub approved_by: Vec<String>,
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
    /// Generation of the Release whose spec it was; 0 where that is not known.
    #[serde(default)]
    pub generation: i64,
    /// When the attempt began.
    pub since: MicroTime,
    /// UID of the ControllerRevision that holds its content, once that is frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub content: Option<String>,
    /// Who approved it; nobody where it began by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 256)))]
    pub approved_by: Vec<String>,
    /// Where it comes from: what the spec says, and once it is frozen, what its content says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What its containers ran first where the spec names a tag, which can be moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub images: Vec<RunningImage>,
    /// Name of the DatabaseBackup that it rests on, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub backup: Option<String>,
    /// Set when a person asked for a revision that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackOrder>,
    /// Whether it serves already and this attempt runs its Contract migration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contract: bool,
    /// Whether its plan says that what serves is broken; approvals from before it said so do not count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside_broken: bool,
}

/// What a container runs, as the node says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunningImage {
    /// Name of the workload; empty for a migration with a pod of its own.
    #[schemars(length(max = 63))]
    pub workload: String,
    /// Name of the container.
    #[schemars(length(max = 63))]
    pub container: String,
    /// The image's ID.
    #[schemars(length(max = 512))]
    pub id: String,
}

/// A way back to a revision that served before, as a person asked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackOrder {
    /// Number of the attempt whose frozen content is used.
    pub attempt: i64,
    /// Who asked.
    #[schemars(length(max = 256))]
    pub actor: String,
    /// Name of the Decision.
    #[schemars(length(max = 253))]
    pub decision: String,
}

/// A Decision that suspends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Who decided.
    #[schemars(length(max = 256))]
    pub actor: String,
    /// Name of the Decision.
    #[schemars(length(max = 253))]
    pub decision: String,
    /// When it was decided.
    pub at: MicroTime,
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
    /// Number of the attempt that brought it.
    #[serde(default)]
    pub attempt: i64,
    /// Generation of the Release whose spec it was; 0 where that is not known.
    #[serde(default)]
    pub generation: i64,
    /// UID of the ControllerRevision that holds its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub content: Option<String>,
    /// When its Deployments are removed.
    pub keep_until: MicroTime,
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

/// How long an attempt was in a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepTime {
    /// Which.
    pub step: Step,
    /// How long, altogether.
    pub took: Duration,
}

/// What a person decided about an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecidedBy {
    /// What was decided.
    #[schemars(length(max = 32))]
    pub kind: String,
    /// Who decided.
    #[schemars(length(max = 256))]
    pub actor: String,
    /// Name of the Decision.
    #[schemars(length(max = 253))]
    pub decision: String,
    /// When it took effect.
    pub at: MicroTime,
}

/// An attempt that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Number of the attempt.
    pub attempt: i64,
    /// Generation of the Release whose spec it was; 0 where that is not known.
    #[serde(default)]
    pub generation: i64,
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
    /// Whether it was about the Contract migration of a revision that served already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contract: bool,
    /// Digest of its plan; absent where there was none, as of a way back that a person asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// What people decided about it, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub decisions: Vec<DecidedBy>,
    /// Where its version came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Name of the DatabaseBackup that it rested on: one that it took, or one that was there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub backup: Option<String>,
    /// Whether this account of it stands beside that backup, in each storage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
    /// How long its steps took, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub steps: Vec<StepTime>,
    /// UID of the ControllerRevision that holds its content, when it came that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub content: Option<String>,
    /// When it began.
    pub started_at: MicroTime,
    /// When it ended.
    pub ended_at: MicroTime,
}
