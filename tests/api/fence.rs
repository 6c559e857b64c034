//! The fence around our own account: what a stolen token of the controller cannot do.

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Client, ResourceExt,
    api::{DeleteParams, DynamicObject},
};
use serde_json::{Value, json};
use switchback::api::{DatabaseBackup, Release};

use crate::support::{CONTROLLER, Namespace, assert_refused, in_namespace, objects::release};

/// More than the controller is granted.
const RIGHTS: [&str; 9] = [
    "* policy/poddisruptionbudgets",
    "* autoscaling/horizontalpodautoscalers",
    "* /pods",
    "* /configmaps",
    "* /services",
    "* apps/deployments",
    "* apps/controllerrevisions",
    "* batch/jobs",
    "* switchback.dev/databasebackups",
];

const UID: &str = "11111111-2222-3333-4444-555555555555";

async fn controller(namespace: &Namespace) -> Client {
    namespace.allow(CONTROLLER, &RIGHTS).await;
    namespace.cluster.user(CONTROLLER)
}

fn pod_spec() -> Value {
    json!({ "restartPolicy": "Never", "containers": [{ "name": "c", "image": "example.com/c:1" }] })
}

fn job(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "suspend": true, "template": { "spec": pod_spec() } } })
}

fn deployment(name: &str) -> Value {
    let labels = json!({ "app": name });
    let mut pod = pod_spec();
    pod["restartPolicy"] = "Always".into();
    json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    })
}

fn service(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "ports": [{ "port": 80 }], "selector": { "app": "x" } } })
}

fn config(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "data": { "a": "b" } })
}

fn budget(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": name } } } })
}

fn autoscaler(name: &str) -> Value {
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": name });
    json!({ "metadata": { "name": name }, "spec": { "scaleTargetRef": target, "maxReplicas": 2 } })
}

fn content(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "data": {}, "revision": 1 })
}

fn owner(api_version: &str, kind: &str, uid: &str, controls: bool) -> Value {
    json!([{ "apiVersion": api_version, "kind": kind, "name": "shop", "uid": uid, "controller": controls }])
}

fn ours(mut body: Value, uid: &str) -> Value {
    body["metadata"]["labels"] = json!({ "switchback.dev/release-uid": uid });
    body["metadata"]["ownerReferences"] = owner("switchback.dev/v1alpha1", "Release", uid, true);
    body
}

