//! Deletion: children go with their owners, so only the unowned `ControllerRevision`s and then our finalizer
//! have to be removed; pure.

use super::{
    super::{manifests::Kind, observed::Observed},
    Action, Plan, Situation,
};
use crate::api::Reason;

pub(super) fn plan(seen: &Observed) -> Plan {
    let told = Situation::Working(Reason::Deleting, "Removing everything that belongs to this Release.".to_owned());
    let mut plan = Plan { recheck: None, ..Plan::stay(seen.record().clone(), told) };
    if !seen.release.finalizer {
        return plan;
    }
    plan.actions = seen
        .attempts
        .iter()
        .map(|attempt| Action::delete(Kind::ControllerRevision, &attempt.name, &attempt.uid))
        .collect();
    if plan.actions.is_empty() {
        plan.actions.push(Action::RemoveFinalizer);
    }
    plan
}
