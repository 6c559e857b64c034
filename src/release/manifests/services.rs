//! Services: the ones users use, their preview twins, and the patch that moves traffic; pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    super::observed::{AttemptSeen, ReleaseSeen, ServiceSeen},
    Kind, Manifest, Marks, manifest, owners, service_selector, set,
};
use crate::api::{
    RevisionId, Workload, WorkloadService,
    labels::{self, Role},
};

/// Returns the name of the preview twin of a Service.
#[must_use]
pub fn preview_name(service: &str) -> String {
    format!("{service}{}", labels::PREVIEW_SUFFIX)
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
    set(&mut spec, "selector", json!(service_selector(release, &service.name, (&workload.name, digits))));
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
            "spec": {
                "ports": ports,
                "selector": service_selector(release, &service.name, (&workload.name, revision.digits())),
            },
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
/// refuses it for a re-created or meanwhile changed Service; and our labels, by which watches find it and its endpoints.
#[must_use]
pub fn service_patch(release: &ReleaseSeen, seen: &ServiceSeen, target: Target<'_>) -> Value {
    let right = service_selector(release, &seen.name, (target.workload, target.digits));
    // In a merge patch keys that somebody else put in stay unless they are named.
    let strangers = seen.selector.keys().filter(|key| !right.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let new_selector: Map<String, Value> =
        right.iter().map(|(key, value)| (key.clone(), value.as_str().into())).chain(strangers).collect();
    let mut spec = target.service.map_or_else(|| json!({}), |service| service.spec.0.clone());
    set(&mut spec, "selector", Value::Object(new_selector));
    let former = target.before.zip(target.service).and_then(|(before, _)| before.spec.0.as_object());
    for key in former.into_iter().flat_map(Map::keys) {
        // What only the other side had set goes, or it would outlive the side that wanted it.
        if spec.get(key).is_none() {
            set(&mut spec, key, Value::Null);
        }
    }
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
    let labels = Marks { release, revision: "", workload: target.workload, role: Role::Active }.own_labels();
    let (uid, version) = (&seen.uid, &seen.resource_version);
    json!({
        "metadata": { "uid": uid, "resourceVersion": version, "labels": labels, "annotations": annotations },
        "spec": spec,
    })
}
