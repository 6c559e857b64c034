//! Who may reach the database (A13): what the plan says of NetworkPolicies over its pods.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::json;
use switchback::{
    api::Step,
    release::{
        manifests::Kind,
        observed::{Ask, NetworkPolicySeen, SelectingSeen},
        watched,
    },
};

use crate::world::World;

/// The Service at which the database answers.
pub fn service(selector: Option<&[(&str, &str)]>) -> SelectingSeen {
    let selector =
        selector.map(|labels| LabelSelector { match_labels: Some(owned(labels)), ..LabelSelector::default() });
    SelectingSeen { kind: Kind::Service, name: "db".into(), of_release: false, selector, scales: None }
}

fn owned(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A NetworkPolicy as the API server sends it, as it is read.
fn policy(name: &str, labels: &[(&str, &str)], ingress: serde_json::Value) -> NetworkPolicySeen {
    let spec = json!({ "podSelector": { "matchLabels": owned(labels) }, "ingress": ingress });
    let body = json!({ "metadata": { "name": name, "namespace": "prod" }, "spec": spec });
    watched::network_policy(&serde_json::from_value(body).unwrap()).unwrap()
}

/// A world in which the database is two pods behind a Service.
fn world() -> World {
    let mut world = World::with_database();
    world.elsewhere.push(service(Some(&[("app", "db")])));
    for pod in ["db-0", "db-1"] {
        world.unseen.push((pod.into(), owned(&[("app", "db"), ("pod", pod)])));
    }
    world.unseen.push(("web-0".into(), owned(&[("app", "web")])));
    world
}

/// What the plan says of who may reach the database.
#[track_caller]
fn told(world: &mut World) -> Option<String> {
    world.run_to(Step::Approve);
    let risks = world.record().plan.clone().unwrap().risks;
    let mut told: Vec<String> = risks.into_iter().filter(|risk| risk.starts_with("Database shop: ")).collect();
    assert!(told.len() <= 1, "{told:#?}");
    told.pop()
}

#[track_caller]
fn assert_told(mut world: World, words: &str) {
    let told = told(&mut world).unwrap_or_default();
    assert!(told.contains(words), "{words:?} is not in {told:?}");
    // It is told, and holds nothing up.
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

/// Lets the application in and nobody else.
fn application() -> serde_json::Value {
    json!([{ "from": [{ "podSelector": { "matchLabels": { "app": "web" } } }] }])
}

#[test]
fn a13_a_network_policy_over_all_pods_of_the_database_leaves_nothing_to_tell() {
    let mut one = world();
    one.network_policies = Some(vec![policy("db", &[("app", "db")], application())]);
    assert_eq!(told(&mut one), None);
    // By labels that the Service does not know of, and by one policy each.
    let mut each = world();
    each.network_policies = Some(["db-0", "db-1"].map(|pod| policy(pod, &[("pod", pod)], application())).into());
    assert_eq!(told(&mut each), None);
}

#[test]
fn a13_a_database_that_no_network_policy_covers_is_named_with_what_to_do() {
    let bare = "no NetworkPolicy covers its pods behind Service db, so that any pod of the cluster may reach it. Make one of type \
                Ingress that selects app=db";
    assert_told(world(), bare);
    let mut other = world();
    other.network_policies = Some(vec![policy("web", &[("app", "web")], application())]);
    assert_told(other, "no NetworkPolicy covers its pod db-0 behind Service db");
    // One pod that nothing covers is a way in.
    let mut half = world();
    half.network_policies = Some(vec![policy("half", &[("pod", "db-0")], application())]);
    assert_told(half, "no NetworkPolicy covers its pod db-1 behind Service db");
}

#[test]
fn a13_a_network_policy_that_lets_everybody_in_is_named() {
    let mut open = world();
    let everybody = json!([{ "ports": [{ "port": 5432 }] }]);
    open.network_policies =
        Some(vec![policy("db", &[("app", "db")], application()), policy("open", &[("app", "db")], everybody)]);
    assert_told(open, "NetworkPolicy open lets everybody in to its pods behind Service db");
    // What everybody may ask for metrics, or of other pods, is another matter.
    let mut metrics = world();
    let at = |port: i32| json!([{ "ports": [{ "port": port }] }]);
    metrics.network_policies = Some(vec![
        policy("db", &[("app", "db")], application()),
        policy("metrics", &[("app", "db")], at(9187)),
        policy("web", &[("app", "web")], at(5432)),
    ]);
    assert_eq!(told(&mut metrics), None);
}

#[test]
fn a13_where_it_cannot_be_told_the_plan_says_so_and_why() {
    let mut elsewhere = world();
    elsewhere.elsewhere.clear();
    assert_told(
        elsewhere,
        "it cannot be told whether a NetworkPolicy says who may reach it at db:5432: db is no Service",
    );
    let mut without = world();
    without.elsewhere = vec![service(None)];
    assert_told(without, "Service db selects no pods");
    let mut empty = world();
    empty.network_policies = Some(vec![policy("db", &[("app", "db")], application())]);
    empty.unseen.clear();
    assert_told(empty, "there is no pod behind Service db");
    let mut forbidden = world();
    forbidden.network_policies = None;
    assert_told(forbidden, "the controller has no right to list NetworkPolicies");
}

#[test]
fn a13_what_is_told_stays_told_when_the_version_is_called_otherwise() {
    let mut world = world();
    let first = told(&mut world).unwrap();
    let mut renamed = world.spec.clone();
    renamed.version = "1.0.1".into();
    world.change(renamed);
    world.look(usize::MAX);
    assert_eq!(world.record().candidate.as_ref().unwrap().version, "1.0.1");
    assert_eq!(told(&mut world), Some(first));
}

#[test]
fn a_release_without_a_database_asks_for_no_network_policy() {
    let mut world = World::serving();
    world.ask_for("2.0.0");
    let (seen, plan) = world.plan();
    assert_eq!(plan.record.step, Step::Approve);
    let asked = seen.answers.iter().any(|(ask, _)| matches!(ask, Ask::NetworkPolicies | Ask::PodsOf(_)));
    assert!(!asked, "{:?}", seen.answers);
}
