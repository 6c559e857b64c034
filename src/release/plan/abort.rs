//! Abort: a person stops the attempt under way, or takes it back; pure.

use super::{
    super::observed::{DecisionSeen, Observed},
    Move, Plan, Situation, decisions,
    ending::{self, Why},
};
use crate::api::{DecisionKind, Outcome, Reason, Record};

/// Returns where to go when a person aborts or rolls back; `None` when nobody does.
pub(super) fn check(seen: &Observed, record: &Record) -> Option<Move> {
    match decisions::find(seen, record, stops) {
        Ok(None) => None,
        Err(ask) => {
            let told = Situation::Working(Reason::Aborted, "A person stops the attempt.".to_owned());
            Some(Plan { asks: vec![ask], ..Plan::stay(record.clone(), told) }.into())
        }
        Ok(Some(decision)) => Some(stop(seen, record.clone(), decision)),
    }
}

/// Goes on with a way back that was begun and not remembered, for the person who asked for it; `None` when nobody did.
/// What has happened already asks nobody any more.
pub(super) fn begun(seen: &Observed, record: &Record) -> Option<Move> {
    decisions::counting(seen, record, stops).next().map(|decision| stop(seen, record.clone(), decision))
}

const fn stops(kind: &DecisionKind) -> bool {
    matches!(kind, DecisionKind::Abort(_) | DecisionKind::Rollback(_))
}

fn stop(seen: &Observed, mut record: Record, decision: &DecisionSeen) -> Move {
    let back = matches!(decision.kind, Some(DecisionKind::Rollback(_))) && ending::moved(&record);
    let (reason, outcome, did) = if back {
        (Reason::RolledBack, Outcome::RolledBack, "rolled back")
    } else {
        (Reason::Aborted, Outcome::Aborted, "aborted")
    };
    let message = format!("{} {did} the attempt by Decision {}.", decision.actor, decision.name);
    decisions::use_up(&mut record, decision, seen.now);
    ending::turn_back(record, seen.now, Why { reason, message, outcome })
}
