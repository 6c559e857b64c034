//! What a look at a DatabaseBackup has shown, and what an attempt works with.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    agent_job::seen::AgentJobSeen,
    api::{BackupStorage, DatabaseBackupSpec, DatabaseBackupStatus, DatabaseInstance, ProofLevel},
    release::observed::Settings,
};

/// Everything one look at a DatabaseBackup has shown.
#[derive(Debug, Clone)]
pub struct Observed {
    /// When the look was taken.
    pub now: Timestamp,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether a Release holds it.
    pub held: bool,
    /// UID of the Release that had it taken.
    pub release_uid: Option<String>,
    /// What is asked for.
    pub spec: DatabaseBackupSpec,
    /// Its status as read.
    pub status: DatabaseBackupStatus,
    /// Its Jobs.
    pub jobs: Vec<AgentJobSeen>,
    /// The DatabaseInstance that it names.
    pub database: Option<Arc<DatabaseInstance>>,
    /// The storages that get a copy.
    pub storages: Vec<(String, Option<Arc<BackupStorage>>)>,
    /// What the operator was told at its start.
    pub settings: Settings,
}

/// What an attempt works with.
#[derive(Debug, Clone)]
pub(super) struct Inputs<'a> {
    /// The database, ready and marked.
    pub database: &'a DatabaseInstance,
    /// The storages, ready.
    pub storages: Vec<&'a BackupStorage>,
}

impl Observed {
    /// Returns how far the backup is to be proven.
    #[must_use]
    pub fn proof(&self) -> ProofLevel {
        let settings = self.database.as_ref().and_then(|database| database.spec.backups.as_ref());
        self.spec.proof.or(settings.map(|settings| settings.proof)).unwrap_or(ProofLevel::Restored)
    }
}
