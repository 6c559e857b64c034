//! What plugin and dashboard show of Releases: one versioned form, made from what was seen; pure.
//!
//! In: [`Seen`]. Out: [`ReleaseView`] and [`Summary`], which become text, JSON and YAML. Never here: calls,
//! clocks, icons.

mod database;
mod hooks;
mod plan;
mod rehearsal;
mod revisions;
mod services;
mod summary;

use jiff::Timestamp;
use serde::Serialize;

use super::{look::Kind, seen::Seen};
use crate::api::{DecisionRecord, HistoryEntry, Mode, Outcome, PlanRecord};

pub use database::{BackupView, DatabaseView, MigrationView};
pub use hooks::HookView;
pub use plan::{PlanView, Standing};
pub use rehearsal::RehearsalView;
pub use summary::unreadable;

/// Version of the form; fields are added to it, never changed or taken away.
pub const API_VERSION: &str = "view.switchback.dev/v1";

/// How something is, for icons and colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    /// It is scaled down, or not there yet.
    Off,
    /// It is as it should be.
    Well,
    /// It is on its way.
    Moving,
    /// It waits for a person, by plan.
    Waiting,
    /// Nobody can tell.
    Unknown,
    /// Somebody should look.
    Warning,
    /// It failed.
    Bad,
}

/// One Release, in one line's worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The version that its spec asks for.
    pub version: String,
    /// Whether a person approves each release.
    pub mode: Option<Mode>,
    /// Version that traffic goes back to.
    pub active: Option<String>,
    /// Version on its way.
    pub candidate: Option<String>,
    /// How it is.
    pub state: State,
    /// One word for machines.
    pub reason: String,
    /// What happened, on which object, why, the next command.
    pub message: String,
    /// What else somebody should know.
    pub notes: Vec<String>,
    /// Where its attempt stands.
    pub step: StepView,
    /// How the last attempt that ended has ended.
    pub outcome: Option<Outcome>,
    /// Who approved the plan that runs.
    pub approved_by: Option<String>,
    /// Digest of the plan that waits or runs.
    pub digest: Option<String>,
    /// The commands that make sense now.
    pub next: Vec<String>,
}

/// Where an attempt stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Name of the step.
    pub name: String,
    /// When it began.
    pub since: Option<Timestamp>,
    /// When it ends for want of success; of `Watch`: when its window ends.
    pub deadline: Option<Timestamp>,
}

/// One Release with everything that belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseView {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `ReleaseView`.
    pub kind: &'static str,
    /// When this was seen.
    pub seen_at: Timestamp,
    /// The Release itself.
    #[serde(flatten)]
    pub summary: Summary,
    /// Active, candidate, previous, and what earlier ones left.
    pub revisions: Vec<RevisionView>,
    /// Its database, when it has one.
    pub database: Option<DatabaseView>,
    /// The last backup that it took.
    pub backup: Option<BackupView>,
    /// The last rehearsal of a migration.
    pub rehearsal: Option<RehearsalView>,
    /// The last migration.
    pub migration: Option<MigrationView>,
    /// The hooks of the last attempt that have ended.
    pub hooks: Vec<HookView>,
    /// Its Services, those that carry users' traffic first.
    pub services: Vec<ServiceView>,
    /// The plan that waits or runs.
    pub plan: Option<PlanRecord>,
    /// The Decisions that took effect, newest first.
    pub decisions: Vec<DecisionRecord>,
    /// The attempts that ended, newest first.
    pub history: Vec<HistoryEntry>,
    /// What could not be read, and why.
    pub unseen: Vec<String>,
}

/// Releases of a namespace or of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListView {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `ReleaseViewList`.
    pub kind: &'static str,
    /// When this was seen.
    pub seen_at: Timestamp,
    /// Whether they are of more than one namespace.
    #[serde(skip)]
    pub namespaces: bool,
    /// The Releases, by namespace and name.
    pub items: Vec<Summary>,
}

/// What a revision is in its Release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Part {
    /// Traffic goes back to it: blue.
    Active,
    /// It is on its way: green.
    Candidate,
    /// The one before the active one, kept for a while.
    Previous,
    /// An earlier one, being removed.
    Former,
}

