//! The plan of an attempt, as people approve it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::Step;
use crate::api::{Duration, RevisionId};

/// The steps a revision will go through, as people approve them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanRecord {
    /// Digest over everything that an approval covers.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// The revision it is for.
    pub revision: RevisionId,
    /// What happens, in order.
    #[schemars(length(max = 32))]
    pub steps: Vec<PlannedStep>,
    /// What going back restores and loses, by the step after which it is asked for.
    #[schemars(length(max = 16))]
    pub way_back: Vec<WayBackPoint>,
    /// What could go wrong and is known.
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub risks: Vec<String>,
    /// Sentences one of which each approval must say; none when none is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 256)))]
    pub statements: Vec<String>,
    /// What is still missing, and who can meet it.
    #[schemars(length(max = 32), inner(length(max = 512)))]
    pub unmet: Vec<String>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// Which.
    pub step: Step,
    /// What it will do here.
    #[schemars(length(max = 4096))]
    pub does: String,
    /// How long it took in the last release that came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Duration>,
}

/// What going back restores and loses after a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WayBackPoint {
    /// After which step.
    pub after: Step,
    /// How much comes back.
    pub scope: Scope,
    /// What is lost.
    #[schemars(length(max = 512))]
    pub loses: String,
}

/// How much going back restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum Scope {
    /// Everything.
    Full,
    /// Traffic; what was written since the backup would be lost with the data.
    WithLoss,
    /// Nothing by itself: there is no earlier version to go back to, or it is no longer running.
    ForwardOnly,
}
