//! The data of a backup that come back: after traffic, when people have approved what is lost, never in the way of anything.

use switchback::api::{Approval, DecisionKind, Gate, Outcome, Reason, Rejection, RestoreProgress, RestoreRecord, Step};

use crate::{
    database::{RestoreEnd, with_restore},
    world::World,
};

/// A world that watches 2.0.0, which has migrated and whose backup comes back with traffic.
fn watching() -> World {
    let mut world = World::serving_with_database();
    world.change(with_restore("2.0.0"));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    world.look(usize::MAX);
    world
}

/// One in which 2.0.0 is unwell and traffic has gone back.
fn going_back(end: RestoreEnd) -> World {
    let mut world = watching();
    world.database.restore = end;
    let digits = with_restore("2.0.0").revision().digits().to_owned();
    world.unready.push(digits);
    world.settle();
    world.run_to(Step::RestoreData);
    world
}

/// One in which it waits for people.
fn waiting(end: RestoreEnd) -> World {
    let mut world = going_back(end);
    until(&mut world, |world| state(world) == Some(RestoreProgress::Waiting));
    world
}

fn until(world: &mut World, is_so: impl Fn(&World) -> bool) {
    for _ in 0..200 {
        if is_so(world) {
            return;
        }
        world.look(usize::MAX);
        world.settle();
        world.wait(1);
    }
    panic!("it does not come: {:?} {:#?}", world.step(), world.record().migration);
}

fn restore(world: &World) -> Option<RestoreRecord> {
    world.record().migration.as_ref().and_then(|migration| migration.restore.clone())
}

fn state(world: &World) -> Option<RestoreProgress> {
    restore(world).map(|restore| restore.state)
}

fn digest(world: &World) -> String {
    restore(world).unwrap().plan.unwrap().digest
}

fn approve(world: &mut World, actor: &str) -> String {
    let digest = digest(world);
    world.decide(DecisionKind::Approve(Approval { digest, gate: Gate::DataLoss }), actor)
}

fn at_rest(world: &mut World) {
    world.run_to_rest();
    assert_eq!((world.active(), world.ended()), (Some("1.0.0"), Some(Outcome::RolledBack)));
    assert!(world.jobs.is_empty());
}

#[test]
fn the_backup_comes_back_after_traffic_once_people_have_approved_what_is_lost() {
    let mut world = waiting(RestoreEnd::Restored);
    assert_eq!(world.condition("Reconciling"), Some(("True", Reason::DataLossPending.as_str())));
    let said = world.message("Reconciling");
    for part in ["1.0.0 serves users", "up to 15 rows of the 37 s", "public.orders had 1000", "--gate data-loss"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!world.writes.iter().any(|write| write.contains("-restore-")), "nothing runs unasked");
    // Hours pass, and nothing happens.
    for _ in 0..5 {
        world.wait(3600);
        world.look(usize::MAX);
        world.settle();
    }
    assert_eq!(state(&world), Some(RestoreProgress::Waiting));
    let decision = approve(&mut world, "ben");
    at_rest(&mut world);
    assert_eq!(world.became(&decision), Some(("Used", "Used")));
    let restore = restore(&world).unwrap();
    assert_eq!(
        (restore.state, restore.approved_by.as_slice()),
        (RestoreProgress::Restored, ["ben".to_owned()].as_slice())
    );
    assert_eq!(restore.before.as_deref(), Some("shop_before_a1"));
    assert!(world.message("Stalled").contains("The data of its backup are back"), "{}", world.message("Stalled"));
    let identity = world.database.instances[0].status.identity.clone().unwrap();
    assert_eq!(identity.oid, 99999);
    let at = |what: &str| world.writes.iter().position(|write| write.contains(what)).unwrap();
    assert!(at("point") < at("-loss-") && at("-loss-") < at("-restore-"), "{:#?}", world.writes);
    assert!(at("-restore-") < at("identify shop"), "{:#?}", world.writes);
}

