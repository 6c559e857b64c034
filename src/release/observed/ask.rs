//! What a plan must know first, and the answers.

use std::collections::BTreeMap;

use super::{
    AttemptSeen, BackupSeen, DefaultsSeen, NetworkPolicySeen, ObjectSeen, QuotaSeen, RunningSeen, SelectingSeen,
    ServiceSeen,
};
use crate::release::manifests::{Kind, Manifest};

/// What a plan asks for before it can be made.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// A strict dry-run create.
    DryRun(Box<Manifest>),
    /// The Service as it is now, not as it was cached.
    LiveService(String),
    /// The quotas of the namespace, and what its limits give to containers.
    Quotas,
    /// The object of this kind and name as it is now.
    LiveObject(Kind, String),
    /// The Deployment or Service of this name as it runs, whoever it belongs to.
    Running(Kind, String),
    /// Who else writes the selector of a Service.
    SelectorManager(String),
    /// Everything of this kind in the namespace that selects pods or scales Deployments, but perhaps for what Releases made.
    Selecting(Kind),
    /// The NetworkPolicies of the namespace that say who may reach pods.
    NetworkPolicies,
    /// The pods that a label selector selects, whoever they belong to.
    PodsOf(String),
    /// The DatabaseBackup as it is now.
    LiveBackup(String),
    /// The DatabaseBackups of this DatabaseInstance as they are now, whoever asked for them.
    BackupsOf(String),
    /// The `ControllerRevision`s of the Release with this UID as they are now.
    LiveAttempts(String),
    /// Whether the Release with this name and UID exists.
    LiveRelease {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// What still works, or may come to work, of what a label selector selects.
    Left(String),
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
    /// Whether the API server would take the object cannot be asked: something that has a say in it does not take dry runs.
    Untried {
        /// The server's words.
        message: String,
    },
    /// The API server would refuse the object.
    Refused {
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The live Service; `None` when there is none.
    Service(Option<Box<ServiceSeen>>),
    /// The live object; `None` when there is none.
    Object(Option<ObjectSeen>),
    /// What runs; `None` when nothing does.
    Running(Option<Box<RunningSeen>>),
    /// The field manager that wrote a selector last, beside us; `None` when that is not known.
    Manager(Option<String>),
    /// The quotas, and what containers get that do not say.
    Quotas(Vec<QuotaSeen>, DefaultsSeen),
    /// What selects pods or scales Deployments.
    Selecting(Vec<SelectingSeen>),
    /// The NetworkPolicies; `None` where they are not ours to list.
    NetworkPolicies(Option<Vec<NetworkPolicySeen>>),
    /// Names and labels of pods.
    Pods(Vec<(String, BTreeMap<String, String>)>),
    /// The live DatabaseBackup; `None` when there is none.
    Backup(Option<Box<BackupSeen>>),
    /// The live DatabaseBackups.
    Backups(Vec<BackupSeen>),
    /// The live `ControllerRevision`s.
    Attempts(Vec<AttemptSeen>),
    /// Something that still works, in words; `None` when nothing does.
    Left(Option<String>),
    /// Whether the Decision, or the Release, exists.
    Exists(bool),
}
