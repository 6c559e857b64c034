//! Contract: a migration that the version before does not work on, once nothing of that runs; pure.
//!
//! It is an attempt of its own, of the revision that serves. Here it begins: the database is looked at once more, the
//! content is frozen, and what was kept of earlier versions goes (`contract/withdraw.rs`). Then it is backed up, rehearsed
//! and migrated by the same steps as any other migration. Before, it waits at rest and holds nothing
//! (`contract/gate.rs`). Whatever becomes of it, the version that serves goes on serving.

mod gate;
mod withdraw;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{manifests, observed::Observed},
    Action, Move, Plan, Situation, abort, authors, candidate_content,
    database::{self, Look},
    ending::{self, Why},
    enter,
    inspect::{self, Inspection},
    later, migrate, overdue,
    policies::Policies,
    preflight, proposal, still_wanted, when_recorded,
};
use crate::{
    agent_job::targets,
    api::{
        Change, ContractProgress, ContractRecord, DatabaseRecord, MigrationProgress, Outcome, Reason, Record,
        ReleaseSpec, RevisionId, Step, Withdrawal,
    },
};

/// How many revisions are remembered that cannot be gone back to: more than history ever holds.
const EARLIER: usize = 64;

pub(super) use gate::{Rest, approve, at_rest, reject, wait_again};
pub(super) use withdraw::{Waits, may_not_run};

/// Returns whether the attempt under way runs a Contract migration.
#[must_use]
pub fn is_under_way(record: &Record) -> bool {
    record.candidate.as_ref().is_some_and(|candidate| candidate.contract)
}

/// Returns whether a Contract migration waits.
pub(super) fn is_open(record: &Record) -> bool {
    record.contract.as_ref().is_some_and(ContractRecord::is_open)
}

/// Returns whether a person has rejected the one of what serves.
pub(super) fn is_rejected(record: &Record) -> bool {
    record.contract.as_ref().is_some_and(|contract| contract.state == ContractProgress::Rejected)
}

/// Returns whether the one that waits does so for this reason.
pub(super) fn waits_for(record: &Record, reason: Reason) -> bool {
    // While another attempt is under way it waits for the end of that, whatever it waited for before.
    let waits = record.contract.as_ref().filter(|contract| record.step == Step::Idle && contract.is_open());
    waits.is_some_and(|contract| contract.reason == reason.as_str())
}

/// Remembers, of an attempt that came through, the migration that is left to be done, in place of the one before it.
/// Returns what is to be said of that.
pub(super) fn follows(seen: &Observed, record: &mut Record, content: &ReleaseSpec) -> String {
    if let Some(last) = &mut record.withdrawn {
        // It has come through on the schema as it is.
        let revision = content.revision();
        last.revisions.retain(|withdrawn| *withdrawn != revision);
    }
    let before = record.contract.take().filter(|before| before.state != ContractProgress::Applied);
    // A way back changes no schema.
    let candidate = record.candidate.as_ref().filter(|candidate| candidate.rollback.is_none());
    let looked =
        database::of(content, record).filter(|(database, _)| database.migration_of(Change::Contract).is_some());
    let looked = looked.map(|(_, looked)| looked).filter(|looked| looked.pending.is_some());
    let (Some(candidate), Some(looked)) = (candidate, looked) else {
        let dropped = |before: ContractRecord| {
            format!(" The Contract migration of {} had not been applied and is dropped.", before.version)
        };
        return before.filter(ContractRecord::is_open).map(dropped).unwrap_or_default();
    };
    let served = record.active.as_ref().map_or(0, |active| active.generation);
    let mut earlier = vec![];
    let tried = record.history.iter().rev().map(|entry| &entry.revision);
    let known = before.iter().flat_map(|before| &before.earlier);
    let all = record.active.iter().map(|active| &active.revision).chain(tried).chain(known);
    remember(&mut earlier, all.filter(|revision| **revision != candidate.revision));
    record.contract = Some(ContractRecord {
        revision: candidate.revision.clone(),
        version: candidate.version.clone(),
        state: ContractProgress::Pending,
        reason: Reason::ContractPending.as_str().to_owned(),
        message: "Its plan is being made.".to_owned(),
        since: MicroTime(seen.now),
        // Whoever wrote what waited so far, or was rejected, is an author of what waits now.
        authors_after: before.map_or(served, |before| before.authors_after.min(served)),
        database: marked(seen, looked),
        plan: None,
        earlier,
        last: None,
    });
    " Its Contract migration waits for an approval of its own.".to_owned()
}

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    if !still_wanted(seen, &record) {
        return ending::superseded(seen, record);
    }
    if let Some(turned) = abort::check(seen, &record) {
        return turned;
    }
    let attempt = record.candidate.as_ref().map_or(0, |candidate| candidate.attempt);
    let Some(frozen) = seen.attempt(attempt) else { return freeze(seen, record, attempt) };
    let Some(content) = candidate_content(seen, &record).cloned() else { return ending::content_lost(seen, record) };
    if !is_approved(seen, &record, &content) {
        // A policy may have changed; else somebody else wrote that content.
        let stale = !is_approved(seen, &record, &seen.release.spec);
        return if stale { anew(seen, record, None) } else { ending::content_lost(seen, record) };
    }
    if let Some(candidate) = record.candidate.as_mut().filter(|candidate| candidate.content.is_none()) {
        candidate.content = Some(frozen.uid.clone());
        // From here on pods are waited for, as long as a release may wait for its own.
        record.deadline = Some(MicroTime(later(seen.now, content.deadlines.deploy)));
        candidate.source.clone_from(&content.source);
    }
    if let Some(waits) = withdraw::previous(seen, &mut record) {
        return waits;
    }
    preflight::take_database(seen, record, &content)
}

