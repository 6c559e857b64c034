//! Jobs in which the agent works on databases and storages; pure.
//!
//! In: what shall be done, with which database and storages, by whose order. Out: the Job as JSON, under Pod Security
//! `restricted` unless the image is the user's. Never here: choices about when.
//!
//! | verb | image | tried again by Kubernetes | ended by Kubernetes |
//! |---|---|---|---|
//! | `inspect` | the agent's | up to three times, also after a disruption | after its deadline |
//! | `pending` | the user's | up to three times, also after a disruption | after its deadline |
//! | `mark` | the agent's | never | never: it ends itself |
//! | `backup` | PostgreSQL's programs | never | some time after it should have ended itself |
//! | `migrate` | the agent's, or the user's | never | never: it ends itself |
//! | `restore-loss` | PostgreSQL's programs | up to three times, also after a disruption | after its deadline |
//! | `restore-data` | PostgreSQL's programs | never | never: it ends itself |
//! | `rehearse` | both, and the old version's | up to three times, also after a disruption | after its deadline |
//! | `report` | the agent's | up to three times, also after a disruption | after its deadline |
//!
//! Those that write (all but `inspect`, `pending`, `restore-loss`, `rehearse`, which writes to nothing that outlives it, and
//! `report`, which writes the same once) are made suspended: whoever makes them writes down their UID and resumes them then
//! ([`resume_patch`]), so that no attempt is forgotten. None goes by itself but some of Releases, whose word is known then or
//! may be asked for again (`release/manifests/database.rs`).

mod pod;
pub mod probe;
mod rehearsal;
pub mod seen;
pub mod targets;
mod volumes;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Value, json};

pub use pod::{AGENT_CONTAINER, furnish, resources};
pub use rehearsal::{CONTRACT_PREFIX, REHEARSE_CONTAINER, RESTORE_CONTAINER};
pub use volumes::{database_mount, database_volume};

use crate::{
    api::{
        BackupStorageSpec, DataLoss, Duration, GROUP, JobSettings, PodTemplate, PostgresSettings, RehearsalVariable,
        ScratchSettings, VERSION, labels,
    },
    protocol::{
        BackupParameters, BackupResult, DatabaseFacts, Done, EXIT_FAILED, InspectParameters, InspectResult,
        MarkParameters, MigrateParameters, MigrateResult, PendingParameters, PendingResult, RehearseParameters,
        RehearseResult, ReportParameters, ReportResult, RestoreDataParameters, RestoreDataResult, Word, paths,
    },
};

/// How often the Job controller starts another pod of a Job that only looks.
const RETRIES: u8 = 3;
/// How long a Job that only looks may take, with pulling its image, in seconds.
const LOOK_SECONDS: u64 = 300;
/// How much longer than its work a backup may live: pulling images, starting, reporting, in seconds.
const START_SECONDS: u64 = 900;

/// What the agent shall do.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Look.
    Inspect(InspectParameters),
    /// Ask a migration's own command whether anything is due.
    Pending(PendingParameters),
    /// Write the marker of a database.
    Mark(MarkParameters),
    /// Take a backup.
    Backup(BackupParameters),
    /// Migrate.
    Migrate(MigrateParameters),
    /// Try a migration on a restored copy; no longer than this.
    Rehearse(Box<RehearseParameters>, Duration),
    /// Write what became of a release.
    Report(ReportParameters),
    /// Count what would be lost if a backup took the place of its database.
    RestoreLoss(Box<RestoreDataParameters>),
    /// Restore a backup beside its database and put it in its place.
    RestoreData(Box<RestoreDataParameters>),
}