/// One revision.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// Its name.
    pub revision: String,
    /// Its version text.
    pub version: Option<String>,
    /// What it is.
    pub part: Part,
    /// How it is.
    pub state: State,
    /// The same in words.
    pub says: String,
    /// Since when it is what it is.
    pub since: Option<Timestamp>,
    /// When its Deployments are removed.
    pub keep_until: Option<Timestamp>,
    /// Its Deployments.
    pub deployments: Vec<ObjectView>,
    /// Their autoscalers.
    pub autoscalers: Vec<ObjectView>,
    /// The Jobs of its attempts.
    pub jobs: Vec<ObjectView>,
}

/// A Deployment, Job or pod.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectView {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: State,
    /// The same in words.
    pub says: String,
    /// What keeps it from being well.
    pub problem: Option<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The node it is on; pods only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<ObjectView>,
}

/// One Service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Whether users' traffic goes through it, or only checks.
    pub active: bool,
    /// The revision its selector names.
    pub revision: Option<String>,
    /// Version text of that revision.
    pub version: Option<String>,
    /// Endpoints of that revision that take traffic.
    pub ready: usize,
    /// Endpoints of other revisions that still take traffic.
    pub others: usize,
    /// How it is.
    pub state: State,
    /// The same in words.
    pub says: String,
    /// When it was last switched.
    pub switched_at: Option<Timestamp>,
    /// When the endpoints had followed.
    pub settled_at: Option<Timestamp>,
}

impl RevisionView {
    /// Returns what belongs to it, in the order of the tree.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectView> {
        self.deployments.iter().chain(&self.autoscalers).chain(&self.jobs)
    }
}

impl ReleaseView {
    /// Makes the view of a Release.
    #[must_use]
    pub fn of(seen: &Seen) -> Self {
        let record = seen.release.status.as_ref().map(|status| &status.record);
        let revisions = revisions::of(seen);
        let services = services::of(seen, &revisions);
        let backup = database::backup(seen);
        let rehearsal = rehearsal::of(seen, &revisions);
        let migration = database::migration(seen, &revisions);
        let database = database::of(seen, backup.as_ref(), rehearsal.as_ref(), migration.as_ref());
        // Nobody misses the backups of a Release that has no database, nor the autoscalers of one that has none.
        let scales = seen.release.spec.workloads.iter().any(|workload| workload.autoscaling.is_some());
        let is_missed = |kind: &Kind| match kind {
            Kind::DatabaseBackup => database.is_some(),
            Kind::HorizontalPodAutoscaler => scales,
            _ => true,
        };
        let unseen = seen.unseen.iter().filter(|(kind, _)| is_missed(kind));
        let summary = Summary::of(&seen.release, seen.now);
        let unseen = unseen.map(|(_, why)| why.clone()).collect();
        let mut view = Self {
            api_version: API_VERSION,
            kind: "ReleaseView",
            seen_at: seen.now,
            summary,
            unseen,
            revisions,
            database,
            backup,
            rehearsal,
            migration,
            hooks: record.map(|record| hooks::of(&record.hooks)).unwrap_or_default(),
            services,
            plan: record.and_then(|record| record.plan.clone()),
            decisions: record.map(|record| record.decisions.iter().rev().cloned().collect()).unwrap_or_default(),
            history: record.map(|record| record.history.iter().rev().cloned().collect()).unwrap_or_default(),
        };
        let look_at = summary::look_at(&view);
        view.summary.next.splice(0..0, look_at);
        view
    }

    /// Returns the Jobs that work on the database.
    pub fn database_jobs(&self) -> impl Iterator<Item = &ObjectView> {
        let database = self.database.iter().flat_map(|database| &database.jobs);
        let backup = self.backup.iter().flat_map(|backup| &backup.jobs);
        let rehearsal = self.rehearsal.iter().flat_map(|rehearsal| &rehearsal.jobs);
        database.chain(backup).chain(rehearsal).chain(self.migration.iter().flat_map(|migration| &migration.jobs))
    }
}

impl ListView {
    /// Makes the view of Releases, of one namespace or of several.
    #[must_use]
    pub fn of(mut items: Vec<Summary>, namespaces: bool, now: Timestamp) -> Self {
        items.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Self { api_version: API_VERSION, kind: "ReleaseViewList", seen_at: now, namespaces, items }
    }
}
