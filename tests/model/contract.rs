//! Contract migrations: after the release, by an approval of their own, once nothing of another version runs.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::json;
use switchback::{
    api::{
        Approval, Change, ChangedBy, ContractProgress, ContractRecord, DecisionKind, Empty, Gate, MigrationProgress,
        Mode, Outcome, PlanRecord, ProofLevel, Reason, Rejection, ReleaseSpec, Rollback, RunningRelease, Scope, Step,
    },
    protocol::{MigrationState, Refusal},
    release::observed::{Guard, SourceSeen},
};

use crate::{
    database::{MigrationEnd, RehearsalEnd},
    policies::{policy, source},
    reuse::nightly,
    world::World,
};

/// Makes the migration of a spec one that the version before does not work on.
pub fn contract(spec: &mut ReleaseSpec) {
    if let Some(migration) = spec.database.as_mut().and_then(|database| database.migration.as_mut()) {
        migration.change = Change::Contract;
    }
}

/// A spec whose migration is a Contract.
pub fn spec(version: &str) -> ReleaseSpec {
    let mut spec = crate::database::spec(version);
    contract(&mut spec);
    spec
}

impl World {
    /// A world in which 1.0.0 serves, and every later version has a Contract migration.
    pub fn serving_with_contracts() -> Self {
        let mut world = Self::serving_with_database();
        world.shape = contract;
        world
    }

    /// A world in which 2.0.0 serves and its Contract migration waits; 1.0.0 is kept.
    pub fn with_contract() -> Self {
        let mut world = Self::serving_with_contracts();
        world.ask_for("2.0.0");
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to(Step::Idle);
        while world.look(usize::MAX) {}
        assert_eq!(world.active(), Some("2.0.0"));
        world.writes.clear();
        world
    }

    /// The same, approved, and run to a step of its attempt.
    pub fn with_contract_at(step: Step) -> Self {
        let mut world = Self::with_contract();
        world.approve_contract("anna");
        world.run_to(step);
        world.writes.clear();
        world
    }

    pub fn contract_plan(&self) -> &PlanRecord {
        self.record().contract.as_ref().and_then(|contract| contract.plan.as_ref()).expect("a Contract migration waits")
    }

    pub fn approve_contract(&mut self, actor: &str) -> String {
        let digest = self.contract_plan().digest.clone();
        self.decide(DecisionKind::Approve(Approval { digest, gate: Gate::Contract }), actor)
    }

    pub fn reject_contract(&mut self) -> String {
        self.decide(DecisionKind::Reject(Rejection { gate: Gate::Contract }), "ben")
    }

    /// Returns whether a Contract migration waits with a plan that can be approved.
    pub fn contract_waits(&self) -> bool {
        let waits = |contract: &&ContractRecord| contract.is_open() && contract.plan.is_some();
        self.step() == Step::Idle && self.record().contract.as_ref().filter(waits).is_some()
    }

    pub fn contract_state(&self) -> Option<ContractProgress> {
        self.record().contract.as_ref().map(|contract| contract.state)
    }

    pub fn ran(&self, version: &str) -> u32 {
        self.database.ran.get(&self.digits_of(version)).copied().unwrap_or(0)
    }
}

/// A migration of either kind runs where it belongs; a Contract only beside nothing else, and by an approval of its plan.
pub fn may_migrate(world: &World) {
    let record = world.record();
    let candidate = record.candidate.as_ref().expect("an attempt is under way");
    let (_, content) = world.contents.values().find(|(seen, _)| seen.number == candidate.attempt).expect("frozen");
    let change = content.database.as_ref().and_then(|database| database.migration.as_ref()).unwrap().change;
    assert_eq!(change == Change::Contract, candidate.contract, "which attempt runs which migration");
    if !candidate.contract {
        return;
    }
    let digits = candidate.revision.digits();
    let others = world.deployments.values().filter(|seen| seen.revision != digits);
    assert_eq!(others.map(|seen| &seen.name).collect::<Vec<_>>(), Vec::<&String>::new(), "{:#?}", world.writes);
    let mut pods = world.pods.values().filter(|pod| pod.job.is_none() && !pod.ended);
    assert!(pods.all(|pod| pod.revision == digits), "nothing of another version runs");
    assert_eq!(world.unseen, [], "nothing of another version runs, whatever watches show");
    assert!(record.previous.is_none(), "what was kept is withdrawn");
    let digest = record.plan.as_ref().map(|plan| &plan.digest);
    let approved = record.decisions.iter().any(|used| used.kind == "approve" && used.digest.as_ref() == digest);
    assert!(approved, "I6: {:?}", record.decisions);
}

pub fn settled(world: &mut World) {
    while world.look(usize::MAX) {}
}

fn unmet(world: &World) -> String {
    world.contract_plan().unmet.join("\n")
}

