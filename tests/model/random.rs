//! Random histories: kills after any write, stale looks, time, people, lost pods. The invariants of the world
//! are checked at each write; here also that every history ends the same.

use std::collections::BTreeSet;

use proptest::prelude::*;
use switchback::api::{DecisionKind, Empty, Gate, Rejection, ReleaseSpec, RestoreProgress, Rollback, Step};

use crate::{
    config::with_config,
    database::{MigrationEnd, PendingEnd, RehearsalEnd, ReportEnd, RestoreEnd},
    policies::policy,
    world::{Frozen, JobEnd, World},
};

#[derive(Clone, Debug)]
enum Happening {
    Look,
    /// A look that is killed after so many writes.
    Killed(usize),
    /// The controller acts on what it saw before the world went on.
    Stale,
    Settle,
    Wait(i64),
    Approve,
    Abort,
    /// A person goes back, suspends, resumes, promotes or tries again.
    Decide(u8),
    Spec(u8),
    Ready(u8, usize),
    Jobs(u8),
    Contest,
    /// How backups and migrations end.
    Database(u8),
    /// Which policies hold.
    Policies(u8),
    /// How many pods the load asks for.
    Load(i32),
    /// The leader is stopped before a write, and another one takes over.
    Freeze(usize),
    /// It goes on.
    Thaw,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => Just(Happening::Look),
        3 => (0usize..4).prop_map(Happening::Killed),
        2 => Just(Happening::Stale),
        4 => Just(Happening::Settle),
        3 => (1i64..1200).prop_map(Happening::Wait),
        3 => Just(Happening::Approve),
        1 => Just(Happening::Abort),
        2 => (0u8..9).prop_map(Happening::Decide),
        2 => (1u8..4).prop_map(Happening::Spec),
        1 => (1u8..4, 0usize..4).prop_map(|(version, ready)| Happening::Ready(version, ready)),
        1 => (0u8..4).prop_map(Happening::Jobs),
        1 => Just(Happening::Contest),
        1 => (0u8..5).prop_map(Happening::Database),
        1 => (0u8..4).prop_map(Happening::Policies),
        1 => (0i32..10).prop_map(Happening::Load),
        2 => (0usize..4).prop_map(Happening::Freeze),
        2 => Just(Happening::Thaw),
    ]
}

/// A world in which 1.0.0 serves: with config, with a database, with an autoscaler, alone on its volume, with a worker, with
/// Contract migrations, with a command that says what is due; or one that has gone back from 2.0.0, whose backup may come
/// back.
fn world(kind: u8) -> World {
    match kind {
        0 => World::serving_as(own),
        1 => World::serving_with_database(),
        2 => World::serving_as(crate::autoscaling::scaled_with_worker),
        3 => World::serving_as(crate::away::alone),
        5 => World::serving_with_contracts(),
        6 => World::serving_with_pending(),
        7 => crate::restored::waiting(RestoreEnd::Restored),
        _ => crate::workers::serving(),
    }
}

/// What belongs to a revision besides its pods.
fn own(spec: &mut ReleaseSpec) {
    with_config(spec);
}

