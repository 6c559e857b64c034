//! HorizontalPodAutoscalers: one per revision and workload that asks for one; pure.

use serde_json::{Value, json};

use super::{
    super::observed::{AttemptSeen, AutoscalerSeen, ReleaseSeen},
    Kind, Manifest, Marks, deployment_name, manifest, owners, set,
};
use crate::api::{
    Autoscaling, ReleaseSpec, Workload, canonical_json,
    labels::{self, Role},
};

/// Returns the autoscaler of a workload in a revision, which keeps at least so many pods; it is called like its
/// Deployment. `None` where the workload asks for none.
#[must_use]
pub fn autoscaler(
    release: &ReleaseSeen,
    (spec, workload): (&ReleaseSpec, &Workload),
    least: i32,
    owner: Option<&AttemptSeen>,
) -> Option<Manifest> {
    let asked = workload.autoscaling.as_ref()?;
    let revision = spec.revision();
    let name = deployment_name(release, &workload.name, &revision);
    let marks = Marks { release, revision: revision.digits(), workload: &workload.name, role: Role::Workload };
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": name });
    let body = json!({
        "metadata": {
            "annotations": { labels::AUTOSCALING: annotation(asked) },
            "ownerReferences": owners(release, owner),
        },
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": least,
            "maxReplicas": asked.max.max(least),
            "metrics": asked.metrics(),
        },
    });
    Some(manifest(Kind::HorizontalPodAutoscaler, name, &marks, body))
}

/// Returns the merge patch that sets between how many pods an autoscaler keeps its Deployment, and, where it is given, by
/// what. It carries UID and resourceVersion, so that the API server refuses it for one that has changed since.
#[must_use]
pub fn autoscaler_patch(seen: &AutoscalerSeen, (least, most): (i32, i32), asked: Option<&Autoscaling>) -> Value {
    let mut metadata = json!({ "uid": seen.uid, "resourceVersion": seen.resource_version });
    let mut spec = json!({ "minReplicas": least, "maxReplicas": most });
    if let Some(asked) = asked {
        set(&mut metadata, "annotations", json!({ labels::AUTOSCALING: annotation(asked) }));
        set(&mut spec, "metrics", asked.metrics());
    }
    json!({ "metadata": metadata, "spec": spec })
}

fn annotation(asked: &Autoscaling) -> String {
    canonical_json(&json!(asked))
}
