//! How attempts end: by turning back, or by coming to rest; pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{observed::Observed, words},
    Move, Plan, Situation, abort, contract, enter, handover, health, later, note_time, report, switch,
};
use crate::api::{
    ActiveRevision, CandidateRevision, DecidedBy, Duration, Ending, FailureRecord, HistoryEntry, Outcome,
    PreviousRevision, Reason, Record, RevisionId, RollbackSettings, Step,
};

/// How many Decisions an entry of the history may have: as the schema has it.
const DECISIONS: usize = 16;

/// Why an attempt ends.
pub(super) struct Why {
    pub reason: Reason,
    pub message: String,
    pub outcome: Outcome,
}

/// Returns whether a Service was seen to point at the candidate; without Services, whether its workers work.
pub(super) fn moved(record: &Record) -> bool {
    // A Contract migration moves no traffic: its revision serves already.
    let candidate = record.candidate.as_ref().filter(|candidate| !candidate.contract);
    let candidate = candidate.map(|candidate| &candidate.revision);
    if record.traffic.is_empty() {
        // Nothing but workers.
        return record.workers.iter().any(|worker| worker.handed_over_at.is_some());
    }
    // Until a Service is moved, it says when the active revision got it.
    record.traffic.iter().any(|traffic| traffic.switched_at.is_some() && traffic.revision.as_ref() == candidate)
}

/// Turns back: what was made is removed, traffic goes back first when it may have moved.
pub(super) fn turn_back(mut record: Record, now: Timestamp, why: Why) -> Move {
    if moved(&record) && record.active.is_none() {
        // Traffic never points at nothing: without an earlier version the candidate keeps serving, and a fix can follow. What
        // has not moved yet points at nothing: it follows.
        let candidate = record.candidate.as_ref().map(|candidate| candidate.revision.clone());
        for traffic in record.traffic.iter_mut().filter(|traffic| traffic.revision.is_none()) {
            traffic.revision.clone_from(&candidate);
        }
        let message =
            format!("{} There is no earlier version to go back to; it keeps serving.", sentence(&why.message));
        let keep = RollbackSettings::default().keep_previous;
        return stay_on_candidate(record, now, keep, Why { message, outcome: Outcome::Failed, ..why });
    }
    let next = match record.step {
        // From here on a patch of a Service may be under way, so the Services are written once more.
        Step::Switch | Step::Watch => Step::SwitchBack,
        Step::Inspect | Step::Approve => {
            let wanted = record.candidate.as_ref().map(|candidate| candidate.revision.clone());
            return match wanted {
                Some(wanted) => come_to_rest(record, &wanted, (now, why)),
                None => enter(record, Step::Idle, now, None),
            };
        }
        Step::Idle
        | Step::Preflight
        | Step::Backup
        | Step::Rehearse
        | Step::Migrate
        | Step::Deploy
        | Step::Verify
        | Step::Retire
        | Step::Contract
        | Step::SwitchBack
        | Step::RestoreData
        | Step::CleanUp => Step::CleanUp,
    };
    record.ending = Some(Ending {
        reason: why.reason.as_str().to_owned(),
        message: why.message,
        outcome: why.outcome,
        from: record.step,
        at: MicroTime(now),
    });
    forget_watch(&mut record);
    enter(record, next, now, None)
}

/// Makes the candidate the active revision: it is proven, or there is nothing else that could serve.
pub(super) fn stay_on_candidate(mut record: Record, now: Timestamp, keep_previous: Duration, why: Why) -> Move {
    let Some(candidate) = record.candidate.take() else { return enter(record, Step::Idle, now, None) };
    record.previous = record.active.take().map(|active| PreviousRevision {
        revision: active.revision,
        version: active.version,
        attempt: active.attempt,
        generation: active.generation,
        content: active.content,
        keep_until: MicroTime(later(now, keep_previous)),
    });
    record.active = Some(ActiveRevision {
        revision: candidate.revision.clone(),
        version: candidate.version.clone(),
        attempt: candidate.attempt,
        generation: candidate.generation,
        since: MicroTime(now),
        content: candidate.content.clone(),
        approved_by: candidate.approved_by.clone(),
    });
    handover::take_over(&mut record);
    record.traffic.iter_mut().for_each(|traffic| traffic.pods_before = None);
    // What serves has not failed.
    record.failure = record.failure.take().filter(|failure| failure.revision != candidate.revision);
    record.outcome = Some(why.outcome);
    remember(&mut record, candidate, now, &why);
    forget_watch(&mut record);
    enter(record, Step::Retire, now, None)
}

