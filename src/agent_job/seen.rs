//! What was seen of the agent's Jobs, as plain data.

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use crate::{
    api::{Reason, clamp},
    protocol::Word,
};

/// How long a finished Job's pod may take to be seen finished as well: two watches tell of them.
const LATE: SignedDuration = SignedDuration::from_secs(10);

/// A Job of the agent, with what its newest pod says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentJobSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// What the agent does in it.
    pub verb: String,
    /// UID of the object of ours that controls it.
    pub owner: Option<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether it waits to be resumed.
    pub suspended: bool,
    /// Whether it has ended, and how the Job controller says so.
    pub ended: Option<JobEnd>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What the agent left as its result.
    pub message: Option<String>,
    /// Why its pod does not run.
    pub problem: Option<String>,
}

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// When.
    pub at: Timestamp,
    /// Why the Job controller calls it failed; `None` when it is complete.
    pub failure: Option<String>,
}

/// What a Job has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Said<T> {
    /// It has not ended, or its pod was not seen to; why it does not run, and when to look again without an event.
    NotYet {
        /// Why its pod does not run.
        problem: Option<String>,
        /// When to look again.
        until: Option<Timestamp>,
    },
    /// What the agent left.
    Result(T),
    /// It ended and the agent left nothing that can be read.
    Lost(String),
}

impl AgentJobSeen {
    /// Returns what the Job has to say. A result counts when the Job has ended: until then another pod may come.
    #[must_use]
    pub fn said<W: Word>(&self, now: Timestamp) -> Said<W> {
        self.left(now)
    }

    /// The same, where what it was asked for is known elsewhere.
    pub(super) fn left<T: DeserializeOwned>(&self, now: Timestamp) -> Said<T> {
        let Some(end) = &self.ended else {
            return Said::NotYet { problem: self.problem.clone(), until: None };
        };
        if let Some(result) = self.message.as_deref().and_then(|text| serde_json::from_str(text).ok()) {
            return Said::Result(result);
        }
        let late = end.at.saturating_add(LATE).unwrap_or(now);
        if self.message.is_none() && now < late {
            return Said::NotYet { problem: None, until: Some(late) };
        }
        let why = [end.failure.as_deref(), self.problem.as_deref(), self.message.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ");
        Said::Lost(clamp(&format!("Job {} ended without a result. {why}", self.name)).trim_end().to_owned())
    }
}

/// Whether the same may go well a little later, without anybody changing anything.
#[must_use]
pub const fn passes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::YieldedToDDL
            | Reason::DatabaseBusy
            | Reason::LockTimeout
            | Reason::DatabaseUnreachable
            | Reason::JobLost
    )
}
