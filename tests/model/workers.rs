//! Workers: one reader of a queue at a time, whoever is killed when; users do not wait for them.

use serde_json::json;
use switchback::{
    api::{DecisionKind, Empty, Handover, Outcome, ReleaseSpec, Step},
    release::observed::PodSeen,
};

use crate::world::{World, words};

/// Workers that read one queue in this world, under whatever name.
pub const QUEUE: [&str; 2] = ["mailer", "sender"];

/// An application with a worker beside what takes traffic.
pub fn spec(version: &str) -> ReleaseSpec {
    with_worker(version, json!({ "name": "mailer", "replicas": 2 }))
}

fn with_worker(version: &str, worker: serde_json::Value) -> ReleaseSpec {
    let mut spec = crate::world::spec(version);
    add(&mut spec, worker);
    spec
}

pub fn add(spec: &mut ReleaseSpec, mut worker: serde_json::Value) {
    let image = format!("mail:{}", spec.version);
    worker["template"] = json!({ "spec": { "containers": [{ "name": "mail", "image": image }] } });
    spec.workloads.push(serde_json::from_value(worker).unwrap());
}

/// What all specs of such a world have besides.
fn with_mailer(spec: &mut ReleaseSpec) {
    add(spec, json!({ "name": "mailer", "replicas": 2 }));
}

/// A world in which 1.0.0 serves, with its worker.
pub fn serving() -> World {
    let world = World::serving_as(with_mailer);
    assert_eq!(works(&world), vec!["1.0.0"; 2]);
    world
}

/// Returns whether a workload with Services is one of which two versions must not run at once.
pub fn may_be_away(world: &World, name: &str) -> bool {
    let record = world.record();
    let candidate = record.candidate.as_ref().map(|candidate| candidate.attempt);
    let under_way = [record.active.as_ref().map(|active| active.attempt), candidate];
    let contents = world.contents.values().filter(|(attempt, _)| under_way.contains(&Some(attempt.number)));
    let contents = contents.map(|(_, content)| content.as_ref()).chain([&world.spec]);
    let mut all = contents.flat_map(|spec| &spec.workloads);
    all.any(|it| it.name == name && !it.services.is_empty() && it.handover == Some(Handover::StopThenStart))
}

/// Returns whether pods of two revisions of a workload must not meet.
pub fn is_alone(world: &World, workload: &str) -> bool {
    QUEUE.contains(&workload) || may_be_away(world, workload)
}

/// A queue has one reader: of those in it, pods of one revision at most that have not ended.
pub fn check(world: &World) {
    let overlaps = world.spec.workloads.iter().any(|workload| workload.handover == Some(Handover::Overlap));
    let mut readers: Vec<&str> = world
        .pods
        .values()
        .filter(|pod| is_alone(world, &pod.workload) && !pod.ended)
        .map(|pod| pod.revision.as_str())
        .collect();
    readers.sort_unstable();
    readers.dedup();
    assert!(readers.len() < 2 || overlaps, "the queue is read by {readers:?}; writes: {:#?}", world.writes);
}

/// Versions of the pods that read the queue.
fn works(world: &World) -> Vec<&'static str> {
    let known = |digits: &str| {
        ["1.0.0", "2.0.0"].into_iter().find(|version| world.digits_of(version) == digits).unwrap_or("another")
    };
    let pods = world.pods.values().filter(|pod| QUEUE.contains(&pod.workload.as_str()) && !pod.ended);
    pods.map(|pod| known(&pod.revision)).collect()
}

fn released(mut world: World, spec: ReleaseSpec) -> World {
    world.change(spec);
    world.run_to(Step::Approve);
    world.approve("anna");
    world
}

fn at(step: Step) -> World {
    let mut world = released(serving(), spec("2.0.0"));
    world.run_to(step);
    world
}

