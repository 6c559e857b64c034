//! Deletion: children go with their owners, so only the unowned `ControllerRevision`s and then our finalizer
//! have to be removed; pure.

use super::{
    super::{manifests::Kind, observed::Observed},
    Action, Plan, Situation,
};
use crate::api::{Reason, Record};

pub(super) fn plan(seen: &Observed, record: Record) -> Plan {
    let told = Situation::Working(Reason::Deleting, "Removing everything that belongs to this Release.".to_owned());
    let mut plan = Plan { recheck: None, ..Plan::stay(record, told) };
    if !seen.release.finalizer {
        return plan;
    }
    let contents =
        seen.attempts.iter().map(|attempt| Action::delete(Kind::ControllerRevision, &attempt.name, &attempt.uid));
    // Backups stay; they only must not wait for a Release that is gone.
    let backups = seen.backups.iter().filter(|backup| backup.is_held()).map(Action::let_go);
    plan.actions = contents.chain(backups).collect();
    if plan.actions.is_empty() {
        plan.actions.push(Action::RemoveFinalizer);
    }
    plan
}