fn happen(world: &mut World, frozen: &mut Vec<Frozen>, happening: &Happening) {
    match happening {
        Happening::Freeze(before) if !world.gone => frozen.extend(world.freeze(*before)),
        Happening::Freeze(_) => {}
        Happening::Thaw => {
            frozen.pop().map(|frozen| world.thaw(&frozen));
        }
        Happening::Look => {
            world.look(usize::MAX);
        }
        Happening::Killed(writes) => {
            world.look(*writes);
        }
        Happening::Stale => {
            let (seen, plan) = world.plan();
            world.settle();
            // The status write carries the resourceVersion that was read; nothing else wrote it meanwhile.
            world.carry_out(&seen, &plan, usize::MAX);
        }
        Happening::Settle => world.settle(),
        Happening::Load(pods) => world.load = Some(*pods),
        Happening::Wait(seconds) => world.wait(*seconds),
        Happening::Approve if world.step() == Step::Approve => {
            world.approve("anna");
        }
        Happening::Approve if world.contract_waits() => {
            world.approve_contract("anna");
        }
        Happening::Approve if world.data_loss_waits() => {
            world.approve_data_loss("anna");
        }
        Happening::Approve => {}
        Happening::Abort => {
            world.abort();
        }
        Happening::Decide(kind) => {
            let kind = match kind {
                0 => DecisionKind::Retry(Empty {}),
                1 => DecisionKind::Suspend(Empty {}),
                2 => DecisionKind::Resume(Empty {}),
                3 => DecisionKind::Promote(Empty {}),
                4 => DecisionKind::Rollback(Rollback::default()),
                5 => DecisionKind::Expedite(Empty {}),
                6 => DecisionKind::Reject(Rejection { gate: Gate::Contract }),
                8 => DecisionKind::Reject(Rejection { gate: Gate::DataLoss }),
                _ => {
                    let to = world.record().history.first().map(|entry| entry.revision.clone());
                    DecisionKind::Rollback(Rollback { to })
                }
            };
            world.decide(kind, "anna");
        }
        Happening::Spec(version) => world.ask_for(&format!("{version}.0.0")),
        Happening::Ready(version, ready) => world.set_ready(&format!("{version}.0.0"), *ready),
        Happening::Jobs(end) => {
            let end = [JobEnd::Passes, JobEnd::Fails, JobEnd::LeavesNothing, JobEnd::Hangs][usize::from(*end)];
            world.job_end = ["verify", "smoke", "watch"].into_iter().map(|kind| (kind, end)).collect();
        }
        Happening::Database(end) => {
            let database = &mut world.database;
            database.backup_fails = *end == 1;
            let ends = [MigrationEnd::Applied, MigrationEnd::Applied, MigrationEnd::Fails, MigrationEnd::PodLost];
            database.migration = *ends.get(usize::from(*end)).unwrap_or(&MigrationEnd::Hangs);
            let ends = [RehearsalEnd::Passes, RehearsalEnd::PodLost, RehearsalEnd::Passes, RehearsalEnd::Fails];
            database.rehearsal = *ends.get(usize::from(*end)).unwrap_or(&RehearsalEnd::Hangs);
            let says = [PendingEnd::Due, PendingEnd::Nothing, PendingEnd::PodLost, PendingEnd::Unknown];
            let reports = [ReportEnd::Written, ReportEnd::Refused, ReportEnd::PodLost, ReportEnd::Written];
            database.report = *reports.get(usize::from(*end)).unwrap_or(&ReportEnd::Hangs);
            let restores = [
                RestoreEnd::Restored,
                RestoreEnd::Uncertain,
                RestoreEnd::PodLost,
                RestoreEnd::Refused,
                RestoreEnd::Hangs,
            ];
            database.restore = restores[usize::from(*end)];
            database.asked_what_is_due = *says.get(usize::from(*end)).unwrap_or(&PendingEnd::Hangs);
        }
        Happening::Policies(which) => {
            world.policies = match which {
                0 => vec![],
                1 => vec![policy("two", serde_json::json!({ "approval": { "required": 2 } }))],
                2 => vec![policy(
                    "weekend",
                    serde_json::json!({
                        "freeze": [{ "schedule": "0 12 * * *", "for": "12h" }], "automatic": "Allowed",
                    }),
                )],
                _ => vec![policy("digests", serde_json::json!({ "images": { "digestRequired": true } }))],
            };
        }
        Happening::Contest => {
            if let Some(service) = world.services.get_mut("shop") {
                service.selector.insert("app".into(), "else".into());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, a fair world with approvals ends with the wanted version serving, or the failed one
    /// refused and the last good one serving; and then nothing is written any more.
    #[test]
    fn every_history_ends_well_and_quiet(
        kind in 0u8..8,
        history in prop::collection::vec(happening(), 1..80),
    ) {
        let mut world = world(kind);
        world.term = Some(1);
        let mut frozen = vec![];
        for happening in &history {
            happen(&mut world, &mut frozen, happening);
            let used: BTreeSet<&str> = world.record().decisions.iter().map(|used| used.uid.as_str()).collect();
            prop_assert_eq!(used.len(), world.record().decisions.len(), "a Decision took effect twice");
        }
        // Whoever is stopped still goes on some day.
        for frozen in frozen {
            world.thaw(&frozen);
        }
        world.job_end.clear();
        world.database.be_well();
        world.policies.clear();
        world.decisions.retain(|decision| decision.settled);
        if world.record().suspended.is_some() {
            world.decide(DecisionKind::Resume(Empty {}), "anna");
        }
        for _ in 0..6 {
            world.run_to_rest();
            if world.step() == Step::Approve {
                world.approve("anna");
            } else if world.contract_waits() {
                world.approve_contract("anna");
            } else if world.data_loss_waits() {
                world.approve_data_loss("anna");
            }
        }
        prop_assert_eq!(world.step(), Step::Idle);
        let active = world.active().unwrap_or_default().to_owned();
        // 1.0.0 came without what later versions of its world have besides.
        let digits = world.record().active.as_ref().map(|active| active.revision.digits().to_owned()).unwrap_or_default();
        prop_assert_eq!(world.selected(), Some(digits.as_str()));
        let wanted = world.spec.version.clone();
        let refused = world.record().failure.is_some();
        prop_assert!(active == wanted || refused, "{} serves, {} is wanted", active, wanted);
        // Who the database is, is known, unless an agent could not say what it had done.
        let lost = world.record().migration.as_ref().and_then(|migration| migration.restore.as_ref());
        if kind == 7 && lost.is_none_or(|restore| restore.state != RestoreProgress::Uncertain) {
            let known = world.database.instances[0].status.identity.as_ref().map(|identity| identity.oid);
            prop_assert_eq!(known, Some(i64::from(16384 + world.database.swaps)), "{:#?}", world.writes);
        }
        // Each ConfigMap belongs to a revision that is kept.
        let of_kept = |name: &String| world.deployments.values().any(|kept| name.ends_with(&kept.revision));
        prop_assert!(world.unwatched.keys().all(|(_, name)| of_kept(name)), "{:?}", world.unwatched.keys());
        let bounds: Vec<_> = world.autoscalers.values().map(|found| (found.revision.as_str(), found.least, found.most)).collect();
        let expected = if kind == 2 { vec![(digits.as_str(), 1, 4), (digits.as_str(), 2, 8)] } else { vec![] };
        prop_assert_eq!(bounds, expected, "{:#?}", world.writes);
        prop_assert!(world.jobs.is_empty() && world.services.len() == 1, "{:?} {:?}", world.jobs, world.services);
        world.writes.clear();
        let before = world.status.clone();
        for _ in 0..10 {
            world.look(usize::MAX);
            world.settle();
            world.wait(60);
        }
        prop_assert!(world.writes.is_empty(), "{:?}", world.writes);
        prop_assert_eq!(before, world.status);
    }

    /// A controller that is killed after any number of writes, anywhere, ends where an undisturbed one ends.
    #[test]
    fn killed_anywhere_it_ends_the_same(
        kind in 0u8..7,
        kills in prop::collection::vec(0usize..3, 1..40),
    ) {
        let mut world = world(kind);
        world.ask_for("2.0.0");
        let mut approved = false;
        for kill in kills {
            world.look(kill);
            world.settle();
            if world.step() == Step::Approve && !approved {
                world.approve("anna");
                approved = true;
            }
        }
        world.run_to_rest();
        if !approved {
            world.approve("anna");
            world.run_to_rest();
        }
        prop_assert_eq!(world.active(), Some("2.0.0"));
        prop_assert_eq!(world.record().attempts, 2);
        let running: Vec<_> = world.deployments.values().filter(|deployment| deployment.replicas > 0).collect();
        let workloads = world.spec.workloads.len();
        prop_assert_eq!((running.len(), world.services.len(), world.jobs.len()), (workloads, 1, 0));
        prop_assert_eq!(world.record().history.len(), 2);
        // I1, and nothing made twice: a migration ran once, from one backup.
        let ran = world.database.ran.values().all(|times| *times == 1);
        prop_assert!(ran, "{:?}", world.database.ran);
        prop_assert_eq!(world.database.backups.len(), if matches!(kind, 1 | 5 | 6) { 2 } else { 0 });
    }
}

proptest! {
    // Each begins after a whole release and its way back.
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// However often the controller is killed, a backup that people have approved takes the place of the database once.
    #[test]
    fn killed_anywhere_the_data_come_back_once(kills in prop::collection::vec(0usize..3, 1..40)) {
        let mut world = crate::restored::waiting(RestoreEnd::Restored);
        world.approve_data_loss("anna");
        for kill in kills {
            world.look(kill);
            world.settle();
        }
        world.run_to_rest();
        let restored = world.record().migration.as_ref().and_then(|migration| migration.restore.clone()).unwrap();
        prop_assert_eq!((restored.state, restored.attempt), (RestoreProgress::Restored, 1));
        prop_assert_eq!((world.active(), world.database.swaps, world.jobs.len()), (Some("1.0.0"), 1, 0));
        let known = world.database.instances[0].status.identity.as_ref().map(|identity| identity.oid);
        prop_assert_eq!(known, Some(16385));
    }
}
