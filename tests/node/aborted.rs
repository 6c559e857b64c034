//! A release is stopped at each of its steps by a person, and in a freeze by its own watch: traffic is where it was, and
//! nothing is left of what was stopped.

use kube::ResourceExt as _;
use serde_json::{Value, json};
use switchback::api::{Outcome, ReleasePolicy, Step};

use crate::{
    database_scene::{ORDERS, backups, bring_up, held, make_sql, psql, report, until_it_migrates},
    harness::{Scene, active, condition, merge, message, names_of_release, proof, record},
    interrupted::{comes_to, serves, spec_for, steps},
    support::{SOON, in_namespace, soon, within},
};

/// What a Decision to stop met, and what came of both.
struct Stopped {
    wanted: Step,
    /// The last one that the attempt came to, as its history says.
    met: Option<Step>,
    became: (String, String),
    outcome: Option<Outcome>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_at_every_step_leaves_what_serves_and_loses_no_request() {
    in_namespace("aborted", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        let slow = format!("SELECT pg_sleep(3); {ORDERS}");
        make_sql(&scene, "shop-1", &[("001-orders.sql", slow.as_str())]).await;
        scene.serve_first(json!({ "watch": { "for": "1s" } })).await;
        let load = scene.load().await;
        let mut all = vec![];
        for (number, step) in steps().filter(|step| *step != Step::Retire).enumerate() {
            all.push(abort_at(&scene, step, &format!("2.{number}.0")).await);
        }
        let told: Vec<Value> = all
            .iter()
            .map(|stopped| json!({ "wanted": stopped.wanted, "met": stopped.met, "became": stopped.became, "outcome": stopped.outcome }))
            .collect();
        let counted = load.end("aborted-at-every-step").await;
        proof("aborted-at", &json!(told).to_string());
        for stopped in &all {
            let Stopped { wanted, met, became, outcome } = stopped;
            // Some steps are over before a Decision is made that has seen them, and a migration is let end.
            let late = [Step::Inspect, Step::Preflight, Step::Migrate, Step::Switch].contains(wanted);
            let next = steps().find(|step| late && step > wanted);
            assert!(*met == Some(*wanted) || (met.is_some() && *met == next), "{wanted:?} was not met: {told:?}");
            let used = (became.0.as_str(), became.1.as_str()) == ("Used", "Used");
            assert!(used && *outcome == Some(Outcome::Aborted), "{told:?}");
        }
        // Users have seen the first version, and of the others at most those whose switch had begun.
        let aborted_late = |version: &&String| {
            let of = steps().filter(|step| *step != Step::Retire).enumerate();
            let late = of.filter(|(_, step)| *step >= Step::Switch).map(|(number, _)| format!("2.{number}.0"));
            **version == "1.0.0" || late.collect::<Vec<_>>().contains(version)
        };
        assert!(counted.by_version.keys().all(|version| aborted_late(&version)), "{:?}", counted.by_version.keys());
        nothing_is_left(&scene).await;
        // A migration that ran was let end, once; whatever was stopped before it left no trace in the data.
        let rows = psql(&scene, "SELECT count(*), min(state), max(state) FROM switchback.ledger").await;
        assert_eq!(rows, "1|Applied|Applied");
        assert_eq!(psql(&scene, "SELECT count(*) FROM orders").await, "500", "it ran twice, or not at all");
    })
    .await;
}

/// Asks for a version, stops it at a step and waits until that is over.
async fn abort_at(scene: &Scene<'_>, step: Step, version: &str) -> Stopped {
    let mut more = spec_for(step);
    if step >= Step::Verify {
        // Long enough to be met.
        let smoke = json!({ "spec": { "containers": [{
            "name": "smoke", "image": "localhost/demo-app:dev", "args": ["pause-exit", "--after", "2"],
        }]}});
        merge(&mut more, json!({ "checks": [{ "name": "smoke", "phase": "Verify", "job": { "template": smoke } }] }));
        merge(&mut more, json!({ "switch": { "settle": "4s" }, "watch": { "for": "90s", "tolerate": "2s" } }));
    }
    scene.ask_for(version, &[], more).await;
    comes_to(scene, step, serves).await;
    if step == Step::Migrate {
        until_it_migrates(scene).await;
    }
    let met = scene.read().await;
    let decision = scene.decide(&met, json!({ "abort": {} })).await.unwrap();
    let over = scene.until_over().await;
    // Where a Job has to be let end first it was `Accepted` until then.
    let became = within(SOON, "the Decision is settled for good", async || {
        let became = scene.became(&decision).await;
        (became.0 != "Accepted").then_some(became)
    })
    .await;
    assert_eq!(active(&over), Some("1.0.0"), "aborted at {}: {}", step.as_str(), report(scene).await);
    let ended = record(&over).history;
    let entry = ended.iter().rev().find(|entry| entry.version == version);
    let came_to = |step: &Step| entry.is_some_and(|entry| entry.steps.iter().any(|time| time.step == *step));
    let (met, outcome) = (steps().filter(came_to).last(), entry.map(|entry| entry.outcome));
    // What was stopped is not tried again by itself.
    assert_eq!(condition(&over, "Stalled").0, "True", "aborted at {}", step.as_str());
    Stopped { wanted: step, met, became, outcome }
}

