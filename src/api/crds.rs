//! The CustomResourceDefinitions, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::{BackupStorage, DatabaseBackup, DatabaseInstance, Decision, Release, ReleasePolicy};

/// Returns all CRDs, in the order in which they are installed.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let crds = vec![
        with_status_default(Release::crd()),
        Decision::crd(),
        ReleasePolicy::crd(),
        with_status_default(DatabaseInstance::crd()),
        with_status_default(BackupStorage::crd()),
        with_status_default(DatabaseBackup::crd()),
    ];
    crds.into_iter().map(with_our_words).collect()
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

/// Takes away each `oneOf` that a rule of ours says in words. The API server tells what a schema says first, and of a
/// `oneOf` it tells "must validate one and only one schema (oneOf). Found none valid", whatever the rule would have said.
fn with_our_words(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        schema.into_iter().for_each(speak);
    }
    crd
}

/// Takes the words of an enum out of its schema, for one that a field may lack: kube puts them in the place of the field's own,
/// which say what it is for and what is taken when it is absent.
pub(super) fn told_by_the_field(schema: &mut schemars::Schema) {
    schema.remove("description");
}

fn speak(schema: &mut JSONSchemaProps) {
    let rules = schema.x_kubernetes_validations.iter().flatten();
    let messages = rules.filter_map(|rule| rule.message.as_deref());
    if messages.into_iter().any(|message| message.starts_with("name exactly one of")) {
        schema.one_of = None;
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(speak);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        speak(items);
    }
}
