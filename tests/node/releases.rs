//! Releases that go well and releases that come back; no request is lost in any.

use serde_json::json;
use switchback::api::{Outcome, Step};

use crate::{
    harness::{Scene, active, condition, message, names_of, record},
    support::in_namespace,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_release_moves_every_request_to_the_new_version() {
    in_namespace("good", async |namespace| {
        let scene = Scene::new(namespace).await;
        let smoke = json!({ "spec": { "containers": [{
            "name": "smoke", "image": "localhost/demo-app:dev", "args": ["probe", "http://shop-preview/smoke"],
        }]}});
        let checks = json!({ "checks": [
            { "name": "home", "phase": "Verify", "http": { "service": "shop" } },
            { "name": "smoke", "phase": "Verify", "job": { "template": smoke } },
            { "name": "alive", "phase": "Watch", "http": { "service": "shop", "path": "/smoke", "every": "500ms" } },
        ]});
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        scene.ask_for("2.0.0", &[], checks).await;
        let decision = scene.approve().await;
        let watched = scene.until_step(Step::Watch).await;
        assert_eq!(condition(&watched, "Serving").0, "True");
        assert_eq!(message(&watched, "Serving"), "2.0.0 serves users.");
        let done = scene.until_over().await;
        assert_eq!((active(&done), record(&done).outcome), (Some("2.0.0"), Some(Outcome::Succeeded)));
        assert_eq!(condition(&done, "Ready"), ("True".into(), "Released".into()));
        assert_eq!(scene.became(&decision).await, ("Used".into(), "Used".into()));
        let counted = load.end("good-release").await;
        assert!(counted.by_version.contains_key("1.0.0") && counted.by_version.contains_key("2.0.0"));
        // Nothing of the attempt is left but the former version's Deployment, at zero.
        assert_eq!(names_of(&scene, "batch/v1", "Job").await, Vec::<String>::new());
        assert_eq!(names_of(&scene, "v1", "Service").await, ["shop"]);
        assert_eq!(names_of(&scene, "apps/v1", "Deployment").await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_02_input_18_readiness_lost_after_the_switch_takes_traffic_back() {
    in_namespace("unready", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        scene.ask_for("2.0.0", &[("UNREADY_WHEN_SERVING", "3")], json!({})).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "RolledBack".into()));
        assert!(message(&over, "Ready").starts_with("Rolled back to 1.0.0 at "), "{}", message(&over, "Ready"));
        load.end("readiness-lost").await;
        assert_eq!(names_of(&scene, "apps/v1", "Deployment").await.len(), 1);
        // What was done is counted, once.
        let said = scene.said().await;
        let (_, figures) = said.last().unwrap();
        for line in [
            "switchback_way_back_seconds_count 1",
            r#"switchback_step_duration_seconds_count{step="Watch"} 2"#,
            r#"switchback_step_duration_seconds_count{step="SwitchBack"} 1"#,
            r#"switchback_decisions_total{decision="approve",state="Used"} 2"#,
        ] {
            assert!(figures.lines().any(|found| found == line), "{line}: {figures}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_watch_check_takes_traffic_back() {
    in_namespace("watch", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        let checks = json!({ "watch": { "for": "60s" }, "checks": [
            { "name": "alive", "phase": "Watch", "http": { "service": "shop", "path": "/smoke", "every": "200ms" } },
        ]});
        scene.ask_for("2.0.0", &[("FAIL_SMOKE_WHEN_SERVING", "4")], checks).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        assert!(message(&over, "Ready").contains("answered 500"), "{}", message(&over, "Ready"));
        load.end("watch-check").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_verify_check_never_touches_what_serves() {
    in_namespace("verify", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let before = names_of(&scene, "v1", "Service").await;
        let load = scene.load().await;
        let checks = json!({ "checks": [
            { "name": "smoke", "phase": "Verify", "http": { "service": "shop", "path": "/smoke" } },
        ]});
        scene.ask_for("2.0.0", &[("FAIL_PATH", "/smoke")], checks).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Failed)));
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "ChecksFailed".into()));
        assert!(message(&over, "Ready").contains("smoke: http://shop-preview"), "{}", message(&over, "Ready"));
        let counted = load.end("verify-check").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0"]);
        assert_eq!(names_of(&scene, "v1", "Service").await, before);
        assert_eq!(names_of(&scene, "apps/v1", "Deployment").await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_17_a_candidate_that_never_gets_ready_is_removed_and_its_cause_is_told() {
    in_namespace("pull", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        scene.ask_for("2.0.0", &[("CRASH_AT_START", "1")], json!({ "deadlines": { "deploy": "12s" } })).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Failed)));
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "GreenNotReady".into()));
        assert!(message(&over, "Ready").contains("exit code 1"), "{}", message(&over, "Ready"));
        load.end("never-ready").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgery_approving_one_digest_runs_no_other() {
    in_namespace("approval", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        scene.ask_for("2.0.0", &[], json!({})).await;
        let waiting = scene.until_step(Step::Approve).await;
        let digest = record(&waiting).plan.unwrap().digest;
        // By somebody who holds no right.
        let approve = json!({ "approve": { "digest": digest } });
        namespace.allow("mallory", &["create switchback.dev/decisions"]).await;
        assert!(scene.decide_as("mallory", &waiting, approve).await.is_err());
        // For another digest.
        let other = format!("sha256:{}", "0".repeat(64));
        let decision = scene.decide(&waiting, json!({ "approve": { "digest": other } })).await.unwrap();
        assert_eq!(scene.became(&decision).await, ("Refused".into(), "OtherDigest".into()));
        // For what the spec said before.
        scene.ask_for("2.0.1", &[], json!({ "watch": { "for": "6s" } })).await;
        scene
            .until("the new plan", |release| {
                record(release).plan.is_some_and(|plan| plan.digest != digest) && record(release).step == Step::Approve
            })
            .await;
        let stale = scene.decide(&waiting, json!({ "approve": { "digest": digest } })).await.unwrap();
        assert_eq!(scene.became(&stale).await, ("Refused".into(), "OtherDigest".into()));
        assert_eq!(names_of(&scene, "apps/v1", "Deployment").await.len(), 1, "something ran unasked");
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("2.0.1"));
        load.end("approvals").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_in_the_watch_window_goes_back() {
    in_namespace("abort", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        scene.ask_for("2.0.0", &[], json!({ "watch": { "for": "90s" } })).await;
        scene.approve().await;
        let watched = scene.until_step(Step::Watch).await;
        let decision = scene.decide(&watched, json!({ "abort": {} })).await.unwrap();
        assert_eq!(scene.became(&decision).await, ("Used".into(), "Used".into()));
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Aborted)));
        load.end("abort").await;
    })
    .await;
}
