//! What people decide besides approving: to go back, to try again, to suspend, to promote.

use switchback::{
    api::{DecisionKind, Empty, Mode, Outcome, Step},
    release::observed::Guard,
};

use crate::world::{JobEnd, World, spec};

/// A world in which 1.0.0 served, 2.0.0 serves, and nothing is under way.
fn released_twice() -> World {
    let mut world = World::at(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    world.writes.clear();
    world
}

fn resume(world: &mut World) -> String {
    world.decide(DecisionKind::Resume(Empty {}), "ben")
}

fn suspend(world: &mut World) -> String {
    world.decide(DecisionKind::Suspend(Empty {}), "anna")
}

fn promote(world: &mut World) -> String {
    world.decide(DecisionKind::Promote(Empty {}), "anna")
}

fn retry(world: &mut World) -> String {
    world.decide(DecisionKind::Retry(Empty {}), "anna")
}

#[test]
fn a_person_goes_back_to_a_version_that_served_before_and_the_spec_is_not_tried_again() {
    for to in [None, Some("1.0.0")] {
        let mut world = released_twice();
        let decision = world.roll_back(to);
        world.run_to(Step::Watch);
        assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()));
        assert_eq!(world.record().candidate.as_ref().unwrap().version, "1.0.0");
        world.run_to_rest();
        assert_eq!((world.active(), world.step()), (Some("1.0.0"), Step::Idle));
        assert_eq!(world.became(&decision), Some(("Used", "Used")));
        assert_eq!(world.condition("Ready"), Some(("False", "RolledBack")));
        assert!(world.message("Ready").contains("anna asked for it"), "{}", world.message("Ready"));
        assert!(world.message("Ready").contains("The spec still says 2.0.0"), "{}", world.message("Ready"));
        let last = world.record().history.last().unwrap();
        assert_eq!((last.version.as_str(), last.outcome), ("1.0.0", Outcome::Succeeded));
        // The spec in Git follows: nothing more has to happen.
        let attempts = world.record().attempts;
        world.ask_for("1.0.0");
        world.run_to_rest();
        assert_eq!(world.condition("Ready"), Some(("True", "Released")));
        assert_eq!(world.record().attempts, attempts);
    }
}

#[test]
fn rule_01_a_way_back_that_a_person_asks_for_waits_for_no_spec_no_plan_and_no_suspension() {
    let mut world = released_twice();
    world.ask_for("3.0.0");
    world.spec.suspend = true;
    world.run_to(Step::Idle);
    assert_eq!(world.condition("Ready"), Some(("Unknown", "Suspended")));
    suspend(&mut world);
    world.look(usize::MAX);
    world.roll_back(Some("1.0.0"));
    world.run_to(Step::Watch);
    assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()));
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    // What the spec asks for now was never tried, so it is not what was left.
    assert!(world.record().failure.is_none());
    world.spec.suspend = false;
    resume(&mut world);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("3.0.0"));
}

#[test]
fn a_way_back_goes_before_a_plan_that_waits() {
    let mut world = released_twice();
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.roll_back(None);
    world.run_to(Step::Watch);
    assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()));
    world.run_to(Step::Approve);
    assert_eq!((world.active(), world.record().candidate.as_ref().unwrap().version.as_str()), (Some("1.0.0"), "3.0.0"));
}

#[test]
fn a_way_back_that_fails_leaves_what_serves_and_starts_nothing() {
    let mut world = released_twice();
    world.job_end.insert("verify", JobEnd::Fails);
    world.roll_back(None);
    world.run_to_rest();
    assert_eq!((world.active(), world.step()), (Some("2.0.0"), Step::Idle));
    assert_eq!(world.selected(), Some(World::digits("2.0.0").as_str()));
    assert_eq!(world.condition("Ready"), Some(("True", "Released")));
    assert_eq!(world.condition("Finished"), Some(("True", "ChecksFailed")));

    // After a way back the spec's revision is a failed one, and stays one whatever becomes of the next way back.
    let mut world = World::at(Step::Watch);
    world.set_ready("2.0.0", 0);
    world.run_to_rest();
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("3.0.0"));
    world.roll_back(Some("1.0.0"));
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    world.job_end.insert("verify", JobEnd::Fails);
    let attempts = world.record().attempts;
    world.roll_back(Some("3.0.0"));
    world.run_to_rest();
    assert_eq!((world.active(), world.record().attempts), (Some("1.0.0"), attempts + 1));
    assert_eq!(world.condition("Ready"), Some(("False", "RolledBack")));
}

