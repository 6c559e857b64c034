//! How many Releases are under way at once, as a policy limits it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::json;
use switchback::api::{DecisionKind, Empty, Rollback, RunningRelease, Step};

use crate::{
    policies::policy,
    world::{UID, World},
};

fn running(world: &World) -> Vec<&str> {
    world.policies[0].running.iter().map(|running| running.name.as_str()).collect()
}

fn another(world: &World) -> RunningRelease {
    RunningRelease { name: "search".into(), uid: "uid-search".into(), since: MicroTime(world.now) }
}

/// A world in which 1.0.0 serves, one Release may be under way at once, and `search` is.
fn busy() -> World {
    let mut world = World::serving();
    world.policies = vec![policy("one", json!({ "concurrency": 1 }))];
    let search = another(&world);
    world.database.others.push(search.uid.clone());
    world.policies[0].running.push(search);
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world
}

#[test]
fn a_release_waits_for_its_slot_without_holding_one_and_gives_it_back() {
    let mut world = busy();
    let approval = world.approve("anna");
    while world.look(usize::MAX) {}
    assert_eq!((world.step(), world.condition("Ready")), (Step::Approve, Some(("Unknown", "WaitingForSlot"))));
    let told = "Waits for its place: ReleasePolicy one limits";
    assert!(world.message("Ready").starts_with(told), "{}", world.message("Ready"));
    assert!(world.record().plan.as_ref().unwrap().unmet.iter().any(|line| line.starts_with(told)));
    assert_eq!((running(&world), world.became(&approval)), (vec!["search"], Some(("Accepted", "Waiting"))));
    // The other one has ended.
    world.policies[0].running.clear();
    world.policies[0].resource_version = "9".into();
    world.run_to(Step::Watch);
    assert_eq!((running(&world), world.policies[0].running[0].uid.as_str()), (vec!["shop"], UID));
    world.run_to_rest();
    assert_eq!((world.active(), running(&world)), (Some("2.0.0"), vec![]));
}

#[test]
fn a_slot_of_a_release_that_is_gone_is_taken() {
    let mut world = busy();
    world.approve("anna");
    while world.look(usize::MAX) {}
    world.database.others.clear();
    world.run_to(Step::Watch);
    assert_eq!(running(&world), ["shop"]);
}

#[test]
fn whoever_waits_for_approval_again_gives_the_slot_back() {
    let mut world = World::at(Step::Deploy);
    world.policies = vec![policy("one", json!({ "concurrency": 1 }))];
    world.policies[0].running =
        vec![RunningRelease { name: "shop".into(), uid: UID.into(), since: MicroTime(world.now) }];
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    while world.look(usize::MAX) {}
    assert!(running(&world).is_empty(), "{:?}", running(&world));
}

#[test]
fn rule_01_a_way_back_waits_for_no_slot() {
    let mut world = World::serving();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    world.policies = vec![policy("one", json!({ "concurrency": 1 }))];
    let search = another(&world);
    world.database.others.push(search.uid.clone());
    world.policies[0].running.push(search);
    world.wait(5);
    world.decide(DecisionKind::Rollback(Rollback { to: None }), "anna");
    world.run_to_rest();
    assert_eq!((world.active(), running(&world)), (Some("1.0.0"), vec!["search"]));
    // Nor does one that is asked for while the new version is watched.
    let mut world = World::at(Step::Watch);
    world.policies = vec![policy("one", json!({ "concurrency": 1 }))];
    let search = another(&world);
    world.policies[0].running.push(search);
    world.decide(DecisionKind::Abort(Empty {}), "anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn what_is_suspended_takes_no_slot_and_comes_to_rest() {
    let mut world = World::serving();
    world.policies = vec![policy("one", json!({ "concurrency": 1 }))];
    world.spec.suspend = true;
    world.ask_for("2.0.0");
    world.spec.suspend = false;
    world.run_to(Step::Approve);
    world.approve("anna");
    world.spec.suspend = true;
    for _ in 0..20 {
        world.look(usize::MAX);
    }
    assert_eq!((world.step(), running(&world)), (Step::Approve, vec![]));
    assert_eq!(world.condition("Ready"), Some(("Unknown", "Suspended")));
    let writes = world.writes.len();
    for _ in 0..5 {
        world.look(usize::MAX);
    }
    assert_eq!(world.writes.len(), writes, "{:?}", world.writes);
}

#[test]
fn a_slot_is_given_back_to_a_policy_that_matches_no_longer() {
    let mut world = World::serving();
    world.policies = vec![policy("one", json!({ "concurrency": 1 }))];
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    world.former_policies = std::mem::take(&mut world.policies);
    assert_eq!(world.former_policies[0].running.len(), 1);
    world.run_to_rest();
    assert!(world.former_policies[0].running.is_empty());
}

#[test]
fn of_two_policies_both_slots_are_held_or_none() {
    let mut world = busy();
    world.policies.push(policy("two", json!({ "concurrency": 1 })));
    // A pair that was taken by half, as after a kill: the other half is somebody else's by now.
    let ours = RunningRelease { name: "shop".into(), uid: UID.into(), since: MicroTime(world.now) };
    world.policies[1].running = vec![ours.clone()];
    while world.look(usize::MAX) {}
    world.approve("anna");
    while world.look(usize::MAX) {}
    assert_eq!((running(&world), world.policies[1].running.len()), (vec!["search"], 0));
    // By half again, and the other half is free: it is taken and what is held is kept.
    world.policies[1].running = vec![ours];
    world.policies[0].running.clear();
    world.run_to(Step::Watch);
    assert!(world.policies.iter().all(|policy| policy.running.len() == 1 && policy.running[0].uid == UID));
    world.run_to_rest();
    assert!(world.policies.iter().all(|policy| policy.running.is_empty()));
}

#[test]
fn rule_10_killed_anywhere_it_takes_one_slot_and_gives_it_back() {
    for writes in 0..14 {
        let mut world = World::serving();
        world.policies = vec![policy("one", json!({ "concurrency": 1, "automatic": "Allowed" }))];
        world.spec.mode = Some(switchback::api::Mode::Automatic);
        world.ask_for("2.0.0");
        world.spec.mode = Some(switchback::api::Mode::Automatic);
        // The controller is killed after so many writes of a look, again and again for a while.
        for _ in 0..6 {
            world.look(writes);
            assert!(world.policies[0].running.len() <= 1);
        }
        world.run_to_rest();
        assert_eq!((world.active(), running(&world)), (Some("2.0.0"), vec![]), "{writes}");
    }
}
