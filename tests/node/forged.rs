//! Decisions that were good once, or for something else, of people whom the API server knows: each says in its status why
//! it does not count, and nothing runs. And an image that is not the one that was approved.

use std::{path::Path, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use switchback::api::{Decision, Outcome, Release, ReleasePolicy, Step, labels::RELEASE_UID};

use crate::{
    harness::{Scene, active, merge, names_of_release, observed, record},
    support::{SOON, in_namespace, within},
};

/// How long the approvals of one of the Releases count: the shortest that the schema allows.
const EXPIRES: &str = "1m";
/// How long until one of them says so.
const EXPIRED: Duration = Duration::from_secs(90);
/// How much older than a plan an approval must be to be too early for certain: times of creation have whole seconds, and
/// clocks may differ by one.
const EARLIER: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgery_input_55_a_decision_too_early_used_twice_replayed_or_expired_runs_nothing() {
    in_namespace("forged", async |namespace| {
        let scene = Scene::new(namespace).await;
        let two = scene.another("two");
        let spec = json!({ "selector": { "names": ["two"] }, "approval": { "required": 2, "expires": EXPIRES } });
        let policy = json!({ "metadata": { "name": "two" }, "spec": spec });
        namespace.make::<ReleasePolicy>(&namespace.cluster.admin, &policy).await.unwrap();
        scene.ask_for("1.0.0", &[], watched_shortly()).await;
        let first = scene.approve().await;
        assert_eq!(active(&scene.until_over().await), Some("1.0.0"), "{}", scene.report().await);

        // While the first of two approvals grows old, the others are tried.
        two.ask_for("1.0.0", &[], json!({})).await;
        let (waiting, digest) = waits(&two).await;
        let anna = two.decide(&waiting, approval(&digest)).await.unwrap();
        assert_eq!(two.became(&anna).await, ("Accepted".into(), "Waiting".into()));
        let used = before_its_plan(&scene).await;
        twice(&scene, &used).await;
        of_a_release_that_is_gone(&scene, &first).await;

        within(EXPIRED, "the approval is too old", async || {
            (two.became(&anna).await == ("Expired".into(), "Expired".into())).then_some(())
        })
        .await;
        // It is the second person that approves; of two valid approvals it is the first.
        let decides = ["approve switchback.dev/releases", "create switchback.dev/decisions"];
        namespace.allow("ben", &decides).await;
        let ben = two.decide_as("ben", &waiting, approval(&digest)).await.unwrap();
        assert_eq!(two.became(&ben).await, ("Accepted".into(), "Waiting".into()));
        nothing_runs(&two, &[]).await;
    })
    .await;
}

fn approval(digest: &str) -> Value {
    json!({ "approve": { "digest": digest } })
}

/// Nothing here is about what happens after the switch.
fn watched_shortly() -> Value {
    json!({ "watch": { "for": "1s", "tolerate": "0s" } })
}

/// Waits until a plan waits; returns its Release and its digest.
async fn waits(scene: &Scene<'_>) -> (Release, String) {
    let waiting = scene.until_step(Step::Approve).await;
    let digest = record(&waiting).plan.unwrap().digest;
    (waiting, digest)
}

/// Lists what runs, or ran, of a Release.
async fn runs(scene: &Scene<'_>) -> Vec<String> {
    let uid = scene.read().await.uid().unwrap();
    let mut all = vec![];
    for kind in [("apps/v1", "Deployment"), ("apps/v1", "ControllerRevision"), ("batch/v1", "Job")] {
        all.extend(names_of_release(scene, kind, &uid).await);
    }
    all
}

/// Fails unless the plan waits on, and nothing runs but what ran before.
async fn nothing_runs(scene: &Scene<'_>, before: &[String]) {
    assert_eq!(record(&scene.read().await).step, Step::Approve, "{}", scene.report().await);
    assert_eq!(runs(scene).await, before, "{}", scene.report().await);
}

/// Approves a plan whose digest is known from earlier before it is there to be read; then it is approved as it should be.
/// Returns that approval.
async fn before_its_plan(scene: &Scene<'_>) -> Decision {
    let before = runs(scene).await;
    scene.ask_for("2.0.0", &[], watched_shortly()).await;
    let (seen, digest) = waits(scene).await;
    scene.ask_for("2.0.1", &[], watched_shortly()).await;
    scene
        .until("the plan of 2.0.1", |release| {
            record(release).step == Step::Approve && record(release).plan.is_some_and(|plan| plan.digest != digest)
        })
        .await;
    // Whoever looks finds the digest of another plan, so nobody looks until it is this one's turn again.
    scene.kill();
    let early = scene.decide(&seen, approval(&digest)).await.unwrap();
    tokio::time::sleep(EARLIER).await;
    scene.ask_for("2.0.0", &[], watched_shortly()).await;
    scene.start();
    let (again, same) = waits(scene).await;
    assert_eq!(same, digest, "the plan is another one, and this shows nothing");
    assert_eq!(scene.became(&early).await, ("Refused".into(), "TooEarly".into()));
    nothing_runs(scene, &before).await;
    let good = scene.decide(&again, approval(&digest)).await.unwrap();
    assert_eq!(scene.became(&good).await, ("Used".into(), "Used".into()));
    good
}

/// What was approved is withdrawn and asked for once more: the approval stands there, and its status is wiped.
async fn twice(scene: &Scene<'_>, used: &Decision) {
    scene.ask_for("1.0.0", &[], watched_shortly()).await;
    let back = |release: &Release| observed(release) && record(release).step == Step::Idle;
    let back = scene.until("1.0.0 is all there is", back).await;
    assert_eq!(active(&back), Some("1.0.0"), "{}", scene.report().await);
    let before = runs(scene).await;
    scene.ask_for("2.0.0", &[], watched_shortly()).await;
    let (_, digest) = waits(scene).await;
    assert!(serde_json::to_string(&used.spec).unwrap().contains(&digest), "the plan is another one");
    wipe(scene, used).await;
    assert_eq!(scene.became(used).await, ("Used".into(), "Used".into()));
    nothing_runs(scene, &before).await;
}

/// The Release is deleted and made again under its name, as it was: what was said of the former one stands there, is
/// wiped, is said again word for word, and is said of the new one.
async fn of_a_release_that_is_gone(scene: &Scene<'_>, first: &Decision) {
    let former = scene.read().await.uid();
    scene.releases().delete("shop", &DeleteParams::background()).await.unwrap();
    within(SOON * 3, "the Release is gone", async || {
        scene.releases().get_opt("shop").await.unwrap().is_none().then_some(())
    })
    .await;
    scene.ask_for("1.0.0", &[], watched_shortly()).await;
    let (waiting, digest) = waits(scene).await;
    assert_ne!(waiting.uid(), former);
    wipe(scene, first).await;
    assert_eq!(scene.became(first).await, ("Refused".into(), "OtherUid".into()));
    let anna = scene.namespace.cluster.user("anna");
    let copy = json!({ "metadata": { "generateName": "shop-" }, "spec": first.spec });
    let copy = scene.namespace.make::<Decision>(&anna, &copy).await.unwrap().try_parse().unwrap();
    assert_eq!(scene.became(&copy).await, ("Refused".into(), "OtherUid".into()));
    let said = serde_json::to_value(&first.spec).unwrap();
    let of_former = said["approve"]["digest"].as_str().unwrap();
    assert_ne!(of_former, digest, "a plan is of one object");
    let turned = scene.decide(&waiting, approval(of_former)).await.unwrap();
    assert_eq!(scene.became(&turned).await, ("Refused".into(), "OtherDigest".into()));
    nothing_runs(scene, &[]).await;
}

/// Takes off a Decision what became of it, as an administrator can.
async fn wipe(scene: &Scene<'_>, decision: &Decision) {
    let api: Api<Decision> = scene.namespace.api(&scene.namespace.cluster.admin);
    let patch = Patch::Merge(json!({ "status": null }));
    api.patch_status(&decision.name_any(), &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgery_input_07_a_tag_that_is_moved_after_the_approval_goes_back() {
    in_namespace("moved", async |namespace| {
        let scene = Scene::new(namespace).await;
        let image = format!("localhost/demo-app:{}", namespace.name);
        bring_in(&scene, &image, "1").await;
        scene.serve_first(watched_shortly()).await;
        let load = scene.load().await;
        // One pod less for a moment is not what this is about.
        let mut more = json!({ "watch": { "for": "90s", "tolerate": "60s", "readyPercent": 1, "immediateBelow": 0 } });
        merge(&mut more, of_image(&image));
        scene.ask_for("2.0.0", &[], more).await;
        scene.approve().await;
        let watched = scene.until_step(Step::Watch).await;
        // Somebody pushes another build, and a pod has to start anew.
        bring_in(&scene, &image, "2").await;
        let pods: Api<Pod> = namespace.api(&namespace.cluster.admin);
        let of_release = ListParams::default().labels(&format!("{RELEASE_UID}={}", watched.uid().unwrap()));
        let runs_it =
            |pod: &&Pod| pod.spec.as_ref().is_some_and(|spec| spec.containers[0].image.as_ref() == Some(&image));
        let all = pods.list(&of_release).await.unwrap().items;
        let one = all.iter().find(runs_it).expect("2.0.0 has pods").name_any();
        pods.delete(&one, &DeleteParams::default()).await.unwrap();
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        let ended = record(&over).history.pop().unwrap();
        assert_eq!(ended.reason, "ApprovalStale", "{}", scene.report().await);
        assert!(ended.message.starts_with(&format!("{image} was moved: pod ")), "{}", ended.message);
        load.end("moved-tag").await;
    })
    .await;
}

/// The demo application from an image of this name.
fn of_image(image: &str) -> Value {
    json!({ "workloads": [{
        "name": "web",
        "replicas": 2,
        "services": [{ "name": "shop", "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
        "template": { "spec": {
            "terminationGracePeriodSeconds": 40,
            "containers": [{
                "name": "web",
                "image": image,
                "env": [{ "name": "VERSION", "value": "2.0.0" }, { "name": "DRAIN_SECONDS", "value": "3" }],
                "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 1 },
            }],
        }},
    }]})
}

/// Makes a build of the demo application and brings it to the node under this name, whatever had the name before.
async fn bring_in(scene: &Scene<'_>, image: &str, build: &str) {
    let program = Path::new(env!("CARGO_BIN_EXE_switchback")).with_file_name("demo-app");
    let tar = scene.folder().join(format!("build-{build}.tar"));
    let (tar, program) = (tar.to_str().unwrap(), format!("{}:/demo-app", program.display()));
    let build = format!("BUILD={build}");
    lab_image(&[
        "pack",
        tar,
        "--ref",
        image,
        "--entrypoint",
        "/demo-app",
        "--user",
        "65532:65532",
        "--env",
        &build,
        "--file",
        &program,
    ])
    .await;
    lab_image(&["import", tar]).await;
}

async fn lab_image(arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/image");
    let output = tokio::process::Command::new(script).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "lab/image {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
