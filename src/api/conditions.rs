//! Conditions as kstatus reads them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::Reason;

/// Longest message, in bytes: what people read on one screen.
const MESSAGE_BYTES: usize = 1024;

/// Types of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum ConditionType {
    /// The spec's revision serves and is well.
    Ready,
    /// Something moves, or waits for a person by plan.
    Reconciling,
    /// Nothing moves until somebody changes the spec or decides.
    Stalled,
    /// Users are served, by which revision.
    Serving,
    /// An attempt has ended, well or badly.
    Finished,
    /// The plan in status has the approval it needs.
    Approved,
    /// What was approved was inspected once more, and is frozen.
    PreflightPassed,
    /// The backup that the attempt asked for is stored and proven.
    BackedUp,
    /// The attempt's migration passed on a restored copy of the data.
    Rehearsed,
    /// The ledger says that the attempt's migration was applied.
    Migrated,
    /// The candidate is up, at full size and proven in the preview endpoints.
    CandidateReady,
    /// All verify checks of the candidate passed.
    Verified,
    /// Traffic is on the candidate.
    Switched,
    /// Somebody else writes the selector of a Service.
    TrafficContested,
    /// A Contract migration of what serves has not been applied.
    ContractPending,
    /// A database answers.
    Reachable,
    /// A database is the one that was accepted.
    IdentityCertain,
    /// A backup is stored and proven as far as was asked.
    Complete,
    /// Something depends on an object that is being deleted.
    InUse,
}

impl ConditionType {
    /// Returns the type as conditions carry it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One condition, in the form all Kubernetes tools read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is spoken of.
    #[serde(rename = "type")]
    #[schemars(length(max = 64))]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(length(max = 8))]
    pub status: String,
    /// One word for machines.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What happened, on which object, why, what is safe, the next command.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Time,
    /// Generation of the spec this was concluded from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Puts one condition into a list; its transition time moves only when its status does.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    (type_, status, reason): (ConditionType, Option<bool>, Reason),
    message: &str,
    (generation, now): (i64, Timestamp),
) {
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let existing = conditions.iter_mut().find(|condition| condition.type_ == type_.as_str());
    let since = existing
        .as_ref()
        .filter(|condition| condition.status == status)
        .map_or(Time(now), |condition| condition.last_transition_time.clone());
    let next = Condition {
        type_: type_.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: clamp(message).to_owned(),
        last_transition_time: since,
        observed_generation: Some(generation),
    };
    match existing {
        Some(condition) => *condition = next,
        None => conditions.push(next),
    }
}

/// Where an object stands, as kstatus knows it: exactly one of three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Something moves by itself.
    Moving(Reason, String),
    /// It is as it should be.
    Well(Reason, String),
    /// Nothing moves until somebody changes something.
    Stuck(Reason, String),
}

/// Writes where an object stands into Ready, Reconciling and Stalled. The latter two are there only while they hold.
pub fn set_standing(conditions: &mut Vec<Condition>, standing: &Standing, at: (i64, Timestamp)) {
    let (ready, holds, reason, message) = match standing {
        Standing::Moving(reason, message) => (None, Some(ConditionType::Reconciling), *reason, message),
        Standing::Well(reason, message) => (Some(true), None, *reason, message),
        Standing::Stuck(reason, message) => (Some(false), Some(ConditionType::Stalled), *reason, message),
    };
    set_condition(conditions, (ConditionType::Ready, ready, reason), message, at);
    if let Some(type_) = holds {
        set_condition(conditions, (type_, Some(true), reason), message, at);
    }
    for type_ in [ConditionType::Reconciling, ConditionType::Stalled] {
        if holds != Some(type_) {
            conditions.retain(|condition| condition.type_ != type_.as_str());
        }
    }
}

/// Returns a condition of a list.
#[must_use]
pub fn condition(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// Cuts a message at the last whole character within the limit, which is that of an event's note as well: the API
/// server refuses longer ones.
#[must_use]
pub fn clamp(message: &str) -> &str {
    clamp_to(message, MESSAGE_BYTES)
}

/// Returns the beginning of a text, at most this many bytes of it.
#[must_use]
pub fn clamp_to(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Returns a text of at most this many bytes, which shows by its last character that something was left out.
#[must_use]
pub fn shorten(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    format!("{}…", clamp_to(text, bytes.saturating_sub('…'.len_utf8())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let mut list = Vec::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        set_condition(&mut list, (ConditionType::Ready, None, Reason::Inspecting), "a", (1, at(1)));
        set_condition(&mut list, (ConditionType::Ready, None, Reason::Deploying), "b", (2, at(2)));
        assert_eq!((list.len(), list[0].last_transition_time.0), (1, at(1)));
        assert_eq!((list[0].reason.as_str(), list[0].observed_generation), ("Deploying", Some(2)));
        set_condition(&mut list, (ConditionType::Ready, Some(true), Reason::Released), "c", (2, at(3)));
        assert_eq!(list[0].last_transition_time.0, at(3));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "ä".repeat(1000);
        assert_eq!(clamp(&long).len(), 1024);
        assert_eq!(clamp(&format!("x{long}")).len(), 1023);
    }
}
