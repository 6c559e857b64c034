//! Approve: waits until everything that spec and policies ask for is met: approvals of this digest, or a mode by which
//! it begins by itself, and no freeze; pure.

use jiff::Timestamp;

use super::{
    super::{
        observed::{Ask, DecisionSeen, Guard, Observed},
        plan_text, words,
    },
    Move, Plan, Situation,
    authors::{self, Authors},
    decisions, elsewhere,
    ending::{self, Why},
    enter, found, health, inspect, later,
    policies::Policies,
    preflight,
    promotion::{self, Missing},
    proposal::{self, Given},
    reach, rollback,
    slots::{self, Slots, Waits},
    still_wanted, suspend,
};
use crate::api::{DecisionKind, DecisionRecord, Duration, Gate, Mode, Outcome, Reason, Record, Step};

/// When to look again at what is to be taken over, where it begins by itself once that is well: nobody watches it.
const UNWATCHED: Duration = Duration::from_secs(10);

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    if !still_wanted(seen, &record) {
        record.candidate = None;
        return enter(record, Step::Idle, seen.now, None);
    }
    let asks = found::asks(seen, &record);
    if !asks.is_empty() {
        let told = waiting(seen, &record, &[]);
        return Plan { asks, ..Plan::stay(record, told) }.into();
    }
    let digest = proposal::digest(seen, &record);
    let unsaid = health::is_broken(seen, &record) && !is_beside_broken(&record);
    if unsaid || record.plan.as_ref().is_none_or(|plan| plan.digest != digest) {
        // What would run is no longer what was shown, or nobody can go back any more as was shown: it is inspected and
        // shown anew, and approvals of the old digest do not count for it.
        return inspect::begin(seen, record);
    }
    let asks = call_as_asked(seen, &mut record);
    if !asks.is_empty() {
        let told = waiting(seen, &record, &[]);
        return Plan { asks, ..Plan::stay(record, told) }.into();
    }
    if let Guard::Missing(why) = &seen.guard {
        let message = words::unguarded(&format!("Releases are not guarded: {why}. Nothing runs"));
        let unmet: Vec<String> = [proposal::line(&message)].into_iter().chain(unmet(seen, &record)).collect();
        record.plan.iter_mut().for_each(|plan| plan.unmet.clone_from(&unmet));
        return Plan::stay(record, Situation::WaitingForApproval(Reason::ApprovalPolicyMissing, message)).into();
    }
    let back = rollback::check(seen, &record);
    if let Ok(Some(back)) = back {
        return back;
    }
    match back.and_then(|_| person(seen, &record)) {
        Err(ask) => {
            let told = waiting(seen, &record, &[]);
            Plan { asks: vec![ask], ..Plan::stay(record, told) }.into()
        }
        Ok(Word::No(decision, reason)) => {
            let (outcome, verb) =
                if reason == Reason::Aborted { (Outcome::Aborted, "aborted") } else { (Outcome::Rejected, "rejected") };
            let message =
                format!("{} {verb} the plan by Decision {}. Nothing was changed.", decision.actor, decision.name);
            decisions::use_up(&mut record, decision, seen.now);
            ending::turn_back(record, seen.now, Why { reason, message, outcome })
        }
        Ok(Word::Yes(approvals)) => said(seen, record, &approvals),
    }
}

/// Calls the candidate by the version that the spec says by now, which is no part of the revision or of what is approved, but
/// of what people read. Returns what must be asked for once more before: nobody watches what stands around.
fn call_as_asked(seen: &Observed, record: &mut Record) -> Vec<Ask> {
    let version = &seen.release.spec.version;
    if record.candidate.as_ref().is_none_or(|candidate| candidate.version == *version) {
        return vec![];
    }
    let asks: Vec<Ask> = elsewhere::asks(seen).into_iter().chain(reach::asks(seen, record)).collect();
    if asks.is_empty() {
        if let Some(candidate) = &mut record.candidate {
            candidate.version.clone_from(version);
        }
        record.plan = Some(proposal::propose(seen, record));
    }
    asks
}

