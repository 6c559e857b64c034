//! What a plan may want done; every name that an action uses is in it; pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::Value;

use super::super::{
    manifests::{self, Kind, Manifest},
    observed::{AutoscalerSeen, BackupSeen, DecisionSeen, DeploymentSeen, InstanceSeen, JobSeen, Observed},
};
use crate::api::{Autoscaling, DatabaseIdentity, DecisionStatus, RunningRelease};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Adds our finalizer.
    AddFinalizer,
    /// Removes our finalizer: the last thing that happens to a Release.
    RemoveFinalizer,
    /// Creates an object, or finds it there as ours; then labels that somebody took off it are put back.
    Create(Box<Manifest>),
    /// Sets the number of pods of a Deployment.
    Scale {
        /// Name of the Deployment.
        deployment: String,
        /// Its UID.
        uid: String,
        /// The version that was read: one that has changed since is looked at again.
        resource_version: String,
        /// Pods.
        replicas: i32,
    },
    /// Sets between how many pods an autoscaler keeps its Deployment, and by what.
    Autoscale {
        /// Name of the HorizontalPodAutoscaler.
        autoscaler: String,
        /// Pods at least.
        least: i32,
        /// Pods at most.
        most: i32,
        /// A merge patch with UID and resourceVersion.
        patch: Value,
    },
    /// Writes an object, so that whoever still holds the version from before is refused.
    Touch {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// The version that was read.
        resource_version: String,
        /// New value of the fence annotation.
        fence: String,
    },
    /// Puts labels of ours back on an object.
    Label {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// A merge patch with UID and resourceVersion.
        patch: Value,
    },
    /// Points a Service.
    Point {
        /// Name of the Service.
        service: String,
        /// A merge patch with UID and resourceVersion.
        patch: Value,
        /// What is written instead when the API server finds the whole invalid: the selector alone.
        otherwise: Option<Value>,
    },
    /// Points a Service back that somebody else pointed elsewhere.
    PutBack {
        /// Name of the Service.
        service: String,
        /// A merge patch with UID and resourceVersion.
        patch: Value,
        /// The field manager that had written it, when that is known.
        by: Option<String>,
    },
    /// Takes over what ran before, by labels and owners; and of a Service the selector, as it is.
    TakeOver(Box<Manifest>),
    /// Deletes an object of ours.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// The version that was read, where an object that has changed since must stay.
        resource_version: Option<String>,
    },
    /// Takes its owners off an object, so that it outlives them.
    Disown {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// UIDs of the owners.
        owners: Vec<String>,
    },
    /// Lets a Job that was made suspended begin.
    Resume {
        /// Name of the Job.
        job: String,
        /// Its UID.
        uid: String,
    },
    /// Claims a DatabaseInstance for the Release.
    Claim {
        /// Name of the DatabaseInstance.
        instance: String,
        /// Its UID.
        uid: String,
        /// The version that was read: of two Releases one is refused.
        resource_version: String,
    },
    /// Says who the database of a DatabaseInstance is now: a backup has taken the place of the former one.
    Identify {
        /// Name of the DatabaseInstance.
        instance: String,
        /// Its UID.
        uid: String,
        /// The version that was read: what was learned meanwhile is looked at again.
        resource_version: String,
        /// Who it is.
        identity: Box<DatabaseIdentity>,
        /// When that was seen.
        at: MicroTime,
    },
    /// Says of which Releases something is under way.
    SetRunning {
        /// Name of the ReleasePolicy.
        policy: String,
        /// Its UID.
        uid: String,
        /// The version that was read: of two Releases one is refused.
        resource_version: String,
        /// The Releases.
        running: Vec<RunningRelease>,
    },
    /// Takes a DatabaseBackup that is there already into use, so that it stays while it is needed.
    Hold {
        /// Name of the DatabaseBackup.
        backup: String,
        /// Its UID.
        uid: String,
        /// The version that was read: one that has changed since is looked at again.
        resource_version: String,
        /// All of its finalizers from then on.
        finalizers: Vec<String>,
    },
    /// Lets go of a DatabaseBackup.
    LetGo {
        /// Name of the DatabaseBackup.
        backup: String,
        /// Its UID.
        uid: String,
        /// The version that was read.
        resource_version: String,
        /// The finalizers that stay.
        finalizers: Vec<String>,
    },
    /// Says what became of a Decision.
    Settle {
        /// Name of the Decision.
        decision: String,
        /// The version that was read.
        resource_version: String,
        /// What became of it.
        status: DecisionStatus,
    },
}