/// Forgets what was noted while a version was watched.
fn forget_watch(record: &mut Record) {
    (record.unready_since, record.well_since) = (None, None);
    record.disrupted.clear();
}

/// Goes on with a way back that was begun and not remembered: a Service carries the fence of this attempt.
pub(super) fn begun(seen: &Observed, record: &Record) -> Option<Move> {
    let fence = record.candidate.as_ref()?.attempt.to_string();
    record.active.as_ref()?;
    let fenced = seen.services.iter().any(|service| service.ours && service.fence.as_deref() == Some(&fence));
    let message = "Traffic was taken back; why is not known: the controller ended before it could be remembered.";
    let why = Why { reason: Reason::RolledBack, message: message.to_owned(), outcome: Outcome::RolledBack };
    // It may have been a person who asked, whose Decision then was not remembered either.
    fenced.then(|| abort::begun(seen, record).unwrap_or_else(|| turn_back(record.clone(), seen.now, why)))
}

/// Stays on the candidate of a first release that turned back, when a Service is seen to point at it after all: the answer to
/// that patch was lost, and nothing had shown it yet.
pub(super) fn arrived(seen: &Observed, record: &Record) -> Option<Move> {
    let candidate = record.candidate.as_ref().filter(|_| record.active.is_none())?.revision.clone();
    let mut record = record.clone();
    switch::note_moved(seen, &candidate, &mut record);
    let why = why(&record);
    record.ending = None;
    moved(&record).then(|| turn_back(record, seen.now, why))
}

/// Returns why the attempt turned back.
pub(super) fn why(record: &Record) -> Why {
    record.ending.as_ref().map_or_else(
        || Why { reason: Reason::Aborted, message: "The attempt ended.".to_owned(), outcome: Outcome::Aborted },
        |ending| Why {
            reason: Reason::parse(&ending.reason),
            message: ending.message.clone(),
            outcome: ending.outcome,
        },
    )
}

/// Says why the attempt turned back, without its full stop.
pub(super) fn cause(record: &Record) -> &str {
    record.ending.as_ref().map_or("", |ending| ending.message.trim_end_matches('.'))
}

/// Says why the attempt turned back and what serves meanwhile.
pub(super) fn told(record: &Record) -> String {
    let cause = cause(record);
    let serves = match &record.active {
        Some(active) if record.step == Step::SwitchBack => format!("Traffic goes back to {}", active.version),
        Some(active) => format!("{}; what the attempt left is removed", words::serves(Some(&active.version))),
        None => "What the attempt left is removed".to_owned(),
    };
    format!("{cause}. {serves}.")
}

/// Ends the attempt under way and goes to rest.
pub(super) fn come_to_rest(mut record: Record, wanted: &RevisionId, (now, why): (Timestamp, Why)) -> Move {
    if contract::is_under_way(&record) {
        return contract::come_to_rest(record, now, &why);
    }
    if let Some(candidate) = record.candidate.take() {
        // What the spec asks for and had failed has not failed anew with a way back that a person asked for.
        let failed_before = record.failure.as_ref().is_some_and(|failure| failure.revision == *wanted);
        if keeps_failing(why.outcome) && (candidate.rollback.is_none() || !failed_before) {
            record.failure = Some(FailureRecord {
                revision: candidate.revision.clone(),
                outcome: why.outcome,
                reason: why.reason.as_str().to_owned(),
                message: why.message.clone(),
                at: record.ending.as_ref().map_or(MicroTime(now), |ending| ending.at.clone()),
            });
        }
        remember(&mut record, candidate, now, &why);
    }
    handover::forget(&mut record);
    record.outcome = Some(why.outcome);
    record.ending = None;
    forget_watch(&mut record);
    record.plan = None;
    enter(record, Step::Idle, now, None)
}

