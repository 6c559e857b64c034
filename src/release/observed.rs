//! What was seen of one Release and everything that belongs to it, as plain data.
//!
//! The plan takes nothing else: no client, no clock (`now` is a field), no randomness.

mod ask;
mod autoscaler;
mod database;
mod network;
mod objects;
mod people;
mod quota;
mod running;
mod selecting;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

pub use ask::{Answer, Ask};
pub use autoscaler::AutoscalerSeen;
pub use database::{BackupSeen, BackupState, InstanceSeen, StorageSeen};
pub use network::NetworkPolicySeen;
pub use objects::{
    AttemptSeen, ContestSeen, DeploymentSeen, EndpointSeen, JobSeen, JobState, ObjectSeen, PodSeen, ServiceSeen,
    SliceSeen, TakenSeen,
};
pub use people::{DecisionSeen, Guard, PolicySeen, with_defaults};
pub use quota::{Amounts, DefaultsSeen, ONE, QuotaSeen, quantity, words as amount_words};
pub use running::RunningSeen;
pub use selecting::SelectingSeen;
pub use source::{SourceSeen, Standing, artefacts, wanted};

use crate::api::{
    ActiveRevision, ChangedBy, JobSettings, Record, ReleaseSpec, ReleaseStatus, RevisionId, Step, WorkerRecord,
    labels::Role,
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
    /// Autoscalers of the Release.
    pub autoscalers: Vec<AutoscalerSeen>,
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
    /// ReleasePolicies that match it no longer and still count it among what is under way.
    pub former_policies: Vec<PolicySeen>,
    /// Releases that policies promote from, or count among what is under way.
    pub sources: Vec<SourceSeen>,
    /// Decisions about the Release, by its UID or its name.
    pub decisions: Vec<DecisionSeen>,
    /// Whether the admission policies guard Decisions.
    pub guard: Guard,
    /// Whether the API server stamps who changed a Release.
    pub stamp: Guard,
    /// The term in which this process leads: how many times the lease has changed hands; nothing without an election.
    pub term: Option<i64>,
    /// Selectors that this process has put back lately.
    pub contests: Vec<ContestSeen>,
    /// Object of somebody else that a create has just met under a name that is needed.
    pub taken: Option<TakenSeen>,
    /// Answers to what the plan asked for in this look.
    pub answers: Vec<(Ask, Answer)>,
    /// What the operator was told at its start.
    pub settings: Settings,
}

impl Observed {
    /// Returns a look that has shown nothing but a Release.
    #[must_use]
    pub fn of_release(release: ReleaseSeen, now: Timestamp) -> Self {
        let unknown = || Guard::Missing("nobody has looked".to_owned());
        Self {
            now,
            release,
            contents: BTreeMap::new(),
            attempts: vec![],
            deployments: vec![],
            autoscalers: vec![],
            services: vec![],
            slices: vec![],
            pods: vec![],
            jobs: vec![],
            instances: vec![],
            storages: vec![],
            backups: vec![],
            policies: vec![],
            former_policies: vec![],
            sources: vec![],
            decisions: vec![],
            guard: unknown(),
            stamp: unknown(),
            term: None,
            contests: vec![],
            taken: None,
            answers: vec![],
            settings: Settings::default(),
        }
    }
}

/// What the operator was told at its start and manifests need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Image of the agent, for Jobs.
    pub agent_image: String,
    /// Image with PostgreSQL's own programs; `{major}` stands for the server's major version.
    pub tools_image: String,
    /// What the pods of all our Jobs get where nobody who knows the namespace says another thing.
    pub jobs: JobSettings,
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
    /// When that was asked for.
    pub deleted_at: Option<Timestamp>,
    /// The version that was read; guards every write to the Release.
    pub resource_version: String,
    /// Its finalizers, others' included.
    pub finalizers: Vec<String>,
    /// Whether ours is among them.
    pub finalizer: bool,
    /// When it was created.
    pub created: Timestamp,
    /// What is asked for, with what policies say where it says nothing.
    pub spec: Arc<ReleaseSpec>,
    /// Who changed it, by the API server's stamp.
    pub changed_by: Option<ChangedBy>,
    /// The revision of that spec.
    pub wanted: RevisionId,
    /// Its status as read.
    pub status: Arc<ReleaseStatus>,
}