impl Action {
    /// Deletes an object of ours.
    pub(super) fn delete(kind: Kind, name: &str, uid: &str) -> Self {
        Self::Delete { kind, name: name.to_owned(), uid: uid.to_owned(), resource_version: None }
    }

    /// Deletes a Deployment, unless it has changed since: it may be needed again.
    pub(super) fn remove(deployment: &DeploymentSeen) -> Self {
        Self::Delete {
            kind: Kind::Deployment,
            name: deployment.name.clone(),
            uid: deployment.uid.clone(),
            resource_version: Some(deployment.resource_version.clone()),
        }
    }

    /// Says what became of a Decision.
    pub(super) fn settle(decision: &DecisionSeen, status: DecisionStatus) -> Self {
        Self::Settle { decision: decision.name.clone(), resource_version: decision.resource_version.clone(), status }
    }

    /// Deletes a DatabaseBackup, unless it has come to its end meanwhile.
    pub(super) fn withdraw(backup: &BackupSeen) -> Self {
        Self::Delete {
            kind: Kind::DatabaseBackup,
            name: backup.name.clone(),
            uid: backup.uid.clone(),
            resource_version: Some(backup.resource_version.clone()),
        }
    }

    /// Lets a Job that was made suspended begin.
    pub(super) fn resume(job: &JobSeen) -> Self {
        Self::Resume { job: job.name.clone(), uid: job.uid.clone() }
    }

    /// Claims a DatabaseInstance.
    pub(super) fn claim(instance: &InstanceSeen) -> Self {
        Self::Claim {
            instance: instance.name.clone(),
            uid: instance.uid.clone(),
            resource_version: instance.resource_version.clone(),
        }
    }

    /// Takes a DatabaseBackup into use.
    pub(super) fn hold(backup: &BackupSeen) -> Self {
        let ours = crate::api::labels::IN_USE;
        let others = backup.finalizers.iter().filter(|name| *name != ours).cloned();
        Self::Hold {
            backup: backup.name.clone(),
            uid: backup.uid.clone(),
            resource_version: backup.resource_version.clone(),
            finalizers: others.chain([ours.to_owned()]).collect(),
        }
    }

    /// Says who the database of a DatabaseInstance is now.
    pub(super) fn identify(instance: &InstanceSeen, identity: DatabaseIdentity, now: Timestamp) -> Self {
        Self::Identify {
            instance: instance.name.clone(),
            uid: instance.uid.clone(),
            resource_version: instance.resource_version.clone(),
            identity: Box::new(identity),
            at: MicroTime(now),
        }
    }

    /// Lets go of a DatabaseBackup.
    pub(super) fn let_go(backup: &BackupSeen) -> Self {
        let ours = crate::api::labels::IN_USE;
        Self::LetGo {
            backup: backup.name.clone(),
            uid: backup.uid.clone(),
            resource_version: backup.resource_version.clone(),
            finalizers: backup.finalizers.iter().filter(|name| *name != ours).cloned().collect(),
        }
    }

    /// Lets go of every DatabaseBackup that is held.
    pub(super) fn let_go_all(seen: &Observed) -> impl Iterator<Item = Self> {
        seen.backups.iter().filter(|backup| backup.is_held()).map(Self::let_go)
    }

    /// Deletes every Job but those that go by themselves.
    pub(super) fn delete_jobs(seen: &Observed) -> impl Iterator<Item = Self> {
        let jobs = seen.jobs.iter().filter(|job| job.ours && !job.deleting && !job.goes_by_itself());
        jobs.map(|job| Self::delete(Kind::Job, &job.name, &job.uid))
    }

    /// Sets between how many pods an autoscaler keeps its Deployment, and by what where that has changed.
    pub(super) fn autoscale(found: &AutoscalerSeen, (least, most): (i32, i32), asked: Option<&Autoscaling>) -> Self {
        let patch = manifests::autoscaler_patch(found, (least, most), asked);
        Self::Autoscale { autoscaler: found.name.clone(), least, most, patch }
    }

    /// Sets the number of pods of a Deployment.
    pub(super) fn scale(deployment: &DeploymentSeen, replicas: i32) -> Self {
        Self::Scale {
            deployment: deployment.name.clone(),
            uid: deployment.uid.clone(),
            resource_version: deployment.resource_version.clone(),
            replicas,
        }
    }
}
