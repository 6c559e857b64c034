//! The pods of the agent's Jobs; pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{AgentJob, Image, Scratch, rehearsal, volumes};
use crate::{
    api::{JobSettings, PodTemplate},
    protocol::paths,
};

/// Name of the agent's container in our Jobs: its termination message is the result.
pub const AGENT_CONTAINER: &str = "agent";
/// User and group of the agent, in its own image and in those with PostgreSQL's programs.
pub(super) const AGENT_ID: u32 = 65532;
/// User of a scratch server: another one than the agent's, which can read secrets. The images with PostgreSQL's
/// programs have it in their passwd, which initdb asks for.
const SCRATCH_ID: u32 = 100;
/// Its group.
const SCRATCH_GROUP: u32 = 102;
/// How long the agent may take to cancel its statements and to report, in seconds.
pub(super) const GRACE_SECONDS: u32 = 60;

/// Returns the pod.
pub(super) fn spec(job: &AgentJob<'_>) -> Value {
    if let Some(rehearsal) = &job.rehearsal {
        return rehearsal::spec(job, rehearsal);
    }
    let mut main = main_container(job);
    put(&mut main, "name", AGENT_CONTAINER.into());
    extend(&mut main, "volumeMounts", volumes::mounts(job));
    let mut pod = match job.image {
        Image::Agent | Image::Tools(_) => json!({
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": AGENT_ID,
                "runAsGroup": AGENT_ID,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
        }),
        Image::User { pod, .. } => users_pod(pod),
    };
    put(&mut pod, "restartPolicy", "Never".into());
    put(&mut pod, "automountServiceAccountToken", false.into());
    put(&mut pod, "enableServiceLinks", false.into());
    put(&mut pod, "terminationGracePeriodSeconds", GRACE_SECONDS.into());
    // Secrets are readable by this group, and whatever two users share is writable.
    default_group(&mut pod);
    extend(&mut pod, "volumes", volumes::volumes(job));
    let inject = (job.image != Image::Agent).then(|| inject(job.agent_image));
    let scratch = job.scratch.as_ref().map(scratch_container);
    let first: Vec<Value> = inject.into_iter().chain(scratch).collect();
    if !first.is_empty() {
        put(&mut pod, "initContainers", first.into());
    }
    put(&mut pod, "containers", json!([main]));
    pod
}

