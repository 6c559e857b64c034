//! What was seen of the autoscalers that a Release has made.

use std::sync::Arc;

use super::Observed;
use crate::api::{Autoscaling, RevisionId};

/// A HorizontalPodAutoscaler of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoscalerSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version that was read; guards every patch.
    pub resource_version: String,
    /// Whether our Release controls it.
    pub ours: bool,
    /// Digits of its revision.
    pub revision: String,
    /// The workload.
    pub workload: String,
    /// How many pods it keeps at least.
    pub least: i32,
    /// How many pods it makes at most.
    pub most: i32,
    /// What the spec asked for when it was written last; `None` where that cannot be read any more.
    pub asked: Option<Arc<Autoscaling>>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl AutoscalerSeen {
    /// Returns whether it scales the Deployment of a workload in a revision.
    #[must_use]
    pub fn is_of(&self, workload: &str, revision: &RevisionId) -> bool {
        self.workload == workload && self.revision == revision.digits()
    }
}

impl Observed {
    /// Returns the autoscalers of ours that stay.
    pub fn own_autoscalers(&self) -> impl Iterator<Item = &AutoscalerSeen> {
        self.autoscalers.iter().filter(|seen| seen.ours && !seen.deleting)
    }

    /// Returns the autoscaler of a workload in a revision.
    #[must_use]
    pub fn autoscaler(&self, workload: &str, revision: &RevisionId) -> Option<&AutoscalerSeen> {
        self.autoscalers.iter().find(|seen| seen.ours && seen.is_of(workload, revision))
    }
}
