//! What is handed over from one revision to the next: who works, and who worked before.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Handover;

/// A worker, or a workload with Services that may be away: who works, and who worked before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerRecord {
    /// Name of the workload.
    #[schemars(length(max = 63))]
    pub workload: String,
    /// The active revision's, as it works or worked until the handover; absent: that revision has no such worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<WorkerPods>,
    /// The candidate's, from `Switch` on; absent: none is under way, or it has no such worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<WorkerPods>,
    /// When all pods of the candidate's were ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_over_at: Option<MicroTime>,
}

/// The pods of a worker in one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerPods {
    /// How many.
    pub pods: i32,
    /// How that revision wants it handed over.
    pub handover: Handover,
    /// Whether users wait for it: it has Services, and they answer nobody during the handover.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub serving: bool,
}

impl WorkerPods {
    /// Returns whether it is remembered for the other side's sake alone: of itself, nothing but its traffic is switched.
    #[must_use]
    pub fn is_switched(&self) -> bool {
        self.serving && self.handover == Handover::Overlap
    }
}

impl WorkerRecord {
    /// Returns whether one side's pods must be gone before the other's start: as soon as either side says so.
    #[must_use]
    pub fn stops_first(&self) -> bool {
        [self.active, self.candidate].into_iter().flatten().any(|side| side.handover == Handover::StopThenStart)
    }
}
