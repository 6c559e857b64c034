//! What belongs to a revision besides its pods comes and goes with it.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, ResourceQuota, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, EvictParams, ListParams, PropagationPolicy},
};
use serde_json::{Value, json};
use switchback::api::{Outcome, Step, labels};

use crate::{
    harness::{Scene, active, condition, message, names_of, record},
    support::{SOON, in_namespace, within},
};

/// The demo application, which reads from config what version it is, and more.
fn configured(version: &str, more: &Value) -> Value {
    let mut settings = json!({ "VERSION": version, "DRAIN_SECONDS": "3" });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let from_config =
        |key: &str| json!({ "name": key, "valueFrom": { "configMapKeyRef": { "name": "app", "key": key } } });
    json!({
        "config": [{ "name": "app", "data": settings }],
        "workloads": [{
            "name": "web",
            "replicas": 2,
            "services": [{ "name": "shop", "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
            "template": { "spec": {
                "terminationGracePeriodSeconds": 40,
                "volumes": [{ "name": "app", "projected": { "sources": [{ "configMap": { "name": "app" } }] } }],
                "containers": [{
                    "name": "web",
                    "image": "localhost/demo-app:dev",
                    "envFrom": [{ "configMapRef": { "name": "app" } }],
                    "env": [from_config("VERSION")],
                    "volumeMounts": [{ "name": "app", "mountPath": "/etc/app" }],
                    "readinessProbe": {
                        "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 1,
                    },
                }],
            }},
        }],
    })
}

/// Returns the ConfigMaps of the Release by name, each with the version that stands in it.
async fn config_maps(scene: &Scene<'_>) -> Vec<(String, String)> {
    let ours = ListParams::default().labels(labels::RELEASE_UID);
    let all = scene.namespace.api::<ConfigMap>(&scene.namespace.cluster.admin).list(&ours).await.unwrap();
    let of = |config: ConfigMap| {
        assert_eq!(config.immutable, Some(true));
        (config.metadata.name.unwrap(), config.data.unwrap()["VERSION"].clone())
    };
    all.items.into_iter().map(of).collect()
}

/// B11: code and template of both versions are the same; only config tells them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_goes_and_comes_back_with_its_version() {
    in_namespace("config", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(configured("1.0.0", &json!({}))).await;
        assert_eq!(config_maps(&scene).await.len(), 1);
        let load = scene.load().await;
        // The second version says so by its config, and loses its readiness by its config.
        scene.ask_for("2.0.0", &[], configured("2.0.0", &json!({ "UNREADY_WHEN_SERVING": "3" }))).await;
        let waiting = scene.until_step(Step::Approve).await;
        let plan = record(&waiting).plan.unwrap();
        let says =
            "It brings config of its own, which also comes back with it: app (DRAIN_SECONDS, UNREADY_WHEN_SERVING";
        assert!(plan.steps.iter().any(|planned| planned.does.contains(says)), "{:?}", plan.steps);
        scene.approve().await;
        scene.until_step(Step::Watch).await;
        assert_eq!(config_maps(&scene).await.len(), 2);
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        let counted = load.end("config").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0", "2.0.0"]);
        let left: Vec<String> = config_maps(&scene).await.into_iter().map(|(_, version)| version).collect();
        assert_eq!(left, ["1.0.0"]);
        // A pod that starts now still reads what its version was released with, also when somebody deleted it.
        let (name, _) = config_maps(&scene).await.remove(0);
        let admin = &namespace.cluster.admin;
        namespace.api::<ConfigMap>(admin).delete(&name, &DeleteParams::default()).await.unwrap();
        let pods = namespace.api::<Pod>(admin);
        let one = pods.list(&ListParams::default().labels(labels::WORKLOAD)).await.unwrap().items.remove(0);
        pods.delete(&one.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
        within(SOON, "the ConfigMap is back", async || {
            (config_maps(&scene).await == [(name.clone(), "1.0.0".to_owned())]).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pod_at_a_time_is_evicted_and_what_stands_in_the_way_of_a_release_is_told_before_it() {
    in_namespace("budget", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let admin = &namespace.cluster.admin;
        let budgets = namespace.api::<PodDisruptionBudget>(admin);
        within(SOON, "one disruption is allowed", async || {
            let all = budgets.list(&ListParams::default()).await.unwrap().items;
            assert_eq!(all.len(), 1);
            (all[0].status.as_ref()?.disruptions_allowed == 1).then_some(())
        })
        .await;
        let pods = namespace.api::<Pod>(admin);
        let names: Vec<String> = pods
            .list(&ListParams::default().labels(labels::WORKLOAD))
            .await
            .unwrap()
            .iter()
            .map(Pod::name_any)
            .collect();
        pods.evict(&names[0], &EvictParams::default()).await.unwrap();
        let second = pods.evict(&names[1], &EvictParams::default()).await;
        assert!(matches!(&second, Err(kube::Error::Api(status)) if status.code == 429), "{second:?}");

        // A Service that would send traffic to pods nobody has verified; also one that says that it belongs to a Release.
        for (version, labels) in [("2.0.0", json!({})), ("2.0.0-next", json!({ labels::RELEASE_UID: "somebody" }))] {
            let selector = json!({ "app.kubernetes.io/component": "web" });
            let metadata = json!({ "name": "theirs", "labels": labels });
            let service = json!({ "metadata": metadata, "spec": { "ports": [{ "port": 80 }], "selector": selector } });
            namespace.make::<Service>(admin, &service).await.unwrap();
            scene.ask_for(version, &[], json!({})).await;
            let over = scene.until_over().await;
            assert_eq!(condition(&over, "Stalled"), ("True".into(), "SelectedElsewhere".into()));
            assert!(message(&over, "Ready").contains("Service theirs selects"), "{}", message(&over, "Ready"));
            namespace.api::<Service>(admin).delete("theirs", &DeleteParams::default()).await.unwrap();
        }

        // Row 20: no room for both.
        let quota = json!({ "metadata": { "name": "team" }, "spec": { "hard": { "pods": "3" } } });
        namespace.make::<ResourceQuota>(admin, &quota).await.unwrap();
        let quotas = namespace.api::<ResourceQuota>(admin);
        within(SOON, "the quota is counted", async || {
            let used = quotas.get("team").await.unwrap().status?.used?;
            (used.get("pods")?.0 == "2").then_some(())
        })
        .await;
        scene.ask_for("2.0.1", &[], json!({})).await;
        let over = scene.until_over().await;
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "QuotaExceeded".into()));
        let says =
            "ResourceQuota team allows 3 of pods, of which 2 are used; 2.0.1 takes 2 more beside what serves (web x 2)";
        assert!(message(&over, "Ready").contains(says), "{}", message(&over, "Ready"));
        assert_eq!((active(&over), names_of(&scene, "apps/v1", "Deployment").await.len()), (Some("1.0.0"), 1));
    })
    .await;
}

/// Deletes a Release that says `Orphan`, under load, and looks at what is left.
async fn orphan(purpose: &str, propagation: PropagationPolicy) {
    in_namespace(purpose, async |namespace| {
        let scene = Scene::new(namespace).await;
        let mut more = configured("1.0.0", &json!({}));
        more["deletionPolicy"] = "Orphan".into();
        scene.serve_first(more.clone()).await;
        let load = scene.load().await;
        // While the next version is watched: it serves, and the former one stands beside it.
        more["config"][0]["data"]["VERSION"] = "2.0.0".into();
        more["watch"] = json!({ "for": "90s" });
        scene.ask_for("2.0.0", &[], more).await;
        scene.approve().await;
        scene.until_step(Step::Watch).await;
        let params = DeleteParams { propagation_policy: Some(propagation), ..DeleteParams::default() };
        scene.releases().delete("shop", &params).await.unwrap();
        within(SOON * 2, "the Release is gone", async || {
            scene.releases().get_opt("shop").await.unwrap().is_none().then_some(())
        })
        .await;
        scene.kill();
        let admin = &namespace.cluster.admin;
        within(SOON * 2, "all but what serves is gone", async || {
            let deployments = names_of(&scene, "apps/v1", "Deployment").await.len();
            let services = names_of(&scene, "v1", "Service").await.len();
            (deployments + services + config_maps(&scene).await.len() == 3).then_some(())
        })
        .await;
        // The garbage collector has had its time, and a pod that starts now still finds its config.
        let pods = namespace.api::<Pod>(admin);
        let one = pods.list(&ListParams::default().labels(labels::WORKLOAD)).await.unwrap().items.remove(0);
        pods.delete(&one.name_any(), &DeleteParams::default()).await.unwrap();
        let deployments = namespace.api::<Deployment>(admin);
        within(SOON * 2, "both pods are there", async || {
            let status = deployments.list(&ListParams::default()).await.unwrap().items.remove(0).status?;
            (status.available_replicas == Some(2) && status.unavailable_replicas.is_none()).then_some(())
        })
        .await;
        let counted = load.end(&format!("orphan-{purpose}")).await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0", "2.0.0"]);
        let deployment = deployments.list(&ListParams::default()).await.unwrap().items.remove(0);
        let service = namespace.api::<Service>(admin).get("shop").await.unwrap();
        let config = namespace.api::<ConfigMap>(admin).get(&config_maps(&scene).await[0].0).await.unwrap();
        let budget =
            namespace.api::<PodDisruptionBudget>(admin).list(&ListParams::default()).await.unwrap().items.remove(0);
        let owners = [
            deployment.owner_references(),
            service.owner_references(),
            config.owner_references(),
            budget.owner_references(),
        ];
        assert!(owners.iter().all(|owners| owners.is_empty()), "{owners:?}");
        assert_eq!(names_of(&scene, "apps/v1", "ControllerRevision").await, Vec::<String>::new());
        assert_eq!(config_maps(&scene).await[0].1, "2.0.0");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_what_serves_outlives_an_orphaned_release() {
    orphan("orphan", PropagationPolicy::Background).await;
}

/// Argo CD's default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_what_serves_outlives_an_orphaned_release_that_is_deleted_in_the_foreground() {
    orphan("orphan-fg", PropagationPolicy::Foreground).await;
}
