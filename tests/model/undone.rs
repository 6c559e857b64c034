//! Taking a migration back: after traffic, never in its way, never at the cost of a row.

use switchback::api::{DecisionKind, Empty, MigrationProgress, Outcome, Reason, Step, UndoProgress};

use crate::{
    database::{MigrationEnd, UndoEnd, with_down},
    world::World,
};

/// A world that watches 2.0.0, which has migrated and says how that is taken back.
fn watching() -> World {
    let mut world = World::serving_with_database();
    world.change(with_down("2.0.0"));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    world.look(usize::MAX);
    world
}

fn undo(world: &World) -> Option<UndoProgress> {
    world.record().migration.as_ref().unwrap().undo.as_ref().map(|undo| undo.state)
}

fn gone_back(end: UndoEnd) -> World {
    let mut world = watching();
    world.database.undo = end;
    let digits = with_down("2.0.0").revision().digits().to_owned();
    world.unready.push(digits);
    world.settle();
    world.run_to_rest();
    assert_eq!((world.active(), world.ended()), (Some("1.0.0"), Some(Outcome::RolledBack)), "{end:?}");
    assert!(world.jobs.is_empty(), "{end:?}");
    world
}

#[test]
fn a_migration_is_taken_back_after_traffic_and_is_due_again() {
    let mut world = gone_back(UndoEnd::Undone);
    assert_eq!(undo(&world), Some(UndoProgress::Undone));
    assert!(world.message("Stalled").contains("`down` took the migration back"), "{}", world.message("Stalled"));
    let back = world.writes.iter().position(|write| write.contains("point")).unwrap();
    let undone = world.writes.iter().position(|write| write.contains("-undo-")).unwrap();
    assert!(back < undone, "{:#?}", world.writes);
    assert!(!world.message("Stalled").contains("stays migrated"), "{}", world.message("Stalled"));
    world.unready.clear();
    world.decide(DecisionKind::Retry(Empty {}), "anna");
    world.run_to(Step::Approve);
    assert!(world.record().plan.as_ref().unwrap().steps.iter().any(|step| step.step == Step::Migrate));
}

#[test]
fn what_cannot_be_taken_back_stays_and_the_attempt_ends_all_the_same() {
    let rows = [
        (UndoEnd::Loses, UndoProgress::Kept, "3 rows of public.slots would be lost"),
        (UndoEnd::Fails, UndoProgress::Uncertain, "exit code 3"),
        (UndoEnd::PodLost, UndoProgress::Uncertain, "is not certain"),
    ];
    for (end, state, told) in rows {
        let world = gone_back(end);
        assert_eq!(undo(&world), Some(state), "{end:?}");
        assert!(world.message("Stalled").contains(told), "{end:?}: {}", world.message("Stalled"));
    }
}

#[test]
fn one_that_runs_is_let_end_whatever_happens() {
    let mut world = watching();
    world.database.undo = UndoEnd::Hangs;
    world.abort();
    world.run_to(Step::RestoreData);
    for _ in 0..4 {
        world.look(usize::MAX);
        world.settle();
    }
    assert!(world.jobs.values().any(|job| job.name.contains("-undo-1") && !job.suspended));
    assert_eq!(world.condition("Reconciling"), Some(("True", Reason::RestoringData.as_str())));
    // What was approved is deleted by somebody.
    world.contents.clear();
    world.look(usize::MAX);
    assert!(world.jobs.values().any(|job| job.name.contains("-undo-1")), "{:?}", world.writes);
    world.deleting = true;
    world.look(usize::MAX);
    assert!(!world.gone && world.step() == Step::RestoreData);
    world.database.undo = UndoEnd::Undone;
    world.run_to_rest();
    assert!(world.gone);
    assert_eq!(undo(&world), Some(UndoProgress::Undone));
}

#[test]
fn threat_t10_a_job_that_was_not_recorded_before_it_ran_is_not_believed() {
    let mut world = watching();
    world.database.undo = UndoEnd::Loses;
    world.abort();
    world.run_to(Step::RestoreData);
    let made = |world: &World| world.jobs.keys().find(|name| name.ends_with("-undo-1")).cloned();
    for _ in 0..5 {
        if made(&world).is_none() {
            world.look(1);
        }
    }
    // Somebody resumes it, and it says that all is well.
    let name = made(&world).unwrap();
    world.jobs.get_mut(&name).unwrap().suspended = false;
    world.database.undo = UndoEnd::Undone;
    world.end_database_jobs();
    world.database.undo = UndoEnd::Fails;
    world.run_to_rest();
    assert_eq!((undo(&world), world.active()), (Some(UndoProgress::Uncertain), Some("1.0.0")));
}

#[test]
fn nothing_is_taken_back_that_was_not_migrated_or_not_asked_for() {
    let mut world = World::serving_with_database();
    world.database.migration = MigrationEnd::Fails;
    world.change(with_down("2.0.0"));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.record().migration.as_ref().unwrap().state, MigrationProgress::Failed);
    assert!(!world.writes.iter().any(|write| write.contains("-undo-")));
    let mut world = World::at(Step::Migrate);
    world.run_to(Step::Watch);
    world.look(usize::MAX);
    world.abort();
    world.run_to_rest();
    assert!(!world.writes.iter().any(|write| write.contains("-undo-")));
}

#[test]
fn killed_anywhere_while_it_is_taken_back_it_ends_the_same() {
    let whole = gone_back(UndoEnd::Undone);
    let mut world = watching();
    let digits = with_down("2.0.0").revision().digits().to_owned();
    world.unready.push(digits);
    world.settle();
    for number in 0..400 {
        if world.step() == Step::Idle && !world.jobs.is_empty() {
            break;
        }
        world.look(number % 3);
        if number % 4 == 0 {
            world.settle();
            world.wait(1);
        }
    }
    world.run_to_rest();
    assert_eq!((undo(&world), world.active()), (undo(&whole), whole.active()));
    assert!(world.message("Stalled").contains("took the migration back"));
}

#[test]
fn where_its_job_cannot_be_made_the_attempt_ends_all_the_same() {
    let mut world = watching();
    world.abort();
    world.run_to(Step::RestoreData);
    for _ in 0..12 {
        world.look(usize::MAX);
        world.jobs.retain(|_, job| !job.name.contains("-undo-"));
        world.wait(120);
    }
    world.run_to_rest();
    assert_eq!((undo(&world), world.active()), (Some(UndoProgress::Kept), Some("1.0.0")));
    assert!(world.message("Stalled").contains("could not be made in time"), "{}", world.message("Stalled"));
}

#[test]
fn what_another_attempt_has_rehearsed_says_nothing_of_this_ones_down() {
    let mut world = watching();
    world.abort();
    // As it stands after an attempt before this one with the same backup.
    let since = world.record().candidate.as_ref().unwrap().since.0;
    let rehearsal = world.status.record.rehearsal.as_mut().unwrap();
    rehearsal.at.0 = since.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap();
    world.run_to_rest();
    assert_eq!(undo(&world), Some(UndoProgress::Kept));
    assert!(world.message("Stalled").contains("was not rehearsed"), "{}", world.message("Stalled"));
}