impl Work {
    /// Returns the agent's command, which is also the value of the label [`labels::VERB`].
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Inspect(_) => InspectResult::VERB,
            Self::Pending(_) => PendingResult::VERB,
            Self::Mark(_) => DatabaseFacts::VERB,
            Self::Backup(_) => BackupResult::VERB,
            Self::Migrate(_) => MigrateResult::VERB,
            Self::Rehearse(..) => RehearseResult::VERB,
            Self::Report(_) => ReportResult::VERB,
            Self::RestoreLoss(_) => DataLoss::VERB,
            Self::RestoreData(_) => RestoreDataResult::VERB,
        }
    }

    /// Returns whether it changes something outside the cluster that a second run would change again: such a Job is made
    /// suspended and runs once.
    #[must_use]
    pub const fn writes(&self) -> bool {
        match self {
            Self::Inspect(_) | Self::Pending(_) | Self::Rehearse(..) | Self::Report(_) | Self::RestoreLoss(_) => false,
            Self::Mark(_) | Self::Backup(_) | Self::Migrate(_) | Self::RestoreData(_) => true,
        }
    }

    fn parameters(&self) -> String {
        fn text(parameters: &impl Serialize) -> String {
            serde_json::to_string(parameters).unwrap_or_default()
        }
        match self {
            Self::Inspect(parameters) => text(parameters),
            Self::Pending(parameters) => text(parameters),
            Self::Mark(parameters) => text(parameters),
            Self::Backup(parameters) => text(parameters),
            Self::Migrate(parameters) => text(parameters),
            Self::Rehearse(parameters, _) => text(parameters),
            Self::Report(parameters) => text(parameters),
            Self::RestoreLoss(parameters) | Self::RestoreData(parameters) => text(parameters),
        }
    }
}

/// In which image the agent works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Image<'a> {
    /// Its own.
    Agent,
    /// One with PostgreSQL's programs.
    Tools(&'a str),
    /// That of a container of the user's, with everything that container has but its probes and its command.
    User {
        /// The user's pod.
        pod: &'a PodTemplate,
        /// Name of the container in it.
        container: &'a str,
    },
}

/// With whose rights the agent works on a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Of the role that owns the application's tables.
    Owner,
    /// Of the role that takes backups.
    Backup,
    /// Of the role that migrates.
    Migrate,
    /// Of the role that makes, renames and closes databases.
    Admin,
}

impl Role {
    /// Returns the folder with the files of a role that is mounted beside the first one.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        Path::new(paths::ROLE_SECRETS).join(self.as_str())
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Backup => "backup",
            Self::Migrate => "migrate",
            Self::Admin => "admin",
        }
    }
}

/// A scratch server beside the agent, in a container without secrets and with a user of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scratch<'a> {
    /// Image with PostgreSQL's programs.
    pub image: &'a str,
    /// Where its data is.
    pub settings: &'a ScratchSettings,
    /// Size of the database that is restored there, in bytes.
    pub database_bytes: i64,
}

/// What a rehearsal has beside the migration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rehearsal<'a> {
    /// Environment in place of what comes from Secrets.
    pub env: &'a [RehearsalVariable],
    /// A pod of the old version.
    pub contract: Option<&'a PodTemplate>,
    /// Whether a command takes the migration back.
    pub down: bool,
}

/// An object that owns a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner<'a> {
    /// Its kind, one of ours.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
}

impl Owner<'_> {
    /// Returns the owner reference. `blockOwnerDeletion` stays unset: it would need a right on finalizers.
    #[must_use]
    pub fn reference(&self) -> Value {
        json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": true,
        })
    }
}

/// A Job of the agent.
#[derive(Debug, Clone)]
pub struct AgentJob<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Labels of the Job and of its pods; [`labels::VERB`] is added.
    pub labels: BTreeMap<&'static str, String>,
    /// Owner references, the one that controls first.
    pub owners: Vec<Value>,
    /// What is done.
    pub work: &'a Work,
    /// Image of the agent.
    pub agent_image: &'a str,
    /// In which image it works.
    pub image: Image<'a>,
    /// The database whose Secrets are mounted, and whose role's.
    pub database: Option<(&'a PostgresSettings, Role)>,
    /// Roles at the same server whose Secrets are mounted beside.
    pub also: &'a [Role],
    /// The storages that are mounted, by name.
    pub storages: Vec<(&'a str, &'a BackupStorageSpec)>,
    /// ConfigMap with files of SQL.
    pub migrations: Option<&'a str>,
    /// A scratch server.
    pub scratch: Option<Scratch<'a>>,
    /// What makes it a rehearsal, whose pod has several containers one after the other.
    pub rehearsal: Option<Rehearsal<'a>>,
    /// What the namespace's people want for its pods.
    pub settings: &'a JobSettings,
}

