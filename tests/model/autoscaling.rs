//! Autoscalers: one per revision; while a release is under way neither version loses a pod by them.

use std::sync::Arc;

use serde_json::{Value, json};
use switchback::{
    api::{DecisionKind, DeletionPolicy, Empty, ReleaseSpec, Step},
    release::{manifests::Manifest, observed::AutoscalerSeen, watched},
};

use crate::world::{World, newer};

impl World {
    /// Makes an autoscaler, as a watch shows it.
    pub fn create_autoscaler(&mut self, manifest: &Manifest, uid: &str) {
        let mut body = manifest.body.clone();
        body["metadata"]["uid"] = uid.into();
        body["metadata"]["resourceVersion"] = "1".into();
        let (_, name, seen) = watched::autoscaler(&serde_json::from_value(body).unwrap()).unwrap();
        assert!(seen.most >= seen.least && seen.asked.is_some(), "the API server refuses {seen:?}");
        self.autoscalers.entry(name).or_insert(seen);
    }

    /// Takes a patch of an autoscaler; returns whether it was of the present version.
    pub fn autoscale(&mut self, name: &str, patch: &Value) -> bool {
        let Some(found) = self.autoscalers.get_mut(name) else { return false };
        let meta = &patch["metadata"];
        if meta["uid"] != found.uid.as_str() || meta["resourceVersion"] != found.resource_version.as_str() {
            return false;
        }
        let number = |key: &str| i32::try_from(patch["spec"][key].as_i64().unwrap()).unwrap();
        (found.least, found.most) = (number("minReplicas"), number("maxReplicas"));
        assert!(found.most >= found.least, "the API server refuses {found:?}");
        if let Some(asked) = meta["annotations"]["switchback.dev/autoscaling"].as_str() {
            assert!(patch["spec"]["metrics"].is_array(), "{patch}");
            found.asked = Some(Arc::new(serde_json::from_str(asked).unwrap()));
        }
        newer(&mut found.resource_version);
        true
    }

    /// What the cluster's autoscalers do: as many pods as the load asks for, within their bounds.
    pub fn scale_by_autoscalers(&mut self) {
        for autoscaler in self.autoscalers.values() {
            let Some(deployment) = self.deployments.get_mut(&autoscaler.name) else { continue };
            let wanted = self.load.unwrap_or(deployment.replicas).clamp(autoscaler.least, autoscaler.most);
            // Of no pods there is no load: it is disabled.
            if deployment.replicas > 0 && deployment.replicas != wanted {
                deployment.replicas = wanted;
                newer(&mut deployment.resource_version);
            }
        }
    }

    /// While the candidate is watched no autoscaler may take a pod from what traffic goes back to, nor from what it is on.
    pub fn check_sizes(&self) {
        let (Some(active), Step::Watch, false) = (&self.record().active, self.step(), self.deleting) else { return };
        for traffic in &self.record().traffic {
            let service = self.services.get(&traffic.service);
            let Some(workload) = service.and_then(|service| service.workload()) else { continue };
            let of = |revision| self.autoscalers.values().find(|found| found.is_of(workload, revision));
            let blue = of(&active.revision);
            let green = traffic.revision.as_ref().filter(|green| **green != active.revision).and_then(of);
            let least = |found: Option<&AutoscalerSeen>| found.map_or(i32::MAX, |found| found.least);
            let told = || format!("{:?} {traffic:?}; writes: {:#?}", self.autoscalers, self.writes);
            assert!(least(blue) >= traffic.pods_before.unwrap_or(0), "blue may shrink: {}", told());
            assert!(least(green) >= traffic.pods, "green may shrink: {}", told());
        }
    }

    fn autoscaler(&self, version: &str) -> Option<&AutoscalerSeen> {
        let digits = self.digits_of(version);
        self.autoscalers.values().find(|found| found.revision == digits)
    }

    /// Returns between how many pods a version is kept.
    fn bounds(&self, version: &str) -> Option<(i32, i32)> {
        self.autoscaler(version).map(|found| (found.least, found.most))
    }

    fn pods_of(&self, version: &str) -> i32 {
        let digits = self.digits_of(version);
        self.deployments.values().find(|seen| seen.revision == digits).map_or(0, |seen| seen.replicas)
    }
}