impl ReleaseSeen {
    /// Returns the command of the plugin that does this about it.
    #[must_use]
    pub fn command(&self, verb: &str) -> String {
        // A file may name none.
        let place = if self.namespace.is_empty() { String::new() } else { format!(" -n {}", self.namespace) };
        format!("kubectl switchback {verb} {}{place}", self.name)
    }
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
            service.workload().is_none_or(|workload| self.deployment(workload, &active.revision).is_none())
        };
        let active = record.active.as_ref().filter(|active| {
            let is_gone = |worker: &WorkerRecord| {
                worker.active.is_some() && self.deployment(&worker.workload, &active.revision).is_none()
            };
            record.step != Step::Idle
                || record.workers.iter().any(is_gone)
                || record.traffic.iter().any(|traffic| self.lacks(&traffic.service))
                || (self.attempt(active.attempt).is_some_and(|attempt| !attempt.config.is_empty())
                    && self.has_unready_pods(&active.revision))
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

    /// Returns what stands in for an attempt's content that cannot be read, `None` when nothing can: nothing that can be lost may
    /// keep traffic from going back, nor anybody from seeing that it has to.
    #[must_use]
    pub fn without_content(&self, number: i64) -> Option<Option<Arc<ReleaseSpec>>> {
        let record = self.record();
        let candidate = record.candidate.as_ref().filter(|candidate| candidate.attempt == number);
        match (record.step, candidate) {
            // The selector alone is enough.
            (Step::SwitchBack, _) | (Step::Watch, None) => Some(None),
            // What is watched is judged by the spec, as long as that is what was frozen.
            (Step::Watch, Some(candidate)) if candidate.generation == self.release.generation => {
                Some(Some(Arc::clone(&self.release.spec)))
            }
            _ => None,
        }
    }

    /// Returns the Service with this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceSeen> {
        self.services.iter().find(|service| service.name == name && service.ours)
    }

    /// Returns whether a Service of ours is missing, or does not say what it is for.
    #[must_use]
    pub fn lacks(&self, service: &str) -> bool {
        self.service(service).is_none_or(|service| service.mislabelled)
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

    /// Returns the pods that our Deployment of a workload in a revision has.
    pub fn own_pods(&self, workload: &str, revision: &RevisionId) -> impl Iterator<Item = &PodSeen> {
        self.pods_of(revision).filter(move |pod| pod.workload == workload)
    }

    /// Returns the pods that our Deployments in a revision have.
    pub fn pods_of(&self, revision: &RevisionId) -> impl Iterator<Item = &PodSeen> {
        self.pods.iter().filter(move |pod| self.is_own(pod, revision))
    }

    /// Returns whether a pod was made for our Deployment of its workload in a revision. Labels alone say nothing: whoever may
    /// create pods writes them.
    fn is_own(&self, pod: &PodSeen, revision: &RevisionId) -> bool {
        pod.is_of(&pod.workload, revision)
            && pod.deployment.as_ref().is_some_and(|made_for| {
                *made_for == super::manifests::deployment_name(&self.release, &pod.workload, revision)
            })
    }

    /// Returns how many pods of a workload in a revision are ready.
    #[must_use]
    pub fn ready_pods(&self, workload: &str, revision: &RevisionId) -> i32 {
        // Pods of what was taken over have no labels of ours: their Deployment speaks for them.
        let is_adopted = self.record().adopted(revision.digits()).is_some();
        let adopted = self.deployment(workload, revision).filter(|deployment| deployment.adopted || is_adopted);
        adopted.map_or(0, |deployment| deployment.ready)
            + count(self.own_pods(workload, revision).filter(|pod| pod.serves()))
    }

    /// Returns whether a pod of a revision is there and not ready.
    #[must_use]
    pub fn has_unready_pods(&self, revision: &RevisionId) -> bool {
        let is_of_it = |pod: &&PodSeen| pod.revision == revision.digits() && pod.job.is_none();
        self.pods.iter().filter(is_of_it).any(|pod| !pod.ready && !pod.deleting)
    }

    /// Returns how many endpoints of a Service are ready and belong to a revision, by the endpoint's and by
    /// the pod's own word: the pod's comes first when readiness is lost.
    #[must_use]
    pub fn ready_endpoints(&self, service: &str, revision: &RevisionId) -> i32 {
        let own = self.pods_of(revision).filter(|pod| pod.serves());
        let serving: BTreeSet<&str> = own.map(|pod| pod.name.as_str()).collect();
        let serves = |name: &str| serving.contains(name) || self.is_adopted(name, revision);
        count(self.ready_names(service).into_iter().filter(|name| serves(name)))
    }

    /// Returns how many endpoints that take traffic do not belong to a revision.
    #[must_use]
    pub fn other_endpoints(&self, service: &str, revision: &RevisionId) -> i32 {
        let belongs = |name: &str| self.pods.iter().any(|pod| pod.name == name && pod.revision == revision.digits());
        count(self.ready_names(service).into_iter().filter(|name| !belongs(name) && !self.is_adopted(name, revision)))
    }

    /// Returns whether a pod behind a Service is of what was taken over, when that is the revision: whatever such a Service
    /// selects and is not a pod of the Release.
    fn is_adopted(&self, name: &str, revision: &RevisionId) -> bool {
        self.record().adopted(revision.digits()).is_some() && !self.pods.iter().any(|pod| pod.name == name)
    }

    /// Takes an answer in.
    pub fn learn(&mut self, ask: Ask, answer: Answer) {
        let answer = match answer {
            Answer::Service(Some(service)) => {
                let mut service = service.known_by(self.record());
                // Asked for by its name: whose it is its owner says, also when somebody took the labels off.
                service.ours = service.controller.as_ref().is_some_and(|(uid, _)| *uid == self.release.uid);
                Answer::Service(Some(Box::new(service)))
            }
            other => other,
        };
        self.answers.push((ask, answer));
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

fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}
