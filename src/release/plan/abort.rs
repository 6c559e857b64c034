//! Abort: a person stops the attempt under way; pure.

use super::{
    super::observed::Observed,
    Move, Plan, Situation, decisions,
    ending::{self, Why},
};
use crate::api::{DecisionKind, Outcome, Reason, Record};

/// Returns where to go when a person aborts; `None` when nobody does.
pub(super) fn check(seen: &Observed, record: &Record) -> Option<Move> {
    match decisions::find(seen, record, |kind| matches!(kind, DecisionKind::Abort(_))) {
        Ok(None) => None,
        Err(ask) => {
            let told = Situation::Working(Reason::Aborted, "A person aborts the attempt.".to_owned());
            Some(Plan { asks: vec![ask], ..Plan::stay(record.clone(), told) }.into())
        }
        Ok(Some(decision)) => {
            let mut record = record.clone();
            let message = format!("{} aborted the attempt by Decision {}.", decision.actor, decision.name);
            decisions::use_up(&mut record, decision, seen.now);
            Some(ending::turn_back(
                record,
                seen.now,
                Why { reason: Reason::Aborted, message, outcome: Outcome::Aborted },
            ))
        }
    }
}