/// What was written that concerns who works and where traffic goes.
pub fn moves(world: &World) -> Vec<String> {
    let of_interest = |line: &&String| {
        line.starts_with("scale") || line.starts_with("point") || line.starts_with("delete Deployment")
    };
    world.writes.iter().filter(of_interest).cloned().collect()
}

#[test]
fn the_former_worker_is_gone_before_the_new_one_starts_and_traffic_moves_after_both() {
    let mut world = at(Step::Switch);
    world.run_to_rest();
    assert_eq!((world.active(), works(&world)), (Some("2.0.0"), vec!["2.0.0"; 2]));
    let expected = [
        "scale shop-mailer-<1.0.0> to 0",
        "scale shop-mailer-<2.0.0> to 2",
        "point shop at <2.0.0>",
        "scale shop-web-<1.0.0> to 0",
    ];
    assert_eq!(moves(&world)[..4], expected);
}

#[test]
fn users_go_back_first_and_the_worker_follows_when_the_other_is_gone() {
    let mut world = at(Step::Watch);
    world.writes.clear();
    world.set_ready("2.0.0", 0);
    let (_, plan) = world.plan();
    assert!(plan.act_first);
    world.look(usize::MAX);
    assert_eq!(world.selected(), Some(world.digits_of("1.0.0").as_str()));
    world.unready.push(world.digits_of("2.0.0"));
    world.run_to_rest();
    assert_eq!(world.record().outcome, Some(Outcome::RolledBack));
    assert_eq!((world.active(), works(&world)), (Some("1.0.0"), vec!["1.0.0"; 2]));
    let expected = [
        "point shop at <1.0.0>, fenced",
        "scale shop-mailer-<2.0.0> to 0",
        "delete Deployment shop-mailer-<2.0.0>",
        "scale shop-mailer-<1.0.0> to 2",
        "delete Deployment shop-web-<2.0.0>",
    ];
    assert_eq!(moves(&world), expected);
}

#[test]
fn a_worker_that_does_not_get_ready_gives_the_queue_back_and_no_traffic_has_moved() {
    let mut world = at(Step::Deploy);
    world.run_to(Step::Switch);
    world.unready.push(world.digits_of("2.0.0"));
    // What takes traffic was proven before; only the worker starts late.
    world.run_to_rest();
    assert_eq!(world.record().outcome, Some(Outcome::Failed));
    assert_eq!(world.condition("Ready"), Some(("False", "HandoverTimedOut")));
    assert_eq!(works(&world), vec!["1.0.0"; 2]);
    assert!(!moves(&world).iter().any(|line| line.contains("at <2.0.0>")), "{:?}", moves(&world));
}

#[test]
fn workers_count_for_readiness_like_everything_else() {
    let mut world = at(Step::Watch);
    let digits = world.digits_of("2.0.0");
    for pod in world.pods.values_mut().filter(|pod| pod.workload == "mailer" && pod.revision == digits) {
        pod.ready = false;
    }
    let (_, plan) = world.plan();
    assert!(plan.act_first, "{:?}", plan.situation);
    world.look(usize::MAX);
    world.run_to_rest();
    assert_eq!(world.record().outcome, Some(Outcome::RolledBack));
    assert!(world.message("Ready").contains("worker mailer"), "{}", world.message("Ready"));
}

#[test]
fn a_worker_that_is_unwell_does_not_keep_users_from_the_version_that_serves_them() {
    let overlap = json!({ "name": "mailer", "replicas": 2, "handover": "Overlap" });
    let mut world = World::new();
    world.change(with_worker("1.0.0", overlap.clone()));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    let mut world = released(world, with_worker("2.0.0", overlap));
    world.run_to(Step::Watch);
    let former = world.record().active.clone().unwrap().revision;
    for pod in world.pods.values_mut() {
        // The former version's worker is as unready as all of the new version.
        pod.ready = pod.is_of("web", &former);
    }
    world.follow();
    let (_, plan) = world.plan();
    assert!(plan.act_first, "{:?}", plan.situation);
}

