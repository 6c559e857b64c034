//! Abort: a person stops the attempt under way, or takes it back; pure.

use super::{
    super::observed::Observed,
    Move, Plan, Situation, decisions,
    ending::{self, Why},
};
use crate::api::{DecisionKind, Outcome, Reason, Record};

/// Returns where to go when a person aborts or rolls back; `None` when nobody does.
pub(super) fn check(seen: &Observed, record: &Record) -> Option<Move> {
    let stops = |kind: &DecisionKind| matches!(kind, DecisionKind::Abort(_) | DecisionKind::Rollback(_));
    match decisions::find(seen, record, stops) {
        Ok(None) => None,
        Err(ask) => {
            let told = Situation::Working(Reason::Aborted, "A person stops the attempt.".to_owned());
            Some(Plan { asks: vec![ask], ..Plan::stay(record.clone(), told) }.into())
        }
        Ok(Some(decision)) => {
            let mut record = record.clone();
            let back = matches!(decision.kind, Some(DecisionKind::Rollback(_))) && ending::moved(&record);
            let (reason, outcome, did) = if back {
                (Reason::RolledBack, Outcome::RolledBack, "rolled back")
            } else {
                (Reason::Aborted, Outcome::Aborted, "aborted")
            };
            let message = format!("{} {did} the attempt by Decision {}.", decision.actor, decision.name);
            decisions::use_up(&mut record, decision, seen.now);
            Some(ending::turn_back(record, seen.now, Why { reason, message, outcome }))
        }
    }
}
