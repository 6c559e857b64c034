//! What a database adds: backup first, one migration, the step is let end, the claim, the digest.

use switchback::{
    api::{DatabaseClaim, MigrationProgress, Outcome, Reason, Step},
    protocol::{MigrationState, Refusal},
};

use switchback::release::{manifests::Kind, observed::BackupState, plan::Action};

use crate::{
    database::{MigrationEnd, spec},
    world::World,
};

/// A world whose migration of 2.0.0 runs.
fn migrating() -> World {
    let mut world = World::at(Step::Migrate);
    world.database.migration = MigrationEnd::Hangs;
    for _ in 0..4 {
        world.look(usize::MAX);
        world.settle();
    }
    assert!(world.jobs.values().any(|job| job.name.contains("-migrate-1") && !job.suspended));
    world
}

type Happening = (&'static str, fn(&mut World));

/// What asks a release not to go on.
fn happenings() -> [Happening; 3] {
    [
        ("a new spec", |world| world.ask_for("3.0.0")),
        ("an abort", |world| {
            world.abort();
        }),
        ("a deletion", |world| world.deleting = true),
    ]
}

fn ran(world: &World) -> u32 {
    world.database.ran.get(spec("2.0.0").revision().digits()).copied().unwrap_or(0)
}

#[test]
fn a_release_backs_up_then_migrates_then_brings_the_new_version_up() {
    let mut world = World::serving_with_database();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let plan = world.record().plan.clone().unwrap();
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, ["Preflight", "Backup", "Rehearse", "Migrate", "Deploy", "Verify", "Switch", "Watch", "Retire"]);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    assert_eq!(ran(&world), 1, "I1");
    let migration = world.record().migration.as_ref().unwrap();
    assert_eq!(migration.state, MigrationProgress::Applied);
    // Every backup stays, and nothing holds it any more.
    assert!(world.database.backups.len() == 2 && world.database.backups.values().all(|backup| !backup.is_held()));
    assert!(world.jobs.is_empty());
}

#[test]
fn a_database_is_claimed_and_marked_once_and_only_after_the_approval() {
    let mut world = World::with_database();
    world.run_to(Step::Approve);
    let touched = |world: &World| world.writes.iter().any(|write| write.contains("claim") || write.contains("-mark"));
    assert!(!touched(&world), "{:#?}", world.writes);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"), "{:?}", world.status.conditions);
    world.writes.clear();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert!(!touched(&world), "{:#?}", world.writes);
}

#[test]
fn no_migration_without_a_proven_backup() {
    let mut world = World::serving_with_database();
    world.database.backup_fails = true;
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.ended(), ran(&world)), (Some(Outcome::Failed), 0));
    assert_eq!(world.condition("Stalled"), Some(("True", "NoSpace")));
    assert!(world.message("Stalled").contains("Nothing was migrated"), "{}", world.message("Stalled"));
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn input_47_no_migration_when_the_backup_goes_between_its_proof_and_the_start() {
    // Before its Job is made, before that is recorded, and before it is resumed.
    for looks in 0..3 {
        let mut world = World::at(Step::Rehearse);
        world.look(usize::MAX);
        world.settle();
        for _ in 0..looks {
            world.look(usize::MAX);
        }
        assert!(world.jobs.values().all(|job| !job.name.contains("-migrate-") || job.suspended));
        world.database.backups.clear();
        world.run_to_rest();
        assert_eq!((world.ended(), ran(&world)), (Some(Outcome::Failed), 0), "{looks}");
    }
}

#[test]
fn rule_06_and_11_a_migration_that_runs_is_let_end() {
    for (name, happen) in happenings() {
        let mut world = migrating();
        happen(&mut world);
        for _ in 0..3 {
            world.look(usize::MAX);
        }
        assert_eq!(world.step(), Step::Migrate, "{name}");
        assert!(world.jobs.values().any(|job| job.name.contains("-migrate-1")), "{name}: the Job is left alone");
        world.database.migration = MigrationEnd::Applied;
        world.end_database_jobs();
        for _ in 0..60 {
            world.turn();
        }
        assert_eq!(ran(&world), 1, "{name}");
        assert!(world.gone || world.step() != Step::Migrate, "{name}: {:?}", world.status.conditions);
        let on = world.selected().map(str::to_owned);
        let blue = spec("1.0.0").revision();
        assert!(world.gone || on.as_deref() == Some(blue.digits()), "{name}: blue serves: {:#?}", world.writes);
    }
}

