//! What takes traffic and must not run in two versions at once, an application with one volume: it stops, the other
//! starts, is checked, and gets the traffic; the same in the other direction.

use switchback::api::{Handover, Outcome, ReleaseSpec, Step};

use crate::{
    workers::moves,
    world::{JobEnd, World},
};

/// What all specs of such a world have besides.
pub fn alone(spec: &mut ReleaseSpec) {
    spec.workloads[0].handover = Some(Handover::StopThenStart);
}

fn at(step: Step) -> World {
    World::at_as(step, alone)
}

/// Versions that have pods.
fn running(world: &World) -> Vec<&'static str> {
    let runs = |version: &&str| {
        let digits = world.digits_of(version);
        world.pods.values().any(|pod| pod.revision == digits && pod.job.is_none())
    };
    ["1.0.0", "2.0.0"].into_iter().filter(runs).collect()
}

#[test]
fn the_one_is_gone_before_the_other_starts_which_is_checked_before_traffic_moves() {
    let mut world = at(Step::Switch);
    assert_eq!(running(&world), ["1.0.0"]);
    assert!(!world.writes.iter().any(|line| line.contains("smoke")), "{:?}", world.writes);
    world.run_to_rest();
    assert_eq!((world.active(), running(&world)), (Some("2.0.0"), vec!["2.0.0"]));
    let order: Vec<&str> = world
        .writes
        .iter()
        .map(String::as_str)
        .filter(|line| ["scale", "create Job", "point"].iter().any(|what| line.starts_with(what)))
        .collect();
    let expected = [
        "scale shop-web-<1.0.0> to 0",
        "scale shop-web-<2.0.0> to 3",
        "create Job shop-2-late-verify",
        "create Job shop-2-verify-smoke",
        "point shop at <2.0.0>",
        "create Job shop-2-watch",
    ];
    assert_eq!(order, expected);
    assert_eq!(world.condition("Serving"), Some(("True", "Released")));
}

#[test]
fn the_plan_says_who_waits_and_for_how_long() {
    let world = at(Step::Approve);
    let plan = world.record().plan.clone().unwrap();
    let does = |step| plan.steps.iter().find(|planned| planned.step == step).map(|planned| planned.does.clone());
    assert_eq!(does(Step::Verify), None);
    let switch = does(Step::Switch).unwrap();
    for part in [
        "Stops web of 1.0.0, waits until the pods are gone, then starts web of 2.0.0",
        "Each of these must pass then: home (http://shop/ answers 200); smoke",
        "Services shop answer nobody",
        "at most 16m",
    ] {
        assert!(switch.contains(part), "{part:?} is not in {switch:?}");
    }
    let back = plan.way_back.iter().find(|point| point.after == Step::Watch).unwrap();
    assert!(back.loses.contains("nobody answers"), "{}", back.loses);
}

#[test]
fn a_check_that_fails_starts_the_former_version_again_and_no_service_has_moved() {
    let mut world = at(Step::Deploy);
    world.job_end.insert("smoke", JobEnd::Fails);
    world.run_to_rest();
    assert_eq!((world.record().outcome, running(&world)), (Some(Outcome::Failed), vec!["1.0.0"]));
    assert_eq!(world.condition("Ready"), Some(("False", "ChecksFailed")));
    assert_eq!(world.condition("Serving"), Some(("True", "Released")));
    assert!(!moves(&world).iter().any(|line| line.contains("at <2.0.0>")), "{:?}", moves(&world));
}

#[test]
fn one_that_does_not_get_ready_gives_the_volume_back() {
    let mut world = at(Step::Switch);
    world.unready.push(world.digits_of("2.0.0"));
    world.run_to_rest();
    assert_eq!((world.record().outcome, running(&world)), (Some(Outcome::Failed), vec!["1.0.0"]));
    assert_eq!(world.condition("Ready"), Some(("False", "HandoverTimedOut")));
}

#[test]
fn readiness_lost_while_it_is_watched_goes_back_though_nothing_of_the_former_version_runs() {
    let mut world = at(Step::Watch);
    assert_eq!(running(&world), ["2.0.0"]);
    world.set_ready("2.0.0", 0);
    let (_, plan) = world.plan();
    assert!(plan.act_first, "{:?}", plan.situation);
    world.look(usize::MAX);
    world.unready.push(world.digits_of("2.0.0"));
    world.run_to_rest();
    assert_eq!((world.record().outcome, running(&world)), (Some(Outcome::RolledBack), vec!["1.0.0"]));
    let expected = [
        "point shop at <1.0.0>, fenced",
        "scale shop-web-<2.0.0> to 0",
        "delete Deployment shop-web-<2.0.0>",
        "scale shop-web-<1.0.0> to 3",
    ];
    assert_eq!(moves(&world), expected);
}

#[test]
fn the_way_back_ends_when_the_former_version_serves_again_or_has_had_its_time() {
    let mut world = at(Step::Watch);
    let both = ["1.0.0", "2.0.0"].map(|version| world.digits_of(version));
    world.set_ready("2.0.0", 0);
    world.unready.extend(both);
    world.run_to(Step::SwitchBack);
    let waits = |world: &World| world.message("Ready").contains("Waiting until web of it is ready again");
    for _ in 0..20 {
        if !waits(&world) {
            world.turn();
        }
    }
    assert!(waits(&world) && world.step() == Step::SwitchBack, "{}", world.message("Ready"));
    world.wait(301);
    world.run_to_rest();
    assert_eq!((world.step(), world.condition("Serving")), (Step::Idle, Some(("False", "ActiveUnhealthy"))));
}

#[test]
fn what_only_the_new_version_asks_for_holds_for_both_and_is_forgotten_with_it() {
    let mut world = World::serving();
    let mut spec = world.spec_of("2.0.0");
    alone(&mut spec);
    world.change(spec);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    assert_eq!(running(&world), ["2.0.0"]);
    world.abort();
    world.run_to_rest();
    assert_eq!((world.active(), running(&world)), (Some("1.0.0"), vec!["1.0.0"]));
    assert_eq!(world.record().workers, []);
    // The next one does not ask for it: both run side by side again.
    world.ask_for("2.1.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Verify);
    let pods = world.pods.values().filter(|pod| pod.job.is_none() && pod.workload == "web").count();
    assert_eq!(pods, 6);
}

#[test]
fn what_only_the_former_version_asked_for_holds_for_both() {
    let mut world = World::serving_as(alone);
    world.shape = |_| {};
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), running(&world)), (Some("2.0.0"), vec!["2.0.0"]));
    assert_eq!(
        moves(&world)[..3],
        ["scale shop-web-<1.0.0> to 0", "scale shop-web-<2.0.0> to 3", "point shop at <2.0.0>"]
    );
    assert_eq!(world.record().workers, []);
}

#[test]
fn it_is_asked_for_or_given_up_at_rest() {
    let mut world = World::serving();
    let mut spec = world.spec.clone();
    alone(&mut spec);
    world.change(spec);
    world.run_to_rest();
    assert!(world.record().workers[0].active.is_some_and(|side| side.serving && side.pods == 3));
    world.change(world.spec_of("1.0.0"));
    world.run_to_rest();
    assert_eq!(world.record().workers, []);
    assert!(world.writes.is_empty(), "{:?}", world.writes);
}