/// Lets the Job of the migration be made, recorded and resumed, and run.
pub fn begin_to_migrate(world: &mut World) {
    world.database.migration = MigrationEnd::Hangs;
    settled(world);
    world.end_database_jobs();
    settled(world);
    assert!(world.jobs.values().any(|job| job.name.contains("-migrate-") && !job.suspended));
}

#[test]
fn a_contract_waits_after_its_release_and_holds_nothing() {
    let mut world = World::serving_with_contracts();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let plan = world.record().plan.clone().unwrap();
    let steps: Vec<Step> = plan.steps.iter().map(|planned| planned.step).collect();
    assert!(!steps.contains(&Step::Migrate) && !steps.contains(&Step::Rehearse), "{steps:?}");
    assert_eq!(steps.last(), Some(&Step::Contract));
    let last = plan.way_back.last().unwrap();
    assert_eq!((last.after, last.scope), (Step::Contract, Scope::ForwardOnly));
    world.approve("anna");
    world.run_to(Step::Deploy);
    // Nothing depends on that backup yet.
    assert_eq!(world.database.asked.values().last(), Some(&ProofLevel::Stored));
    assert_eq!(world.condition("Migrated"), Some(("False", "Deploying")));
    world.run_to(Step::Idle);
    settled(&mut world);
    assert_eq!(world.condition("Ready"), Some(("True", "Released")));
    assert_eq!((world.condition("Reconciling"), world.condition("Stalled")), (None, None));
    assert_eq!(world.condition("ContractPending"), Some(("True", "ContractPending")));
    let message = world.message("ContractPending");
    assert!(message.contains("2.0.0 serves without it"), "{message}");
    assert!(message.contains("approve shop -n prod --gate contract"), "{message}");
    assert_eq!((world.ran("2.0.0"), world.contract_state()), (0, Some(ContractProgress::Pending)));
    assert!(world.record().history.last().unwrap().message.contains("waits for an approval of its own"));
    let steps: Vec<Step> = world.contract_plan().steps.iter().map(|planned| planned.step).collect();
    assert_eq!(steps, [Step::Contract, Step::Backup, Step::Rehearse, Step::Migrate]);
    assert!(unmet(&world).contains("approve shop -n prod --gate contract"), "{}", unmet(&world));
    // However long nobody says a word.
    world.run_to_rest();
    world.wait(90 * 24 * 3600);
    world.run_to_rest();
    assert_eq!((world.ran("2.0.0"), world.contract_state()), (0, Some(ContractProgress::Pending)));
}

#[test]
fn an_approved_contract_is_backed_up_rehearsed_and_applied_and_ends_the_way_back() {
    let mut world = World::with_contract();
    assert_eq!(world.record().previous.as_ref().map(|kept| kept.version.as_str()), Some("1.0.0"));
    let approval = world.approve_contract("anna");
    world.run_to(Step::Migrate);
    assert_eq!(world.became(&approval), Some(("Used", "Used")));
    assert_eq!(world.condition("Ready"), Some(("Unknown", "Migrating")));
    assert_eq!(world.condition("Reconciling"), Some(("True", "Migrating")));
    assert_eq!(world.condition("ContractPending"), Some(("True", "Contracting")));
    assert_eq!(world.condition("Migrated"), Some(("False", "Contracting")));
    assert_eq!((world.condition("BackedUp").unwrap().0, world.condition("Rehearsed").unwrap().0), ("True", "True"));
    let active = world.digits_of("2.0.0");
    assert!(world.deployments.values().all(|seen| seen.revision == active), "1.0.0 is withdrawn");
    assert_eq!(world.database.backups.len(), 3, "a backup of its own");
    world.run_to_rest();
    let record = world.record();
    assert_eq!((world.ran("2.0.0"), world.contract_state()), (1, Some(ContractProgress::Applied)));
    assert_eq!(record.migration.as_ref().unwrap().state, MigrationProgress::Applied);
    let (backup, served) = (record.backup.as_ref().unwrap(), record.active.as_ref().unwrap());
    assert!(record.rehearsal.as_ref().unwrap().backup == backup.uid && backup.taken_at.0 > served.since.0);
    assert_eq!((world.condition("Ready"), world.condition("ContractPending")), (Some(("True", "Released")), None));
    assert_eq!(world.condition("Finished"), Some(("True", "Migrated")));
    assert_eq!(world.condition("Migrated"), Some(("True", "Migrated")));
    let last = record.history.last().unwrap();
    assert_eq!((last.outcome, last.contract, last.version.as_str()), (Outcome::Succeeded, true, "2.0.0"));
    assert!(world.jobs.is_empty() && world.services.len() == 1);
    // What served before does not come back.
    let back = world.roll_back(None);
    settled(&mut world);
    assert_eq!((world.became(&back), world.active()), (Some(("Refused", "Withdrawn")), Some("2.0.0")));
}

