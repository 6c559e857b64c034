//! Rehearsals: before each migration, on the backup that it proves, ended at any time, never a reason to touch anything.

use serde_json::json;
use switchback::api::{
    DecisionKind, Empty, MigrationProgress, Outcome, ProofLevel, Reason, Rehearsal, ReleaseSpec, Step,
};

use crate::{
    database::{RehearsalEnd, spec},
    policies::policy,
    world::World,
};

fn with(change: impl FnOnce(&mut switchback::api::Migration)) -> ReleaseSpec {
    let mut spec = spec("2.0.0");
    change(spec.database.as_mut().unwrap().migration.as_mut().unwrap());
    spec
}

fn released(world: &mut World, spec: ReleaseSpec) {
    world.change(spec);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
}

fn ran(world: &World) -> u32 {
    world.database.ran.values().sum()
}

fn asked(world: &World) -> Vec<ProofLevel> {
    world.database.asked.values().copied().collect()
}

#[test]
fn a_rehearsal_restores_the_backup_of_its_attempt_and_is_remembered() {
    let mut world = World::serving_with_database();
    released(&mut world, spec("2.0.0"));
    assert_eq!(world.active(), Some("2.0.0"), "{:?}", world.status.conditions);
    assert_eq!(asked(&world), [ProofLevel::Readable; 2]);
    let record = world.record();
    let (rehearsal, backup) = (record.rehearsal.as_ref().unwrap(), record.backup.as_ref().unwrap());
    assert_eq!((&rehearsal.backup, rehearsal.recovery.to_string().as_str()), (&backup.uid, "45s"));
    assert_eq!(rehearsal.revision, spec("2.0.0").revision());
    assert_eq!(record.migration.as_ref().unwrap().state, MigrationProgress::Applied);
    // The next plan tells what was seen.
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    let plan = world.record().plan.as_ref().unwrap();
    let does = &plan.steps.iter().find(|step| step.step == Step::Rehearse).unwrap().does;
    assert!(
        does.contains("AccessExclusiveLock on public.cart for 2s") && does.contains("Restoring took 45s"),
        "{does}"
    );
}

#[test]
fn what_a_rehearsal_has_shown_is_in_the_conditions() {
    let mut world = World::at(Step::Migrate);
    assert_eq!(world.condition("Rehearsed"), Some(("True", "Migrating")));
    assert!(world.message("Rehearsed").contains("held AccessExclusiveLock on public.cart for 2s"));
    assert!(world.message("BackedUp").contains("read back. The rehearsal restored it in 45s"));
    world.run_to_rest();
    let mut world = World::at(Step::Rehearse);
    assert_eq!(world.condition("Rehearsed"), Some(("False", "Rehearsing")));
    assert_eq!(world.condition("BackedUp").unwrap().0, "True");
    world.look(usize::MAX);
    world.end_database_jobs();
    world.status.record.rehearsal.clone_from(&None);
    world.look(usize::MAX);
    world.look(usize::MAX);
    let rehearsal = world.status.record.rehearsal.as_mut().unwrap();
    rehearsal.findings.reaches_production = true;
    world.look(usize::MAX);
    assert_eq!(world.condition("Rehearsed"), Some(("True", "RehearsalReachesProduction")));
}

#[test]
fn a_policy_may_forbid_that_production_answers_from_there() {
    let cases = [("Allowed", true, true), ("Forbidden", false, true), ("Forbidden", true, false)];
    for (says, reaches, passes) in cases {
        let mut world = World::serving_with_database();
        let before = ran(&world);
        world.policies = vec![policy("isolated", json!({ "database": { "rehearsalReachesProduction": says } }))];
        world.database.reaches_production = reaches;
        released(&mut world, spec("2.0.0"));
        let last = world.record().history.last().unwrap();
        if passes {
            assert_eq!((last.outcome, ran(&world)), (Outcome::Succeeded, before + 1), "{says}, {reaches}");
            continue;
        }
        assert_eq!((last.outcome, ran(&world)), (Outcome::Failed, before), "{says}, {reaches}");
        assert_eq!(last.reason, Reason::RehearsalReachesProduction.as_str());
        assert!(last.message.contains("which ReleasePolicy isolated forbids"), "{}", last.message);
        assert!(last.message.ends_with("Nothing was migrated: the database is as it was."), "{}", last.message);
    }
}

