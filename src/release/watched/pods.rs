//! What watches read of pods.

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Resource, ResourceExt};
use serde::Deserialize;

use super::{Condition, Entry, entry, label};
use crate::{
    agent_job::{CONTRACT_PREFIX, REHEARSE_CONTAINER, RESTORE_CONTAINER},
    api::labels::{REVISION, WORKLOAD},
    release::{manifests::AGENT_CONTAINER, observed::PodSeen},
};

/// Why a pod is disrupted that did nothing for it. What the kubelet ends is not among them: short of memory or disk a node
/// ends pods whose version may be the cause.
const EVICTED: [&str; 4] =
    ["EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByTaintManager", "DeletionByPodGC"];

/// A pod, without its spec.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "core::Pod")]
pub struct Pod {
    metadata: ObjectMeta,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    conditions: Vec<Condition>,
    init_container_statuses: Vec<ContainerStatus>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "imageID")]
    image_id: String,
    restart_count: i32,
    state: ContainerState,
    last_state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    running: Option<Running>,
    waiting: Option<Waiting>,
    terminated: Option<Terminated>,
}

/// When it began is nobody's business here.
#[derive(Clone, Debug, Deserialize)]
struct Running {}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    exit_code: i32,
    reason: String,
    message: String,
}

/// Reads a pod.
#[must_use]
pub fn pod(object: &Pod) -> Entry<PodSeen> {
    entry(object, pod_seen(object))
}

/// Reads a pod, whoever it belongs to.
#[must_use]
pub fn pod_seen(object: &Pod) -> PodSeen {
    let status = &object.status;
    let ready = status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let containers = || status.init_container_statuses.iter().chain(&status.container_statuses);
    let message = containers().filter_map(word).find(|message| !message.is_empty()).map(str::to_owned);
    let contract = status.init_container_statuses.iter().filter(|one| one.name.starts_with(CONTRACT_PREFIX));
    // Started again: it ended by itself, or because it did not get ready. With a pod that is lost it only ends.
    let contract = contract.filter(|one| one.restart_count > 0).find_map(problem);
    let unschedulable = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .map(|condition| format!("{}: {}", condition.reason, condition.message));
    let images = containers().filter(|container| !container.image_id.is_empty());
    let images = images.map(|container| (container.name.clone(), container.image_id.clone())).collect();
    let evicted = |condition: &&Condition| {
        condition.type_ == "DisruptionTarget" && condition.status == "True" && EVICTED.contains(&&*condition.reason)
    };
    PodSeen {
        disrupted: status.conditions.iter().find(evicted).and_then(|condition| condition.last_transition_time),
        images,
        name: object.name_any(),
        revision: label(object, REVISION),
        workload: label(object, WORKLOAD),
        deployment: deployment(object),
        job: object.owner_references().iter().find(|owner| owner.kind == "Job").map(|owner| owner.name.clone()),
        ready,
        deleting: object.metadata.deletion_timestamp.is_some(),
        ended: matches!(status.phase.as_str(), "Succeeded" | "Failed"),
        problem: unschedulable.or_else(|| containers().find_map(problem)),
        agent_ran: status.container_statuses.iter().filter(|container| container.name == AGENT_CONTAINER).any(
            |container| {
                let ContainerState { running, waiting: _, terminated } = &container.state;
                running.is_some() || terminated.is_some() || container.last_state.terminated.is_some()
            },
        ),
        message,
        contract,
        created: object.creation_timestamp().map(|time| time.0),
    }
}

/// Returns the name of the Deployment whose ReplicaSet controls a pod: Kubernetes names one after the other.
fn deployment(object: &Pod) -> Option<String> {
    let controls = |owner: &&OwnerReference| owner.kind == "ReplicaSet" && owner.controller == Some(true);
    let set = object.owner_references().iter().find(controls)?;
    set.name.rsplit_once('-').map(|(deployment, _)| deployment.to_owned())
}

/// Returns what the agent left in a container of ours. One that comes before the agent's own speaks only when it failed:
/// the agent's then never begins.
fn word(container: &ContainerStatus) -> Option<&str> {
    let terminated = container.state.terminated.as_ref()?;
    let speaks = match container.name.as_str() {
        AGENT_CONTAINER => true,
        RESTORE_CONTAINER | REHEARSE_CONTAINER => terminated.exit_code != 0,
        _ => false,
    };
    speaks.then_some(terminated.message.as_str())
}

/// Says why a container does not run; `None` while it starts or runs.
fn problem(container: &ContainerStatus) -> Option<String> {
    let name = &container.name;
    let ended = |terminated: &Terminated| {
        let message = if terminated.message.is_empty() || name == AGENT_CONTAINER {
            String::new()
        } else {
            format!(": {}", terminated.message)
        };
        format!("container {name} ended with exit code {} ({}){message}", terminated.exit_code, terminated.reason)
    };
    if let Some(waiting) = &container.state.waiting
        && !matches!(waiting.reason.as_str(), "" | "ContainerCreating" | "PodInitializing")
    {
        let before =
            container.last_state.terminated.as_ref().map(|last| format!("; {}", ended(last))).unwrap_or_default();
        return Some(format!("container {name} is in {}: {}{before}", waiting.reason, waiting.message));
    }
    let failed = container.state.terminated.as_ref().filter(|terminated| terminated.exit_code != 0);
    failed.map(ended).or_else(|| {
        let restarted = container.last_state.terminated.as_ref().filter(|_| container.restart_count > 0)?;
        Some(ended(restarted))
    })
}
