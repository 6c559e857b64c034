//! Names, labels and objects of a Release; pure.
//!
//! In: what was seen and a frozen content. Out: objects as JSON, because pod templates are kept as the user
//! wrote them. Never here: choices about what to do.

use std::collections::BTreeMap;

mod adopted;
mod autoscaler;
mod budget;
mod config;
mod database;
mod hooks;
mod jobs;
mod labelled;
mod pending;
mod rehearsal;
mod report;
mod restore;
mod services;

use serde_json::{Map, Value, json};

pub use adopted::{TakeOver, apart, deployment_taken_over, labels_as_written, service_selector, service_taken_over};
pub use autoscaler::{autoscaler, autoscaler_patch};
pub use budget::{budget, pod_labels};
pub use config::{config_map, config_maps_of, config_name, secrets_of, with_own_config};
pub use database::{
    LookFor, Migrate, backup, backup_name, look_job, look_name, mark_job, mark_name, migrate_job, migrate_name,
    undo_job, undo_name,
};
pub use hooks::{hook_job, hook_name};
pub use jobs::{
    AGENT_CONTAINER, PhaseChecks, agent_checks, agent_job, agent_job_name, check_job, job_check_name, job_checks,
    job_pod, late_job_name, preflight_job_name,
};
pub use labelled::{deployment_labelled, labels_back};
pub use pending::{pending_job, pending_name};
pub use rehearsal::{Rehearse, rehearse_job, rehearse_name};
pub use report::{report_job, report_name};
pub use restore::{Restore, loss_job, loss_name, restore_job, restore_name};
pub use services::{Target, active_service, preview_name, preview_service, service_patch};

use super::observed::{AttemptSeen, ReleaseSeen};
use crate::api::{
    AdoptedWorkload, GROUP, ReleaseSpec, RevisionId, VERSION, Workload,
    labels::{self, Role},
    sha256_hex,
};

/// Longest name of a child: a Deployment adds 11 characters for its ReplicaSets and 6 for their pods.
const NAME_LENGTH: usize = 52;
/// Longest value of a label.
const LABEL_LENGTH: usize = 63;
/// How many hex digits keep shortened names apart.
const HASH_LENGTH: usize = 8;

/// Kinds of objects that a Release makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `v1` Service.
    Service,
    /// `batch/v1` Job.
    Job,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `policy/v1` PodDisruptionBudget.
    PodDisruptionBudget,
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    HorizontalPodAutoscaler,
    /// `apps/v1` ControllerRevision.
    ControllerRevision,
    /// Our own DatabaseBackup.
    DatabaseBackup,
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
            Self::ConfigMap => "ConfigMap",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::ControllerRevision => "ControllerRevision",
            Self::DatabaseBackup => "DatabaseBackup",
            Self::Pod => "Pod",
        }
    }

    /// Returns whether objects of this kind have no owner: they are to outlive their Release, or its deletion.
    #[must_use]
    pub const fn is_unowned(self) -> bool {
        matches!(self, Self::ControllerRevision | Self::DatabaseBackup)
    }

    const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::ControllerRevision => "apps/v1",
            Self::Job => "batch/v1",
            Self::PodDisruptionBudget => "policy/v1",
            Self::HorizontalPodAutoscaler => "autoscaling/v2",
            Self::Service | Self::ConfigMap | Self::Pod => "v1",
            Self::DatabaseBackup => "switchback.dev/v1alpha1",
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

    fn pod_labels(&self, template: &Value) -> Map<String, Value> {
        let mut merged = self.labels();
        if let Some(user) = template.pointer("/metadata/labels").and_then(Value::as_object) {
            merged.extend(user.clone());
        }
        merged.extend(self.own_labels());
        merged
    }

    /// Returns a pod template with the user's labels and ours; ours are what selectors and watches rest on,
    /// so the user's `switchback.dev/` labels lose, while the user's `app.kubernetes.io/` ones win.
    fn template(&self, template: &Value) -> Value {
        let mut template = template.clone();
        let mut merged = self.pod_labels(&template);
        adopted::keep_apart(&self.release.status.record, (self.workload, self.revision), &mut merged);
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

/// Returns what selects objects with these labels, as the API server is asked.
#[must_use]
pub fn label_selector(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Returns what selects the Deployments, ReplicaSets and pods of every revision but this one.
#[must_use]
pub fn others_selector(release: &ReleaseSeen, digits: &str) -> String {
    // Pods of Jobs are of no workload.
    format!("{}={},{},{}!={digits}", labels::RELEASE_UID, release.uid, labels::WORKLOAD, labels::REVISION)
}

/// Returns what selects pods of what was taken over, which have none of our labels.
#[must_use]
pub fn adopted_selector(adopted: &AdoptedWorkload) -> String {
    format!("{},!{}", label_selector(&adopted.selector), labels::RELEASE_UID)
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
    let mut annotations = json!({ labels::VERSION: spec.version, ATTEMPT: number.to_string() });
    if !spec.config.is_empty() {
        let names: Vec<&str> = spec.config.iter().map(|config| config.name.as_str()).collect();
        set(&mut annotations, labels::CONFIG, names.join(",").into());
    }
    manifest(
        Kind::ControllerRevision,
        attempt_name(release, number),
        &marks,
        json!({
            "metadata": { "annotations": annotations },
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
                "template": marks.template(&with_own_config(release, spec, &workload.template.0)),
            }
        }),
    )
}

/// Returns a pod of a workload, for a dry run: Pod Security and limit ranges act on pods.
#[must_use]
pub fn workload_pod(release: &ReleaseSeen, spec: &ReleaseSpec, workload: &Workload) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: &workload.name, role: Role::Workload };
    pod(
        &marks,
        deployment_name(release, &workload.name, &revision),
        &marks.template(&with_own_config(release, spec, &workload.template.0)),
    )
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