/// Fails when anything is left of an attempt that was stopped.
async fn nothing_is_left(scene: &Scene<'_>) {
    let uid = scene.read().await.uid().unwrap();
    let of = async |api_version, kind| names_of_release(scene, (api_version, kind), &uid).await;
    within(SOON, "nothing but what serves is there", async || {
        let (deployments, jobs) = (of("apps/v1", "Deployment").await, of("batch/v1", "Job").await);
        let (pods, services) = (of("v1", "Pod").await, of("v1", "Service").await);
        ((deployments.len(), jobs.len(), pods.len(), services.len()) == (1, 0, 2, 1)).then_some(())
    })
    .await;
    assert_eq!(held(scene).await, Vec::<String>::new());
    let unfinished = backups(scene).await.into_iter().filter(|backup| {
        let phase = backup.status.as_ref().map(|status| status.phase.as_str());
        phase != Some("Completed")
    });
    assert_eq!(unfinished.map(|backup| backup.name_any()).collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_01_a_freeze_that_comes_during_a_failing_watch_keeps_nothing_from_going_back() {
    in_namespace("freeze", async |namespace| {
        let scene = Scene::new(namespace).await;
        let other = scene.another("other");
        scene.serve_first(json!({})).await;
        other.serve_first(json!({})).await;
        let load = scene.load().await;
        let checks = json!({ "watch": { "for": "30m", "tolerate": "0s" }, "checks": [
            { "name": "alive", "phase": "Watch", "http": { "service": "shop", "path": "/smoke", "every": "200ms" } },
        ]});
        // One fails its check, the other loses its readiness; both well after the freeze has begun.
        scene.ask_for("2.0.0", &[("FAIL_SMOKE_WHEN_SERVING", "12")], checks.clone()).await;
        scene.approve().await;
        other
            .ask_for("2.0.0", &[("UNREADY_AFTER", "25")], json!({ "watch": { "for": "30m", "tolerate": "0s" } }))
            .await;
        other.approve().await;
        let watched = [scene.until_step(Step::Watch).await, other.until_step(Step::Watch).await];
        let always = json!({ "freeze": [{ "schedule": "0 0 * * *", "for": "24h", "reason": "stocktaking" }] });
        let body = json!({ "metadata": { "name": "always" }, "spec": always });
        namespace.make::<ReleasePolicy>(&namespace.cluster.admin, &body).await.unwrap();
        assert!(watched.iter().all(|release| active(release) == Some("1.0.0")));
        // The freeze was there first.
        for app in [&scene, &other] {
            assert_eq!(record(&app.read().await).step, Step::Watch, "{}: it went back too early to tell", app.name);
        }

        for app in [&scene, &other] {
            let over = app.until_over().await;
            assert_eq!(
                (active(&over), record(&over).outcome),
                (Some("1.0.0"), Some(Outcome::RolledBack)),
                "{}",
                app.name
            );
            assert!(message(&over, "Ready").starts_with("Rolled back to 1.0.0 at "), "{}", message(&over, "Ready"));
        }
        // The freeze does hold: what is approved now does not begin.
        scene.ask_for("3.0.0", &[], json!({})).await;
        let approved = scene.approve().await;
        let frozen = scene.until("it is frozen", |release| condition(release, "Ready").1 == "Frozen").await;
        assert!(message(&frozen, "Ready").contains("(stocktaking)"), "{}", message(&frozen, "Ready"));
        assert_eq!(scene.became(&approved).await, ("Accepted".into(), "Waiting".into()));
        let stopped = scene.decide(&frozen, json!({ "abort": {} })).await.unwrap();
        soon("it is stopped", async || (scene.became(&stopped).await.0 == "Used").then_some(())).await;
        load.end("freeze-in-a-failing-watch").await;
    })
    .await;
}
