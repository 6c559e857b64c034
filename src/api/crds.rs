//! The CustomResourceDefinitions, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;
use serde_json::json;

use super::{BackupStorage, DatabaseBackup, DatabaseInstance, Decision, Release};

/// Returns all CRDs, in the order in which they are installed.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        with_status_default(Release::crd()),
        Decision::crd(),
        with_status_default(DatabaseInstance::crd()),
        with_status_default(BackupStorage::crd()),
        with_status_default(DatabaseBackup::crd()),
    ]
}

/// Returns all CRDs as YAML documents.
///
/// # Errors
/// When a schema cannot be written as YAML.
pub fn crds_yaml() -> Result<String, serde_yaml::Error> {
    crds().iter().map(|crd| Ok(format!("---\n{}", serde_yaml::to_string(crd)?))).collect()
}

/// Gives `status` itself a default. kstatus takes an object without status for done; a default on
/// `observedGeneration` alone would leave a new object's status empty, because nothing would be defaulted
/// inside an absent object.
fn with_status_default(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
        }
    }
    crd
}
