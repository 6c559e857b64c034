//! What was seen of one Release and everything that belongs to it, as plain data.
//!
//! The plan takes nothing else: no client, no clock (`now` is a field), no randomness.

mod database;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

pub use database::{BackupSeen, BackupState, InstanceSeen, StorageSeen};

use super::manifests::Manifest;
use crate::api::{
    ActiveRevision, Approval, DecisionKind, Record, ReleasePolicySpec, ReleaseSpec, ReleaseStatus, RevisionId, Step,
    labels::{self, Role},
};

/// Everything one look at a Release has shown.
#[derive(Debug, Clone)]
pub struct Observed {
    /// When the look was taken.
    pub now: Timestamp,
    /// The Release itself.
    pub release: ReleaseSeen,
    /// Frozen contents of attempts, by the attempt's number; only those that this look needs.
    pub contents: BTreeMap<i64, Arc<ReleaseSpec>>,
    /// `ControllerRevision`s of the Release.
    pub attempts: Vec<AttemptSeen>,
    /// Deployments of the Release.
    pub deployments: Vec<DeploymentSeen>,
    /// Services of the Release.
    pub services: Vec<ServiceSeen>,
    /// Endpoints behind these Services.
    pub slices: Vec<SliceSeen>,
    /// Pods of the Release, of revisions and of Jobs.
    pub pods: Vec<PodSeen>,
    /// Jobs of the Release.
    pub jobs: Vec<JobSeen>,
    /// DatabaseInstances of the namespace.
    pub instances: Vec<InstanceSeen>,
    /// BackupStorages of the namespace.
    pub storages: Vec<StorageSeen>,
    /// DatabaseBackups that attempts of the Release have asked for.
    pub backups: Vec<BackupSeen>,
    /// ReleasePolicies of the namespace that match the Release.
    pub policies: Vec<PolicySeen>,
    /// Decisions about the Release, by its UID or its name.
    pub decisions: Vec<DecisionSeen>,
    /// Whether the admission policies guard Decisions.
    pub guard: Guard,
    /// Object of somebody else that a create has just met under a name that is needed.
    pub taken: Option<String>,
    /// Answers to what the plan asked for in this look.
    pub answers: Vec<(Ask, Answer)>,
    /// What the operator was told at its start.
    pub settings: Settings,
}

/// What the operator was told at its start and manifests need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Image of the agent, for Jobs.
    pub agent_image: String,
    /// Image with PostgreSQL's own programs; `{major}` stands for the server's major version.
    pub tools_image: String,
}

/// The Release itself.
#[derive(Debug, Clone)]
pub struct ReleaseSeen {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The version that was read; guards every write to the Release.
    pub resource_version: String,
    /// Its finalizers, others' included.
    pub finalizers: Vec<String>,
    /// Whether ours is among them.
    pub finalizer: bool,
    /// What is asked for.
    pub spec: Arc<ReleaseSpec>,
    /// The revision of that spec.
    pub wanted: RevisionId,
    /// Its status as read.
    pub status: Arc<ReleaseStatus>,
}

/// A `ControllerRevision` of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// What it is for.
    pub role: Option<Role>,
    /// Number of the attempt whose content it holds; 0 for the anchor.
    pub number: i64,
    /// Digits of its revision.
    pub revision: String,
}

