//! What takes traffic and must not run in two versions at once, on a real node: each of its pods holds a lock that
//! nobody else may hold, and writes down whoever does.

use serde_json::{Value, json};
use switchback::api::{Outcome, Step};

use crate::{
    database_scene::{bring_up, psql},
    harness::{Scene, active, condition, nodes_learn, record},
    support::in_namespace,
};

/// One pod that answers requests and is alone on its data.
fn alone(version: &str, answers: &str) -> Value {
    let env = |more: &[(&str, &str)]| -> Vec<Value> {
        let all = [("VERSION", version), ("FINISH_SECONDS", "2"), ("DRAIN_SECONDS", "3")];
        all.iter().chain(more).map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let probe = json!({ "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 1 });
    json!({
        "workloads": [{
            "name": "web",
            "handover": "StopThenStart",
            "services": [{ "name": "shop", "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
            "template": { "spec": {
                "containers": [
                    { "name": "web", "image": "localhost/demo-app:dev", "env": env(&[]), "readinessProbe": probe },
                    {
                        "name": "data", "image": "localhost/demo-app:dev", "args": ["work"],
                        "env": env(&[("DATABASE_SECRET_DIR", "/db")]),
                        "volumeMounts": [{ "name": "db", "mountPath": "/db", "readOnly": true }],
                    },
                ],
                "volumes": [{ "name": "db", "secret": { "secretName": "shop-db" } }],
            } },
        }],
        "checks": [{ "name": "home", "phase": "Verify", "http": { "service": "shop", "path": answers, "timeout": "2s" } }],
        "deadlines": { "verify": "20s" },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_of_what_must_run_alone_never_meet_in_either_direction() {
    in_namespace("away", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        scene.serve_first(alone("1.0.0", "/")).await;
        let worked = async || {
            let violations = psql(&scene, "SELECT count(*) FROM demo_violations").await;
            assert_eq!(violations, "0", "two versions ran at once");
            psql(&scene, "SELECT string_agg(DISTINCT version, ',' ORDER BY version) FROM demo_work").await
        };

        scene.ask_for("2.0.0", &[], alone("2.0.0", "/")).await;
        let plan = record(&scene.until_step(Step::Approve).await).plan.unwrap();
        let switch = plan.steps.iter().find(|planned| planned.step == Step::Switch).unwrap();
        assert!(switch.does.contains("Services shop answer nobody"), "{}", switch.does);
        scene.approve().await;
        scene.until_step(Step::Switch).await;
        scene.kill();
        scene.start();
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("2.0.0"), "{}", scene.report().await);
        assert_eq!(worked().await, "1.0.0,2.0.0");

        // The check fails once 2.0.0 has stopped: it starts again, and gets its users back.
        scene.ask_for("3.0.0", &[], alone("3.0.0", "/nowhere")).await;
        scene.approve().await;
        scene.until_step(Step::SwitchBack).await;
        scene.kill();
        scene.start();
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("2.0.0"), Some(Outcome::Failed)));
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "ChecksFailed".into()));
        assert_eq!(condition(&over, "Serving").0, "True");
        assert_eq!(worked().await, "1.0.0,2.0.0,3.0.0");
        nodes_learn().await;
        let load = scene.load().await;
        tokio::time::sleep(std::time::Duration::from_secs(15)).await;
        let counted = load.end("away").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["2.0.0"]);
    })
    .await;
}
