//! What was seen of one Release, as plain data: what the view is made of.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{ResourceExt as _, api::DynamicObject};

use super::look::{Kind, slim};
use crate::{
    api::{DatabaseBackup, DatabaseBackupStatus, Release, labels},
    release::{
        observed::{AutoscalerSeen, BackupSeen, DeploymentSeen, JobSeen, PodSeen, ServiceSeen, SliceSeen},
        watched,
    },
};

/// What was seen of one Release.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub now: Timestamp,
    /// The Release itself.
    pub release: Release,
    /// Its Deployments.
    pub deployments: Vec<Deployment>,
    /// Their autoscalers.
    pub autoscalers: Vec<Autoscaler>,
    /// Its Services.
    pub services: Vec<ServiceSeen>,
    /// The endpoints behind them.
    pub slices: Vec<SliceSeen>,
    /// Its pods, of revisions and of Jobs.
    pub pods: Vec<Pod>,
    /// Its Jobs.
    pub jobs: Vec<Job>,
    /// The backups that its attempts took.
    pub backups: Vec<Backup>,
    /// What could not be read, and why.
    pub unseen: BTreeMap<Kind, String>,
}

/// A Deployment, and what only people want to know of it.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// What decisions need.
    pub seen: DeploymentSeen,
    /// Version text of its revision.
    pub version: Option<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// An autoscaler, and what only people want to know of it.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    /// What decisions need.
    pub seen: AutoscalerSeen,
    /// How many pods it wants now; `None` before it has looked.
    pub wants: Option<i64>,
    /// Why it does not scale.
    pub problem: Option<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// A pod, and what only people want to know of it.
#[derive(Debug, Clone)]
pub struct Pod {
    /// What decisions need.
    pub seen: PodSeen,
    /// Its phase.
    pub phase: String,
    /// Restarts of all its containers.
    pub restarts: i64,
    /// The node it is on.
    pub node: Option<String>,
}

/// A Job, and what only people want to know of it.
#[derive(Debug, Clone)]
pub struct Job {
    /// What decisions need.
    pub seen: JobSeen,
    /// What the agent does in it, when it works on a database.
    pub verb: Option<String>,
    /// UID of the DatabaseBackup that it takes.
    pub backup: Option<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// A DatabaseBackup, and what only people want to know of it.
#[derive(Debug, Clone)]
pub struct Backup {
    /// What decisions need.
    pub seen: BackupSeen,
    /// Its UID.
    pub uid: String,
    /// What its controller says of it.
    pub status: DatabaseBackupStatus,
    /// When it was created.
    pub created: Option<Timestamp>,
}

impl Seen {
    /// Returns a Release of which nothing else was seen yet.
    #[must_use]
    pub const fn new(release: Release, now: Timestamp) -> Self {
        Self {
            now,
            release,
            deployments: Vec::new(),
            autoscalers: Vec::new(),
            services: Vec::new(),
            slices: Vec::new(),
            pods: Vec::new(),
            jobs: Vec::new(),
            backups: Vec::new(),
            unseen: BTreeMap::new(),
        }
    }

    /// Adds a Deployment as the API server sent it.
    pub fn add_deployment(&mut self, object: &DynamicObject) {
        let Some((_, _, seen)) = slim(object).as_ref().and_then(watched::deployment) else { return };
        let version = object.annotations().get(labels::VERSION).cloned();
        self.deployments.push(Deployment { seen, version, created: created(object) });
    }

    /// Adds an autoscaler as the API server sent it.
    pub fn add_autoscaler(&mut self, object: &DynamicObject) {
        let Some((_, _, seen)) = slim(object).as_ref().and_then(watched::autoscaler) else { return };
        let conditions = object.data.pointer("/status/conditions").and_then(serde_json::Value::as_array);
        let problem = conditions.into_iter().flatten().find_map(|condition| {
            let text = |key| condition.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
            // One that is held at a bound does what it is told to; of no pods there is nothing to measure.
            let stands = ["AbleToScale", "ScalingActive"].contains(&text("type")) && text("status") == "False";
            (stands && text("reason") != "ScalingDisabled").then(|| format!("{}: {}", text("reason"), text("message")))
        });
        let wants = object.data.pointer("/status/desiredReplicas").and_then(serde_json::Value::as_i64);
        self.autoscalers.push(Autoscaler { seen, wants, problem, created: created(object) });
    }

    /// Adds a pod as the API server sent it.
    pub fn add_pod(&mut self, object: &DynamicObject) {
        let Some(seen) = slim(object).as_ref().map(watched::pod_seen) else { return };
        let text = |pointer| object.data.pointer(pointer).and_then(serde_json::Value::as_str).map(str::to_owned);
        let containers = object.data.pointer("/status/containerStatuses").and_then(serde_json::Value::as_array);
        let restarts = containers
            .into_iter()
            .flatten()
            .filter_map(|container| container.get("restartCount").and_then(serde_json::Value::as_i64))
            .sum();
        let phase = text("/status/phase").unwrap_or_default();
        self.pods.push(Pod { seen, phase, restarts, node: text("/spec/nodeName") });
    }

    /// Adds a Job as the API server sent it.
    pub fn add_job(&mut self, object: &DynamicObject) {
        let Some(seen) = slim(object).as_ref().map(watched::job_seen) else { return };
        let label = |name| object.labels().get(name).cloned();
        let (verb, backup) = (label(labels::VERB), label(labels::BACKUP_UID));
        self.jobs.push(Job { seen, verb, backup, created: created(object) });
    }

    /// Adds a DatabaseBackup as the API server sent it.
    pub fn add_backup(&mut self, object: &DynamicObject) {
        let Some(backup) = slim::<DatabaseBackup>(object) else { return };
        let seen = watched::backup_seen(&backup);
        let (uid, created) = (seen.uid.clone(), created(object));
        self.backups.push(Backup { seen, uid, status: backup.status.unwrap_or_default(), created });
    }

    /// Returns what the agent left as the result of a Job: its newest pod's word.
    pub(super) fn message_of(&self, job: &str) -> Option<&str> {
        let pods = self.pods.iter().filter(|pod| pod.seen.job.as_deref() == Some(job));
        let said = pods.filter(|pod| pod.seen.message.is_some()).max_by_key(|pod| pod.seen.created)?;
        said.seen.message.as_deref()
    }
}

fn created(object: &DynamicObject) -> Option<Timestamp> {
    object.creation_timestamp().map(|time| time.0)
}
