//! What is known of a Contract migration: it waits after its release, runs by an approval of its own, and ends the way back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{DatabaseRecord, PlanRecord};
use crate::api::RevisionId;

/// The Contract migration of a revision that serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContractRecord {
    /// The revision it belongs to.
    pub revision: RevisionId,
    /// Its version text.
    #[schemars(length(max = 64))]
    pub version: String,
    /// What is known of it.
    pub state: ContractProgress,
    /// One word for machines.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What it waits for, or what became of it.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when it waits with the plan below: what was approved earlier was something else, or has been used.
    pub since: MicroTime,
    /// Generation of the spec before any change that led to it: who changed it since is an author.
    #[serde(default)]
    pub authors_after: i64,
    /// What was seen of the database when its release was planned, or when it was last looked at for the migration.
    pub database: DatabaseRecord,
    /// What it will do, as people approve it; absent until it was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanRecord>,
    /// What served or was tried before, the latest first: what it takes the way back to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub earlier: Vec<RevisionId>,
    /// Number of its last attempt that has ended: who approved before that approved another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<i64>,
}

/// How far a Contract migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum ContractProgress {
    /// It waits for its approval, or for what else its message says.
    Pending,
    /// Its attempt runs.
    Running,
    /// Its attempt ended without success; it waits for another approval.
    Failed,
    /// A person rejected it: it does not run.
    Rejected,
    /// The ledger says applied.
    Applied,
}

/// What a Contract migration has taken the way back from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawal {
    /// Number of the attempt that brought the version which works on the result; what earlier ones brought does not.
    pub before: i64,
    /// That version.
    #[schemars(length(max = 64))]
    pub version: String,
    /// When the migration had ended, or may have begun.
    pub at: MicroTime,
    /// What cannot be gone back to, the latest first; longer than history remembers it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub revisions: Vec<RevisionId>,
}

impl ContractRecord {
    /// Returns whether it still waits to be run.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, ContractProgress::Pending | ContractProgress::Failed)
    }
}
