//! Release: one long-lived object per application; its spec names the version that should serve.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Adoption, Autoscaling, Check, CheckPhase, ConfigFiles, Deadlines, Hook, JobSettings, Migration, MigrationSource,
    PodTemplate, ReleaseDatabase, RevisionId, RollbackSettings, SwitchSettings, WatchSettings, WorkloadService, names,
    release_status::ReleaseStatus,
};

/// What should serve, and how it gets there.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchback.dev",
    version = "v1alpha1",
    kind = "Release",
    plural = "releases",
    category = "switchback",
    shortname = "rel",
    namespaced,
    status = "ReleaseStatus",
    doc = "One application: what should serve, and how it gets there. Changing the spec is asking for a release.",
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step"),
    printcolumn(name = "Active", type_ = "string", json_path = ".status.active.version"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Candidate", type_ = "string", json_path = ".status.candidate.version", priority = 1),
    printcolumn(name = "Backup", type_ = "string", json_path = ".status.backup.name", priority = 1),
    printcolumn(name = "Approved by", type_ = "string", json_path = ".status.active.approvedBy", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.workloads.all(w, !has(w.services) || w.services.all(s, self.workloads.map(x, has(x.services) ? x.services.filter(y, y.name == s.name).size() : 0).sum() == 1))",
    "two Services of this Release have the same name"
))]
#[x_kube(validation = (
    "!has(self.checks) || self.checks.all(c, !has(c.http) || !has(c.http.service) || self.workloads.exists(w, has(w.services) && w.services.exists(s, s.name == c.http.service)))",
    "an http check names a Service that no workload of this Release has"
))]
#[x_kube(validation = (
    "!has(self.checks) || !has(self.watch) || self.checks.all(c, c.phase != 'Watch' || !has(c.http) || !has(c.http.breachFor) || duration(c.http.breachFor) < duration(self.watch.__for__))",
    "breachFor of an http check is not shorter than watch.for: it could never fail"
))]
#[x_kube(validation = ("!has(self.checks) || !has(self.watch) || self.checks.all(c, c.phase != 'Watch' || !has(c.http) || !has(c.http.rate) || duration(c.http.rate.over) <= duration(self.watch.__for__))", "the rate of an http check is over more than watch.for"))]
#[x_kube(validation = ("!has(self.checks) || !has(self.watch) || self.checks.all(c, c.phase != 'Watch' || !has(c.prometheus) || !has(c.prometheus.breachFor) || duration(c.prometheus.breachFor) + duration(c.prometheus.breachFor) <= duration(self.watch.__for__))", "breachFor of a prometheus check is longer than half of watch.for: a breach that begins later would never be seen"))]
#[x_kube(validation = ("!has(self.checks) || !has(self.watch) || self.checks.all(c, c.phase != 'Watch' || ((!has(c.tls) || !has(c.tls.breachFor) || duration(c.tls.breachFor) < duration(self.watch.__for__)) && (!has(c.dns) || !has(c.dns.breachFor) || duration(c.dns.breachFor) < duration(self.watch.__for__)) && (!has(c.sql) || !has(c.sql.breachFor) || duration(c.sql.breachFor) < duration(self.watch.__for__))))", "breachFor of a check is not shorter than watch.for: it could never fail"))]
#[x_kube(validation = ("!has(self.checks) || has(self.database) || self.checks.all(c, !has(c.sql))", "a sql check asks the Release's database, and spec.database names none"))]
#[x_kube(validation = (
    "!has(self.database) || !has(self.database.migration) || !has(self.database.migration.workload) || self.workloads.exists(w, w.name == self.database.migration.workload)",
    "the migration names a workload that this Release does not have"
))]
#[x_kube(validation = (
    "!has(self.config) || self.config.map(c, c.data.map(k, c.data[k].size()).sum()).sum() <= 262144",
    "the files of config have more than 262144 characters together"
))]
#[x_kube(validation = (
    "!has(self.config) || !has(self.database) || !has(self.database.migration) || !has(self.database.migration.sql) || self.config.all(c, c.name != self.database.migration.sql.configMap)",
    "the SQL of a migration cannot come from config: it is looked at before any of the revision's own ConfigMaps is there"
))]
#[x_kube(validation = (
    "!has(self.rollback) || !has(self.rollback.database) || self.rollback.database != 'Down' || (has(self.database) && has(self.database.migration) && has(self.database.migration.down))",
    "rollback.database is Down, and no migration has a down"
))]
#[x_kube(validation = (
    "!has(self.rollback) || !has(self.rollback.database) || self.rollback.database != 'Down' || !has(self.database) || !has(self.database.migration) || self.database.migration.change != 'Contract'",
    "rollback.database is Down, and a Contract migration changes nothing until there is no way back"
))]
#[x_kube(validation = (
    "!has(self.rollback) || !has(self.rollback.database) || self.rollback.database != 'Restore' || (has(self.database) && has(self.database.migration) && self.database.migration.change == 'Expand')",
    "rollback.database is Restore, and there is no Expand migration whose backup could be restored"
))]
#[x_kube(validation = Rule::new(
    "!self.workloads.exists(w, has(w.minReadySeconds) && w.minReadySeconds > 0 && w.minReadySeconds >= duration(has(self.deadlines) && has(self.deadlines.deploy) ? self.deadlines.deploy : '10m').getSeconds())"
).message(Message::Expression(
"'deadlines.deploy is not longer than the minReadySeconds of a workload: ' + (has(self.deadlines) && has(self.deadlines.deploy) ? self.deadlines.deploy : '10m')".to_owned()
)))]
#[x_kube(validation = ("self.workloads.all(w, !has(w.adopt) || self.workloads.filter(x, has(x.adopt) && x.adopt.deployment == w.adopt.deployment).size() == 1)", "two workloads adopt the same Deployment"))]
pub struct ReleaseSpec {
    /// Version of the application, for people. A semantic version is expected.
    #[schemars(length(min = 1, max = 64), regex(pattern = names::WORD))]
    pub version: String,
    /// What changes, shown to whoever approves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub notes: Option<String>,
    /// Where this version comes from; display and audit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Whether a person approves each release (default: as the namespace's ReleasePolicy says, else Manual). Automatic
    /// needs the verb `automate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Stops before the next step while true (default: false). A way back goes on, and what serves is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// What serves. Each workload becomes one Deployment per revision.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub workloads: Vec<Workload>,
    /// Files that belong to the version: an immutable ConfigMap per revision, which comes back when traffic goes back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub config: Vec<ConfigFiles>,
    /// The database that is backed up, and migrated, before the new version comes up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<ReleaseDatabase>,
    /// What must hold before traffic moves, and while the new version is watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub checks: Vec<Check>,
    /// What else is done when traffic moves, comes back, or stays: Jobs of your own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub hooks: Vec<Hook>,
    /// How traffic is moved.
    #[serde(default)]
    pub switch: SwitchSettings,
    /// How the new version is watched after the switch.
    #[serde(default)]
    pub watch: WatchSettings,
    /// What is kept for going back.
    #[serde(default)]
    pub rollback: RollbackSettings,
    /// How long a step may take before the attempt ends.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// What the pods of this Release's Jobs get besides what they need (default: as its policies say, for Jobs on a
    /// database its DatabaseInstance, and last the operator's own settings).
    #[serde(default, skip_serializing_if = "JobSettings::is_default")]
    pub jobs: JobSettings,
    /// What becomes of what serves when this Release is deleted (default: Delete).
    #[serde(default, skip_serializing_if = "DeletionPolicy::is_delete")]
    pub deletion_policy: DeletionPolicy,
    /// How many ended attempts status and ControllerRevisions remember (default: 10).
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 1, max = 20), default = "default_history_limit")]
    pub history_limit: u8,
}

