//! PodDisruptionBudgets: the cluster takes away one pod of a workload at a time; pure.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    super::observed::{AttemptSeen, ReleaseSeen},
    Kind, Manifest, Marks, deployment_name, manifest, owners, selector,
};
use crate::api::{ReleaseSpec, Workload, labels::Role};

/// Returns the budget of a workload in a revision; it is called like its Deployment.
#[must_use]
pub fn budget(
    release: &ReleaseSeen,
    (spec, workload): (&ReleaseSpec, &Workload),
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: &workload.name, role: Role::Workload };
    manifest(
        Kind::PodDisruptionBudget,
        deployment_name(release, &workload.name, &revision),
        &marks,
        json!({
            "metadata": { "ownerReferences": owners(release, owner) },
            "spec": {
                "maxUnavailable": 1,
                "selector": { "matchLabels": selector(release, &workload.name, revision.digits()) },
                // Pods that do not work must not keep a node from being drained.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        }),
    )
}

/// Returns the labels that the pods of a workload will have.
#[must_use]
pub fn pod_labels(release: &ReleaseSeen, spec: &ReleaseSpec, workload: &Workload) -> BTreeMap<String, String> {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: &workload.name, role: Role::Workload };
    let template = marks.template(&workload.template.0);
    let labels = template.pointer("/metadata/labels").and_then(serde_json::Value::as_object);
    let labels = labels.into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
