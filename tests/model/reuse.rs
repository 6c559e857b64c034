//! A backup that is there already is used when it is asked for, young enough and of the schema as it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use switchback::{
    api::{BackupRecord, Outcome, ProofLevel, Step, labels},
    release::{
        observed::{BackupSeen, BackupState},
        plan::Action,
    },
};

use crate::{
    database::spec,
    world::{World, newer},
};

const MINUTES: jiff::SignedDuration = jiff::SignedDuration::from_mins(20);

/// A world whose 2.0.0 reuses backups of up to an hour, and a backup somebody took twenty minutes before.
fn reusing(change: impl FnOnce(&mut BackupSeen)) -> World {
    let mut world = World::serving_with_database();
    world.ask_for("2.0.0");
    world.spec = spec("2.0.0");
    world.spec.database.as_mut().unwrap().backup.reuse = "1h".parse().unwrap();
    let mut backup = nightly(&world);
    change(&mut backup);
    world.database.backups.insert(backup.name.clone(), backup);
    world
}

/// A backup that somebody took twenty minutes ago, proven and of the schema as it is.
pub fn nightly(world: &World) -> BackupSeen {
    let done = BackupRecord {
        name: "nightly".into(),
        uid: "uid-nightly".into(),
        manifest: "7d0c1d2a/nightly/manifest.json".into(),
        storage: "offsite".into(),
        sha256: "ee".into(),
        schema: world.database.schema.clone(),
        proof: ProofLevel::Restored,
        taken_at: MicroTime(world.now - MINUTES),
    };
    BackupSeen {
        name: "nightly".into(),
        uid: "uid-nightly".into(),
        resource_version: "1".into(),
        database: "shop".into(),
        storages: vec![],
        user: None,
        marker: Some("7d0c1d2a-6c1f-4f7e-9a57-0d3c3a1f0001".into()),
        copies: vec!["local".into(), "offsite".into()],
        finalizers: vec!["example.com/kept".into()],
        deleting: false,
        state: BackupState::Complete(Box::new(done)),
    }
}

fn done(backup: &mut BackupSeen) -> &mut BackupRecord {
    match &mut backup.state {
        BackupState::Complete(done) => done,
        other => panic!("{other:?}"),
    }
}

/// Releases 2.0.0 and returns the backup that its migration rested on.
fn released(world: &mut World) -> String {
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    let name = world.record().backup.as_ref().unwrap().name.clone();
    world.run_to_rest();
    assert_eq!((world.ended(), world.active()), (Some(Outcome::Succeeded), Some("2.0.0")), "{:#?}", world.writes);
    name
}

#[test]
fn a_young_backup_of_this_schema_is_held_used_and_let_go() {
    let mut world = reusing(|_| {});
    let before = world.database.backups.len();
    assert_eq!(released(&mut world), "nightly");
    assert_eq!(world.database.backups.len(), before, "none was taken");
    let nightly = &world.database.backups["nightly"];
    assert_eq!(nightly.finalizers, ["example.com/kept"], "it is let go, and others' finalizers stay");
    let at = |what: &str| world.writes.iter().position(|write| write.contains(what)).unwrap();
    assert!(at("hold nightly") < at("-rehearse"), "{:#?}", world.writes);
}

#[test]
fn the_plan_says_that_one_may_be_used_and_what_it_lacks() {
    let mut world = reusing(|_| {});
    world.run_to(Step::Approve);
    let plan = world.record().plan.clone().unwrap();
    let backup = plan.steps.iter().find(|step| step.step == Step::Backup).unwrap();
    assert!(
        backup.does.starts_with("Uses the newest backup of this schema that is not older than 1h"),
        "{}",
        backup.does
    );
    assert!(plan.risks.iter().any(|risk| risk.contains("what was written since is in no backup")), "{:?}", plan.risks);
}

