//! The plugin against a cluster: every verb as a person types it, and what becomes of it.

use kube::api::{Api, ListParams};
use serde_json::json;
use switchback::api::{Decision, Outcome, ReleasePolicy, Step};

use crate::{
    harness::{Scene, active, condition, record},
    support::in_namespace,
};

/// Decides by the plugin; the Decision has been judged when it ends.
async fn decide(scene: &Scene<'_>, verb: &str, becomes: &str) {
    let (code, said) = scene.plugin(&[verb, "shop", "-y"]).await;
    assert_eq!(code, Some(0), "{verb}: {said}");
    assert!(said.contains(becomes), "{verb}: {said}");
}

/// Approves the plan once it waits.
async fn approve(scene: &Scene<'_>, becomes: &str) {
    scene.until_step(Step::Approve).await;
    decide(scene, "approve", becomes).await;
}

/// Waits until an attempt for this version has ended, and returns how.
async fn ended(scene: &Scene<'_>, version: &str) -> (Option<Outcome>, Option<String>) {
    let is_over = |release: &switchback::api::Release| {
        let record = record(release);
        record.step == Step::Idle && record.history.last().is_some_and(|entry| entry.version == version)
    };
    let over = scene.until("it is over", is_over).await;
    (record(&over).outcome, active(&over).map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_takes_effect_and_one_that_is_not_due_writes_nothing() {
    in_namespace("plugin", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.ask_for("1.0.0", &[], json!({ "watch": { "for": "1s" } })).await;
        approve(&scene, "Used: ").await;
        assert_eq!(ended(&scene, "1.0.0").await, (Some(Outcome::Succeeded), Some("1.0.0".into())));
        let load = scene.load_of(50).await;

        scene.ask_for("2.0.0", &[], json!({ "watch": { "for": "30m" } })).await;
        scene.until_step(Step::Approve).await;
        decide(&scene, "reject", "Used: ").await;
        assert_eq!(ended(&scene, "2.0.0").await, (Some(Outcome::Rejected), Some("1.0.0".into())));
        decide(&scene, "retry", "Used: ").await;
        approve(&scene, "Used: ").await;
        scene.until_step(Step::Watch).await;
        decide(&scene, "suspend", "Used: ").await;
        scene.until("it is suspended", |release| record(release).suspended.is_some()).await;
        decide(&scene, "resume", "Used: ").await;
        decide(&scene, "rollback", "Used: ").await;
        assert_eq!(ended(&scene, "2.0.0").await, (Some(Outcome::RolledBack), Some("1.0.0".into())));
        decide(&scene, "retry", "Used: ").await;
        approve(&scene, "Used: ").await;
        scene.until_step(Step::Watch).await;
        decide(&scene, "promote", "Used: ").await;
        assert_eq!(ended(&scene, "2.0.0").await, (Some(Outcome::Succeeded), Some("2.0.0".into())));

        scene.ask_for("3.0.0", &[], json!({ "watch": { "for": "30m" } })).await;
        approve(&scene, "Used: ").await;
        scene.until_step(Step::Watch).await;
        decide(&scene, "abort", "Used: ").await;
        assert_eq!(ended(&scene, "3.0.0").await, (Some(Outcome::Aborted), Some("2.0.0".into())));

        let always = json!({ "freeze": [{ "schedule": "0 0 * * *", "for": "24h", "reason": "stocktaking" }] });
        let body = json!({ "metadata": { "name": "always" }, "spec": always });
        namespace.make::<ReleasePolicy>(&namespace.cluster.admin, &body).await.unwrap();
        scene.ask_for("4.0.0", &[], json!({ "watch": { "for": "1s" } })).await;
        approve(&scene, "Accepted: ").await;
        scene.until("it is frozen", |release| condition(release, "Ready").1 == "Frozen").await;
        decide(&scene, "expedite", "Used: ").await;
        assert_eq!(ended(&scene, "4.0.0").await, (Some(Outcome::Succeeded), Some("4.0.0".into())));
        load.end("plugin").await;

        // Nothing is watched, waits, or runs: it says so, and nobody has decided anything.
        let decisions: Api<Decision> = namespace.api(&namespace.cluster.admin);
        let before = decisions.list(&ListParams::default()).await.unwrap().items.len();
        for verb in ["promote", "approve", "reject", "abort", "expedite", "resume", "retry"] {
            let (code, said) = scene.plugin(&[verb, "shop", "-y"]).await;
            assert!(code.is_some_and(|code| code != 0) && said.contains("error: "), "{verb}: {code:?} {said}");
        }
        assert_eq!(decisions.list(&ListParams::default()).await.unwrap().items.len(), before);
        let (code, said) = scene.plugin(&["get", "shop"]).await;
        assert!(code == Some(0) && said.contains("4.0.0"), "{said}");
    })
    .await;
}
