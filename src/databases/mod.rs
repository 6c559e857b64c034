//! Databases, storages and backups: what their three controllers share.
//!
//! Each of the three kinds is planned by one pure function of what was seen ([`Kind::plan`]); [`reconcile`] does the
//! same with all of them: look, plan, remember, act. What they act on is the agent's Jobs and nothing else.
//!
//! They see each other: a backup needs its database and its storages, and a database takes over what the Jobs of
//! backups and of Releases have learned about it.

mod reconcile;
mod run;
mod watched;

use std::{fmt::Debug, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use reconcile::{error_policy, reconcile};
pub use run::{Lane, lanes};

use crate::{
    agent_job::seen::AgentJobSeen,
    api::{BackupStorage, Condition, DatabaseBackup, DatabaseInstance},
    kube_io::{
        backoff::Backoff, index::Index, leadership::Leadership, lists::Filled, news::Announcer, written::Written,
    },
    metrics::Metrics,
    release::{observed::Settings, watched::Job},
};

/// What every reconcile of these kinds needs.
pub struct Shared {
    /// The client; its account can read no secret.
    pub client: Client,
    /// Whether this process may write.
    pub leadership: Arc<Leadership>,
    /// What the watches have shown.
    pub cache: Cache,
    /// What the operator was told at its start.
    pub settings: Settings,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// Errors in a row, per object.
    pub backoff: Backoff,
    /// Publishes events.
    pub announcer: Announcer,
    /// Whether the caches have been filled once.
    pub filled: Filled,
    /// Objects as our last status write left them, until the watch has shown them.
    pub written: AllWritten,
}

/// What was written, by kind.
#[derive(Debug, Default)]
pub struct AllWritten {
    /// Databases.
    pub databases: Written<DatabaseInstance>,
    /// Storages.
    pub storages: Written<BackupStorage>,
    /// Backups.
    pub backups: Written<DatabaseBackup>,
}

/// Caches of what these kinds look at. The Jobs and pods are kept once per object that their labels name.
#[derive(Debug, Default)]
pub struct Cache {
    databases: Index<Arc<DatabaseInstance>>,
    storages: Index<Arc<BackupStorage>>,
    backups: Index<Arc<DatabaseBackup>>,
    jobs: [Index<AgentJobSeen>; 3],
    pods: [Index<watched::AgentPodSeen>; 3],
}

impl Cache {
    /// Returns a DatabaseInstance.
    #[must_use]
    pub fn database(&self, namespace: &str, name: &str) -> Option<Arc<DatabaseInstance>> {
        self.databases.of(&(namespace.to_owned(), name.to_owned())).pop()
    }

    /// Returns a BackupStorage.
    #[must_use]
    pub fn storage(&self, namespace: &str, name: &str) -> Option<Arc<BackupStorage>> {
        self.storages.of(&(namespace.to_owned(), name.to_owned())).pop()
    }

    /// Returns the DatabaseBackups of a DatabaseInstance.
    #[must_use]
    pub fn backups(&self, namespace: &str, database: &str) -> Vec<Arc<DatabaseBackup>> {
        self.backups.of(&(namespace.to_owned(), database.to_owned()))
    }

    /// Returns every DatabaseBackup.
    #[must_use]
    pub fn all_backups(&self) -> Vec<Arc<DatabaseBackup>> {
        self.backups.all()
    }

    /// Returns the Jobs whose label names an object by its UID.
    #[must_use]
    pub fn jobs(&self, namespace: &str, label: &str, uid: &str) -> Vec<AgentJobSeen> {
        let owner = (namespace.to_owned(), uid.to_owned());
        let number = watched::OWNERS.iter().position(|known| *known == label);
        let indexes = number.and_then(|number| Some((self.jobs.get(number)?, self.pods.get(number)?)));
        indexes.map_or_else(Vec::new, |(jobs, pods)| watched::join(jobs.of(&owner), &pods.of(&owner)))
    }

    /// Takes in that a deletion of ours has left no Job of this namespace, name and UID.
    fn forget_job(&self, which: (&str, &str, &str)) {
        self.jobs.iter().for_each(|index| index.forget(which));
    }

    /// Takes in a Job as a write of ours has left it, until the watch shows it.
    fn keep_job(&self, written: &Job) {
        for (index, label) in self.jobs.iter().zip(watched::OWNERS) {
            index.keep(written, |job| watched::job(job, label));
        }
    }
}

/// What is to be done about one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<S> {
    /// Its status.
    pub status: S,
    /// What to do, in this order, once that status is written.
    pub actions: Vec<Action>,
    /// When to look again without an event.
    pub recheck: Option<Timestamp>,
}

/// Something to do with a Job, or with the object itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make it; one of that name that the object controls is as good.
    Create {
        /// Its name.
        name: String,
        /// The whole object.
        body: Value,
    },
    /// Let it begin.
    Resume {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// Take the [`IN_USE`](crate::api::labels::IN_USE) finalizer off the object itself when the Release that held it
    /// is gone.
    LetGoOf {
        /// UID of the Release.
        release_uid: String,
    },
    /// Delete it and its pods.
    Delete {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
}

/// A kind that is planned by one function.
pub trait Kind {
    /// Its objects.
    type Object: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static;
    /// Their status.
    type Status: Clone + Debug + Default + Serialize + Send + Sync;

    /// Returns what was written of this kind.
    fn written(all: &AllWritten) -> &Written<Self::Object>;
    /// Returns an object's status as read.
    fn status(object: &Self::Object) -> Option<&Self::Status>;
    /// Returns the conditions of a status.
    fn conditions(status: &mut Self::Status) -> &mut Vec<Condition>;
    /// Looks at what the caches show and plans.
    fn plan(shared: &Shared, object: &Self::Object) -> Plan<Self::Status>;
}
