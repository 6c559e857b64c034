//! Whether both versions fit beside each other is known before anything is made.

use kube::core::DynamicObject;
use serde_json::{Value, json};
use switchback::{
    api::{ReleaseSpec, Step},
    release::{observed::DefaultsSeen, watched},
};

use crate::world::World;

fn object(kind: &str, name: &str, rest: Value) -> DynamicObject {
    let mut body = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name, "namespace": "prod" } });
    body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    serde_json::from_value(body).unwrap()
}

/// A quota of one resource, as the API server has counted it.
pub fn quota(resource: &str, hard: &str, used: &str) -> DynamicObject {
    object(
        "ResourceQuota",
        "team",
        json!({
            "spec": { "hard": { resource: hard } }, "status": { "hard": { resource: hard }, "used": { resource: used } },
        }),
    )
}

/// Three pods of 100m and 64Mi, with a sidecar of as much, and an init container that takes more memory alone.
fn sized(spec: &mut ReleaseSpec) {
    let resources = json!({ "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "memory": "128Mi" } });
    let pod = &mut spec.workloads[0].template.0["spec"];
    pod["containers"][0]["resources"] = resources.clone();
    pod["initContainers"] = json!([
        { "name": "side", "image": "s:1", "restartPolicy": "Always", "resources": resources },
        { "name": "init", "image": "i:1", "resources": { "requests": { "memory": "256Mi" } } },
    ]);
}

#[test]
fn input_20_a_quota_without_room_for_two_versions_is_told_in_numbers() {
    let table = [
        ("pods", "6", "3", None),
        ("pods", "5", "3", Some("allows 5 of pods, of which 3 are used; 2.0.0 takes 3 more")),
        ("count/pods", "5", "3", Some("allows 5 of count/pods")),
        ("requests.cpu", "1200m", "600m", None),
        ("cpu", "1", "600m", Some("allows 1 of cpu, of which 600m are used; 2.0.0 takes 600m more")),
        ("requests.memory", "1535Mi", "768Mi", Some("of which 768Mi are used; 2.0.0 takes 768Mi more")),
        ("requests.memory", "1536Mi", "768Mi", None),
        ("limits.memory", "1Gi", "768Mi", Some("allows 1Gi of limits.memory")),
        ("count/deployments.apps", "1", "1", Some("takes 1 more")),
        ("persistentvolumeclaims", "0", "0", None),
    ];
    for (resource, hard, used, words) in table {
        let mut world = World::serving_as(sized);
        world.quotas = [quota(resource, hard, used)].iter().filter_map(watched::quota).collect();
        world.ask_for("2.0.0");
        match words {
            None => world.run_to(Step::Approve),
            Some(words) => {
                world.run_to_rest();
                assert_eq!(world.condition("Stalled"), Some(("True", "QuotaExceeded")), "{resource} {hard}");
                let message = world.message("Ready");
                assert!(message.contains("ResourceQuota team") && message.contains(words), "{message}");
                assert!(message.contains("beside what serves (web x 3)"), "{message}");
                assert!(world.writes.is_empty() && world.active() == Some("1.0.0"), "{:?}", world.writes);
            }
        }
    }
}

#[test]
fn input_20_the_candidate_needs_room_for_what_serves_now() {
    let mut world = World::serving();
    // Somebody has scaled it up since.
    let mut more = world.spec.clone();
    more.workloads[0].replicas = Some(8);
    world.change(more);
    world.run_to_rest();
    world.quotas = [quota("pods", "15", "8")].iter().filter_map(watched::quota).collect();
    world.ask_for("2.0.0");
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "QuotaExceeded")));
    assert!(world.message("Ready").contains("takes 8 more"), "{}", world.message("Ready"));
}

#[test]
fn input_20_what_limits_give_to_containers_counts() {
    let limits = object(
        "LimitRange",
        "defaults",
        json!({ "spec": { "limits": [
        { "type": "Container", "default": { "cpu": "1" }, "defaultRequest": { "memory": "1Gi" } },
        { "type": "Pod", "max": { "cpu": "8" } },
    ] } }),
    );
    for (resource, hard, fits) in [("requests.cpu", "5", false), ("requests.cpu", "6", true), ("memory", "5Gi", false)]
    {
        let mut world = World::serving();
        world.quotas = [quota(resource, hard, "3")].iter().filter_map(watched::quota).collect();
        world.defaults = DefaultsSeen::default();
        watched::defaults(&limits, &mut world.defaults);
        let used = if resource == "memory" { "3Gi" } else { "3" };
        world.quotas = [quota(resource, hard, used)].iter().filter_map(watched::quota).collect();
        world.ask_for("2.0.0");
        if fits {
            world.run_to(Step::Approve);
        } else {
            world.run_to_rest();
            assert_eq!(world.condition("Stalled"), Some(("True", "QuotaExceeded")), "{resource} {hard}");
        }
    }
}

#[test]
fn quotas_for_some_pods_only_and_those_that_nobody_has_counted_for_say_nothing() {
    let uncounted = object("ResourceQuota", "new", json!({ "spec": { "hard": { "pods": "0" } } }));
    let mut scoped = quota("pods", "0", "0");
    scoped.data["spec"]["scopes"] = json!(["BestEffort"]);
    assert_eq!((watched::quota(&uncounted), watched::quota(&scoped)), (None, None));
}