#[test]
fn a_migration_that_fails_on_the_copy_never_runs() {
    for end in [RehearsalEnd::Fails, RehearsalEnd::PodLost, RehearsalEnd::ContractEnds] {
        let mut world = World::serving_with_database();
        let before = ran(&world);
        world.database.rehearsal = end;
        released(&mut world, spec("2.0.0"));
        assert_eq!((world.ended(), ran(&world)), (Some(Outcome::Failed), before), "{end:?}");
        let reason =
            if end == RehearsalEnd::ContractEnds { Reason::ContractTestFailed } else { Reason::RehearsalFailed };
        assert_eq!(world.condition("Stalled"), Some(("True", reason.as_str())), "{end:?}");
        assert!(world.message("Stalled").contains("Nothing was migrated: the database is as it was"));
        assert_eq!(world.active(), Some("1.0.0"));
        assert!(world.jobs.is_empty());
        // It is not tried again by itself, and its backup stays.
        assert_eq!(world.database.backups.len(), 2);
    }
}

#[test]
fn input_36_the_old_version_that_does_not_get_ready_is_told_with_its_own_problem() {
    let mut world = World::serving_with_database();
    world.database.rehearsal = RehearsalEnd::ContractEnds;
    released(&mut world, spec("2.0.0"));
    let message = world.message("Stalled");
    assert!(message.contains("did not get ready on the migrated copy: container contract-0 ended"), "{message}");
}

#[test]
fn a_rehearsal_holds_nobody() {
    type Happen = fn(&mut World);
    let happenings: [(&str, Happen); 4] = [
        ("a new spec", |world| world.ask_for("3.0.0")),
        ("an abort", |world| {
            world.abort();
        }),
        ("a deletion", |world| world.deleting = true),
        ("time", |world| world.wait(6 * 3600 + 1)),
    ];
    for (name, happen) in happenings {
        let mut world = World::at(Step::Rehearse);
        let before = ran(&world);
        world.database.rehearsal = RehearsalEnd::Hangs;
        world.look(usize::MAX);
        assert!(world.jobs.keys().any(|name| name.contains("-rehearse")));
        happen(&mut world);
        world.look(usize::MAX);
        world.look(usize::MAX);
        assert!(world.gone || world.step() != Step::Rehearse, "{name}: {:?}", world.status.conditions);
        assert_eq!(ran(&world), before, "{name}");
    }
}

#[test]
fn a_rehearsal_whose_job_is_deleted_runs_again() {
    let mut world = World::at(Step::Rehearse);
    world.database.rehearsal = RehearsalEnd::Hangs;
    world.look(usize::MAX);
    world.jobs.clear();
    world.database.rehearsal = RehearsalEnd::Passes;
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"), "{:?}", world.status.conditions);
}

#[test]
fn without_a_rehearsal_the_backup_is_restored_before_and_the_plan_says_the_risk() {
    let mut world = World::serving_with_database();
    world.database.rehearsal = RehearsalEnd::Fails;
    let spec = with(|migration| migration.rehearse = Rehearsal { enabled: false, ..Rehearsal::default() });
    world.change(spec);
    world.run_to(Step::Approve);
    let plan = world.record().plan.clone().unwrap();
    assert!(!plan.steps.iter().any(|step| step.step == Step::Rehearse));
    assert!(
        plan.risks.iter().any(|risk| risk.contains("not rehearsed (rehearse.enabled is false)")),
        "{:?}",
        plan.risks
    );
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"), "{:?}", world.status.conditions);
    assert_eq!(asked(&world)[1], ProofLevel::Restored);
    assert_eq!(world.condition("Rehearsed").unwrap().0, "False");
    assert_eq!(world.message("Rehearsed"), "The migration was not rehearsed.");
}

#[test]
fn expedite_spares_the_rehearsal_and_never_the_proof() {
    let mut world = World::serving_with_database();
    world.database.rehearsal = RehearsalEnd::Fails;
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.decide(DecisionKind::Expedite(Empty {}), "otto");
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"), "{:?}", world.status.conditions);
    assert_eq!(asked(&world)[1], ProofLevel::Restored);
    // Of the next attempt it says nothing.
    world.database.rehearsal = RehearsalEnd::Passes;
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Rehearse);
}

#[test]
fn how_it_is_rehearsed_makes_no_other_revision_but_another_digest() {
    let mut world = World::serving_with_database();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let first = world.record().plan.clone().unwrap();
    let changed = with(|migration| {
        migration.rehearse.env = serde_json::from_value(serde_json::json!([{ "name": "A", "value": "b" }])).unwrap();
    });
    world.change(changed);
    world.run_to(Step::Approve);
    world.look(usize::MAX);
    world.settle();
    world.look(usize::MAX);
    let second = world.record().plan.clone().unwrap();
    assert_eq!(first.revision, second.revision);
    assert_ne!(first.digest, second.digest);
}

#[test]
fn a_backup_that_was_not_restored_is_no_reason_to_migrate() {
    let mut world = World::at(Step::Migrate);
    let record = &mut world.status.record;
    (record.rehearsal, record.migration) = (None, None);
    world.jobs.clear();
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "BackupFailed")));
    assert!(world.message("Stalled").contains("not proven as far as was asked"));
}