#[test]
fn threat_t10_a_migration_that_was_not_recorded_before_it_ran_is_ended_and_not_believed() {
    let mut world = World::at(Step::Rehearse);
    world.database.migration = MigrationEnd::Hangs;
    let made = |world: &World| world.jobs.keys().find(|name| name.ends_with("-2-migrate-1")).cloned();
    for _ in 0..40 {
        if made(&world).is_none() && !world.look(1) {
            world.settle();
            world.wait(1);
        }
    }
    let name = made(&world).unwrap();
    let recorded = world.record().migration.as_ref().map(|migration| &migration.job);
    assert_ne!(recorded, Some(&world.jobs[&name].uid));
    // Somebody resumes it.
    world.jobs.get_mut(&name).unwrap().suspended = false;
    let mut ended = world.clone();
    world.look(usize::MAX);
    world.look(usize::MAX);
    assert!(made(&world).is_none(), "it is ended: {:?}", world.writes);
    // It says that all is well.
    ended.database.migration = MigrationEnd::Applied;
    ended.end_database_jobs();
    ended.database.migration = MigrationEnd::Hangs;
    ended.look(usize::MAX);
    let migration = ended.record().migration.clone().unwrap();
    assert_eq!((migration.state, migration.attempt), (MigrationProgress::Started, 2));
    // The next one asks the ledger.
    for mut world in [world, ended] {
        world.database.migration = MigrationEnd::Applied;
        world.run_to_rest();
        assert_eq!((world.active(), world.record().migration.as_ref().unwrap().attempt), (Some("2.0.0"), 2));
    }
    // Whoever reads a status that is older than the Job has to write a new one before it ends anything, and cannot.
    let mut world = migrating();
    world.status.record.migration = None;
    let (seen, plan) = world.plan();
    assert!(plan.record != *seen.record() && !plan.act_first && plan.upkeep.is_empty(), "{plan:#?}");
}

#[test]
fn rule_06_and_11_a_migration_that_is_recorded_and_does_not_run_yet_begins_no_more() {
    for (name, happen) in happenings() {
        let mut world = World::at(Step::Migrate);
        world.database.migration = MigrationEnd::Hangs;
        let recorded = |world: &World| {
            let migration = world.record().migration.as_ref();
            let job = migration.filter(|migration| migration.state == MigrationProgress::Started).map(|it| &it.job);
            job.is_some_and(|uid| world.jobs.values().any(|job| job.uid == *uid && job.suspended))
        };
        for _ in 0..4 {
            if !recorded(&world) {
                world.look(usize::MAX);
                world.settle();
            }
        }
        assert!(recorded(&world), "{:#?}", world.writes);
        happen(&mut world);
        for _ in 0..3 {
            world.look(usize::MAX);
            assert!(world.jobs.values().all(|job| !job.name.contains("-migrate-") || job.suspended), "{name}");
        }
        world.database.migration = MigrationEnd::Applied;
        let mut turns = 0;
        while !world.gone && world.step() == Step::Migrate && turns < 10 {
            world.turn();
            turns += 1;
        }
        assert!(world.gone || world.step() != Step::Migrate, "{name}: {:?}", world.status.conditions);
        assert_eq!(ran(&world), 0, "{name}");
    }
}

/// Lets every look pass without the Job that it makes ever being there.
fn never_made(world: &mut World, job: &str) {
    for _ in 0..12 {
        world.look(usize::MAX);
        world.jobs.retain(|_, made| !made.name.contains(job));
        world.wait(120);
    }
}

#[test]
fn rule_03_a_migration_whose_job_is_never_made_ends_the_attempt() {
    let mut world = World::at(Step::Migrate);
    never_made(&mut world, "-migrate-");
    assert_ne!(world.step(), Step::Migrate, "{:?}", world.status.conditions);
    world.run_to_rest();
    assert_eq!((world.ended(), ran(&world)), (Some(Outcome::Failed), 0));
    assert!(world.message("Stalled").contains("in time"), "{}", world.message("Stalled"));
}

#[test]
fn rule_03_nor_does_one_that_follows_a_lost_job_keep_a_release_from_being_deleted() {
    let mut world = migrating();
    world.jobs.retain(|_, job| !job.name.contains("-migrate-1"));
    world.look(usize::MAX);
    assert_eq!(world.record().migration.as_ref().map(|migration| migration.attempt), Some(2));
    world.deleting = true;
    for _ in 0..20 {
        world.jobs.retain(|_, made| !made.name.contains("-migrate-2"));
        world.turn();
    }
    assert!(world.gone, "{:?}", world.status.conditions);
}

