//! The data of a backup that come back: after traffic, when people have approved what is lost, never in the way of anything.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::json;
use switchback::api::{
    Approval, DatabaseRollback, DecisionKind, Gate, Outcome, Reason, Rejection, RestoreProgress, RestoreRecord,
    RunningRelease, Step,
};

use crate::{
    database::{Database, RestoreEnd},
    policies::policy,
    world::{UID, World},
};

/// A world that watches 2.0.0, which has migrated and whose backup comes back with traffic.
fn watching() -> World {
    let mut world = World::serving_with_restores();
    world.ask_for("2.0.0");
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
    let digits = world.digits_of("2.0.0");
    world.unready.push(digits);
    world.settle();
    world.run_to(Step::RestoreData);
    world
}

/// One in which it waits for people.
pub fn waiting(end: RestoreEnd) -> World {
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

impl World {
    /// A world in which 1.0.0 serves, and the backups of later versions come back when these go back.
    pub fn serving_with_restores() -> Self {
        let mut world = Self::serving_with_database();
        world.shape = |spec| spec.rollback.database = DatabaseRollback::Restore;
        world
    }

    /// Returns whether people are asked about what would be lost.
    pub fn data_loss_waits(&self) -> bool {
        self.step() == Step::RestoreData && state(self) == Some(RestoreProgress::Waiting)
    }

    pub fn approve_data_loss(&mut self, actor: &str) -> String {
        let digest = digest(self);
        self.decide(DecisionKind::Approve(Approval { digest, gate: Gate::DataLoss }), actor)
    }
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
    let decision = world.approve_data_loss("ben");
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
    assert_eq!(identity.oid, 16385);
    let at = |what: &str| world.writes.iter().position(|write| write.contains(what)).unwrap();
    assert!(at("point") < at("-loss-") && at("-loss-") < at("-restore-"), "{:#?}", world.writes);
    assert!(at("-restore-") < at("identify shop"), "{:#?}", world.writes);
}

#[test]
fn without_the_word_of_people_the_data_stay_and_the_attempt_ends_all_the_same() {
    // Nobody says anything.
    let mut world = waiting(RestoreEnd::Restored);
    let before = world.database.clone();
    world.wait(24 * 3600);
    at_rest(&mut world);
    untouched(&world, &before);
    assert!(world.message("Stalled").contains("nobody approved"), "{}", world.message("Stalled"));
    // Somebody says no.
    let mut world = waiting(RestoreEnd::Restored);
    let before = world.database.clone();
    world.decide(DecisionKind::Reject(Rejection { gate: Gate::DataLoss }), "ben");
    at_rest(&mut world);
    untouched(&world, &before);
    assert!(world.message("Stalled").contains("ben rejected that"), "{}", world.message("Stalled"));
    // A fix is asked for.
    let mut world = waiting(RestoreEnd::Restored);
    world.ask_for("3.0.0");
    until(&mut world, |world| world.step() == Step::Approve);
    assert_eq!(state(&world), Some(RestoreProgress::Kept));
    assert!(!world.writes.iter().any(|write| write.contains("-restore-")));
    // It is deleted.
    let mut world = waiting(RestoreEnd::Restored);
    let before = world.database.clone();
    world.deleting = true;
    world.run_to_rest();
    assert!(world.gone);
    assert_eq!((world.database.swaps, &world.database.ledger), (0, &before.ledger));
    assert!(!world.writes.iter().any(|write| write.contains("-restore-")));
}

/// Nothing of the database is another than it was, and the backup is there for whoever wants it later.
fn untouched(world: &World, before: &Database) {
    assert_eq!(state(world), Some(RestoreProgress::Kept));
    assert!(!world.writes.iter().any(|write| write.contains("-restore-")), "{:#?}", world.writes);
    let now = &world.database;
    assert_eq!((now.swaps, &now.ledger, &now.schema), (0, &before.ledger, &before.schema));
    assert_eq!(now.instances[0].status.identity, before.instances[0].status.identity);
    let states = |database: &Database| -> Vec<String> {
        database.backups.values().map(|backup| format!("{:?}", backup.state)).collect()
    };
    assert_eq!(states(now), states(before));
    assert!(now.backups.values().all(|backup| !backup.is_held()), "nothing waits for this Release any more");
}

#[test]
fn as_many_people_approve_as_a_policy_asks() {
    let mut world = waiting(RestoreEnd::Restored);
    world.policies = vec![policy("two", json!({ "approval": { "required": 2 } }))];
    world.approve_data_loss("anna");
    for _ in 0..4 {
        world.look(usize::MAX);
        world.settle();
    }
    assert_eq!(state(&world), Some(RestoreProgress::Waiting));
    assert!(
        world.message("Reconciling").contains("1 of 2 approvals are given, by anna"),
        "{}",
        world.message("Reconciling")
    );
    let unmet = restore(&world).unwrap().plan.unwrap().unmet;
    assert!(unmet[0].contains("1 more of 2 approvals") && unmet[0].contains("--gate data-loss"), "{unmet:?}");
    world.approve_data_loss("ben");
    at_rest(&mut world);
    let restore = restore(&world).unwrap();
    assert_eq!((restore.state, restore.approved_by), (RestoreProgress::Restored, vec!["anna".into(), "ben".into()]));
}

#[test]
fn while_people_are_asked_no_slot_is_held_and_the_way_back_takes_none() {
    let mut world = watching();
    world.policies = vec![policy("one", json!({ "concurrency": 1 }))];
    world.policies[0].running =
        vec![RunningRelease { name: "shop".into(), uid: UID.into(), since: MicroTime(world.now) }];
    let digits = world.digits_of("2.0.0");
    world.unready.push(digits);
    world.settle();
    until(&mut world, |world| state(world) == Some(RestoreProgress::Waiting));
    while world.look(usize::MAX) {}
    assert!(world.policies[0].running.is_empty(), "{:?}", world.policies[0].running);
    // Another one takes the place, and the data come back all the same.
    let search = RunningRelease { name: "search".into(), uid: "uid-search".into(), since: MicroTime(world.now) };
    world.database.others.push(search.uid.clone());
    world.policies[0].running.push(search);
    world.approve_data_loss("ben");
    at_rest(&mut world);
    assert_eq!(state(&world), Some(RestoreProgress::Restored));
}

#[test]
fn one_whose_end_was_lost_is_found_out_by_the_next() {
    let mut world = waiting(RestoreEnd::Uncertain);
    world.approve_data_loss("ben");
    at_rest(&mut world);
    assert_eq!((state(&world), world.database.swaps), (Some(RestoreProgress::Restored), 1));
    let identity = world.database.instances[0].status.identity.clone().unwrap();
    assert_eq!(identity.oid, 16385);
    assert!(world.writes.iter().any(|write| write.contains("-restore-2")), "{:#?}", world.writes);
}

#[test]
fn threat_t10_a_job_of_our_name_that_was_not_recorded_is_not_believed() {
    let mut world = waiting(RestoreEnd::Hangs);
    world.approve_data_loss("ben");
    until(&mut world, |world| world.jobs.values().any(|job| job.name.ends_with("-restore-1") && !job.suspended));
    let job = world.jobs.values_mut().find(|job| job.name.ends_with("-restore-1")).unwrap();
    job.uid = "uid-forged".into();
    world.database.restore = RestoreEnd::Restored;
    // The forged one says that it is done, and who the database is.
    world.end_database_jobs();
    let known = world.database.instances[0].status.identity.clone();
    world.look(usize::MAX);
    world.look(usize::MAX);
    assert_eq!(world.database.instances[0].status.identity, known);
    assert_eq!(restore(&world).unwrap().attempt, 2);
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
        (RestoreEnd::NeverStarts, RestoreProgress::Uncertain, "did not start in time"),
    ];
    for (end, expected, told) in rows {
        let mut world = waiting(end);
        world.approve_data_loss("anna");
        at_rest(&mut world);
        assert_eq!(state(&world), Some(expected), "{end:?}");
        assert!(world.message("Stalled").contains(told), "{end:?}: {}", world.message("Stalled"));
    }
}

