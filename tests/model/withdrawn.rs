//! Contract migrations: nothing of another version runs, or may have to serve, when one begins; and what one leaves behind.

use std::collections::BTreeMap;

use serde_json::json;
use switchback::{
    api::{Approval, Change, ChangedBy, ContractProgress, DecisionKind, Empty, Gate, Mode, Reason, ReleaseSpec, Step},
    protocol::Refusal,
    release::{
        manifests::Kind,
        plan::{Action, Plan, plan},
    },
};

use crate::{
    adopt::{adopting, beside},
    contract::{contract, settled, spec},
    database::MigrationEnd,
    policies::policy,
    world::{World, child_labels},
};

/// A pod of a version, which no watch has shown.
fn unseen(world: &mut World, version: &str) {
    let labels = child_labels("web", &world.digits_of(version));
    world.unseen.push((format!("shop-{version}"), labels));
}

fn only_the_last(spec: &mut ReleaseSpec) {
    contract(spec);
    spec.history_limit = 1;
}

/// A world like `with_contract`, where specs have more besides.
fn waiting(shape: crate::world::Shape) -> World {
    let mut world = World::serving_with_database();
    world.shape = shape;
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Idle);
    settled(&mut world);
    assert_eq!((world.active(), world.contract_waits()), (Some("2.0.0"), true));
    world
}

fn removes_deployments(plan: &Plan) -> bool {
    plan.everything().any(|action| matches!(action, Action::Delete { kind: Kind::Deployment, .. }))
}

fn risks(world: &World) -> String {
    world.record().plan.as_ref().unwrap().risks.join("\n")
}

#[test]
fn rule_01_what_a_service_selects_is_not_withdrawn() {
    let mut world = World::with_contract();
    world.approve_contract("anna");
    world.run_to(Step::Contract);
    let seen = loop {
        let (seen, plan) = world.plan();
        if removes_deployments(&plan) {
            break world.observed();
        }
        assert_eq!(seen.record().step, Step::Contract);
        world.turn();
    };
    // The watch has not shown yet that somebody pointed it back.
    world.point_at("1.0.0");
    let (_, plan) = world.plan_of(seen);
    assert!(!removes_deployments(&plan), "{:?}", plan.actions);
    world.run_to_rest();
    assert_eq!((world.ran("2.0.0"), world.selected()), (1, Some(&*world.digits_of("2.0.0"))));
}

#[test]
fn what_no_watch_has_shown_of_any_earlier_version_keeps_a_contract_from_running() {
    for version in ["1.0.0", "0.9.0"] {
        // However little is remembered.
        let mut world = waiting(only_the_last);
        unseen(&mut world, version);
        world.approve_contract("anna");
        for _ in 0..12 {
            world.turn();
        }
        assert_eq!((world.step(), world.ran("2.0.0")), (Step::Contract, 0), "{version}");
        assert!(world.message("Ready").contains(&format!("pod shop-{version} has not ended")), "{version}");
        world.unseen.clear();
        world.run_to_rest();
        assert_eq!((world.ran("2.0.0"), world.contract_state()), (1, Some(ContractProgress::Applied)), "{version}");
    }
}

