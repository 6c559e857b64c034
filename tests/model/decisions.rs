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
fn rule_12_another_content_of_the_revision_that_served_does_not_run() {
    // The spec goes back to 1.0.0 with a check that fails: an attempt of the same revision with another content.
    let mut world = released_twice();
    let mut asked = spec("1.0.0");
    asked.checks.truncate(1);
    world.change(asked);
    world.job_end.insert("verify", JobEnd::Fails);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    world.ask_for("2.0.0");
    world.run_to_rest();
    world.job_end.clear();
    // Somebody writes one more.
    let (mut forged, content) = world.contents.values().next_back().unwrap().clone();
    (forged.number, forged.name, forged.uid) = (99, "shop-attempt-99".into(), "uid-forged".into());
    world.contents.insert(forged.name.clone(), (forged, content));
    world.roll_back(Some("1.0.0"));
    world.run_to(Step::Deploy);
    let order = world.record().candidate.as_ref().unwrap().rollback.clone().unwrap();
    assert_eq!(order.attempt, 1);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));

    // One that was made again under the same name is another one.
    let mut world = released_twice();
    for (seen, _) in world.contents.values_mut().filter(|(_, content)| content.version == "1.0.0") {
        seen.uid = "uid-again".into();
    }
    let decision = world.roll_back(None);
    world.look(usize::MAX);
    assert_eq!(world.became(&decision), Some(("Refused", "NoSuchRevision")));
}

#[test]
fn rule_04_a_way_back_that_failed_is_not_tried_again_by_itself_though_the_spec_asks_for_it_by_now() {
    for by_abort in [false, true] {
        let mut world = released_twice();
        world.roll_back(None);
        world.run_to(Step::Watch);
        let mut reverted = spec("1.0.0");
        reverted.mode = Some(Mode::Automatic);
        world.change(reverted);
        if by_abort {
            world.abort();
        } else {
            world.set_ready("1.0.0", 0);
        }
        world.run_to_rest();
        let expected = if by_abort { "Aborted" } else { "RolledBack" };
        assert_eq!((world.active(), world.condition("Ready")), (Some("2.0.0"), Some(("False", expected))));
    }
}

#[test]
fn a_way_back_to_what_the_spec_asks_for_is_what_was_asked_for() {
    let mut world = released_twice();
    world.roll_back(None);
    world.run_to_rest();
    world.roll_back(Some("2.0.0"));
    world.run_to_rest();
    assert_eq!((world.active(), world.condition("Ready")), (Some("2.0.0"), Some(("True", "Released"))));
    assert_eq!(world.condition("Stalled"), None);
}

