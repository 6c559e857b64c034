//! The last rehearsal of a migration: its Job while it runs or when it failed, and what was found when it passed; pure.

use jiff::Timestamp;
use serde::Serialize;

use super::{super::seen::Seen, ObjectView, RevisionView, State, database::in_order};
use crate::{
    api::RehearsalFindings,
    protocol::{Done, RehearseResult},
    release::plan_text::rehearsed,
};

/// The last rehearsal of a migration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RehearsalView {
    /// The revision whose migration it was.
    pub revision: String,
    /// Version text of that revision, when it is known.
    pub version: Option<String>,
    /// How it is.
    pub state: State,
    /// The same in words.
    pub says: String,
    /// What came of it.
    pub message: Option<String>,
    /// When it was seen to have passed.
    pub passed_at: Option<Timestamp>,
    /// What was found.
    pub findings: Option<RehearsalFindings>,
    /// Its Job.
    pub jobs: Vec<ObjectView>,
}

/// Returns the last rehearsal: the one whose Job is there, else the last that passed.
pub(super) fn of(seen: &Seen, revisions: &[RevisionView]) -> Option<RehearsalView> {
    let status = seen.release.status.as_ref()?;
    let newest =
        seen.jobs.iter().filter(|job| job.verb.as_deref() == Some(RehearseResult::VERB)).max_by_key(|job| job.created);
    let passed = status.record.rehearsal.as_ref();
    let digits = newest.map(|job| job.seen.revision.as_str()).or_else(|| passed.map(|it| it.revision.digits()))?;
    let known = revisions.iter().find(|known| known.revision.ends_with(digits));
    let ended = status.record.history.iter().rev().find(|entry| entry.revision.digits() == digits);
    let version = known.and_then(|known| known.version.clone()).or_else(|| ended.map(|entry| entry.version.clone()));
    let revision = known.map_or_else(|| digits.to_owned(), |known| known.revision.clone());
    let jobs = in_order(seen, newest.into_iter());
    // What is remembered may be of another revision, or of an earlier attempt, where the Job is the newer word.
    let open = jobs.first().filter(|job| job.state != State::Well);
    let passed = passed.filter(|it| it.revision.digits() == digits && open.is_none());
    let (state, says, message) = match (open.or(jobs.first()), passed) {
        (Some(job), None) if open.is_some() => (job.state, job.says.clone(), job.problem.clone()),
        (_, Some(it)) => {
            let found = format!("{}; restoring took {}", rehearsed(&it.findings), it.recovery);
            let state = if it.findings.reaches_production { State::Warning } else { State::Well };
            (state, "passed".to_owned(), Some(found))
        }
        (Some(_), None) => (State::Moving, "done".to_owned(), None),
        (None, None) => return None,
    };
    Some(RehearsalView {
        revision,
        version,
        state,
        says,
        message,
        passed_at: passed.map(|it| it.at.0),
        findings: passed.map(|it| it.findings.clone()),
        jobs,
    })
}
