//! What watches read of the agent's Jobs and of the objects they belong to.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{Resource, ResourceExt, core::DeserializeGuard};

use crate::{
    agent_job::seen::{AgentJobSeen, JobEnd},
    api::labels::{BACKUP_UID, DATABASE_UID, STORAGE_UID, VERB},
    kube_io::index::Owner,
    release::{
        observed::{JobSeen, JobState},
        watched::{self, Job, Pod},
    },
};

/// What an index keeps of an object: under which key, its name, what was seen.
pub(super) type Entry<S> = Option<(Owner, String, S)>;

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
    let JobSeen { name, uid, suspended, state, ended, deleting, .. } = watched::job_seen(object);
    let at = ended.unwrap_or(Timestamp::MIN);
    let ended = match state {
        JobState::Running => None,
        JobState::Complete => Some(JobEnd { at, failure: None }),
        JobState::Failed { reason, message } => Some(JobEnd { at, failure: Some(format!("{reason}: {message}")) }),
    };
    AgentJobSeen {
        name,
        uid,
        verb: object.labels().get(VERB).cloned().unwrap_or_default(),
        owner: object.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|o| o.uid.clone()),
        created: object.creation_timestamp().map(|time| time.0),
        suspended,
        ended,
        deleting,
        message: None,
        problem: None,
    }
}

/// Reads a pod for one of the objects that its labels name.
pub(super) fn pod(object: &Pod, label: &str) -> Entry<AgentPodSeen> {
    let uid = object.labels().get(label)?.clone();
    let job = object.owner_references().iter().find(|owner| owner.kind == "Job")?.uid.clone();
    let seen = watched::pod_seen(object);
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
    let name = object.name_any();
    Some(((object.meta().namespace.clone()?, name.clone()), name, Arc::new(object.clone())))
}