#[test]
fn a_way_back_finds_its_content_in_a_status_of_the_version_before() {
    let mut world = World::at(Step::Watch);
    world.run_to(Step::Idle);
    let previous = world.status.record.previous.as_mut().unwrap();
    (previous.attempt, previous.content) = (0, None);
    world.status.record.history.iter_mut().for_each(|entry| entry.content = None);
    world.roll_back(None);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn who_approved_an_attempt_is_told_of_that_attempt_alone() {
    let mut world = World::at(Step::Verify);
    world.job_end.insert("verify", JobEnd::Fails);
    world.run_to_rest();
    world.job_end.clear();
    retry(&mut world);
    world.run_to(Step::Approve);
    let digest = world.record().plan.as_ref().unwrap().digest.clone();
    assert!(world.record().decisions.iter().any(|used| used.digest.as_ref() == Some(&digest)));
    assert!(world.record().candidate.as_ref().unwrap().approved_by.is_empty());
    world.approve("ben");
    world.run_to(Step::Verify);
    assert_eq!(world.message("Approved"), "Approved by ben.");
}

#[test]
fn a_decision_about_one_attempt_does_not_stop_the_next() {
    // A plan for 3.0.0 waits and the controller is away: anna aborts it, ben goes back to 1.0.0.
    let mut world = released_twice();
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    let abort = world.abort();
    let back = world.roll_back(Some("1.0.0"));
    world.wait(60);
    world.run_to_rest();
    assert_eq!((world.became(&back), world.became(&abort)), (Some(("Used", "Used")), Some(("Refused", "TooEarly"))));
    assert!(world.record().history.iter().any(|entry| entry.version == "1.0.0" && entry.attempt > 2));
    // Two people go back at once: they go back once.
    let mut world = released_twice();
    world.roll_back(None);
    let second = world.roll_back(None);
    world.wait(60);
    world.run_to_rest();
    assert_eq!((world.active(), world.became(&second)), (Some("1.0.0"), Some(("Refused", "TooEarly"))));
    // Resumed, then suspended, and seen together: it is suspended.
    let mut world = World::at(Step::Approve);
    suspend(&mut world);
    world.look(usize::MAX);
    let resumed = resume(&mut world);
    world.wait(5);
    suspend(&mut world);
    world.wait(60);
    while world.look(usize::MAX) {}
    assert_eq!(world.became(&resumed), Some(("Used", "Used")));
    assert!(world.record().suspended.is_some());
}

#[test]
fn a_promotion_is_no_match_for_a_way_back_that_waits() {
    let mut world = World::at(Step::Watch);
    world.set_ready("1.0.0", 0);
    let abort = world.abort();
    let promotion = promote(&mut world);
    for _ in 0..4 {
        world.look(usize::MAX);
    }
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "BothUnhealthy"))));
    world.set_ready("1.0.0", 3);
    world.run_to_rest();
    assert_eq!((world.active(), world.became(&abort)), (Some("1.0.0"), Some(("Used", "Used"))));
    assert_eq!(world.became(&promotion), Some(("Refused", "TooLate")));
}

#[test]
fn rule_01_what_is_held_is_stopped_taken_back_and_deleted_like_anything_else() {
    for step in [Step::Backup, Step::Migrate, Step::Deploy, Step::Verify, Step::Watch] {
        let held = || {
            let mut world = World::at(step);
            suspend(&mut world);
            world.run_to_rest();
            assert_eq!(world.condition("Ready"), Some(("Unknown", "Suspended")), "{step:?}");
            world
        };
        let mut world = held();
        let abort = world.abort();
        world.run_to_rest();
        assert_eq!((world.active(), world.became(&abort)), (Some("1.0.0"), Some(("Used", "Used"))), "{step:?}");
        let mut world = held();
        let back = world.roll_back(None);
        world.run_to_rest();
        assert_eq!((world.active(), world.became(&back)), (Some("1.0.0"), Some(("Used", "Used"))), "{step:?}");
        let mut world = held();
        world.deleting = true;
        world.run_to_rest();
        assert!(world.gone, "{step:?}");
    }
}

#[test]
fn what_is_held_after_a_migration_says_applied_and_does_not_migrate_again() {
    let mut world = World::at(Step::Migrate);
    suspend(&mut world);
    world.run_to_rest();
    let state = world.record().migration.as_ref().map(|migration| migration.state);
    assert_eq!(state, Some(switchback::api::MigrationProgress::Applied));
    // The Job's pod goes with its node.
    world.pods.retain(|_, pod| pod.job.is_none());
    world.run_to_rest();
    resume(&mut world);
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    assert!(world.database.ran.values().all(|times| *times == 1), "{:?}", world.database.ran);
}