fn asks(spec: &mut ReleaseSpec, autoscaling: Value) {
    spec.workloads[0].replicas = None;
    spec.workloads[0].autoscaling = Some(serde_json::from_value(autoscaling).unwrap());
}

/// Two to eight pods by CPU.
pub fn scaled(spec: &mut ReleaseSpec) {
    asks(spec, json!({ "min": 2, "max": 8, "targetCPU": 70 }));
}

/// The same, with a worker that is scaled as well.
pub fn scaled_with_worker(spec: &mut ReleaseSpec) {
    scaled(spec);
    let autoscaling = json!({ "min": 1, "max": 4, "targetCPU": 50 });
    crate::workers::add(spec, json!({ "name": "mailer", "autoscaling": autoscaling }));
}

/// A world in which 1.0.0 serves with four pods, of two to eight.
fn serving() -> World {
    let mut world = World::serving_as(scaled);
    world.load = Some(4);
    world.settle();
    assert_eq!((world.bounds("1.0.0"), world.pods_of("1.0.0")), (Some((2, 8)), 4));
    world
}

/// The same, where 2.0.0 is asked for and approved.
fn released() -> World {
    let mut world = serving();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.writes.clear();
    world
}

#[test]
fn rule_07_the_candidate_comes_up_as_large_as_what_serves_and_neither_shrinks_until_the_end() {
    let mut world = released();
    world.run_to(Step::Verify);
    assert_eq!((world.bounds("2.0.0"), world.pods_of("2.0.0")), (Some((4, 8)), 4));
    // Before the switch the one that serves may still shrink by itself.
    assert_eq!(world.bounds("1.0.0"), Some((2, 8)));
    world.run_to(Step::Watch);
    assert_eq!((world.bounds("1.0.0"), world.bounds("2.0.0")), (Some((4, 8)), Some((4, 8))));
    let at = |start: &str| world.writes.iter().position(|write| write.starts_with(start)).unwrap();
    assert!(at("hold shop-web-<1.0.0> at 4 to 8") < at("point shop at <2.0.0>"), "{:#?}", world.writes);
    // Nobody comes any more.
    world.load = Some(0);
    world.settle();
    world.look(usize::MAX);
    assert_eq!((world.step(), world.pods_of("1.0.0"), world.pods_of("2.0.0")), (Step::Watch, 4, 4));
    world.run_to(Step::Retire);
    world.look(usize::MAX);
    assert_eq!((world.bounds("1.0.0"), world.bounds("2.0.0")), (None, Some((2, 8))));
    let at = |start: &str| world.writes.iter().position(|write| write.starts_with(start)).unwrap();
    assert!(at("delete HorizontalPodAutoscaler shop-web-<1.0.0>") < at("scale shop-web-<1.0.0> to 0"));
    world.run_to_rest();
    assert_eq!((world.active(), world.pods_of("2.0.0"), world.autoscalers.len()), (Some("2.0.0"), 2, 1));
    // Fewer pods than while it was watched are as many as its spec asks for.
    assert_eq!(world.condition("Ready"), Some(("True", "Released")));
}

#[test]
fn rule_07_traffic_goes_back_to_as_many_pods_as_it_came_from() {
    let mut world = released();
    world.run_to(Step::Watch);
    world.load = Some(0);
    world.settle();
    world.set_ready("2.0.0", 0);
    world.writes.clear();
    world.look(usize::MAX);
    // Nothing of sizes stands before it.
    assert_eq!(world.writes[0], "point shop at <1.0.0>, fenced");
    assert_eq!(world.pods_of("1.0.0"), 4);
    world.run_to(Step::CleanUp);
    assert_eq!((world.bounds("1.0.0"), world.record().traffic[0].pods), (Some((4, 8)), 4));
    world.run_to_rest();
    assert_eq!((world.bounds("1.0.0"), world.bounds("2.0.0"), world.pods_of("1.0.0")), (Some((2, 8)), None, 2));
    // The spec still asks for 2.0.0; what serves is well with what its own asks for.
    assert_eq!(world.record().traffic[0].pods, 2);
    assert_eq!(world.condition("Stalled"), Some(("True", "RolledBack")));
}

