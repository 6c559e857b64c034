//! What people decide while users are served: to go back, to promote, to suspend and resume, to try again.

use serde_json::json;
use switchback::api::{Outcome, Step};

use crate::{
    harness::{Scene, active, condition, merge, record},
    support::in_namespace,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_goes_back_to_an_earlier_version_and_no_request_is_lost() {
    in_namespace("rollback", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        // Two more versions serve; the window of the second would be long.
        scene.ask_for("2.0.0", &[], json!({})).await;
        scene.approve().await;
        scene.until_over().await;
        let asked = scene.ask_for("3.0.0", &[], json!({ "watch": { "for": "30m" } })).await;
        scene.approve().await;
        let watched = scene.until_step(Step::Watch).await;
        let promoted = scene.decide(&watched, json!({ "promote": {} })).await.unwrap();
        assert_eq!(scene.became(&promoted).await, ("Used".into(), "Used".into()));
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("3.0.0"));

        // Not to the one before, but to the first; nobody reverts the spec.
        let first = record(&over).history.first().unwrap().revision.clone();
        let back = scene.decide(&over, json!({ "rollback": { "to": first } })).await.unwrap();
        assert_eq!(scene.became(&back).await, ("Used".into(), "Used".into()));
        let over = scene
            .until("1.0.0 serves", |release| active(release) == Some("1.0.0") && record(release).step == Step::Idle)
            .await;
        assert_eq!(condition(&over, "Ready"), ("False".into(), "RolledBack".into()));
        assert_eq!(over.metadata.generation, asked.metadata.generation);
        let counted = load.end("rollback-by-decision").await;
        let versions: Vec<&str> = counted.by_version.keys().map(String::as_str).collect();
        assert_eq!(versions, ["1.0.0", "2.0.0", "3.0.0"]);

        // The spec in Git follows: nothing more happens.
        scene.ask_for("1.0.0", &[], json!({})).await;
        let settled = scene.until("it is as asked", |release| condition(release, "Ready").0 == "True").await;
        assert_eq!(record(&settled).attempts, record(&over).attempts);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_release_stands_still_through_a_kill_and_still_goes_back() {
    in_namespace("suspend", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        let smoke = json!({ "spec": { "containers": [{
            "name": "smoke", "image": "localhost/demo-app:dev", "args": ["pause-exit", "--after", "3"],
        }]}});
        let mut more = json!({
            "checks": [{ "name": "smoke", "phase": "Verify", "job": { "template": smoke } }],
            "watch": { "for": "30m" },
        });
        let env = [("UNREADY_WHEN_SERVING", "6")];
        scene.ask_for("2.0.0", &env, more.clone()).await;
        scene.approve().await;
        let verified = scene.until_step(Step::Verify).await;
        let suspended = scene.decide(&verified, json!({ "suspend": {} })).await.unwrap();
        assert_eq!(scene.became(&suspended).await, ("Used".into(), "Used".into()));
        scene.until("it stands still", |release| condition(release, "Ready").1 == "Suspended").await;
        scene.kill();
        scene.start();
        let still = scene.until("it stands still", |release| condition(release, "Ready").1 == "Suspended").await;
        assert_eq!((active(&still), record(&still).step), (Some("1.0.0"), Step::Verify));

        let resumed = scene.decide(&still, json!({ "resume": {} })).await.unwrap();
        assert_eq!(scene.became(&resumed).await, ("Used".into(), "Used".into()));
        let watched = scene.until_step(Step::Watch).await;
        // A suspension by the spec stops no way back.
        merge(&mut more, json!({ "suspend": true }));
        scene.ask_for("2.0.0", &env, more.clone()).await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        assert!(record(&over).attempts == record(&watched).attempts);

        // What failed is tried again when a person says so, once nothing suspends.
        let retried = scene.decide(&over, json!({ "retry": {} })).await.unwrap();
        scene.until("it waits", |release| condition(release, "Ready").1 == "Suspended").await;
        merge(&mut more, json!({ "suspend": false }));
        scene.ask_for("2.0.0", &env, more).await;
        let planned = scene.until_step(Step::Approve).await;
        assert_eq!(scene.became(&retried).await, ("Used".into(), "Used".into()));
        assert_eq!(record(&planned).attempts, record(&over).attempts + 1);
        let rejected = scene.decide(&planned, json!({ "reject": {} })).await.unwrap();
        assert_eq!(scene.became(&rejected).await, ("Used".into(), "Used".into()));
        load.end("suspended").await;
    })
    .await;
}
