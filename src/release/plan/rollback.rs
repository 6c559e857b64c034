//! Rollback: a person asks for a revision that served before; pure.
//!
//! It is an attempt of its own, with the content that was frozen then: it comes up beside what serves, is verified,
//! switched to and watched. Its Decision is all the approval it needs, and no policy, spec or database stands in its
//! way: the database stays as it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        manifests,
        observed::{Ask, DecisionSeen, Observed},
    },
    Action, Move, Plan, Situation, decisions, ending, enter, recorded,
};
use crate::api::{
    ActiveRevision, CandidateRevision, DecisionKind, FailureRecord, HistoryEntry, Outcome, Reason, Record, ReleaseSpec,
    RevisionId, Rollback, RollbackOrder, Step, Withdrawal,
};

/// A revision that served before.
pub(super) struct Former {
    revision: RevisionId,
    version: String,
    /// Number of the attempt that holds its content.
    attempt: i64,
    /// Generation of the Release whose spec it was.
    generation: i64,
}

/// Returns the revision that a Decision asks for while nothing has happened yet, or why there is none.
pub(super) fn former(seen: &Observed, record: &Record, asked: &Rollback) -> Result<Former, (Reason, String)> {
    let none = |message: String| Err((Reason::NoSuchRevision, message));
    let Some(active) = &record.active else {
        return none("Nothing of this Release serves yet: there is nothing to go back from.".to_owned());
    };
    if asked.to.as_ref() == Some(&active.revision) {
        return none(format!("{} ({}) serves already.", active.version, active.revision));
    }
    if asked.to.is_none() && record.failure.is_some() {
        // Whoever decided this may have seen what had not gone back yet.
        return none(format!("The last attempt ended and {} serves: name the revision to go back to.", active.version));
    }
    let former = |revision: &RevisionId, version: &str, (attempt, generation): (i64, i64)| Former {
        revision: revision.clone(),
        version: version.to_owned(),
        attempt,
        generation,
    };
    let previous = record
        .previous
        .iter()
        .map(|last| (former(&last.revision, &last.version, (last.attempt, last.generation)), &last.content));
    let brought = |entry: &&HistoryEntry| entry.outcome == Outcome::Succeeded && !entry.contract;
    let served = record.history.iter().rev().filter(brought);
    let served = served
        .map(|entry| (former(&entry.revision, &entry.version, (entry.attempt, entry.generation)), &entry.content));
    let wanted = |revision: &RevisionId| match &asked.to {
        Some(to) => revision == to,
        None => *revision != active.revision,
    };
    // The content that served, not another one of the same revision: checks and sizes may differ.
    let kept = |(former, content): &(Former, &Option<String>)| {
        seen.attempt(former.attempt).is_some_and(|kept| content.as_ref().is_none_or(|uid| *uid == kept.uid))
    };
    let mut served: Vec<_> = previous.chain(served).filter(|(former, _)| wanted(&former.revision)).collect();
    let is_withdrawn = |former: &Former| record.withdrawn.as_ref().filter(|last| former.attempt < last.before);
    if let Some(at) = served.iter().position(|former| is_withdrawn(&former.0).is_none() && kept(former)) {
        return Ok(served.swap_remove(at).0);
    }
    let Some((former, _)) = served.first() else {
        if let Some((last, revision)) =
            record.withdrawn.as_ref().and_then(|last| Some((last, forgotten(last, asked, active)?)))
        {
            return Err((Reason::Withdrawn, withdrawn(&revision.to_string(), last)));
        }
        return none(match &asked.to {
            Some(to) => format!("{to} never served, or is forgotten: see status.history and spec.historyLimit."),
            None => "No earlier version is remembered: see status.history and spec.historyLimit.".to_owned(),
        });
    };
    let Former { revision, version, .. } = former;
    if let Some(last) = is_withdrawn(former) {
        return Err((Reason::Withdrawn, withdrawn(version, last)));
    }
    none(format!("The content of {version} ({revision}) is kept no longer."))
}

/// Returns the withdrawn revision that a Decision means and history has forgotten.
fn forgotten<'a>(last: &'a Withdrawal, asked: &Rollback, active: &ActiveRevision) -> Option<&'a RevisionId> {
    match &asked.to {
        Some(to) => last.revisions.iter().find(|revision| *revision == to),
        // The version before the active one.
        None => last.revisions.first().filter(|_| last.before == active.attempt),
    }
}

