//! What people decide while users are served: to go back, to promote, to suspend and resume, to try again.

use serde_json::json;
use switchback::api::{Outcome, ReleasePolicy, Step};

use crate::{
    harness::{Scene, active, condition, merge, message, names_of, record},
    support::{in_namespace, soon},
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
        // As after an hour: nothing of it runs any more, or is there to be scaled up.
        soon("what served first is gone", async || {
            let deployments = names_of(&scene, "apps/v1", "Deployment").await;
            deployments.iter().all(|name| !name.contains(first.digits())).then_some(())
        })
        .await;
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
            "checks": [
                { "name": "smoke", "phase": "Verify", "job": { "template": smoke } },
                { "name": "alive", "phase": "Watch", "http": { "service": "shop", "path": "/smoke", "every": "200ms" } },
            ],
            "watch": { "for": "30m" },
        });
        let env = [("FAIL_SMOKE_WHEN_SERVING", "6")];
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgery_ones_own_change_is_approved_by_two_others_and_a_third_lets_it_begin() {
    in_namespace("policies", async |namespace| {
        let scene = Scene::new(namespace).await;
        let admin = &namespace.cluster.admin;
        let policy = |name: &str, spec: serde_json::Value| json!({ "metadata": { "name": name }, "spec": spec });
        let first = json!({ "firstRelease": "Automatic" });
        namespace.make::<ReleasePolicy>(admin, &policy("first", first)).await.unwrap();
        // The first release waits for nobody.
        scene.ask_for("1.0.0", &[], json!({})).await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).decisions.len()), (Some("1.0.0"), 0));
        let load = scene.load().await;

        scene.ask_for("2.0.0", &[], json!({ "mode": "Automatic", "watch": { "for": "30m" } })).await;
        let planned = scene.until_step(Step::Approve).await;
        let digest = record(&planned).plan.unwrap().digest;
        let unmet = record(&planned).plan.unwrap().unmet;
        assert!(unmet[0].contains("ReleasePolicy first lets nothing do so"), "{unmet:?}");
        // A policy that comes while a plan waits: the plan is made anew, and nothing begins.
        let strict = json!({
            "approval": { "required": 2, "statements": ["Begin"], "notAuthor": true },
            "freeze": [{ "schedule": "0 0 * * *", "for": "24h", "reason": "stocktaking" }],
        });
        namespace.make::<ReleasePolicy>(admin, &policy("strict", strict)).await.unwrap();
        let planned = scene.until("the new plan", |release| {
            record(release).step == Step::Approve && record(release).plan.is_some_and(|plan| plan.digest != digest)
        });
        let planned = planned.await;
        let digest = record(&planned).plan.unwrap().digest;
        let approve = json!({ "approve": { "digest": digest } });
        let silent = scene.decide(&planned, approve.clone()).await.unwrap();
        assert_eq!(scene.became(&silent).await, ("Refused".into(), "StatementMissing".into()));
        let mut said = approve;
        merge(&mut said, json!({ "statement": "Begin" }));
        let author = namespace.cluster.me().await;
        let foretold = scene.foretold("2.1.0", json!({ "watch": { "for": "5s" } })).await;
        for words in [
            &format!("By somebody else than who changed the spec since what serves was asked for ({author})"),
            "word for word: \"Begin\"",
            "(stocktaking)",
        ] {
            assert!(foretold.contains(words), "{words:?} is not foretold: {foretold}");
        }
        let decides = ["approve switchback.dev/releases", "create switchback.dev/decisions"];
        namespace.allow(&author, &decides).await;
        let own = scene.decide_as(&author, &planned, said.clone()).await.unwrap();
        assert_eq!(scene.became(&own).await, ("Refused".into(), "AuthorMayNotApprove".into()));
        let anna = scene.decide(&planned, said.clone()).await.unwrap();
        assert_eq!(scene.became(&anna).await, ("Accepted".into(), "Waiting".into()));
        namespace.allow("ben", &decides).await;
        let ben = scene.decide_as("ben", &planned, said).await.unwrap();
        assert_eq!(scene.became(&ben).await, ("Accepted".into(), "Waiting".into()));
        let frozen = scene.until("it is frozen", |release| condition(release, "Ready").1 == "Frozen").await;
        assert!(message(&frozen, "Ready").contains("(stocktaking)"), "{}", message(&frozen, "Ready"));
        assert!(scene.decide_as("ben", &planned, json!({ "expedite": {} })).await.is_err(), "ben may not");
        let hastened = scene.decide(&planned, json!({ "expedite": {} })).await.unwrap();
        let watched = scene.until_step(Step::Watch).await;
        for decision in [&anna, &ben, &hastened] {
            let became = async || (scene.became(decision).await.0 == "Used").then_some(());
            soon("it is used", became).await;
        }
        let mut people = record(&watched).candidate.unwrap().approved_by;
        people.sort();
        assert_eq!(people, ["anna", "ben"]);
        // Frozen or not, a person goes back at once.
        let back = scene.decide(&watched, json!({ "rollback": {} })).await.unwrap();
        assert_eq!(scene.became(&back).await, ("Used".into(), "Used".into()));
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        load.end("policies").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_serves_elsewhere_is_promoted_and_one_release_at_a_time_is_under_way() {
    in_namespace("promoted", async |namespace| {
        let shop = Scene::new(namespace).await;
        let (staging, search) = (shop.another("staging"), shop.another("search"));
        shop.serve_first(json!({})).await;
        staging.serve_first(json!({})).await;
        let admin = &namespace.cluster.admin;
        let promoted = json!({
            "selector": { "names": ["shop"] }, "automatic": "Allowed",
            "promotion": { "from": [{ "release": "staging" }], "soak": "2s", "sameImages": false },
            "jobs": { "annotations": { "example.com/mesh": "off" } },
        });
        let one = json!({ "automatic": "Allowed", "concurrency": 1 });
        for (name, spec) in [("promoted", promoted), ("one", one)] {
            let body = json!({ "metadata": { "name": name }, "spec": spec });
            namespace.make::<ReleasePolicy>(admin, &body).await.unwrap();
        }
        let running = async || -> Vec<String> {
            let policy = namespace.api::<ReleasePolicy>(admin).get("one").await.unwrap();
            policy.status.unwrap_or_default().running.into_iter().map(|running| running.name).collect()
        };
        let load = shop.load().await;
        let automatic = json!({ "mode": "Automatic" });
        let not_there = "/staging, where 1.0.0 serves and 2.0.0 does not";
        let foretold = shop.foretold("2.0.0", automatic.clone()).await;
        assert!(
            foretold.contains("ReleasePolicy promoted promotes from Release") && foretold.contains(not_there),
            "{foretold}"
        );
        shop.ask_for("2.0.0", &[], automatic.clone()).await;
        let waits = shop.until("it waits", |release| condition(release, "Ready").1 == "NotPromoted").await;
        let told = message(&waits, "Ready");
        assert!(told.contains(not_there), "{told}");

        staging.ask_for("2.0.0", &[], automatic.clone()).await;
        staging.until_step(Step::Watch).await;
        assert_eq!(running().await, ["staging"]);
        let foretold = search.foretold("1.0.0", automatic.clone()).await;
        assert!(foretold.contains("Waits for its place: ReleasePolicy one limits"), "{foretold}");
        search.ask_for("1.0.0", &[], automatic).await;
        let waits = search.until("it waits", |release| condition(release, "Ready").1 == "WaitingForSlot").await;
        assert!(message(&waits, "Ready").contains("ReleasePolicy one limits"), "{waits:?}");
        assert_eq!(condition(&shop.read().await, "Ready").1, "NotPromoted");
        // Nobody looks at a clock or asks again: what the one waits for wakes the other.
        let served = shop.until("shop serves 2.0.0", |release| active(release) == Some("2.0.0")).await;
        search.until("search serves", |release| active(release) == Some("1.0.0")).await;
        let soaked = record(&staging.read().await).active.unwrap().since.0;
        let began = record(&served).history.last().unwrap().started_at.0;
        assert!(record(&served).active.unwrap().since.0 > soaked && began < soaked, "{served:?}");
        soon("nothing is under way", async || running().await.is_empty().then_some(())).await;
        load.end("promoted").await;
    })
    .await;
}