#[test]
fn a_version_that_was_withdrawn_is_refused_by_name_and_told_in_its_plan() {
    let mut world = World::with_contract();
    let former = world.record().previous.as_ref().unwrap().revision.clone();
    world.approve_contract("anna");
    world.run_to_rest();
    let back = world.decide(DecisionKind::Rollback(Rollback { to: Some(former) }), "anna");
    settled(&mut world);
    assert_eq!(world.became(&back), Some(("Refused", "Withdrawn")));
    assert!(world.told[&back].contains("1.0.0 is withdrawn: the Contract migration of 2.0.0"), "{}", world.told[&back]);
    // Asked for by the spec it waits for people, whatever its mode says, and they read why.
    let mut spec = crate::database::spec("1.0.0");
    spec.mode = Some(Mode::Automatic);
    world.change(spec);
    world.run_to(Step::Approve);
    settled(&mut world);
    assert_eq!(world.step(), Step::Approve);
    let risks = &world.record().plan.as_ref().unwrap().risks;
    assert!(risks.iter().any(|risk| risk.contains("before the Contract migration of 2.0.0")), "{risks:?}");
    assert!(world.message("Ready").contains("a person has to look at it"), "{}", world.message("Ready"));
}

#[test]
fn what_came_with_or_after_a_contract_can_be_gone_back_to() {
    let mut world = World::with_contract();
    world.approve_contract("anna");
    world.run_to_rest();
    world.shape = |_| {};
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("3.0.0"));
    let attempt = world.record().history.iter().find(|entry| entry.version == "2.0.0").unwrap().attempt;
    world.roll_back(None);
    world.run_to(Step::Deploy);
    // The content that served, not that of the attempt which migrated.
    assert_eq!(world.record().candidate.as_ref().unwrap().rollback.as_ref().unwrap().attempt, attempt);
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"), "{:?}", world.status.conditions);
}

#[test]
fn forgery_an_approval_of_the_release_or_of_another_plan_replayed_for_a_contract() {
    let mut world = World::with_contract();
    let digest = world.contract_plan().digest.clone();
    let of_release = world.decide(DecisionKind::Approve(Approval { digest, gate: Gate::Release }), "anna");
    let digest = format!("sha256:{}", "0".repeat(64));
    let other = world.decide(DecisionKind::Approve(Approval { digest, gate: Gate::Contract }), "anna");
    let rejection = world.reject();
    world.wait(-3600);
    let early = world.approve_contract("anna");
    world.wait(3600);
    settled(&mut world);
    assert_eq!(world.became(&of_release), Some(("Refused", "TooLate")));
    assert!(world.told[&of_release].contains("gate Contract"), "{}", world.told[&of_release]);
    assert_eq!(world.became(&rejection), Some(("Refused", "TooLate")));
    assert_eq!(world.became(&other), Some(("Refused", "OtherDigest")));
    assert_eq!(world.became(&early), Some(("Refused", "TooEarly")));
    world.run_to_rest();
    assert_eq!((world.ran("2.0.0"), world.contract_state()), (0, Some(ContractProgress::Pending)));
    // Nor does one of the gate Contract let a release begin.
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    let digest = world.record().plan.as_ref().unwrap().digest.clone();
    let gate = world.decide(DecisionKind::Approve(Approval { digest, gate: Gate::Contract }), "anna");
    settled(&mut world);
    assert_eq!((world.step(), world.became(&gate)), (Step::Approve, Some(("Refused", "OtherDigest"))));
}

#[test]
fn no_mode_covers_a_contract() {
    let mut world = World::serving_with_contracts();
    let mut asked = spec("2.0.0");
    asked.mode = Some(Mode::Automatic);
    world.change(asked);
    world.run_to(Step::Idle);
    world.run_to_rest();
    assert_eq!((world.active(), world.contract_state()), (Some("2.0.0"), Some(ContractProgress::Pending)));
    assert_eq!(world.ran("2.0.0"), 0);
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!(world.ran("2.0.0"), 1);
}

#[test]
fn a_contract_takes_as_many_approvals_as_policies_ask_for_it() {
    let mut world = World::with_contract();
    world.policies = vec![
        policy("two", json!({ "approval": { "contractRequired": 2, "statements": ["Drop it"] } })),
        policy("one", json!({ "approval": { "required": 1 } })),
    ];
    settled(&mut world);
    assert!(unmet(&world).contains("2 approvals by different people"), "{}", unmet(&world));
    assert_eq!(world.contract_plan().statements, ["Drop it"]);
    let silent = world.approve_contract("anna");
    world.statement = Some("Drop it".to_owned());
    let first = world.approve_contract("anna");
    settled(&mut world);
    assert_eq!(world.became(&silent), Some(("Refused", "StatementMissing")));
    assert_eq!(world.became(&first), Some(("Accepted", "Waiting")));
    assert!(world.message("ContractPending").contains("1 of 2 approvals are given, by anna"));
    world.approve_contract("anna");
    settled(&mut world);
    assert_eq!(world.contract_state(), Some(ContractProgress::Pending), "the same person twice is one");
    let second = world.approve_contract("ben");
    world.run_to_rest();
    assert_eq!((world.ran("2.0.0"), world.contract_state()), (1, Some(ContractProgress::Applied)));
    assert_eq!((world.became(&first), world.became(&second)), (Some(("Used", "Used")), Some(("Used", "Used"))));
}

