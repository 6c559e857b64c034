//! What is observed of a Release, and the little that cannot be observed and so must be remembered.

mod adoption;
mod attempt;
mod contract;
mod database;
mod plan;
mod report;
mod worker;

pub use adoption::{AdoptedWorkload, AdoptionRecord};
pub use attempt::{
    ActiveRevision, CandidateRevision, DecidedBy, Ending, FailureRecord, HistoryEntry, Outcome, PreviousRevision,
    RollbackOrder, RunningImage, Step, StepTime, Suspension,
};
pub use contract::{ContractProgress, ContractRecord, Withdrawal};
pub use database::{
    BackupRecord, DatabaseRecord, HeldLock, LintFinding, MigrationProgress, MigrationRecord, PendingMigration,
    RehearsalFindings, RehearsalRecord, RestoreProgress, RestoreRecord, Taken, TimedFile, UndoProgress, UndoRecord,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::KubeSchema;
pub use plan::{PlanRecord, PlannedStep, Scope, WayBackPoint};
pub use report::ReleaseReport;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use worker::{WorkerPods, WorkerRecord};

use super::{Condition, Gate, HookRecord, RevisionId};

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

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
const fn is_zero(count: &u8) -> bool {
    *count == 0
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
    /// What runs without us and is taken over by the first release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<AdoptionRecord>,
    /// Where the attempt stands.
    pub step: Step,
    /// How many times the operator's lease had changed hands when that step began: another leader knows by it that it did
    /// not begin the step itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
    /// When that step began.
    pub step_since: Option<MicroTime>,
    /// When that step ends for want of success.
    pub deadline: Option<MicroTime>,
    /// How long the earlier steps of the attempt took, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub steps: Vec<StepTime>,
    /// What the attempt will do, as people approve it.
    pub plan: Option<PlanRecord>,
    /// What was seen of the database when the plan was made.
    pub database: Option<DatabaseRecord>,
    /// The last backup that a release took.
    pub backup: Option<BackupRecord>,
    /// The last rehearsal of a migration that passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<RehearsalRecord>,
    /// The last migration.
    pub migration: Option<MigrationRecord>,
    /// The Contract migration of the active revision: it waits for an approval of its own, runs, or has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<ContractRecord>,
    /// What a Contract migration has taken the way back from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawal>,
    /// Where each Service was pointed by the last switch.
    #[schemars(length(max = 128))]
    pub traffic: Vec<TrafficRecord>,
    /// How many pods the workers of each side have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub workers: Vec<WorkerRecord>,
    /// How the hooks of the last attempt ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub hooks: Vec<HookRecord>,
    /// Since when fewer pods are ready than `watch.readyPercent` asks for. What they were well for in between is left out.
    pub unready_since: Option<MicroTime>,
    /// Since when enough are ready again. When that has lasted as long as `watch.tolerate`, what was before counts no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub well_since: Option<MicroTime>,
    /// Pods of the version under watch that the cluster has evicted, and that are not missed yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub disrupted: Vec<DisruptedPod>,
    /// From which change of the spec on it is certain who made it; where a policy asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamped: Option<StampRecord>,
    /// Why the attempt under way turned back.
    pub ending: Option<Ending>,
    /// The attempt whose revision still stands in the spec and is not tried again by itself.
    pub failure: Option<FailureRecord>,
    /// The Decision by which nothing goes on but what goes back; beside it the spec may say the same.
    pub suspended: Option<Suspension>,
    /// The Decisions that took effect, newest last.
    #[schemars(length(max = 32))]
    pub decisions: Vec<DecisionRecord>,
    /// The attempts that ended, newest last.
    #[schemars(length(max = 20))]
    pub history: Vec<HistoryEntry>,
    /// What is still to be written beside backups, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub reports: Vec<ReleaseReport>,
    /// Number of the last attempt.
    pub attempts: i64,
    /// How many events were told of the attempt that is under way, or ended last.
    #[serde(skip_serializing_if = "is_zero")]
    pub events: u8,
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
    /// How many pods the revision before had when this switch began: as many it keeps until the candidate is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods_before: Option<i32>,
    /// When the selector was seen to name it.
    pub switched_at: Option<MicroTime>,
    /// When the endpoints had followed and `settle` was over.
    pub settled_at: Option<MicroTime>,
}

/// A pod that the cluster evicts, or has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisruptedPod {
    /// Its name.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// The workload that it is of.
    #[schemars(length(max = 63))]
    pub workload: String,
    /// When the eviction began.
    pub at: MicroTime,
}

/// From which change of the spec on it is certain who made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StampRecord {
    /// Since when the admission policies have been in force without a gap.
    pub since: MicroTime,
    /// Generation of the spec then: every later change was stamped under them.
    pub generation: i64,
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
    /// Which plan it was about, where that is not the release's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// When it took effect.
    pub at: MicroTime,
}

impl Record {
    /// Returns when the present step ends for want of success.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline.as_ref().map(|time| time.0)
    }
}
