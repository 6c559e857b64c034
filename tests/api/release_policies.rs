//! The schema of ReleasePolicies, and who may write them.

use serde_json::{Value, json};
use switchback::api::ReleasePolicy;

use crate::{
    schema::{Demand, OUR_LABELS, all_demands, changed, jobs, try_job_labels, try_patterns},
    support::{assert_refused, in_namespace},
};

const DEFAULT: &str = "defaultMode Automatic takes automatic: Allowed";
const WHOM: &str = "name labels or names, not both";
const ITSELF: &str = "name the namespace or the release: it is another one";
const SHORT: &str = "expires is shorter than a minute";

/// A policy with a value at every place that a rule or pattern is about.
fn policy() -> Value {
    json!({
        "metadata": { "name": "production" },
        "spec": {
            "selector": { "names": ["shop"] },
            "automatic": "Forbidden",
            "firstRelease": "Automatic",
            "approval": { "required": 2, "notAuthor": true, "expires": "8h", "statements": ["Begin automated deployment"] },
            "freeze": [{ "schedule": "0 16 * * FRI", "for": "64h", "timezone": "Europe/Berlin", "reason": "weekend" }],
            "promotion": { "from": [{ "namespace": "staging", "release": "shop" }], "soak": "1h", "sameImages": true },
            "images": { "digestRequired": true },
            "concurrency": 3,
            "semver": true,
            "database": { "proof": "Restored" },
            "jobs": jobs(),
        },
    })
}

#[tokio::test]
async fn input_04_and_input_50_every_pattern_of_policies_accepts_and_refuses() {
    in_namespace("schema", async |namespace| {
        try_patterns::<ReleasePolicy>(namespace, "ReleasePolicy", policy()).await;
    })
    .await;
}

#[tokio::test]
async fn every_rule_of_policies_accepts_and_refuses() {
    in_namespace("schema", async |namespace| {
        for (place, demand) in all_demands("ReleasePolicy") {
            let Demand::Rule(message) = demand else { continue };
            let known = [DEFAULT, WHOM, SHORT, ITSELF, OUR_LABELS].contains(&message.as_str())
                || message.starts_with("longer than");
            assert!(known, "no examples of {message:?} at {place}");
        }
        let admin = &namespace.cluster.admin;
        namespace.try_make::<ReleasePolicy>(admin, &policy()).await.unwrap();
        try_job_labels::<ReleasePolicy>(namespace, &policy()).await;
        let shortest = json!({ "metadata": { "name": "all" }, "spec": {} });
        namespace.try_make::<ReleasePolicy>(admin, &shortest).await.unwrap();
        let automatic = [("/spec/defaultMode", json!("Automatic"))];
        assert_refused(namespace.try_make::<ReleasePolicy>(admin, &changed(policy(), &automatic)).await, DEFAULT);
        let allowed = [("/spec/defaultMode", json!("Automatic")), ("/spec/automatic", json!("Allowed"))];
        namespace.try_make::<ReleasePolicy>(admin, &changed(policy(), &allowed)).await.unwrap();
        for people in [1, 2, 8] {
            let asked = [("/spec/approval/contractRequired", json!(people))];
            namespace.try_make::<ReleasePolicy>(admin, &changed(policy(), &asked)).await.unwrap();
        }
        let both = [("/spec/selector/matchLabels", json!({ "tier": "front" }))];
        assert_refused(namespace.try_make::<ReleasePolicy>(admin, &changed(policy(), &both)).await, WHOM);
        let itself = [("/spec/promotion/from/0", json!({}))];
        assert_refused(namespace.try_make::<ReleasePolicy>(admin, &changed(policy(), &itself)).await, ITSELF);
        let short = [("/spec/approval/expires", json!("59s"))];
        assert_refused(namespace.try_make::<ReleasePolicy>(admin, &changed(policy(), &short)).await, SHORT);
    })
    .await;
}

#[tokio::test]
async fn input_01_and_input_02_what_is_wrong_with_a_policy_is_named() {
    in_namespace("schema", async |namespace| {
        let admin = &namespace.cluster.admin;
        let table: [(&str, Value, &str); 14] = [
            ("/spec/promotion/from", json!([]), "spec.promotion.from: Invalid value"),
            ("/spec/concurrency", json!(65), "should be less than or equal to 64"),
            ("/spec/approvals", json!({}), r#"unknown field "spec.approvals""#),
            ("/spec/automatic", json!("Perhaps"), r#"supported values: "Allowed", "Forbidden""#),
            ("/spec/approval/required", json!(0), "should be greater than or equal to 1"),
            ("/spec/approval/required", json!(9), "should be less than or equal to 8"),
            ("/spec/approval/contractRequired", json!(0), "should be greater than or equal to 1"),
            ("/spec/approval/contractRequired", json!(9), "should be less than or equal to 8"),
            ("/spec/approval/contractRequired", json!("two"), "spec.approval.contractRequired: Invalid value"),
            ("/spec/approval/statements", json!([""]), "spec.approval.statements[0]: Invalid value"),
            ("/spec/freeze/0/for", Value::Null, "spec.freeze[0].for: Required value"),
            (
                "/spec/freeze",
                Value::Array(vec![policy()["spec"]["freeze"][0].clone(); 17]),
                "must have at most 16 items",
            ),
            ("/spec/database/proof", json!("Hoped"), r#"supported values: "Stored", "Readable", "Restored""#),
            ("/spec/selector/names", json!(["a/b"]), "spec.selector.names[0]: Invalid value"),
        ];
        for (place, value, says) in table {
            let answer = namespace.try_make::<ReleasePolicy>(admin, &changed(policy(), &[(place, value)])).await;
            assert_refused(answer, says);
        }
    })
    .await;
}

#[tokio::test]
async fn forgery_whoever_asks_for_releases_loosens_no_policy() {
    in_namespace("forgery", async |namespace| {
        namespace.make::<ReleasePolicy>(&namespace.cluster.admin, &policy()).await.unwrap();
        let releases = "get,list,create,update,patch,delete switchback.dev/releases";
        namespace.allow("dave", &[releases, "get,list switchback.dev/releasepolicies"]).await;
        let dave = namespace.cluster.user("dave");
        let loosened = json!({ "spec": { "approval": { "required": 1 } } });
        let says = r#"User "dave" cannot patch resource "releasepolicies""#;
        assert_refused(namespace.patch::<ReleasePolicy>(&dave, "production", loosened).await, says);
        let other = json!({ "metadata": { "name": "mine" }, "spec": { "automatic": "Allowed" } });
        let says = r#"User "dave" cannot create resource "releasepolicies""#;
        assert_refused(namespace.make::<ReleasePolicy>(&dave, &other).await, says);
    })
    .await;
}
