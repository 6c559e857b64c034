//! Approve: waits for a Decision on this digest, or goes on where the mode is Automatic; pure.

use super::{
    super::observed::{Ask, DecisionSeen, Guard, Observed},
    Move, Plan, Situation, decisions,
    ending::{self, Why},
    enter, inspect, preflight, proposal, rollback, still_wanted,
};
use crate::api::{DecisionKind, Mode, Outcome, Reason, Record, Step};

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    if !still_wanted(seen, &record) {
        record.candidate = None;
        return enter(record, Step::Idle, seen.now, None);
    }
    let digest = proposal::digest(seen, &record);
    if record.plan.as_ref().is_none_or(|plan| plan.digest != digest) {
        // What would run is no longer what was shown: it is inspected and shown anew, and approvals of the
        // old digest do not count for it.
        return inspect::begin(seen, record);
    }
    if let Guard::Missing(why) = &seen.guard {
        let message = format!(
            "Releases are not guarded: {why}. Nothing runs until the admission policies of the chart \
             (deploy/cluster-prerequisites.yaml) are in force."
        );
        return Plan::stay(record, Situation::WaitingForApproval(Reason::ApprovalPolicyMissing, message)).into();
    }
    let back = rollback::check(seen, &record);
    if let Ok(Some(back)) = back {
        return back;
    }
    match back.and_then(|_| person(seen, &record)) {
        Err(ask) => {
            let told = waiting(seen, &record);
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
        Ok(Word::Yes(decision)) => {
            decisions::use_up(&mut record, decision, seen.now);
            preflight::begin(seen, record)
        }
        Ok(Word::None) if starts_by_itself(seen, &record) => preflight::begin(seen, record),
        Ok(Word::None) => {
            let told = waiting(seen, &record);
            Plan::stay(record, told).into()
        }
    }
}

/// What people have said.
enum Word<'a> {
    Yes(&'a DecisionSeen),
    No(&'a DecisionSeen, Reason),
    None,
}

/// Looks for a word; a no counts more than a yes.
fn person<'a>(seen: &'a Observed, record: &Record) -> Result<Word<'a>, Ask> {
    if let Some(rejected) = decisions::find(seen, record, |kind| matches!(kind, DecisionKind::Reject(_)))? {
        return Ok(Word::No(rejected, Reason::Rejected));
    }
    if let Some(aborted) = decisions::find(seen, record, |kind| matches!(kind, DecisionKind::Abort(_)))? {
        return Ok(Word::No(aborted, Reason::Aborted));
    }
    let approved = decisions::find(seen, record, |kind| matches!(kind, DecisionKind::Approve(_)))?;
    Ok(approved.map_or(Word::None, Word::Yes))
}

/// Returns whether the word of the spec is enough. It is not for an attempt that was under way before the policies
/// guarded: who wrote `Automatic`, or what is to run, was not asked for the right to do so.
fn starts_by_itself(seen: &Observed, record: &Record) -> bool {
    let guarded = match (&seen.guard, &record.candidate) {
        (Guard::Since(since), Some(candidate)) => candidate.since.0 >= *since,
        (Guard::Since(_), None) | (Guard::Missing(_), _) => false,
    };
    seen.release.spec.mode == Mode::Automatic && guarded
}

fn waiting(seen: &Observed, record: &Record) -> Situation {
    let (name, version) = (&seen.release.name, &seen.release.spec.version);
    let (reason, first) = match (void_approval(record), &seen.guard) {
        (Some(actor), _) => {
            (Reason::ApprovalStale, format!("What {actor} approved is not what would run now; that approval is void. "))
        }
        (None, Guard::Since(since)) if seen.release.spec.mode == Mode::Automatic => (
            Reason::WaitingForApproval,
            format!(
                "It is automatic, but the admission policies guard only since {since}, and this attempt is older: a \
                 person has to look at it. "
            ),
        ),
        (None, Guard::Since(_) | Guard::Missing(_)) => (Reason::WaitingForApproval, String::new()),
    };
    let message = format!(
        "{first}The plan for {version} is ready and nothing has happened yet. Read it: kubectl switchback plan {name}. \
         Next: kubectl switchback approve {name}, or reject {name}."
    );
    Situation::WaitingForApproval(reason, message)
}

/// Returns who approved what then changed before anything was done.
fn void_approval(record: &Record) -> Option<&str> {
    let last = record.decisions.last()?;
    let digest = record.plan.as_ref().map(|plan| &plan.digest);
    let led_to_nothing = record.history.last().is_none_or(|entry| entry.ended_at.0 < last.at.0);
    (last.digest.is_some() && last.digest.as_ref() != digest && led_to_nothing).then_some(last.actor.as_str())
}
