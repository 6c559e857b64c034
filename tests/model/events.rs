//! Events: what people read who have nothing but `kubectl get events`. That they are few and told once is held in every
//! history (`world.rs`).

use serde_json::json;
use switchback::{
    api::{DecisionKind, Empty, Step},
    release::{plan_text, status::MOST_EVENTS},
};

use crate::{policies::policy, world::World};

/// Reason and kind of the events of an attempt, in their order.
fn of(world: &World, attempt: i64) -> Vec<(&str, bool)> {
    let told = world.events.iter().filter(|(of, _)| *of == Some(attempt));
    told.map(|(_, news)| (news.reason.as_str(), news.warning)).collect()
}

fn note<'a>(world: &'a World, reason: &str) -> &'a str {
    let found = world.events.iter().rev().find(|(_, news)| news.reason == reason);
    &found.unwrap_or_else(|| panic!("no {reason}: {:#?}", world.events)).1.note
}

#[test]
fn rule_15_a_release_is_told_by_at_most_eight_events() {
    let mut world = World::serving();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    let told = of(&world, 2);
    let reasons: Vec<&str> = told.iter().map(|(reason, _)| *reason).collect();
    let steps = ["WaitingForApproval", "Preflight", "Deploying", "Verifying", "Switching", "Watching"];
    assert_eq!(reasons, [&steps[..], &["Released", "Retiring"]].concat());
    assert!(told.iter().all(|(_, warning)| !warning));
}

#[test]
fn a_plan_is_said_in_the_same_words_by_status_and_event() {
    for world in [World::serving(), World::serving_with_database()] {
        let mut world = world;
        world.ask_for("2.0.0");
        world.run_to(Step::Approve);
        let brief = plan_text::brief(world.record().plan.as_ref().unwrap());
        assert!(world.message("Ready").contains(&format!("yet: {brief}. Read it")), "{}", world.message("Ready"));
        assert_eq!(note(&world, "WaitingForApproval"), world.message("Ready"));
    }
    let world = World::with_contract();
    let brief = plan_text::brief(world.record().contract.as_ref().unwrap().plan.as_ref().unwrap());
    let told = world.message("ContractPending");
    assert!(told.contains(&brief) && brief.contains("no way back after Migrate"), "{told}");
}

#[test]
fn whoever_suspends_is_said_in_the_same_words_by_status_and_event() {
    let mut world = World::at(Step::Approve);
    world.decide(DecisionKind::Suspend(Empty {}), "bert");
    world.approve("anna");
    while world.look(usize::MAX) {}
    let told = note(&world, "Suspended").trim_end_matches('.');
    assert!(told.starts_with("bert suspended it by Decision"), "{told}");
    assert!(world.message("Ready").contains(told), "{}", world.message("Ready"));
}

#[test]
fn an_approval_that_became_void_is_one_warning() {
    let mut world = World::at(Step::Approve);
    world.approve("anna");
    let two = |words: &str| policy("two", json!({ "approval": { "required": 2, "statements": [words] } }));
    world.policies = vec![two("Begin")];
    world.run_to_rest();
    world.policies = vec![two("Go")];
    world.run_to_rest();
    assert_eq!(world.step(), Step::Approve);
    assert_eq!(of(&world, 2), [("WaitingForApproval", false)], "nobody's approval counted: {:#?}", world.events);
    // One that counted, and then something else would have run.
    let mut world = World::at(Step::Approve);
    world.approve("anna");
    world.look(1);
    world.policies = vec![two("Begin")];
    world.run_to_rest();
    let warnings = of(&world, 2).into_iter().filter(|(_, warning)| *warning);
    assert_eq!(warnings.collect::<Vec<_>>(), [("ApprovalStale", true)], "{:#?}", world.events);
}

#[test]
fn what_flaps_is_told_a_bounded_number_of_times_and_its_end_all_the_same() {
    let mut world = World::at(Step::Watch);
    for _ in 0..40 {
        for ready in [0, 3] {
            world.set_ready("1.0.0", ready);
            world.set_ready("2.0.0", ready);
            world.look(usize::MAX);
        }
    }
    assert_eq!(world.step(), Step::Watch);
    let most = usize::from(MOST_EVENTS);
    assert_eq!(of(&world, 2).len(), most - 1, "{:#?}", of(&world, 2));
    world.set_ready("2.0.0", 0);
    world.run_to_rest();
    let told = of(&world, 2);
    assert_eq!((told.len(), told.last()), (most, Some(&("ReadinessLost", true))), "{told:#?}");
}