#[test]
fn rule_07_the_candidate_grows_with_what_serves_until_traffic_moves() {
    let mut world = released();
    world.run_to(Step::Switch);
    world.load = Some(6);
    world.settle();
    assert_eq!((world.pods_of("1.0.0"), world.pods_of("2.0.0")), (6, 6));
    // One that the load of the candidate says nothing to.
    let green = world.digits_of("2.0.0");
    world.deployments.values_mut().filter(|seen| seen.revision == green).for_each(|seen| seen.replicas = 4);
    world.run_to(Step::Watch);
    assert_eq!((world.bounds("1.0.0"), world.bounds("2.0.0")), (Some((6, 8)), Some((6, 8))));
    let traffic = &world.record().traffic[0];
    assert_eq!((traffic.pods, traffic.pods_before), (6, Some(6)));
}

#[test]
fn rule_07_what_serves_is_kept_at_its_own_size_and_not_at_the_candidates() {
    for shape in [|_: &mut ReleaseSpec| {}, scaled] {
        let mut world = World::serving_as(shape);
        let blue = world.pods_of("1.0.0");
        let mut larger = world.spec_of("2.0.0");
        match larger.workloads[0].autoscaling.as_mut() {
            Some(asked) => asked.min = 5,
            None => larger.workloads[0].replicas = Some(5),
        }
        world.change(larger);
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to(Step::Watch);
        assert_eq!((world.pods_of("1.0.0"), world.pods_of("2.0.0")), (blue, 5));
        for deployment in world.deployments.values_mut() {
            deployment.replicas = 1;
        }
        world.look(usize::MAX);
        assert_eq!((world.pods_of("1.0.0"), world.pods_of("2.0.0")), (blue, 5));
        world.decide(DecisionKind::Abort(Empty {}), "anna");
        world.run_to_rest();
        assert_eq!((world.active(), world.pods_of("1.0.0")), (Some("1.0.0"), blue));
        // It is not taken for one that lacks pods.
        assert_eq!(world.record().traffic[0].pods, blue);
    }
}

#[test]
fn rule_07_a_change_of_autoscaling_alone_is_no_release_and_the_number_of_pods_is_the_autoscalers() {
    let mut world = serving();
    let (revision, attempts) = (world.spec.revision(), world.record().attempts);
    world.writes.clear();
    let mut other = world.spec.clone();
    asks(
        &mut other,
        json!({ "min": 3, "max": 9, "metrics": [{ "type": "Resource", "resource": { "name": "memory", "target": { "type": "AverageValue", "averageValue": "1Gi" } } }] }),
    );
    assert_eq!(other.revision(), revision);
    world.change(other);
    world.run_to_rest();
    assert_eq!(world.writes, ["hold shop-web-<1.0.0> at 3 to 9"]);
    let asked = world.autoscaler("1.0.0").unwrap().asked.clone().unwrap();
    assert_eq!((asked.metrics.len(), asked.target_cpu, world.pods_of("1.0.0")), (1, None, 4));
    // Somebody scales, and somebody changes the bounds.
    for deployment in world.deployments.values_mut() {
        deployment.replicas = 7;
    }
    for found in world.autoscalers.values_mut() {
        (found.least, found.most) = (1, 20);
    }
    world.load = None;
    world.writes.clear();
    world.run_to_rest();
    assert_eq!(world.writes, ["hold shop-web-<1.0.0> at 3 to 9"]);
    assert_eq!(world.pods_of("1.0.0"), 7);
    // One that was scaled to zero is left alone by its autoscaler, and not by us.
    for deployment in world.deployments.values_mut() {
        deployment.replicas = 0;
    }
    world.run_to_rest();
    assert_eq!((world.pods_of("1.0.0"), world.record().attempts), (3, attempts));
}

