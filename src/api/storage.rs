//! BackupStorage: a place for backups.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, JobSettings, Probing, names};

/// A place for backups.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchback.dev",
    version = "v1alpha1",
    kind = "BackupStorage",
    plural = "backupstorages",
    category = "switchback",
    namespaced,
    status = "BackupStorageStatus",
    doc = "A place for backups of databases: a bucket, or a volume. What is stored in it stays when this object is deleted.",
    printcolumn(name = "Bucket", type_ = "string", json_path = ".spec.s3.bucket"),
    printcolumn(name = "Volume", type_ = "string", json_path = ".spec.volume.claim"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.s3) != has(self.volume)", "name exactly one of s3 and volume"))]
pub struct BackupStorageSpec {
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// Names of the DatabaseInstances whose backups may go there (default: all of the namespace).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = names::OBJECT)))]
    pub allowed_databases: Vec<String>,
    /// What the pods that try the storage get besides what they need.
    #[serde(default)]
    pub jobs: JobSettings,
}

/// Where a storage is; exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// A bucket of S3 or of a service that speaks like it.
    S3(S3Place),
    /// A folder on a volume.
    Volume(VolumePlace),
}

/// A bucket of S3 or of a service that speaks like it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Place {
    /// Name of the bucket.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[a-zA-Z0-9]([-_a-zA-Z0-9]|[.][a-zA-Z0-9])*$"))]
    pub bucket: String,
    /// What every key begins with (default: nothing).
    #[serde(default)]
    #[schemars(length(max = 256), regex(pattern = names::FOLDERS))]
    pub prefix: String,
    /// Address of the service, without credentials and path (default: Amazon's for the region).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 300),
        regex(pattern = r"^https?://([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?$")
    )]
    pub endpoint: Option<String>,
    /// Region of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[a-zA-Z0-9][-a-zA-Z0-9]*$"))]
    pub region: Option<String>,
    /// Secret with the keys `accessKeyId` and `secretAccessKey`, and where needed `sessionToken` and `ca.crt`.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub secret: String,
}

/// A folder on a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumePlace {
    /// Name of the PersistentVolumeClaim.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub claim: String,
    /// Folder in the volume (default: its root).
    #[serde(default)]
    #[schemars(length(max = 256), regex(pattern = names::FOLDERS))]
    pub path: String,
}

/// Status of a BackupStorage.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupStorageStatus {
    /// Generation of the spec that the conditions speak of; -1 before the first look.
    #[serde(default = "super::never_observed")]
    pub observed_generation: i64,
    /// What holds, in the form that kstatus reads.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The Job that tries the storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probing: Option<Probing>,
}

impl Default for BackupStorageStatus {
    fn default() -> Self {
        Self { observed_generation: super::never_observed(), conditions: Vec::new(), probing: None }
    }
}
