//! PodDisruptionBudgets, and what else selects the same pods.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use switchback::{
    api::{ReleaseSpec, Step},
    release::{manifests::Kind, observed::SelectingSeen, watched},
};

use crate::world::World;

/// Gives the pods a label of the user's.
fn labelled(spec: &mut ReleaseSpec) {
    spec.workloads[0].template.0["metadata"] = json!({ "labels": { "app": "shop" } });
}

fn small(spec: &mut ReleaseSpec) {
    spec.workloads[0].replicas = Some(1);
}

/// An object as the API server sends it, as it is read.
fn selecting(kind: Kind, name: &str, spec: Value) -> SelectingSeen {
    let body = json!({
        "apiVersion": "v1", "kind": kind.as_str(), "metadata": { "name": name, "namespace": "prod" }, "spec": spec,
    });
    watched::selecting(kind, &serde_json::from_value(body).unwrap())
}

fn budgets(world: &World) -> Vec<String> {
    world.unwatched.keys().filter(|(kind, _)| *kind == "PodDisruptionBudget").map(|(_, name)| name.clone()).collect()
}

fn web(version: &str) -> String {
    format!("shop-web-{}", World::digits(version))
}

#[test]
fn of_a_workload_of_two_pods_or_more_the_cluster_takes_one_at_a_time() {
    let mut world = World::at(Step::Deploy);
    world.look(usize::MAX);
    assert_eq!(world.writes[0], "create PodDisruptionBudget shop-web-<2.0.0>", "{:?}", world.writes);
    let spec = &world.unwatched[&("PodDisruptionBudget", web("2.0.0"))].body["spec"];
    assert_eq!((&spec["maxUnavailable"], &spec["unhealthyPodEvictionPolicy"]), (&json!(1), &json!("AlwaysAllow")));
    let labels = spec["selector"]["matchLabels"].as_object().unwrap();
    assert_eq!(labels["switchback.dev/revision"], json!(World::digits("2.0.0")));
    // It is kept as long as its Deployment.
    world.run_to(Step::Idle);
    assert_eq!(budgets(&world).len(), 2);
    world.run_to_rest();
    assert_eq!(budgets(&world), [web("2.0.0")]);
    assert_eq!(world.deployments.len(), 1);
}

#[test]
fn a_single_pod_has_no_budget_until_it_gets_company() {
    let mut world = World::serving_as(small);
    assert_eq!(budgets(&world), Vec::<String>::new());
    let mut more = world.spec.clone();
    more.workloads[0].replicas = Some(2);
    world.change(more);
    world.run_to_rest();
    assert_eq!((budgets(&world), world.record().attempts), (vec![web("1.0.0")], 1));
}

#[test]
fn an_attempt_that_fails_takes_its_budget_with_it() {
    let mut world = World::at(Step::Deploy);
    world.unready.push(World::digits("2.0.0"));
    world.run_to_rest();
    assert_eq!(budgets(&world), [web("1.0.0")]);
}

#[test]
fn rule_10_where_a_budget_of_the_users_holds_there_is_no_second_one() {
    let pods = json!({ "maxUnavailable": 1, "selector": { "matchLabels": { "app": "shop" } } });
    let mut world = World::serving_as(labelled);
    world.unwatched.clear();
    world.elsewhere.push(selecting(Kind::PodDisruptionBudget, "theirs", pods.clone()));
    world.elsewhere.push(selecting(
        Kind::PodDisruptionBudget,
        "others",
        json!({ "selector": { "matchLabels": { "app": "x" } } }),
    ));
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let risks = |world: &World| {
        let plan = world.record().plan.clone().unwrap();
        plan.risks.into_iter().filter(|risk| risk.contains("PodDisruptionBudgets")).collect::<Vec<_>>()
    };
    assert_eq!(risks(&world), Vec::<String>::new());
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), budgets(&world).len()), (Some("2.0.0"), 0));
    // Two of theirs are their business, and worth a word.
    world.elsewhere.push(selecting(Kind::PodDisruptionBudget, "more", pods));
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    assert!(
        risks(&world)[0].contains("2 PodDisruptionBudgets hold for its pods (theirs, more)"),
        "{:?}",
        risks(&world)
    );
}

#[test]
fn rule_10_input_09_what_would_select_the_candidates_pods_is_found_before_there_are_any() {
    let labels = json!({ "matchLabels": { "app": "shop" } });
    let table = [
        (Kind::Service, json!({ "selector": { "app": "shop" } }), "SelectedElsewhere", "Service theirs selects"),
        (Kind::Deployment, json!({ "selector": labels }), "SelectedElsewhere", "Deployment theirs selects"),
    ];
    for (kind, spec, reason, words) in table {
        let mut world = World::serving_as(labelled);
        world.elsewhere.push(selecting(kind, "theirs", spec));
        world.ask_for("2.0.0");
        world.run_to_rest();
        assert_eq!(world.condition("Stalled"), Some(("True", reason)), "{kind:?}");
        let message = world.message("Ready");
        assert!(message.contains(words) && message.contains("by app=shop"), "{message}");
        assert!(world.writes.is_empty(), "{kind:?}: {:?}", world.writes);
        assert_eq!(world.active(), Some("1.0.0"));
    }
}

#[test]
fn input_14_an_autoscaler_of_the_users_on_a_deployment_of_ours() {
    let mut world = World::serving();
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": web("1.0.0") });
    let scales = json!({ "scaleTargetRef": target, "maxReplicas": 9 });
    world.elsewhere.push(selecting(Kind::HorizontalPodAutoscaler, "theirs", scales));
    world.ask_for("2.0.0");
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "ReplicasOwnedByAutoscaler")));
    let words = format!("HorizontalPodAutoscaler theirs scales Deployment {}", web("1.0.0"));
    assert!(world.message("Ready").contains(&words), "{}", world.message("Ready"));
}

#[test]
fn what_selects_other_pods_or_nothing_is_nobodys_business() {
    let mut world = World::serving_as(labelled);
    let expressions = |operator: &str, values: Value| json!({ "selector": { "matchExpressions": [{ "key": "app", "operator": operator, "values": values }] } });
    world.elsewhere = vec![
        selecting(Kind::Service, "none", json!({ "ports": [] })),
        selecting(Kind::Service, "empty", json!({ "selector": {} })),
        selecting(Kind::Service, "narrow", json!({ "selector": { "app": "shop", "tier": "api" } })),
        selecting(Kind::Deployment, "other", expressions("In", json!(["x", "y"]))),
        selecting(Kind::Deployment, "not", expressions("NotIn", json!(["shop"]))),
        selecting(
            Kind::HorizontalPodAutoscaler,
            "set",
            json!({
                "scaleTargetRef": { "kind": "StatefulSet", "name": web("1.0.0") },
            }),
        ),
    ];
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn selectors_are_read_as_kubernetes_reads_them() {
    let labels = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
    let all = selecting(Kind::PodDisruptionBudget, "all", json!({ "selector": {} }));
    assert!(all.selects(&labels) && all.by() == "every pod of the namespace");
    let none = selecting(Kind::PodDisruptionBudget, "none", json!({}));
    assert!(!none.selects(&labels));
    let unknown = json!({ "selector": { "matchExpressions": [{ "key": "app", "operator": "Resembles" }] } });
    assert!(!selecting(Kind::Deployment, "unknown", unknown).selects(&labels));
}
