//! Gate: at rest, a Contract migration waits until people have approved it and nothing else is in its way; pure.
//!
//! It never begins by itself, whatever the mode says, and nothing hastens it: nobody waits for it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        super::{
            observed::{Ask, DecisionSeen, Guard, Observed},
            plan_text, words,
        },
        Action, Move, Plan, authors,
        decisions::{self, Standing, Word},
        enter, health, inspect,
        policies::Policies,
        promotion::{self, Missing},
        proposal, rollback,
        slots::{self, Slots},
        suspend,
    },
    is_open, is_rejected, is_under_way,
};
use crate::api::{
    CandidateRevision, ContractProgress, ContractRecord, DecisionState, Gate, PlanRecord, Reason, Record, Step, clamp,
};

/// What a look at rest comes to.
pub(in super::super) enum Rest {
    /// Its attempt begins.
    Begins(Move),
    /// Nothing begins.
    Waits(Waits),
}

impl Default for Rest {
    fn default() -> Self {
        Self::Waits(Waits::default())
    }
}

/// What is to be done, known or waited for meanwhile.
#[derive(Default)]
pub(in super::super) struct Waits {
    asks: Vec<Ask>,
    actions: Vec<Action>,
    again: Vec<Timestamp>,
}

impl Waits {
    /// Adds it to a plan.
    pub(in super::super) fn join(self, plan: &mut Plan) {
        plan.asks.extend(self.asks);
        plan.actions.extend(self.actions);
        self.again.into_iter().for_each(|at| plan.look_again_at(at));
    }
}

/// Why it does not begin.
struct Unmet {
    reason: Reason,
    message: String,
    waits: Waits,
}

impl Unmet {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), waits: Waits::default() }
    }
}

/// Keeps the plan of the Contract migration that waits as it is now, and begins it when everything is met.
pub(in super::super) fn at_rest(seen: &Observed, record: &mut Record) -> Rest {
    let Some(contract) = record.contract.clone().filter(ContractRecord::is_open) else { return Rest::default() };
    if seen.release.wanted != contract.revision {
        let message = format!(
            "It waits until the spec asks for what serves: the spec says {}, and {} serves.",
            seen.release.spec.version, contract.version
        );
        return waits(record, Unmet::new(Reason::ContractPending, message));
    }
    renew(seen, record, &contract);
    if let Guard::Missing(why) = &seen.guard {
        let message = words::unguarded(&format!("Decisions are not guarded: {why}. It waits"));
        let authors = authors::since(seen, record, contract.authors_after);
        if let Some(plan) = record.contract.as_mut().and_then(|contract| contract.plan.as_mut()) {
            let others = proposal::contract::unmet(seen, (&[], &authors));
            plan.unmet = [proposal::line(&message)].into_iter().chain(others).collect();
        }
        return waits(record, Unmet::new(Reason::ApprovalPolicyMissing, message));
    }
    let approvals = match decisions::word(seen, record, Gate::Contract) {
        Err(ask) => return Rest::Waits(Waits { asks: vec![ask], ..Waits::default() }),
        Ok(Word::No(decision)) => {
            rejected(seen, record, decision);
            return Rest::default();
        }
        Ok(Word::Yes(approvals)) => approvals,
    };
    let people: Vec<&str> = approvals.iter().map(|approval| approval.actor.as_str()).collect();
    let authors = authors::since(seen, record, contract.authors_after);
    if let Some(plan) = record.contract.as_mut().and_then(|contract| contract.plan.as_mut()) {
        plan.unmet = proposal::contract::unmet(seen, (&people, &authors));
    }
    match unmet(seen, record, (&people, &authors)) {
        Some(unmet) => waits(record, unmet),
        None => Rest::Begins(begin(seen, record.clone(), &approvals)),
    }
}

/// Writes its plan anew when it is another one now; what was approved before was something else.
fn renew(seen: &Observed, record: &mut Record, contract: &ContractRecord) {
    let spec = &seen.release.spec;
    let digest = proposal::contract::digest(seen, spec, (&contract.database, contract.last));
    let known = contract.plan.as_ref().filter(|plan| plan.digest == digest);
    let since = if known.is_some() { contract.since.clone() } else { MicroTime(seen.now) };
    // Words may be others where the digest is the same: a version, what a rehearsal has shown.
    let plan: PlanRecord = proposal::contract::propose(seen, record, (digest, &contract.database));
    if let Some(contract) = &mut record.contract {
        contract.version.clone_from(&spec.version);
        (contract.since, contract.plan) = (since, Some(plan));
    }
}

