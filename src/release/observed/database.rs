//! What was seen of databases, storages and backups beside a Release.

use std::sync::Arc;

use crate::api::{
    BackupRecord, BackupStorageSpec, Condition, ConditionType, DatabaseClaim, DatabaseInstanceSpec,
    DatabaseInstanceStatus,
};

/// A DatabaseInstance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// The version that was read; guards the claim.
    pub resource_version: String,
    /// What is asked for.
    pub spec: Arc<DatabaseInstanceSpec>,
    /// Its status as read.
    pub status: Arc<DatabaseInstanceStatus>,
}

/// A BackupStorage.
#[derive(Debug, Clone, PartialEq)]
pub struct StorageSeen {
    /// Its name.
    pub name: String,
    /// What is asked for.
    pub spec: Arc<BackupStorageSpec>,
}

/// A DatabaseBackup that an attempt of the Release has asked for, or one that is there already and may serve it.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version that was read; guards its finalizers.
    pub resource_version: String,
    /// The DatabaseInstance that it is of.
    pub database: String,
    /// The BackupStorages that it goes to.
    pub storages: Vec<String>,
    /// UID of the Release that uses it, or has.
    pub user: Option<String>,
    /// UUID of the marker of what was backed up.
    pub marker: Option<String>,
    /// The BackupStorages that hold a whole copy.
    pub copies: Vec<String>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// How far it is.
    pub state: BackupState,
}

/// How far a backup is.
#[derive(Debug, Clone, PartialEq)]
pub enum BackupState {
    /// Not at an end; what is told of it.
    Working(String),
    /// All copies are stored and proven as far as was asked.
    Complete(Box<BackupRecord>),
    /// It was given up.
    Failed {
        /// One word for machines.
        reason: String,
        /// What happened.
        message: String,
    },
}

impl InstanceSeen {
    /// Returns whether it was looked at as it is now, and may be used.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status.observed_generation == self.generation && self.holds(ConditionType::Ready)
    }

    /// Returns whether nothing gets better until somebody does something.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.status.observed_generation == self.generation && self.holds(ConditionType::Stalled)
    }

    /// Returns why it may not be used, in its own words.
    #[must_use]
    pub fn problem(&self) -> String {
        self.condition(ConditionType::Ready)
            .map_or_else(|| "It was not looked at yet.".to_owned(), |ready| ready.message.clone())
    }

    /// Returns the Release that has claimed it.
    #[must_use]
    pub fn claim(&self) -> Option<&DatabaseClaim> {
        self.status.claim.as_ref()
    }

    /// Returns whether our mark is known to be in it.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.status.identity.as_ref().is_some_and(|identity| identity.marker.is_some())
    }

    fn holds(&self, type_: ConditionType) -> bool {
        self.condition(type_).is_some_and(|condition| condition.status == "True")
    }

    fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == type_.as_str())
    }
}

impl StorageSeen {
    /// Returns whether a database may be backed up to it.
    #[must_use]
    pub fn allows(&self, database: &str) -> bool {
        self.spec.allowed_databases.is_empty() || self.spec.allowed_databases.iter().any(|name| name == database)
    }
}

impl BackupSeen {
    /// Returns whether the Release that uses it holds it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.finalizers.iter().any(|name| name == crate::api::labels::IN_USE)
    }
}
