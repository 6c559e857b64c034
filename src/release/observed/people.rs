//! What was seen of people: what they decided, what admins ask for, and whether the API server guards both.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::api::{Approval, DecisionKind, ReleasePolicySpec, ReleaseSpec, RunningRelease};

/// A Decision.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version that was read; guards what is said of it.
    pub resource_version: String,
    /// UID of the object it is about.
    pub target_uid: String,
    /// What is decided; `None` for a kind that this version does not know.
    pub kind: Option<DecisionKind>,
    /// Who decided, as the API server proved.
    pub actor: String,
    /// When the API server took it.
    pub created: Timestamp,
    /// The sentence that was said with it.
    pub statement: Option<String>,
    /// Whether its status already says what became of it.
    pub settled: bool,
    /// Whether its status says that it counts and waits.
    pub accepted: bool,
}

impl DecisionSeen {
    /// Returns the approval, when it is one.
    #[must_use]
    pub fn approval(&self) -> Option<&Approval> {
        match &self.kind {
            Some(DecisionKind::Approve(approval)) => Some(approval),
            Some(
                DecisionKind::Reject(_)
                | DecisionKind::Abort(_)
                | DecisionKind::Retry(_)
                | DecisionKind::Rollback(_)
                | DecisionKind::Suspend(_)
                | DecisionKind::Resume(_)
                | DecisionKind::Promote(_)
                | DecisionKind::Expedite(_),
            )
            | None => None,
        }
    }
}

/// A ReleasePolicy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicySeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// The version that was read: of two Releases that take the last slot one is refused.
    pub resource_version: String,
    /// The Releases of which something is under way.
    pub running: Vec<RunningRelease>,
    /// What it asks for; `None` when this version cannot read it.
    pub spec: Option<Arc<ReleasePolicySpec>>,
}

impl PolicySeen {
    /// Returns whether a Release with this name and these labels is meant. One that cannot be read may mean any.
    #[must_use]
    pub fn is_for(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.spec.as_ref().is_none_or(|spec| spec.selector.matches(name, labels))
    }
}

/// Returns what a Release asks for, and where it says nothing what its policies say, the first by name first.
#[must_use]
pub fn with_defaults(mut spec: ReleaseSpec, policies: &[PolicySeen]) -> ReleaseSpec {
    for policy in policies.iter().filter_map(|policy| policy.spec.as_deref()) {
        spec.jobs = spec.jobs.or(&policy.jobs);
    }
    spec
}

/// Whether the admission policies guard Decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// They do, and have since then; a Decision created earlier does not count.
    Since(Timestamp),
    /// They do not: what is missing or changed.
    Missing(String),
}
