//! What watches read of each kind: slim types, reduced to what decisions need.
//!
//! In: objects as the API server sends them. Out: the `…Seen` types. A typed Pod costs 59 KiB in a store, what
//! is kept of it here less than one.

mod autoscaler;
mod database;
mod pods;
mod quota;
mod running;
mod selecting;
mod services;

use std::sync::Arc;

use k8s_openapi::{
    api::{apps::v1 as apps, batch::v1 as batch, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Resource, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
};
use serde::Deserialize;

pub use autoscaler::{HorizontalPodAutoscaler, autoscaler};
pub use database::{backup, backup_seen, instance, storage};
pub use pods::{Pod, pod, pod_seen};
pub use quota::{defaults, quota};
pub use running::running;
pub use selecting::selecting;
pub use services::{Service, selector_manager, service, service_seen};

use super::{
    manifests::ATTEMPT,
    observed::{
        AttemptSeen, DecisionSeen, DeploymentSeen, EndpointSeen, JobSeen, JobState, ObjectSeen, PolicySeen, SliceSeen,
    },
};
use crate::{
    api::{
        Decision, DecisionStatus, GROUP, ReleasePolicy,
        labels::{CONFIG, FENCE, RELEASE_UID, REVISION, ROLE, Role, WORKLOAD},
    },
    kube_io::{
        calls::{controller, is_controlled_by},
        index::Owner,
    },
};

/// A Deployment, without its template.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "apps::Deployment")]
pub struct Deployment {
    metadata: ObjectMeta,
    spec: DeploymentSpec,
    #[serde(default)]
    status: DeploymentStatus,
}

#[derive(Clone, Debug, Deserialize)]
struct DeploymentSpec {
    #[serde(default)]
    replicas: i32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeploymentStatus {
    observed_generation: i64,
    replicas: i32,
    ready_replicas: i32,
    available_replicas: i32,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    last_transition_time: Option<jiff::Timestamp>,
}

/// A ReplicaSet, by its counts alone.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "apps::ReplicaSet")]
pub struct ReplicaSet {
    metadata: ObjectMeta,
    spec: DeploymentSpec,
    #[serde(default)]
    status: DeploymentStatus,
}

impl ReplicaSet {
    /// Returns whether its controller has no pod and will make none.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let observed = self.metadata.generation.is_some_and(|now| self.status.observed_generation >= now);
        observed && self.spec.replicas == 0 && self.status.replicas == 0
    }
}

/// An EndpointSlice, without addresses and ports.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "discovery::EndpointSlice")]
pub struct EndpointSlice {
    metadata: ObjectMeta,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default)]
    conditions: EndpointConditions,
    #[serde(default)]
    target_ref: Option<TargetRef>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct EndpointConditions {
    ready: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
struct TargetRef {
    #[serde(default)]
    name: String,
}

/// A Job, without its template.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "batch::Job")]
pub struct Job {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: JobSpec,
    #[serde(default)]
    status: JobStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JobSpec {
    suspend: bool,
    ttl_seconds_after_finished: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct JobStatus {
    conditions: Vec<Condition>,
}

/// A `ControllerRevision`, without its content.
pub type ControllerRevision = PartialObjectMeta<apps::ControllerRevision>;

/// What an index keeps of an object: whose it is, its name, what was seen.
pub type Entry<S> = Option<(Owner, String, S)>;

fn entry<S>(object: &impl ResourceExt, seen: S) -> Entry<S> {
    let uid = object.labels().get(RELEASE_UID)?.clone();
    Some(((object.namespace()?, uid), object.name_any(), seen))
}

fn label(object: &impl ResourceExt, key: &str) -> String {
    object.labels().get(key).cloned().unwrap_or_default()
}

/// Returns whether the Release that the labels name also controls the object: labels alone prove nothing.
fn ours(object: &impl ResourceExt) -> bool {
    object.labels().get(RELEASE_UID).is_some_and(|uid| is_controlled_by(object, uid))
}

/// Reads a Deployment.
#[must_use]
pub fn deployment(object: &Deployment) -> Entry<DeploymentSeen> {
    let status = &object.status;
    let problem = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
        .map(|condition| format!("{}: {}", condition.reason, condition.message));
    entry(
        object,
        DeploymentSeen {
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            fence: object.annotations().get(FENCE).cloned(),
            ours: ours(object),
            revision: label(object, REVISION),
            workload: label(object, WORKLOAD),
            replicas: object.spec.replicas,
            existing: status.replicas,
            ready: status.ready_replicas,
            available: status.available_replicas,
            adopted: object.labels().get(ROLE).is_some_and(|role| role == Role::Adopted.as_str()),
            observed: object.metadata.generation.is_some_and(|generation| status.observed_generation >= generation),
            problem,
            deleting: object.metadata.deletion_timestamp.is_some(),
        },
    )
}

/// Reads an EndpointSlice; the endpoints controller copies the labels of the Service onto it.
#[must_use]
pub fn slice(object: &EndpointSlice) -> Entry<SliceSeen> {
    let service = label(object, "kubernetes.io/service-name");
    let endpoints = object
        .endpoints
        .iter()
        .flatten()
        .map(|endpoint| EndpointSeen {
            pod: endpoint.target_ref.as_ref().map(|target| target.name.clone()).unwrap_or_default(),
            // The API says: absent means ready.
            ready: endpoint.conditions.ready.unwrap_or(true),
        })
        .collect();
    entry(object, SliceSeen { service, endpoints })
}

/// Reads a Job, by its conditions alone: its counters go up and down.
#[must_use]
pub fn job(object: &Job) -> Entry<JobSeen> {
    entry(object, job_seen(object))
}

/// Reads a Job, whoever it belongs to.
#[must_use]
pub fn job_seen(object: &Job) -> JobSeen {
    let is = |type_: &str| {
        object.status.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
    };
    let state = match (is("Complete"), is("Failed")) {
        (Some(_), _) => JobState::Complete,
        (None, Some(failed)) => JobState::Failed { reason: failed.reason.clone(), message: failed.message.clone() },
        (None, None) => JobState::Running,
    };
    JobSeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        ours: ours(object),
        revision: label(object, REVISION),
        suspended: object.spec.suspend,
        ended: is("Complete").or_else(|| is("Failed")).and_then(|condition| condition.last_transition_time),
        state,
        expires: object.spec.ttl_seconds_after_finished.is_some(),
        deleting: object.metadata.deletion_timestamp.is_some(),
    }
}

/// Reads a `ControllerRevision`.
#[must_use]
pub fn attempt(object: &ControllerRevision) -> Entry<AttemptSeen> {
    let names = object.annotations().get(CONFIG).into_iter().flat_map(|names| names.split(','));
    entry(
        object,
        AttemptSeen {
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            role: object.labels().get(ROLE).and_then(|role| Role::parse(role)),
            number: object.annotations().get(ATTEMPT).and_then(|number| number.parse().ok()).unwrap_or(0),
            revision: label(object, REVISION),
            config: names.map(str::to_owned).collect(),
        },
    )
}

/// Reads an object of any kind.
#[must_use]
pub fn object_seen(object: &PartialObjectMeta<DynamicObject>) -> ObjectSeen {
    let is_of_us = |owner: &&OwnerReference| match owner.kind.as_str() {
        "Release" => owner.api_version.starts_with(&format!("{GROUP}/")),
        "ControllerRevision" => owner.api_version.starts_with("apps/"),
        _ => false,
    };
    ObjectSeen {
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        controller: controller(object).map(|(_, words)| words),
        release: label(object, RELEASE_UID),
        ours: ours(object),
        owners: object.owner_references().iter().filter(is_of_us).map(|owner| owner.uid.clone()).collect(),
    }
}

/// Reads a Decision; it is kept under the name of its Release, so that one about an earlier object of the same
/// name can be told so.
#[must_use]
pub fn decision(object: &kube::core::DeserializeGuard<Decision>) -> Entry<DecisionSeen> {
    let object = object.0.as_ref().ok()?;
    let spec = &object.spec;
    let seen = DecisionSeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        target_uid: spec.target.uid.clone(),
        kind: Some(spec.decision.clone()),
        actor: spec.actor.clone(),
        created: object.creation_timestamp()?.0,
        statement: spec.statement.clone(),
        settled: object.status.as_ref().is_some_and(DecisionStatus::is_final),
        accepted: object.status.as_ref().is_some_and(|status| !status.state.is_empty() && !status.is_final()),
    };
    Some(((object.namespace()?, spec.target.name.clone()), object.name_any(), seen))
}

/// Reads a ReleasePolicy, also one that this version cannot read: a guard rail that nobody understands is not a
/// missing one.
pub fn policy(object: &kube::core::DeserializeGuard<ReleasePolicy>) -> Entry<PolicySeen> {
    let meta = object.meta();
    let (namespace, name) = (meta.namespace.clone()?, meta.name.clone()?);
    let seen = PolicySeen {
        name: name.clone(),
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        running: object.0.as_ref().ok().and_then(|policy| policy.status.clone()).unwrap_or_default().running,
        spec: object.0.as_ref().ok().map(|policy| Arc::new(policy.spec.clone())),
    };
    Some(((namespace, String::new()), name, seen))
}
