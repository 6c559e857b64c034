//! What was seen of the objects that a Release has made.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{
    Record, RevisionId,
    labels::{REVISION, Role, WORKLOAD},
};

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
    /// Names of the config that its content brings.
    pub config: Vec<String>,
}

/// An object of any kind, as far as who owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSeen {
    /// Its UID.
    pub uid: String,
    /// The version that was read.
    pub resource_version: String,
    /// UID of the Release that its labels name.
    pub release: String,
    /// Whether that Release controls it.
    pub ours: bool,
    /// Kind and name of what controls it, in words.
    pub controller: Option<String>,
    /// UIDs of the Releases and `ControllerRevision`s that own it.
    pub owners: Vec<String>,
}

/// An object of somebody else that a create has met under a name that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenSeen {
    /// Kind, namespace and name.
    pub object: String,
    /// Kind and name of what controls it, in words.
    pub controller: Option<String>,
}

/// A Deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version that was read; guards its size and its end.
    pub resource_version: String,
    /// Value of the fence annotation.
    pub fence: Option<String>,
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
    /// Pods that are ready, by the Deployment controller's word.
    pub ready: i32,
    /// Pods that were ready for `minReadySeconds`.
    pub available: i32,
    /// Whether it ran before its Release did: its pods have none of our labels.
    pub adopted: bool,
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
    /// UID of what controls it, and its kind and name in words.
    pub controller: Option<(String, String)>,
    /// Whether it has the label of a Release.
    pub labelled: bool,
    /// What it is for.
    pub role: Option<Role>,
    /// Whether its label says another thing than what status remembers it for.
    pub mislabelled: bool,
    /// Its whole selector.
    pub selector: BTreeMap<String, String>,
    /// Workload and digits of what was taken over with it, while it selects what it selected then.
    pub adopted: Option<(String, String)>,
    /// Value of the fence annotation.
    pub fence: Option<String>,
    /// When our last write of it was, in whole seconds.
    pub written_at: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// A selector that was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContestSeen {
    /// Name of the Service.
    pub service: String,
    /// The field manager that had written it, when that is known.
    pub by: Option<String>,
    /// When it was put back last.
    pub at: Timestamp,
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
    /// The Deployment that it was made for, by the name of its ReplicaSet.
    pub deployment: Option<String>,
    /// The Job it belongs to.
    pub job: Option<String>,
    /// What its containers run, as the node says: names and image IDs; nothing for pods of Jobs.
    pub images: Vec<(String, String)>,
    /// Its Ready condition.
    pub ready: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether all its containers have ended for good: it takes up a name and nothing else.
    pub ended: bool,
    /// Why it does not run or is not ready, from its containers.
    pub problem: Option<String>,
    /// When the cluster began to evict it, for what is no doing of its own.
    pub disrupted: Option<Timestamp>,
    /// Whether its agent container runs or ran.
    pub agent_ran: bool,
    /// What its agent container left as termination message.
    pub message: Option<String>,
    /// Why a container of the old version, which should work on a migrated copy, has ended.
    pub contract: Option<String>,
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
    /// Whether Kubernetes removes it some time after its end.
    pub expires: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl JobSeen {
    /// Returns whether it has ended and goes without anybody deleting it.
    #[must_use]
    pub fn goes_by_itself(&self) -> bool {
        self.expires && self.state != JobState::Running
    }
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

impl PodSeen {
    /// Returns whether it is a pod of a workload in a revision.
    #[must_use]
    pub fn is_of(&self, workload: &str, revision: &RevisionId) -> bool {
        self.job.is_none() && self.workload == workload && self.revision == revision.digits()
    }

    pub(super) fn serves(&self) -> bool {
        self.ready && !self.deleting
    }
}

impl ServiceSeen {
    /// Recognises a Service by what status remembers of it: one that traffic was moved by carries traffic, whatever somebody
    /// writes on its label; and a selector that was found when it was taken over names no revision.
    #[must_use]
    pub fn known_by(mut self, record: &Record) -> Self {
        if record.traffic.iter().any(|traffic| traffic.service == self.name) {
            self.mislabelled = self.role != Some(Role::Active);
            self.role = Some(Role::Active);
        }
        let adoption = record.adoption.as_ref();
        let adopted = adoption.and_then(|adoption| Some((adoption.behind(&self.name)?, adoption.revision.digits())));
        self.adopted = adopted
            .filter(|(adopted, _)| adopted.selector == self.selector)
            .map(|(adopted, digits)| (adopted.workload.clone(), digits.to_owned()));
        self
    }

    /// Returns whether the selector names a revision.
    #[must_use]
    pub fn selects(&self, revision: &RevisionId) -> bool {
        self.selected() == Some(revision.digits())
    }

    /// Returns the workload that the selector names.
    #[must_use]
    pub fn workload(&self) -> Option<&str> {
        let adopted = self.adopted.as_ref().map(|(workload, _)| workload);
        adopted.or_else(|| self.selector.get(WORKLOAD)).map(String::as_str)
    }

    /// Returns the digits that the selector names.
    #[must_use]
    pub fn selected(&self) -> Option<&str> {
        let adopted = self.adopted.as_ref().map(|(_, digits)| digits);
        adopted.or_else(|| self.selector.get(REVISION)).map(String::as_str)
    }
}