#[test]
fn of_several_the_newest_is_used() {
    let mut world = reusing(|_| {});
    let mut newer = nightly(&world);
    newer.name = "by-hand".into();
    newer.uid = "uid-by-hand".into();
    (done(&mut newer).name, done(&mut newer).uid) = ("by-hand".into(), "uid-by-hand".into());
    done(&mut newer).taken_at = MicroTime(world.now - MINUTES / 2);
    world.database.backups.insert("by-hand".into(), newer);
    assert_eq!(released(&mut world), "by-hand");
    assert!(!world.writes.iter().any(|write| write.contains("nightly")), "{:#?}", world.writes);
}

#[test]
fn a_backup_that_does_not_serve_is_left_alone_and_one_is_taken() {
    type Change = fn(&mut BackupSeen);
    let others: [(&str, Change); 9] = [
        ("too old", |backup| done(backup).taken_at.0 -= MINUTES * 3),
        ("of another schema", |backup| done(backup).schema = "dd".into()),
        ("of another database", |backup| backup.marker = Some("7d0c1d2a-6c1f-4f7e-9a57-0d3c3a1f0002".into())),
        ("of a database without a marker", |backup| backup.marker = None),
        ("not everywhere", |backup| backup.copies = vec!["local".into()]),
        ("not proven", |backup| done(backup).proof = ProofLevel::Stored),
        ("not whole", |backup| backup.state = BackupState::Working("it runs.".into())),
        ("deleted", |backup| backup.deleting = true),
        ("in use elsewhere", |backup| {
            backup.user = Some("uid-of-another".into());
            backup.finalizers = vec![labels::IN_USE.into()];
        }),
    ];
    for (name, change) in others {
        let mut world = reusing(change);
        if name == "not whole" {
            world.database.asked.insert("nightly".into(), ProofLevel::Restored);
        }
        assert_ne!(released(&mut world), "nightly", "{name}");
        assert!(!world.writes.iter().any(|write| write.contains("nightly")), "{name}: {:#?}", world.writes);
    }
}

#[test]
fn what_was_taken_before_the_last_migration_is_not_used() {
    let mut world = World::serving_with_database();
    for version in ["2.0.0", "3.0.0"] {
        world.ask_for(version);
        world.spec = spec(version);
        world.spec.database.as_mut().unwrap().backup.reuse = "8760h".parse().unwrap();
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to_rest();
        assert_eq!((world.ended(), world.active()), (Some(Outcome::Succeeded), Some(version)));
    }
    assert_eq!(world.database.backups.len(), 3, "{:#?}", world.database.backups.keys());
}

#[test]
fn one_that_goes_before_it_is_held_is_not_waited_for() {
    let mut world = reusing(|_| {});
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Backup);
    let (seen, plan) = world.plan();
    // Somebody deletes it in that moment: the API server refuses what was decided on the version before.
    let backup = world.database.backups.get_mut("nightly").unwrap();
    backup.deleting = true;
    newer(&mut backup.resource_version);
    assert!(plan.actions.iter().any(|action| matches!(action, Action::Hold { .. })), "{plan:?}");
    world.carry_out(&seen, &plan, usize::MAX);
    world.run_to_rest();
    assert_eq!(world.ended(), Some(Outcome::Succeeded), "{:?}", world.status.conditions);
    assert_ne!(world.record().backup.as_ref().map(|backup| backup.name.as_str()), Some("nightly"));
}

#[test]
fn killed_after_every_write_it_ends_the_same() {
    for stop in 0..60 {
        let mut world = reusing(|_| {});
        world.run_to(Step::Approve);
        world.approve("anna");
        for _ in 0..stop {
            world.look(1);
            world.settle();
        }
        world.run_to_rest();
        assert_eq!((world.ended(), world.active()), (Some(Outcome::Succeeded), Some("2.0.0")), "stopped at {stop}");
        assert!(world.database.backups.values().all(|backup| !backup.is_held()), "stopped at {stop}");
        assert_eq!(world.database.backups.len(), 2, "stopped at {stop}: none was taken");
    }
}