/// Returns what keeps it from beginning.
fn unmet(seen: &Observed, record: &Record, (people, authors): (&[&str], &authors::Authors<'_>)) -> Option<Unmet> {
    let policies = Policies(&seen.policies);
    if let Some((reason, message)) = policies.refuses(&seen.release.spec, seen.now) {
        return Some(Unmet::new(reason, message));
    }
    if let authors::Authors::Unknown(reason, message) = authors {
        return Some(Unmet::new(*reason, message.clone()));
    }
    if people.len() < policies.contract_required() {
        let in_force = authors::in_force(seen).filter(|since| *since > seen.now);
        let waits = Waits { again: in_force.into_iter().collect(), ..Waits::default() };
        return Some(Unmet { waits, ..unapproved(record, people, policies.contract_required()) });
    }
    if let Some((message, until)) = promotion::look_for_contract(seen).map(Missing::told) {
        let waits = Waits { again: until.into_iter().collect(), ..Waits::default() };
        return Some(Unmet { waits, ..Unmet::new(Reason::NotPromoted, message) });
    }
    if let Some(freeze) = policies.frozen(seen.now) {
        let waits = Waits { again: vec![freeze.until], ..Waits::default() };
        return Some(Unmet { waits, ..Unmet::new(Reason::Frozen, proposal::contract::frozen(&freeze)) });
    }
    if suspend::holds(seen, record) {
        return Some(Unmet::new(Reason::Suspended, "It is approved, and the Release is suspended."));
    }
    if let Some(problem) = unwell(seen, record) {
        let message = format!("It is approved, and waits until what serves is well: {problem}");
        return Some(Unmet::new(Reason::ActiveUnhealthy, message));
    }
    match slots::look(seen) {
        Slots::Held => None,
        Slots::Waits(slots::Waits { asks, actions, message }) => {
            let waits = Waits { asks, actions, ..Waits::default() };
            Some(Unmet { reason: Reason::WaitingForSlot, message, waits })
        }
    }
}

/// Says that approvals are missing; what went wrong before stays told.
fn unapproved(record: &Record, people: &[&str], required: usize) -> Unmet {
    let given = words::approved_so_far(people, required);
    let Some(contract) = &record.contract else { return Unmet::new(Reason::ContractPending, given) };
    if contract.state == ContractProgress::Failed {
        if people.is_empty() && is_end(record, contract) {
            return Unmet::new(Reason::parse(&contract.reason), contract.message.clone());
        }
        let message =
            format!("The last run ended without success (status.history).{given} It waits for another approval.");
        return Unmet::new(Reason::ContractPending, message);
    }
    if contract.reason == Reason::ApprovalStale.as_str() {
        let message =
            format!("What was approved is not what would run now; that approval is void.{given} It waits for another.");
        return Unmet::new(Reason::ApprovalStale, message);
    }
    let version = &contract.version;
    let plan = contract.plan.as_ref().map(plan_text::brief).unwrap_or_default();
    let message = format!(
        "The Contract migration of {version} waits for its approval; {version} serves without it: {plan}.{given}"
    );
    Unmet::new(Reason::ContractPending, message)
}

/// Returns whether what is told of it is how its last run ended.
fn is_end(record: &Record, contract: &ContractRecord) -> bool {
    let mut ended = record.history.iter().rev().filter(|entry| Some(entry.attempt) == contract.last);
    ended.any(|entry| entry.message == contract.message)
}

/// Says that what serves is not well.
pub(super) fn unwell(seen: &Observed, record: &Record) -> Option<String> {
    let active = record.active.as_ref()?;
    let worst = health::of_revision(seen, record, &active.revision, &seen.release.spec.watch)?;
    (worst.readiness != health::Readiness::Enough).then_some(worst.message)
}

fn waits(record: &mut Record, unmet: Unmet) -> Rest {
    if let Some(contract) = &mut record.contract {
        unmet.reason.as_str().clone_into(&mut contract.reason);
        clamp(&unmet.message).clone_into(&mut contract.message);
    }
    Rest::Waits(unmet.waits)
}

fn rejected(seen: &Observed, record: &mut Record, decision: &DecisionSeen) {
    if let Some(contract) = &mut record.contract {
        contract.state = ContractProgress::Rejected;
        Reason::Rejected.as_str().clone_into(&mut contract.reason);
        contract.message = format!(
            "{} rejected it by Decision {}: it does not run. The schema stays as it is, which {} works on.",
            decision.actor, decision.name, contract.version
        );
        contract.since = MicroTime(seen.now);
        contract.plan = None;
    }
    decisions::use_up(record, decision, seen.now);
}

/// Lets one that was rejected wait once more.
pub(in super::super) fn wait_again(seen: &Observed, record: &mut Record) {
    if let Some(contract) = record.contract.as_mut().filter(|contract| contract.state == ContractProgress::Rejected) {
        contract.state = ContractProgress::Pending;
        Reason::ContractPending.as_str().clone_into(&mut contract.reason);
        contract.since = MicroTime(seen.now);
    }
}

/// Begins its attempt.
fn begin(seen: &Observed, mut record: Record, approvals: &[&DecisionSeen]) -> Move {
    let counted = || approvals.iter().take(Policies(&seen.policies).contract_required());
    counted().for_each(|approval| decisions::use_up(&mut record, approval, seen.now));
    let people: Vec<String> = counted().map(|approval| approval.actor.clone()).collect();
    record.attempts = rollback::next_attempt(seen, &record);
    let Some(contract) = &mut record.contract else { return enter(record, Step::Idle, seen.now, None) };
    contract.state = ContractProgress::Running;
    Reason::Contracting.as_str().clone_into(&mut contract.reason);
    contract.message = format!("It runs, approved by {}.", people.join(", "));
    record.candidate = Some(CandidateRevision {
        revision: contract.revision.clone(),
        version: contract.version.clone(),
        attempt: record.attempts,
        generation: seen.release.generation,
        since: MicroTime(seen.now),
        content: None,
        approved_by: people,
        source: seen.release.spec.source.clone(),
        images: vec![],
        rollback: None,
        contract: true,
        backup: None,
        beside_broken: false,
    });
    record.plan.clone_from(&contract.plan);
    record.database = Some(contract.database.clone());
    record.steps.clear();
    enter(record, Step::Contract, seen.now, inspect::limit(&seen.release.spec))
}

/// Judges an approval of a Contract migration. It counts while another attempt is under way as well, and waits for its end.
pub(in super::super) fn approve(
    seen: &Observed,
    record: &Record,
    (decision, digest): (&DecisionSeen, &str),
) -> Standing {
    let contract = match waiting(record, decision) {
        Ok(contract) => contract,
        Err(standing) => return standing,
    };
    let plan = contract.plan.as_ref().map_or("", |plan| plan.digest.as_str());
    if plan != digest {
        let message = format!("It approves {digest}; the plan of the Contract migration that waits is {plan}.");
        return Standing::Refused(DecisionState::Refused, Reason::OtherDigest, message);
    }
    decisions::by_author(decision, &authors::since(seen, record, contract.authors_after))
}

/// Judges a rejection of a Contract migration.
pub(in super::super) fn reject(record: &Record, decision: &DecisionSeen) -> Standing {
    waiting(record, decision).map_or_else(|standing| standing, |_| Standing::Counts)
}

/// Returns the Contract migration that a Decision may be about.
fn waiting<'a>(record: &'a Record, decision: &DecisionSeen) -> Result<&'a ContractRecord, Standing> {
    let refused = |reason, message: &str| Standing::Refused(DecisionState::Refused, reason, message.to_owned());
    let Some(contract) = record.contract.as_ref().filter(|_| is_open(record)) else {
        let why = if is_under_way(record) {
            "The Contract migration runs already: abort is what stops it, until its Job has begun."
        } else if is_rejected(record) {
            "The Contract migration was rejected; a Decision to retry lets it wait again."
        } else {
            "No Contract migration waits."
        };
        return Err(refused(Reason::TooLate, why));
    };
    if decisions::is_before(decision.created, contract.since.0) {
        return Err(refused(Reason::TooEarly, "It was created before that plan was there to be read."));
    }
    Ok(contract)
}
