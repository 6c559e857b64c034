//! What was seen of a Deployment or Service that runs without us and may be taken over.

use std::collections::BTreeMap;

use serde_json::Value;

/// A Deployment or a Service, read by its name.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningSeen {
    /// Its UID.
    pub uid: String,
    /// The version that was read; guards the write that takes it over.
    pub resource_version: String,
    /// Name of the Release that it is offered to.
    pub offered_to: Option<String>,
    /// Kind and name of what controls it, in words.
    pub controller: Option<String>,
    /// UID of the Release that controls it.
    pub release: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its whole spec.
    pub spec: Value,
    /// How many of its pods are ready.
    pub ready: i32,
    /// Whether all its pods are of its present template.
    pub rolled_out: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}
