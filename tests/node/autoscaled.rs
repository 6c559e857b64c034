//! An autoscaled application on a real node, beside the cluster's own autoscaler. It has nothing to measure by here: what it
//! does is keep its bounds.

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use switchback::api::{Outcome, Step, labels};

use crate::{
    harness::{Scene, active, condition, record},
    support::{SOON, in_namespace, within},
};

/// The demo application with two to six pods.
fn scaled(version: &str, env: &[(&str, &str)]) -> Value {
    let own = [("VERSION", version), ("DRAIN_SECONDS", "3")];
    let env = own.iter().chain(env).map(|(name, value)| json!({ "name": name, "value": value }));
    json!({ "workloads": [{
        "name": "web",
        "autoscaling": { "min": 2, "max": 6, "targetCPU": 70 },
        "services": [{ "name": "shop", "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
        "template": { "spec": {
            "terminationGracePeriodSeconds": 40,
            "containers": [{
                "name": "web", "image": "localhost/demo-app:dev", "env": env.collect::<Vec<_>>(),
                "resources": { "requests": { "cpu": "10m" } },
                "readinessProbe": {
                    "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 1,
                },
            }],
        } },
    }] })
}

/// What is there of a version.
#[derive(Debug, PartialEq)]
struct Size {
    /// Pods that are asked for.
    pods: i32,
    /// Between how many its autoscaler keeps them; nothing without one.
    bounds: Option<(i32, i32)>,
}

async fn size(scene: &Scene<'_>, version: &str) -> Option<Size> {
    let admin = &scene.namespace.cluster.admin;
    let of_us = ListParams::default().labels(labels::RELEASE_UID);
    let deployments = scene.namespace.api::<Deployment>(admin).list(&of_us).await.unwrap();
    let found = deployments
        .into_iter()
        .find(|found| found.annotations().get(labels::VERSION).is_some_and(|it| it == version))?;
    let autoscaler = scene.namespace.api::<HorizontalPodAutoscaler>(admin).get_opt(&found.name_any()).await.unwrap();
    let bounds = autoscaler.and_then(|found| found.spec).map(|spec| (spec.min_replicas.unwrap(), spec.max_replicas));
    Some(Size { pods: found.spec?.replicas?, bounds })
}

async fn scale(scene: &Scene<'_>, version: &str, pods: i32) {
    let api = scene.namespace.api::<Deployment>(&scene.namespace.cluster.admin);
    let all = api.list(&ListParams::default().labels(labels::RELEASE_UID)).await.unwrap();
    let found = all.iter().find(|found| found.annotations().get(labels::VERSION).is_some_and(|it| it == version));
    let name = found.unwrap().name_any();
    let patch = Patch::Merge(json!({ "spec": { "replicas": pods } }));
    api.patch_scale(&name, &PatchParams::default(), &patch).await.unwrap();
    within(SOON * 2, "all pods are there", async || {
        let status = api.get(&name).await.unwrap().status?;
        (status.available_replicas == Some(pods)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_07_an_autoscaled_version_is_followed_by_one_of_its_size_and_comes_back_at_it() {
    in_namespace("autoscaled", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(scaled("1.0.0", &[])).await;
        assert_eq!(size(&scene, "1.0.0").await, Some(Size { pods: 2, bounds: Some((2, 6)) }));
        // As many as the load would have asked for; nobody sets that back.
        scale(&scene, "1.0.0", 4).await;
        let load = scene.load().await;

        // A good one.
        scene.ask_for("2.0.0", &[], scaled("2.0.0", &[])).await;
        let plan = record(&scene.until_step(Step::Approve).await).plan.unwrap();
        let says = "web x 2 to 6 by 70 % CPU";
        assert!(plan.steps.iter().any(|planned| planned.does.contains(says)), "{:?}", plan.steps);
        scene.approve().await;
        let watched = scene.until_step(Step::Watch).await;
        let held = || Some(Size { pods: 4, bounds: Some((4, 6)) });
        assert_eq!((size(&scene, "1.0.0").await, size(&scene, "2.0.0").await), (held(), held()));
        let traffic = &record(&watched).traffic[0];
        assert_eq!((traffic.pods, traffic.pods_before), (4, Some(4)));
        let over = scene.until_over().await;
        assert_eq!((active(&over), condition(&over, "Ready").0), (Some("2.0.0"), "True".to_owned()));
        assert_eq!(size(&scene, "1.0.0").await, Some(Size { pods: 0, bounds: None }));
        assert_eq!(size(&scene, "2.0.0").await, Some(Size { pods: 4, bounds: Some((2, 6)) }));

        // One that is not, and that loses its pods once people use it.
        scene.ask_for("3.0.0", &[], scaled("3.0.0", &[("UNREADY_WHEN_SERVING", "3")])).await;
        scene.approve().await;
        scene.until_step(Step::Watch).await;
        assert_eq!(size(&scene, "2.0.0").await, held());
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("2.0.0"), Some(Outcome::RolledBack)));
        assert_eq!(size(&scene, "2.0.0").await, Some(Size { pods: 4, bounds: Some((2, 6)) }));
        assert_eq!(size(&scene, "3.0.0").await, None);
        let counted = load.end("autoscaled").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0", "2.0.0", "3.0.0"]);

        // The spec names what serves again, with more pods: no release, and the cluster's autoscaler does the rest.
        let mut more = scaled("2.0.0", &[]);
        more["workloads"][0]["autoscaling"]["min"] = 5.into();
        scene.ask_for("2.0.0", &[], more).await;
        within(SOON * 2, "five pods are asked for", async || {
            (size(&scene, "2.0.0").await == Some(Size { pods: 5, bounds: Some((5, 6)) })).then_some(())
        })
        .await;
        // And without an autoscaler.
        let mut fixed = scaled("2.0.0", &[]);
        fixed["workloads"][0].as_object_mut().unwrap().remove("autoscaling");
        fixed["workloads"][0]["replicas"] = 3.into();
        scene.ask_for("2.0.0", &[], fixed).await;
        within(SOON, "three pods and no autoscaler", async || {
            (size(&scene, "2.0.0").await == Some(Size { pods: 3, bounds: None })).then_some(())
        })
        .await;
        assert_eq!(record(&scene.read().await).attempts, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_metric_is_told_before_anybody_is_asked() {
    in_namespace("metrics", async |namespace| {
        let scene = Scene::new(namespace).await;
        let mut wrong = scaled("1.0.0", &[]);
        wrong["workloads"][0]["autoscaling"] = json!({ "min": 1, "max": 2, "metrics": [{ "type": "Weather" }] });
        scene.ask_for("1.0.0", &[], wrong).await;
        let over = scene.until_over().await;
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "DryRunRefused".into()));
        let told = crate::harness::message(&over, "Ready");
        assert!(told.contains("HorizontalPodAutoscaler") && told.contains("Weather"), "{told}");
    })
    .await;
}
