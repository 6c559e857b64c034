//! What is still to be written beside the backup of an attempt that has ended.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The account of an attempt that has ended, until it is written beside the backup that it rested on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseReport {
    /// Number of the attempt.
    pub attempt: i64,
    /// Name of the DatabaseInstance.
    #[schemars(length(max = 253))]
    pub database: String,
    /// Names of the BackupStorages that have the backup; the first is the one that `manifest` is of.
    #[schemars(length(max = 4), inner(length(max = 253)))]
    pub storages: Vec<String>,
    /// Key of the backup's manifest.
    #[schemars(length(max = 1024))]
    pub manifest: String,
    /// What is written: JSON.
    #[schemars(length(max = 65536))]
    pub text: String,
    /// When it is given up.
    pub until: MicroTime,
}
