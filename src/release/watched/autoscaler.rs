//! What watches read of HorizontalPodAutoscalers.

use std::sync::Arc;

use k8s_openapi::{api::autoscaling::v2 as autoscaling, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Resource, ResourceExt};
use serde::Deserialize;

use super::{Entry, entry, label, ours};
use crate::{
    api::labels::{AUTOSCALING, REVISION, WORKLOAD},
    release::observed::AutoscalerSeen,
};

/// A HorizontalPodAutoscaler, without what it measures.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "autoscaling::HorizontalPodAutoscaler")]
pub struct HorizontalPodAutoscaler {
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    /// Absent means one.
    #[serde(default = "one")]
    min_replicas: i32,
    max_replicas: i32,
}

const fn one() -> i32 {
    1
}

/// Reads a HorizontalPodAutoscaler.
#[must_use]
pub fn autoscaler(object: &HorizontalPodAutoscaler) -> Entry<AutoscalerSeen> {
    let asked = object.annotations().get(AUTOSCALING).and_then(|asked| serde_json::from_str(asked).ok());
    entry(
        object,
        AutoscalerSeen {
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            ours: ours(object),
            revision: label(object, REVISION),
            workload: label(object, WORKLOAD),
            least: object.spec.min_replicas,
            most: object.spec.max_replicas,
            asked: asked.map(Arc::new),
            deleting: object.metadata.deletion_timestamp.is_some(),
        },
    )
}
