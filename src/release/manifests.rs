//! Names, labels and objects of a Release; pure.
//!
//! In: what was seen and a frozen content. Out: objects as JSON, because pod templates are kept as the user
//! wrote them. Never here: choices about what to do.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::observed::{AttemptSeen, ReleaseSeen, ServiceSeen, Settings};
use crate::{
    api::{
        Check, CheckKind, CheckPhase, GROUP, HttpCheck, JobCheck, ReleaseSpec, RevisionId, VERSION, Workload,
        WorkloadService,
        labels::{self, Role},
        sha256_hex,
    },
    protocol::{CheckParameters, EXIT_FAILED, HttpProbe},
};

/// Longest name of a child: a Deployment adds 11 characters for its ReplicaSets and 6 for their pods.
const NAME_LENGTH: usize = 52;
/// Longest value of a label.
const LABEL_LENGTH: usize = 63;
/// How many hex digits keep shortened names apart.
const HASH_LENGTH: usize = 8;
/// How often the Job controller starts another pod of a read-only Job that crashed or was lost.
const CHECK_RETRIES: u8 = 3;
/// How much longer than its checks a check Job may live: pulling the image, starting, reporting.
const CHECK_START_SECONDS: u64 = 300;

/// Kinds of objects that a Release makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `v1` Service.
    Service,
    /// `batch/v1` Job.
    Job,
    /// `apps/v1` ControllerRevision.
    ControllerRevision,
    /// `v1` Pod; dry runs only.
    Pod,
}

impl Kind {
    /// Returns the kind as Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::Job => "Job",
            Self::ControllerRevision => "ControllerRevision",
            Self::Pod => "Pod",
        }
    }

    const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::ControllerRevision => "apps/v1",
            Self::Job => "batch/v1",
            Self::Service | Self::Pod => "v1",
        }
    }
}

/// An object to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The whole object.
    pub body: Value,
}

/// Joins parts to a name that is valid for every kind; what had to be changed is kept apart by a hash.
#[must_use]
pub fn child_name(parts: &[&str]) -> String {
    shorten(&parts.join("-"), NAME_LENGTH)
}

fn shorten(full: &str, longest: usize) -> String {
    let plain = full.replace('.', "-");
    if plain == full && plain.len() <= longest {
        return plain;
    }
    let kept: String = plain.chars().take(longest - HASH_LENGTH - 1).collect();
    let hash: String = sha256_hex(full).chars().take(HASH_LENGTH).collect();
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

/// Returns the name of the Deployment of a workload in a revision.
#[must_use]
pub fn deployment_name(release: &ReleaseSeen, workload: &str, revision: &RevisionId) -> String {
    child_name(&[&release.name, workload, revision.digits()])
}

/// Returns the name of the `ControllerRevision` of an attempt.
#[must_use]
pub fn attempt_name(release: &ReleaseSeen, number: i64) -> String {
    child_name(&[&release.name, "attempt", &number.to_string()])
}

/// Returns the name of the preview twin of a Service.
#[must_use]
pub fn preview_name(service: &str) -> String {
    format!("{service}{}", labels::PREVIEW_SUFFIX)
}

/// Returns the name of the agent's Job for the http checks of a phase.
#[must_use]
pub fn agent_job_name(release: &ReleaseSeen, attempt: i64, phase: CheckPhase) -> String {
    let phase: &str = phase.into();
    child_name(&[&release.name, &attempt.to_string(), &phase.to_lowercase()])
}

/// Returns the name of the Job of a `job` check.
#[must_use]
pub fn job_check_name(release: &ReleaseSeen, attempt: i64, check: &str) -> String {
    child_name(&[&release.name, &attempt.to_string(), "verify", check])
}

/// What an object of a revision says of itself.
struct Marks<'a> {
    release: &'a ReleaseSeen,
    revision: &'a str,
    workload: &'a str,
    role: Role,
}

impl Marks<'_> {
    fn labels(&self) -> Map<String, Value> {
        let mut map = self.own_labels();
        map.insert("app.kubernetes.io/name".into(), shorten(&self.release.name, LABEL_LENGTH).into());
        map.insert("app.kubernetes.io/managed-by".into(), "switchback".into());
        if !self.workload.is_empty() {
            map.insert("app.kubernetes.io/component".into(), self.workload.into());
        }
        map
    }

    fn own_labels(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert(labels::RELEASE_UID.into(), self.release.uid.as_str().into());
        map.insert(labels::ROLE.into(), self.role.as_str().into());
        if !self.workload.is_empty() {
            map.insert(labels::WORKLOAD.into(), self.workload.into());
        }
        if !self.revision.is_empty() {
            map.insert(labels::REVISION.into(), self.revision.into());
        }
        map
    }

    /// Returns a pod template with the user's labels and ours; ours are what selectors and watches rest on,
    /// so the user's `switchback.dev/` labels lose, while the user's `app.kubernetes.io/` ones win.
    fn template(&self, template: &Value) -> Value {
        let mut template = template.clone();
        let mut merged = self.labels();
        if let Some(user) = template.pointer("/metadata/labels").and_then(Value::as_object) {
            merged.extend(user.clone());
        }
        merged.extend(self.own_labels());
        if !template.get("metadata").is_some_and(Value::is_object) {
            set(&mut template, "metadata", json!({}));
        }
        if let Some(metadata) = template.get_mut("metadata") {
            set(metadata, "labels", Value::Object(merged));
        }
        template
    }
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