#[test]
fn an_approval_of_a_contract_expires() {
    let mut world = World::with_contract();
    world.policies = vec![policy("two", json!({ "approval": { "required": 2, "expires": "1h" } }))];
    settled(&mut world);
    let first = world.approve_contract("anna");
    settled(&mut world);
    world.wait(3601);
    world.approve_contract("ben");
    settled(&mut world);
    assert_eq!(world.became(&first), Some(("Expired", "Expired")));
    assert_eq!(world.contract_state(), Some(ContractProgress::Pending));
}

#[test]
fn whoever_wrote_a_contract_does_not_approve_it_also_after_a_fix_of_somebody_else() {
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
    release(&mut world, "3.0.0", "2\n3 bob\n2 mallory");
    let (author, fixer) = (world.approve_contract("mallory"), world.approve_contract("bob"));
    settled(&mut world);
    for decision in [author, fixer] {
        assert_eq!(world.became(&decision), Some(("Refused", "AuthorMayNotApprove")));
    }
    assert!(unmet(&world).contains("By somebody else"), "{}", unmet(&world));
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!(world.ran("3.0.0"), 1);
}

#[test]
fn a_freeze_holds_an_approved_contract_until_it_is_over() {
    let mut world = World::with_contract();
    let freeze = json!({ "freeze": [{ "schedule": "0 12 * * *", "for": "12h", "reason": "sale" }] });
    world.policies = vec![policy("weekend", freeze)];
    settled(&mut world);
    let approval = world.approve_contract("anna");
    let hastened = world.decide(DecisionKind::Expedite(Empty {}), "carl");
    settled(&mut world);
    assert_eq!(world.condition("ContractPending"), Some(("True", "Frozen")));
    assert_eq!(world.condition("Ready"), Some(("True", "Released")));
    assert!(world.message("ContractPending").contains("(sale)"));
    assert_eq!(world.became(&approval), Some(("Accepted", "Waiting")));
    // Nobody waits for it, so nobody hastens it.
    assert_eq!(world.became(&hastened), Some(("Refused", "TooLate")));
    world.run_to_rest();
    assert_eq!((world.ran("2.0.0"), world.became(&approval)), (1, Some(("Used", "Used"))));
}

#[test]
fn a_rejected_contract_is_dropped_until_somebody_lets_it_wait_again() {
    let mut world = World::with_contract();
    let approval = world.approve_contract("anna");
    let rejection = world.reject_contract();
    world.run_to_rest();
    assert_eq!((world.contract_state(), world.ran("2.0.0")), (Some(ContractProgress::Rejected), 0));
    assert_eq!(world.became(&rejection), Some(("Used", "Used")));
    assert_eq!(world.became(&approval), Some(("Refused", "TooLate")));
    assert_eq!((world.condition("ContractPending"), world.condition("Ready")), (None, Some(("True", "Released"))));
    assert!(world.record().contract.as_ref().unwrap().message.starts_with("ben rejected it by Decision"));
    // The way back is as it was.
    assert_eq!(world.record().withdrawn, None);
    let retry = world.decide(DecisionKind::Retry(Empty {}), "carl");
    settled(&mut world);
    assert_eq!(world.became(&retry), Some(("Used", "Used")));
    assert_eq!(world.contract_state(), Some(ContractProgress::Pending));
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!(world.ran("2.0.0"), 1);
}

#[test]
fn a_fix_with_the_same_migration_keeps_it_waiting_and_one_without_drops_it() {
    let mut world = World::with_contract();
    let before = world.contract_plan().digest.clone();
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    let risks = world.record().plan.as_ref().unwrap().risks.join("\n");
    assert!(risks.contains("A Contract migration of 2.0.0 waits and has not run: that of 3.0.0 takes"), "{risks}");
    assert_eq!(world.condition("ContractPending"), Some(("True", "ContractPending")));
    // One that is given meanwhile waits for the end of the attempt, and is then of another plan.
    let approval = world.approve_contract("anna");
    settled(&mut world);
    assert_eq!(world.became(&approval), Some(("Accepted", "Waiting")));
    world.approve("anna");
    world.run_to(Step::Idle);
    settled(&mut world);
    assert_eq!((world.active(), world.ran("2.0.0"), world.ran("3.0.0")), (Some("3.0.0"), 0, 0));
    assert_ne!(world.contract_plan().digest, before);
    assert!(matches!(world.became(&approval), Some(("Refused", _))), "{:?}", world.became(&approval));

    world.shape = |spec| spec.database.as_mut().unwrap().migration = None;
    world.ask_for("4.0.0");
    world.run_to(Step::Approve);
    let risks = world.record().plan.as_ref().unwrap().risks.join("\n");
    assert!(risks.contains("it is dropped when 4.0.0 serves"), "{risks}");
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.contract_state(), world.condition("ContractPending")), (None, None));
    assert!(world.record().history.last().unwrap().message.contains("had not been applied and is dropped"));
}

