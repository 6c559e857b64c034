//! What controller and agent say to each other: a Job's parameters and its result.
//!
//! Parameters travel as one JSON argument, results as the container's termination message. Nothing secret is in
//! either.

mod check;
mod database;
pub mod paths;
mod restore;
mod word;

pub use check::{CheckParameters, CheckResult, CheckVerdict, Finding, HttpProbe, Probe, ProbeKind};
pub use database::{
    Answer, BackupParameters, BackupResult, CopyResult, DatabaseFacts, DatabaseTarget, Identity, InspectParameters,
    InspectResult, MarkParameters, Marker, MigrateParameters, MigrateResult, MigrationFacts, MigrationState,
    MigrationTarget, MigrationWork, PendingParameters, PendingResult, ProofResult, ProofSeconds, Refusal,
    RehearseParameters, RehearseResult, ReportParameters, ReportResult, StorageFacts, StoragePlace, StorageTarget,
};
pub use restore::{RestoreDataParameters, RestoreDataResult, RoleTarget, SafetyBackup};
pub use word::{Done, Word, read, refusal};

/// Largest result that Kubernetes keeps of a container, in bytes.
pub const RESULT_BYTES: usize = 4096;
/// Exit code of the agent when it refused or a check said no: the Job must not be tried again.
pub const EXIT_FAILED: u8 = 1;
