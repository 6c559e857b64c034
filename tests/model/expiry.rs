//! Jobs that go by themselves some time after their end, also where nobody was there to read what they had to say.

use switchback::api::{DecisionKind, Empty, Outcome, Step};

use crate::world::World;

/// How many looks a release takes at most.
const LOOKS: usize = 60;

/// A world in which 1.0.0 serves on its database and 2.0.0 has been approved.
fn approved() -> World {
    let mut world = World::serving_with_database();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world
}

fn made(world: &World, part: &str) -> usize {
    world.writes.iter().filter(|write| write.starts_with("create Job") && write.contains(part)).count()
}

#[test]
fn rule_13_a_word_that_went_before_anybody_read_it_changes_no_end() {
    let mut asked_again = 0;
    for away in 0..LOOKS {
        let mut world = approved();
        for _ in 0..away {
            world.look(usize::MAX);
            world.settle();
        }
        // Whatever runs ends, and is gone before the next look.
        world.settle();
        world.expire_jobs();
        world.run_to_rest();
        assert_eq!((world.active(), world.ran("2.0.0")), (Some("2.0.0"), 1), "{away}: {:?}", world.status.conditions);
        let last = world.record().history.last().unwrap();
        assert_eq!(last.outcome, Outcome::Succeeded, "{away}");
        asked_again += usize::from(made(&world, "-migrate-2") > 0 || made(&world, "-rehearse") > 1);
    }
    assert!(asked_again >= 2, "{asked_again}");
}

#[test]
fn rule_13_what_a_rehearsal_has_shown_stays_known_while_it_is_suspended() {
    let mut world = approved();
    world.run_to(Step::Rehearse);
    world.decide(DecisionKind::Suspend(Empty {}), "carl");
    for _ in 0..6 {
        world.look(usize::MAX);
        world.settle();
    }
    assert_eq!((world.step(), world.condition("Ready")), (Step::Rehearse, Some(("Unknown", "Suspended"))));
    assert!(world.record().rehearsal.is_some());
    world.expire_jobs();
    world.wait(86_400);
    world.look(usize::MAX);
    assert!(!world.look(usize::MAX), "nothing runs: {:?}", world.writes);
    world.decide(DecisionKind::Resume(Empty {}), "carl");
    world.run_to_rest();
    assert_eq!((world.active(), made(&world, "-rehearse")), (Some("2.0.0"), 1), "{:?}", world.status.conditions);
}

#[test]
fn what_verifies_and_watches_stays_until_the_attempt_is_over() {
    let mut world = approved();
    world.run_to(Step::Retire);
    world.expire_jobs();
    let left: Vec<&String> = world.jobs.keys().collect();
    assert!(left.len() == 3 && left.iter().all(|name| name.contains("verify") || name.contains("watch")), "{left:?}");
    world.run_to(Step::Idle);
    assert!(world.jobs.values().all(|job| job.name.ends_with("-report")), "{:?}", world.jobs.keys());
}