impl AgentJob<'_> {
    /// Returns the Job.
    #[must_use]
    pub fn manifest(&self) -> Value {
        let mut spec = self.bounds();
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("suspend".into(), self.work.writes().into());
            // A second pod must not start while the first one still ends.
            spec.insert("podReplacementPolicy".into(), "Failed".into());
            spec.insert("template".into(), self.template());
        }
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": self.all_labels(),
                "ownerReferences": self.owners,
            },
            "spec": spec,
        })
    }

    /// Returns the pod template, for a dry run of the pod by itself.
    #[must_use]
    pub fn template(&self) -> Value {
        let mut template = json!({ "metadata": { "labels": self.all_labels() }, "spec": pod::spec(self) });
        furnish(&mut template, self.settings);
        template
    }

    fn all_labels(&self) -> BTreeMap<&'static str, String> {
        let mut all = self.labels.clone();
        all.insert("app.kubernetes.io/managed-by", "switchback".to_owned());
        all.insert(labels::VERB, self.work.verb().to_owned());
        all
    }

    /// Returns how often and how long it may run.
    fn bounds(&self) -> Value {
        let disrupted = json!([{ "type": "DisruptionTarget", "status": "True" }]);
        // With Ignore the Job controller would start a replacement by itself, beside what the first one left.
        let fail = json!({ "rules": [{ "action": "FailJob", "onPodConditions": disrupted }] });
        match self.work {
            Work::Inspect(_) | Work::Pending(_) | Work::Report(_) => {
                json!({
                    "backoffLimit": RETRIES,
                    "activeDeadlineSeconds": LOOK_SECONDS,
                    "podFailurePolicy": { "rules": unless_refused(&[AGENT_CONTAINER], disrupted) },
                })
            }
            Work::Rehearse(_, limit) => {
                let containers = [RESTORE_CONTAINER, REHEARSE_CONTAINER, AGENT_CONTAINER];
                json!({
                    "backoffLimit": RETRIES,
                    "activeDeadlineSeconds": limit.as_std().as_secs() + START_SECONDS,
                    "podFailurePolicy": { "rules": unless_refused(&containers, disrupted) },
                })
            }
            Work::Backup(parameters) => json!({
                "backoffLimit": 0,
                "activeDeadlineSeconds": parameters.timeout.as_std().as_secs() + START_SECONDS,
                "podFailurePolicy": fail,
            }),
            Work::RestoreLoss(parameters) => json!({
                "backoffLimit": RETRIES,
                "activeDeadlineSeconds": parameters.timeout.as_std().as_secs() + START_SECONDS,
                "podFailurePolicy": { "rules": unless_refused(&[AGENT_CONTAINER], disrupted) },
            }),
            Work::Mark(_) | Work::Migrate(_) | Work::RestoreData(_) => {
                json!({ "backoffLimit": 0, "podFailurePolicy": fail })
            }
        }
    }
}

/// Returns the rules for a Job that may run again: not when one of these containers has said no.
fn unless_refused(containers: &[&str], disrupted: Value) -> Vec<Value> {
    let refused = |name: &&str| {
        let codes = json!({ "containerName": name, "operator": "In", "values": [EXIT_FAILED] });
        json!({ "action": "FailJob", "onExitCodes": codes })
    };
    let ignored = json!({ "action": "Ignore", "onPodConditions": disrupted });
    [ignored].into_iter().chain(containers.iter().map(refused)).collect()
}

/// Returns the merge patch that lets a suspended Job with this UID begin.
#[must_use]
pub fn resume_patch(uid: &str) -> Value {
    json!({ "metadata": { "uid": uid }, "spec": { "suspend": false } })
}

/// Returns the image with PostgreSQL's programs for a server: the one that is named, or the operator's for the major
/// version. `server_version` is as the server says it: `15.18`.
#[must_use]
pub fn tools_image(named: Option<&str>, template: &str, server_version: &str) -> String {
    let major = server_version.split('.').next().unwrap_or_default();
    named.map_or_else(|| template.replace("{major}", major), str::to_owned)
}
