//! Forged Decisions: what must not work, and what the API server says then.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use strum::VariantNames as _;
use switchback::api::{Decision, DecisionKind};

use crate::support::{
    CONTROLLER, Namespace, assert_refused, in_namespace,
    objects::{approval, decision},
};

/// Everything that people need in order to decide about every Release of a namespace.
const DECIDES: &[&str] = &[
    "get,list,delete,update,patch,create switchback.dev/decisions",
    "approve,reject,abort,retry,rollback,suspend,resume,promote,expedite switchback.dev/releases",
];

/// The gates of plans that are not a release's.
const OTHER_GATES: [&str; 2] = ["Contract", "DataLoss"];

/// What is said of the plan of a Contract migration, and of the data that would be lost by a restore.
fn of_other_gates() -> impl Iterator<Item = (&'static str, Value)> {
    let digest = crate::support::objects::DIGEST;
    OTHER_GATES.into_iter().flat_map(move |gate| {
        [("approve", json!({ "digest": digest, "gate": gate })), ("reject", json!({ "gate": gate }))]
    })
}

/// Every kind of decision, with what it says.
fn kinds() -> impl Iterator<Item = (&'static str, Value)> {
    DecisionKind::VARIANTS.iter().map(|kind| match *kind {
        "approve" => ("approve", json!({ "digest": crate::support::objects::DIGEST })),
        "rollback" => ("rollback", json!({ "to": "v1-0123456789" })),
        other => (other, json!({})),
    })
}

const UID: &str = "11111111-2222-3333-4444-555555555555";

async fn decider<'a>(namespace: &Namespace, name: &'a str) -> &'a str {
    namespace.allow(name, DECIDES).await;
    name
}

