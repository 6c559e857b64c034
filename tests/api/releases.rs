//! Releases by those who may not: what a Release does for its author is what the author could do alone.

use kube::{
    Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use switchback::api::Release;

use crate::support::{CONTROLLER, Namespace, assert_refused, in_namespace, objects::release};

/// Rights of a developer.
const DEVELOPS: [&str; 4] = [
    "get,list,create,update,patch,delete switchback.dev/releases",
    "create apps/deployments",
    "create batch/jobs",
    "create /services",
];

fn automatic(name: &str) -> Value {
    let mut body = release(name);
    body["spec"]["mode"] = "Automatic".into();
    body
}

async fn developer(namespace: &Namespace, name: &str) -> Client {
    namespace.allow(name, &DEVELOPS).await;
    namespace.cluster.user(name)
}

#[tokio::test]
async fn whoever_may_create_the_objects_may_ask_for_a_release() {
    in_namespace("asks", async |namespace| {
        let dave = developer(namespace, "dave").await;
        let mut body = release("shop");
        body["metadata"]["labels"] = json!({ "team": "shop" });
        namespace.make::<Release>(&dave, &body).await.unwrap();
        namespace.patch::<Release>(&dave, "shop", json!({ "spec": { "version": "1.0.1" } })).await.unwrap();
        namespace
            .patch::<Release>(&dave, "shop", json!({ "metadata": { "annotations": { "note": "x" } } }))
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn forgery_threat_t03_a_release_by_somebody_who_may_not_create_its_objects() {
    in_namespace("forgery", async |namespace| {
        namespace.make::<Release>(&namespace.cluster.admin, &release("other")).await.unwrap();
        for (missing, kind) in [(1, "Deployments"), (2, "Jobs"), (3, "Services")] {
            let user = format!("lacks-{}", kind.to_lowercase());
            let rights: Vec<&str> =
                DEVELOPS.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, right)| *right).collect();
            namespace.allow(&user, &rights).await;
            let client = namespace.cluster.user(&user);
            let says = format!(
                r#"a Release creates {kind} in your name, and "{user}" may not create any in namespace {}"#,
                namespace.name
            );
            assert_refused(namespace.make::<Release>(&client, &release("shop")).await, &says);
            let image = json!({ "spec": { "version": "6.6.6" } });
            assert_refused(namespace.patch::<Release>(&client, "other", image).await, &says);
        }
    })
    .await;
}

#[tokio::test]
async fn forgery_threat_t03_config_by_somebody_who_may_not_create_config_maps() {
    in_namespace("forgery", async |namespace| {
        let dave = developer(namespace, "dave").await;
        let mut body = release("shop");
        body["spec"]["config"] = json!([{ "name": "app", "data": { "a": "b" } }]);
        let says = format!(
            r#"config of a Release creates ConfigMaps in your name, and "dave" may not create any in namespace {}"#,
            namespace.name
        );
        assert_refused(namespace.make::<Release>(&dave, &body).await, &says);
        namespace.allow("dave", &["create /configmaps"]).await;
        namespace.make::<Release>(&dave, &body).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn forgery_threat_t03_autoscaling_by_somebody_who_may_not_create_autoscalers() {
    in_namespace("forgery", async |namespace| {
        let dave = developer(namespace, "dave").await;
        let mut body = release("shop");
        let workload = body["spec"]["workloads"][0].as_object_mut().unwrap();
        workload.remove("replicas");
        workload.insert("autoscaling".into(), json!({ "min": 1, "max": 3, "targetCPU": 70 }));
        let says = format!(
            r#"autoscaling of a Release creates HorizontalPodAutoscalers in your name, and "dave" may not create any in namespace {}"#,
            namespace.name
        );
        assert_refused(namespace.make::<Release>(&dave, &body).await, &says);
        namespace.allow("dave", &["create autoscaling/horizontalpodautoscalers"]).await;
        namespace.make::<Release>(&dave, &body).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn forgery_automatic_without_the_verb() {
    in_namespace("forgery", async |namespace| {
        let dave = developer(namespace, "dave").await;
        let says = |name: &str| {
            format!(
                r#""dave" may not let Release {}/{name} start by itself: that takes the verb "automate" on releases.switchback.dev"#,
                namespace.name
            )
        };
        assert_refused(namespace.make::<Release>(&dave, &automatic("shop")).await, &says("shop"));
        let mut unnamed = automatic("shop");
        unnamed["metadata"] = json!({ "generateName": "shop-" });
        assert_refused(namespace.make::<Release>(&dave, &unnamed).await, r#""dave" may not let Release"#);
        namespace.make::<Release>(&dave, &release("shop")).await.unwrap();
        let newly = json!({ "spec": { "mode": "Automatic" } });
        assert_refused(namespace.patch::<Release>(&dave, "shop", newly.clone()).await, &says("shop"));

        // Somebody with the verb makes it automatic; what it then runs is still not for everybody to say.
        namespace.allow("ruth", &DEVELOPS).await;
        namespace.allow("ruth", &["automate switchback.dev/releases:shop"]).await;
        let ruth = namespace.cluster.user("ruth");
        namespace.patch::<Release>(&ruth, "shop", newly).await.unwrap();
        let version = json!({ "spec": { "version": "6.6.6" } });
        assert_refused(namespace.patch::<Release>(&dave, "shop", version.clone()).await, &says("shop"));
        namespace.patch::<Release>(&ruth, "shop", version).await.unwrap();
        assert_refused(
            namespace.make::<Release>(&ruth, &automatic("other")).await,
            r#""ruth" may not let Release"#,
        );
        // Back to asking is everybody's right.
        namespace.patch::<Release>(&dave, "shop", json!({ "spec": { "mode": "Manual" } })).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn forgery_slipping_out_from_under_a_policy_by_its_labels() {
    in_namespace("forgery", async |namespace| {
        let dave = developer(namespace, "dave").await;
        let mut body = release("shop");
        body["metadata"]["labels"] = json!({ "environment": "production" });
        namespace.make::<Release>(&dave, &body).await.unwrap();
        for labels in [json!({ "environment": "development" }), json!({ "environment": null }), json!({ "more": "x" })]
        {
            let answer = namespace.patch::<Release>(&dave, "shop", json!({ "metadata": { "labels": labels } })).await;
            assert_refused(answer, r#"that takes the verb "relabel" on releases.switchback.dev"#);
        }
        namespace.allow("dave", &["relabel switchback.dev/releases"]).await;
        let labels = json!({ "metadata": { "labels": { "environment": null } } });
        namespace.patch::<Release>(&dave, "shop", labels).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn whoever_asks_for_nothing_needs_no_right_to_create_objects() {
    in_namespace("asks-nothing", async |namespace| {
        namespace.make::<Release>(&namespace.cluster.admin, &automatic("shop")).await.unwrap();
        let rights = ["get,patch switchback.dev/releases", "patch switchback.dev/releases/status"];
        for user in ["collector", CONTROLLER] {
            namespace.allow(user, &rights).await;
            let client = namespace.cluster.user(user);
            let held = json!({ "metadata": { "finalizers": ["switchback.dev/release"] } });
            namespace.patch::<Release>(&client, "shop", held).await.unwrap();
            let status = Patch::Merge(json!({ "status": { "observedGeneration": 1 } }));
            namespace.api::<Release>(&client).patch_status("shop", &PatchParams::default(), &status).await.unwrap();
            namespace.patch::<Release>(&client, "shop", json!({ "metadata": { "finalizers": null } })).await.unwrap();
        }
    })
    .await;
}

/// A rule that costs more than the API server grants fails, and a policy that fails refuses.
#[tokio::test]
async fn the_largest_release_is_not_too_much_for_the_policies() {
    in_namespace("large", async |namespace| {
        let mut body = automatic("shop");
        let env: Vec<Value> =
            (0..500).map(|at| json!({ "name": format!("E{at}"), "value": "x".repeat(100) })).collect();
        let mut workloads = vec![];
        for at in 0..16 {
            let mut workload = body["spec"]["workloads"][0].clone();
            workload["name"] = format!("web-{at}").into();
            workload["services"][0]["name"] = format!("shop-{at}").into();
            workload["template"]["spec"]["containers"][0]["env"] = json!(env);
            workloads.push(workload);
        }
        body["spec"]["workloads"] = json!(workloads);
        let size = body.to_string().len();
        assert!((800_000..1_400_000).contains(&size), "{size}");
        namespace.make::<Release>(&namespace.cluster.admin, &body).await.unwrap();
        namespace.allow("collector", &["patch switchback.dev/releases"]).await;
        let collector = namespace.cluster.user("collector");
        let held = json!({ "metadata": { "finalizers": ["example.com/held"] } });
        namespace.patch::<Release>(&collector, "shop", held).await.unwrap();
        namespace.patch::<Release>(&collector, "shop", json!({ "metadata": { "finalizers": null } })).await.unwrap();
        namespace
            .patch::<Release>(&namespace.cluster.admin, "shop", json!({ "spec": { "version": "2" } }))
            .await
            .unwrap();
    })
    .await;
}