/// Where a version comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Repository the version was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = names::WORD))]
    pub repository: Option<String>,
    /// Commit the version was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = names::WORD))]
    pub commit: Option<String>,
}

/// Whether a person approves each release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crds::told_by_the_field)]
pub enum Mode {
    /// Each release waits for an approval of its plan.
    #[default]
    Manual,
    /// A release starts as soon as its plan is made.
    Automatic,
}

/// What becomes of what serves when its Release is deleted. Backups stay in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It goes with the Release.
    #[default]
    Delete,
    /// It keeps serving, and belongs to nobody: Services, and the Deployments and ConfigMaps of the revision behind them.
    Orphan,
}

impl DeletionPolicy {
    fn is_delete(&self) -> bool {
        *self == Self::Delete
    }
}

/// One workload: pods of one template, and the Services in front of them.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.handover) || !has(self.services) || self.services.size() == 0 || self.handover == 'StopThenStart'",
    "handover: Overlap is for workers: traffic of a workload with Services is switched from one version to the next, unless it may be away meanwhile (StopThenStart)"
))]
#[x_kube(validation = (
    "!has(self.replicas) || !has(self.autoscaling)",
    "give replicas or autoscaling, not both: what an autoscaler sets would be set back (replicas: null takes it out)"
))]
#[x_kube(validation = (
    "!has(self.adopt) || !has(self.handover)",
    "adopt and handover: pods of what is taken over carry no label by which their end could be seen; say handover from the next release on"
))]
#[x_kube(validation = (
    "!has(self.adopt) || (has(self.services) && self.services.exists(s, s.name == self.adopt.service))",
    "adopt names a Service that is not among the workload's services: what it looks like from the first release on is said there"
))]
pub struct Workload {
    /// Name of the workload, unique in the Release.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How many pods (default: 1). A change of this alone is no release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub replicas: Option<i32>,
    /// Lets the cluster decide how many pods, instead of `replicas`. A change of this alone is no release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Services that carry the workload's traffic; the operator creates and owns them. A workload without any is a worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub services: Vec<WorkloadService>,
    /// What serves today without this operator: the first release takes it over and goes back to it. Ignored once
    /// something of this Release serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adoption>,
    /// How a worker passes from one version to the next (default: StopThenStart). A workload with Services may say
    /// StopThenStart too, when two versions must not run at once: nobody answers from the one's stop to the other's proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Handover>,
    /// The pods.
    pub template: PodTemplate,
    /// How many seconds a new pod must have been ready before it counts (default: 0).
    #[serde(default)]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: i32,
}

