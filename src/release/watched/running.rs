//! What is read of a Deployment or Service that may be taken over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::{
    api::{GROUP, labels::ADOPT},
    release::observed::RunningSeen,
};

/// Reads one.
#[must_use]
pub fn running(object: &DynamicObject) -> RunningSeen {
    let controller = object.owner_references().iter().find(|owner| owner.controller == Some(true));
    let is_release =
        |owner: &OwnerReference| owner.kind == "Release" && owner.api_version.starts_with(&format!("{GROUP}/"));
    let number = |path: &str| object.data.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    let wanted = object.data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let observed =
        object.metadata.generation.is_some_and(|generation| number("/status/observedGeneration") >= generation);
    RunningSeen {
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        offered_to: object.annotations().get(ADOPT).cloned(),
        controller: controller.map(|owner| format!("{} {}", owner.kind, owner.name)),
        release: controller.filter(|owner| is_release(owner)).map(|owner| owner.uid.clone()),
        annotations: object.annotations().clone(),
        spec: object.data.get("spec").cloned().unwrap_or_default(),
        ready: i32::try_from(number("/status/readyReplicas")).unwrap_or(i32::MAX),
        rolled_out: observed && number("/status/updatedReplicas") >= wanted && number("/status/replicas") <= wanted,
        deleting: object.metadata.deletion_timestamp.is_some(),
    }
}
