//! Which Decisions count, and what becomes of the others; pure.

mod word;

use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::observed::{Answer, Ask, DecisionSeen, Guard, Observed},
    Action, Plan,
    authors::{self, Authors},
    contract,
    policies::Policies,
    restore_data, rollback, suspend,
};
use crate::api::{
    Approval, DecisionKind, DecisionRecord, DecisionState, DecisionStatus, Gate, Reason, Record, Rejection, Rollback,
    Step, clamp,
};

pub(super) use word::{Word, one_of_each, word};

/// How many Decisions status remembers.
const REMEMBERED: usize = 32;

/// What is said of a Decision that would stop an attempt it was not made about.
const ANOTHER_ATTEMPT: &str = "It was made before this attempt began: it was about another one.";

/// Whether a Decision counts now.
pub(super) enum Standing {
    /// It counts.
    Counts,
    /// Whether it counts cannot be said now.
    Open,
    /// It took effect earlier.
    Used,
    /// It does not count and never will.
    Refused(DecisionState, Reason, String),
}

/// Returns the first Decision of a kind that counts now, as [`find_all`].
pub(super) fn find<'a>(
    seen: &'a Observed,
    record: &Record,
    wanted: impl Fn(&DecisionKind) -> bool,
) -> Result<Option<&'a DecisionSeen>, Ask> {
    Ok(find_all(seen, record, wanted)?.into_iter().next())
}

/// Returns the Decisions of a kind that count now and that the API server still holds, the oldest first, or what must
/// be asked to know.
pub(super) fn find_all<'a>(
    seen: &'a Observed,
    record: &Record,
    wanted: impl Fn(&DecisionKind) -> bool,
) -> Result<Vec<&'a DecisionSeen>, Ask> {
    let mut found = vec![];
    for decision in counting(seen, record, wanted) {
        // Using a Decision cannot be taken back: a cached one may have been deleted meanwhile.
        let ask = live(decision);
        match seen.answer(&ask) {
            Some(Answer::Exists(true)) => found.push(decision),
            Some(_) => {}
            None => return Err(ask),
        }
    }
    found.sort_by_key(|decision| decision.created);
    Ok(found)
}

/// Returns the Decisions of a kind that count by what was seen of them. What was refused stays refused: its status says
/// so, and somebody may have read that.
pub(super) fn counting<'a>(
    seen: &'a Observed,
    record: &Record,
    wanted: impl Fn(&DecisionKind) -> bool,
) -> impl Iterator<Item = &'a DecisionSeen> {
    let is_wanted = move |decision: &&DecisionSeen| !decision.settled && decision.kind.as_ref().is_some_and(&wanted);
    let counts = move |decision: &&DecisionSeen| matches!(standing(seen, record, decision), Standing::Counts);
    seen.decisions.iter().filter(is_wanted).filter(counts)
}

/// Asks for all Decisions that count when it asks for one: a round of questions for each would be slow.
pub(super) fn ask_at_once(seen: &Observed, plan: &mut Plan) {
    if !plan.asks.iter().any(|ask| matches!(ask, Ask::LiveDecision { .. }) && seen.answer(ask).is_none()) {
        return;
    }
    let asks: Vec<Ask> = counting(seen, &plan.record, |_| true).map(live).collect();
    plan.asks.extend(asks);
    let mut known: Vec<Ask> = vec![];
    plan.asks.retain(|ask| {
        let is_new = !known.contains(ask);
        known.extend(is_new.then(|| ask.clone()));
        is_new
    });
}

fn live(decision: &DecisionSeen) -> Ask {
    Ask::LiveDecision { name: decision.name.clone(), uid: decision.uid.clone() }
}

/// Remembers that a Decision took effect.
pub(super) fn use_up(record: &mut Record, decision: &DecisionSeen, now: Timestamp) {
    record.decisions.push(DecisionRecord {
        name: decision.name.clone(),
        uid: decision.uid.clone(),
        kind: decision.kind.as_ref().map_or("", DecisionKind::as_str).to_owned(),
        actor: decision.actor.clone(),
        digest: decision.approval().map(|approval| approval.digest.clone()),
        gate: decision.kind.as_ref().and_then(DecisionKind::gate).filter(|gate| *gate != Gate::Release),
        at: MicroTime(now),
    });
    if record.decisions.len() > REMEMBERED {
        record.decisions.drain(..record.decisions.len() - REMEMBERED);
    }
}