#[test]
fn a_fix_that_fails_leaves_the_contract_waiting_for_what_the_spec_says() {
    let mut world = World::with_contract();
    world.unready.push(world.digits_of("3.0.0"));
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), world.contract_state()), (Some("2.0.0"), Some(ContractProgress::Pending)));
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!(world.ran("2.0.0"), 0);
    assert!(world.message("ContractPending").contains("the spec says 3.0.0, and 2.0.0 serves"));
    world.ask_for("2.0.0");
    world.run_to_rest();
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!(world.ran("2.0.0"), 1);
}

#[test]
fn going_back_before_it_ran_drops_it_and_nothing_was_withdrawn() {
    let mut world = World::with_contract();
    world.roll_back(None);
    world.run_to_rest();
    assert_eq!((world.active(), world.contract_state()), (Some("1.0.0"), None));
    assert_eq!((world.ran("2.0.0"), &world.record().withdrawn), (0, &None));
}

#[test]
fn a_contract_that_fails_leaves_the_version_serving_and_runs_again_by_another_approval_only() {
    let mut world = World::with_contract();
    world.database.migration = MigrationEnd::Fails;
    let first = world.approve_contract("anna");
    world.run_to(Step::Migrate);
    // One more than was needed is left over.
    let more = world.approve_contract("ben");
    world.run_to_rest();
    assert_eq!((world.contract_state(), world.ran("2.0.0")), (Some(ContractProgress::Failed), 1));
    assert_eq!(world.condition("Ready"), Some(("True", "Released")));
    assert_eq!((world.condition("Stalled"), world.condition("Reconciling")), (None, None));
    assert_eq!(world.condition("ContractPending"), Some(("True", "MigrationFailed")));
    let message = world.message("ContractPending");
    assert!(message.contains("2.sql line 3") && message.contains("approve shop -n prod --gate contract"), "{message}");
    assert_eq!((world.became(&first), world.became(&more)), (Some(("Used", "Used")), Some(("Refused", "TooLate"))));
    assert!(world.record().withdrawn.is_some(), "the schema may be another one now");
    assert_eq!(world.record().failure, None);
    world.database.be_well();
    world.run_to_rest();
    assert_eq!(world.ran("2.0.0"), 1, "not by itself");
    let backups = world.database.backups.len();
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!((world.contract_state(), world.ran("2.0.0")), (Some(ContractProgress::Applied), 2));
    assert_eq!(world.database.backups.len(), backups + 1, "from a fresh backup");
}

#[test]
fn a_contract_that_ends_before_it_begins_leaves_the_way_back_open() {
    type Bad = fn(&mut World);
    let unreachable: Bad = |world| {
        let (reason, message) = (Reason::DatabaseUnreachable, "nothing answers".to_owned());
        world.database.refusal = Some(Refusal { reason, message });
    };
    let bad: [(&str, Bad); 4] = [
        ("NoSpace", |world| world.database.backup_fails = true),
        ("RehearsalFailed", |world| world.database.rehearsal = RehearsalEnd::Fails),
        ("ContractTestFailed", |world| world.database.rehearsal = RehearsalEnd::ContractEnds),
        ("DatabaseUnreachable", unreachable),
    ];
    for (reason, happen) in bad {
        let mut world = World::with_contract();
        happen(&mut world);
        world.approve_contract("anna");
        world.run_to_rest();
        assert_eq!(world.condition("ContractPending"), Some(("True", reason)));
        assert_eq!((world.ran("2.0.0"), world.contract_state()), (0, Some(ContractProgress::Failed)), "{reason}");
        assert_eq!(world.condition("Ready"), Some(("True", "Released")), "{reason}");
        assert!(world.jobs.is_empty(), "{reason}");
        let live = world.digits_of("2.0.0");
        assert!(world.deployments.values().any(|seen| seen.revision == live && seen.replicas == 3), "{reason}");
        world.database.refusal = None;
        world.database.be_well();
        world.roll_back(None);
        world.run_to_rest();
        assert_eq!(world.active(), Some("1.0.0"), "{reason}: {:?}", world.status.conditions);
    }
}

#[test]
fn forgery_sql_that_was_edited_after_the_approval_of_a_contract_does_not_run() {
    let mut world = World::with_contract();
    let approval = world.approve_contract("anna");
    world.database.checksum = "bb".into();
    world.run_to_rest();
    assert_eq!((world.ran("2.0.0"), world.became(&approval)), (0, Some(("Used", "Used"))));
    assert_eq!(world.condition("ContractPending"), Some(("True", "ApprovalStale")));
    assert_eq!(world.condition("Ready"), Some(("True", "Released")));
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!(world.ran("2.0.0"), 1);
}

