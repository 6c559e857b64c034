//! What watches read of the agent's Jobs and of the objects they belong to.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::batch::v1 as batch,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Resource, ResourceExt, core::DeserializeGuard};
use serde::Deserialize;

use crate::{
    agent_job::seen::{AgentJobSeen, JobEnd},
    api::labels::{BACKUP_UID, DATABASE_UID, STORAGE_UID, VERB},
    kube_io::index::Owner,
    release::watched::Pod,
};

/// What an index keeps of an object: under which key, its name, what was seen.
pub(super) type Entry<S> = Option<(Owner, String, S)>;

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
#[serde(default)]
struct JobSpec {
    suspend: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct JobStatus {
    conditions: Vec<JobCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JobCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: String,
    message: String,
    last_transition_time: Option<Time>,
}

/// A pod of a Job of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPodSeen {
    /// UID of the Job.
    pub job: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// What the agent left.
    pub message: Option<String>,
    /// Why it does not run.
    pub problem: Option<String>,
}

/// Objects of ours whose Jobs are followed, and the labels by which Jobs name them.
pub(super) const OWNERS: [&str; 3] = [DATABASE_UID, STORAGE_UID, BACKUP_UID];

/// Reads a Job for one of the objects that its labels name.
pub(super) fn job(object: &Job, label: &str) -> Entry<AgentJobSeen> {
    let uid = object.labels().get(label)?.clone();
    Some(((object.namespace()?, uid), object.name_any(), job_seen(object)))
}

fn job_seen(object: &Job) -> AgentJobSeen {
    let is = |type_: &str| {
        object.status.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
    };
    let at = |condition: &JobCondition| condition.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let ended = match (is("Complete"), is("Failed")) {
        (Some(complete), _) => Some(JobEnd { at: at(complete), failure: None }),
        (None, Some(failed)) => {
            Some(JobEnd { at: at(failed), failure: Some(format!("{}: {}", failed.reason, failed.message)) })
        }
        (None, None) => None,
    };
    AgentJobSeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        verb: object.labels().get(VERB).cloned().unwrap_or_default(),
        owner: object.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|o| o.uid.clone()),
        created: object.creation_timestamp().map(|time| time.0),
        suspended: object.spec.suspend,
        ended,
        deleting: object.metadata.deletion_timestamp.is_some(),
        message: None,
        problem: None,
    }
}

/// Reads a pod for one of the objects that its labels name.
pub(super) fn pod(object: &Pod, label: &str) -> Entry<AgentPodSeen> {
    let uid = object.labels().get(label)?.clone();
    let job = object.owner_references().iter().find(|owner| owner.kind == "Job")?.uid.clone();
    let seen = crate::release::watched::pod_seen(object);
    let pod = AgentPodSeen { job, created: seen.created, message: seen.message, problem: seen.problem };
    Some(((object.namespace()?, uid), object.name_any(), pod))
}

/// Gives each Job what its newest pod says.
pub(super) fn join(mut jobs: Vec<AgentJobSeen>, pods: &[AgentPodSeen]) -> Vec<AgentJobSeen> {
    for job in &mut jobs {
        let newest = pods.iter().filter(|pod| pod.job == job.uid).max_by_key(|pod| pod.created);
        if let Some(pod) = newest {
            job.message.clone_from(&pod.message);
            job.problem.clone_from(&pod.problem);
        }
    }
    jobs
}

/// Reads an object of ours, kept whole under its own name.
pub(super) fn whole<K>(object: &DeserializeGuard<K>) -> Entry<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone,
{
    let object = object.0.as_ref().ok()?;
    let mut object = object.clone();
    object.meta_mut().managed_fields = None;
    Some(((object.meta().namespace.clone()?, object.name_any()), object.name_any(), Arc::new(object)))
}