/// Goes on when everything that is asked for is met, or says what is not.
fn said(seen: &Observed, mut record: Record, approvals: &[&DecisionSeen]) -> Move {
    let (policies, authors) = (Policies(&seen.policies), authors::of(seen, &record));
    let people: Vec<&str> = approvals.iter().map(|approval| approval.actor.as_str()).collect();
    let (elsewhere, until) = not_yet(seen);
    let needed = if starts_by_itself(seen, &record) { 0 } else { policies.required() };
    // It hastens what comes after as well: a rehearsal is not waited for.
    let hastened = decisions::find(seen, &record, |kind| matches!(kind, DecisionKind::Expedite(_)));
    let waits = if matches!(hastened, Ok(Some(_))) { &[] } else { until.as_slice() };
    if let Some(plan) = &mut record.plan {
        let more: Vec<&str> =
            elsewhere.iter().chain(waits.iter().map(|later| &later.message)).map(String::as_str).collect();
        let given = Given { people: &people, authors: &authors, more: &more };
        plan.unmet = proposal::unmet((&seen.release, policies), needed, given, seen.now);
    }
    if let Some((reason, message)) = policies.refuses(&seen.release.spec, seen.now) {
        return Plan::stay(record, Situation::Failed(reason, message)).into();
    }
    let told = match (authors, elsewhere, waits.last()) {
        (Authors::Unknown(reason, message), ..) if needed > 0 => Some(Situation::WaitingForApproval(reason, message)),
        _ if approvals.len() < needed => Some(waiting(seen, &record, &people)),
        (_, Some(message), _) => Some(Situation::WaitingForApproval(Reason::NotPromoted, message)),
        (_, None, Some(later)) => Some(Situation::WaitingForApproval(later.reason, later.message.clone())),
        (_, None, None) => None,
    };
    if let Some(told) = told {
        let mut plan = Plan { asks: hastened.err().into_iter().collect(), ..Plan::stay(record, told) };
        // What is told of it is no longer true then.
        until.iter().for_each(|later| plan.look_again_at(later.until));
        let unwatched = plan.record.active.is_none() && health::is_broken(seen, &plan.record);
        if unwatched && mode(seen, &plan.record) == Mode::Automatic {
            plan.look_again_at(later(seen.now, UNWATCHED));
        }
        let in_force = authors::in_force(seen).filter(|since| *since > seen.now);
        in_force.into_iter().for_each(|since| plan.look_again_at(since));
        return plan.into();
    }
    if let Err(ask) = hastened {
        let told = Situation::WaitingForApproval(Reason::WaitingForApproval, "Asking for a Decision.".to_owned());
        return Plan { asks: vec![ask], ..Plan::stay(record, told) }.into();
    }
    // What is suspended waits for that, and for no slot.
    if !suspend::holds(seen, &record)
        && let Slots::Waits(Waits { asks, actions, message }) = slots::look(seen)
    {
        record.plan.iter_mut().for_each(|plan| plan.unmet.push(proposal::line(&message)));
        let told = Situation::WaitingForApproval(Reason::WaitingForSlot, message);
        return Plan { asks, actions, ..Plan::stay(record, told) }.into();
    }
    if let Ok(Some(decision)) = hastened {
        decisions::use_up(&mut record, decision, seen.now);
    }
    // More than are needed are not.
    let counted = approvals.iter().take(policies.required());
    counted.clone().for_each(|approval| decisions::use_up(&mut record, approval, seen.now));
    if let Some(candidate) = &mut record.candidate {
        candidate.approved_by = counted.map(|approval| approval.actor.clone()).collect();
    }
    preflight::begin(seen, record)
}

/// Lists what is missing of everything that spec and policies ask for, while nobody has decided anything.
pub(super) fn unmet(seen: &Observed, record: &Record) -> Vec<String> {
    let policies = Policies(&seen.policies);
    let by_itself = mode(seen, record) == Mode::Automatic && withdrawn(seen, record).is_none();
    let needed = if by_itself { 0 } else { policies.required() };
    let (elsewhere, later) = not_yet(seen);
    let place = slots::full(seen);
    let more: Vec<&str> =
        elsewhere.iter().chain(later.iter().map(|later| &later.message)).chain(&place).map(String::as_str).collect();
    let given = Given { people: &[], authors: &authors::of(seen, record), more: &more };
    proposal::unmet((&seen.release, policies), needed, given, seen.now)
}

/// What only time meets, or somebody who may hasten it.
struct Later {
    reason: Reason,
    until: Timestamp,
    message: String,
}

/// Returns what must happen elsewhere first, and what only time meets.
fn not_yet(seen: &Observed) -> (Option<String>, Vec<Later>) {
    let frozen = Policies(&seen.policies).frozen(seen.now).map(|freeze| Later {
        reason: Reason::Frozen,
        until: freeze.until,
        message: proposal::frozen(&seen.release, &freeze),
    });
    let (elsewhere, soak) = match promotion::look(seen) {
        None => (None, None),
        Some(Missing::Elsewhere(message)) => (Some(message), None),
        Some(Missing::Soak { until, message }) => (None, Some(Later { reason: Reason::NotPromoted, until, message })),
    };
    (elsewhere, frozen.into_iter().chain(soak).collect())
}