/// Returns the selector of a Service or Deployment. User labels are never part of it.
#[must_use]
pub fn selector(release: &ReleaseSeen, workload: &str, digits: &str) -> BTreeMap<String, String> {
    [(labels::RELEASE_UID, release.uid.as_str()), (labels::WORKLOAD, workload), (labels::REVISION, digits)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Returns the owners of a child. With the Release as only owner a foreground deletion would remove running
/// Deployments at once, although our finalizer still holds; a second, unowned owner makes the garbage collector
/// drop the reference only. `blockOwnerDeletion` stays unset: it would need a right on finalizers.
fn owners(release: &ReleaseSeen, second: Option<&AttemptSeen>) -> Value {
    let mut list = vec![json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Release",
        "name": release.name,
        "uid": release.uid,
        "controller": true,
    })];
    list.extend(second.map(|attempt| {
        json!({ "apiVersion": "apps/v1", "kind": "ControllerRevision", "name": attempt.name, "uid": attempt.uid })
    }));
    Value::Array(list)
}

fn manifest(kind: Kind, name: String, marks: &Marks<'_>, mut rest: Value) -> Manifest {
    let mut metadata = json!({
        "name": name,
        "namespace": marks.release.namespace,
        "labels": marks.labels(),
    });
    if let Some(more) = rest.get_mut("metadata").and_then(Value::as_object_mut).map(std::mem::take)
        && let Some(map) = metadata.as_object_mut()
    {
        map.extend(more);
    }
    set(&mut rest, "metadata", metadata);
    set(&mut rest, "apiVersion", kind.api_version().into());
    set(&mut rest, "kind", kind.as_str().into());
    Manifest { kind, name, body: rest }
}

/// Returns the `ControllerRevision` that freezes an attempt's content. It has no owner: the garbage collector
/// must not remove it before our finalizer does.
#[must_use]
pub fn attempt(release: &ReleaseSeen, number: i64, spec: &ReleaseSpec) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: "", role: Role::Attempt };
    manifest(
        Kind::ControllerRevision,
        attempt_name(release, number),
        &marks,
        json!({
            "metadata": { "annotations": { labels::VERSION: spec.version, ATTEMPT: number.to_string() } },
            "data": spec,
            "revision": number,
        }),
    )
}

/// Annotation of a `ControllerRevision`: the number of its attempt, for watches that read metadata only.
pub const ATTEMPT: &str = "switchback.dev/attempt";

/// Returns the `ControllerRevision` that is the second owner of Services, which live longer than any attempt.
#[must_use]
pub fn anchor(release: &ReleaseSeen) -> Manifest {
    let marks = Marks { release, revision: "", workload: "", role: Role::Anchor };
    manifest(
        Kind::ControllerRevision,
        child_name(&[&release.name, "anchor"]),
        &marks,
        json!({ "data": {}, "revision": 0 }),
    )
}

/// Returns the Deployment of a workload in a revision.
#[must_use]
pub fn deployment(
    release: &ReleaseSeen,
    (spec, workload): (&ReleaseSpec, &Workload),
    replicas: i32,
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: &workload.name, role: Role::Workload };
    manifest(
        Kind::Deployment,
        deployment_name(release, &workload.name, &revision),
        &marks,
        json!({
            "metadata": {
                "annotations": { labels::VERSION: spec.version },
                "ownerReferences": owners(release, owner),
            },
            "spec": {
                "replicas": replicas,
                "minReadySeconds": workload.min_ready_seconds,
                // A Deployment of ours never changes its template, so there is nothing to go back to inside it.
                "revisionHistoryLimit": 0,
                "selector": { "matchLabels": selector(release, &workload.name, revision.digits()) },
                "template": marks.template(&workload.template.0),
            }
        }),
    )
}

