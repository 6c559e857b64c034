//! Who changed a Release: stamped by the API server, and by nobody else.

use kube::{
    Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use switchback::api::{ChangedBy, Release, labels::CHANGED_BY};

use crate::support::{Namespace, assert_refused, in_namespace, objects::release, soon};

/// Held by tests that add policies which stamp: with several of them it depends on their names whose word is the last.
pub static STAMPS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What somebody needs who changes Releases.
const CHANGES: &[&str] = &[
    "create apps/deployments",
    "create batch/jobs",
    "create /services",
    "get,list,create,update,patch,delete switchback.dev/releases",
];

async fn author(namespace: &Namespace, name: &str) -> Client {
    namespace.allow(name, CHANGES).await;
    namespace.cluster.user(name)
}

async fn made(namespace: &Namespace, client: &Client) {
    namespace.make::<Release>(client, &release("shop")).await.unwrap();
}

/// Changes the version text: a change of the spec as small as any.
async fn changes(namespace: &Namespace, client: &Client, version: &str) -> Result<Release, kube::Error> {
    namespace.patch::<Release>(client, "shop", json!({ "spec": { "version": version } })).await
}

async fn stamp(namespace: &Namespace) -> String {
    let release = namespace.api::<Release>(&namespace.cluster.admin).get("shop").await.unwrap();
    release.annotations().get(CHANGED_BY).cloned().unwrap_or_default()
}

#[tokio::test]
async fn every_change_of_the_spec_is_stamped_with_who_made_it() {
    in_namespace("authors", async |namespace| {
        let (anna, ben) = (author(namespace, "anna").await, author(namespace, "oidc:ben b").await);
        made(namespace, &anna).await;
        assert_eq!(stamp(namespace).await, "1\n1 anna");
        changes(namespace, &ben, "2.0.0").await.unwrap();
        assert_eq!(stamp(namespace).await, "1\n2 oidc:ben b\n1 anna");
        // The last change of each person is enough: whoever asks wants to know who, not how often.
        changes(namespace, &anna, "3.0.0").await.unwrap();
        assert_eq!(stamp(namespace).await, "1\n3 anna\n2 oidc:ben b");
        let known = ChangedBy::parse(&stamp(namespace).await).unwrap();
        assert_eq!((known.between(0, 3), known.between(2, 3)), (Some(vec!["anna", "oidc:ben b"]), Some(vec!["anna"])));
        // By apply and by replacement as well.
        let applied =
            json!({ "apiVersion": "switchback.dev/v1alpha1", "kind": "Release", "spec": { "version": "4.0.0" } });
        let params = PatchParams::apply("ben").force();
        namespace.api::<Release>(&ben).patch("shop", &params, &Patch::Apply(&applied)).await.unwrap();
        assert_eq!(stamp(namespace).await, "1\n4 oidc:ben b\n3 anna");
        let api = namespace.api::<Release>(&anna);
        let mut whole = api.get("shop").await.unwrap();
        whole.spec.version = "5.0.0".to_owned();
        whole.metadata.annotations = None;
        api.replace("shop", &PostParams::default(), &whole).await.unwrap();
        assert_eq!(stamp(namespace).await, "1\n5 anna\n4 oidc:ben b");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_change_of_the_spec_makes_nobody_an_author() {
    in_namespace("authors", async |namespace| {
        let (anna, ben) = (author(namespace, "anna").await, author(namespace, "ben").await);
        made(namespace, &anna).await;
        for patch in [
            json!({ "metadata": { "annotations": { "team": "front" } } }),
            json!({ "metadata": { "finalizers": ["example.com/kept"] } }),
            json!({ "metadata": { "finalizers": null } }),
            json!({ "spec": { "version": release("shop")["spec"]["version"] } }),
        ] {
            namespace.patch::<Release>(&ben, "shop", patch).await.unwrap();
            assert_eq!(stamp(namespace).await, "1\n1 anna");
        }
        let status = json!({ "status": { "observedGeneration": 1 } });
        let api = namespace.api::<Release>(&namespace.cluster.admin);
        api.patch_status("shop", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        assert_eq!(stamp(namespace).await, "1\n1 anna");
    })
    .await;
}

#[tokio::test]
async fn forgery_a_stamp_written_by_hand() {
    in_namespace("authors", async |namespace| {
        let (anna, ben) = (author(namespace, "anna").await, author(namespace, "ben").await);
        let mut forged = release("shop");
        forged["metadata"]["annotations"] = json!({ CHANGED_BY: "1\n1 ben" });
        namespace.make::<Release>(&anna, &forged).await.unwrap();
        assert_eq!(stamp(namespace).await, "1\n1 anna");
        for value in [json!("1\n1 ben"), json!(""), Value::Null, json!("1\n2 ben\n1 anna")] {
            let by_hand = json!({ "metadata": { "annotations": { CHANGED_BY: value } } });
            namespace.patch::<Release>(&anna, "shop", by_hand.clone()).await.unwrap();
            assert_eq!(stamp(namespace).await, "1\n1 anna", "{by_hand}");
        }
        // Together with a change: the truth is added to the truth.
        let both =
            json!({ "metadata": { "annotations": { CHANGED_BY: "1\n2 anna" } }, "spec": { "version": "2.0.0" } });
        namespace.patch::<Release>(&ben, "shop", both).await.unwrap();
        assert_eq!(stamp(namespace).await, "1\n2 ben\n1 anna");
        // An administrator is no exception.
        let by_hand = json!({ "metadata": { "annotations": { CHANGED_BY: "1\n2 carl" } } });
        namespace.patch::<Release>(&namespace.cluster.admin, "shop", by_hand).await.unwrap();
        assert_eq!(stamp(namespace).await, "1\n2 ben\n1 anna");
    })
    .await;
}

/// As an attacker would who may write policies of that kind, but not ours: ours comes after theirs, and where theirs
/// insists on the last word, the one that checks refuses.
#[tokio::test]
async fn forgery_a_stamp_written_by_another_policy() {
    let _alone = STAMPS.lock().await;
    in_namespace("authors", async |namespace| {
        let anna = author(namespace, "anna").await;
        made(namespace, &anna).await;
        let (cluster, name) = (&namespace.cluster, format!("zz-{}", namespace.name));
        for kind in ["MutatingAdmissionPolicyBinding", "MutatingAdmissionPolicy"] {
            let spec = if kind.ends_with("Binding") { json!({ "policyName": name }) } else { forges(&namespace.name) };
            let document = json!({
                "apiVersion": "admissionregistration.k8s.io/v1beta1", "kind": kind, "metadata": { "name": name }, "spec": spec,
            });
            cluster.apply_policy(&document).await;
        }
        let trial = PatchParams { dry_run: true, ..PatchParams::default() };
        let changed = Patch::Merge(json!({ "spec": { "version": "2.0.0" } }));
        let api = namespace.api::<Release>(&anna);
        // It is active when the annotation that it adds beside its forgery is there.
        soon("its stamp is overwritten", async || {
            let answer = api.patch("shop", &trial, &changed).await.unwrap();
            let forged = answer.annotations().contains_key("example.com/forged");
            forged.then(|| assert_eq!(answer.annotations().get(CHANGED_BY).unwrap(), "1\n2 anna"))
        })
        .await;
        // Which of two policies comes first the server deals anew whenever one of them changes, and only then: theirs is
        // changed until it has come last. Where ours comes last, the truth has the last word.
        let mut dealt = 0;
        let refused = soon("its stamp is refused", async || {
            dealt += 1;
            let insists = Patch::Merge(json!({
                "metadata": { "annotations": { "example.com/dealt": dealt.to_string() } },
                "spec": { "reinvocationPolicy": "IfNeeded" },
            }));
            cluster.policies("MutatingAdmissionPolicy").patch(&name, &PatchParams::default(), &insists).await.unwrap();
            let answer = api.patch("shop", &trial, &changed).await;
            answer.map(|it| assert_eq!(it.annotations().get(CHANGED_BY).unwrap(), "1\n2 anna")).err()
        })
        .await;
        for kind in ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"] {
            cluster.policies(kind).delete(&name, &DeleteParams::default()).await.unwrap();
        }
        assert_refused::<Release>(Err(refused), "says who changed the spec, and is not for anybody to write");
        assert_eq!(stamp(namespace).await, "1\n1 anna");
    })
    .await;
}

/// Returns a policy that forges the stamps of a namespace.
fn forges(namespace: &str) -> Value {
    let expression = r#"[
        JSONPatch{op: "add", path: "/metadata/annotations/example.com~1forged", value: "yes"},
        JSONPatch{op: "add", path: "/metadata/annotations/switchback.dev~1changed-by", value: "1\n2 ben\n1 ben"}]"#;
    json!({
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
            "resourceRules": [{
                "apiGroups": ["switchback.dev"], "apiVersions": ["v1alpha1"], "operations": ["UPDATE"], "resources": ["releases"],
            }],
        },
        "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": expression } }],
    })
}

#[tokio::test]
async fn of_more_people_than_can_be_named_the_oldest_is_left_out_and_that_is_said() {
    in_namespace("authors", async |namespace| {
        made(namespace, &namespace.cluster.admin).await;
        let me = namespace.cluster.me().await;
        for number in 2..=18 {
            let user = author(namespace, &format!("user-{number}")).await;
            changes(namespace, &user, &format!("{number}.0.0")).await.unwrap();
        }
        let told = stamp(namespace).await;
        assert!(told.starts_with("3\n18 user-18\n17 user-17\n") && told.ends_with("\n3 user-3"), "{told}");
        assert!(!told.contains(&me) && !told.contains("user-2\n"), "{told}");
        let known = ChangedBy::parse(&told).unwrap();
        assert_eq!((known.between(1, 18), known.between(2, 18).map(|all| all.len())), (None, Some(16)));
    })
    .await;
}
