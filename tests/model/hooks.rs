//! Hooks: what people have done when traffic moves, comes back, or stays.

use serde_json::json;
use switchback::{
    api::{Outcome, ReleaseSpec, Step},
    release::plan::Action,
};

use crate::world::{JobEnd, World};

fn spec(version: &str) -> ReleaseSpec {
    let mut spec = serde_json::to_value(crate::world::spec(version)).unwrap();
    let hook = |name: &str, when: &str| {
        json!({ "name": name, "when": when, "job": { "template": { "spec": { "containers": [
            { "name": "flag", "image": format!("flag:{version}") }
        ] } } } })
    };
    spec["hooks"] =
        json!(
            [hook("dns", "Switch"), hook("flag-on", "Switch"), hook("flag-off", "SwitchBack"), hook("tell", "Done"),]
        );
    serde_json::from_value(spec).unwrap()
}

/// An attempt with hooks beside a version that serves.
fn approved() -> World {
    let mut world = World::serving();
    world.change(spec("2.0.0"));
    world.run_to(Step::Approve);
    world.approve("anna");
    world
}

fn at(step: Step) -> World {
    let mut world = approved();
    world.run_to(step);
    world
}

/// Which hooks were let begin, and how traffic moved, in their order.
fn moves(world: &World) -> Vec<String> {
    let of_interest = |line: &&String| line.starts_with("resume") || line.starts_with("point");
    world.writes.iter().filter(of_interest).cloned().collect()
}

/// How hooks ended, as status says.
fn ended(world: &World) -> Vec<(&str, bool)> {
    world.record().hooks.iter().map(|hook| (hook.name.as_str(), hook.problem.is_none())).collect()
}

#[test]
fn hooks_of_a_switch_run_one_after_another_before_traffic_moves_and_the_last_when_it_stays() {
    let mut world = approved();
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    let expected =
        ["resume shop-2-hook-dns", "resume shop-2-hook-flag-on", "point shop at <2.0.0>", "resume shop-2-hook-tell"];
    // Revisions do not know hooks.
    assert_eq!(moves(&world), expected);
    assert_eq!(ended(&world), [("dns", true), ("flag-on", true), ("tell", true)]);
    assert!(world.jobs.is_empty(), "{:?}", world.jobs.keys());
}

#[test]
fn a_hook_that_fails_before_the_switch_ends_the_release_and_what_undoes_it_runs() {
    let mut world = approved();
    world.job_end.insert("flag-on", JobEnd::Fails);
    world.run_to_rest();
    assert_eq!((world.active(), world.record().outcome), (Some("1.0.0"), Some(Outcome::Failed)));
    assert_eq!(world.condition("Ready"), Some(("False", "HookFailed")));
    assert!(!moves(&world).iter().any(|line| line.contains("<2.0.0>")), "{:?}", moves(&world));
    assert_eq!(ended(&world), [("dns", true), ("flag-on", false), ("flag-off", true)]);
}

#[test]
fn rule_01_going_back_waits_for_no_hook() {
    let mut world = at(Step::Watch);
    world.job_end.insert("flag-off", JobEnd::Fails);
    world.writes.clear();
    world.set_ready("2.0.0", 0);
    let (_, plan) = world.plan();
    assert!(plan.act_first && matches!(plan.actions.first(), Some(Action::Point { .. })), "{plan:?}");
    world.run_to_rest();
    assert_eq!((world.active(), world.record().outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
    assert_eq!(moves(&world), ["point shop at <1.0.0>, fenced", "resume shop-2-hook-flag-off"]);
    assert_eq!(ended(&world).last(), Some(&("flag-off", false)));
}

#[test]
fn a_hook_that_never_ends_keeps_nothing_open_for_ever() {
    let mut world = at(Step::Watch);
    world.job_end.insert("flag-off", JobEnd::Hangs);
    world.set_ready("2.0.0", 0);
    world.run_to_rest();
    assert_eq!((world.active(), world.step()), (Some("1.0.0"), Step::Idle));
    assert!(world.record().hooks.last().unwrap().problem.as_ref().unwrap().contains("had not ended"));

    let mut world = approved();
    world.job_end.insert("dns", JobEnd::Hangs);
    world.run_to_rest();
    // Its time is over before the step's is.
    assert_eq!(world.condition("Ready"), Some(("False", "HookFailed")));
}

#[test]
fn a_hook_that_still_runs_when_the_switch_is_given_up_ends_before_what_undoes_it() {
    let mut world = at(Step::Switch);
    world.job_end.insert("dns", JobEnd::Hangs);
    for _ in 0..4 {
        world.look(usize::MAX);
        world.settle();
    }
    assert_eq!(moves(&world), ["resume shop-2-hook-dns"]);
    world.abort();
    world.run_to_rest();
    let gone = world.writes.iter().position(|line| line == "delete Job shop-2-hook-dns").unwrap();
    let undone = world.writes.iter().position(|line| line == "resume shop-2-hook-flag-off").unwrap();
    assert!(gone < undone, "{:#?}", world.writes);
    assert_eq!(world.record().outcome, Some(Outcome::Aborted));
}

#[test]
fn a_hook_runs_once_whenever_the_controller_is_killed() {
    for kill in 0..3 {
        let mut world = approved();
        for _ in 0..60 {
            world.look(kill);
            world.settle();
            world.wait(1);
        }
        world.run_to_rest();
        assert_eq!(world.active(), Some("2.0.0"));
        let resumed: Vec<String> = moves(&world).into_iter().filter(|line| line.starts_with("resume")).collect();
        assert_eq!(resumed.len(), 3, "{resumed:?}");
    }
}

#[test]
fn hooks_are_part_of_what_is_approved_and_the_plan_names_them() {
    let mut world = World::serving();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let before = world.record().plan.clone().unwrap().digest;
    world.change(spec("2.0.0"));
    world.run_to(Step::Approve);
    let plan = world.record().plan.clone().unwrap();
    assert_ne!(plan.digest, before);
    let does = |step| plan.steps.iter().find(|planned| planned.step == step).unwrap().does.clone();
    assert!(
        does(Step::Switch).starts_with("Runs dns (flag:2.0.0), flag-on (flag:2.0.0) first"),
        "{}",
        does(Step::Switch)
    );
    assert!(does(Step::Watch).contains("flag-off"), "{}", does(Step::Watch));
    // What only Jobs run can be moved like everything else.
    assert!(plan.risks.iter().any(|risk| risk.starts_with("Jobs: flag:2.0.0 is a tag")), "{:?}", plan.risks);
    assert!(does(Step::Retire).contains("Runs tell (flag:2.0.0)."), "{}", does(Step::Retire));
}