/// Says why a version cannot be gone back to.
fn withdrawn(version: &str, last: &Withdrawal) -> String {
    format!(
        "{version} is withdrawn: the Contract migration of {}, at {} UTC, made a schema that {version} is declared not to \
         work on. The way is forward: release a fix.",
        last.version,
        last.at.0.strftime("%F %H:%M:%S")
    )
}

/// Begins a way back that a person asked for while nothing has happened yet; `None` when nobody did.
pub(super) fn check(seen: &Observed, record: &Record) -> Result<Option<Move>, Ask> {
    let found = decisions::find(seen, record, |kind| matches!(kind, DecisionKind::Rollback(_)))?;
    let Some((decision, Some(DecisionKind::Rollback(asked)))) =
        found.map(|decision| (decision, decision.kind.as_ref()))
    else {
        return Ok(None);
    };
    Ok(former(seen, record, asked).ok().map(|former| begin(seen, record.clone(), former, decision)))
}

fn begin(seen: &Observed, mut record: Record, former: Former, decision: &DecisionSeen) -> Move {
    let order =
        RollbackOrder { attempt: former.attempt, actor: decision.actor.clone(), decision: decision.name.clone() };
    record.attempts = next_attempt(seen, &record);
    record.candidate = Some(CandidateRevision {
        revision: former.revision,
        version: former.version,
        attempt: record.attempts,
        generation: former.generation,
        since: MicroTime(seen.now),
        content: None,
        approved_by: vec![decision.actor.clone()],
        source: None,
        images: vec![],
        rollback: Some(order),
        contract: false,
        backup: None,
        beside_broken: false,
    });
    record.plan = None;
    record.hooks.clear();
    record.steps.clear();
    record.database = None;
    decisions::use_up(&mut record, decision, seen.now);
    enter(record, Step::Preflight, seen.now, None)
}

/// Returns the number of the next attempt.
pub(super) fn next_attempt(seen: &Observed, record: &Record) -> i64 {
    // The record may have been lost with a restored cluster while the ControllerRevisions were not.
    let newest = seen.attempts.iter().map(|attempt| attempt.number).max().unwrap_or(0);
    record.attempts.max(newest) + 1
}

/// Returns the content to go back to, as long as it is the one that served.
pub(super) fn content<'a>(seen: &'a Observed, candidate: &CandidateRevision) -> Option<&'a ReleaseSpec> {
    let content = seen.contents.get(&candidate.rollback.as_ref()?.attempt)?;
    (content.revision() == candidate.revision).then_some(content.as_ref())
}

/// Freezes the content anew, for this attempt.
pub(super) fn freeze(seen: &Observed, record: Record, candidate: &CandidateRevision) -> Move {
    let told = Situation::Working(Reason::Preflight, format!("Going back to {}.", candidate.version));
    if !recorded(seen, &record) {
        // Contents are read for the record as it was read.
        return Plan::stay(record, told).into();
    }
    let Some(content) = content(seen, candidate) else { return ending::content_lost(seen, record) };
    let anchor = seen.anchor().is_none().then(|| manifests::anchor(&seen.release));
    let content = manifests::attempt(&seen.release, candidate.attempt, content);
    let actions = anchor.into_iter().chain([content]).map(|manifest| Action::Create(Box::new(manifest))).collect();
    Plan { actions, ..Plan::stay(record, told) }.into()
}

/// Remembers, when the way back has come to its end, that what the spec asks for was left on purpose: it is not tried
/// again by itself.
pub(super) fn left(seen: &Observed, record: &mut Record) {
    let Some(candidate) = &record.candidate else { return };
    let (Some(order), wanted) = (&candidate.rollback, &seen.release.wanted) else { return };
    let was_tried = record.active.as_ref().is_some_and(|active| active.revision == *wanted)
        || record.failure.as_ref().is_some_and(|failure| failure.revision == *wanted);
    if was_tried && candidate.revision != *wanted {
        record.failure = Some(FailureRecord {
            revision: wanted.clone(),
            outcome: Outcome::RolledBack,
            reason: Reason::RolledBack.as_str().to_owned(),
            message: format!("{} asked for it by Decision {}", order.actor, order.decision),
            at: MicroTime(seen.now),
        });
    }
}
