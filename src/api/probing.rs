//! The Job by which a controller looks at something outside the cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Job that looks now, or looked last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probing {
    /// Number of the look; the Job's name ends with it.
    pub number: i64,
    /// Generation of the spec that it looks for.
    pub generation: i64,
    /// What the Job does: `inspect` or `mark`.
    #[schemars(length(max = 16))]
    pub verb: String,
    /// UID of the Job, for one that writes: it is resumed only after this stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub job: Option<String>,
    /// How many looks in a row were not what was hoped for.
    #[serde(default)]
    pub failures: i32,
    /// When it ended; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<MicroTime>,
}
