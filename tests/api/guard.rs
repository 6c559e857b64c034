//! Whether the controller notices each way in which the admission policies can stop guarding.
//!
//! On copies of the policies, so that the tests beside these, which need the true ones, go on undisturbed.

use std::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU32, Ordering},
};

use futures::FutureExt as _;
use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use switchback::{
    clock,
    decision::{
        self,
        guard::{Kind, Shipped, not_looked_yet},
    },
    release::observed::Guard,
};
use tokio::sync::watch;

use crate::{
    authors::STAMPS,
    support::{Cluster, SOON, apply, in_time},
};

/// Copies of policies, under names of their own.
struct Copies {
    cluster: Cluster,
    shipped: Vec<Shipped>,
}

/// Runs a test with copies, which go away with it however it ends.
async fn with_copies(test: impl AsyncFnOnce(&Copies)) {
    with_copies_of(decision::required().unwrap(), test).await;
}

async fn with_copies_of(shipped: Vec<Shipped>, test: impl AsyncFnOnce(&Copies)) {
    let copies = Copies::make(shipped).await;
    let ended = AssertUnwindSafe(test(&copies)).catch_unwind().await;
    for object in &copies.shipped {
        let _ = copies.api(object.kind).delete(&object.name, &DeleteParams::default()).await;
    }
    if let Err(failure) = ended {
        std::panic::resume_unwind(failure);
    }
}

impl Copies {
    async fn make(mut shipped: Vec<Shipped>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let suffix = format!("copy-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        for object in &mut shipped {
            object.name = format!("{}-{suffix}", object.name);
            if matches!(object.kind, Kind::Binding | Kind::StampBinding) {
                object.spec["policyName"] = object.name.clone().into();
            }
        }
        let copies = Self { cluster: Cluster::ready().await, shipped };
        for object in &copies.shipped {
            copies.write(object).await;
        }
        copies
    }

    async fn write(&self, object: &Shipped) {
        let stamps = matches!(object.kind, Kind::Stamp | Kind::StampBinding);
        let document = json!({
            "apiVersion": format!("admissionregistration.k8s.io/{}", if stamps { "v1beta1" } else { "v1" }),
            "kind": object.kind.as_str(),
            "metadata": { "name": object.name },
            "spec": object.spec,
        });
        self.cluster.apply_policy(&document).await;
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        self.cluster.policies(kind.as_str())
    }

    fn first(&self, kind: Kind) -> &Shipped {
        self.shipped.iter().find(|object| object.kind == kind).unwrap()
    }

