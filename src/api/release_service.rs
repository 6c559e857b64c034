//! Services in front of a workload.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ServiceTemplate;

/// One Service in front of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadService {
    /// Name of the Service. Its preview twin is called `<name>-preview`.
    #[schemars(length(min = 1, max = 55), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Annotations of the Service, for load balancers and the like; the preview twin gets none.
    #[serde(default, skip_serializing_if = "ServiceMetadata::is_empty")]
    pub metadata: ServiceMetadata,
    /// A ServiceSpec without selector.
    pub spec: ServiceTemplate,
}

/// Metadata of a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceMetadata {
    /// Annotations, as the user wrote them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 64), schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
}

impl ServiceMetadata {
    fn is_empty(&self) -> bool {
        self.annotations.is_empty()
    }
}

fn annotations(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 4096 }
    })
}
