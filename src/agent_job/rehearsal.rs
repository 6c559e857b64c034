//! The pod in which a migration is rehearsed; pure.
//!
//! In this order: `scratch` stays beside all others and has the copy; `restore` has the storage's credentials and no code
//! of users; `rehearse` migrates the copy, in the image in which the migration will run; the containers of the old version
//! must get ready on it; then the agent takes the migration back where a command says how, and speaks for all. The kubelet
//! begins each when the one before has ended, or has got ready: what is a readiness probe elsewhere is a startup probe here.
//!
//! No container but `restore` has a Secret, a volume that others use, or an account: what would let it reach production is
//! taken out of users' templates, by what may stay, not by what must go.

use serde_json::{Value, json};

use super::{
    AGENT_CONTAINER, AgentJob, Image, Rehearsal,
    pod::{
        AGENT_ID, GRACE_SECONDS, confined, extend, inject, merged, put, resources, scratch_container, users_container,
    },
    volumes,
};
use crate::{
    api::{PodTemplate, RehearsalFindings, RehearsalVariable},
    protocol::{Done, ProofSeconds, RehearseResult, paths},
};

/// The container that restores the backup.
pub const RESTORE_CONTAINER: &str = "restore";
/// The container that migrates the copy.
pub const REHEARSE_CONTAINER: &str = "rehearse";
/// What the names of the old version's containers begin with.
pub const CONTRACT_PREFIX: &str = "contract-";
/// How long a container of the old version may take to get ready that has no startup probe, in seconds.
const READY_SECONDS: i64 = 300;
/// What Kubernetes takes for the period of a probe that names none, in seconds.
const PERIOD_SECONDS: i64 = 10;
/// After how many failures of a probe that says nothing Kubernetes gives up.
const FAILURES: i64 = 3;
/// What stays of a user's pod: where it runs, and what pulls its images.
const POD_PARTS: [&str; 9] = [
    "affinity",
    "dnsConfig",
    "dnsPolicy",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "tolerations",
];
/// Kinds of volumes that stay: made for the pod, or readable by whoever may read the namespace's settings.
const VOLUMES: [&str; 5] = ["configMap", "downwardAPI", "emptyDir", "ephemeral", "image"];
/// Sources of a projected volume that stay.
const PROJECTED: [&str; 2] = ["configMap", "downwardAPI"];
/// Where a variable's value may come from.
const VALUES: [&str; 3] = ["configMapKeyRef", "fieldRef", "resourceFieldRef"];
/// What of a pod's security context belongs to each container when pods are put together.
const CONTEXT: [&str; 7] = [
    "appArmorProfile",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "seLinuxOptions",
    "seccompProfile",
    "windowsOptions",
];
/// Variables that say where the database is.
const ADDRESS: [&str; 6] = ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSSLMODE", "DATABASE_URL"];
/// What of a container belongs to serving users.
const SERVING: [&str; 4] = ["lifecycle", "livenessProbe", "startupProbe", "restartPolicy"];

/// Returns the pod.
pub(super) fn spec(job: &AgentJob<'_>, rehearsal: &Rehearsal<'_>) -> Value {
    let migrates = match job.image {
        Image::User { pod, .. } => Some(pod),
        Image::Agent | Image::Tools(_) => None,
    };
    let mut pod = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        // Containers of users bring their own settings; ours have theirs each.
        "securityContext": { "fsGroup": AGENT_ID, "fsGroupChangePolicy": "OnRootMismatch" },
    });
    for (part, value) in
        POD_PARTS.iter().filter_map(|part| Some((part, migrates?.0.pointer(&format!("/spec/{part}"))?)))
    {
        put(&mut pod, part, value.clone());
    }
    let mut first = vec![inject(job.agent_image)];
    first.extend(job.scratch.as_ref().map(scratch_container));
    first.push(restore(job));
    first.push(worker(job, rehearsal, (REHEARSE_CONTAINER, RehearsalFindings::VERB, true)));
    let mut all_volumes = volumes::volumes(job);
    all_volumes.extend(migrates.into_iter().flat_map(kept_volumes));
    if let Some(template) = rehearsal.contract {
        first.extend(contract(template, rehearsal.env));
        let renamed = kept_volumes(template).into_iter().map(|mut volume| {
            rename_volume(&mut volume, template);
            volume
        });
        all_volumes.extend(renamed);
        let mut pulls =
            template.0.pointer("/spec/imagePullSecrets").and_then(Value::as_array).cloned().unwrap_or_default();
        let known = pod.get("imagePullSecrets").and_then(Value::as_array).cloned().unwrap_or_default();
        pulls.retain(|pull| !known.contains(pull));
        extend(&mut pod, "imagePullSecrets", pulls);
    }
    put(&mut pod, "initContainers", first.into());
    put(
        &mut pod,
        "containers",
        json!([worker(job, rehearsal, (AGENT_CONTAINER, RehearseResult::VERB, rehearsal.down))]),
    );
    extend(&mut pod, "volumes", all_volumes);
    pod
}