    async fn patch(&self, object: &Shipped, patch: Value) {
        self.api(object.kind).patch(&object.name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Puts a spec back as it was, without fields that were added.
    async fn put_back(&self, object: &Shipped) {
        let patch = serde_json::from_value(json!([{ "op": "replace", "path": "/spec", "value": object.spec }]));
        let patch = Patch::Json::<()>(patch.unwrap());
        self.api(object.kind).patch(&object.name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Runs a test beside the watch that the controller has.
    async fn watched(&self, client: Client, test: impl AsyncFnOnce(watch::Receiver<Guard>)) {
        let (sender, receiver) = watch::channel(not_looked_yet());
        tokio::select! {
            () = decision::keep(client, self.shipped.clone(), sender) => panic!("the watch ended"),
            () = test(receiver) => {}
        }
    }
}

async fn since(guard: &mut watch::Receiver<Guard>) -> Timestamp {
    let judged = in_time(SOON, "it guards", guard.wait_for(|guard| matches!(guard, Guard::Since(_)))).await;
    match &*judged.unwrap() {
        Guard::Since(since) => *since,
        Guard::Missing(why) => panic!("{why}"),
    }
}

async fn missing(guard: &mut watch::Receiver<Guard>) -> String {
    let is_missing = |guard: &Guard| matches!(guard, Guard::Missing(_)) && *guard != not_looked_yet();
    match &*in_time(SOON, "it does not guard", guard.wait_for(is_missing)).await.unwrap() {
        Guard::Missing(why) => why.clone(),
        Guard::Since(since) => panic!("guards since {since}"),
    }
}

#[tokio::test]
async fn what_is_shipped_guards_ten_seconds_after_it_was_written() {
    let before = clock::now().checked_sub(SignedDuration::from_secs(1)).unwrap();
    with_copies(async |copies| {
        copies
            .watched(copies.cluster.admin.clone(), async |mut guard| {
                let since = since(&mut guard).await;
                let waited = since.duration_since(before);
                assert!((SignedDuration::from_secs(10)..SignedDuration::from_secs(30)).contains(&waited), "{waited}");
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn forgery_with_policies_that_were_weakened() {
    with_copies(async |copies| {
        let with_params =
            json!({ "paramRef": { "name": "none", "namespace": "default", "parameterNotFoundAction": "Allow" } });
        let nowhere = json!({ "matchLabels": { "no": "where" } });
        let always = json!([{ "expression": "true" }]);
        let table = [
            (Kind::Policy, json!({ "failurePolicy": "Ignore" }), ".failurePolicy"),
            (Kind::Policy, json!({ "validations": always }), ".validations"),
            (Kind::Policy, json!({ "variables": null, "validations": always }), ".va"),
            (
                Kind::Policy,
                json!({ "matchConditions": [{ "name": "never", "expression": "false" }] }),
                ".matchConditions",
            ),
            (
                Kind::Policy,
                json!({ "matchConstraints": { "namespaceSelector": nowhere } }),
                ".matchConstraints.namespaceSelector.matchLabels",
            ),
            (Kind::Binding, json!({ "validationActions": ["Audit"] }), ".validationActions[0]"),
            (Kind::Binding, json!({ "validationActions": ["Audit", "Warn"] }), ".validationActions"),
            (Kind::Binding, json!({ "policyName": "another" }), ".policyName"),
            (Kind::Binding, json!({ "matchResources": { "objectSelector": nowhere } }), ".matchResources"),
            (Kind::Binding, with_params, ".paramRef"),
        ];
        copies
            .watched(copies.cluster.admin.clone(), async |mut guard| {
                since(&mut guard).await;
                for (kind, spec, place) in table {
                    let object = copies.first(kind);
                    let weak = clock::now();
                    copies.patch(object, json!({ "spec": spec })).await;
                    let why = missing(&mut guard).await;
                    let said = format!("{} {} is not as shipped: spec{place}", kind.as_str(), object.name);
                    assert!(why.starts_with(&said), "expected {said}, it says {why}");
                    copies.put_back(object).await;
                    let again = since(&mut guard).await;
                    let earliest = weak.checked_add(SignedDuration::from_secs(10)).unwrap();
                    assert!(again >= earliest, "{place}: guards since {again}, and was weak at {weak}");
                }
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn forgery_with_policies_that_were_deleted() {
    with_copies(async |copies| {
        copies
            .watched(copies.cluster.admin.clone(), async |mut guard| {
                since(&mut guard).await;
                for object in &copies.shipped {
                    copies.api(object.kind).delete(&object.name, &DeleteParams::default()).await.unwrap();
                    let gone = clock::now().checked_sub(SignedDuration::from_secs(1)).unwrap();
                    assert_eq!(
                        missing(&mut guard).await,
                        format!("{} {} does not exist", object.kind.as_str(), object.name)
                    );
                    copies.write(object).await;
                    assert!(since(&mut guard).await >= gone.checked_add(SignedDuration::from_secs(10)).unwrap());
                }
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn forgery_with_a_stamp_that_was_weakened_or_deleted() {
    let _alone = STAMPS.lock().await;
    with_copies_of(decision::stamping().unwrap(), async |copies| {
        copies
            .watched(copies.cluster.admin.clone(), async |mut guard| {
                since(&mut guard).await;
                let table = [
                    (Kind::Stamp, json!({ "failurePolicy": "Ignore" }), ".failurePolicy"),
                    (Kind::Stamp, json!({ "reinvocationPolicy": "Never" }), ".reinvocationPolicy"),
                    (Kind::StampBinding, json!({ "policyName": "another" }), ".policyName"),
                ];
                for (kind, spec, place) in table {
                    let object = copies.first(kind);
                    copies.patch(object, json!({ "spec": spec })).await;
                    let said = format!("{} {} is not as shipped: spec{place} differs", kind.as_str(), object.name);
                    assert_eq!(missing(&mut guard).await, said);
                    copies.put_back(object).await;
                    since(&mut guard).await;
                }
                for object in &copies.shipped {
                    copies.api(object.kind).delete(&object.name, &DeleteParams::default()).await.unwrap();
                    let said = format!("{} {} does not exist", object.kind.as_str(), object.name);
                    assert_eq!(missing(&mut guard).await, said);
                    copies.write(object).await;
                    since(&mut guard).await;
                }
            })
            .await;
    })
    .await;
}

/// The gap lies in the past for a controller that starts afterwards; the API server has written down when it ended.
#[tokio::test]
async fn forgery_threat_t09_with_policies_that_were_weakened_while_no_controller_looked() {
    with_copies(async |copies| {
        let mut last = Timestamp::MIN;
        for kind in [Kind::Policy, Kind::Binding] {
            // Times in metadata have whole seconds.
            tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
            let object = copies.first(kind);
            let spec = if kind == Kind::Policy {
                json!({ "failurePolicy": "Ignore" })
            } else {
                json!({ "validationActions": ["Audit"] })
            };
            copies.patch(object, json!({ "spec": spec })).await;
            copies.put_back(object).await;
            copies
                .watched(copies.cluster.admin.clone(), async |mut guard| {
                    let since = since(&mut guard).await;
                    assert!(since > last, "{since}, {last}");
                    last = since;
                })
                .await;
        }
        // Nor does it help to take out of the object who wrote it when.
        let object = copies.first(Kind::Policy);
        copies.patch(object, json!({ "spec": { "failurePolicy": "Ignore" } })).await;
        copies.put_back(object).await;
        copies.patch(object, json!({ "metadata": { "managedFields": [{}] } })).await;
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let started = clock::now();
        copies
            .watched(copies.cluster.admin.clone(), async |mut guard| {
                let since = since(&mut guard).await;
                assert!(since >= started + SignedDuration::from_secs(10), "{since}, {started}");
            })
            .await;
        // Whoever writes it next says so once more.
        copies.patch(object, json!({ "spec": { "failurePolicy": "Ignore" } })).await;
        copies.put_back(object).await;
        copies.watched(copies.cluster.admin.clone(), async |mut guard| last = since(&mut guard).await).await;
        // Labels are nobody's weakening.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let object = copies.first(Kind::Policy);
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "team": "platform" } } }));
        let other = PatchParams { field_manager: Some("platform".to_owned()), ..PatchParams::default() };
        copies.api(object.kind).patch(&object.name, &other, &patch).await.unwrap();
        copies.watched(copies.cluster.admin.clone(), async |mut guard| assert_eq!(since(&mut guard).await, last)).await;
    })
    .await;
}

#[tokio::test]
async fn the_watch_needs_rights_on_these_names_only_and_says_when_it_has_none() {
    with_copies(async |copies| {
        let user = format!("watches-{}", copies.shipped[0].name);
        let client = copies.cluster.user(&user);
        copies
            .watched(client.clone(), async |mut guard| {
                let why = missing(&mut guard).await;
                assert!(why.contains("cannot be watched") && why.contains("forbidden"), "{why}");
                let names: Vec<&str> = copies.shipped.iter().map(|object| object.name.as_str()).collect();
                let role = json!({
                    "metadata": { "name": user },
                    "rules": [{
                        "apiGroups": ["admissionregistration.k8s.io"],
                        "resources": ["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
                        "resourceNames": names,
                        "verbs": ["get", "list", "watch"],
                    }],
                });
                let binding = json!({
                    "metadata": { "name": user },
                    "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user },
                    "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
                });
                apply::<ClusterRole>(&copies.cluster.admin, &serde_json::from_value(role).unwrap()).await;
                apply::<ClusterRoleBinding>(&copies.cluster.admin, &serde_json::from_value(binding).unwrap()).await;
                since(&mut guard).await;
            })
            .await;
        let admin = &copies.cluster.admin;
        Api::<ClusterRole>::all(admin.clone()).delete(&user, &DeleteParams::default()).await.unwrap();
        Api::<ClusterRoleBinding>::all(admin.clone()).delete(&user, &DeleteParams::default()).await.unwrap();
    })
    .await;
}