#[test]
fn rolling_back_an_attempt_that_runs_stops_it_and_takes_traffic_back() {
    for step in [Step::Preflight, Step::Deploy, Step::Verify, Step::Switch, Step::Watch] {
        for to in [None, Some("1.0.0")] {
            let mut world = World::at(step);
            world.look(usize::MAX);
            let moved = world.selected() == Some(World::digits("2.0.0").as_str());
            world.roll_back(to);
            world.run_to_rest();
            assert_eq!((world.active(), world.step()), (Some("1.0.0"), Step::Idle), "{step:?}");
            assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()), "{step:?}");
            let expected = if moved { Outcome::RolledBack } else { Outcome::Aborted };
            assert_eq!(world.record().outcome, Some(expected), "{step:?}");
        }
    }
}

#[test]
fn a_way_back_to_what_is_not_there_is_refused_with_its_reason() {
    let mut world = released_twice();
    for (to, reason) in [("2.0.0", "NoSuchRevision"), ("3.0.0", "NoSuchRevision")] {
        let decision = world.roll_back(Some(to));
        world.look(usize::MAX);
        assert_eq!(world.became(&decision), Some(("Refused", reason)), "{to}");
    }
    // The content was deleted.
    world.contents.retain(|_, (_, content)| content.version != "1.0.0");
    let decision = world.roll_back(None);
    world.look(usize::MAX);
    assert_eq!(world.became(&decision), Some(("Refused", "NoSuchRevision")));

    // Somebody decided while it went back by itself: it does not go back twice.
    let mut world = released_twice();
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    world.set_ready("3.0.0", 0);
    world.run_to_rest();
    let decision = world.roll_back(None);
    world.run_to_rest();
    assert_eq!((world.active(), world.became(&decision)), (Some("2.0.0"), Some(("Refused", "NoSuchRevision"))));

    // A third version while an attempt is under way; and on a first release, that has nothing before it.
    let mut world = World::at(Step::Watch);
    let decision = world.roll_back(Some("3.0.0"));
    world.look(usize::MAX);
    assert_eq!(world.became(&decision), Some(("Refused", "TooLate")));
    let mut world = World::new();
    world.run_to(Step::Approve);
    let decision = world.roll_back(None);
    world.look(usize::MAX);
    assert_eq!(world.became(&decision), Some(("Refused", "NoSuchRevision")));
}

#[test]
fn rule_12_a_content_that_somebody_else_put_in_the_place_of_one_that_served_does_not_run() {
    let mut world = released_twice();
    for (_, content) in world.contents.values_mut().filter(|(_, content)| content.version == "1.0.0") {
        *content = std::sync::Arc::new(spec("3.0.0"));
    }
    world.roll_back(None);
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    assert_eq!(world.condition("Finished"), Some(("True", "ContentLost")));
    let foreign = World::digits("3.0.0");
    assert!(
        world.writes.iter().all(|write| !write.contains(&foreign) && !write.contains("<3.0.0>")),
        "{:?}",
        world.writes
    );
}

#[test]
fn rule_04_a_retry_tries_what_failed_once_more_and_only_that() {
    let mut world = World::at(Step::Verify);
    let early = retry(&mut world);
    world.job_end.insert("verify", JobEnd::Fails);
    world.run_to_rest();
    assert_eq!(world.became(&early), Some(("Refused", "TooLate")));
    assert_eq!(world.condition("Ready"), Some(("False", "ChecksFailed")));
    let attempts = world.record().attempts;
    world.job_end.clear();
    let decision = retry(&mut world);
    world.run_to(Step::Approve);
    assert_eq!(world.became(&decision), Some(("Used", "Used")));
    // What was approved then is not approved now.
    assert_eq!(world.record().attempts, attempts + 1);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    let late = retry(&mut world);
    world.look(usize::MAX);
    assert_eq!(world.became(&late), Some(("Refused", "TooLate")));
}

#[test]
fn a_suspended_release_enters_no_step_and_goes_on_where_it_stood() {
    for step in [Step::Preflight, Step::Backup, Step::Migrate, Step::Deploy, Step::Verify, Step::Watch] {
        for by_spec in [false, true] {
            let mut world = World::at(step);
            if by_spec {
                world.spec.suspend = true;
                world.generation += 1;
            } else {
                suspend(&mut world);
            }
            world.run_to_rest();
            // A Service that was moved is watched; until then the former version serves.
            assert_eq!(world.step(), step);
            assert_eq!(world.condition("Ready"), Some(("Unknown", "Suspended")), "{step:?}");
            assert_eq!(world.condition("Reconciling"), None, "{step:?}");
            assert_eq!(world.condition("Serving").unwrap().0, "True", "{step:?}");
            if by_spec {
                let useless = resume(&mut world);
                world.look(usize::MAX);
                assert_eq!(world.became(&useless), Some(("Refused", "TooLate")));
                world.spec.suspend = false;
                world.generation += 1;
            } else {
                resume(&mut world);
            }
            world.run_to_rest();
            assert_eq!(world.active(), Some("2.0.0"), "{step:?}");
        }
    }
}

