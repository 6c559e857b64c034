//! Somebody else writes the selector of a Service, over and over.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use switchback::api::{Step, labels};

use crate::{
    audited::requests_within,
    harness::{Scene, condition, message, names_of, proof},
    support::{in_namespace, soon, within},
};

/// How often the other one writes.
const EVERY: Duration = Duration::from_millis(200);
/// How long they fight.
const FIGHT: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_09_a_selector_that_another_manager_applies_five_times_a_second_is_put_back_at_a_bounded_rate() {
    in_namespace("contested", async |namespace| {
        let scene = Scene::new(namespace).await;
        let uid = scene.serve_first(json!({})).await.uid().unwrap();
        let services: Api<Service> = namespace.api(&namespace.cluster.admin);
        let ours = services.get("shop").await.unwrap().spec.unwrap().selector.unwrap();
        let load = scene.load().await;
        // What it writes finds the same pods, so that what is lost would be our doing.
        let theirs = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "shop" },
            "spec": { "selector": { labels::RELEASE_UID: uid, labels::WORKLOAD: "web" } },
        });
        let fight = async {
            let params = PatchParams::apply("somebody-elses-tool").force();
            loop {
                services.patch("shop", &params, &Patch::Apply(&theirs)).await.unwrap();
                tokio::time::sleep(EVERY).await;
            }
        };
        let requests = tokio::select! {
            requests = requests_within(namespace, FIGHT) => requests,
            () = fight => panic!("it fights for ever"),
        };
        let of = |verb: &str, resource: &str| {
            let is = |event: &&serde_json::Value| event["verb"] == verb && event["objectRef"]["resource"] == resource;
            requests.iter().filter(is).count()
        };
        let (puts, reads, statuses) = (of("patch", "services"), of("get", "services"), of("patch", "releases"));
        let seconds = usize::try_from(FIGHT.as_secs()).unwrap();
        let told = json!({ "seconds": seconds, "putBack": puts, "read": reads, "statusWrites": statuses });
        proof("contested", &told.to_string());
        assert!((seconds / 2..=seconds + 2).contains(&puts), "{told}");
        assert!(reads <= seconds + 2 && statuses <= 2, "{told}");
        let release = scene.read().await;
        assert_eq!(condition(&release, "TrafficContested"), ("True".into(), "TrafficContested".into()));
        let message = message(&release, "TrafficContested");
        assert!(message.contains("somebody-elses-tool") && message.contains("Service shop"), "{message}");
        // It ends with our word, however it began.
        soon("the selector is ours again", async || {
            (services.get("shop").await.unwrap().spec.unwrap().selector.unwrap() == ours).then_some(())
        })
        .await;
        // Nor does anything come of a tool that takes the selector away, which leaves a Service that follows nobody.
        for _ in 0..3 {
            let wipe = Patch::Merge(json!({ "spec": { "selector": null } }));
            services.patch("shop", &PatchParams::default(), &wipe).await.unwrap();
            soon("the selector is there again", async || {
                (services.get("shop").await.unwrap().spec.unwrap().selector.as_ref() == Some(&ours)).then_some(())
            })
            .await;
        }
        load.end("contested").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_09_what_the_cluster_refuses_of_a_step_does_not_keep_a_selector_from_being_put_back() {
    in_namespace("refused", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let checks =
            json!({ "checks": [{ "name": "home", "phase": "Watch", "http": { "service": "shop" } }], "watch": { "for": "60s" } });
        scene.ask_for("2.0.0", &[], checks).await;
        scene.approve().await;
        scene.until_step(Step::Deploy).await;
        // Before, it would have been told of at once.
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "no-jobs" },
            "spec": { "hard": { "count/jobs.batch": "0" } },
        });
        namespace.make::<ResourceQuota>(&namespace.cluster.admin, &quota).await.unwrap();
        scene.until_step(Step::Watch).await;
        let services: Api<Service> = namespace.api(&namespace.cluster.admin);
        let ours = services.get("shop").await.unwrap().spec.unwrap().selector.unwrap();
        for _ in 0..3 {
            let wipe = Patch::Merge(json!({ "spec": { "selector": null } }));
            services.patch("shop", &PatchParams::default(), &wipe).await.unwrap();
            let is_ours = async || {
                (services.get("shop").await.unwrap().spec.unwrap().selector.as_ref() == Some(&ours)).then_some(())
            };
            let put_back = tokio::time::timeout(Duration::from_secs(10), within(Duration::from_secs(60), "", is_ours));
            assert!(put_back.await.is_ok(), "{}", scene.report().await);
        }
        assert!(names_of(&scene, "batch/v1", "Job").await.is_empty(), "the Job of the watch was not refused");
    })
    .await;
}