/// Creates something of each kind that has owners.
async fn try_each(
    namespace: &Namespace,
    client: &Client,
    change: impl Fn(Value) -> Value,
) -> [(&'static str, Result<DynamicObject, kube::Error>); 6] {
    [
        (
            "horizontalpodautoscalers",
            namespace.try_make::<HorizontalPodAutoscaler>(client, &change(autoscaler("x"))).await,
        ),
        ("poddisruptionbudgets", namespace.try_make::<PodDisruptionBudget>(client, &change(budget("x"))).await),
        ("configmaps", namespace.try_make::<ConfigMap>(client, &change(config("x"))).await),
        ("jobs", namespace.try_make::<Job>(client, &change(job("x"))).await),
        ("deployments", namespace.try_make::<Deployment>(client, &change(deployment("x"))).await),
        ("services", namespace.try_make::<Service>(client, &change(service("x"))).await),
    ]
}

#[tokio::test]
async fn threat_t01_the_controller_creates_pods_in_dry_runs_only() {
    in_namespace("fence", async |namespace| {
        let controller = controller(namespace).await;
        let pod = ours(json!({ "metadata": { "name": "p" }, "spec": pod_spec() }), UID);
        namespace
            .make::<Pod>(&namespace.cluster.admin, &json!({ "metadata": { "name": "q" }, "spec": pod_spec() }))
            .await
            .unwrap();
        namespace.try_make::<Pod>(&controller, &pod).await.unwrap();
        assert_refused(namespace.make::<Pod>(&controller, &pod).await, "the controller creates Pods in dry runs only");
    })
    .await;
}

#[tokio::test]
async fn threat_t10_the_controller_creates_what_is_ours_only() {
    in_namespace("fence", async |namespace| {
        let controller = controller(namespace).await;
        let release_of = |uid: &str| owner("switchback.dev/v1alpha1", "Release", uid, true);
        let refused: [(&str, Value); 7] = [
            ("nothing", json!({})),
            ("the label alone", json!({ "labels": { "switchback.dev/release-uid": UID } })),
            ("the owner alone", json!({ "ownerReferences": release_of(UID) })),
            ("an owner that is another", json!({
                "labels": { "switchback.dev/release-uid": UID },
                "ownerReferences": release_of("99999999-2222-3333-4444-555555555555"),
            })),
            ("an owner that does not control", json!({
                "labels": { "switchback.dev/release-uid": UID },
                "ownerReferences": owner("switchback.dev/v1alpha1", "Release", UID, false),
            })),
            ("an owner of another kind", json!({
                "labels": { "switchback.dev/release-uid": UID },
                "ownerReferences": owner("v1", "ConfigMap", UID, true),
            })),
            ("an owner of another group", json!({
                "labels": { "switchback.dev/release-uid": UID },
                "ownerReferences": owner("helm.toolkit.fluxcd.io/v2", "Release", UID, true),
            })),
        ];
        for (what, metadata) in refused {
            let change = |mut body: Value| {
                body["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
                body
            };
            for (kind, answer) in try_each(namespace, &controller, change).await {
                let said = crate::support::refusal(answer);
                let words = format!(
                    "the controller creates {kind} only with the label switchback.dev/release-uid and the Release of that UID"
                );
                assert!(said.contains(&words), "{what}: {said}");
            }
        }
        for (kind, answer) in try_each(namespace, &controller, |body| ours(body, UID)).await {
            assert!(answer.is_ok(), "{kind}: {answer:?}");
        }
        // Frozen contents have no owner.
        assert_refused(
            namespace.try_make::<ControllerRevision>(&controller, &content("c")).await,
            "the controller creates controllerrevisions only with the label switchback.dev/release-uid",
        );
        let mut labelled = content("c");
        labelled["metadata"]["labels"] = json!({ "switchback.dev/release-uid": UID });
        namespace.make::<ControllerRevision>(&controller, &labelled).await.unwrap();
        namespace.api::<ControllerRevision>(&controller).delete("c", &DeleteParams::default()).await.unwrap();
        // Nobody else is fenced.
        namespace.allow("anna", &RIGHTS).await;
        for (kind, answer) in try_each(namespace, &namespace.cluster.user("anna"), |body| body).await {
            assert!(answer.is_ok(), "{kind}: {answer:?}");
        }
    })
    .await;
}

/// Jobs work for every kind of ours, and only where label and owner say the same.
#[tokio::test]
async fn threat_t10_the_controller_creates_jobs_of_databases_storages_and_backups_only() {
    in_namespace("fence", async |namespace| {
        let controller = controller(namespace).await;
        let other = "99999999-2222-3333-4444-555555555555";
        let kinds = [
            ("DatabaseInstance", "switchback.dev/database-uid"),
            ("BackupStorage", "switchback.dev/storage-uid"),
            ("DatabaseBackup", "switchback.dev/backup-uid"),
        ];
        let of = |body: Value, kind: &str, label: &str, uid: &str| {
            let mut body = body;
            body["metadata"]["labels"] = json!({ label: uid });
            body["metadata"]["ownerReferences"] = owner("switchback.dev/v1alpha1", kind, UID, true);
            body
        };
        for (kind, label) in kinds {
            namespace.try_make::<Job>(&controller, &of(job("x"), kind, label, UID)).await.unwrap();
            let says = "the controller creates jobs only with the label";
            assert_refused(namespace.try_make::<Job>(&controller, &of(job("x"), kind, label, other)).await, says);
            let release = "switchback.dev/release-uid";
            assert_refused(namespace.try_make::<Job>(&controller, &of(job("x"), kind, release, UID)).await, says);
            let says = "the controller creates deployments only with the label";
            let deployment = of(deployment("x"), kind, label, UID);
            assert_refused(namespace.try_make::<Deployment>(&controller, &deployment).await, says);
            // Without owner: the garbage collector would take one whose owner is nowhere.
            let mut labelled = job(&kind.to_lowercase());
            labelled["metadata"]["labels"] = json!({ label: UID });
            namespace.make::<Job>(&namespace.cluster.admin, &labelled).await.unwrap();
            let resume = json!({ "spec": { "suspend": false } });
            namespace.patch::<Job>(&controller, &kind.to_lowercase(), resume).await.unwrap();
        }
        namespace.make::<Job>(&namespace.cluster.admin, &job("theirs")).await.unwrap();
        let resume = json!({ "spec": { "suspend": false } });
        let says = "the controller changes and deletes its own jobs only";
        assert_refused(namespace.patch::<Job>(&controller, "theirs", resume).await, says);
    })
    .await;
}

#[tokio::test]
async fn threat_t10_the_controller_asks_for_backups_of_releases_only() {
    in_namespace("fence", async |namespace| {
        let controller = controller(namespace).await;
        let backup = |name: &str| json!({ "metadata": { "name": name, "finalizers": ["switchback.dev/in-use"] }, "spec": { "database": "shop" } });
        let says = "the controller creates databasebackups only with the label switchback.dev/release-uid";
        assert_refused(namespace.make::<DatabaseBackup>(&controller, &backup("bare")).await, says);
        let mut labelled = backup("ours");
        labelled["metadata"]["labels"] = json!({ "switchback.dev/release-uid": UID, "switchback.dev/role": "database" });
        namespace.make::<DatabaseBackup>(&controller, &labelled).await.unwrap();
        let free = json!({ "metadata": { "finalizers": null } });
        namespace.patch::<DatabaseBackup>(&controller, "ours", free.clone()).await.unwrap();
        namespace.make::<DatabaseBackup>(&namespace.cluster.admin, &backup("theirs")).await.unwrap();
        let says = "the controller changes and deletes its own databasebackups only";
        assert_refused(namespace.patch::<DatabaseBackup>(&controller, "theirs", free.clone()).await, says);
        let delete = DeleteParams::default();
        assert_refused(namespace.api::<DatabaseBackup>(&controller).delete("theirs", &delete).await, says);
        // It may be taken into use, by that alone, and that makes it nobody's to delete.
        let label = |key: &str, value: &str| json!({ "metadata": { "labels": { key: value } } });
        let uses = label("switchback.dev/release-uid", UID);
        let mut more = uses.clone();
        more["metadata"]["labels"]["switchback.dev/role"] = "database".into();
        assert_refused(namespace.patch::<DatabaseBackup>(&controller, "theirs", more).await, says);
        let mut less = uses.clone();
        less["metadata"]["finalizers"] = Value::Null;
        assert_refused(namespace.patch::<DatabaseBackup>(&controller, "theirs", less).await, says);
        namespace.patch::<DatabaseBackup>(&controller, "theirs", uses).await.unwrap();
        let says = "the controller deletes no DatabaseBackup but those that Releases have asked for";
        let role = label("switchback.dev/role", "database");
        assert_refused(namespace.patch::<DatabaseBackup>(&controller, "theirs", role).await, says);
        assert_refused(namespace.api::<DatabaseBackup>(&controller).delete("theirs", &delete).await, says);
        namespace.api::<DatabaseBackup>(&controller).delete("ours", &delete).await.unwrap();
        namespace.patch::<DatabaseBackup>(&namespace.cluster.admin, "theirs", free).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn threat_t10_the_controller_changes_and_deletes_what_is_ours_only() {
    in_namespace("fence", async |namespace| {
        let admin = &namespace.cluster.admin;
        let made = namespace.make::<Release>(admin, &release("shop")).await.unwrap();
        let uid = made.uid().unwrap();
        let controller = controller(namespace).await;
        namespace.make::<Deployment>(admin, &deployment("theirs")).await.unwrap();
        namespace.make::<Service>(admin, &service("theirs")).await.unwrap();
        namespace.make::<Deployment>(&controller, &ours(deployment("ours"), &uid)).await.unwrap();
        namespace.make::<Service>(&controller, &ours(service("ours"), &uid)).await.unwrap();

        let says = "the controller changes and deletes its own deployments only";
        let scale = json!({ "spec": { "replicas": 0, "minReadySeconds": 7 } });
        assert_refused(namespace.patch::<Deployment>(&controller, "theirs", scale.clone()).await, says);
        let steal = ours(scale.clone(), &uid);
        assert_refused(namespace.patch::<Deployment>(&controller, "theirs", steal).await, says);
        let delete = DeleteParams::default();
        assert_refused(namespace.api::<Deployment>(&controller).delete("theirs", &delete).await, says);
        namespace.make::<ConfigMap>(admin, &config("theirs")).await.unwrap();
        let says = "the controller changes and deletes its own configmaps only";
        let edit = ours(json!({ "metadata": {}, "data": { "a": "c" } }), &uid);
        assert_refused(namespace.patch::<ConfigMap>(&controller, "theirs", edit).await, says);
        assert_refused(namespace.api::<ConfigMap>(&controller).delete("theirs", &delete).await, says);
        namespace.make::<HorizontalPodAutoscaler>(admin, &autoscaler("theirs")).await.unwrap();
        let says = "the controller changes and deletes its own horizontalpodautoscalers only";
        let edit = json!({ "spec": { "maxReplicas": 1 } });
        assert_refused(namespace.patch::<HorizontalPodAutoscaler>(&controller, "theirs", edit).await, says);
        assert_refused(namespace.api::<HorizontalPodAutoscaler>(&controller).delete("theirs", &delete).await, says);
        let says = "the controller changes and deletes its own services only";
        let point = json!({ "spec": { "selector": { "app": "mine" } } });
        assert_refused(namespace.patch::<Service>(&controller, "theirs", point.clone()).await, says);
        assert_refused(namespace.api::<Service>(&controller).delete("theirs", &delete).await, says);

        // People take labels off and the garbage collector takes owners off: one of both is enough.
        let bare = json!({ "metadata": { "labels": null } });
        namespace.patch::<Deployment>(admin, "ours", bare).await.unwrap();
        namespace.patch::<Deployment>(&controller, "ours", scale).await.unwrap();
        namespace.patch::<Service>(admin, "ours", json!({ "metadata": { "ownerReferences": null } })).await.unwrap();
        namespace.patch::<Service>(&controller, "ours", point).await.unwrap();
        namespace.api::<Deployment>(&controller).delete("ours", &delete).await.unwrap();
        namespace.api::<Service>(&controller).delete("ours", &delete).await.unwrap();
    })
    .await;
}

/// What people offer to a Release may become its own, and only so.
#[tokio::test]
async fn threat_t10_and_t22_the_controller_takes_over_what_is_offered_only() {
    in_namespace("fence", async |namespace| {
        let admin = &namespace.cluster.admin;
        let uid = namespace.make::<Release>(admin, &release("shop")).await.unwrap().uid().unwrap();
        let controller = controller(namespace).await;
        let owned = |uid: &str| ours(json!({ "metadata": {} }), uid);
        namespace.make::<Deployment>(admin, &deployment("old")).await.unwrap();
        namespace.make::<Service>(admin, &service("old")).await.unwrap();
        let says = "the controller changes and deletes its own deployments only";
        assert_refused(namespace.patch::<Deployment>(&controller, "old", owned(&uid)).await, says);
        // Nor can it offer them to itself.
        let offer = json!({ "metadata": { "annotations": { "switchback.dev/adopt": "shop" } } });
        let mut both = owned(&uid);
        both["metadata"]["annotations"] = offer["metadata"]["annotations"].clone();
        assert_refused(namespace.patch::<Deployment>(&controller, "old", both).await, says);

        namespace.patch::<Deployment>(admin, "old", offer.clone()).await.unwrap();
        namespace.patch::<Service>(admin, "old", offer).await.unwrap();
        let scale = json!({ "spec": { "replicas": 3 } });
        assert_refused(namespace.patch::<Deployment>(&controller, "old", scale.clone()).await, says);
        let label = json!({ "metadata": { "labels": { "switchback.dev/release-uid": uid } } });
        assert_refused(namespace.patch::<Deployment>(&controller, "old", label).await, says);
        let delete = DeleteParams::default();
        assert_refused(namespace.api::<Deployment>(&controller).delete("old", &delete).await, says);
        namespace.patch::<Deployment>(&controller, "old", owned(&uid)).await.unwrap();
        namespace.patch::<Service>(&controller, "old", owned(&uid)).await.unwrap();
        // From then on they are like all others of ours.
        namespace.patch::<Deployment>(&controller, "old", scale).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn threat_t05_the_controller_neither_asks_nor_decides() {
    in_namespace("fence", async |namespace| {
        let admin = &namespace.cluster.admin;
        namespace.allow(CONTROLLER, &RIGHTS).await;
        namespace.allow(CONTROLLER, &["* switchback.dev/releases"]).await;
        let controller = namespace.cluster.user(CONTROLLER);
        let says = "the controller neither decides nor asks";
        assert_refused(namespace.make::<Release>(&controller, &release("shop")).await, says);
        namespace.make::<Release>(admin, &release("shop")).await.unwrap();
        for spec in [json!({ "version": "6.6.6" }), json!({ "mode": "Automatic" })] {
            assert_refused(namespace.patch::<Release>(&controller, "shop", json!({ "spec": spec })).await, says);
        }
    })
    .await;
}
