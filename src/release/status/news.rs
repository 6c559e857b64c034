//! Events of a Release: each step that an attempt enters, one warning per cause, and never many; pure.
//!
//! In: what was seen and the plan, whose status has been written. Out: what is told once. Everything told stands in status
//! as well, so one that is lost, or one too many, costs nobody the news.

use super::{
    super::{
        plan::{Plan, Situation},
        words,
    },
    Observed, contract, ended, reason_of,
};
use crate::api::{Outcome, Reason, Record, Step, clamp};

/// How many events an attempt has at most: whatever flaps, etcd and whoever reads must not drown.
pub const MOST_EVENTS: u8 = 16;
/// How many are kept for what somebody should look at.
const FOR_WARNINGS: u8 = 4;
/// How many of those are kept for how it ends.
const FOR_THE_END: u8 = 1;

/// Something to tell once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Whether somebody should look.
    pub warning: bool,
    /// One word for machines.
    pub reason: String,
    /// What was under way.
    pub action: String,
    /// What happened, in words.
    pub note: String,
}

/// How much something matters when there is no room for everything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Progress,
    Warning,
    /// How the attempt ends, well or badly.
    End,
}

/// Returns what is worth an event: each step when it is entered for the first time, one warning per cause, how it ended.
#[must_use]
pub fn news(seen: &Observed, plan: &Plan) -> Vec<News> {
    let mut count = told_before(seen.record(), &plan.record);
    let mut news = worth_telling(seen, plan);
    // What people do to a Release at rest is no part of an attempt.
    if is_at_rest(seen.record(), &plan.record) {
        return news.into_iter().map(|(_, told)| told).collect();
    }
    news.retain(|(weight, _)| {
        let kept = match weight {
            Weight::Progress => FOR_WARNINGS,
            Weight::Warning => FOR_THE_END,
            Weight::End => 0,
        };
        let fits = count < MOST_EVENTS - kept;
        count += u8::from(fits);
        fits
    });
    news.into_iter().map(|(_, told)| told).collect()
}

/// Returns how many events the attempt has had once these are told.
pub(super) fn counted(seen: &Observed, plan: &Plan) -> u8 {
    if is_at_rest(seen.record(), &plan.record) {
        return seen.record().events;
    }
    let now = u8::try_from(news(seen, plan).len()).unwrap_or(MOST_EVENTS);
    told_before(seen.record(), &plan.record).saturating_add(now)
}

fn is_at_rest(before: &Record, after: &Record) -> bool {
    before.candidate.is_none() && after.candidate.is_none() && after.step == Step::Idle && before.step == Step::Idle
}

/// Returns how many events there were of the attempt that a look goes on with, or ends.
const fn told_before(before: &Record, after: &Record) -> u8 {
    if before.attempts == after.attempts { before.events } else { 0 }
}

fn worth_telling(seen: &Observed, plan: &Plan) -> Vec<(Weight, News)> {
    let (before, after) = (seen.record(), &plan.record);
    let mut news = Vec::new();
    let mut tell = |weight, reason: Reason, step: Step, (is_well, note): (bool, &str)| {
        let (reason, action) = (reason.as_str().to_owned(), step.as_str().to_owned());
        news.push((weight, News { warning: !is_well, reason, action, note: clamp(note).to_owned() }));
    };
    let turned = after.ending.as_ref().filter(|_| before.ending.is_none());
    if let Some(ending) = turned {
        tell(Weight::End, Reason::parse(&ending.reason), ending.from, (false, &ending.message));
    }
    if let Some(last) = after.history.last().filter(|last| before.history.last() != Some(*last)) {
        let told = before.ending.is_some() || turned.is_some();
        let is_well = last.outcome == Outcome::Succeeded;
        if is_well || !told {
            tell(Weight::End, ended(last), after.step, (is_well, &last.message));
        }
    }
    for hook in after.hooks.iter().filter(|hook| !before.hooks.contains(hook)) {
        if let Some(problem) = &hook.problem {
            let note = format!("Hook {} failed: {problem}.", hook.name);
            tell(Weight::Warning, Reason::HookFailed, after.step, (false, &note));
        }
    }
    if is_entered(before, after) {
        tell(Weight::Progress, reason_of(after.step), after.step, (true, told_of(&plan.situation)));
    }
    if let Some((reason, note)) = contract::waits(before, after) {
        tell(Weight::Progress, reason, Step::Contract, (true, &note));
    }
    if let Some(by) = after.suspended.as_ref().filter(|_| before.suspended.is_none()) {
        tell(Weight::Progress, Reason::Suspended, after.step, (true, &format!("{}.", words::suspended(by))));
    }
    if let Some(suspended) = before.suspended.as_ref().filter(|_| after.suspended.is_none()) {
        let resume = after.decisions.iter().rev().find(|decision| decision.kind == "resume");
        let by = resume.map_or("Somebody", |decision| decision.actor.as_str());
        let note = format!("{by} resumed it: Decision {} holds no longer.", suspended.decision);
        tell(Weight::Progress, Reason::Resumed, after.step, (true, &note));
    }
    if let Some((reason, message)) = needs_a_person(&plan.situation) {
        let known = seen.release.status.conditions.iter().any(|condition| condition.reason == reason.as_str());
        if !known {
            tell(Weight::Warning, reason, after.step, (false, message));
        }
    }
    news
}

/// Returns whether the attempt is in a step in which it never was.
fn is_entered(before: &Record, after: &Record) -> bool {
    let again = after.steps.iter().any(|time| time.step == after.step);
    before.step != after.step && after.step != Step::Idle && !again
}

/// Returns why nothing goes on until somebody has looked.
fn needs_a_person(situation: &Situation) -> Option<(Reason, &str)> {
    match situation {
        Situation::OnHold(reason, message) => Some((*reason, message)),
        Situation::WaitingForApproval(
            reason @ (Reason::ApprovalStale | Reason::ApprovalPolicyMissing | Reason::DataLossPending),
            message,
        ) => Some((*reason, message)),
        Situation::Working(..)
        | Situation::WaitingForApproval(..)
        | Situation::Served
        | Situation::ActiveUnhealthy(_)
        | Situation::Failed(..)
        | Situation::Suspended(_) => None,
    }
}

fn told_of(situation: &Situation) -> &str {
    match situation {
        Situation::Working(_, message)
        | Situation::WaitingForApproval(_, message)
        | Situation::OnHold(_, message)
        | Situation::Failed(_, message)
        | Situation::ActiveUnhealthy(message)
        | Situation::Suspended(message) => message,
        Situation::Served => "Served.",
    }
}