#[test]
fn a_workload_may_pass_from_replicas_to_an_autoscaler_and_back_without_a_release() {
    let mut world = World::serving();
    let plain = world.spec.clone();
    let mut with = plain.clone();
    scaled(&mut with);
    world.change(with);
    world.run_to_rest();
    assert_eq!(world.writes, ["create HorizontalPodAutoscaler shop-web-<1.0.0>"]);
    assert_eq!((world.bounds("1.0.0"), world.pods_of("1.0.0")), (Some((2, 8)), 3));
    // What its content had when it was released is not what counts any more.
    world.shape = scaled;
    world.load = Some(5);
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    assert_eq!(world.bounds("1.0.0"), Some((5, 8)));
    world.decide(DecisionKind::Abort(Empty {}), "anna");
    world.run_to_rest();
    assert_eq!((world.active(), world.bounds("1.0.0")), (Some("1.0.0"), Some((2, 8))));
    world.writes.clear();
    world.change(plain);
    world.run_to_rest();
    assert_eq!(world.writes, ["delete HorizontalPodAutoscaler shop-web-<1.0.0>", "scale shop-web-<1.0.0> to 3"]);
    // And it does not come back with the next attempt.
    world.shape = |_| {};
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), world.autoscalers.len(), world.record().attempts), (Some("2.0.0"), 0, 3));
}

/// Of no pods an autoscaler scales nothing: a queue keeps its one reader, and its autoscaler needs no write for that.
#[test]
fn a_worker_that_is_scaled_is_handed_over_at_its_size() {
    let mut world = World::serving_as(scaled_with_worker);
    world.load = Some(3);
    world.settle();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    let of = |world: &World, version: &str| {
        let name = format!("shop-mailer-{}", world.digits_of(version));
        (world.deployments[&name].replicas, world.autoscalers.get(&name).map(|found| (found.least, found.most)))
    };
    assert_eq!((of(&world, "1.0.0"), of(&world, "2.0.0")), ((0, Some((3, 4))), (3, Some((3, 4)))));
    world.load = Some(0);
    world.settle();
    assert_eq!(of(&world, "2.0.0").0, 3);
    let mut kept = world.clone();
    kept.run_to(Step::Idle);
    kept.settle();
    assert_eq!((kept.active(), of(&kept, "2.0.0"), of(&kept, "1.0.0")), (Some("2.0.0"), (1, Some((1, 4))), (0, None)));
    world.set_ready("2.0.0", 0);
    world.run_to(Step::CleanUp);
    assert_eq!(of(&world, "1.0.0"), (3, Some((3, 4))));
    world.run_to_rest();
    assert_eq!((world.active(), of(&world, "1.0.0")), (Some("1.0.0"), (1, Some((1, 4)))));
}

#[test]
fn an_autoscaler_that_somebody_deletes_is_made_again() {
    for step in [Step::Idle, Step::Deploy, Step::Watch] {
        let mut world = serving();
        if step != Step::Idle {
            world = released();
            world.run_to(step);
            world.look(usize::MAX);
        }
        let version = if step == Step::Idle { "1.0.0" } else { "2.0.0" };
        let name = world.autoscaler(version).unwrap().name.clone();
        world.autoscalers.remove(&name);
        world.look(usize::MAX);
        let least = if step == Step::Idle { 2 } else { 4 };
        assert_eq!(world.bounds(version), Some((least, 8)), "{step:?}: {:?}", world.writes);
    }
}

#[test]
fn an_attempt_that_fails_takes_its_autoscaler_with_it() {
    let mut world = released();
    world.unready.push(world.digits_of("2.0.0"));
    world.run_to_rest();
    assert_eq!((world.active(), world.bounds("2.0.0"), world.bounds("1.0.0")), (Some("1.0.0"), None, Some((2, 8))));
}

#[test]
fn a_version_that_a_person_goes_back_to_gets_an_autoscaler_again() {
    let mut world = released();
    world.run_to_rest();
    assert_eq!((world.active(), world.bounds("1.0.0")), (Some("2.0.0"), None));
    world.load = Some(5);
    world.settle();
    world.roll_back(None);
    world.run_to(Step::Watch);
    assert_eq!((world.bounds("1.0.0"), world.pods_of("1.0.0")), (Some((5, 8)), 5));
    world.run_to_rest();
    assert_eq!((world.active(), world.bounds("1.0.0"), world.bounds("2.0.0")), (Some("1.0.0"), Some((2, 8)), None));
}