#[test]
fn what_a_lost_job_may_have_migrated_is_not_said_to_be_nothing() {
    let mut world = migrating();
    world.jobs.retain(|_, job| !job.name.contains("-migrate-1"));
    world.look(usize::MAX);
    world.database.backups.clear();
    world.run_to_rest();
    let migration = world.record().migration.as_ref().unwrap();
    assert_eq!((migration.state, world.ended()), (MigrationProgress::Uncertain, Some(Outcome::Failed)));
    assert!(!world.message("Stalled").contains("Nothing was migrated"), "{}", world.message("Stalled"));
}

#[test]
fn a_migration_whose_job_cannot_be_made_is_known_before_anything_is_backed_up() {
    for kind in [Kind::Job, Kind::Pod] {
        let mut world = World::serving_with_database();
        let before = world.database.backups.len();
        world.foreign.push((kind, "shop-2-migrate-1".into()));
        world.ask_for("2.0.0");
        world.run_to_rest();
        assert_eq!(world.condition("Stalled"), Some(("True", "NameTaken")), "{kind:?}");
        assert!(world.message("Stalled").contains("shop-2-migrate-1"), "{}", world.message("Stalled"));
        assert_eq!((world.database.backups.len(), world.active()), (before, Some("1.0.0")));
    }
}

#[test]
fn a_failed_migration_leaves_the_serving_version_untouched_and_names_the_statement() {
    let mut world = World::at(Step::Migrate);
    world.database.migration = MigrationEnd::Fails;
    world.run_to_rest();
    assert_eq!(world.ended(), Some(Outcome::Failed));
    assert_eq!(world.condition("Stalled"), Some(("True", "MigrationFailed")));
    assert!(world.message("Stalled").contains("2.sql line 3"), "{}", world.message("Stalled"));
    let blue = spec("1.0.0");
    assert!(!world.writes.iter().any(|write| write.contains(blue.revision().digits())), "{:#?}", world.writes);
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn rule_13_a_lost_pod_is_followed_by_a_job_that_asks_the_ledger() {
    let mut world = World::at(Step::Migrate);
    world.database.migration = MigrationEnd::PodLost;
    while !world.jobs.values().any(|job| job.name.contains("-migrate-2")) {
        world.turn();
    }
    world.database.migration = MigrationEnd::Applied;
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    // One that is lost again and again is not tried for ever.
    let mut world = World::at(Step::Migrate);
    world.database.migration = MigrationEnd::PodLost;
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "MigrationUncertain")));
    assert!(ran(&world) <= 3);
}

#[test]
fn rule_10_a_database_that_another_release_has_is_not_touched() {
    let mut world = World::with_database();
    let claim = DatabaseClaim { release_uid: "uid-other".into(), release: "other".into() };
    world.set_instance(|status| status.claim = Some(claim));
    world.database.others.push("uid-other".into());
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "DatabaseClaimed")));
    assert!(world.message("Stalled").contains("Release other"), "{}", world.message("Stalled"));
    // A claim of one that is gone is taken.
    let mut world = World::with_database();
    let claim = DatabaseClaim { release_uid: "uid-gone".into(), release: "gone".into() };
    world.set_instance(|status| status.claim = Some(claim));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn forgery_sql_that_changed_after_the_approval_does_not_run() {
    let mut world = World::serving_with_database();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.database.checksum = "bb".into();
    world.turn();
    for _ in 0..20 {
        world.turn();
    }
    assert_eq!(world.step(), Step::Approve, "{:?}", world.status.conditions);
    assert_eq!(world.condition("Ready"), Some(("Unknown", "ApprovalStale")));
    assert!(!world.writes.iter().any(|write| write.contains("DatabaseBackup") || write.contains("migrate")));
}

#[test]
fn a_database_that_is_not_who_it_was_stops_the_release_before_anything_happens() {
    let mut world = World::serving_with_database();
    let message = "recorded 7400/16384/shop, found 7500/16384/shop".to_owned();
    world.database.refusal = Some(Refusal { reason: Reason::IdentityUncertain, message });
    world.ask_for("2.0.0");
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "IdentityUncertain")));
    assert!(world.message("Stalled").contains("found 7500"), "{}", world.message("Stalled"));
    assert!(world.jobs.is_empty(), "what looked is removed");
}

#[test]
fn where_nothing_is_due_nothing_is_migrated() {
    let mut world = World::serving_with_database();
    world.database.pending = 0;
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    assert!(!world.record().plan.as_ref().unwrap().steps.iter().any(|step| step.step == Step::Migrate));
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), ran(&world)), (Some("2.0.0"), 0));
}

