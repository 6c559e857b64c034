//! Checks as the agent makes them in the cluster: by the names of its DNS, before anybody is asked and behind the preview
//! Service.

use serde_json::json;
use switchback::api::{Outcome, Step};

use crate::{
    harness::{Scene, active, condition, message, names_of, record},
    support::in_namespace,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_of_names_and_hosts_pass_before_anybody_is_asked_and_while_it_is_watched() {
    in_namespace("checks", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let host = format!("shop.{}.svc", namespace.name);
        let load = scene.load().await;
        let checks = json!({ "checks": [
            { "name": "domain", "phase": "Preflight", "dns": { "host": host } },
            { "name": "front", "phase": "Preflight", "http": { "host": host, "scheme": "http", "path": "/smoke" } },
            { "name": "as-users", "phase": "Verify", "http": {
                "service": "shop", "host": "shop.example.com", "path": "/smoke", "requests": 5,
                "maxLatency": "5s", "percentile": 80, "send": [{ "name": "X-Forwarded-Proto", "value": "https" }],
                "headers": [{ "name": "X-Version", "value": "2.0.0" }], "body": { "matches": "^[{]" },
            } },
            { "name": "still-there", "phase": "Watch", "dns": { "host": host, "every": "1s" } },
            { "name": "rate", "phase": "Watch", "http": {
                "service": "shop", "path": "/smoke", "every": "100ms", "rate": { "over": "1s", "maxFailurePercent": "1", "minSamples": 2 },
            } },
        ]});
        scene.ask_for("2.0.0", &[], checks).await;
        let waiting = scene.until_step(Step::Approve).await;
        let steps = record(&waiting).plan.unwrap().steps;
        let preflight = &steps.iter().find(|planned| planned.step == Step::Preflight).unwrap().does;
        assert!(preflight.contains(&format!("domain ({host} resolves)")), "{preflight}");
        scene.approve().await;
        let done = scene.until_over().await;
        assert_eq!((active(&done), record(&done).outcome), (Some("2.0.0"), Some(Outcome::Succeeded)), "{}", message(&done, "Ready"));
        load.end("checks").await;
        assert_eq!(names_of(&scene, "batch/v1", "Job").await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_does_not_resolve_stops_it_before_anybody_is_asked() {
    in_namespace("no-name", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let before = names_of(&scene, "apps/v1", "Deployment").await;
        let host = format!("nowhere.{}.svc.cluster.local", namespace.name);
        let checks = json!({ "checks": [{ "name": "domain", "phase": "Preflight", "dns": { "host": host } }] });
        scene.ask_for("2.0.0", &[], checks).await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Failed)));
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "ChecksFailed".into()));
        let said = message(&over, "Ready");
        assert!(said.contains(&format!("domain: {host}: ")) && said.contains("Name or service not known"), "{said}");
        assert_eq!(names_of(&scene, "apps/v1", "Deployment").await, before);
    })
    .await;
}