#[test]
fn a_policy_that_changes_makes_another_plan_of_it() {
    let mut world = World::with_contract();
    world.policies = vec![policy("one", json!({ "approval": { "required": 2 } }))];
    settled(&mut world);
    let approval = world.approve_contract("anna");
    settled(&mut world);
    world.policies[0].generation += 1;
    settled(&mut world);
    assert_eq!(world.became(&approval), Some(("Refused", "OtherDigest")));
    // Checks, sizes and the like are no part of it.
    let before = world.contract_plan().digest.clone();
    let mut asked = spec("2.0.0");
    asked.checks.pop();
    asked.workloads[0].replicas = Some(4);
    world.change(asked);
    settled(&mut world);
    assert_eq!(world.contract_plan().digest, before);
}

#[test]
fn a_contract_whose_ledger_says_applied_ends_at_once() {
    let mut world = World::with_contract();
    let revision = world.digits_of("2.0.0");
    world.database.ledger.insert(revision, MigrationState::Applied);
    let backups = world.database.backups.len();
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!((world.contract_state(), world.ran("2.0.0")), (Some(ContractProgress::Applied), 0));
    assert_eq!(world.database.backups.len(), backups);
    assert!(world.record().withdrawn.is_some());
}

#[test]
fn rule_06_another_spec_stops_a_contract_before_it_migrates_and_waits_for_one_that_does() {
    for step in [Step::Contract, Step::Backup, Step::Rehearse] {
        let mut world = World::with_contract_at(step);
        world.ask_for("3.0.0");
        world.run_to(Step::Approve);
        assert_eq!((world.ran("2.0.0"), world.contract_state()), (0, Some(ContractProgress::Failed)), "{step:?}");
        world.approve("anna");
        world.run_to_rest();
        let state = world.contract_state();
        assert_eq!((world.active(), state), (Some("3.0.0"), Some(ContractProgress::Pending)), "{step:?}");
    }
    let mut world = World::with_contract_at(Step::Migrate);
    begin_to_migrate(&mut world);
    world.ask_for("3.0.0");
    settled(&mut world);
    assert_eq!(world.step(), Step::Migrate);
    world.database.migration = MigrationEnd::Applied;
    world.run_to(Step::Approve);
    assert_eq!((world.ran("2.0.0"), world.contract_state()), (1, Some(ContractProgress::Applied)));
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("3.0.0"));
}

#[test]
fn rule_11_a_release_that_is_deleted_in_a_contract_lets_its_migration_end() {
    for step in [Step::Contract, Step::Backup, Step::Rehearse] {
        let mut world = World::with_contract_at(step);
        world.deleting = true;
        world.run_to_rest();
        assert!(world.gone && world.ran("2.0.0") == 0, "{step:?}");
    }
    let mut world = World::with_contract_at(Step::Migrate);
    begin_to_migrate(&mut world);
    world.deleting = true;
    settled(&mut world);
    assert!(!world.gone && world.step() == Step::Migrate);
    world.database.migration = MigrationEnd::Applied;
    world.run_to_rest();
    assert!(world.gone);
    assert_eq!(world.ran("2.0.0"), 1);
}

#[test]
fn an_abort_stops_a_contract_until_its_job_runs() {
    for step in [Step::Contract, Step::Backup, Step::Rehearse] {
        let mut world = World::with_contract_at(step);
        let abort = world.abort();
        world.run_to_rest();
        assert_eq!((world.became(&abort), world.ran("2.0.0")), (Some(("Used", "Used")), 0), "{step:?}");
        assert_eq!(world.condition("ContractPending"), Some(("True", "Aborted")), "{step:?}");
        assert_eq!((world.active(), world.condition("Ready")), (Some("2.0.0"), Some(("True", "Released"))), "{step:?}");
        assert_eq!(world.record().failure, None);
    }
    let mut world = World::with_contract_at(Step::Backup);
    let back = world.roll_back(None);
    settled(&mut world);
    assert_eq!(world.became(&back), Some(("Refused", "TooLate")));
}

#[test]
fn what_is_suspended_begins_no_contract_and_goes_on_with_none() {
    let mut world = World::with_contract();
    world.decide(DecisionKind::Suspend(Empty {}), "carl");
    settled(&mut world);
    let approval = world.approve_contract("anna");
    settled(&mut world);
    assert_eq!(world.condition("ContractPending"), Some(("True", "Suspended")));
    assert_eq!(world.became(&approval), Some(("Accepted", "Waiting")));
    world.decide(DecisionKind::Resume(Empty {}), "carl");
    world.run_to(Step::Backup);
    world.decide(DecisionKind::Suspend(Empty {}), "carl");
    world.run_to_rest();
    assert_eq!((world.step(), world.ran("2.0.0")), (Step::Backup, 0));
    assert_eq!(world.condition("Ready"), Some(("Unknown", "Suspended")));
    world.decide(DecisionKind::Resume(Empty {}), "carl");
    world.run_to_rest();
    assert_eq!(world.ran("2.0.0"), 1);
}

