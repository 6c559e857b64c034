//! Checks as the agent makes them in the cluster: by the names of its DNS, before anybody is asked.

use serde_json::json;
use switchback::api::Outcome;

use crate::{
    harness::{Scene, active, condition, message, names_of, record},
    support::in_namespace,
};

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
