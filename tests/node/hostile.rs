//! A namespace in which much is against a release: what its policies refuse, images that are not there, names that are taken,
//! pods that pretend to be its own, a version that serves and is broken. What serves goes on serving.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace as CoreNamespace, Pod, Service},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use switchback::api::{Outcome, Release, Step, labels};

use crate::{
    harness::{Scene, active, condition, message, names_of, record},
    support::{SOON, in_namespace, within},
};

/// The label by which a namespace refuses pods.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// A workload whose image is nowhere to be had.
fn no_image() -> Value {
    json!({ "deadlines": { "deploy": "12s" }, "workloads": [{
        "name": "web",
        "services": [{ "name": "shop", "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
        "template": { "spec": { "containers": [{
            "name": "web", "image": "localhost/nowhere:1",
            "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 } },
        }] } },
    }] })
}

/// Fails unless an attempt has ended badly for this reason, with these words, and nothing of it is left.
async fn refused(scene: &Scene<'_>, reason: &str, words: &str) -> Release {
    let over = scene.until_over().await;
    assert_eq!((active(&over), condition(&over, "Stalled")), (Some("1.0.0"), ("True".into(), reason.into())));
    assert!(message(&over, "Ready").contains(words), "{words:?}: {}", message(&over, "Ready"));
    assert_eq!(names_of(scene, "v1", "Service").await, ["shop"], "{reason}");
    over
}

async fn enforce(scene: &Scene<'_>, level: Value) {
    let namespaces: Api<CoreNamespace> = Api::all(scene.namespace.cluster.admin.clone());
    let patch = Patch::Merge(json!({ "metadata": { "labels": { ENFORCE: level } } }));
    namespaces.patch(&scene.namespace.name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_06_21_60_and_threat_t04_t10_t11_t22_each_is_refused_and_what_serves_is_untouched() {
    in_namespace("hostile", async |namespace| {
        let scene = Scene::new(namespace).await;
        let admin = &namespace.cluster.admin;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;

        // Pod Security, before anybody is asked.
        enforce(&scene, json!("restricted")).await;
        scene.ask_for("2.1.0", &[], json!({})).await;
        refused(&scene, "PodSecurityViolation", "allowPrivilegeEscalation != false").await;
        enforce(&scene, Value::Null).await;

        // An image that nobody has.
        scene.ask_for("2.2.0", &[], no_image()).await;
        scene.approve().await;
        refused(&scene, "ImagePullFailed", "localhost/nowhere:1").await;

        // A name that somebody has taken: also when it is taken while the plan waits.
        scene.ask_for("2.3.0", &[], json!({})).await;
        let waiting = scene.until_step(Step::Approve).await;
        let name = format!("shop-web-{}", record(&waiting).candidate.unwrap().revision.digits());
        let squatter = json!({ "metadata": { "name": name }, "spec": {
            "replicas": 0, "selector": { "matchLabels": { "app": "squatter" } },
            "template": { "metadata": { "labels": { "app": "squatter" } }, "spec": { "containers": [{ "name": "web", "image": "localhost/demo-app:dev" }] } },
        } });
        namespace.make::<Deployment>(admin, &squatter).await.unwrap();
        scene.approve().await;
        refused(&scene, "NameTaken", &name).await;
        let deployments = namespace.api::<Deployment>(admin);
        let theirs = deployments.get(&name).await.unwrap();
        assert_eq!((theirs.metadata.labels, theirs.metadata.owner_references), (None, None), "it was touched");
        deployments.delete(&name, &DeleteParams::default()).await.unwrap();

        rival(&scene).await;
        pretenders(&scene).await;
        let counted = load.end("hostile-namespace").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0"]);
    })
    .await;
}

/// Another Release asks for the Service of this one.
async fn rival(scene: &Scene<'_>) {
    let rival = scene.another("rival");
    let services: Api<Service> = scene.namespace.api(&scene.namespace.cluster.admin);
    let before = services.get("shop").await.unwrap();
    // Its container is of no interest: nothing of it comes up.
    let mut asked = no_image();
    asked["workloads"][0]["services"][0]["name"] = json!("shop");
    rival.ask_for("1.0.0", &[], asked).await;
    let refused = rival.until("it is refused", |release| condition(release, "Stalled").0 == "True").await;
    assert_eq!(condition(&refused, "Stalled").1, "ServiceClaimed");
    let told = message(&refused, "Ready");
    assert!(told.contains("Service shop") && told.contains("Release shop"), "{told}");
    let after = services.get("shop").await.unwrap();
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version, "it was touched");
    rival.releases().delete("rival", &DeleteParams::background()).await.unwrap();
    within(SOON, "the rival is gone", async || {
        rival.releases().get_opt("rival").await.unwrap().is_none().then_some(())
    })
    .await;
    let left = services.get("shop").await.unwrap();
    assert_eq!(left.metadata.owner_references, before.metadata.owner_references, "it went with its rival");
}

/// Pods of somebody else carry the labels of a candidate that never gets ready, and are ready.
async fn pretenders(scene: &Scene<'_>) {
    let namespace = scene.namespace;
    scene.ask_for("2.4.0", &[("CRASH_AT_START", "1")], json!({ "deadlines": { "deploy": "20s" } })).await;
    scene.approve().await;
    let deploying = scene.until_step(Step::Deploy).await;
    let digits = record(&deploying).candidate.unwrap().revision.digits().to_owned();
    let pretends = json!({
        labels::RELEASE_UID: deploying.metadata.uid, labels::WORKLOAD: "web", labels::REVISION: digits, labels::ROLE: "workload",
    });
    for name in ["pretender-0", "pretender-1"] {
        let pod = json!({ "metadata": { "name": name, "labels": pretends }, "spec": { "containers": [{
            "name": "web", "image": "localhost/demo-app:dev",
            "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1 },
        }] } });
        namespace.make::<Pod>(&namespace.cluster.admin, &pod).await.unwrap();
    }
    let over = scene.until_over().await;
    assert_eq!(condition(&over, "Stalled"), ("True".into(), "GreenNotReady".into()), "{}", scene.report().await);
    assert!(message(&over, "Ready").contains("exit code 1"), "{}", message(&over, "Ready"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_08_a_broken_version_is_replaced_and_rule_02_of_two_that_are_broken_neither_is_preferred() {
    in_namespace("broken", async |namespace| {
        let scene = Scene::new(namespace).await;
        let both = scene.another("both");
        let long = json!({ "watch": { "for": "30m", "tolerate": "0s" } });
        // Both are well long enough to be released.
        for (app, seconds) in [(&scene, "40"), (&both, "60")] {
            app.ask_for("1.0.0", &[("UNREADY_AFTER", seconds)], json!({ "watch": { "for": "1s" } })).await;
            app.approve().await;
        }
        both.until("1.0.0 serves", |release| active(release) == Some("1.0.0")).await;
        both.ask_for("2.0.0", &[("UNREADY_AFTER", "60")], long.clone()).await;
        both.approve().await;
        both.until_step(Step::Watch).await;

        scene.until("what serves is broken", |release| condition(release, "Ready").1 == "ActiveUnhealthy").await;
        scene.ask_for("2.0.0", &[], json!({ "watch": { "for": "1s" } })).await;
        let told = |release: &Release| {
            let risks = record(release).plan.map(|plan| plan.risks.join("\n")).unwrap_or_default();
            record(release).step == Step::Approve && risks.contains("1.0.0, which serves, is broken (0 of 2 pods")
        };
        scene.until("the plan says that it is", told).await;
        scene.approve().await;
        let fixed = scene.until_over().await;
        assert_eq!((active(&fixed), record(&fixed).outcome), (Some("2.0.0"), Some(Outcome::Succeeded)));
        assert_eq!(condition(&fixed, "Ready"), ("True".into(), "Released".into()));

        // The other one: nobody goes from one that does not work to one that does not work.
        let stays = both.until("both are unhealthy", |release| condition(release, "Ready").1 == "BothUnhealthy").await;
        assert_eq!((record(&stays).step, active(&stays)), (Step::Watch, Some("1.0.0")));
        let traffic = record(&stays).traffic;
        assert_eq!(
            traffic[0].revision.as_ref(),
            record(&stays).candidate.as_ref().map(|candidate| &candidate.revision)
        );
        within(std::time::Duration::from_secs(5), "it stays", async || {
            (condition(&both.read().await, "Ready").1 == "BothUnhealthy").then_some(())
        })
        .await;
    })
    .await;
}
