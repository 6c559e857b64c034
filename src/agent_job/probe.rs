//! The Job that looks, again and again until all is well: what comes next; pure.
//!
//! ```text
//!   spec changed ──▶ begin ──▶ make ──▶ (note UID, resume: Jobs that write) ──▶ wait ──▶ ended
//!                      ▲                                                                   │
//!                      └──────────────── after a while, unless all is well ────────────────┘
//! ```

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::Value;

use super::seen::{AgentJobSeen, Said};
use crate::{
    api::{Probing, Reason},
    protocol::{DatabaseFacts, Done, InspectResult, Refusal, Word},
};

/// Wait after the first look that was not what was hoped for, in seconds.
const FIRST_SECONDS: i64 = 10;
/// Longest such wait, in seconds: nobody watches, and a Job each time.
const LONGEST_SECONDS: i64 = 900;
/// Doublings until then.
const DOUBLINGS: i32 = 7;

/// The command of the first look.
pub const INSPECT: &str = InspectResult::VERB;
/// The command that writes the marker.
pub const MARK: &str = DatabaseFacts::VERB;

/// What is known of the looks at one object.
#[derive(Debug, Clone, Copy)]
pub struct Looks<'a> {
    /// The present time.
    pub now: Timestamp,
    /// UID of the object.
    pub uid: &'a str,
    /// Generation of its spec.
    pub generation: i64,
    /// What status remembers.
    pub record: Option<&'a Probing>,
    /// Jobs that look at it, among others.
    pub jobs: &'a [AgentJobSeen],
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// Remember this; the Job is made when it stands in the status.
    Remember(Probing),
    /// Make the Job of this look.
    Make,
    /// Let the Job begin.
    Resume(String),
    /// Wait for the Job.
    Wait {
        /// Why its pod does not run.
        problem: Option<String>,
        /// When to look again without an event.
        until: Option<Timestamp>,
    },
    /// The Job has ended, with its result or without.
    Ended(Result<Value, Refusal>),
    /// Nothing is under way; the next look is due then.
    Rest(Option<Timestamp>),
}

impl Looks<'_> {
    /// Returns what comes next. `name` makes the name of a look's Job.
    #[must_use]
    pub fn turn(&self, name: impl Fn(&Probing) -> String) -> Turn {
        let Some(record) = self.record else { return Turn::Remember(self.next(INSPECT, 0)) };
        let outdated = record.generation != self.generation;
        if record.ended_at.is_some() {
            return match self.due(record) {
                _ if outdated => Turn::Remember(self.next(INSPECT, 0)),
                Some(due) if self.now >= due => Turn::Remember(self.next(&record.verb, record.failures)),
                due => Turn::Rest(due),
            };
        }
        // A Job that writes is waited for; one that only looks is of no use for another spec.
        if outdated && record.verb == INSPECT {
            return Turn::Remember(self.next(INSPECT, 0));
        }
        let name = name(record);
        let job = self.ours().find(|job| job.name == name && !job.deleting);
        match (job, &record.job) {
            (None, None) => Turn::Make,
            (None, Some(_)) => Turn::Ended(lost(format!("Job {name} is gone"))),
            (Some(job), None) if job.suspended => {
                Turn::Remember(Probing { job: Some(job.uid.clone()), ..record.clone() })
            }
            (Some(job), Some(noted)) if *noted != job.uid => {
                Turn::Ended(lost(format!("Job {name} is another one of the same name")))
            }
            (Some(job), Some(_)) if job.suspended => Turn::Resume(job.uid.clone()),
            (Some(job), _) => match job.left::<Value>(self.now) {
                Said::NotYet { problem, until } => Turn::Wait { problem, until },
                Said::Result(result) => Turn::Ended(Ok(result)),
                Said::Lost(why) => Turn::Ended(lost(why)),
            },
        }
    }

    /// Returns the record of the look that follows.
    #[must_use]
    pub fn next(&self, verb: &str, failures: i32) -> Probing {
        Probing {
            number: self.record.map_or(0, |record| record.number).saturating_add(1),
            generation: self.generation,
            verb: verb.to_owned(),
            job: None,
            failures,
            ended_at: None,
        }
    }

    /// Returns the record of the present look as one that has ended.
    #[must_use]
    pub fn ended(&self, well: bool) -> Option<Probing> {
        let record = self.record?;
        let failures = if well { 0 } else { record.failures.saturating_add(1) };
        Some(Probing { ended_at: Some(MicroTime(self.now)), failures, ..record.clone() })
    }

    /// Returns the Jobs of former looks, which nobody needs any more.
    pub fn former(&self, name: impl Fn(&Probing) -> String) -> impl Iterator<Item = &AgentJobSeen> {
        let present = self.record.map(name);
        self.ours().filter(move |job| present.as_ref() != Some(&job.name) && !job.deleting)
    }

    fn ours(&self) -> impl Iterator<Item = &AgentJobSeen> {
        self.jobs
            .iter()
            .filter(|job| job.owner.as_deref() == Some(self.uid) && [INSPECT, MARK].contains(&job.verb.as_str()))
    }

    fn due(&self, record: &Probing) -> Option<Timestamp> {
        let ended = record.ended_at.as_ref()?.0;
        let doubled = FIRST_SECONDS << (record.failures - 1).clamp(0, DOUBLINGS);
        let wait = SignedDuration::from_secs(doubled.min(LONGEST_SECONDS));
        (record.failures > 0).then(|| ended.saturating_add(wait).unwrap_or(Timestamp::MAX))
    }
}

/// Reads a result.
///
/// # Errors
/// [`Reason::JobLost`] when it is none of that form: one of another version, or somebody else's.
pub fn read<W: Word>(result: Value) -> Result<W, Refusal> {
    serde_json::from_value(result).map_err(|error| Refusal {
        reason: Reason::JobLost,
        message: format!("The agent's result cannot be read: {error}"),
    })
}

fn lost(message: String) -> Result<Value, Refusal> {
    Err(Refusal { reason: Reason::JobLost, message })
}
