//! The kinds, as types: what people write and what they read.
//!
//! In: nothing but data. Out: the CRDs (`switchback crds`), the types that every other module speaks.
//! Never here: decisions, clients, clocks. Imports nothing else of the crate.
#![deny(missing_docs, clippy::wildcard_enum_match_arm)]

mod autoscaling;
mod backup;
mod changed_by;
mod checks;
mod conditions;
mod crds;
mod data_loss;
mod database;
mod decision;
mod digest;
mod duration;
mod hook;
mod job_settings;
pub mod labels;
mod names;
mod policy;
mod probing;
mod raw;
mod reason;
mod release;
mod release_adopt;
mod release_config;
mod release_database;
mod release_service;
mod release_settings;
mod release_status;
mod storage;

pub use autoscaling::{Autoscaling, Metric};
pub use backup::{
    BackupCopy, BackupManifest, BackupPhase, BackupProof, BackupProofSeconds, DatabaseBackup, DatabaseBackupSpec,
    DatabaseBackupStatus,
};
pub use changed_by::{ChangedBy, stamped};
pub use checks::{
    Authorities, BodyExpectation, BodyText, Check, CheckKind, CheckPhase, Decimal, DnsCheck, HeaderExpectation,
    HeaderText, HttpCheck, HttpRate, JobCheck, OnInconclusive, PatternError, PrometheusCheck, Scheme, SentHeader,
    SqlCheck, TlsCheck, bounds, compile,
};
pub use conditions::{
    Condition, ConditionType, Standing, clamp, clamp_to, condition, set_condition, set_standing, shorten,
};
pub use crds::{crds, crds_yaml};
pub use data_loss::{DataLoss, TableLoss};
pub use database::{
    BackupSettings, DatabaseClaim, DatabaseIdentity, DatabaseInstance, DatabaseInstanceSpec, DatabaseInstanceStatus,
    DatabaseMarker, Environment, PostgresSettings, ProofLevel, ProvenBackup, ScratchSettings, SecretKeys, ToolSettings,
};
pub use decision::{
    Approval, Decision, DecisionKind, DecisionSpec, DecisionState, DecisionStatus, DecisionTarget, Empty, Gate,
    Rejection, Rollback, TargetKind,
};
pub use digest::{RevisionId, canonical_json, sha256_hex};
pub use duration::Duration;
pub use hook::{Hook, HookJob, HookMoment, HookRecord};
pub use job_settings::{JobResources, JobSettings, TaintEffect, Toleration, TolerationOperator};
pub use policy::{
    ApprovalRules, Automatic, DatabaseRules, Freeze, ImageRules, PolicySelector, Promotion, PromotionSource,
    RehearsalReach, ReleasePolicy, ReleasePolicySpec, ReleasePolicyStatus, RunningRelease,
};
pub use probing::Probing;
pub use raw::{PodTemplate, ServiceTemplate};
pub use reason::Reason;
pub use release::{DeletionPolicy, Handover, Mode, Release, ReleaseSpec, Source, Workload, is_semantic};
pub use release_adopt::Adoption;
pub use release_config::ConfigFiles;
pub use release_database::{
    Change, DatabaseRollback, Migration, MigrationSource, Rehearsal, RehearsalVariable, ReleaseBackup, ReleaseDatabase,
    SqlFiles,
};
pub use release_service::{ServiceMetadata, WorkloadService};
pub use release_settings::{Deadlines, RollbackSettings, SwitchSettings, WatchSettings};
pub use release_status::{
    ActiveRevision, AdoptedWorkload, AdoptionRecord, BackupRecord, CandidateRevision, ContractProgress, ContractRecord,
    DatabaseRecord, DecidedBy, DecisionRecord, DisruptedPod, Ending, FailureRecord, HeldLock, HistoryEntry,
    LintFinding, MigrationProgress, MigrationRecord, Outcome, PendingMigration, PlanRecord, PlannedStep,
    PreviousRevision, Record, RehearsalFindings, RehearsalRecord, ReleaseReport, ReleaseStatus, RestoreProgress,
    RestoreRecord, RollbackOrder, RunningImage, Scope, StampRecord, Step, StepTime, Suspension, Taken, TimedFile,
    TrafficRecord, UndoProgress, UndoRecord, WayBackPoint, Withdrawal, WorkerPods, WorkerRecord,
};
pub use storage::{BackupStorage, BackupStorageSpec, BackupStorageStatus, Place, S3Place, VolumePlace};

/// API group of all kinds.
pub const GROUP: &str = "switchback.dev";
/// The one served version.
pub const VERSION: &str = "v1alpha1";

/// The observed generation of an object that no controller has looked at.
const fn never_observed() -> i64 {
    -1
}
