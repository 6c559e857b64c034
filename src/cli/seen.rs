//! What was seen of one Release, as plain data: what the view is made of.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{ResourceExt as _, api::DynamicObject};

use super::look::{Kind, slim};
use crate::{
    api::{Release, labels},
    release::{
        observed::{DeploymentSeen, JobSeen, PodSeen, ServiceSeen, SliceSeen},
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
    /// Its Services.
    pub services: Vec<ServiceSeen>,
    /// The endpoints behind them.
    pub slices: Vec<SliceSeen>,
    /// Its pods, of revisions and of Jobs.
    pub pods: Vec<Pod>,
    /// Its Jobs.
    pub jobs: Vec<Job>,
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
            services: Vec::new(),
            slices: Vec::new(),
            pods: Vec::new(),
            jobs: Vec::new(),
            unseen: BTreeMap::new(),
        }
    }

    /// Adds a Deployment as the API server sent it.
    pub fn add_deployment(&mut self, object: &DynamicObject) {
        let Some((_, _, seen)) = slim(object).as_ref().and_then(watched::deployment) else { return };
        let version = object.annotations().get(labels::VERSION).cloned();
        self.deployments.push(Deployment { seen, version, created: created(object) });
    }

    /// Adds a pod as the API server sent it.
    pub fn add_pod(&mut self, object: &DynamicObject) {
        let Some((_, _, seen)) = slim(object).as_ref().and_then(watched::pod) else { return };
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
        let Some((_, _, seen)) = slim(object).as_ref().and_then(watched::job) else { return };
        self.jobs.push(Job { seen, created: created(object) });
    }
}

fn created(object: &DynamicObject) -> Option<Timestamp> {
    object.creation_timestamp().map(|time| time.0)
}