/// Returns the number of the last attempt of the one that waits or runs, when one has ended.
fn last(record: &Record) -> Option<i64> {
    record.contract.as_ref()?.last
}

/// Returns whether a content is the one that was approved.
fn is_approved(seen: &Observed, record: &Record, content: &ReleaseSpec) -> bool {
    let Some(looked) = &record.database else { return false };
    let approved = record.plan.as_ref().map(|plan| plan.digest.as_str());
    let of_revision = record.candidate.as_ref().is_some_and(|candidate| candidate.revision == content.revision());
    let digest = proposal::contract::digest(seen, content, (looked, last(record)));
    of_revision && approved == Some(digest.as_str())
}

/// Looks once more, since the approval may be days old, and freezes the content.
fn freeze(seen: &Observed, mut record: Record, attempt: i64) -> Move {
    let spec = &seen.release.spec;
    let refused = Policies(&seen.policies).refuses(spec, seen.now).is_some();
    // Whoever approved may have become an author since.
    let authors = authors::since(seen, &record, record.contract.as_ref().map_or(0, |contract| contract.authors_after));
    let mut people = record.candidate.iter().flat_map(|candidate| &candidate.approved_by);
    let by_author = people.any(|name| authors.are_unknown() || authors.forbid(name).is_some());
    if refused || by_author || !is_approved(seen, &record, spec) {
        return anew(seen, record, None);
    }
    match inspect::look(seen, &record) {
        None => return ending::content_lost(seen, record),
        Some(Look::Seen(looked)) if looked.pending.is_none() => return applied(seen, record),
        Some(Look::Seen(looked)) => {
            record.database = Some((*looked).clone());
            if !is_approved(seen, &record, spec) {
                return anew(seen, record, Some(*looked));
            }
        }
        Some(Look::Working(_, _, message)) if overdue(seen, &record) => {
            let limit = spec.deadlines.inspect;
            let message = format!("It was not known within {limit} whether the database can be used: {message}");
            return ending::failed(seen, record, (Reason::DatabaseNotReady, message));
        }
        Some(Look::Working(actions, asks, message)) => {
            let situation = working(&record, &message);
            return Plan { actions, asks, ..Plan::stay(record, situation) }.into();
        }
        Some(Look::Refused(reason, message)) => return ending::failed(seen, record, (reason, message)),
    }
    match inspect::migration(seen, &record) {
        Inspection::Asking(asks) => {
            let situation = working(&record, "Asking the API server for its Job.");
            Plan { asks, ..Plan::stay(record, situation) }.into()
        }
        Inspection::Refused(reason, message) => ending::failed(seen, record, (reason, message)),
        Inspection::Fine => {
            let content = manifests::attempt(&seen.release, attempt, spec);
            let actions = when_recorded(seen, &record, Action::Create(Box::new(content)));
            let situation = working(&record, "Freezing what was approved.");
            Plan { actions, ..Plan::stay(record, situation) }.into()
        }
    }
}