#[test]
fn workers_that_overlap_start_beside_and_go_when_the_new_version_is_proven() {
    let mut world = released(serving(), {
        let mut spec = spec("2.0.0");
        spec.workloads[1].handover = Some(Handover::Overlap);
        spec
    });
    // The version before asked for one reader at a time: that holds for both.
    world.run_to_rest();
    assert!(moves(&world)[0].starts_with("scale shop-mailer-<1.0.0> to 0"), "{:?}", moves(&world));
    world.writes.clear();
    let mut world = released(world, {
        let mut spec = spec("1.0.0");
        spec.workloads[1].handover = Some(Handover::Overlap);
        spec
    });
    world.run_to(Step::Verify);
    assert_eq!(works(&world).len(), 4);
    world.run_to_rest();
    assert_eq!(works(&world), vec!["1.0.0"; 2]);
    let last = moves(&world);
    assert!(
        last.iter().position(|line| line.starts_with("point")) < last.iter().position(|line| line.ends_with("to 0"))
    );
}

#[test]
fn a_renamed_worker_reads_the_same_queue() {
    let renamed = json!({ "name": "sender", "replicas": 2 });
    let mut world = released(serving(), with_worker("2.0.0", renamed));
    world.run_to(Step::Watch);
    assert_eq!(works(&world), vec!["another"; 2]);
    let candidate = world.record().candidate.clone().unwrap().revision;
    world.unready.push(candidate.digits().to_owned());
    world.settle();
    world.run_to_rest();
    assert_eq!(world.record().outcome, Some(Outcome::RolledBack));
    assert_eq!(works(&world), vec!["1.0.0"; 2]);
}

#[test]
fn what_takes_traffic_and_becomes_a_worker_is_not_stopped_under_its_service() {
    let mut world = serving();
    let mut first = crate::world::spec("1.1.0");
    first.workloads.push({
        let mut api = first.workloads[0].clone();
        (api.name, api.services[0].name) = ("api".into(), "api".into());
        api
    });
    world = released(world, first.clone());
    world.run_to_rest();
    world.writes.clear();
    let mut second = first;
    second.version = "1.2.0".into();
    second.workloads[1].services.clear();
    second.workloads[1].template.0["spec"]["containers"][0]["image"] = "api:2".into();
    let mut world = released(world, second);
    // I4 is checked at each write.
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.2.0"));
    let before = moves(&world);
    let moved = before.iter().position(|line| line.starts_with("point")).unwrap();
    let stopped = before.iter().position(|line| line.ends_with("to 0")).unwrap();
    assert!(moved < stopped, "{before:?}");
}

#[test]
fn a_pod_that_has_failed_and_stays_is_no_reader() {
    let mut world = at(Step::Switch);
    let mut ended: PodSeen = world.pods.values().find(|pod| pod.workload == "mailer").unwrap().clone();
    (ended.name, ended.ended, ended.ready) = ("evicted".into(), true, false);
    for _ in 0..100 {
        world.turn();
        // The world makes its pods anew each turn; this one stays.
        world.pods.insert(ended.name.clone(), ended.clone());
    }
    world.run_to_rest();
    assert_eq!(works(&world), vec!["2.0.0"; 2]);
}

#[test]
fn a_pod_that_does_not_end_holds_the_worker_and_not_the_users() {
    let mut world = at(Step::Watch);
    let stuck: PodSeen = {
        let digits = world.digits_of("2.0.0");
        let found = world.pods.values().find(|pod| pod.workload == "mailer" && pod.revision == digits);
        PodSeen { deleting: true, ready: false, ..found.unwrap().clone() }
    };
    world.set_ready("2.0.0", 0);
    world.unready.push(world.digits_of("2.0.0"));
    for _ in 0..10 {
        world.pods.insert(stuck.name.clone(), stuck.clone());
        world.turn();
        world.ending.clear();
    }
    world.wait(301);
    world.pods.insert(stuck.name.clone(), stuck);
    world.look(usize::MAX);
    assert_eq!(world.selected(), Some(world.digits_of("1.0.0").as_str()));
    assert_eq!((world.step(), world.condition("Ready")), (Step::SwitchBack, Some(("Unknown", "WorkerNotGone"))));
    assert!(world.message("Ready").contains("kubectl delete pod"), "{}", world.message("Ready"));
    world.pods.clear();
    world.run_to_rest();
    assert_eq!(works(&world), vec!["1.0.0"; 2]);
}

