//! The account of an attempt: in the history of its Release, and beside the backup that it rested on.

use serde_json::{Value, json};
use switchback::api::{DecisionKind, Empty, HistoryEntry, MigrationProgress, Outcome, Step};

use crate::{
    database::{MigrationEnd, ReportEnd, spec},
    reuse::nightly,
    world::World,
};

/// A world in which 1.0.0 serves on its database and 2.0.0 has been approved.
fn approved() -> World {
    let mut world = World::serving_with_database();
    let mut wanted = spec("2.0.0");
    wanted.source = serde_json::from_value(json!({ "commit": "3f0c9c1f" })).unwrap();
    world.change(wanted);
    world.run_to(Step::Approve);
    world.approve("anna");
    world
}

fn last(world: &World) -> &HistoryEntry {
    world.record().history.last().unwrap()
}

/// What stands beside the backup of an attempt.
fn report<'a>(world: &'a World, entry: &HistoryEntry) -> Option<&'a Value> {
    let name = entry.backup.as_ref()?;
    let whose = |key: &str| key.contains(name) && key.ends_with(&format!("-{}", entry.attempt));
    world.database.reports.iter().find(|(key, _)| whose(key)).map(|(_, report)| report)
}

fn made(world: &World) -> usize {
    world.writes.iter().filter(|write| write.contains("create") && write.ends_with("-report")).count()
}

#[test]
fn a_history_says_who_decided_on_which_plan_and_what_came_of_it() {
    let mut world = approved();
    let digest = world.record().plan.as_ref().unwrap().digest.clone();
    world.run_to_rest();
    let entry = last(&world);
    assert_eq!((entry.outcome, entry.digest.as_ref()), (Outcome::Succeeded, Some(&digest)));
    let decided: Vec<(&str, &str)> = entry.decisions.iter().map(|by| (by.kind.as_str(), by.actor.as_str())).collect();
    assert_eq!(decided, [("approve", "anna")]);
    assert_eq!(entry.source.as_ref().unwrap().commit.as_deref(), Some("3f0c9c1f"));
    assert_eq!(entry.backup, world.record().backup.as_ref().map(|backup| backup.name.clone()));
    assert!(entry.steps.iter().any(|time| time.step == Step::Migrate));
    // Of the attempt before, which was another one's.
    let before = &world.record().history[0];
    assert!(before.decisions.iter().all(|by| !entry.decisions.contains(by)) && before.backup != entry.backup);
}

#[test]
fn an_attempt_is_written_beside_its_backup_once_it_has_ended() {
    let mut world = approved();
    world.run_to(Step::Watch);
    assert_eq!(made(&world), 0);
    world.run_to_rest();
    let entry = last(&world).clone();
    assert!(entry.recorded && world.record().reports.is_empty());
    let report = report(&world, &entry).unwrap();
    assert_eq!(report["release"], json!({ "namespace": "prod", "name": "shop", "uid": "uid-shop" }));
    assert_eq!(report["attempt"]["outcome"], "Succeeded");
    assert_eq!(report["attempt"]["decisions"][0]["actor"], "anna");
    assert_eq!(report["attempt"]["source"]["commit"], "3f0c9c1f");
    assert_eq!(report["plan"]["digest"].as_str(), entry.digest.as_deref());
    assert_eq!(report["migration"]["state"], json!(MigrationProgress::Applied));
    assert_eq!(report["backup"]["name"].as_str(), entry.backup.as_deref());
    assert_eq!(report["rehearsal"]["took"], "3s");
    assert_eq!((made(&world), world.jobs.len()), (1, 0));
}

#[test]
fn what_failed_is_written_too_and_what_took_no_backup_is_not() {
    let mut world = approved();
    world.database.migration = MigrationEnd::Fails;
    world.run_to_rest();
    let entry = last(&world).clone();
    assert_eq!((entry.outcome, entry.recorded), (Outcome::Failed, true));
    assert_eq!(report(&world, &entry).unwrap()["attempt"]["reason"], "MigrationFailed");
    let reports = world.database.reports.len();
    world.change(spec("3.0.0"));
    world.run_to(Step::Approve);
    world.reject();
    world.run_to_rest();
    let entry = last(&world);
    assert_eq!((entry.outcome, entry.recorded, &entry.backup), (Outcome::Rejected, false, &None));
    assert_eq!(world.database.reports.len(), reports);
    assert_eq!(entry.decisions[0].kind, "reject");
}

#[test]
fn what_cannot_be_written_is_forgotten_and_nothing_fails_by_it() {
    for end in [ReportEnd::Refused, ReportEnd::PodLost, ReportEnd::Hangs] {
        let mut world = approved();
        world.database.report = end;
        world.run_to_rest();
        assert_eq!((world.active(), last(&world).recorded), (Some("2.0.0"), false), "{end:?}");
        assert_eq!(world.condition("Ready"), Some(("True", "Released")), "{end:?}");
        assert!(world.record().reports.is_empty() && world.jobs.is_empty(), "{end:?}");
        assert_eq!(made(&world), 1, "{end:?}");
    }
    let mut world = approved();
    world.run_to(Step::Watch);
    world.database.storages.clear();
    world.run_to_rest();
    assert_eq!((made(&world), last(&world).recorded), (0, false));
    assert!(world.record().reports.is_empty());
}

#[test]
fn the_next_release_waits_for_no_report_and_both_are_written() {
    let mut world = approved();
    world.database.report = ReportEnd::Hangs;
    world.run_to(Step::Idle);
    while world.look(usize::MAX) {}
    assert!(world.jobs.values().any(|job| job.name.ends_with("-report")));
    world.change(spec("3.0.0"));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.database.report = ReportEnd::Written;
    world.run_to_rest();
    assert_eq!(world.active(), Some("3.0.0"));
    assert!(world.record().history.iter().all(|entry| entry.recorded), "{:#?}", world.record().history);
    assert_eq!(world.database.reports.len(), 3);
}

/// A backup that was there already is rested on like one of its own, by each attempt that does.
#[test]
fn attempts_that_reuse_a_backup_are_each_written_beside_it() {
    let mut world = approved();
    world.spec.database.as_mut().unwrap().backup.reuse = "1h".parse().unwrap();
    world.change(world.spec.clone());
    let nightly = nightly(&world);
    world.database.backups.insert(nightly.name.clone(), nightly);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Rehearse);
    world.decide(DecisionKind::Abort(Empty {}), "ben");
    world.run_to_rest();
    world.decide(DecisionKind::Retry(Empty {}), "ben");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    let tried: Vec<&HistoryEntry> = world.record().history.iter().rev().take(2).collect();
    let outcomes: Vec<Outcome> = tried.iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Succeeded, Outcome::Aborted], "{:?}", world.status.conditions);
    for entry in tried {
        assert_eq!((entry.backup.as_deref(), entry.recorded), (Some("nightly"), true));
        assert_eq!(report(&world, entry).unwrap()["attempt"]["attempt"], entry.attempt);
    }
}