/// Adds what became of each Decision to a plan.
pub(super) fn settle(seen: &Observed, plan: &mut Plan) {
    if plan.act_first {
        // Nothing makes the way back wait, and a Decision is settled only after its use was remembered.
        return;
    }
    for decision in seen.decisions.iter().filter(|decision| !decision.settled) {
        let (state, reason, message) = match standing(seen, &plan.record, decision) {
            Standing::Counts => {
                // The next thing that happens to it by itself is that it expires.
                let kind = decision.kind.as_ref();
                let expires = kind.map_or(SignedDuration::MAX, |kind| Policies(&seen.policies).expires(kind));
                plan.look_again_at(decision.created.saturating_add(expires).unwrap_or(Timestamp::MAX));
                if decision.accepted {
                    continue;
                }
                let message = format!("It counts and waits: {}", waits_for(seen, &plan.record));
                (DecisionState::Accepted, Reason::Waiting, message)
            }
            Standing::Open => continue,
            Standing::Used => (DecisionState::Used, Reason::Used, "It took effect.".to_owned()),
            Standing::Refused(state, reason, message) => (state, reason, message),
        };
        let state: &str = state.into();
        let message = clamp(&message).to_owned();
        let status = DecisionStatus { state: state.to_owned(), reason: reason.as_str().to_owned(), message };
        plan.actions.push(Action::settle(decision, status));
    }
}

