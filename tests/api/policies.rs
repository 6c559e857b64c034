//! The admission policies themselves: stored as shipped, well-typed, and what the smallest of them does.

use k8s_openapi::{
    api::admissionregistration::v1::ValidatingAdmissionPolicy,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::support::{Cluster, assert_refused, policies, soon};

#[tokio::test]
async fn what_is_stored_is_what_is_shipped() {
    let cluster = Cluster::ready().await;
    let shipped = policies();
    assert_eq!(shipped.len(), 10);
    for (file, document) in shipped {
        let api = cluster.policies(document["kind"].as_str().unwrap());
        let stored = api.get(document["metadata"]["name"].as_str().unwrap()).await.unwrap();
        assert_eq!(stored.data["spec"], document["spec"], "{file}.yaml");
    }
}

#[tokio::test]
async fn the_api_server_finds_no_fault_with_their_types() {
    let cluster = Cluster::ready().await;
    let api: Api<ValidatingAdmissionPolicy> = Api::all(cluster.admin.clone());
    for (_, document) in policies().into_iter().filter(|(_, document)| document["kind"] == "ValidatingAdmissionPolicy")
    {
        let name = document["metadata"]["name"].as_str().unwrap();
        let checked = soon("its types are checked", async || {
            let policy = api.get(name).await.unwrap();
            let status = policy.status.filter(|status| status.observed_generation == policy.metadata.generation)?;
            Some(status.type_checking.unwrap_or_default())
        })
        .await;
        assert_eq!(checked.expression_warnings, None, "{name}");
    }
}

#[tokio::test]
async fn threat_t21_deleting_our_kinds_takes_an_annotation() {
    let cluster = Cluster::ready().await;
    let api: Api<CustomResourceDefinition> = Api::all(cluster.admin.clone());
    let name = "decisions.switchback.dev";
    let trial = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let annotate = async |value: serde_json::Value| {
        let patch = json!({ "metadata": { "annotations": { "switchback.dev/allow-delete": value } } });
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    };
    let says = "this would delete every object of its kind. If that is what you want: kubectl annotate crd \
                decisions.switchback.dev switchback.dev/allow-delete=true";
    assert_refused(api.delete(name, &trial).await, says);
    annotate("false".into()).await;
    assert_refused(api.delete(name, &trial).await, says);
    annotate("true".into()).await;
    api.delete(name, &trial).await.unwrap();
    annotate(serde_json::Value::Null).await;
    assert_refused(
        api.delete_collection(&trial, &Default::default()).await,
        "this would delete every object of its kind",
    );
}

#[tokio::test]
async fn kinds_of_others_are_deleted_as_ever() {
    let cluster = Cluster::ready().await;
    let api: Api<CustomResourceDefinition> = Api::all(cluster.admin.clone());
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "things.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": { "kind": "Thing", "plural": "things" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } } }],
        },
    });
    api.create(&Default::default(), &serde_json::from_value(crd).unwrap()).await.unwrap();
    api.delete("things.example.com", &DeleteParams::default()).await.unwrap();
}
