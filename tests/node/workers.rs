//! Workers on a real node: one reader of a queue at a time, by the queue's own lock, whatever becomes of the controller.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use switchback::api::{Outcome, Release, Step};

use crate::{
    database_scene::{bring_up, psql},
    harness::{Scene, active, condition, message, record},
    support::{in_namespace, within},
};

/// How long pods may take to come or go.
const PODS: Duration = Duration::from_secs(60);

/// Environment of a container.
type Env<'a> = &'a [(&'a str, &'a str)];

/// What takes traffic, a worker alone on its queue, and one that overlaps.
fn workloads(version: &str, (web, mailer): (Env<'_>, Env<'_>)) -> Value {
    let env = |more: Env<'_>| -> Vec<Value> {
        let own =
            [("VERSION", version), ("DATABASE_SECRET_DIR", "/db"), ("FINISH_SECONDS", "2"), ("DRAIN_SECONDS", "3")];
        let own = own.iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
        own.chain(more).map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let worker = |name: &str, handover: Value, more: Env<'_>| {
        let mut worker = json!({
            "name": name,
            "template": { "spec": {
                "containers": [{
                    "name": name, "image": "localhost/demo-app:dev", "args": ["work"], "env": env(more),
                    "volumeMounts": [{ "name": "db", "mountPath": "/db", "readOnly": true }],
                }],
                "volumes": [{ "name": "db", "secret": { "secretName": "shop-db" } }],
            } },
        });
        crate::harness::merge(&mut worker, handover);
        worker
    };
    let probe = json!({ "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 1 });
    let mut web_env = env(web);
    web_env.retain(|variable| variable["name"] != "DATABASE_SECRET_DIR");
    json!({ "workloads": [
        {
            "name": "web",
            "replicas": 2,
            "services": [{ "name": "shop", "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
            "template": { "spec": {
                "terminationGracePeriodSeconds": 40,
                "containers": [{
                    "name": "web", "image": "localhost/demo-app:dev", "env": web_env, "readinessProbe": probe,
                }],
            } },
        },
        // One that ends as soon as it has started was ready for a moment: it has no probe.
        worker("mailer", json!({ "minReadySeconds": 3 }), mailer),
        worker(
            "painter",
            json!({ "handover": "Overlap", "replicas": 2 }),
            &[("QUEUE", "pictures"), ("QUEUE_SHARED", "true")],
        ),
    ] })
}

/// A hook that ends well, or does not.
fn hook(name: &str, when: &str, code: &str) -> Value {
    let container = json!({
        "name": "flag", "image": "localhost/demo-app:dev", "args": ["pause-exit", "--after", "0.5", "--code", code],
    });
    json!({ "name": name, "when": when, "job": { "template": { "spec": { "containers": [container] } } } })
}

/// Versions whose pods of a workload run, with how many there are of each.
async fn running(scene: &Scene<'_>, workload: &str) -> Vec<String> {
    let api: Api<Pod> = scene.namespace.api(&scene.namespace.cluster.admin);
    let of_workload = ListParams::default().labels(&format!("switchback.dev/workload={workload}"));
    let version = |pod: &Pod| {
        let container = pod.spec.as_ref()?.containers.first()?;
        container.env.as_ref()?.iter().find(|variable| variable.name == "VERSION")?.value.clone()
    };
    let mut versions: Vec<String> = api.list(&of_workload).await.unwrap().iter().filter_map(version).collect();
    versions.sort_unstable();
    versions
}

async fn until_running(scene: &Scene<'_>, workload: &str, versions: &[&str]) {
    within(PODS, &format!("{workload} runs as {versions:?}"), async || {
        (running(scene, workload).await == versions).then_some(())
    })
    .await;
}

/// How hooks ended, as status says.
fn hooks_of(release: &Release) -> Vec<(String, bool)> {
    record(release).hooks.into_iter().map(|hook| (hook.name, hook.problem.is_none())).collect()
}

async fn violations(scene: &Scene<'_>) -> String {
    psql(scene, "SELECT count(*) FROM demo_violations").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_workloads_are_one_release_and_a_queue_never_has_two_readers() {
    in_namespace("workers", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        scene.serve_first(workloads("1.0.0", (&[], &[]))).await;
        until_running(&scene, "mailer", &["1.0.0"]).await;
        let load = scene.load().await;

        // Forward, with the controller killed in the middle of the handover.
        let hooks =
            json!([hook("flag-on", "Switch", "0"), hook("flag-off", "SwitchBack", "0"), hook("tell", "Done", "3"),]);
        let with_hooks = |mut spec: Value| {
            spec["hooks"] = hooks.clone();
            spec
        };
        scene.ask_for("2.0.0", &[], with_hooks(workloads("2.0.0", (&[], &[])))).await;
        let waiting = scene.until_step(Step::Approve).await;
        let plan = record(&waiting).plan.unwrap();
        let switch = plan.steps.iter().find(|planned| planned.step == Step::Switch).unwrap();
        assert!(switch.does.contains("Stops mailer of 1.0.0"), "{}", switch.does);
        scene.approve().await;
        scene.until_step(Step::Switch).await;
        scene.kill();
        scene.start();
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("2.0.0"), "{}", scene.report().await);
        until_running(&scene, "mailer", &["2.0.0"]).await;
        until_running(&scene, "painter", &["2.0.0", "2.0.0"]).await;
        assert_eq!(violations(&scene).await, "0");
        // One that fails afterwards is told and changes nothing.
        assert_eq!(hooks_of(&over), [("flag-on".to_owned(), true), ("tell".to_owned(), false)]);

        // And back, when what takes traffic is unwell, with the controller killed once more.
        let ill = [("UNREADY_WHEN_SERVING", "2")];
        scene.ask_for("3.0.0", &[], with_hooks(workloads("3.0.0", (&ill, &[])))).await;
        scene.approve().await;
        scene.until_step(Step::SwitchBack).await;
        scene.kill();
        scene.start();
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("2.0.0"), Some(Outcome::RolledBack)));
        until_running(&scene, "mailer", &["2.0.0"]).await;
        until_running(&scene, "painter", &["2.0.0", "2.0.0"]).await;
        assert_eq!(hooks_of(&over), [("flag-on".to_owned(), true), ("flag-off".to_owned(), true)]);
        load.end("workers").await;
        assert_eq!(violations(&scene).await, "0");
        let worked = "SELECT string_agg(DISTINCT version, ',' ORDER BY version) FROM demo_work WHERE queue = 'mail'";
        assert_eq!(psql(&scene, worked).await, "1.0.0,2.0.0,3.0.0");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_cannot_start_gives_its_queue_back_before_traffic_moves() {
    in_namespace("worker-fails", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        scene.serve_first(workloads("1.0.0", (&[], &[]))).await;
        let load = scene.load().await;
        let mut second = workloads("2.0.0", (&[], &[("DATABASE_SECRET_DIR", "/nowhere")]));
        second["deadlines"] = json!({ "handover": "15s" });
        scene.ask_for("2.0.0", &[], second).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Failed)));
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "HandoverTimedOut".into()));
        assert!(message(&over, "Stalled").contains("of mailer are available"), "{}", message(&over, "Stalled"));
        until_running(&scene, "mailer", &["1.0.0"]).await;
        until_running(&scene, "painter", &["1.0.0", "1.0.0"]).await;
        let counted = load.end("worker-fails").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0"]);
        assert_eq!(violations(&scene).await, "0");
    })
    .await;
}