/// Writes an attempt that has ended into the history.
pub(super) fn remember(record: &mut Record, candidate: CandidateRevision, now: Timestamp, why: &Why) {
    note_time(record, now);
    let steps = std::mem::take(&mut record.steps);
    let of_it = |at: &MicroTime| at.0 >= candidate.since.0;
    let decided = record.decisions.iter().filter(|decision| of_it(&decision.at)).map(|decision| DecidedBy {
        kind: decision.kind.clone(),
        actor: decision.actor.clone(),
        decision: decision.name.clone(),
        at: decision.at.clone(),
    });
    let decided: Vec<DecidedBy> = decided.collect();
    // An attempt that began under an earlier version of ours has noted none.
    let taken = record.backup.as_ref().filter(|backup| of_it(&backup.taken_at));
    let backup = candidate.backup.clone().or_else(|| taken.map(|backup| backup.name.clone()));
    let entry = HistoryEntry {
        digest: record.plan.as_ref().map(|plan| plan.digest.clone()),
        // The first say why it began, the last why it ended.
        decisions: first_and_last(decided),
        source: candidate.source,
        backup,
        recorded: false,
        attempt: candidate.attempt,
        generation: candidate.generation,
        revision: candidate.revision,
        version: candidate.version,
        outcome: why.outcome,
        reason: why.reason.as_str().to_owned(),
        message: why.message.clone(),
        contract: candidate.contract,
        steps,
        content: candidate.content,
        started_at: candidate.since,
        ended_at: MicroTime(now),
    };
    report::keep(record, &entry);
    record.history.push(entry);
}

/// Returns no more Decisions than an entry may have.
fn first_and_last(mut decided: Vec<DecidedBy>) -> Vec<DecidedBy> {
    let last = decided.split_off(decided.len().min(DECISIONS / 2));
    let superfluous = last.len().saturating_sub(DECISIONS / 2);
    decided.extend(last.into_iter().skip(superfluous));
    decided
}

/// Returns whether an outcome keeps a revision from being tried again by itself.
const fn keeps_failing(outcome: Outcome) -> bool {
    match outcome {
        Outcome::RolledBack | Outcome::Failed | Outcome::Rejected | Outcome::Aborted => true,
        Outcome::Succeeded | Outcome::Superseded => false,
    }
}

/// Ends a text like a sentence.
pub(super) fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

/// Ends an attempt that cannot go on.
pub(super) fn failed(seen: &Observed, record: Record, (reason, message): (Reason, String)) -> Move {
    turn_back(record, seen.now, Why { reason, message, outcome: Outcome::Failed })
}

/// Ends an attempt whose spec was replaced before traffic moved.
pub(super) fn superseded(seen: &Observed, record: Record) -> Move {
    let wanted = &seen.release.spec.version;
    let message = if contract::is_under_way(&record) {
        format!("The spec changed to {wanted}; the Contract migration ends before it ran.")
    } else {
        format!("The spec changed to {wanted}; this attempt ends before traffic moved.")
    };
    turn_back(record, seen.now, Why { reason: Reason::Superseded, message, outcome: Outcome::Superseded })
}

/// Ends an attempt whose frozen content is gone: without it nothing of it can be continued.
pub(super) fn content_lost(seen: &Observed, record: Record) -> Move {
    let attempt = record.candidate.as_ref().map_or(0, |candidate| candidate.attempt);
    let name = super::super::manifests::attempt_name(&seen.release, attempt);
    let message = format!("ControllerRevision {name}, which holds what was approved, is gone: somebody deleted it.");
    let empty = |active: &&ActiveRevision| !health::back_is_possible(seen, &record, &active.revision);
    if let Some(active) = record.active.as_ref().filter(|_| moved(&record)).filter(empty) {
        // What serves needs no content for that.
        let (reason, nobody) = health::both_unhealthy(seen, &record, active);
        return Plan::stay(record, Situation::OnHold(reason, format!("{message} {nobody}"))).into();
    }
    let outcome = if moved(&record) { Outcome::RolledBack } else { Outcome::Failed };
    turn_back(record, seen.now, Why { reason: Reason::ContentLost, message, outcome })
}