/// How a workload passes from one version to the next where traffic alone does not decide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crds::told_by_the_field)]
pub enum Handover {
    /// The former version's pods are gone before the new version's start: a queue has one reader at a time.
    StopThenStart,
    /// The new version's pods start beside the former version's, which go when the new version has proven itself.
    Overlap,
}

const fn default_history_limit() -> u8 {
    10
}

impl Workload {
    /// Returns how many pods the spec asks for: where an autoscaler decides, at least so many.
    #[must_use]
    pub fn size(&self) -> i32 {
        self.autoscaling.as_ref().map(|autoscaling| autoscaling.min).or(self.replicas).unwrap_or(1)
    }

    /// Returns how many pods it may come to have by the spec.
    #[must_use]
    pub fn most(&self) -> i32 {
        self.autoscaling.as_ref().map_or_else(|| self.size(), |autoscaling| autoscaling.max)
    }

    /// Returns whether a Service of this name carries its traffic.
    #[must_use]
    pub fn has_service(&self, name: &str) -> bool {
        self.services.iter().any(|service| service.name == name)
    }

    /// Returns how the workload is handed over; `None` where nothing but its traffic is switched.
    #[must_use]
    pub fn handed_over(&self) -> Option<Handover> {
        if self.services.is_empty() { Some(self.handover.unwrap_or(Handover::StopThenStart)) } else { self.handover }
    }
}

impl ReleaseSpec {
    /// Returns the name of this content. It is taken over an allowlist of fields: a field that a later version
    /// adds enters only when it is set, so an upgrade of the operator starts no release.
    #[must_use]
    pub fn revision(&self) -> RevisionId {
        let workloads: Vec<Value> = self
            .workloads
            .iter()
            .map(|workload| {
                json!({
                    "name": workload.name,
                    "template": workload.template,
                    "services": workload.services,
                })
            })
            .collect();
        let mut content = json!({ "workloads": workloads });
        if let (false, Some(content)) = (self.config.is_empty(), content.as_object_mut()) {
            let files = self.config.iter().map(|config| (config.name.clone(), json!(config.data)));
            content.insert("config".to_owned(), files.collect());
        }
        let migration = self.database.as_ref().filter(|database| database.migration.is_some());
        if let (Some(database), Some(content)) = (migration, content.as_object_mut()) {
            content.insert(
                "migration".to_owned(),
                json!({ "database": database.name, "does": database.migration.as_ref().map(Migration::what_runs) }),
            );
        }
        RevisionId::of(&content)
    }

    /// Returns the pod that a migration has of its own.
    #[must_use]
    pub fn migration_pod(&self) -> Option<&PodTemplate> {
        match &self.database.as_ref()?.migration.as_ref()?.source {
            MigrationSource::Pod(template) => Some(template),
            MigrationSource::Workload(_) | MigrationSource::Sql(_) => None,
        }
    }

    /// Returns every image that runs, with the name of its container.
    pub fn all_images(&self) -> impl Iterator<Item = (&str, &str)> {
        self.templates().flat_map(PodTemplate::images)
    }

    /// Returns every pod template of the user's.
    pub fn templates(&self) -> impl Iterator<Item = &PodTemplate> {
        let workloads = self.workloads.iter().map(|workload| &workload.template);
        let checks = self.checks.iter().filter_map(Check::pod);
        let hooks = self.hooks.iter().map(|hook| &hook.job.template);
        let migration = self.database.as_ref().and_then(|database| database.migration.as_ref());
        let contract = migration.and_then(|migration| migration.rehearse.contract.as_ref());
        workloads.chain(checks).chain(hooks).chain(self.migration_pod()).chain(contract)
    }

    /// Returns the checks of one phase.
    pub fn checks_of(&self, phase: CheckPhase) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.phase == phase)
    }

    /// Returns a Service by its name, with the workload behind it.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<(&Workload, &WorkloadService)> {
        self.services().find(|(_, service)| service.name == name)
    }

    /// Returns each Service with the workload behind it, in the order in which they are switched.
    pub fn services(&self) -> impl Iterator<Item = (&Workload, &WorkloadService)> {
        self.workloads.iter().flat_map(|workload| workload.services.iter().map(move |service| (workload, service)))
    }
}

/// Returns whether a version is a semantic one (semver.org 2.0.0).
#[must_use]
pub fn is_semantic(version: &str) -> bool {
    semver::Version::parse(version).is_ok()
}