fn args(job: &AgentJob<'_>, verb: &str) -> Value {
    json!([verb, "--parameters", job.work.parameters()])
}

/// Returns the settings of a container of our own.
fn own() -> Value {
    merged(
        confined(),
        json!({
            "runAsNonRoot": true, "runAsUser": AGENT_ID, "runAsGroup": AGENT_ID,
            "seccompProfile": { "type": "RuntimeDefault" },
        }),
    )
}

fn restore(job: &AgentJob<'_>) -> Value {
    let shared = [volumes::memory_mount(), volumes::shared_mount()];
    let mounts: Vec<Value> = shared.into_iter().chain(volumes::storage_mounts(job)).collect();
    json!({
        "name": RESTORE_CONTAINER,
        "image": job.agent_image,
        "args": args(job, ProofSeconds::VERB),
        "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "256Mi" } },
        "securityContext": own(),
        "volumeMounts": mounts,
    })
}

/// Returns a container that works on the copy: in the user's image where a command of it runs, else in the agent's.
fn worker(job: &AgentJob<'_>, rehearsal: &Rehearsal<'_>, (name, verb, runs_command): (&str, &str, bool)) -> Value {
    let args = args(job, verb);
    let mut mounts = vec![volumes::memory_mount(), volumes::shared_mount()];
    let mut worker = match job.image {
        Image::User { pod, container } if runs_command => {
            let mut worker = without_secrets(users_container(pod, container), pod);
            with_environment(&mut worker, vec![], rehearsal.env);
            put(&mut worker, "command", json!([paths::PROGRAM]));
            mounts.push(volumes::program_mount());
            worker
        }
        Image::User { .. } | Image::Agent | Image::Tools(_) => {
            mounts.extend(volumes::migrations_mount(job));
            let usual = json!({ "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } });
            json!({
                "image": job.agent_image,
                "resources": resources(job.settings, usual),
                "securityContext": own(),
            })
        }
    };
    put(&mut worker, "name", name.into());
    put(&mut worker, "args", args);
    extend(&mut worker, "volumeMounts", mounts);
    worker
}

/// Returns the old version's containers: sidecars, so that the kubelet goes on only when each has got ready.
fn contract<'a>(template: &'a PodTemplate, env: &'a [RehearsalVariable]) -> impl Iterator<Item = Value> + 'a {
    template.containers().enumerate().map(move |(number, container)| {
        let mut container = without_secrets(container.clone(), template);
        let own = container.get("startupProbe").cloned();
        let readiness = container.as_object_mut().and_then(|container| {
            SERVING.iter().for_each(|part| drop(container.remove(*part)));
            container.remove("readinessProbe")
        });
        let ports = container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten();
        ports.filter_map(Value::as_object_mut).for_each(|port| drop(port.remove("hostPort")));
        let mounts = container.get_mut("volumeMounts").and_then(Value::as_array_mut).into_iter().flatten();
        mounts.for_each(|mount| rename_volume(mount, template));
        with_environment(&mut container, copy_environment(), env);
        if let Some(probe) = readiness {
            put(&mut container, "startupProbe", startup(probe, own.as_ref()));
        }
        put(&mut container, "name", format!("{CONTRACT_PREFIX}{number}").into());
        put(&mut container, "restartPolicy", "Always".into());
        container
    })
}

/// Makes a readiness probe the one that the kubelet waits for: as long as the container's own startup probe gives it.
fn startup(mut probe: Value, own: Option<&Value>) -> Value {
    let number = |probe: &Value, field: &str| probe.get(field).and_then(Value::as_i64).filter(|number| *number > 0);
    let period = |probe: &Value| number(probe, "periodSeconds").unwrap_or(PERIOD_SECONDS);
    let limit = own.map_or(READY_SECONDS, |own| {
        let failures = number(own, "failureThreshold").unwrap_or(FAILURES);
        number(own, "initialDelaySeconds").unwrap_or(0).saturating_add(failures.saturating_mul(period(own)))
    });
    let failures = (limit / period(&probe)).max(1);
    put(&mut probe, "failureThreshold", failures.into());
    put(&mut probe, "successThreshold", 1.into());
    probe
}

/// Returns what tells a container of the old version where the copy is.
fn copy_environment() -> Vec<Value> {
    let (host, port, name) = ("127.0.0.1", paths::SCRATCH_PORT.to_string(), "switchback");
    let url = format!("postgres://{name}@{host}:{port}/{name}?sslmode=disable");
    let values = [host, &port, name, name, "disable", &url];
    ADDRESS.iter().zip(values).map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// Returns what may stay of a pod's volumes.
fn kept_volumes(template: &PodTemplate) -> Vec<Value> {
    let all = template.0.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    all.filter(|volume| stays(volume)).cloned().collect()
}

fn stays(volume: &Value) -> bool {
    let Some(volume) = volume.as_object() else { return false };
    volume.iter().filter(|(key, _)| *key != "name").all(|(kind, how)| match kind.as_str() {
        "projected" => how.get("sources").and_then(Value::as_array).into_iter().flatten().all(|source| {
            source.as_object().is_some_and(|source| source.keys().all(|kind| PROJECTED.contains(&kind.as_str())))
        }),
        kind => VOLUMES.contains(&kind),
    })
}

/// Names of volumes of two pods may be the same.
fn rename_volume(named: &mut Value, template: &PodTemplate) {
    let all = template.0.pointer("/spec/volumes").and_then(Value::as_array);
    let number = all.and_then(|all| all.iter().position(|volume| volume.get("name") == named.get("name")));
    if let Some(number) = number {
        put(named, "name", format!("{CONTRACT_PREFIX}{number}").into());
    }
}

/// Takes out of a container what comes from Secrets or from elsewhere, and gives it its pod's security context.
fn without_secrets(mut container: Value, template: &PodTemplate) -> Value {
    let kept: Vec<Value> = kept_volumes(template).iter().filter_map(|volume| volume.get("name").cloned()).collect();
    keep(&mut container, "volumeMounts", |mount| mount.get("name").is_some_and(|name| kept.contains(name)));
    if let Some(container) = container.as_object_mut() {
        container.remove("volumeDevices");
    }
    keep(&mut container, "env", |variable| match variable.get("valueFrom").and_then(Value::as_object) {
        Some(from) => from.keys().all(|kind| VALUES.contains(&kind.as_str())),
        // Where production is, is nothing for it either.
        None => !ADDRESS.iter().any(|name| variable.get("name").and_then(Value::as_str) == Some(*name)),
    });
    keep(&mut container, "envFrom", |from| from.get("secretRef").is_none() && from.get("configMapRef").is_some());
    let Some(of_pod) = template.0.pointer("/spec/securityContext") else { return container };
    let mut context = container.get("securityContext").cloned().unwrap_or_else(|| json!({}));
    for part in CONTEXT.iter().filter(|part| context.get(**part).is_none()).collect::<Vec<_>>() {
        if let Some(value) = of_pod.get(part) {
            put(&mut context, part, value.clone());
        }
    }
    put(&mut container, "securityContext", context);
    container
}

fn keep(container: &mut Value, list: &str, stays: impl Fn(&Value) -> bool) {
    if let Some(list) = container.get_mut(list).and_then(Value::as_array_mut) {
        list.retain(stays);
    }
}

/// Sets variables: first ours, then the container's own, then those of the rehearsal, which take the place of what has
/// their names.
fn with_environment(container: &mut Value, first: Vec<Value>, last: &[RehearsalVariable]) {
    let is_set = |variable: &Value| last.iter().any(|set| variable.get("name") == Some(&json!(set.name)));
    keep(container, "env", |variable| !is_set(variable));
    let own = container.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
    let last = last.iter().map(|set| json!({ "name": set.name, "value": set.value }));
    let all: Vec<Value> = first.into_iter().chain(own).chain(last).collect();
    if !all.is_empty() {
        put(container, "env", all.into());
    }
}
