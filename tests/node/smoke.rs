//! Smoke checks that go wrong in the user's own pod: nothing of what serves is touched, and nothing of what they print is
//! told.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Secret};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use switchback::{
    api::{Outcome, Release},
    clock::Stopwatch,
};

use crate::{
    harness::{Scene, active, condition, message, names_of, record},
    support::in_namespace,
};

/// What a careless check prints; it stands in a Secret and nowhere else.
const SECRET: &str = "correct-horse-battery-staple";
/// How long verifying may take, where a check never ends.
const VERIFY: Duration = Duration::from_secs(8);

/// A `job` check in the demo's image, which has no shell; it knows the secret.
fn smoke(args: &[&str]) -> Value {
    let secret = json!({ "name": "smoke", "key": "token" });
    let template = json!({ "spec": { "containers": [{
        "name": "smoke", "image": "localhost/demo-app:dev", "args": args,
        "env": [{ "name": "TOKEN", "valueFrom": { "secretKeyRef": secret } }],
    }]}});
    json!({
        "checks": [{ "name": "smoke", "phase": "Verify", "job": { "template": template } }],
        "deadlines": { "verify": format!("{}s", VERIFY.as_secs()) },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_54_a_smoke_check_that_fails_prints_much_or_secrets_or_never_ends_is_told_without_a_word_of_it() {
    in_namespace("smoke", async |namespace| {
        let scene = Scene::new(namespace).await;
        let secret = json!({ "metadata": { "name": "smoke" }, "stringData": { "token": SECRET } });
        namespace.make::<Secret>(&namespace.cluster.admin, &secret).await.unwrap();
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        // Fifty megabytes: more than a node keeps of a log.
        let cases: [(&str, &[&str]); 4] = [
            ("fails", &["pause-exit", "--code", "1"]),
            ("prints secrets", &["pause-exit", "--code", "1", "--say", "password=$(TOKEN)"]),
            ("prints much", &["pause-exit", "--code", "1", "--say", "password=$(TOKEN)", "--times", "1200000"]),
            ("never ends", &["pause-exit", "--after", "86400", "--say", "password=$(TOKEN)"]),
        ];
        for (number, (what, args)) in cases.into_iter().enumerate() {
            scene.ask_for(&format!("2.{number}.0"), &[], smoke(args)).await;
            scene.approve().await;
            let watch = Stopwatch::start();
            let over = scene.until_over().await;
            refused(&scene, what, &over).await;
            assert!(watch.elapsed() < VERIFY + Duration::from_secs(60), "{what}: it took {:?}", watch.elapsed());
        }
        let counted = load.end("smoke-goes-wrong").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0"]);
    })
    .await;
}

/// Fails unless the check has failed its release, nothing is left of that, and nothing that it printed is told.
async fn refused(scene: &Scene<'_>, what: &str, over: &Release) {
    assert_eq!((active(over), record(over).outcome), (Some("1.0.0"), Some(Outcome::Failed)), "{what}");
    assert_eq!(condition(over, "Stalled"), ("True".into(), "ChecksFailed".into()), "{what}");
    let told = message(over, "Ready");
    assert!(told.contains("smoke") && told.len() <= 1024, "{what}: {told}");
    let events: Api<Event> = scene.namespace.api(&scene.namespace.cluster.admin);
    let events = serde_json::to_string(&events.list(&ListParams::default()).await.unwrap().items).unwrap();
    assert!(events.contains("ChecksFailed") && !events.contains(SECRET), "{what}: {events}");
    let status = serde_json::to_string(over).unwrap();
    assert!(!status.contains(SECRET), "{what}: {status}");
    let log = std::fs::read_to_string(scene.folder().join("controller.log")).unwrap();
    assert!(!log.contains(SECRET), "{what}: the controller's log tells it");
    assert_eq!(names_of(scene, "batch/v1", "Job").await, Vec::<String>::new(), "{what}");
    assert_eq!(names_of(scene, "apps/v1", "Deployment").await.len(), 1, "{what}");
}
