//! A stored object that this version cannot read: said on the object itself, while the others go on.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Client, Resource,
    core::{DeserializeGuard, ObjectMeta, error_boundary::InvalidObject},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::calls::{self, Place};
use crate::{
    api::{Reason, clamp},
    error::Error,
};

/// Writes the conditions `Ready=False` and `Stalled=True` with what is wrong with it.
///
/// # Errors
/// As [`calls::merge`].
pub async fn tell<K>(client: &Client, invalid: &InvalidObject) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let ObjectMeta { namespace, name, generation, creation_timestamp, .. } = &invalid.metadata;
    let (namespace, name) = (namespace.clone().unwrap_or_default(), name.clone().unwrap_or_default());
    let message = format!(
        "The stored object does not fit this version's schema: {}. Nothing is done with it. Next: kubectl edit {} {name} -n {namespace}",
        invalid.error,
        K::plural(&())
    );
    let message = clamp(&message);
    // Repeating it changes nothing: the time is the object's own.
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_, "status": status, "reason": Reason::InvalidStoredObject.as_str(), "message": message,
            "lastTransitionTime": creation_timestamp, "observedGeneration": generation,
        })
    };
    let patch = json!({ "status": { "conditions": [condition("Ready", "False"), condition("Stalled", "True")] } });
    let place = Place::new::<K>(&namespace, &name);
    calls::merge::<DeserializeGuard<K>>(client, &place, &patch, true).await.map(|_| ())
}