fn main_container(job: &AgentJob<'_>) -> Value {
    let verb = job.work.verb();
    let parameters = job.work.parameters();
    let program = json!([paths::PROGRAM]);
    let args = json!([verb, "--parameters", parameters]);
    match job.image {
        Image::Agent => json!({
            "image": job.agent_image,
            "args": args,
            "resources": resources(
                job.settings, json!({ "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } }),
            ),
            "securityContext": confined(),
        }),
        Image::Tools(image) => json!({
            "image": image,
            "command": program,
            "args": args,
            "resources": resources(
                job.settings, json!({ "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "512Mi" } }),
            ),
            "securityContext": confined(),
        }),
        Image::User { pod, container } => {
            let mut main = users_container(pod, container);
            put(&mut main, "command", program);
            put(&mut main, "args", args);
            main
        }
    }
}

pub(super) fn confined() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

/// Copies the agent's program to where the main container finds it.
pub(super) fn inject(image: &str) -> Value {
    json!({
        "name": "inject",
        "image": image,
        "args": ["inject"],
        "resources": { "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "64Mi" } },
        // The user's pod may have another user, under which nothing here could be read.
        "securityContext": merged(confined(), json!({
            "runAsNonRoot": true, "runAsUser": AGENT_ID, "runAsGroup": AGENT_ID,
            "seccompProfile": { "type": "RuntimeDefault" },
        })),
        "volumeMounts": [{ "name": volumes::PROGRAM, "mountPath": paths::PROGRAM_DIR }],
    })
}

/// A container that starts before the main one and ends after it. What is restored there may hold code, so it has no
/// secret and another user.
pub(super) fn scratch_container(scratch: &Scratch<'_>) -> Value {
    let mut limits = json!({ "memory": "1Gi" });
    if let volumes::Room::Node(size) = volumes::room(scratch) {
        // Without it, a full disk would make the node send other pods away.
        put(&mut limits, "ephemeral-storage", size.into());
    }
    json!({
        "name": "scratch",
        "image": scratch.image,
        "restartPolicy": "Always",
        "command": [paths::PROGRAM],
        "args": ["scratch"],
        "resources": { "requests": { "cpu": "100m", "memory": "256Mi" }, "limits": limits },
        "securityContext": merged(confined(), json!({
            "runAsNonRoot": true, "runAsUser": SCRATCH_ID, "runAsGroup": SCRATCH_GROUP,
            "seccompProfile": { "type": "RuntimeDefault" },
        })),
        "volumeMounts": [
            { "name": volumes::PROGRAM, "mountPath": paths::PROGRAM_DIR, "readOnly": true },
            { "name": volumes::SCRATCH_DATA, "mountPath": paths::SCRATCH_DATA },
            { "name": volumes::SCRATCH_SOCKETS, "mountPath": paths::SCRATCH_SOCKETS },
        ],
    })
}

/// Returns the user's pod without its containers and without what lives longer than a Job.
fn users_pod(pod: &PodTemplate) -> Value {
    let mut pod = pod.0.get("spec").cloned().unwrap_or_else(|| json!({}));
    if let Some(map) = pod.as_object_mut() {
        for part in ["containers", "initContainers", "activeDeadlineSeconds", "topologySpreadConstraints"] {
            map.remove(part);
        }
    }
    pod
}

/// What of a user's container belongs to serving, or would keep the agent's word from being found.
const USERS_ALONE: [&str; 8] = [
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "ports",
    "restartPolicy",
    "terminationMessagePath",
    "terminationMessagePolicy",
];

/// Returns the user's container without what belongs to serving.
pub(super) fn users_container(pod: &PodTemplate, name: &str) -> Value {
    let found = pod.containers().find(|container| container.get("name").and_then(Value::as_str) == Some(name));
    let mut container = found.cloned().unwrap_or_else(|| json!({}));
    if let Some(map) = container.as_object_mut() {
        for part in USERS_ALONE {
            map.remove(part);
        }
    }
    container
}

fn default_group(pod: &mut Value) {
    if !pod.get("securityContext").is_some_and(Value::is_object) {
        put(pod, "securityContext", json!({}));
    }
    if let Some(context) = pod.get_mut("securityContext").and_then(Value::as_object_mut) {
        context.entry("fsGroup").or_insert_with(|| AGENT_ID.into());
        // A large volume is not walked through for each Job.
        context.entry("fsGroupChangePolicy").or_insert_with(|| "OnRootMismatch".into());
    }
}

/// Gives a pod template what the namespace's people want for pods of Jobs, where it says nothing itself.
pub fn furnish(template: &mut Value, settings: &JobSettings) {
    let JobSettings { service_account_name, image_pull_secrets, node_selector, tolerations, .. } = settings;
    if let Some(metadata) = part(template, "metadata") {
        for (key, wanted) in [("labels", &settings.labels), ("annotations", &settings.annotations)] {
            fill_each(metadata, key, wanted);
        }
    }
    let Some(pod) = template.get_mut("spec") else { return };
    if let (Some(account), None | Some(Value::Null)) = (service_account_name, pod.get("serviceAccountName")) {
        put(pod, "serviceAccountName", account.as_str().into());
        // The token of an account that somebody else named is nothing for a pod that did not ask for it.
        if pod.get("automountServiceAccountToken").is_none_or(Value::is_null) {
            put(pod, "automountServiceAccountToken", false.into());
        }
    }
    if !node_selector.is_empty() && !pod.get("nodeSelector").is_some_and(Value::is_object) {
        put(pod, "nodeSelector", json!(node_selector));
    }
    extend(pod, "imagePullSecrets", image_pull_secrets.iter().map(|name| json!({ "name": name })).collect());
    extend(pod, "tolerations", tolerations.iter().map(|toleration| json!(toleration)).collect());
}

/// Returns the resources of a container that the agent works in.
pub fn resources(settings: &JobSettings, usual: Value) -> Value {
    settings.resources.as_ref().map_or(usual, |wanted| json!(wanted))
}

/// Adds to a map what it does not have yet.
fn fill_each(object: &mut Value, key: &str, wanted: &BTreeMap<String, String>) {
    if wanted.is_empty() {
        return;
    }
    if let Some(map) = part(object, key).and_then(Value::as_object_mut) {
        for (key, value) in wanted {
            map.entry(key).or_insert_with(|| value.as_str().into());
        }
    }
}

/// Returns a part of an object, made when it is not there.
fn part<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let part = object.as_object_mut()?.entry(key).or_insert(Value::Null);
    if !part.is_object() {
        *part = json!({});
    }
    Some(part)
}

pub(super) fn merged(mut first: Value, second: Value) -> Value {
    if let (Some(first), Value::Object(second)) = (first.as_object_mut(), second) {
        first.extend(second);
    }
    first
}

pub(super) fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

/// Adds to a list, which need not be there.
pub(super) fn extend(object: &mut Value, key: &str, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    let map: Option<&mut Map<String, Value>> = object.as_object_mut();
    let list = map.map(|map| map.entry(key).or_insert_with(|| json!([])));
    if let Some(list) = list.and_then(Value::as_array_mut) {
        list.extend(more);
    }
}
