//! Preflight: facts may be old when an approval comes, so everything is inspected once more; then the content
//! is frozen and missing Services are made, which select nothing; pure.

use super::{
    super::{manifests, observed::Observed},
    Action, Move, Plan, Situation, abort, adopt, authors, candidate_content,
    checks::{self, Preflight},
    database::{self, Look},
    ending::{self, Why},
    enter,
    found::{self, Found},
    inspect::{self, Inspection},
    overdue,
    policies::Policies,
    proposal, recorded, rollback, still_wanted, when_recorded,
};
use crate::api::{Outcome, Reason, Record, ReleaseSpec, Step, labels};

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    let Some(candidate) = record.candidate.clone() else { return enter(record, Step::Idle, seen.now, None) };
    let frozen = seen.attempt(candidate.attempt);
    let Some(frozen) = frozen else {
        return match candidate.rollback {
            Some(_) => rollback::freeze(seen, record, &candidate),
            None => freeze(seen, record, candidate.attempt),
        };
    };
    if !still_wanted(seen, &record) {
        return ending::superseded(seen, record);
    }
    if let Some(turned) = abort::check(seen, &record) {
        return turned;
    }
    let Some(content) = candidate_content(seen, &record) else { return ending::content_lost(seen, record) };
    // Somebody who can write ControllerRevisions must not make A's approval run B.
    if content.revision() != candidate.revision {
        return ending::content_lost(seen, record);
    }
    if !is_approved(seen, &record, content) {
        return not_approved(seen, record);
    }
    if let Some(candidate) = &mut record.candidate {
        candidate.content = Some(frozen.uid.clone());
        candidate.source.clone_from(&content.source);
    }
    if let Some(next) = adopt::take(seen, &record) {
        return next;
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
    if !all_there {
        return Plan { actions: missing, ..Plan::stay(record, working()) }.into();
    }
    let content = content.clone();
    take_database(seen, record, &content)
}

/// Returns whether a content is the one that was approved: the plan's, or the one that served before.
fn is_approved(seen: &Observed, record: &Record, content: &ReleaseSpec) -> bool {
    if let Some(candidate) = record.candidate.as_ref().filter(|candidate| candidate.rollback.is_some()) {
        return rollback::content(seen, candidate) == Some(content);
    }
    let approved = record.plan.as_ref().map(|plan| plan.digest.as_str());
    approved == Some(proposal::digest_of(seen, record, content).as_str())
}

/// Ends an attempt whose content is not the approved one: because of what else an approval covers, or because somebody
/// wrote that content.
fn not_approved(seen: &Observed, record: Record) -> Move {
    let live = proposal::digest(seen, &record);
    if record.plan.as_ref().is_none_or(|plan| plan.digest == live) {
        return ending::content_lost(seen, record);
    }
    let message = "What was approved is not what would run now: a ReleasePolicy or the spec changed meanwhile. Nothing \
                   was released; its plan is made anew.";
    let why = Why { reason: Reason::ApprovalStale, message: message.to_owned(), outcome: Outcome::Superseded };
    ending::turn_back(record, seen.now, why)
}

/// Begins the step.
pub(super) fn begin(seen: &Observed, record: Record) -> Move {
    enter(record, Step::Preflight, seen.now, inspect::limit(&seen.release.spec))
}