/// Its database is marked between the plan of its release and its own.
#[test]
fn the_first_release_may_have_a_contract_and_takes_one_approval_of_it() {
    let mut world = World::with_database();
    world.shape = contract;
    world.spec = world.spec_of("1.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), world.ran("1.0.0")), (Some("1.0.0"), 0));
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!((world.ran("1.0.0"), world.contract_state()), (1, Some(ContractProgress::Applied)));
}

/// Its pods have none of our labels.
#[test]
fn what_was_taken_over_has_ended_before_a_contract_runs() {
    for keep in ["24h", "0s"] {
        let mut world = beside(
            World::with_database(),
            if keep == "0s" { |spec| shape(spec, "0s") } else { |spec| shape(spec, "24h") },
        );
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to(Step::Idle);
        settled(&mut world);
        assert_eq!((world.active(), world.contract_waits()), (Some("1.0.0"), true), "{:?}", world.status.conditions);
        let labels = [("app", "shop"), ("tier", "web")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        world.unseen.push(("old-0".into(), BTreeMap::from(labels)));
        if keep == "0s" {
            world.run_to_rest();
            assert_eq!(world.record().previous, None);
        }
        world.approve_contract("anna");
        for _ in 0..12 {
            world.turn();
        }
        let told = world.message("ContractPending");
        assert_eq!((world.step(), world.ran("1.0.0")), (Step::Contract, 0), "{keep}: {told}");
        world.unseen.clear();
        world.run_to_rest();
        assert_eq!((world.ran("1.0.0"), world.contract_state()), (1, Some(ContractProgress::Applied)), "{keep}");
        assert_eq!(world.record().adoption, None);
    }

    fn shape(spec: &mut ReleaseSpec, keep: &str) {
        adopting(spec);
        contract(spec);
        spec.rollback.keep_previous = keep.parse().unwrap();
    }
}

#[test]
fn rule_03_a_contract_does_not_wait_for_ever_for_an_earlier_version_to_end() {
    let mut world = World::with_contract();
    unseen(&mut world, "1.0.0");
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!(world.step(), Step::Contract);
    world.wait(600);
    world.run_to_rest();
    assert_eq!((world.ran("2.0.0"), world.step()), (0, Step::Idle));
    assert_eq!(world.condition("ContractPending"), Some(("True", "EarlierVersionRuns")));
    assert!(world.message("ContractPending").contains("pod shop-1.0.0 has not ended"));
    assert_eq!(world.condition("Ready"), Some(("True", "Released")));
    // Nothing was migrated, so nothing is withdrawn.
    world.unseen.clear();
    world.roll_back(None);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"), "{:?}", world.status.conditions);
}

/// However far it is, up to the look that resumes its Job.
#[test]
fn an_earlier_version_that_comes_up_again_is_met_before_its_job_runs() {
    let mut base = World::with_contract_at(Step::Rehearse);
    let mut met = 0;
    while !base.jobs.values().any(|job| job.name.contains("-migrate-") && !job.suspended) {
        let mut world = base.clone();
        unseen(&mut world, "1.0.0");
        for _ in 0..6 {
            world.turn();
        }
        assert_eq!(world.ran("2.0.0"), 0);
        let resumed = world.jobs.values().any(|job| job.name.contains("-migrate-") && !job.suspended);
        assert!(!resumed, "{:#?}", world.writes);
        let mut goes = world.clone();
        goes.unseen.clear();
        goes.run_to_rest();
        assert_eq!((goes.ran("2.0.0"), goes.contract_state()), (1, Some(ContractProgress::Applied)));
        // It may be given up, and it is given up in the end.
        let mut aborted = world.clone();
        let abort = aborted.abort();
        aborted.run_to_rest();
        assert_eq!((aborted.became(&abort), aborted.ran("2.0.0")), (Some(("Used", "Used")), 0));
        assert_eq!(aborted.condition("ContractPending"), Some(("True", "Aborted")));
        for _ in 0..2 {
            world.wait(600);
            world.run_to_rest();
        }
        assert_eq!((world.step(), world.ran("2.0.0")), (Step::Idle, 0));
        assert_eq!(world.contract_state(), Some(ContractProgress::Failed));
        assert!(world.jobs.is_empty());
        met += 1;
        if !base.look(usize::MAX) {
            base.settle();
        }
    }
    assert!(met >= 3, "{met}");
}

#[test]
fn a_contract_does_not_run_under_a_version_that_has_become_unwell() {
    let mut world = World::with_contract_at(Step::Rehearse);
    let digits = world.digits_of("2.0.0");
    world.unready.push(digits);
    world.settle();
    world.run_to(Step::Migrate);
    for _ in 0..6 {
        settled(&mut world);
        world.settle();
    }
    assert_eq!((world.step(), world.ran("2.0.0")), (Step::Migrate, 0));
    assert!(world.message("Ready").contains("0 of 3 pods"), "{}", world.message("Ready"));
    let mut never = world.clone();
    never.run_to_rest();
    assert_eq!((never.step(), never.ran("2.0.0")), (Step::Idle, 0));
    assert_eq!(never.condition("ContractPending"), Some(("True", "ActiveUnhealthy")));
    assert_eq!(never.record().withdrawn, None);
    world.unready.clear();
    world.run_to_rest();
    assert_eq!(world.ran("2.0.0"), 1);
}

/// Waiting ones hold no slot.
#[test]
fn a_slot_that_was_taken_for_a_contract_is_given_back_when_the_spec_goes_on() {
    let mut world = World::with_contract();
    world.policies = vec![policy("one", json!({ "concurrency": 1 }))];
    settled(&mut world);
    world.approve_contract("anna");
    for _ in 0..10 {
        if !world.policies[0].running.is_empty() {
            break;
        }
        world.look(usize::MAX);
    }
    assert_eq!((world.policies[0].running.len(), world.step()), (1, Step::Idle));
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.run_to_rest();
    assert_eq!((world.step(), world.policies[0].running.len()), (Step::Approve, 0));
}

#[test]
fn whoever_wrote_a_contract_that_was_rejected_does_not_approve_it_in_the_next_version() {
    let mut world = World::serving_with_contracts();
    world.policies = vec![policy("others", json!({ "approval": { "notAuthor": true } }))];
    settled(&mut world);
    let release = |world: &mut World, version: &str, stamp: &str| {
        world.ask_for(version);
        world.changed_by = ChangedBy::parse(stamp);
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to(Step::Idle);
        settled(world);
        assert_eq!(world.active(), Some(version), "{:?}", world.status.conditions);
    };
    release(&mut world, "2.0.0", "2\n2 mallory");
    world.reject_contract();
    settled(&mut world);
    assert_eq!(world.contract_state(), Some(ContractProgress::Rejected));
    release(&mut world, "3.0.0", "2\n3 bob\n2 mallory");
    let author = world.approve_contract("mallory");
    settled(&mut world);
    assert_eq!(world.became(&author), Some(("Refused", "AuthorMayNotApprove")));
    assert_eq!(world.ran("3.0.0"), 0);
}

#[test]
fn a_contract_that_ran_in_part_is_not_said_not_to_have_run() {
    let mut world = World::with_contract();
    world.database.migration = MigrationEnd::Fails;
    world.approve_contract("anna");
    world.run_to_rest();
    world.database.be_well();
    world.shape = |spec| spec.database.as_mut().unwrap().migration = None;
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    let told = risks(&world);
    assert!(told.contains("A Contract migration of 2.0.0 ended without success (MigrationFailed)"), "{told}");
    assert!(!told.contains("has not run"), "{told}");
    world.approve("anna");
    world.run_to_rest();
    let last = &world.record().history.last().unwrap().message;
    assert!(last.contains("The Contract migration of 2.0.0 had not been applied and is dropped"), "{last}");
}

#[test]
fn files_of_a_contract_that_a_release_would_run_before_it_are_named_in_its_plan() {
    let mut world = World::with_contract();
    world.shape = |spec| spec.database.as_mut().unwrap().migration.as_mut().unwrap().change = Change::Expand;
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    let told = risks(&world);
    assert!(told.contains("3.0.0 runs 0.sql of it as Expand, while 2.0.0 serves"), "{told}");
}

#[test]
fn a_retry_of_a_version_that_failed_leaves_a_rejected_contract_rejected() {
    let mut world = World::with_contract();
    world.reject_contract();
    settled(&mut world);
    world.unready.push(world.digits_of("3.0.0"));
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.condition("Stalled").unwrap().0, "True");
    let retry = world.decide(DecisionKind::Retry(Empty {}), "carl");
    world.run_to(Step::Approve);
    assert_eq!(world.became(&retry), Some(("Used", "Used")));
    assert_eq!(world.contract_state(), Some(ContractProgress::Rejected));
}

#[test]
fn a_withdrawn_version_is_known_as_that_when_history_has_forgotten_it() {
    let mut world = waiting(only_the_last);
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!(world.contract_state(), Some(ContractProgress::Applied));
    assert!(world.record().history.iter().all(|entry| entry.version == "2.0.0"));
    let mut former = crate::database::spec("1.0.0");
    former.mode = Some(Mode::Automatic);
    world.change(former);
    world.run_to(Step::Approve);
    settled(&mut world);
    assert_eq!(world.step(), Step::Approve);
    assert!(risks(&world).contains("before the Contract migration of 2.0.0"), "{}", risks(&world));
    // By name it is refused for what it is.
    let revision = crate::database::spec("1.0.0").revision();
    let back = world.decide(DecisionKind::Rollback(switchback::api::Rollback { to: Some(revision) }), "anna");
    settled(&mut world);
    assert_eq!(world.became(&back), Some(("Refused", "Withdrawn")));
    // One whom people let through although serves, and is withdrawn no longer.
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    let mut former = crate::database::spec("1.0.0");
    former.mode = Some(Mode::Automatic);
    world.change(former);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"), "{:?}", world.status.conditions);
}

/// What was approved was the first run: nobody who said yes to it has seen how that ended.
#[test]
fn forgery_an_approval_of_a_run_that_has_failed_starts_no_other() {
    let mut world = World::with_contract();
    let digest = world.contract_plan().digest.clone();
    world.database.migration = MigrationEnd::Fails;
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!(world.contract_state(), Some(ContractProgress::Failed));
    world.database.be_well();
    // The API server's clock has whole seconds, so this one looks as if it came after the end.
    let late = world.decide(DecisionKind::Approve(Approval { digest, gate: Gate::Contract }), "ben");
    world.run_to_rest();
    assert_eq!((world.became(&late), world.ran("2.0.0")), (Some(("Refused", "OtherDigest")), 1));
    world.approve_contract("ben");
    world.run_to_rest();
    assert_eq!((world.contract_state(), world.ran("2.0.0")), (Some(ContractProgress::Applied), 2));
}

#[test]
fn a_way_back_that_is_asked_for_comes_before_an_approved_contract() {
    let mut world = World::with_contract();
    let approval = world.approve_contract("anna");
    world.roll_back(None);
    let mut seen = world.observed();
    // Whatever is known first.
    let ask = plan(&seen).asks.into_iter().find(|ask| format!("{ask:?}").contains(&approval)).unwrap();
    let answer = world.answer(&ask);
    seen.learn(ask, answer);
    let planned = plan(&seen);
    assert_eq!(planned.record.step, Step::Idle, "{:?}", planned.situation);
    world.run_to_rest();
    assert_eq!((world.active(), world.ran("2.0.0")), (Some("1.0.0"), 0));
}

/// It was of another plan.
#[test]
fn an_approval_of_a_contract_that_became_void_is_none_of_the_next_release() {
    let mut world = World::with_contract();
    world.approve_contract("anna");
    world.database.checksum = "bb".into();
    world.run_to_rest();
    assert_eq!(world.condition("ContractPending"), Some(("True", "ApprovalStale")));
    assert_eq!(world.record().decisions.last().unwrap().gate, Some(Gate::Contract));
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    assert_eq!(world.condition("Ready"), Some(("Unknown", "WaitingForApproval")), "{}", world.message("Ready"));
}

#[test]
fn the_plan_of_a_contract_says_how_long_the_last_one_took() {
    let mut world = World::with_contract();
    assert!(world.contract_plan().steps.iter().all(|planned| planned.expected.is_none()), "none came through yet");
    world.approve_contract("anna");
    world.run_to_rest();
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Idle);
    settled(&mut world);
    assert!(
        world.contract_plan().steps.iter().all(|planned| planned.expected.is_some()),
        "{:?}",
        world.contract_plan()
    );
}

/// A hotfix begins as ever, and nobody asks for anything while a Contract waits.
#[test]
fn i8_a_contract_that_waits_writes_nothing_and_asks_nothing() {
    let mut world = World::with_contract();
    world.run_to_rest();
    for _ in 0..3 {
        world.wait(3600);
        let (seen, plan) = world.plan();
        assert_eq!((plan.asks.len(), plan.everything().count()), (0, 0), "{plan:?}");
        assert_eq!(&plan.record, seen.record());
        assert!(!world.look(usize::MAX));
    }
    // Refused, it costs nothing either.
    let (reason, message) = (Reason::DatabaseUnreachable, "nothing answers".to_owned());
    world.database.refusal = Some(Refusal { reason, message });
    world.approve_contract("anna");
    world.run_to_rest();
    world.wait(3600);
    let (seen, plan) = world.plan();
    assert_eq!((plan.asks.len(), plan.everything().count(), &plan.record), (0, 0, seen.record()));
    assert_eq!(spec("2.0.0").revision(), world.record().contract.as_ref().unwrap().revision);
}