#[test]
fn time_that_is_held_counts_for_no_deadline() {
    let mut world = World::at(Step::Deploy);
    suspend(&mut world);
    world.run_to_rest();
    world.wait(100_000);
    // A pod is evicted while it is held for a day.
    let green = World::digits("2.0.0");
    world.unready.push(green.clone());
    world.settle();
    world.look(usize::MAX);
    assert_eq!((world.step(), world.record().ending.is_none()), (Step::Deploy, true));
    resume(&mut world);
    world.look(usize::MAX);
    world.unready.clear();
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));

    // In a window that is held a moment of unreadiness is forgotten like in any other.
    let mut world = World::at(Step::Watch);
    suspend(&mut world);
    world.run_to_rest();
    assert!(world.message("Ready").contains("2.0.0 serves users"), "{}", world.message("Ready"));
    for deployment in world.deployments.values_mut() {
        deployment.replicas = 10;
    }
    let mut content = spec("2.0.0");
    content.watch.immediate_below = 0;
    for (_, frozen) in world.contents.values_mut().filter(|(_, frozen)| frozen.version == "2.0.0") {
        *frozen = std::sync::Arc::new(content.clone());
    }
    world.set_ready("2.0.0", 1);
    world.look(usize::MAX);
    assert!(world.record().unready_since.is_some());
    world.set_ready("2.0.0", 3);
    world.look(usize::MAX);
    assert!(world.record().well_since.is_some());
}

#[test]
fn a_first_release_that_is_held_in_its_window_says_that_it_serves() {
    let mut world = World::new();
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    suspend(&mut world);
    world.run_to_rest();
    assert!(world.message("Ready").contains("1.0.0 serves users and is watched on"), "{}", world.message("Ready"));
    let back = world.roll_back(None);
    world.look(usize::MAX);
    assert_eq!(world.became(&back), Some(("Refused", "TooLate")));
}

#[test]
fn what_serves_and_is_unwell_says_so_though_a_suspended_version_is_pending() {
    let mut world = World::serving();
    suspend(&mut world);
    world.ask_for("2.0.0");
    world.set_ready("1.0.0", 0);
    world.look(usize::MAX);
    world.look(usize::MAX);
    assert_eq!(world.condition("Ready"), Some(("False", "ActiveUnhealthy")));
}

#[test]
fn a_decision_whose_effect_came_before_its_memory_is_used() {
    for by_abort in [false, true] {
        let mut world = World::at(Step::Watch);
        world.look(usize::MAX);
        let decision = if by_abort { world.abort() } else { world.roll_back(None) };
        // The Services are patched first; the controller is killed before its status is written.
        world.look(1);
        assert_eq!((world.step(), world.selected()), (Step::Watch, Some(World::digits("1.0.0").as_str())));
        world.run_to_rest();
        assert_eq!(world.became(&decision), Some(("Used", "Used")));
        let expected = if by_abort { Outcome::Aborted } else { Outcome::RolledBack };
        assert_eq!(world.record().outcome, Some(expected));
    }
}

#[test]
fn a_way_back_with_a_database_leaves_it_as_it_is() {
    let mut world = World::serving_with_database();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    let (backups, ran) = (world.database.backups.len(), world.database.ran.clone());
    world.roll_back(None);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    assert_eq!((world.database.backups.len(), world.database.ran.clone()), (backups, ran));
    assert!(world.jobs.is_empty(), "{:?}", world.jobs);
}

#[test]
fn a_way_back_brings_a_service_that_only_the_former_version_had() {
    let mut world = World::new();
    let mut two = spec("1.0.0");
    let mut admin = two.workloads[0].services[0].clone();
    admin.name = "admin".into();
    two.workloads[0].services.push(admin);
    world.spec = two;
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), world.services.len()), (Some("2.0.0"), 1));
    world.roll_back(None);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    let first = world.record().active.as_ref().unwrap().revision.digits().to_owned();
    let selected: Vec<Option<&str>> = world.services.values().map(|service| service.selected()).collect();
    assert_eq!(selected, [Some(first.as_str()); 2]);
}

#[test]
fn a_short_history_still_remembers_the_version_that_is_kept() {
    let mut world = World::serving();
    let mut asked = spec("2.0.0");
    asked.history_limit = 1;
    world.change(asked);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    world.run_to(Step::Idle);
    assert_eq!(world.record().history.len(), 1);
    let back = world.roll_back(None);
    world.run_to_rest();
    assert_eq!((world.active(), world.became(&back)), (Some("1.0.0"), Some(("Used", "Used"))));
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
    world.spec.mode = Some(Mode::Automatic);
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
