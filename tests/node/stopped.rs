//! The controller is killed, over and over; releases end as if it had not been.

use std::time::Duration;

use kube::{
    ResourceExt as _,
    api::{DeleteParams, PropagationPolicy},
};
use serde_json::json;
use switchback::api::{Outcome, Step};

use crate::{
    harness::{Scene, active, names_of, names_of_release, record},
    support::{in_namespace, within},
};

/// Kills the controller each time the status shows a step that was not seen before, and shortly after it.
pub async fn kill_at_every_step(scene: &Scene<'_>) -> usize {
    let mut kills = 0;
    let mut steps: Vec<Step> = vec![];
    loop {
        let release = scene.read().await;
        let step = record(&release).step;
        if step == Step::Idle && !steps.is_empty() {
            return kills;
        }
        if steps.contains(&step) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        steps.push(step);
        // At the write itself, and in the middle of what follows it.
        for pause in [0, 150] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            scene.kill();
            scene.start();
            kills += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step_a_good_release_ends_the_same() {
    in_namespace("kill-good", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        let checks = json!({ "checks": [{ "name": "home", "phase": "Verify", "http": { "service": "shop" } }] });
        scene.ask_for("2.0.0", &[], checks).await;
        scene.approve().await;
        let kills = kill_at_every_step(&scene).await;
        let over = scene.until_over().await;
        assert!(kills >= 10, "only {kills} kills");
        assert_eq!((active(&over), record(&over).attempts), (Some("2.0.0"), 2), "{}", scene.report().await);
        load.end("killed-good").await;
        assert_eq!(names_of(&scene, "v1", "Service").await, ["shop"]);
        assert_eq!(names_of(&scene, "batch/v1", "Job").await, Vec::<String>::new());
        assert_eq!(names_of(&scene, "apps/v1", "Deployment").await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step_a_bad_release_comes_back() {
    in_namespace("kill-bad", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        let window = json!({ "watch": { "for": "60s", "tolerate": "0s" } });
        scene.ask_for("2.0.0", &[("UNREADY_WHEN_SERVING", "4")], window).await;
        scene.approve().await;
        let kills = kill_at_every_step(&scene).await;
        let over = scene.until_over().await;
        assert!(kills >= 10, "only {kills} kills");
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        load.end("killed-bad").await;
        assert_eq!(names_of(&scene, "apps/v1", "Deployment").await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_a_deleted_release_leaves_nothing_and_a_foreground_deletion_waits_for_us() {
    in_namespace("delete", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        // Without the controller a foreground deletion, Argo CD's default, removes nothing that serves.
        scene.kill();
        let foreground =
            DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
        scene.releases().delete("shop", &foreground).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(names_of(&scene, "apps/v1", "Deployment").await.len(), 1);
        assert_eq!(names_of(&scene, "v1", "Service").await, ["shop"]);
        scene.start();
        within(Duration::from_secs(90), "everything is gone", async || {
            let releases = names_of(&scene, "switchback.dev/v1alpha1", "Release").await;
            let deployments = names_of(&scene, "apps/v1", "Deployment").await;
            let contents = names_of(&scene, "apps/v1", "ControllerRevision").await;
            let services = names_of(&scene, "v1", "Service").await;
            (releases.len() + deployments.len() + contents.len() + services.len() == 0).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_58_the_same_name_made_again_at_once_starts_clean() {
    in_namespace("again", async |namespace| {
        let scene = Scene::new(namespace).await;
        let former = scene.serve_first(json!({})).await;
        scene.releases().delete("shop", &DeleteParams::background()).await.unwrap();
        within(Duration::from_secs(30), "the name is free", async || {
            scene.releases().get_opt("shop").await.unwrap().is_none().then_some(())
        })
        .await;
        // The very same, while what the former one owned still goes: it has the same names.
        scene.serve_first(json!({})).await;
        let now = scene.read().await;
        assert_ne!(now.uid(), former.uid());
        assert_eq!((record(&now).attempts, record(&now).outcome), (1, Some(Outcome::Succeeded)));
        within(Duration::from_secs(60), "nothing of the former one is left", async || {
            let uid = former.uid().unwrap();
            for kind in [("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "Pod"), ("apps/v1", "ControllerRevision")]
            {
                if !names_of_release(&scene, kind, &uid).await.is_empty() {
                    return None;
                }
            }
            Some(())
        })
        .await;
        let load = scene.load().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (counted, told) = load.stop("again").await;
        assert_eq!((counted.lost, counted.sent > 100), (0, true), "{told}");
    })
    .await;
}