#[test]
fn rule_01_a_suspension_stops_no_way_back() {
    let mut world = World::at(Step::Watch);
    suspend(&mut world);
    world.look(usize::MAX);
    assert!(world.record().suspended.is_some());
    world.set_ready("2.0.0", 0);
    let (_, plan) = world.plan();
    assert!(plan.act_first);
    world.run_to_rest();
    assert_eq!((world.active(), world.condition("Ready")), (Some("1.0.0"), Some(("False", "RolledBack"))));
}

#[test]
fn a_suspended_release_begins_nothing_and_keeps_what_serves() {
    let mut world = World::serving();
    suspend(&mut world);
    world.run_to_rest();
    assert_eq!(world.condition("Ready"), Some(("True", "Released")), "nothing is pending");
    world.ask_for("2.0.0");
    world.spec.mode = Mode::Automatic;
    world.services.clear();
    world.run_to_rest();
    assert_eq!((world.step(), world.condition("Ready")), (Step::Idle, Some(("Unknown", "Suspended"))));
    assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()));
    resume(&mut world);
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn an_approval_of_a_suspended_release_is_accepted_and_used_when_it_is_resumed() {
    let mut world = World::at(Step::Approve);
    suspend(&mut world);
    let approval = world.approve("anna");
    while world.look(usize::MAX) {}
    assert_eq!((world.step(), world.became(&approval)), (Step::Approve, Some(("Accepted", "Waiting"))));
    let again = suspend(&mut world);
    world.look(usize::MAX);
    assert_eq!(world.became(&again), Some(("Refused", "TooLate")));
    resume(&mut world);
    world.run_to_rest();
    assert_eq!((world.active(), world.became(&approval)), (Some("2.0.0"), Some(("Used", "Used"))));
}

#[test]
fn a_promotion_ends_the_window_when_the_pods_are_ready_and_not_before() {
    let mut world = World::at(Step::Watch);
    let until = world.record().deadline().unwrap();
    promote(&mut world);
    world.run_to_rest();
    assert_eq!((world.active(), world.step()), (Some("2.0.0"), Step::Idle));
    assert!(world.record().history.last().unwrap().ended_at.0 < until);
    assert!(world.record().history.last().unwrap().message.contains("promoted by anna"));

    // A check cannot tell: a person can.
    let mut world = World::at(Step::Watch);
    world.job_end.insert("watch", JobEnd::LeavesNothing);
    world.look(usize::MAX);
    world.settle();
    world.look(usize::MAX);
    assert_eq!(world.condition("Ready"), Some(("Unknown", "WatchOnHold")));
    promote(&mut world);
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));

    // Pods are missing: it waits for them, and goes back when they do not come.
    let mut world = World::at(Step::Watch);
    world.set_ready("2.0.0", 0);
    world.set_ready("1.0.0", 0);
    let decision = promote(&mut world);
    world.look(usize::MAX);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.became(&decision)), (Step::Watch, Some(("Accepted", "Waiting"))));
    world.set_ready("1.0.0", 3);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    assert_eq!(world.became(&decision), Some(("Refused", "TooLate")));

    let mut world = World::serving();
    let decision = promote(&mut world);
    world.look(usize::MAX);
    assert_eq!(world.became(&decision), Some(("Refused", "TooLate")));
}

#[test]
fn forgery_no_decision_counts_that_was_made_while_nothing_guarded() {
    let kinds = [
        DecisionKind::Retry(Empty {}),
        DecisionKind::Rollback(switchback::api::Rollback::default()),
        DecisionKind::Suspend(Empty {}),
        DecisionKind::Resume(Empty {}),
        DecisionKind::Promote(Empty {}),
        DecisionKind::Abort(Empty {}),
    ];
    for kind in kinds {
        let mut world = World::at(Step::Watch);
        let since = world.now;
        world.wait(-100);
        let decision = world.decide(kind.clone(), "anna");
        world.wait(100);
        world.guard = Guard::Since(since);
        let before = world.status.record.clone();
        world.look(usize::MAX);
        world.look(usize::MAX);
        assert_eq!(world.became(&decision), Some(("Refused", "CreatedUnguarded")), "{kind:?}");
        assert_eq!((before.step, before.suspended), (world.step(), world.record().suspended.clone()), "{kind:?}");
    }
}
