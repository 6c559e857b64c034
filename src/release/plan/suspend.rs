//! Suspend: nothing goes on but what goes back; by the spec, or by a person's Decision; pure.
//!
//! What is held is the entry of the next step, never a step itself: what a step has begun it completes or takes back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::observed::{Ask, Observed},
    Move, Plan, Situation, decisions,
};
use crate::api::{DecisionKind, Record, Step, Suspension};

/// Takes in what people have decided. Returns what must be asked to know whether a Decision counts.
pub(super) fn take(seen: &Observed, record: &mut Record) -> Option<Ask> {
    if record.suspended.is_some() {
        let found = decisions::find(seen, record, |kind| matches!(kind, DecisionKind::Resume(_)));
        match found {
            Ok(None) => {}
            Ok(Some(decision)) => {
                record.suspended = None;
                decisions::use_up(record, decision, seen.now);
            }
            Err(ask) => return Some(ask),
        }
    } else {
        let found = decisions::find(seen, record, |kind| matches!(kind, DecisionKind::Suspend(_)));
        match found {
            Ok(None) => {}
            Ok(Some(decision)) => {
                let (actor, name) = (decision.actor.clone(), decision.name.clone());
                record.suspended = Some(Suspension { actor, decision: name, at: MicroTime(seen.now) });
                decisions::use_up(record, decision, seen.now);
            }
            Err(ask) => return Some(ask),
        }
    }
    None
}

/// Returns whether the spec or a person suspends.
pub(super) fn holds(seen: &Observed, record: &Record) -> bool {
    seen.release.spec.suspend || record.suspended.is_some()
}

/// Keeps a Release where it stands instead of letting it enter a step that goes forward.
pub(super) fn hold(seen: &Observed, before: Record, next: Move) -> Move {
    match next {
        Move::To(next) if goes_forward(&before, &next) => {
            let told = Situation::Suspended(message(seen, &before, next.step));
            Plan::stay(before, told).into()
        }
        next @ (Move::To(_) | Move::Stay(_)) => next,
    }
}

/// Returns whether a step goes forward. A Service that was moved is watched, held or not: that is how it can go back.
/// A way back that a person asked for is no way forward.
fn goes_forward(before: &Record, next: &Record) -> bool {
    // At the end of a window the candidate is the active revision already.
    if [before, next]
        .iter()
        .filter_map(|record| record.candidate.as_ref())
        .any(|candidate| candidate.rollback.is_some())
    {
        return false;
    }
    match next.step {
        Step::Inspect | Step::Preflight | Step::Backup | Step::Migrate | Step::Deploy | Step::Verify | Step::Switch => {
            true
        }
        // The end of a window; an attempt that goes on with the candidate for want of anything else ends in it, too.
        Step::Retire => before.step == Step::Watch,
        Step::Idle | Step::Approve | Step::Watch | Step::SwitchBack | Step::CleanUp => false,
    }
}

fn message(seen: &Observed, record: &Record, next: Step) -> String {
    let (name, version) = (&seen.release.name, &seen.release.spec.version);
    let version = record.candidate.as_ref().map_or(version, |candidate| &candidate.version);
    let serves = record.active.as_ref().map_or_else(
        || "Nothing of this Release serves users yet".to_owned(),
        |active| format!("{} serves users", active.version),
    );
    let spec = seen.release.spec.suspend.then(|| "spec.suspend is true: set it to false".to_owned());
    let person = record.suspended.as_ref().map(|suspended| {
        format!(
            "{} suspended it by Decision {}. Next: kubectl switchback resume {name}",
            suspended.actor, suspended.decision
        )
    });
    let why: Vec<String> = spec.into_iter().chain(person).collect();
    format!("Suspended before {} of {version}. {serves}. {}", next.as_str(), why.join(". "))
}