fn standing(seen: &Observed, record: &Record, decision: &DecisionSeen) -> Standing {
    let refused = |reason, message: String| Standing::Refused(DecisionState::Refused, reason, message);
    // What was used stays used, whatever holds now.
    if record.decisions.iter().any(|used| used.uid == decision.uid) {
        return Standing::Used;
    }
    if decision.target_uid != seen.release.uid {
        let message = format!(
            "It names UID {}, and Release {} has UID {}: it was meant for an earlier object of that name.",
            decision.target_uid, seen.release.name, seen.release.uid
        );
        return refused(Reason::OtherUid, message);
    }
    let Some(kind) = &decision.kind else {
        return refused(
            Reason::UnknownDecision,
            "This version of the operator does not know that decision.".to_owned(),
        );
    };
    let policies = Policies(&seen.policies);
    let expires = policies.expires(kind);
    if decision.created.saturating_add(expires).is_ok_and(|end| end <= seen.now) {
        let message = format!("It is older than {expires:#}.");
        return Standing::Refused(DecisionState::Expired, Reason::Expired, message);
    }
    match &seen.guard {
        // No verdict: it may be our own look that is missing, as after a start. The Release says what is wrong; once
        // the policies are back, whatever was decided without them is refused below.
        Guard::Missing(_) => return Standing::Open,
        Guard::Since(since) if decision.created < *since => {
            let message = format!("The admission policies guard since {since} only; create it again after that.");
            return refused(Reason::CreatedUnguarded, message);
        }
        Guard::Since(_) => {}
    }
    match kind {
        DecisionKind::Approve(_) if !policies.accepts(decision.statement.as_deref()) => {
            let asked = policies.statements().join("\" or \"");
            refused(Reason::StatementMissing, format!("Each approval says, word for word: \"{asked}\"."))
        }
        DecisionKind::Approve(Approval { digest, gate: Gate::Release }) => approve(seen, record, (decision, digest)),
        DecisionKind::Approve(Approval { digest, gate: Gate::Contract }) => {
            contract::approve(seen, record, (decision, digest))
        }
        DecisionKind::Approve(Approval { digest, gate: Gate::DataLoss }) => {
            restore_data::approve(seen, record, (decision, digest))
        }
        DecisionKind::Reject(Rejection { gate: Gate::Contract }) => contract::reject(record, decision),
        DecisionKind::Reject(Rejection { gate: Gate::DataLoss }) => restore_data::reject(record, decision),
        DecisionKind::Reject(_) | DecisionKind::Abort(_) | DecisionKind::Expedite(_)
            if is_earlier(decision, record) =>
        {
            refused(Reason::TooEarly, ANOTHER_ATTEMPT.to_owned())
        }
        DecisionKind::Reject(_) if record.step == Step::Approve => Standing::Counts,
        DecisionKind::Reject(_) => refused(
            Reason::TooLate,
            format!("No plan waits: the step is {}.{}", record.step.as_str(), of_contract(record)),
        ),
        DecisionKind::Abort(_) if abortable(record) => Standing::Counts,
        DecisionKind::Abort(_) => refused(Reason::TooLate, too_late_to_abort(record)),
        DecisionKind::Retry(_)
            if record.step == Step::Idle && (record.failure.is_some() || contract::is_rejected(record)) =>
        {
            Standing::Counts
        }
        DecisionKind::Retry(_) => {
            let message = format!("Nothing that failed waits to be tried again: the step is {}.", record.step.as_str());
            refused(Reason::TooLate, message)
        }
        DecisionKind::Rollback(asked) => back(seen, record, (decision, asked)),
        DecisionKind::Suspend(_) => match &record.suspended {
            None => Standing::Counts,
            Some(by) => {
                let message = format!("It is suspended already, by {} in Decision {}.", by.actor, by.decision);
                refused(Reason::TooLate, message)
            }
        },
        DecisionKind::Resume(_) if record.suspended.as_ref().is_some_and(|by| decision.created < by.at.0) => {
            refused(Reason::TooEarly, "It was made before the Decision that suspends it.".to_owned())
        }
        DecisionKind::Resume(_) if record.suspended.is_some() => Standing::Counts,
        DecisionKind::Resume(_) => {
            let by_spec = if seen.release.spec.suspend { " The spec does: set spec.suspend to false." } else { "" };
            refused(Reason::TooLate, format!("No Decision suspends it.{by_spec}"))
        }
        DecisionKind::Promote(_) if record.step == Step::Watch => Standing::Counts,
        DecisionKind::Promote(_) => {
            refused(Reason::TooLate, format!("No watch window runs: the step is {}.", record.step.as_str()))
        }
        DecisionKind::Expedite(_) if matches!(record.step, Step::Inspect | Step::Approve) => Standing::Counts,
        DecisionKind::Expedite(_) => {
            refused(Reason::TooLate, format!("No plan waits: the step is {}.", record.step.as_str()))
        }
    }
}

/// Judges a Decision to go back: of an attempt that has begun to the active revision, else to one that served before.
fn back(seen: &Observed, record: &Record, (decision, asked): (&DecisionSeen, &Rollback)) -> Standing {
    let refused = |reason, message: String| Standing::Refused(DecisionState::Refused, reason, message);
    let to_active = match (&asked.to, &record.active) {
        (Some(to), Some(active)) => *to == active.revision,
        (Some(_), None) => false,
        (None, _) => true,
    };
    // What serves goes on serving whatever becomes of its Contract migration: that is aborted, not gone back from.
    let to_active = to_active && !contract::is_under_way(record);
    match record.step {
        Step::Idle | Step::Inspect | Step::Approve => match rollback::former(seen, record, asked) {
            Ok(_) => Standing::Counts,
            Err((reason, message)) => refused(reason, message),
        },
        Step::Preflight
        | Step::Backup
        | Step::Rehearse
        | Step::Migrate
        | Step::Deploy
        | Step::Verify
        | Step::Switch
        | Step::Watch
        | Step::Contract => {
            if is_earlier(decision, record) {
                refused(Reason::TooEarly, ANOTHER_ATTEMPT.to_owned())
            } else if !to_active {
                refused(Reason::TooLate, "Another attempt is under way: abort it first.".to_owned())
            } else if abortable(record) {
                Standing::Counts
            } else {
                refused(Reason::TooLate, too_late_to_abort(record))
            }
        }
        Step::SwitchBack | Step::RestoreData | Step::CleanUp if to_active => {
            refused(Reason::TooLate, "It is on its way back already.".to_owned())
        }
        // It comes to rest by itself, and then this can be judged.
        Step::Retire | Step::SwitchBack | Step::RestoreData | Step::CleanUp => Standing::Open,
    }
}