#[test]
fn what_serves_must_be_well_before_a_contract_begins() {
    let mut world = World::with_contract();
    world.set_ready("2.0.0", 1);
    world.approve_contract("anna");
    settled(&mut world);
    assert_eq!(world.condition("ContractPending"), Some(("True", "ActiveUnhealthy")));
    assert_eq!(world.step(), Step::Idle);
    world.set_ready("2.0.0", 3);
    world.run_to_rest();
    assert_eq!(world.ran("2.0.0"), 1);
}

#[test]
fn a_contract_takes_a_slot_like_a_release() {
    let mut world = World::with_contract();
    world.policies = vec![policy("one", json!({ "concurrency": 1 }))];
    let search = RunningRelease { name: "search".into(), uid: "uid-search".into(), since: MicroTime(world.now) };
    world.database.others.push(search.uid.clone());
    world.policies[0].running.push(search);
    settled(&mut world);
    world.approve_contract("anna");
    settled(&mut world);
    assert_eq!(world.condition("ContractPending"), Some(("True", "WaitingForSlot")));
    world.policies[0].running.clear();
    world.policies[0].resource_version = "9".into();
    world.run_to(Step::Backup);
    assert_eq!(world.policies[0].running.len(), 1);
    world.run_to_rest();
    assert_eq!((world.ran("2.0.0"), world.policies[0].running.len()), (1, 0));
}

#[test]
fn a_former_version_that_somebody_starts_by_hand_goes_before_the_migration_runs() {
    for step in [Step::Contract, Step::Backup, Step::Rehearse, Step::Migrate] {
        let mut world = World::with_contract();
        let active = world.digits_of("2.0.0");
        let kept = world.deployments.values().find(|seen| seen.revision != active).cloned().unwrap();
        world.approve_contract("anna");
        world.run_to(step);
        let mut again = kept.clone();
        (again.replicas, again.uid) = (2, "uid-by-hand".into());
        world.deployments.insert(again.name.clone(), again);
        world.settle();
        // `may_migrate` watches when the first statement would run.
        world.run_to_rest();
        assert_eq!(world.ran("2.0.0"), 1, "{step:?}: {:?}", world.status.conditions);
    }
}

#[test]
fn the_database_of_a_contract_is_the_one_that_was_approved() {
    let mut world = World::with_contract_at(Step::Rehearse);
    world.look(usize::MAX);
    world.settle();
    world.set_instance(|status| status.identity.as_mut().unwrap().oid = 7);
    world.run_to_rest();
    assert_eq!(world.condition("ContractPending"), Some(("True", "IdentityUncertain")));
    assert_eq!(world.ran("2.0.0"), 0);
}

#[test]
fn no_contract_runs_while_decisions_are_not_guarded() {
    let mut world = World::with_contract();
    world.approve_contract("anna");
    world.guard = Guard::Missing("the policy is gone".into());
    world.run_to_rest();
    assert_eq!(world.condition("ContractPending"), Some(("True", "ApprovalPolicyMissing")));
    assert_eq!(world.ran("2.0.0"), 0);
}

#[test]
fn killed_at_any_write_a_contract_ends_the_same_and_runs_once() {
    for kill in 0..3 {
        let mut world = World::with_contract();
        world.approve_contract("anna");
        for _ in 0..400 {
            world.look(kill);
            if kill == 0 {
                // Killed before each write, and once after it.
                world.look(1);
            }
            world.settle();
            world.wait(1);
            if world.contract_state() == Some(ContractProgress::Applied) {
                break;
            }
        }
        world.run_to_rest();
        assert_eq!((world.ran("2.0.0"), world.contract_state()), (1, Some(ContractProgress::Applied)), "{kill}");
        assert_eq!((world.database.backups.len(), world.record().attempts), (3, 3), "{kill}");
        assert!(world.jobs.is_empty() && world.services.len() == 1, "{kill}");
    }
}

#[test]
fn a_leader_that_was_frozen_in_a_contract_changes_nothing_when_it_goes_on() {
    let mut stops = 0;
    let mut base = World::with_contract();
    base.term = Some(1);
    settled(&mut base);
    base.approve_contract("anna");
    for _ in 0..200 {
        for before in 0.. {
            let mut world = base.clone();
            let Some(frozen) = world.freeze(before) else { break };
            stops += 1;
            world.run_to_rest();
            assert_eq!((world.ran("2.0.0"), world.contract_state()), (1, Some(ContractProgress::Applied)));
            let before = (world.database.ran.clone(), world.deployments.len());
            world.thaw(&frozen);
            world.run_to_rest();
            assert_eq!((world.database.ran.clone(), world.deployments.len()), before, "{frozen:?}");
            assert_eq!(world.contract_state(), Some(ContractProgress::Applied));
        }
        if base.contract_state() == Some(ContractProgress::Applied) {
            break;
        }
        base.turn();
    }
    assert!(stops > 10, "{stops}");
}

