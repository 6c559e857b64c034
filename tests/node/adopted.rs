//! What runs already is taken over by a release, under load, while somebody applies the old manifests again and again, the
//! way Argo CD does with `RespectIgnoreDifferences`: all of them but the selector and the number of pods.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use switchback::api::{Outcome, Step};

use crate::{
    harness::{Scene, active, nodes_learn, record},
    support::{SOON, in_namespace, within},
};

/// What Git holds of what runs, as it was applied first, or as it is applied from then on.
fn manifests(first: bool) -> [Value; 2] {
    let env: Vec<Value> = [("VERSION", "0.9.0"), ("DRAIN_SECONDS", "3")]
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let offer = json!({ "switchback.dev/adopt": "shop" });
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "shop", "annotations": offer },
        "spec": {
            "selector": { "matchLabels": { "app": "shop" } },
            "template": {
                "metadata": { "labels": { "app": "shop" } },
                "spec": {
                    "terminationGracePeriodSeconds": 40,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [{
                        "name": "web", "image": "localhost/demo-app:dev", "env": env,
                        "readinessProbe": {
                            "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 1,
                        },
                        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                    }],
                },
            },
        },
    });
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "shop", "annotations": offer },
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    });
    if first {
        deployment["spec"]["replicas"] = 2.into();
        service["spec"]["selector"] = json!({ "app": "shop" });
    }
    [deployment, service]
}

async fn apply(scene: &Scene<'_>, first: bool) {
    let [deployment, service] = manifests(first);
    let admin = &scene.namespace.cluster.admin;
    // The first time as somebody else: what is not applied again must not be taken away by that.
    let params = PatchParams::apply(if first { "kubectl-create" } else { "argocd-controller" }).force();
    scene.namespace.api::<Deployment>(admin).patch("shop", &params, &Patch::Apply(deployment)).await.unwrap();
    scene.namespace.api::<Service>(admin).patch("shop", &params, &Patch::Apply(service)).await.unwrap();
}

/// A Release of which the first version takes over what runs.
fn adopting(env: &[(&str, &str)], version: &str) -> Value {
    let mut all =
        vec![json!({ "name": "VERSION", "value": version }), json!({ "name": "DRAIN_SECONDS", "value": "3" })];
    all.extend(env.iter().map(|(name, value)| json!({ "name": name, "value": value })));
    json!({
        "deletionPolicy": "Orphan",
        "workloads": [{
            "name": "web", "replicas": 2,
            "adopt": { "deployment": "shop", "service": "shop" },
            "services": [{ "name": "shop", "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
            "template": {
                "metadata": { "labels": { "app": "shop" } },
                "spec": {
                    "terminationGracePeriodSeconds": 40,
                    "containers": [{
                        "name": "web", "image": "localhost/demo-app:dev", "env": all,
                        "readinessProbe": {
                            "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 1,
                        },
                    }],
                },
            },
        }],
    })
}

/// Brings up what runs without the operator.
async fn run_without_us(scene: &Scene<'_>) {
    apply(scene, true).await;
    let deployments = scene.namespace.api::<Deployment>(&scene.namespace.cluster.admin);
    within(SOON * 2, "it runs", async || {
        let status = deployments.get("shop").await.unwrap().status?;
        (status.available_replicas == Some(2)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_already_is_taken_over_released_from_and_let_go_without_a_lost_request() {
    in_namespace("adopted", async |namespace| {
        let scene = Scene::new(namespace).await;
        run_without_us(&scene).await;
        let deployments = namespace.api::<Deployment>(&namespace.cluster.admin);
        let generation = deployments.get("shop").await.unwrap().metadata.generation;
        nodes_learn().await;
        let load = scene.load().await;

        // One that is not well goes back to what nobody had released.
        let ill = [("UNREADY_WHEN_SERVING", "2")];
        scene.ask_for("1.0.0", &[], adopting(&ill, "1.0.0")).await;
        scene.until_step(Step::Approve).await;
        apply(&scene, false).await;
        scene.approve().await;
        scene.until_step(Step::Watch).await;
        apply(&scene, false).await;
        let over = scene.until_over().await;
        assert_eq!(record(&over).outcome, Some(Outcome::RolledBack), "{}", scene.report().await);
        assert!(active(&over).is_some_and(|version| version.starts_with("adopted-")), "{:?}", active(&over));
        assert_eq!(deployments.get("shop").await.unwrap().metadata.generation, generation, "its spec was not written");

        // A good one, and another after it.
        scene.ask_for("1.1.0", &[], adopting(&[], "1.1.0")).await;
        scene.approve().await;
        scene.until_step(Step::Watch).await;
        scene.kill();
        scene.start();
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("1.1.0"), "{}", scene.report().await);
        apply(&scene, false).await;
        assert_eq!(deployments.get("shop").await.unwrap().spec.unwrap().replicas, Some(0));
        scene.ask_for("1.2.0", &[], adopting(&[], "1.2.0")).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("1.2.0"), "{}", scene.report().await);

        // And the way out.
        scene.releases().delete("shop", &DeleteParams::default()).await.unwrap();
        within(SOON * 2, "the Release is gone", async || {
            scene.releases().get_opt("shop").await.unwrap().is_none().then_some(())
        })
        .await;
        scene.kill();
        tokio::time::sleep(SOON / 4).await;
        let counted = load.end("adopted").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["0.9.0", "1.0.0", "1.1.0", "1.2.0"]);
        let service = namespace.api::<Service>(&namespace.cluster.admin).get("shop").await.unwrap();
        assert!(service.owner_references().is_empty(), "{:?}", service.owner_references());
    })
    .await;
}