#[test]
fn an_uncertain_migration_is_not_run_again_by_itself() {
    let mut world = World::serving_with_database();
    let mut wanted = spec("2.0.0");
    let migration = wanted.database.as_mut().unwrap().migration.as_mut().unwrap();
    migration.idempotent = Some(false);
    let digits = wanted.revision().digits().to_owned();
    world.database.ledger.insert(digits, MigrationState::Started);
    world.change(wanted);
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "MigrationUncertain")));
}

#[test]
fn a_backup_that_an_ended_attempt_leaves_unfinished_is_withdrawn_unless_it_completes_meanwhile() {
    let mut world = World::at(Step::Backup);
    world.look(usize::MAX);
    world.abort();
    let withdrawn = (0..20).find_map(|_| {
        world.look(usize::MAX);
        world.plan().1.actions.into_iter().find_map(|action| match action {
            Action::Delete { kind: Kind::DatabaseBackup, resource_version, .. } => Some(resource_version),
            _ => None,
        })
    });
    let seen = world.database.backups.values().map(|backup| backup.resource_version.clone()).next_back();
    assert_eq!(withdrawn, Some(seen));
    assert!(!world.database.backups.values().any(|backup| backup.is_held()));
}

#[test]
fn deleting_a_release_keeps_its_backups_and_lets_them_go() {
    let mut world = World::at(Step::Rehearse);
    world.deleting = true;
    world.run_to_rest();
    assert!(world.gone);
    assert!(world.database.backups.len() == 2 && world.database.backups.values().all(|backup| !backup.is_held()));
    assert_eq!(ran(&world), 0);
}

#[test]
fn a_backup_that_no_watch_has_shown_yet_is_let_go_before_the_release_is_gone() {
    let mut world = World::at(Step::Backup);
    world.look(usize::MAX);
    world.deleting = true;
    world.contents.clear();
    world.expire_jobs();
    let mut seen = world.observed();
    seen.backups.clear();
    let (_, plan) = world.plan_of(seen);
    let does: Vec<String> = plan.actions.iter().map(crate::world::words).collect();
    assert_eq!(does, ["let go of shop-uid-shop-2"]);
}

#[test]
fn input_06_a_migration_whose_pod_never_starts_holds_nobody() {
    type Happen = fn(&mut World);
    let happenings: [(&str, Happen); 4] = [
        ("a new spec", |world| world.ask_for("3.0.0")),
        ("an abort", |world| {
            world.abort();
        }),
        ("a deletion", |world| world.deleting = true),
        ("the deadline", |world| world.wait(601)),
    ];
    for (name, happen) in happenings {
        let mut world = World::at(Step::Migrate);
        world.database.migration = MigrationEnd::NeverStarts;
        for _ in 0..4 {
            world.look(usize::MAX);
            world.settle();
        }
        assert!(world.message("Ready").contains("migrate-1 to migrate"), "{name}: {}", world.message("Ready"));
        happen(&mut world);
        world.look(usize::MAX);
        let job = |world: &World| world.jobs.values().any(|job| job.name.contains("-migrate-"));
        assert!(job(&world) || name == "the deadline", "{name}: the pod may run already");
        world.wait(31);
        for _ in 0..12 {
            world.look(usize::MAX);
            world.settle();
        }
        assert!(world.gone || world.step() != Step::Migrate, "{name}: {:?}", world.status.conditions);
        assert!(!job(&world), "{name}: {:?}", world.jobs);
        assert_eq!(ran(&world), 0, "{name}");
    }
}

#[test]
fn threat_t10_a_backup_that_somebody_else_made_under_our_name_is_no_backup() {
    type Forge = fn(&mut World);
    let forgeries: [(&str, Forge); 2] = [
        ("of another database", |world| {
            world.database.backups.values_mut().for_each(|backup| backup.database = "empty".into());
        }),
        ("taken a week ago", |world| {
            let then = world.now.checked_sub(jiff::SignedDuration::from_hours(168)).unwrap();
            for backup in world.database.backups.values_mut() {
                if let BackupState::Complete(done) = &mut backup.state {
                    done.taken_at = k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(then);
                }
            }
        }),
    ];
    for (name, forge) in forgeries {
        let mut world = World::at(Step::Backup);
        world.look(usize::MAX);
        world.end_backups();
        forge(&mut world);
        world.run_to_rest();
        assert_eq!(world.condition("Stalled"), Some(("True", "NameTaken")), "{name}");
        assert_eq!(ran(&world), 0, "{name}");
    }
}

#[test]
fn a_database_that_was_exchanged_after_the_approval_is_not_migrated() {
    let mut world = World::at(Step::Rehearse);
    world.look(usize::MAX);
    world.settle();
    world.set_instance(|status| status.identity.as_mut().unwrap().oid = 99);
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "IdentityUncertain")));
    assert_eq!(ran(&world), 0);
}