/// Where the same serves, with its Contract migration so far.
fn staging(contract: Option<(ContractProgress, &str)>) -> Vec<SourceSeen> {
    let mut source = source(("staging", "shop"), Some("2.0.0"), &["shop:2.0.0", "mailer:7"], "2026-11-01T00:00:00Z");
    let at = |(state, since): (ContractProgress, &str)| (state, since.parse().unwrap());
    source.standing.as_mut().unwrap().contract = contract.map(at);
    vec![source]
}

/// What drops a column in production has dropped it where it is promoted from.
#[test]
fn a_contract_that_is_promoted_has_run_elsewhere_first() {
    let promotion = json!({ "promotion": { "from": [{ "namespace": "staging" }] } });
    for (contract, says) in [
        (
            Some((ContractProgress::Pending, "2026-11-02T00:00:00Z")),
            "staging/shop, where the Contract migration has not run (Pending).",
        ),
        (
            Some((ContractProgress::Rejected, "2026-11-02T00:00:00Z")),
            "where the Contract migration has not run (Rejected).",
        ),
    ] {
        let mut world = World::with_contract();
        world.policies = vec![policy("staged", promotion.clone())];
        world.sources = staging(contract);
        while world.look(usize::MAX) {}
        assert!(
            world.contract_plan().unmet.iter().any(|line| line.contains(says)),
            "{:?}",
            world.contract_plan().unmet
        );
        world.approve_contract("anna");
        while world.look(usize::MAX) {}
        assert_eq!(world.condition("ContractPending"), Some(("True", "NotPromoted")));
        assert!(world.message("ContractPending").contains(says), "{}", world.message("ContractPending"));
        assert_eq!(world.step(), Step::Idle);
        // It has run there; or it is declared otherwise there and ran with its release.
        for done in [Some((ContractProgress::Applied, "2026-11-03T00:00:00Z")), None] {
            let mut world = world.clone();
            world.sources = staging(done);
            world.run_to_rest();
            assert_eq!(world.record().contract.as_ref().unwrap().state, ContractProgress::Applied, "{done:?}");
        }
    }
}

#[test]
fn a_contract_that_is_promoted_soaks_from_when_it_has_run_and_nothing_hastens_it() {
    let promotion = json!({ "from": [{ "namespace": "staging" }], "soak": "20h" });
    let mut world = World::with_contract();
    let ran = world.now;
    world.policies = vec![policy("staged", json!({ "promotion": promotion }))];
    world.sources = staging(Some((ContractProgress::Applied, &ran.to_string())));
    while world.look(usize::MAX) {}
    world.approve_contract("anna");
    while world.look(usize::MAX) {}
    let told = world.message("ContractPending").to_owned();
    assert!(
        told.contains("promotes what has served as Release staging/shop for 20h") && !told.contains("expedite"),
        "{told}"
    );
    assert_eq!(world.step(), Step::Idle);
    let end = ran.saturating_add(SignedDuration::from_hours(20)).unwrap();
    // Housekeeping may be due before.
    world.now = end.checked_sub(SignedDuration::from_secs(1)).unwrap();
    while world.look(usize::MAX) {}
    assert_eq!((world.step(), world.plan().1.recheck), (Step::Idle, Some(end)));
    world.now = end;
    world.run_to_rest();
    assert_eq!(world.record().contract.as_ref().unwrap().state, ContractProgress::Applied);
}

/// What a Contract takes was written until right before it: a backup of an hour ago lacks it, whatever a release may rest on.
#[test]
fn a_contract_rests_on_a_backup_of_its_own_even_where_backups_are_reused() {
    let mut world = World::serving_with_contracts();
    world.shape = |spec| {
        contract(spec);
        spec.database.as_mut().unwrap().backup.reuse = "1h".parse().unwrap();
    };
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Idle);
    settled(&mut world);
    let nightly = nightly(&world);
    world.database.backups.insert(nightly.name.clone(), nightly);
    let before: Vec<String> = world.database.backups.keys().cloned().collect();
    let plan = world.contract_plan();
    let backup = plan.steps.iter().find(|step| step.step == Step::Backup).unwrap();
    assert!(backup.does.starts_with("Backs up "), "{}", backup.does);
    assert!(!plan.risks.iter().any(|risk| risk.contains("backup.reuse")), "{:?}", plan.risks);
    world.approve_contract("anna");
    world.run_to(Step::Migrate);
    let used = world.record().backup.as_ref().unwrap().name.clone();
    assert!(!before.contains(&used), "{used} is older than the approval");
    world.run_to_rest();
    assert_eq!(world.contract_state(), Some(ContractProgress::Applied));
}