/// Goes back to rest: what was approved is not what would run, so it waits with a new plan for another approval.
fn anew(seen: &Observed, mut record: Record, looked: Option<DatabaseRecord>) -> Move {
    if let Some(contract) = &mut record.contract {
        contract.state = ContractProgress::Pending;
        contract.reason = Reason::ApprovalStale.as_str().to_owned();
        contract.plan = None;
        contract.database = looked.unwrap_or_else(|| contract.database.clone());
    }
    record.candidate = None;
    record.plan = None;
    enter(record, Step::Idle, seen.now, None)
}

/// The ledger says applied.
pub(super) fn applied(seen: &Observed, record: Record) -> Move {
    let version = record.active.as_ref().map_or("", |active| active.version.as_str());
    let message =
        format!("The Contract migration of {version} is applied; what served before it is withdrawn for good.");
    let why = Why { reason: Reason::Migrated, message, outcome: Outcome::Succeeded };
    come_to_rest(record, seen.now, &why)
}

/// Ends the attempt, well or badly: what serves has not changed by it, so nothing of that counts as failed.
pub(super) fn come_to_rest(mut record: Record, now: Timestamp, why: &Why) -> Move {
    if may_have_begun(&record, why)
        && let Some(active) = &record.active
    {
        let (before, version) = (active.attempt, active.version.clone());
        let mut revisions = record.contract.as_ref().map_or(vec![], |contract| contract.earlier.clone());
        remember(&mut revisions, record.withdrawn.iter().flat_map(|last| &last.revisions));
        revisions.retain(|revision| *revision != active.revision);
        record.withdrawn = Some(Withdrawal { before, version, at: MicroTime(now), revisions });
        record.previous = None;
    }
    let succeeded = why.outcome == Outcome::Succeeded;
    if let Some(contract) = &mut record.contract {
        contract.state = if succeeded { ContractProgress::Applied } else { ContractProgress::Failed };
        contract.reason = why.reason.as_str().to_owned();
        contract.message.clone_from(&why.message);
        // An approval that was left over from before was not given for another run.
        contract.since = MicroTime(now);
        contract.last = record.candidate.as_ref().map(|candidate| candidate.attempt);
    }
    if let Some(candidate) = record.candidate.take() {
        ending::remember(&mut record, candidate, now, why);
    }
    record.ending = None;
    record.plan = None;
    enter(record, Step::Idle, now, None)
}

/// Returns what was seen of a database before it was marked as it would be seen now.
fn marked(seen: &Observed, looked: &DatabaseRecord) -> DatabaseRecord {
    let instance = seen.instance(&looked.name).filter(|instance| migrate::is_approved(instance, looked));
    let identity = instance.and_then(|instance| instance.status.identity.as_ref());
    let fingerprint = identity.map_or_else(|| looked.fingerprint.clone(), targets::fingerprint);
    DatabaseRecord { fingerprint, ..looked.clone() }
}

/// Adds revisions to those that are known.
fn remember<'a>(known: &mut Vec<RevisionId>, more: impl Iterator<Item = &'a RevisionId>) {
    for revision in more {
        if known.len() < EARLIER && !known.contains(revision) {
            known.push(revision.clone());
        }
    }
}

/// Returns whether the schema may be another one now.
fn may_have_begun(record: &Record, why: &Why) -> bool {
    let migrated = record.ending.as_ref().is_some_and(|ending| ending.from == Step::Migrate);
    let state = record.migration.as_ref().map(|migration| migration.state);
    why.outcome == Outcome::Succeeded || (migrated && state.is_some_and(|state| state != MigrationProgress::NotStarted))
}

fn working(record: &Record, what: &str) -> Situation {
    let version = record.active.as_ref().map_or("", |active| active.version.as_str());
    let message = format!("The Contract migration of {version} begins. {what} {version} serves on.");
    Situation::Working(Reason::Contracting, message)
}
