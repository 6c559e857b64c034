//! Files that go and come back with a revision.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How many characters all files of a Release may have together. They are stored three times: in the Release, in its
/// frozen content and in the ConfigMap, of which each may have a MiB or so.
const LARGEST: u32 = 262_144;
/// How many files one ConfigMap may have.
const MOST_FILES: u32 = 64;

/// A ConfigMap that belongs to a revision: it is made with it, never changes, and comes back with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFiles {
    /// The name by which this Release's pod templates refer to it, in volumes, `envFrom` and `configMapKeyRef`; each
    /// reference becomes one to the revision's own ConfigMap.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The files, or the settings, by their names.
    #[schemars(schema_with = "files")]
    pub data: BTreeMap<String, String>,
}

fn files(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": MOST_FILES,
        "additionalProperties": { "type": "string", "maxLength": LARGEST }
    })
}
