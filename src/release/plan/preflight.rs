//! Preflight: facts may be old when an approval comes, so everything is inspected once more; then the content
//! is frozen and missing Services are made, which select nothing; pure.

use super::{
    super::{manifests, observed::Observed},
    Action, Move, Plan, Situation, abort, candidate_content,
    ending::{self, Why},
    enter,
    inspect::{self, Inspection},
    proposal, still_wanted,
};
use crate::api::{Outcome, Reason, Record, Step, labels};

pub(super) fn plan(seen: &Observed, record: Record) -> Move {
    let Some(candidate) = record.candidate.clone() else { return enter(record, Step::Idle, seen.now, None) };
    let frozen = seen.attempt(candidate.attempt).is_some();
    if !frozen {
        return freeze(seen, record, candidate.attempt);
    }
    if !still_wanted(seen, &record) {
        return ending::superseded(seen, record);
    }
    if let Some(turned) = abort::check(seen, &record) {
        return turned;
    }
    let Some(content) = candidate_content(seen, &record) else { return ending::content_lost(seen, record) };
    // Somebody who can write ControllerRevisions must not make A's approval run B.
    let approved = record.plan.as_ref().map(|plan| plan.digest.as_str());
    if content.revision() != candidate.revision
        || approved != Some(proposal::digest_of(&seen.release, content).as_str())
    {
        return ending::content_lost(seen, record);
    }
    let missing: Vec<Action> = content
        .services()
        .filter(|(_, service)| seen.service(&service.name).is_none())
        // What the active revision has is made again by upkeep, pointing where it pointed.
        .filter(|(_, service)| !record.traffic.iter().any(|traffic| traffic.service == service.name))
        .map(|pair| manifests::active_service(&seen.release, pair, labels::NO_REVISION, seen.anchor()))
        .map(|manifest| Action::Create(Box::new(manifest)))
        .collect();
    let all_there = content.services().all(|(_, service)| seen.service(&service.name).is_some());
    if all_there {
        return enter(record, Step::Deploy, seen.now, Some(content.deadlines.deploy));
    }
    Plan { actions: missing, ..Plan::stay(record, working()) }.into()
}

/// Freezes what was approved; from here on the spec is not read again for this attempt.
fn freeze(seen: &Observed, mut record: Record, attempt: i64) -> Move {
    let approved = record.plan.as_ref().map(|plan| plan.digest.clone());
    if !still_wanted(seen, &record) || approved != Some(proposal::digest(seen)) {
        // Back to the beginning; the approval was for something else and is used up.
        record.plan = None;
        return enter(record, Step::Inspect, seen.now, None);
    }
    match inspect::inspect(seen, &record) {
        Inspection::Asking(asks) => Plan { asks, ..Plan::stay(record, working()) }.into(),
        Inspection::Refused(reason, message) => {
            ending::come_to_rest(record, seen.now, Why { reason, message, outcome: Outcome::Failed })
        }
        Inspection::Fine => {
            let anchor = seen.anchor().is_none().then(|| manifests::anchor(&seen.release));
            let content = manifests::attempt(&seen.release, attempt, &seen.release.spec);
            let actions =
                anchor.into_iter().chain([content]).map(|manifest| Action::Create(Box::new(manifest))).collect();
            Plan { actions, ..Plan::stay(record, working()) }.into()
        }
    }
}

fn working() -> Situation {
    Situation::Working(Reason::Preflight, "Inspecting once more, then freezing the approved content.".to_owned())
}
