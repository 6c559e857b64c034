//! Somebody takes our labels off what serves, while users are served and while traffic has to go back.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use switchback::api::{Outcome, Release, Step, labels};

use crate::{
    harness::{Scene, active, condition, record},
    support::{in_namespace, soon},
};

/// Takes the label off by which our watches find an object: the Deployment of a revision, and the Service.
async fn unlabel(scene: &Scene<'_>, deployment: &str) {
    let admin = &scene.namespace.cluster.admin;
    let (off, params) = (json!({ "metadata": { "labels": { labels::RELEASE_UID: null } } }), PatchParams::default());
    let (deployments, services) = (scene.namespace.api::<Deployment>(admin), scene.namespace.api::<Service>(admin));
    deployments.patch(deployment, &params, &Patch::Merge(&off)).await.unwrap();
    services.patch("shop", &params, &Patch::Merge(&off)).await.unwrap();
}

/// Waits until both say again whose they are.
async fn labelled_again(scene: &Scene<'_>, deployment: &str, uid: &str) {
    let admin = &scene.namespace.cluster.admin;
    let (deployments, services) = (scene.namespace.api::<Deployment>(admin), scene.namespace.api::<Service>(admin));
    soon("the labels are there again", async || {
        let deployment = deployments.get(deployment).await.unwrap().metadata.labels.unwrap_or_default();
        let service = services.get("shop").await.unwrap().metadata.labels.unwrap_or_default();
        let is_ours = |label: Option<&String>| label.is_some_and(|label| label == uid);
        (is_ours(deployment.get(labels::RELEASE_UID)) && is_ours(service.get(labels::RELEASE_UID))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_61_labels_taken_off_what_serves_cost_no_request_and_keep_no_traffic_from_going_back() {
    in_namespace("labels", async |namespace| {
        let scene = Scene::new(namespace).await;
        let first = scene.serve_first(json!({})).await;
        let uid = first.metadata.uid.clone().unwrap();
        let blue = format!("shop-web-{}", record(&first).active.unwrap().revision.digits());
        let load = scene.load().await;

        unlabel(&scene, &blue).await;
        labelled_again(&scene, &blue, &uid).await;
        scene.until("it serves as ever", |release| condition(release, "Ready").1 == "Released").await;

        let long = json!({ "watch": { "for": "30m", "tolerate": "0s" } });
        scene.ask_for("2.0.0", &[("UNREADY_WHEN_SERVING", "6")], long).await;
        scene.approve().await;
        scene.until_step(Step::Watch).await;
        unlabel(&scene, &blue).await;
        labelled_again(&scene, &blue, &uid).await;
        // Once more in the moment in which the candidate is no longer ready.
        let unwell =
            |release: &Release| record(release).step != Step::Watch || condition(release, "Ready").1 != "Watching";
        scene.until("the candidate is unwell", unwell).await;
        unlabel(&scene, &blue).await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        let service = namespace.api::<Service>(&namespace.cluster.admin).get("shop").await.unwrap();
        let selector = service.spec.unwrap().selector.unwrap();
        let serves = record(&over).active.unwrap().revision;
        assert_eq!(selector.get(labels::REVISION).map(String::as_str), Some(serves.digits()));
        assert!(record(&over).traffic.iter().all(|traffic| traffic.revision.as_ref() == Some(&serves)));
        labelled_again(&scene, &blue, &uid).await;
        load.end("labels").await;
    })
    .await;
}