/// What people have said.
enum Word<'a> {
    /// One approval of each person who gave one, the oldest first.
    Yes(Vec<&'a DecisionSeen>),
    No(&'a DecisionSeen, Reason),
}

/// Looks for a word; a no counts more than a yes.
fn person<'a>(seen: &'a Observed, record: &Record) -> Result<Word<'a>, Ask> {
    if let Some(rejected) = decisions::find(seen, record, |kind| kind.closes(Gate::Release))? {
        return Ok(Word::No(rejected, Reason::Rejected));
    }
    if let Some(aborted) = decisions::find(seen, record, |kind| matches!(kind, DecisionKind::Abort(_)))? {
        return Ok(Word::No(aborted, Reason::Aborted));
    }
    let approvals = decisions::find_all(seen, record, |kind| kind.opens(Gate::Release))?;
    Ok(Word::Yes(decisions::one_of_each(approvals)))
}

/// Returns whether its plan says that what serves is broken.
fn is_beside_broken(record: &Record) -> bool {
    record.candidate.as_ref().is_some_and(|candidate| candidate.beside_broken)
}

/// Returns whether the word of the spec, or of a policy, is enough. It is not for an attempt that was under way before
/// the policies guarded: who wrote `Automatic`, or what is to run, was not asked for the right to do so. Nor is it while
/// what serves is broken: then a person looks at it.
fn starts_by_itself(seen: &Observed, record: &Record) -> bool {
    let guarded = match (&seen.guard, &record.candidate) {
        (Guard::Since(since), Some(candidate)) => candidate.since.0 >= *since,
        (Guard::Since(_), None) | (Guard::Missing(_), _) => false,
    };
    let safe = withdrawn(seen, record).is_none() && !health::is_broken(seen, record);
    mode(seen, record) == Mode::Automatic && guarded && safe
}

/// Says that a version is asked for which does not work on the schema any more.
fn withdrawn(seen: &Observed, record: &Record) -> Option<String> {
    proposal::contract::withdrawn(record, &seen.release.spec)
}

fn mode(seen: &Observed, record: &Record) -> Mode {
    Policies(&seen.policies).mode(seen.release.spec.mode, record.is_first())
}

fn waiting(seen: &Observed, record: &Record, people: &[&str]) -> Situation {
    let version = &seen.release.spec.version;
    let (reason, first) = match void_approval(record) {
        Some(actor) => {
            (Reason::ApprovalStale, format!("What {actor} approved is not what would run now; that approval is void. "))
        }
        None => (Reason::WaitingForApproval, despite_automatic(seen, record).unwrap_or_default()),
    };
    let serves = record.active.as_ref().map(|active| &active.version);
    let serves = serves.or_else(|| record.adoption.as_ref().map(|adoption| &adoption.version));
    let broken = serves.filter(|_| is_beside_broken(record)).map_or_else(String::new, |version| {
        format!("{version} serves and is broken, as the plan says: an approval from before it said so is void. ")
    });
    let required = Policies(&seen.policies).required();
    let given = words::approved_so_far(people, required);
    let plan = record.plan.as_ref().map(plan_text::brief).unwrap_or_default();
    let message = format!(
        "{first}{broken}The plan for {version} is ready and nothing has happened yet: {plan}.{given} Read it: {}. Next: {}, or \
         reject it.",
        seen.release.command("plan"),
        seen.release.command("approve")
    );
    Situation::WaitingForApproval(reason, message)
}

/// Says why a person is asked though it is automatic.
fn despite_automatic(seen: &Observed, record: &Record) -> Option<String> {
    let Guard::Since(since) = &seen.guard else { return None };
    if mode(seen, record) != Mode::Automatic {
        return None;
    }
    let broken = || health::is_broken(seen, record).then(|| "what serves is broken.".to_owned());
    let why = withdrawn(seen, record).or_else(broken);
    Some(why.map_or_else(
        || {
            format!(
                "It is automatic, but the admission policies guard only since {since}, and this attempt is older: a person \
                 has to look at it. "
            )
        },
        |why| format!("It is automatic, and a person has to look at it: {why} "),
    ))
}

/// Returns who approved what then changed before anything was done.
fn void_approval(record: &Record) -> Option<&str> {
    let of_release = |decision: &&DecisionRecord| decision.digest.is_some() && decision.gate.is_none();
    let last = record.decisions.iter().rev().find(of_release)?;
    let digest = record.plan.as_ref().map(|plan| &plan.digest);
    let led_to_nothing = record.history.last().is_none_or(|entry| entry.ended_at.0 < last.at.0);
    (last.digest.as_ref() != digest && led_to_nothing).then_some(last.actor.as_str())
}
