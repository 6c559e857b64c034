//! Decision: an immutable object in which a person says what a Release shall do, or shall not.
//!
//! The API server's admission is the only place that knows who really asked, so a decision is an object of its
//! own and an admission policy compares its `actor` with the caller.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::{RevisionId, names};

/// What one person decided about one object.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchback.dev",
    version = "v1alpha1",
    kind = "Decision",
    plural = "decisions",
    category = "switchback",
    namespaced,
    status = "DecisionStatus",
    doc = "An immutable decision of a person about one Release. Create it with `kubectl switchback approve`, `reject`, `abort`, `retry`, `rollback`, `suspend`, `resume`, `promote` or `expedite`.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.target.name"),
    printcolumn(name = "Actor", type_ = "string", json_path = ".spec.actor"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "a Decision cannot be changed: create another one"))]
#[x_kube(validation = (
    "[has(self.approve), has(self.reject), has(self.abort), has(self.retry), has(self.rollback), has(self.suspend), has(self.resume), has(self.promote), has(self.expedite)].filter(x, x).size() == 1",
    "name exactly one of approve, reject, abort, retry, rollback, suspend, resume, promote and expedite"
))]
pub struct DecisionSpec {
    /// The object this is about.
    pub target: DecisionTarget,
    /// What is decided.
    #[serde(flatten)]
    pub decision: DecisionKind,
    /// The sentence that a ReleasePolicy asks for, word for word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub statement: Option<String>,
    /// Why, for whoever reads the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Who decides: the caller's user name. The API server refuses any other.
    #[schemars(length(min = 1, max = 256))]
    pub actor: String,
}

/// The object a Decision is about, by its UID: a re-created object of the same name is another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionTarget {
    /// Kind of the object.
    pub kind: TargetKind,
    /// Name of the object, in the Decision's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub name: String,
    /// UID of the object.
    #[schemars(length(min = 1, max = 64), regex(pattern = names::UID))]
    pub uid: String,
}

/// Kinds that can be decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// A Release.
    Release,
}

/// What is decided; exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantNames)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum DecisionKind {
    /// The plan with this digest may run.
    Approve(Approval),
    /// The plan that waits now shall not run. With gate Contract: the migration that waits is dropped. With gate DataLoss:
    /// the data stay as they are.
    Reject(Rejection),
    /// The attempt that runs now shall stop; traffic goes back when it had moved.
    Abort(Empty),
    /// The revision that failed shall be tried once more; at rest, a Contract migration that was rejected waits again.
    Retry(Empty),
    /// A revision that served before shall serve again. Of an attempt that runs: the active one.
    Rollback(Rollback),
    /// Nothing shall go on but what goes back.
    Suspend(Empty),
    /// A Decision to suspend shall hold no longer. It does not change what the spec says.
    Resume(Empty),
    /// The watch window shall end, as soon as enough pods are ready.
    Promote(Empty),
    /// The plan that waits shall wait for nothing that only time meets: the end of a freeze, the time that it should have
    /// served elsewhere before (`soak`), and the rehearsal of its migration. It needs its approvals, its proven backup and
    /// its checks all the same.
    Expedite(Empty),
}

impl DecisionKind {
    /// Returns whether it lets the plan of a gate run.
    #[must_use]
    pub fn opens(&self, gate: Gate) -> bool {
        matches!(self, Self::Approve(approval) if approval.gate == gate)
    }

    /// Returns whether it keeps the plan of a gate from running.
    #[must_use]
    pub fn closes(&self, gate: Gate) -> bool {
        matches!(self, Self::Reject(rejection) if rejection.gate == gate)
    }

    /// Returns which plan it is about; `None` when it is about none.
    #[must_use]
    pub const fn gate(&self) -> Option<Gate> {
        match self {
            Self::Approve(approval) => Some(approval.gate),
            Self::Reject(rejection) => Some(rejection.gate),
            Self::Abort(_)
            | Self::Retry(_)
            | Self::Rollback(_)
            | Self::Suspend(_)
            | Self::Resume(_)
            | Self::Promote(_)
            | Self::Expedite(_) => None,
        }
    }

    /// Returns the verb of the decision.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// An approval of one plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Digest of the plan, as `status.plan.digest` shows it, `status.contract.plan.digest` for gate Contract, or
    /// `status.migration.restore.plan.digest` for gate DataLoss.
    #[schemars(length(max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
    /// What may happen.
    #[serde(default)]
    pub gate: Gate,
}

/// What an approval opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crds::told_by_the_field)]
pub enum Gate {
    /// The release itself (default).
    #[default]
    Release,
    /// The migration that the version before does not work on, once nothing of it runs.
    Contract,
    /// The backup that takes the place of the database on the way back: what was written since is lost.
    DataLoss,
}

/// A plan that shall not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// Which of the plans that may wait.
    #[serde(default)]
    pub gate: Gate,
}

/// A way back that a person asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Revision that shall serve (default: the one that served before the active one; while an attempt runs, the
    /// active one). It must have served before, and its content must still be kept: see `historyLimit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v1-[0-9a-f]{10}$"))]
    pub to: Option<RevisionId>,
}

/// A decision without further words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// What became of a Decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStatus {
    /// Accepted, Used, Expired or Refused.
    #[schemars(length(max = 32))]
    pub state: String,
    /// Why.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What happened, in words.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// What became of a Decision, for matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum DecisionState {
    /// It counts, and waits for what it speaks of.
    Accepted,
    /// It took effect.
    Used,
    /// It is older than a Decision may be.
    Expired,
    /// It does not count.
    Refused,
}

impl DecisionStatus {
    /// Returns whether it is the last word on the Decision.
    #[must_use]
    pub fn is_final(&self) -> bool {
        let accepted: &str = DecisionState::Accepted.into();
        !self.state.is_empty() && self.state != accepted
    }
}