#[test]
fn without_the_word_of_people_the_data_stay_and_the_attempt_ends_all_the_same() {
    // Nobody says anything.
    let mut world = waiting(RestoreEnd::Restored);
    world.wait(24 * 3600);
    at_rest(&mut world);
    assert!(world.message("Stalled").contains("nobody approved"), "{}", world.message("Stalled"));
    // Somebody says no.
    let mut world = waiting(RestoreEnd::Restored);
    world.decide(DecisionKind::Reject(Rejection { gate: Gate::DataLoss }), "ben");
    at_rest(&mut world);
    assert!(world.message("Stalled").contains("ben rejected that"), "{}", world.message("Stalled"));
    // A fix is asked for.
    let mut world = waiting(RestoreEnd::Restored);
    world.change(with_restore("3.0.0"));
    until(&mut world, |world| world.step() == Step::Approve);
    assert_eq!(state(&world), Some(RestoreProgress::Kept));
    assert!(!world.writes.iter().any(|write| write.contains("-restore-")));
}

#[test]
fn a_reverted_spec_does_not_keep_the_data_from_coming_back() {
    let mut world = waiting(RestoreEnd::Restored);
    world.change(crate::database::spec("1.0.0"));
    for _ in 0..5 {
        world.look(usize::MAX);
        world.settle();
    }
    assert_eq!(state(&world), Some(RestoreProgress::Waiting));
}

#[test]
fn forgery_only_the_word_on_this_very_loss_counts() {
    let mut world = waiting(RestoreEnd::Restored);
    let other = format!("sha256:{}", "0".repeat(64));
    let wrong = world.decide(DecisionKind::Approve(Approval { digest: other, gate: Gate::DataLoss }), "anna");
    let of_loss = digest(&world);
    let gate = world.decide(DecisionKind::Approve(Approval { digest: of_loss, gate: Gate::Release }), "anna");
    let old = world.record().plan.as_ref().unwrap().digest.clone();
    let plan = world.decide(DecisionKind::Approve(Approval { digest: old, gate: Gate::DataLoss }), "anna");
    for _ in 0..4 {
        world.look(usize::MAX);
        world.settle();
    }
    assert_eq!(world.became(&wrong), Some(("Refused", "OtherDigest")));
    assert_eq!(world.became(&gate), Some(("Refused", "TooLate")));
    assert_eq!(world.became(&plan), Some(("Refused", "OtherDigest")));
    assert_eq!(state(&world), Some(RestoreProgress::Waiting));
}

#[test]
fn what_cannot_be_counted_or_restored_stays_and_is_told() {
    let mut world = going_back(RestoreEnd::Uncounted);
    at_rest(&mut world);
    assert!(world.message("Stalled").contains("is a superuser"), "{}", world.message("Stalled"));
    let rows = [
        (RestoreEnd::Refused, RestoreProgress::Kept, "replication slot a decodes it"),
        (RestoreEnd::PodLost, RestoreProgress::Uncertain, "is not certain"),
    ];
    for (end, expected, told) in rows {
        let mut world = waiting(end);
        approve(&mut world, "anna");
        at_rest(&mut world);
        assert_eq!(state(&world), Some(expected), "{end:?}");
        assert!(world.message("Stalled").contains(told), "{end:?}: {}", world.message("Stalled"));
    }
}

#[test]
fn one_that_runs_is_let_end_whatever_happens() {
    let mut world = waiting(RestoreEnd::Hangs);
    approve(&mut world, "anna");
    until(&mut world, |world| world.jobs.values().any(|job| job.name.contains("-restore-1") && !job.suspended));
    world.deleting = true;
    world.look(usize::MAX);
    assert!(!world.gone && world.step() == Step::RestoreData);
    world.database.restore = RestoreEnd::Restored;
    world.run_to_rest();
    assert!(world.gone);
}

#[test]
fn killed_anywhere_while_it_is_restored_it_ends_the_same() {
    let mut world = waiting(RestoreEnd::Restored);
    approve(&mut world, "anna");
    for number in 0..400 {
        if world.step() == Step::Idle {
            break;
        }
        world.look(number % 3);
        if number % 4 == 0 {
            world.settle();
            world.wait(1);
        }
    }
    at_rest(&mut world);
    assert_eq!(state(&world), Some(RestoreProgress::Restored));
}

#[test]
fn a_release_that_could_not_be_restored_does_not_begin() {
    let mut world = World::serving_with_database();
    let mut spec = (*world.database.instances[0].spec).clone();
    spec.capacity = None;
    world.database.instances[0].spec = std::sync::Arc::new(spec);
    world.change(with_restore("2.0.0"));
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    assert!(world.message("Stalled").contains("lacks spec.capacity"), "{}", world.message("Stalled"));
}