#[tokio::test]
async fn whoever_holds_the_verb_decides_in_their_own_name() {
    in_namespace("decides", async |namespace| {
        let anna = namespace.cluster.user(decider(namespace, "anna").await);
        for kind in kinds().chain(of_other_gates()) {
            namespace.make::<Decision>(&anna, &decision("shop", UID, "anna", kind)).await.unwrap();
        }
        // Who names no gate means the release, and that is what is stored.
        for (kind, what) in kinds().filter(|(kind, _)| ["approve", "reject"].contains(kind)) {
            let made = namespace.make::<Decision>(&anna, &decision("shop", UID, "anna", (kind, what))).await.unwrap();
            assert_eq!(made.data["spec"][kind]["gate"], "Release");
        }
        // Somebody known by a client certificate, without impersonation.
        let me = namespace.cluster.me().await;
        namespace.make::<Decision>(&namespace.cluster.admin, &approval("shop", UID, &me)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn forgery_approving_as_somebody_else() {
    in_namespace("forgery", async |namespace| {
        let anna = namespace.cluster.user(decider(namespace, "anna").await);
        decider(namespace, "ben").await;
        let says = r#"spec.actor is "ben", you are "anna"; use kubectl switchback approve"#;
        let forged = approval("shop", UID, "ben");
        assert_refused(namespace.make::<Decision>(&anna, &forged).await, says);
        assert_refused(namespace.try_make::<Decision>(&anna, &forged).await, says);

        let mut managed = forged.clone();
        managed["metadata"]["managedFields"] =
            json!([{ "manager": "ben", "operation": "Update", "apiVersion": "switchback.dev/v1alpha1" }]);
        assert_refused(namespace.make::<Decision>(&anna, &managed).await, says);
        let mut annotated = forged;
        annotated["metadata"]["annotations"] = json!({ "switchback.dev/changed-by": "1:ben" });
        assert_refused(namespace.make::<Decision>(&anna, &annotated).await, says);

        // An administrator is no exception, with a certificate as little as by a look-alike of the name.
        let admin = &namespace.cluster.admin;
        assert_refused(
            namespace.make::<Decision>(admin, &approval("shop", UID, "anna")).await,
            &format!(r#"spec.actor is "anna", you are "{}""#, namespace.cluster.me().await),
        );
        for look_alike in ["Anna", "anna ", "аnna", "oidc:anna"] {
            let answer = namespace.make::<Decision>(&anna, &approval("shop", UID, look_alike)).await;
            assert_refused(answer, &format!(r#"spec.actor is "{look_alike}", you are "anna""#));
        }
        let reject = decision("shop", UID, "ben", ("reject", json!({})));
        assert_refused(namespace.make::<Decision>(&anna, &reject).await, "use kubectl switchback reject");
    })
    .await;
}

#[tokio::test]
async fn forgery_approving_by_apply_as_somebody_else() {
    in_namespace("forgery", async |namespace| {
        let anna = namespace.cluster.user(decider(namespace, "anna").await);
        let mut forged = approval("shop", UID, "ben");
        forged["metadata"] = json!({ "name": "applied" });
        forged["apiVersion"] = "switchback.dev/v1alpha1".into();
        forged["kind"] = "Decision".into();
        let params = PatchParams::apply("ben").force();
        let answer = namespace.api::<Decision>(&anna).patch("applied", &params, &Patch::Apply(&forged)).await;
        assert_refused(answer, r#"spec.actor is "ben", you are "anna""#);
    })
    .await;
}

#[tokio::test]
async fn forgery_approving_as_nobody() {
    in_namespace("forgery", async |namespace| {
        let anonymous = decider(namespace, "system:anonymous").await;
        let nobody = namespace.cluster.user_in(anonymous, &["system:unauthenticated"]);
        assert_refused(
            namespace.make::<Decision>(&nobody, &approval("shop", UID, anonymous)).await,
            "it does not know who you are",
        );
        let anna = namespace.cluster.user(decider(namespace, "anna").await);
        assert_refused(namespace.make::<Decision>(&anna, &approval("shop", UID, "")).await, "spec.actor");
        // A group without a user is nobody, whoever asks.
        let groups_only = namespace.cluster.with_headers(&[("impersonate-group", "system:masters")]);
        let answer = namespace.make::<Decision>(&groups_only, &approval("shop", UID, "")).await;
        assert_refused(answer, "without impersonating a user");
        // An empty header is none: the caller stays who he is.
        let empty = namespace.cluster.with_headers(&[("impersonate-user", "")]);
        assert_refused(namespace.make::<Decision>(&empty, &approval("shop", UID, "")).await, "spec.actor");
        let says = format!(r#"you are "{}""#, namespace.cluster.me().await);
        assert_refused(namespace.make::<Decision>(&empty, &approval("shop", UID, "anna")).await, &says);
    })
    .await;
}

#[tokio::test]
async fn forgery_deciding_without_the_verb() {
    in_namespace("forgery", async |namespace| {
        let create = "create switchback.dev/decisions";
        namespace
            .allow("carl", &[create, "approve switchback.dev/releases:other", "reject switchback.dev/releases"])
            .await;
        let carl = namespace.cluster.user("carl");
        let says = |verb: &str| {
            format!(
                r#""carl" may not {verb} Release {}/shop: that takes the verb "{verb}" on releases.switchback.dev"#,
                namespace.name
            )
        };
        for (verb, what) in kinds().filter(|(verb, _)| *verb != "reject") {
            let forged = decision("shop", UID, "carl", (verb, what));
            assert_refused(namespace.make::<Decision>(&carl, &forged).await, &says(verb));
        }
        // What he was given he may.
        namespace.make::<Decision>(&carl, &approval("other", UID, "carl")).await.unwrap();
        let reject = decision("shop", UID, "carl", ("reject", json!({})));
        namespace.make::<Decision>(&carl, &reject).await.unwrap();
        // A right in another namespace is none here.
        in_namespace("elsewhere", async |elsewhere| {
            elsewhere.allow("dora", DECIDES).await;
            namespace.allow("dora", &[create]).await;
            let dora = namespace.cluster.user("dora");
            let answer = namespace.make::<Decision>(&dora, &approval("shop", UID, "dora")).await;
            assert_refused(answer, r#""dora" may not approve"#);
        })
        .await;
    })
    .await;
}

/// A gate is no way around who may decide: its verbs are those of a release.
#[tokio::test]
async fn forgery_approving_by_another_gate_as_somebody_else_or_without_the_verb() {
    in_namespace("forgery", async |namespace| {
        let anna = namespace.cluster.user(decider(namespace, "anna").await);
        namespace.allow("carl", &["create switchback.dev/decisions", "retry,rollback switchback.dev/releases"]).await;
        let carl = namespace.cluster.user("carl");
        let user = format!("system:serviceaccount:{}:robot", namespace.name);
        decider(namespace, &user).await;
        let robot = namespace.cluster.service_account(&namespace.name, "robot").await;
        for (verb, what) in of_other_gates() {
            let by = |actor: &str| decision("shop", UID, actor, (verb, what.clone()));
            let says = format!(r#"spec.actor is "ben", you are "anna"; use kubectl switchback {verb}"#);
            assert_refused(namespace.make::<Decision>(&anna, &by("ben")).await, &says);
            let says = format!(r#""carl" may not {verb} Release {}/shop"#, namespace.name);
            assert_refused(namespace.make::<Decision>(&carl, &by("carl")).await, &says);
            let says = format!(r#""{user}" is a service account, and decisions are for people"#);
            assert_refused(namespace.make::<Decision>(&robot, &by(&user)).await, &says);
        }
    })
    .await;
}

/// One gate's approval does not become the other's.
#[tokio::test]
async fn forgery_turning_an_approval_into_one_of_another_gate() {
    in_namespace("forgery", async |namespace| {
        let anna = namespace.cluster.user(decider(namespace, "anna").await);
        for (kind, what) in kinds().filter(|(kind, _)| ["approve", "reject"].contains(kind)) {
            let made = namespace.make::<Decision>(&anna, &decision("shop", UID, "anna", (kind, what))).await.unwrap();
            let name = made.metadata.name.unwrap();
            for (gate, client) in OTHER_GATES.into_iter().zip([&anna, &namespace.cluster.admin]) {
                let patch = json!({ "spec": { kind: { "gate": gate } } });
                let answer = namespace.patch::<Decision>(client, &name, patch).await;
                let said = crate::support::refusal(answer);
                assert!(said.contains("cannot be changed: create another one"), "{kind}: {said}");
            }
        }
        for (kind, what) in of_other_gates() {
            let made = namespace.make::<Decision>(&anna, &decision("shop", UID, "anna", (kind, what))).await.unwrap();
            let patch = json!({ "spec": { kind: { "gate": null } } });
            let answer = namespace.patch::<Decision>(&anna, &made.metadata.name.unwrap(), patch).await;
            let said = crate::support::refusal(answer);
            assert!(said.contains("cannot be changed: create another one"), "{kind}: {said}");
        }
    })
    .await;
}

#[tokio::test]
async fn forgery_approving_by_a_service_account() {
    in_namespace("forgery", async |namespace| {
        let user = format!("system:serviceaccount:{}:robot", namespace.name);
        decider(namespace, &user).await;
        let robot = namespace.cluster.service_account(&namespace.name, "robot").await;
        let body = approval("shop", UID, &user);
        let says = format!(r#""{user}" is a service account, and decisions are for people"#);
        assert_refused(namespace.make::<Decision>(&robot, &body).await, &says);
        // In the name of the person who told it to.
        let answer = namespace.make::<Decision>(&robot, &approval("shop", UID, "anna")).await;
        assert_refused(answer, r#"spec.actor is "anna", you are "system:serviceaccount:"#);
        // An admin can let it, on purpose.
        namespace.allow(&user, &["decideasserviceaccount switchback.dev/releases:shop"]).await;
        namespace.make::<Decision>(&robot, &body).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn forgery_approving_by_the_controllers_own_account() {
    in_namespace("forgery", async |namespace| {
        decider(namespace, CONTROLLER).await;
        let controller = namespace.cluster.user(CONTROLLER);
        let body = approval("shop", UID, CONTROLLER);
        // Which of two policies answers first is open.
        let first = namespace.make::<Decision>(&controller, &body).await;
        let said = crate::support::refusal(first);
        assert!(said.contains("decisions are for people") || said.contains("neither decides nor asks"), "{said}");
        // Not even where it was given everything.
        namespace.allow(CONTROLLER, &["* switchback.dev/releases", "* switchback.dev/decisions"]).await;
        assert_refused(namespace.make::<Decision>(&controller, &body).await, "the controller neither decides nor asks");
    })
    .await;
}

#[tokio::test]
async fn forgery_changing_a_decision() {
    in_namespace("forgery", async |namespace| {
        let anna = namespace.cluster.user(decider(namespace, "anna").await);
        let made = namespace.make::<Decision>(&anna, &approval("shop", UID, "anna")).await.unwrap();
        let name = made.metadata.name.unwrap();
        let other = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
        let table: [(&str, Value); 7] = [
            ("the digest", json!({ "spec": { "approve": { "digest": other } } })),
            ("the target", json!({ "spec": { "target": { "uid": "another" } } })),
            ("the kind of decision", json!({ "spec": { "approve": null, "reject": {} } })),
            ("the actor", json!({ "spec": { "actor": "ben" } })),
            ("the reason", json!({ "spec": { "reason": "afterwards" } })),
            ("labels", json!({ "metadata": { "labels": { "team": "other" } } })),
            ("annotations", json!({ "metadata": { "annotations": { "switchback.dev/changed-by": "1:ben" } } })),
        ];
        for (what, patch) in table {
            for client in [&anna, &namespace.cluster.admin] {
                let answer = namespace.patch::<Decision>(client, &name, patch.clone()).await;
                let said = crate::support::refusal(answer);
                assert!(said.contains("cannot be changed: create another one"), "{what}: {said}");
            }
        }
        // What the garbage collector needs passes, and so does deleting.
        let finalizer = json!({ "metadata": { "finalizers": ["example.com/held"] } });
        namespace.patch::<Decision>(&anna, &name, finalizer).await.unwrap();
        namespace.patch::<Decision>(&anna, &name, json!({ "metadata": { "finalizers": null } })).await.unwrap();
        // One that is there: the garbage collector would be quicker than the next line.
        let there = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "there" } });
        let there = namespace.make::<ConfigMap>(&namespace.cluster.admin, &there).await.unwrap();
        let owner = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "there", "uid": there.metadata.uid }]);
        let owned = json!({ "metadata": { "ownerReferences": owner } });
        namespace.patch::<Decision>(&anna, &name, owned).await.unwrap();
        namespace.patch::<Decision>(&anna, &name, json!({ "metadata": { "ownerReferences": null } })).await.unwrap();
        namespace.api::<Decision>(&anna).delete(&name, &DeleteParams::default()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn forgery_approving_through_status() {
    in_namespace("forgery", async |namespace| {
        let anna = namespace.cluster.user(decider(namespace, "anna").await);
        let mut body = approval("shop", UID, "anna");
        body["status"] = json!({ "state": "Used", "reason": "Used", "message": "" });
        let made = namespace.make::<Decision>(&anna, &body).await.unwrap();
        assert_eq!(made.data.get("status"), None, "a status that comes with a new object is dropped");
        let name = made.metadata.name.unwrap();
        let patch = Patch::Merge(json!({ "status": { "state": "Used", "reason": "Used", "message": "" } }));
        let api = namespace.api::<Decision>(&anna);
        let answer = api.patch_status(&name, &PatchParams::default(), &patch).await;
        assert_refused(answer, r#"User "anna" cannot patch resource "decisions/status""#);
        // The controller, which may, is not held up by the policy, and changes nothing else by it.
        let patch = Patch::Merge(
            json!({ "spec": { "actor": "ben" }, "status": { "state": "Used", "reason": "Used", "message": "" } }),
        );
        namespace.allow(CONTROLLER, &["patch switchback.dev/decisions/status"]).await;
        let api = namespace.api::<Decision>(&namespace.cluster.user(CONTROLLER));
        let after = api.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
        assert_eq!((after.spec.actor.as_str(), after.status.unwrap().state.as_str()), ("anna", "Used"));
    })
    .await;
}
