//! Suspend: nothing goes on but what goes back; by the spec, or by a person's Decision; pure.
//!
//! What is held is the entry of the next step, never a step itself: what a step has begun it completes or takes back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        observed::{Ask, Observed},
        words,
    },
    Move, Plan, Situation, candidate_content, decisions, ending, later,
};
use crate::api::{CandidateRevision, DecisionKind, Duration, Record, Step, Suspension};

/// Takes in what people have decided. Returns what must be asked to know whether a Decision counts.
pub(super) fn take(seen: &Observed, record: &mut Record) -> Option<Ask> {
    let wanted = |kind: &DecisionKind| match &record.suspended {
        Some(_) => matches!(kind, DecisionKind::Resume(_)),
        None => matches!(kind, DecisionKind::Suspend(_)),
    };
    let decision = match decisions::find(seen, record, wanted) {
        Ok(Some(decision)) => decision,
        Ok(None) => return None,
        Err(ask) => return Some(ask),
    };
    let (actor, name) = (decision.actor.clone(), decision.name.clone());
    let began = Suspension { actor, decision: name, at: MicroTime(decision.created) };
    record.suspended = record.suspended.is_none().then_some(began);
    decisions::use_up(record, decision, seen.now);
    None
}

/// Returns whether the spec or a person suspends.
pub(super) fn holds(seen: &Observed, record: &Record) -> bool {
    seen.release.spec.suspend || record.suspended.is_some()
}

/// Keeps a Release where it stands instead of letting it enter a step that goes forward. What was learned stays known.
pub(super) fn hold(seen: &Observed, before: Record, next: Move) -> Move {
    match next {
        Move::To(next) if goes_forward(&next) => {
            // What was told of a plan stays true of it, and not of another.
            let plan = next.plan.filter(|plan| before.plan.as_ref().is_some_and(|known| known.digest == plan.digest));
            let plan = plan.or(before.plan);
            let candidate = learned(before.candidate, next.candidate);
            let (migration, backup, rehearsal, entered) = (next.migration, next.backup, next.rehearsal, next.step);
            let mut held = Record { migration, backup, rehearsal, plan, candidate, ..before };
            if limit(seen, &held).is_some() {
                // The step is done; how long it is held does not count. It gets a new deadline when it goes on.
                held.deadline = None;
            }
            let told = situation(seen, &held, entered);
            Plan::stay(held, told).into()
        }
        next @ (Move::To(_) | Move::Stay(_)) => next,
    }
}

/// Returns the candidate with what was learned of it, but not with who approved it: their Decisions are not used up yet.
fn learned(before: Option<CandidateRevision>, next: Option<CandidateRevision>) -> Option<CandidateRevision> {
    match (before, next) {
        (Some(before), Some(next)) if before.attempt == next.attempt => {
            Some(CandidateRevision { images: next.images, backup: next.backup, ..before })
        }
        (before, _) => before,
    }
}

/// Gives a step that was held its deadline again.
pub(super) fn go_on(seen: &Observed, record: &mut Record) {
    if record.deadline.is_none() && !holds(seen, record) {
        record.deadline = limit(seen, record).map(|limit| MicroTime(later(seen.now, limit)));
    }
}

/// Returns how long a step may take that always has a deadline.
fn limit(seen: &Observed, record: &Record) -> Option<Duration> {
    let deadlines = &candidate_content(seen, record)?.deadlines;
    match record.step {
        Step::Backup => Some(deadlines.backup),
        Step::Rehearse => Some(deadlines.rehearse),
        Step::Deploy => Some(deadlines.deploy),
        Step::Verify => Some(deadlines.verify),
        Step::Idle
        | Step::Inspect
        | Step::Approve
        | Step::Preflight
        | Step::Migrate
        | Step::Switch
        | Step::Watch
        | Step::Retire
        | Step::Contract
        | Step::SwitchBack
        | Step::RestoreData
        | Step::CleanUp => None,
    }
}

/// Returns whether a step goes forward. A Service that was moved is watched, held or not: that is how it can go back;
/// `watch` holds the end of its window itself. A way back that a person asked for is no way forward.
fn goes_forward(next: &Record) -> bool {
    if next.candidate.as_ref().is_none_or(|candidate| candidate.rollback.is_some()) {
        return false;
    }
    match next.step {
        Step::Preflight
        | Step::Backup
        | Step::Rehearse
        | Step::Migrate
        | Step::Deploy
        | Step::Verify
        | Step::Switch
        | Step::Contract => true,
        Step::Idle
        | Step::Inspect
        | Step::Approve
        | Step::Watch
        | Step::Retire
        | Step::SwitchBack
        | Step::RestoreData
        | Step::CleanUp => false,
    }
}

/// Says what is held, who serves, and who can let it go on.
pub(super) fn situation(seen: &Observed, record: &Record, next: Step) -> Situation {
    let version = &seen.release.spec.version;
    let version = record.candidate.as_ref().map_or(version, |candidate| &candidate.version);
    let serves = match (&record.candidate, &record.active) {
        (Some(candidate), _) if ending::moved(record) => {
            format!("{} serves users and is watched on", candidate.version)
        }
        (_, active) => words::serves(active.as_ref().map(|active| active.version.as_str())),
    };
    let spec = seen.release.spec.suspend.then(|| "spec.suspend is true: set it to false".to_owned());
    let person = record
        .suspended
        .as_ref()
        .map(|suspended| format!("{}. Next: {}", words::suspended(suspended), seen.release.command("resume")));
    let why: Vec<String> = spec.into_iter().chain(person).collect();
    Situation::Suspended(format!("Suspended before {} of {version}. {serves}. {}", next.as_str(), why.join(". ")))
}
