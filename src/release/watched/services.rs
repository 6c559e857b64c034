//! What watches read of Services.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta},
};
use kube::{Resource, ResourceExt};
use serde::Deserialize;

use super::{Entry, entry, ours};
use crate::{
    api::labels::{FENCE, FIELD_MANAGER, RELEASE_UID, ROLE, Role},
    kube_io::calls::controller,
    release::observed::ServiceSeen,
};

/// A Service, without its ports.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "core::Service")]
pub struct Service {
    metadata: ObjectMeta,
    spec: ServiceSpec,
}

#[derive(Clone, Debug, Deserialize)]
struct ServiceSpec {
    #[serde(default)]
    selector: BTreeMap<String, String>,
}

/// Reads a Service.
#[must_use]
pub fn service(object: &Service) -> Entry<ServiceSeen> {
    entry(object, service_seen(object))
}

/// Reads a Service, wherever it belongs.
#[must_use]
pub fn service_seen(object: &Service) -> ServiceSeen {
    ServiceSeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        ours: ours(object),
        controller: controller(object),
        labelled: object.labels().contains_key(RELEASE_UID),
        role: object.labels().get(ROLE).and_then(|role| Role::parse(role)),
        mislabelled: false,
        selector: object.spec.selector.clone(),
        adopted: None,
        fence: object.annotations().get(FENCE).cloned(),
        written_at: selector_writes(object).filter(is_ours).filter_map(|entry| Some(entry.time.as_ref()?.0)).max(),
        deleting: object.metadata.deletion_timestamp.is_some(),
    }
}

/// Returns who has written a Service's selector, and when.
fn selector_writes(object: &Service) -> impl Iterator<Item = &ManagedFieldsEntry> {
    let writes = |fields: &serde_json::Value| fields.pointer("/f:spec/f:selector").is_some();
    let entries = object.metadata.managed_fields.iter().flatten();
    entries.filter(move |entry| entry.fields_v1.as_ref().is_some_and(|fields| writes(&fields.0)))
}

fn is_ours(entry: &&ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER)
}

/// Returns the field manager that wrote a Service's selector last, beside us. Watched objects do not say: their managed
/// fields are dropped, being half of what they weigh.
#[must_use]
pub fn selector_manager(object: &Service) -> Option<String> {
    selector_writes(object)
        .filter(|entry| entry.manager.is_some() && !is_ours(entry))
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))
        .and_then(|entry| entry.manager.clone())
}