/// Returns a pod of a workload, for a dry run: Pod Security and limit ranges act on pods.
#[must_use]
pub fn workload_pod(release: &ReleaseSeen, spec: &ReleaseSpec, workload: &Workload) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: &workload.name, role: Role::Workload };
    pod(&marks, deployment_name(release, &workload.name, &revision), &marks.template(&workload.template.0))
}

fn pod(marks: &Marks<'_>, name: String, template: &Value) -> Manifest {
    let annotations = template.pointer("/metadata/annotations").cloned().unwrap_or_else(|| json!({}));
    let labels = template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    manifest(
        Kind::Pod,
        name,
        marks,
        json!({
            "metadata": {
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": owners(marks.release, None),
            },
            "spec": template.get("spec"),
        }),
    )
}

/// Returns a Service that carries users' traffic, selecting no pod yet: load balancers and DNS shall exist
/// before the switch.
#[must_use]
pub fn active_service(
    release: &ReleaseSeen,
    (workload, service): (&Workload, &WorkloadService),
    digits: &str,
    anchor: Option<&AttemptSeen>,
) -> Manifest {
    let marks = Marks { release, revision: "", workload: &workload.name, role: Role::Active };
    let mut spec = service.spec.0.clone();
    set(&mut spec, "selector", json!(selector(release, &workload.name, digits)));
    manifest(
        Kind::Service,
        service.name.clone(),
        &marks,
        json!({
            "metadata": { "annotations": service.metadata.annotations, "ownerReferences": owners(release, anchor) },
            "spec": spec,
        }),
    )
}

/// Returns the preview twin of a Service: cluster-internal, without the user's annotations.
#[must_use]
pub fn preview_service(
    release: &ReleaseSeen,
    (workload, service): (&Workload, &WorkloadService),
    revision: &RevisionId,
    anchor: Option<&AttemptSeen>,
) -> Manifest {
    let marks = Marks { release, revision: revision.digits(), workload: &workload.name, role: Role::Preview };
    let ports: Vec<Value> = service
        .spec
        .0
        .get("ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|port| {
            let mut port = port.clone();
            if let Some(map) = port.as_object_mut() {
                map.remove("nodePort");
            }
            port
        })
        .collect();
    manifest(
        Kind::Service,
        preview_name(&service.name),
        &marks,
        json!({
            "metadata": { "ownerReferences": owners(release, anchor) },
            "spec": { "ports": ports, "selector": selector(release, &workload.name, revision.digits()) },
        }),
    )
}

/// Where a Service shall point.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The workload behind it.
    pub workload: &'a str,
    /// Digits of the revision.
    pub digits: &'a str,
    /// What the Service shall look like; absent: only its selector is put right.
    pub service: Option<&'a WorkloadService>,
    /// What it looked like before; annotations that only this has are removed.
    pub before: Option<&'a WorkloadService>,
    /// New value of the fence annotation.
    pub fence: Option<&'a str>,
}

/// Returns the merge patch that points a Service. It carries UID and resourceVersion, so that the API server
/// refuses it for a re-created or meanwhile changed Service.
#[must_use]
pub fn service_patch(release: &ReleaseSeen, seen: &ServiceSeen, target: Target<'_>) -> Value {
    let right = selector(release, target.workload, target.digits);
    // In a merge patch keys that somebody else put in stay unless they are named.
    let strangers = seen.selector.keys().filter(|key| !right.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let new_selector: Map<String, Value> =
        right.iter().map(|(key, value)| (key.clone(), value.as_str().into())).chain(strangers).collect();
    let mut spec = target.service.map_or_else(|| json!({}), |service| service.spec.0.clone());
    set(&mut spec, "selector", Value::Object(new_selector));
    let mut annotations: BTreeMap<&str, Value> = BTreeMap::new();
    if let (Some(before), Some(after)) = (target.before, target.service) {
        let gone = before.metadata.annotations.keys().filter(|key| !after.metadata.annotations.contains_key(*key));
        annotations.extend(gone.map(|key| (key.as_str(), Value::Null)));
    }
    if let Some(after) = target.service {
        annotations.extend(after.metadata.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str().into())));
    }
    if let Some(fence) = target.fence {
        annotations.insert(labels::FENCE, fence.into());
    }
    json!({
        "metadata": { "uid": seen.uid, "resourceVersion": seen.resource_version, "annotations": annotations },
        "spec": spec,
    })
}