#[test]
fn a_worker_that_somebody_deletes_at_rest_is_made_again_when_its_pods_are_gone() {
    let mut world = serving();
    let digits = world.digits_of("1.0.0");
    world.deployments.retain(|_, deployment| deployment.workload != "mailer");
    world.look(usize::MAX);
    assert!(world.writes.is_empty(), "its pods are still there: {:?}", world.writes);
    world.settle();
    world.settle();
    world.look(usize::MAX);
    assert_eq!(world.writes, ["create Deployment shop-mailer-<1.0.0>"]);
    let made = world.deployments.values().find(|made| made.workload == "mailer" && made.revision == digits);
    assert_eq!(made.unwrap().replicas, 2);
}

#[test]
fn a_release_may_have_nothing_but_workers() {
    let only = |version: &str| {
        let mut spec = spec(version);
        spec.workloads.remove(0);
        spec.checks.clear();
        spec
    };
    let mut world = World::new();
    world.change(only("1.0.0"));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    assert_eq!(world.condition("Serving"), Some(("True", "Released")));
    let mut world = released(world, only("2.0.0"));
    world.run_to(Step::Watch);
    world.decide(DecisionKind::Abort(Empty {}), "anna");
    world.run_to_rest();
    assert_eq!((world.active(), world.record().outcome), (Some("1.0.0"), Some(Outcome::Aborted)));
    assert_eq!(world.condition("Serving"), Some(("True", "Released")));
    world.decide(DecisionKind::Retry(Empty {}), "anna");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), world.services.len()), (Some("2.0.0"), 0));
}

#[test]
fn a_changed_number_of_workers_is_no_release() {
    let mut world = serving();
    let mut spec = spec("1.0.0");
    spec.workloads[1].replicas = Some(5);
    world.change(spec);
    world.run_to_rest();
    let (_, plan) = world.plan();
    assert!(plan.actions.is_empty(), "{:?}", plan.actions.iter().map(words).collect::<Vec<_>>());
    assert_eq!(works(&world).len(), 5);
    // And it is what the next version starts with, and what comes back.
    let mut next = crate::workers::spec("2.0.0");
    next.workloads[1].replicas = Some(1);
    let mut world = released(world, next);
    world.run_to(Step::Watch);
    assert_eq!(works(&world), vec!["2.0.0"; 5]);
    world.decide(DecisionKind::Abort(Empty {}), "anna");
    world.run_to_rest();
    assert_eq!(works(&world), vec!["1.0.0"; 5]);
}

#[test]
fn input_61_labels_taken_off_the_deployment_of_a_worker_that_runs_alone_are_put_back() {
    for step in [Step::Idle, Step::Watch] {
        let mut world = if step == Step::Idle { serving() } else { at(step) };
        let version = if step == Step::Idle { "1.0.0" } else { "2.0.0" };
        let (name, count) = (format!("shop-mailer-{}", world.digits_of(version)), world.deployments.len());
        assert!(world.deployments.contains_key(&name));
        world.unlabelled.insert(name);
        world.writes.clear();
        world.look(usize::MAX);
        assert!(world.unlabelled.is_empty(), "{step:?}: {:?}", world.writes);
        assert_eq!((world.deployments.len(), works(&world)), (count, vec![version; 2]), "{:?}", world.writes);
    }
}
