//! Taking over what runs today.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names;

/// A Deployment and a Service that the first release takes over. Each of them says in its annotation
/// `switchback.dev/adopt` that this Release may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// Name of the Deployment that serves today.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub deployment: String,
    /// Name of the Service in front of it; one of the workload's Services, whose names it so has to be like.
    #[schemars(length(min = 1, max = 55))]
    pub service: String,
    /// The key of the Service's selector whose value differs on the pods of the first release, so that the Service does
    /// not select them before they are verified (default: the last that selects the Deployment's pods as well).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/)?[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$")
    )]
    pub key: Option<String>,
}