/// Returns the agent's Job for the http checks of a phase.
#[must_use]
pub fn agent_job(
    (release, settings): (&ReleaseSeen, &Settings),
    (spec, phase): (&ReleaseSpec, CheckPhase),
    (attempt, until): (i64, Option<jiff::Timestamp>),
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: "", role: Role::Check };
    let probes: Vec<HttpProbe> =
        http_checks(spec, phase).map(|(check, http)| probe(release, spec, check, http)).collect();
    let seconds = match phase {
        CheckPhase::Verify => spec.deadlines.verify.as_std().as_secs(),
        CheckPhase::Watch => spec.watch.window.as_std().as_secs(),
    };
    let parameters = CheckParameters { checks: probes, until };
    let template = json!({ "spec": agent_pod(settings, &serde_json::to_string(&parameters).unwrap_or_default()) });
    let exit_codes = json!({ "containerName": AGENT_CONTAINER, "operator": "In", "values": [EXIT_FAILED] });
    let name = agent_job_name(release, attempt, phase);
    job(
        &marks,
        (name, owner),
        json!({
            "backoffLimit": CHECK_RETRIES,
            "activeDeadlineSeconds": seconds + CHECK_START_SECONDS,
            "podFailurePolicy": { "rules": [ignore_disruptions(), { "action": "FailJob", "onExitCodes": exit_codes }] },
        }),
        &template,
    )
}

/// Returns the Job of a `job` check: the user's own pod, once.
#[must_use]
pub fn check_job(
    release: &ReleaseSeen,
    spec: &ReleaseSpec,
    (attempt, check, job_check): (i64, &Check, &JobCheck),
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: "", role: Role::Check };
    let mut template = job_check.template.0.clone();
    if let Some(pod) = template.get_mut("spec") {
        set(pod, "restartPolicy", "Never".into());
    }
    job(
        &marks,
        (job_check_name(release, attempt, &check.name), owner),
        json!({
            "backoffLimit": 0,
            "activeDeadlineSeconds": job_check.timeout.as_std().as_secs().max(1),
            "podFailurePolicy": { "rules": [ignore_disruptions()] },
        }),
        &template,
    )
}

/// A pod that the cluster took away says nothing about the check.
fn ignore_disruptions() -> Value {
    json!({ "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] })
}

fn job(
    marks: &Marks<'_>,
    (name, owner): (String, Option<&AttemptSeen>),
    mut spec: Value,
    template: &Value,
) -> Manifest {
    set(&mut spec, "podReplacementPolicy", "Failed".into());
    set(&mut spec, "template", marks.template(template));
    manifest(
        Kind::Job,
        name,
        marks,
        json!({ "metadata": { "ownerReferences": owners(marks.release, owner) }, "spec": spec }),
    )
}

/// Returns the pod of a Job, for a dry run.
#[must_use]
pub fn job_pod(release: &ReleaseSeen, job: &Manifest) -> Option<Manifest> {
    let marks = Marks { release, revision: "", workload: "", role: Role::Check };
    Some(pod(&marks, job.name.clone(), job.body.pointer("/spec/template")?))
}

/// Name of the agent's container in our Jobs.
pub const AGENT_CONTAINER: &str = "agent";

/// Returns the agent's pod: Pod Security `restricted`, no service account token, small.
fn agent_pod(settings: &Settings, parameters: &str) -> Value {
    json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 5,
        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{
            "name": AGENT_CONTAINER,
            "image": settings.agent_image,
            "args": ["check", "--parameters", parameters],
            "resources": {
                "requests": { "cpu": "10m", "memory": "16Mi" },
                "limits": { "memory": "64Mi" },
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
        }],
    })
}

/// Returns the http checks of a phase.
pub fn http_checks(spec: &ReleaseSpec, phase: CheckPhase) -> impl Iterator<Item = (&Check, &HttpCheck)> {
    spec.checks_of(phase).filter_map(|check| match &check.kind {
        CheckKind::Http(http) => Some((check, http)),
        CheckKind::Job(_) => None,
    })
}

/// Returns the `job` checks.
pub fn job_checks(spec: &ReleaseSpec) -> impl Iterator<Item = (&Check, &JobCheck)> {
    spec.checks_of(CheckPhase::Verify).filter_map(|check| match &check.kind {
        CheckKind::Job(job) => Some((check, job)),
        CheckKind::Http(_) => None,
    })
}

fn probe(release: &ReleaseSeen, spec: &ReleaseSpec, check: &Check, http: &HttpCheck) -> HttpProbe {
    let port = http.port.or_else(|| {
        spec.services()
            .find(|(_, service)| service.name == http.service)
            .and_then(|(_, service)| service.spec.first_port())
    });
    let host = match check.phase {
        CheckPhase::Verify => preview_name(&http.service),
        CheckPhase::Watch => http.service.clone(),
    };
    HttpProbe {
        name: check.name.clone(),
        url: format!("http://{host}.{}.svc:{}{}", release.namespace, port.unwrap_or(80), http.path),
        status: http.status.clone(),
        timeout: http.timeout,
        every: http.every,
        breach_for: http.breach_for,
    }
}