/// Returns whether a Decision was made before the attempt under way began: it was about another one, or about none.
fn is_earlier(decision: &DecisionSeen, record: &Record) -> bool {
    record.candidate.as_ref().is_some_and(|candidate| is_before(decision.created, candidate.since.0))
}

/// Returns whether a Decision was created before a moment. The API server's creation times have whole seconds, and its
/// clock may not be ours to the second.
pub(super) fn is_before(created: Timestamp, moment: Timestamp) -> bool {
    let second = moment.round(Unit::Second).unwrap_or(moment);
    created < second.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(second)
}

/// Says what a Decision that counts waits for.
fn waits_for(seen: &Observed, record: &Record) -> &'static str {
    if suspend::holds(seen, record) {
        "the Release is suspended."
    } else if contract::is_open(record) && record.step == Step::Idle {
        "condition ContractPending says for what."
    } else if record.step == Step::Approve {
        "not everything that the plan lists as unmet is met yet."
    } else if record.step == Step::Watch {
        "not all pods that are needed are ready, or traffic is needed elsewhere first."
    } else {
        "the step that it speaks of goes on."
    }
}

fn approve(seen: &Observed, record: &Record, (decision, digest): (&DecisionSeen, &str)) -> Standing {
    let refused = |reason, message: String| Standing::Refused(DecisionState::Refused, reason, message);
    let (Step::Approve, Some(plan)) = (record.step, &record.plan) else {
        let message = format!("No plan waits: the step is {}.{}", record.step.as_str(), of_contract(record));
        return refused(Reason::TooLate, message);
    };
    if plan.digest != digest {
        return refused(Reason::OtherDigest, format!("It approves {digest}; the plan that waits is {}.", plan.digest));
    }
    if record.step_since.as_ref().is_some_and(|shown| is_before(decision.created, shown.0)) {
        return refused(Reason::TooEarly, "It was created before the plan was there to be read.".to_owned());
    }
    by_author(decision, &authors::of(seen, record))
}

/// Judges an approval by who gave it.
pub(super) fn by_author(decision: &DecisionSeen, authors: &Authors<'_>) -> Standing {
    if authors.are_unknown() {
        // No verdict: what keeps it from counting may be mended.
        return Standing::Open;
    }
    match authors.forbid(&decision.actor) {
        Some(policy) => {
            let message = format!(
                "{} changed what it approves, and ReleasePolicy {policy} asks for somebody else's approval.",
                decision.actor
            );
            Standing::Refused(DecisionState::Refused, Reason::AuthorMayNotApprove, message)
        }
        None => Standing::Counts,
    }
}

/// Returns whether stopping can still change anything.
const fn abortable(record: &Record) -> bool {
    match record.step {
        Step::Inspect
        | Step::Approve
        | Step::Preflight
        | Step::Backup
        | Step::Rehearse
        | Step::Migrate
        | Step::Deploy
        | Step::Verify
        | Step::Contract => true,
        // Without an earlier version there is nothing to go back to, and traffic never points at nothing.
        Step::Switch | Step::Watch => record.active.is_some(),
        Step::Idle | Step::Retire | Step::SwitchBack | Step::RestoreData | Step::CleanUp => false,
    }
}

/// Says that another plan than the one that was meant waits.
fn of_contract(record: &Record) -> &'static str {
    if contract::is_open(record) { " A Contract migration waits: that is gate Contract." } else { "" }
}

fn too_late_to_abort(record: &Record) -> String {
    if record.active.is_none() && record.step >= Step::Switch {
        "This is the first release and serves already: there is no earlier version to go back to.".to_owned()
    } else {
        format!("Nothing can be stopped: the step is {}.", record.step.as_str())
    }
}