/// Freezes what was approved; from here on the spec is not read again for this attempt.
fn freeze(seen: &Observed, mut record: Record, attempt: i64) -> Move {
    let approved = record.plan.as_ref().map(|plan| plan.digest.clone());
    let refused = Policies(&seen.policies).refuses(&seen.release.spec, seen.now).is_some();
    // Whoever approved may have become an author since.
    let authors = authors::of(seen, &record);
    let mut people = record.candidate.iter().flat_map(|candidate| &candidate.approved_by);
    let by_author = people.any(|name| authors.are_unknown() || authors.forbid(name).is_some());
    if !still_wanted(seen, &record) || refused || by_author || approved != Some(proposal::digest(seen, &record)) {
        return anew(seen, record);
    }
    if let Some(candidate) = &mut record.candidate {
        // No part of the revision: it may have been corrected.
        candidate.version.clone_from(&seen.release.spec.version);
        candidate.generation = seen.release.generation;
    }
    match inspect::look(seen, &record) {
        None => {}
        Some(Look::Seen(looked)) => {
            let before = record.database.replace(*looked);
            if approved != Some(proposal::digest(seen, &record)) {
                record.database = before;
                return anew(seen, record);
            }
        }
        Some(Look::Working(actions, asks, message)) => {
            if overdue(seen, &record) {
                return rest(seen, record, (Reason::DatabaseNotReady, message));
            }
            let actions = checks::beside(seen, &record, &seen.release.spec, actions);
            let told = Situation::Working(Reason::Preflight, message);
            return Plan { actions, asks, ..Plan::stay(record, told) }.into();
        }
        Some(Look::Refused(reason, message)) => return rest(seen, record, (reason, message)),
    }
    match found::look(seen, &record) {
        Found::Nothing => {}
        Found::Asking(asks) => return Plan { asks, ..Plan::stay(record, working()) }.into(),
        Found::Refused(reason, message) => return rest(seen, record, (reason, message)),
        Found::Here(now, _) => {
            if !record.adoption.as_ref().is_some_and(|known| adopt::is_same(known, &now)) {
                return anew(seen, record);
            }
        }
    }
    match checks::preflight(seen, &record, &seen.release.spec) {
        Preflight::Passed => {}
        Preflight::Working(_, message) if overdue(seen, &record) => {
            return rest(seen, record, (Reason::ChecksFailed, message));
        }
        Preflight::Working(actions, message) => {
            let told = Situation::Working(Reason::Preflight, message);
            return Plan { actions, ..Plan::stay(record, told) }.into();
        }
        Preflight::Refused(message) => return rest(seen, record, (Reason::ChecksFailed, message)),
    }
    match inspect::inspect(seen, &record) {
        Inspection::Asking(asks) => Plan { asks, ..Plan::stay(record, working()) }.into(),
        Inspection::Refused(reason, message) => rest(seen, record, (reason, message)),
        Inspection::Fine => {
            // What follows takes a moment: it is worth no word of its own.
            let told = Situation::Working(Reason::Preflight, inspect::last_told(seen).to_owned());
            let told = if recorded(seen, &record) { told } else { working() };
            let anchor = seen.anchor().is_none().then(|| manifests::anchor(&seen.release));
            let content = manifests::attempt(&seen.release, attempt, &seen.release.spec);
            let actions =
                anchor.into_iter().chain([content]).map(|manifest| Action::Create(Box::new(manifest))).collect();
            Plan { actions, ..Plan::stay(record, told) }.into()
        }
    }
}

/// Back to the beginning; the approval was for something else and is used up.
fn anew(seen: &Observed, mut record: Record) -> Move {
    record.plan = None;
    inspect::begin(seen, record)
}

/// Ends the attempt before anything was made.
fn rest(seen: &Observed, record: Record, (reason, message): (Reason, String)) -> Move {
    let why = Why { reason, message, outcome: Outcome::Failed };
    ending::come_to_rest(record, &seen.release.wanted, (seen.now, why))
}

/// Claims the database and has it marked when it was never marked; then the backup can begin.
pub(super) fn take_database(seen: &Observed, record: Record, content: &ReleaseSpec) -> Move {
    let Some((_, looked)) = database::of(content, &record) else {
        return enter(record, Step::Deploy, seen.now, Some(content.deadlines.deploy));
    };
    let name = &looked.name;
    let Some(instance) = seen.instance(name).filter(|instance| instance.uid == looked.uid) else {
        let message = format!("DatabaseInstance {name} is gone or is another one now.");
        return ending::failed(seen, record, (Reason::DatabaseNotFound, message));
    };
    match database::claimed_by_another(seen, instance) {
        Some(Look::Refused(reason, message)) => return ending::failed(seen, record, (reason, message)),
        Some(Look::Working(_, asks, _)) => return Plan { asks, ..Plan::stay(record, working()) }.into(),
        Some(Look::Seen(_)) | None => {}
    }
    if instance.claim().is_none_or(|claim| claim.release_uid != seen.release.uid) {
        let actions = when_recorded(seen, &record, Action::claim(instance));
        return Plan { actions, ..Plan::stay(record, working()) }.into();
    }
    if instance.is_marked() {
        return enter(record, Step::Backup, seen.now, Some(content.deadlines.backup));
    }
    if overdue(seen, &record) {
        let message = format!("DatabaseInstance {name} was not marked in time: {}", instance.problem());
        return ending::failed(seen, record, (Reason::NotMarked, message));
    }
    match database::mark(seen, &record, (content, instance)) {
        Look::Refused(reason, message) => ending::failed(seen, record, (reason, message)),
        Look::Working(actions, asks, message) => {
            let told = Situation::Working(Reason::Preflight, message);
            Plan { actions, asks, ..Plan::stay(record, told) }.into()
        }
        Look::Seen(_) => Plan::stay(record, working()).into(),
    }
}

fn working() -> Situation {
    Situation::Working(Reason::Preflight, "Inspecting once more, then freezing the approved content.".to_owned())
}