#[test]
fn one_that_runs_is_let_end_whatever_happens() {
    let mut world = waiting(RestoreEnd::Hangs);
    world.approve_data_loss("anna");
    until(&mut world, |world| world.jobs.values().any(|job| job.name.contains("-restore-1") && !job.suspended));
    // What was approved is deleted by somebody.
    world.contents.clear();
    world.look(usize::MAX);
    assert!(world.jobs.values().any(|job| job.name.contains("-restore-1")), "{:?}", world.writes);
    world.deleting = true;
    world.look(usize::MAX);
    assert!(!world.gone && world.step() == Step::RestoreData);
    world.database.restore = RestoreEnd::Restored;
    world.run_to_rest();
    assert!(world.gone);
    assert_eq!(state(&world), Some(RestoreProgress::Restored));
}

#[test]
fn what_was_approved_and_is_gone_leaves_the_data_and_says_so() {
    let mut world = waiting(RestoreEnd::Restored);
    world.contents.clear();
    at_rest(&mut world);
    assert_eq!(state(&world), Some(RestoreProgress::Kept));
    assert!(world.message("Stalled").contains("deleted its ControllerRevision"), "{}", world.message("Stalled"));
}

#[test]
fn killed_anywhere_while_it_is_restored_it_ends_the_same() {
    let mut world = waiting(RestoreEnd::Restored);
    world.approve_data_loss("anna");
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
    let mut world = World::serving_with_restores();
    let mut spec = (*world.database.instances[0].spec).clone();
    spec.capacity = None;
    world.database.instances[0].spec = std::sync::Arc::new(spec);
    world.ask_for("2.0.0");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    assert!(world.message("Stalled").contains("lacks spec.capacity"), "{}", world.message("Stalled"));
}