/// A Deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether our Release controls it.
    pub ours: bool,
    /// Digits of its revision.
    pub revision: String,
    /// The workload.
    pub workload: String,
    /// Pods asked for.
    pub replicas: i32,
    /// Pods that exist.
    pub existing: i32,
    /// Pods that were ready for `minReadySeconds`.
    pub available: i32,
    /// Whether the Deployment controller has seen the present spec.
    pub observed: bool,
    /// What the Deployment controller could not do: quota, admission.
    pub problem: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version that was read; guards every patch.
    pub resource_version: String,
    /// Whether our Release controls it.
    pub ours: bool,
    /// What it is for.
    pub role: Option<Role>,
    /// Its whole selector.
    pub selector: BTreeMap<String, String>,
    /// Value of the fence annotation.
    pub fence: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// One EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceSeen {
    /// The Service it belongs to.
    pub service: String,
    /// Its endpoints.
    pub endpoints: Vec<EndpointSeen>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSeen {
    /// Name of the pod behind it.
    pub pod: String,
    /// Whether it takes traffic.
    pub ready: bool,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// Digits of its revision.
    pub revision: String,
    /// The workload; empty for pods of Jobs.
    pub workload: String,
    /// The Job it belongs to.
    pub job: Option<String>,
    /// Its Ready condition.
    pub ready: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Why it does not run or is not ready, from its containers.
    pub problem: Option<String>,
    /// Whether its agent container runs or ran.
    pub agent_ran: bool,
    /// What its agent container left as termination message.
    pub message: Option<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// A Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether our Release controls it.
    pub ours: bool,
    /// Digits of its revision.
    pub revision: String,
    /// Whether it waits to be resumed.
    pub suspended: bool,
    /// How far it is, from its conditions alone.
    pub state: JobState,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// How far a Job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Neither complete nor failed.
    Running,
    /// The Job controller says complete.
    Complete,
    /// The Job controller says failed.
    Failed {
        /// Its word for machines.
        reason: String,
        /// Its words.
        message: String,
    },
}

/// A Decision.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
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
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
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

/// Whether the admission policies guard Decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// They do, and have since then; a Decision created earlier does not count.
    Since(Timestamp),
    /// They do not: what is missing or changed.
    Missing(String),
}