/// More pods than the new bounds allow: nothing is taken away before the release has ended.
#[test]
fn rule_07_what_serves_may_be_larger_than_the_candidate_may_ever_get() {
    let mut world = serving();
    world.load = Some(8);
    world.settle();
    let mut smaller = world.spec_of("2.0.0");
    asks(&mut smaller, json!({ "min": 2, "max": 3, "targetCPU": 70 }));
    world.change(smaller);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    assert_eq!((world.bounds("2.0.0"), world.pods_of("2.0.0")), (Some((8, 8)), 8));
    world.run_to_rest();
    assert_eq!((world.bounds("2.0.0"), world.pods_of("2.0.0")), (Some((2, 3)), 3));
}

#[test]
fn rule_11_the_autoscaler_of_what_serves_outlives_an_orphaned_release_with_the_bounds_of_its_spec() {
    for step in [Step::Idle, Step::Watch] {
        let shape: fn(&mut ReleaseSpec) = |spec| {
            scaled(spec);
            spec.deletion_policy = DeletionPolicy::Orphan;
        };
        let mut world = World::serving_as(shape);
        world.load = Some(4);
        if step == Step::Watch {
            world.settle();
            world.ask_for("2.0.0");
            world.run_to(Step::Approve);
            world.approve("anna");
            world.run_to(step);
        }
        let selected = world.selected().unwrap().to_owned();
        world.deleting = true;
        world.deleted_at = Some(world.now);
        for _ in 0..100 {
            world.look(usize::MAX);
            world.settle();
            world.wait(1);
        }
        assert!(world.gone, "{:?}", world.message("Ready"));
        let left: Vec<_> = world.autoscalers.values().map(|found| (found.revision.as_str(), found.least)).collect();
        assert_eq!(left, [(selected.as_str(), 2)], "{step:?}");
        assert!(world.autoscalers.values().all(|found| world.disowned.contains(&found.uid)));
    }
}

#[test]
fn the_plan_says_what_is_scaled_and_from_where() {
    let mut world = serving();
    let digest = |world: &mut World| {
        world.run_to(Step::Approve);
        world.record().plan.clone().unwrap()
    };
    world.ask_for("2.0.0");
    let plan = digest(&mut world);
    let does = &plan.steps.iter().find(|planned| planned.step == Step::Deploy).unwrap().does;
    assert!(does.contains("web x 2 to 8 by 70 % CPU (shop:2.0.0)"), "{does}");
    assert!(does.contains("beside 1.0.0, at its live size if that is larger"), "{does}");
    assert!(does.contains("autoscalers of web take no pods away from either version"), "{does}");
    let risk = "container web requests no CPU: unless a LimitRange gives it some";
    assert!(plan.risks.iter().any(|found| found.contains(risk)), "{:#?}", plan.risks);
    // Other bounds are another plan.
    let mut other = world.spec_of("2.0.0");
    asks(
        &mut other,
        json!({ "min": 1, "max": 8, "metrics": [{ "type": "Pods", "pods": { "metric": { "name": "rps" } } }] }),
    );
    world.change(other);
    let changed = digest(&mut world);
    assert_ne!(changed.digest, plan.digest);
    let does = &changed.steps.iter().find(|planned| planned.step == Step::Deploy).unwrap().does;
    assert!(does.contains("web x 1 to 8 by rps"), "{does}");
    assert!(
        changed.risks.iter().any(|found| found.contains("web may be scaled down to one pod")),
        "{:#?}",
        changed.risks
    );
}

#[test]
fn what_the_api_server_refuses_of_an_autoscaler_is_told_before_anybody_is_asked() {
    let mut world = serving();
    let words = "HorizontalPodAutoscaler.autoscaling is invalid: spec.metrics[0].type: Unsupported value: \"Weather\"";
    world.refusal = Some((switchback::release::manifests::Kind::HorizontalPodAutoscaler, 422, words.into()));
    world.writes.clear();
    world.ask_for("2.0.0");
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "DryRunRefused")));
    assert!(world.message("Ready").contains("spec.metrics[0].type"), "{}", world.message("Ready"));
    assert!(world.writes.is_empty(), "{:?}", world.writes);
}
