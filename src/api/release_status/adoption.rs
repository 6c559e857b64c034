//! What was found of what runs without us, and is taken over by the first release.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ContractProgress, Record};
use crate::api::RevisionId;

/// What the first release takes over; kept as long as traffic may go back there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdoptionRecord {
    /// The revision that what runs counts as.
    pub revision: RevisionId,
    /// What it is called.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Its workloads.
    #[schemars(length(max = 16))]
    pub workloads: Vec<AdoptedWorkload>,
}

/// One workload that runs without us.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdoptedWorkload {
    /// Name of the workload.
    #[schemars(length(max = 40))]
    pub workload: String,
    /// Name of its Deployment.
    #[schemars(length(max = 253))]
    pub deployment: String,
    /// UID of the Deployment.
    #[schemars(length(max = 64))]
    pub deployment_uid: String,
    /// How many pods it was found with.
    pub pods: i32,
    /// Name of its Service.
    #[schemars(length(max = 63))]
    pub service: String,
    /// UID of the Service.
    #[schemars(length(max = 64))]
    pub service_uid: String,
    /// What the Service selected: what it selects again when traffic goes back.
    #[schemars(length(max = 64), schema_with = "selector")]
    pub selector: BTreeMap<String, String>,
    /// The key of it whose value differs on pods of the first release; none where they differ anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub key: Option<String>,
}

fn selector(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 63 }
    })
}

impl AdoptionRecord {
    /// Returns the workload behind a Service.
    #[must_use]
    pub fn behind(&self, service: &str) -> Option<&AdoptedWorkload> {
        self.workloads.iter().find(|adopted| adopted.service == service)
    }
}

impl Record {
    /// Returns whether nothing serves users yet that traffic could go back to.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.active.is_none() && self.adoption.is_none()
    }

    /// Returns what is taken over, when this is its revision.
    #[must_use]
    pub fn adopted(&self, digits: &str) -> Option<&AdoptionRecord> {
        self.adoption.as_ref().filter(|adoption| adoption.revision.digits() == digits)
    }

    /// Returns what was taken over while pods of a revision have to differ from its: until the first release has proven
    /// itself, and as long as it is what serves.
    #[must_use]
    pub fn kept_apart_from(&self, digits: &str) -> Option<&AdoptionRecord> {
        let adoption = self.adoption.as_ref().filter(|adoption| adoption.revision.digits() != digits)?;
        let is_it = |revision: &RevisionId| *revision == adoption.revision;
        let before = self.active.as_ref().is_none_or(|active| is_it(&active.revision));
        let previous = self.previous.as_ref().is_some_and(|previous| is_it(&previous.revision));
        let first = previous && self.active.as_ref().is_some_and(|active| active.revision.digits() == digits);
        (before || first).then_some(adoption)
    }

    /// Forgets what was taken over once traffic cannot go back there any more, and no Contract migration has to know
    /// whether anything of it runs.
    pub fn forget_adoption(&mut self) {
        if self.contract.as_ref().is_some_and(|contract| contract.state != ContractProgress::Applied) {
            return;
        }
        let active = self.active.as_ref().map(|active| &active.revision);
        let kept = self.previous.as_ref().map(|previous| &previous.revision);
        let kept = |adoption: &AdoptionRecord| [active, kept].contains(&Some(&adoption.revision));
        if !self.adoption.as_ref().is_some_and(kept) {
            self.adoption = None;
        }
    }
}
