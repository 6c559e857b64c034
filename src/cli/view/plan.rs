//! The plan of a Release, as it is shown; pure.

use serde::Serialize;

use super::API_VERSION;
use crate::{
    api::{Gate, PlanRecord, Release, ReleaseSpec, RestoreProgress, Source, Step},
    release::{plan_text, words},
};

/// How far a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Standing {
    /// It was made from a file; nobody was asked for it.
    Forecast,
    /// It waits for approval.
    Waiting,
    /// It runs.
    Running,
}

/// The plan of a Release.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `PlanView`.
    pub kind: &'static str,
    /// Name of the Release.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID; empty while it does not exist.
    pub uid: String,
    /// Version that the plan brings.
    pub version: String,
    /// What changes, as its author wrote it.
    pub notes: Option<String>,
    /// Where the version comes from.
    pub source: Option<Source>,
    /// Whether it is the plan of the release, or of the migration that comes after it.
    pub gate: Gate,
    /// How far it is.
    pub standing: Standing,
    /// The step that is under way.
    pub step: Option<Step>,
    /// The step after which there is no way back by itself.
    pub point_of_no_return: Option<Step>,
    /// The plan itself.
    pub plan: PlanRecord,
}

impl PlanView {
    /// Makes the view of the plan in a Release's status; `None` when there is none.
    #[must_use]
    pub fn of(release: &Release) -> Option<Self> {
        let record = &release.status.as_ref()?.record;
        let standing = if record.step <= Step::Approve { Standing::Waiting } else { Standing::Running };
        let version = record.candidate.as_ref().map(|candidate| candidate.version.clone());
        let is_contract = record.candidate.as_ref().is_some_and(|candidate| candidate.contract);
        let gate = if is_contract { Gate::Contract } else { Gate::Release };
        let view = Self::forecast(release, record.plan.clone()?);
        Some(Self { gate, standing, step: Some(record.step), version: version.unwrap_or(view.version), ..view })
    }

    /// Makes the view of the plan of a Contract migration that waits; `None` when none does.
    #[must_use]
    pub fn of_contract(release: &Release) -> Option<Self> {
        let contract = release.status.as_ref()?.record.contract.as_ref().filter(|contract| contract.is_open())?;
        let view = Self::forecast(release, contract.plan.clone()?);
        let version = contract.version.clone();
        Some(Self { gate: Gate::Contract, standing: Standing::Waiting, version, ..view })
    }

    /// Makes the view of what would be lost by the way back of the data that waits; `None` when none does.
    #[must_use]
    pub fn of_data_loss(release: &Release) -> Option<Self> {
        let record = &release.status.as_ref()?.record;
        let restore = record.migration.as_ref()?.restore.as_ref();
        let restore = restore.filter(|restore| restore.state == RestoreProgress::Waiting)?;
        let view = Self::forecast(release, restore.plan.clone()?);
        let version = record.candidate.as_ref().map(|candidate| candidate.version.clone());
        let version = version.unwrap_or_else(|| view.version.clone());
        Some(Self { gate: Gate::DataLoss, standing: Standing::Waiting, version, ..view })
    }

    /// Returns what a command has to say to mean this plan.
    #[must_use]
    pub fn option(&self) -> &'static str {
        words::gate_option(self.gate)
    }

    /// Makes the view of a plan that nobody has asked for yet.
    #[must_use]
    pub fn forecast(release: &Release, plan: PlanRecord) -> Self {
        let ReleaseSpec { version, notes, source, .. } = release.spec.clone();
        let metadata = &release.metadata;
        Self {
            api_version: API_VERSION,
            kind: "PlanView",
            name: metadata.name.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            version,
            notes,
            source,
            gate: Gate::Release,
            standing: Standing::Forecast,
            step: None,
            point_of_no_return: plan_text::point_of_no_return(&plan).map(|point| point.after),
            plan,
        }
    }
}