/// What a plan asks for before it can be made.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// A strict dry-run create.
    DryRun(Box<Manifest>),
    /// The Service as it is now, not as it was cached.
    LiveService(String),
    /// The DatabaseBackup as it is now.
    LiveBackup(String),
    /// The `ControllerRevision`s of the Release with this UID as they are now.
    LiveAttempts(String),
    /// Whether the Release with this name and UID exists.
    LiveRelease {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// Whether the Decision with this name and UID still exists.
    LiveDecision {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
}

/// An answer to what was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The API server would take the object.
    Accepted,
    /// The API server would refuse the object.
    Refused {
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The live Service; `None` when there is none.
    Service(Option<Box<ServiceSeen>>),
    /// The live DatabaseBackup; `None` when there is none.
    Backup(Option<Box<BackupSeen>>),
    /// The live `ControllerRevision`s.
    Attempts(Vec<AttemptSeen>),
    /// Whether the Decision, or the Release, exists.
    Exists(bool),
}

impl Observed {
    /// Returns what is remembered, as read.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.release.status.record
    }

    /// Returns the answer to a question of this look.
    #[must_use]
    pub fn answer(&self, ask: &Ask) -> Option<&Answer> {
        self.answers.iter().find(|(asked, _)| asked == ask).map(|(_, answer)| answer)
    }

    /// Returns the attempts whose contents a look needs: of the attempt under way and of what serves, before it is frozen
    /// anew of the one to go back to, and at rest only when something of what serves is missing.
    #[must_use]
    pub fn needed_contents(&self) -> Vec<i64> {
        let record = self.record();
        let candidate = record.candidate.as_ref();
        let former =
            candidate.filter(|_| record.step == Step::Preflight).and_then(|candidate| candidate.rollback.as_ref());
        let is_missing = |service: &ServiceSeen, active: &ActiveRevision| {
            let workload = service.selector.get(labels::WORKLOAD);
            workload.is_none_or(|workload| self.deployment(workload, &active.revision).is_none())
        };
        let active = record.active.as_ref().filter(|active| {
            record.step != Step::Idle
                || record.traffic.iter().any(|traffic| self.service(&traffic.service).is_none())
                || self
                    .services
                    .iter()
                    .filter(|service| service.role == Some(Role::Active))
                    .any(|service| is_missing(service, active))
        });
        let candidate = candidate.map(|candidate| candidate.attempt);
        let former = former.map(|order| order.attempt);
        candidate.into_iter().chain(former).chain(active.map(|active| active.attempt)).collect()
    }

    /// Returns the Service with this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceSeen> {
        self.services.iter().find(|service| service.name == name && service.ours)
    }

    /// Returns the DatabaseInstance with this name.
    #[must_use]
    pub fn instance(&self, name: &str) -> Option<&InstanceSeen> {
        self.instances.iter().find(|instance| instance.name == name)
    }

    /// Returns the Deployment of a workload in a revision.
    #[must_use]
    pub fn deployment(&self, workload: &str, revision: &RevisionId) -> Option<&DeploymentSeen> {
        self.deployments
            .iter()
            .find(|seen| seen.ours && seen.workload == workload && seen.revision == revision.digits())
    }

    /// Returns the Job with this name.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<&JobSeen> {
        self.jobs.iter().find(|job| job.name == name && job.ours)
    }

    /// Returns the `ControllerRevision` of an attempt.
    #[must_use]
    pub fn attempt(&self, number: i64) -> Option<&AttemptSeen> {
        // By its exact name: label and number are what anybody may write.
        let name = super::manifests::attempt_name(&self.release, number);
        self.attempts.iter().find(|seen| seen.role == Some(Role::Attempt) && seen.number == number && seen.name == name)
    }

    /// Returns the `ControllerRevision` that holds Services.
    #[must_use]
    pub fn anchor(&self) -> Option<&AttemptSeen> {
        self.attempts.iter().find(|seen| seen.role == Some(Role::Anchor))
    }

    /// Returns how many pods of a workload in a revision are ready.
    #[must_use]
    pub fn ready_pods(&self, workload: &str, revision: &RevisionId) -> i32 {
        count(self.pods.iter().filter(|pod| pod.workload == workload && pod.serves(revision)))
    }

    /// Returns how many endpoints of a Service are ready and belong to a revision, by the endpoint's and by
    /// the pod's own word: the pod's comes first when readiness is lost.
    #[must_use]
    pub fn ready_endpoints(&self, service: &str, revision: &RevisionId) -> i32 {
        let serves = |name: &str| self.pods.iter().any(|pod| pod.name == name && pod.serves(revision));
        count(self.ready_names(service).into_iter().filter(|name| serves(name)))
    }

    /// Returns how many endpoints that take traffic do not belong to a revision.
    #[must_use]
    pub fn other_endpoints(&self, service: &str, revision: &RevisionId) -> i32 {
        let belongs = |name: &str| self.pods.iter().any(|pod| pod.name == name && pod.revision == revision.digits());
        count(self.ready_names(service).into_iter().filter(|name| !belongs(name)))
    }

    /// Returns the pods behind a Service that take traffic, each once: a pod stands in one slice per address
    /// family, and for a moment in two of the same.
    fn ready_names(&self, service: &str) -> BTreeSet<&str> {
        self.slices
            .iter()
            .filter(|slice| slice.service == service)
            .flat_map(|slice| &slice.endpoints)
            .filter(|endpoint| endpoint.ready)
            .map(|endpoint| endpoint.pod.as_str())
            .collect()
    }
}

impl PodSeen {
    fn serves(&self, revision: &RevisionId) -> bool {
        self.ready && !self.deleting && self.revision == revision.digits()
    }
}

impl ServiceSeen {
    /// Returns whether the selector names a revision.
    #[must_use]
    pub fn selects(&self, revision: &RevisionId) -> bool {
        self.selected() == Some(revision.digits())
    }

    /// Returns the digits that the selector names.
    #[must_use]
    pub fn selected(&self) -> Option<&str> {
        self.selector.get(crate::api::labels::REVISION).map(String::as_str)
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}
