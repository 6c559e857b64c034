//! What the cluster does by itself must not be held up by our policies.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace as CoreNamespace};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PropagationPolicy},
};
use serde_json::json;
use switchback::api::{Decision, Release};

use crate::support::{
    in_namespace,
    objects::{approval, release},
    within,
};

/// How long the namespace and garbage collection controllers may take; they work in rounds.
const ROUNDS: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test]
async fn a_namespace_with_releases_and_decisions_terminates() {
    in_namespace("terminates", async |namespace| {
        let admin = &namespace.cluster.admin;
        let me = namespace.cluster.me().await;
        let mut body = release("shop");
        body["spec"]["mode"] = "Automatic".into();
        body["metadata"]["finalizers"] = json!(["switchback.dev/release"]);
        body["metadata"]["labels"] = json!({ "team": "shop" });
        let made = namespace.make::<Release>(admin, &body).await.unwrap();
        namespace.make::<Release>(admin, &release("other")).await.unwrap();
        let mut decision = approval("shop", &made.uid().unwrap(), &me);
        decision["metadata"]["finalizers"] = json!(["example.com/held"]);
        let decision = namespace.make::<Decision>(admin, &decision).await.unwrap();
        namespace.make::<Decision>(admin, &approval("other", "x", &me)).await.unwrap();
        let api: Api<CoreNamespace> = Api::all(admin.clone());
        api.delete(&namespace.name, &DeleteParams::background()).await.unwrap();
        within(ROUNDS, "the Release is being deleted", async || {
            let release = namespace.api::<Release>(admin).get("shop").await.ok()?;
            release.metadata.deletion_timestamp.map(|_| ())
        })
        .await;
        // Our finalizer goes by our own account, whose rights in the namespace may be gone by now: here they are
        // those of the administrator.
        let free = json!({ "metadata": { "finalizers": null } });
        namespace.patch::<Release>(admin, "shop", free.clone()).await.unwrap();
        namespace.patch::<Decision>(admin, &decision.name_any(), free).await.unwrap();
        within(ROUNDS, "the namespace is gone", async || api.get(&namespace.name).await.err().map(|_| ())).await;
    })
    .await;
}

#[tokio::test]
async fn the_garbage_collector_is_not_held_up() {
    in_namespace("collected", async |namespace| {
        let admin = &namespace.cluster.admin;
        let me = namespace.cluster.me().await;
        for propagation in [PropagationPolicy::Foreground, PropagationPolicy::Orphan] {
            let mut body = release("shop");
            body["spec"]["mode"] = "Automatic".into();
            let made = namespace.make::<Release>(admin, &body).await.unwrap();
            let owner = json!([{
                "apiVersion": "switchback.dev/v1alpha1", "kind": "Release", "name": "shop",
                "uid": made.uid().unwrap(), "blockOwnerDeletion": true,
            }]);
            let child = json!({ "metadata": { "generateName": "child-", "ownerReferences": owner } });
            namespace.make::<ConfigMap>(admin, &child).await.unwrap();
            let mut decision = approval("shop", &made.uid().unwrap(), &me);
            decision["metadata"]["ownerReferences"] = owner;
            let decision = namespace.make::<Decision>(admin, &decision).await.unwrap();

            // So that the collector has heard of them. It then writes and removes a finalizer of its own on the
            // Release, and when it orphans, takes the owner off the Decision.
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            let params = DeleteParams { propagation_policy: Some(propagation.clone()), ..DeleteParams::default() };
            namespace.api::<Release>(admin).delete("shop", &params).await.unwrap();
            within(ROUNDS, "the Release is gone", async || {
                namespace.api::<Release>(admin).get_opt("shop").await.unwrap().is_none().then_some(())
            })
            .await;
            let decisions = namespace.api::<Decision>(admin);
            let freed = matches!(propagation, PropagationPolicy::Orphan);
            within(ROUNDS, "the Decision is freed or gone", async || {
                match decisions.get_opt(&decision.name_any()).await.unwrap() {
                    Some(left) => (freed && left.owner_references().is_empty()).then_some(()),
                    None => Some(()),
                }
            })
            .await;
        }
    })
    .await;
}
