//! The database of a Release: what is backed up before, and what changes its schema.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, PodTemplate, ProofLevel, ReleaseSpec, names};

/// The database of a Release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseDatabase {
    /// Name of a DatabaseInstance in this namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub name: String,
    /// The backup that is taken before anything changes.
    #[serde(default, skip_serializing_if = "ReleaseBackup::is_default")]
    pub backup: ReleaseBackup,
    /// What changes the schema: before the new version comes up, or once nothing of the old one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
}

/// The backup that a release takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseBackup {
    /// Names of BackupStorages; all must hold it (default: those of the DatabaseInstance).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 253), regex(pattern = names::OBJECT)))]
    pub storage: Vec<String>,
    /// How far it is proven before the release goes on (default: Restored when there is a migration, else Stored).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofLevel>,
    /// How old a backup may be that is used instead of taking another: the newest one of the database that every storage
    /// holds, proven as far as is asked (default: 0s, one is always taken). What was written since it was taken is not in
    /// it.
    #[serde(skip_serializing_if = "is_zero")]
    pub reuse: Duration,
}

impl ReleaseBackup {
    /// Returns whether one that is there already may serve.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        !is_zero(&self.reuse)
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What changes the schema.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "[has(self.workload), has(self.pod), has(self.sql)].filter(x, x).size() == 1",
    "name exactly one of workload, pod and sql"
))]
#[x_kube(validation = (
    "has(self.sql) != has(self.command)",
    "command is required with workload and pod, and means nothing with sql: an image's own entry point is never run"
))]
#[x_kube(validation = ("!has(self.sql) || !has(self.direct) || !self.direct", "direct means nothing with sql"))]
#[x_kube(validation = ("!has(self.sql) || !has(self.pending)", "pending means nothing with sql: its files say what is due"))]
#[x_kube(validation = (
    "!has(self.pending) || !has(self.direct) || !self.direct",
    "pending goes through the agent's port, which direct does without"
))]
#[x_kube(validation = ("!has(self.sql) || !has(self.down)", "down means nothing with sql: it is a command of an image"))]
#[x_kube(validation = Rule::new(
    "duration(has(self.lockTimeout) ? self.lockTimeout : '2s') <= duration(has(self.timeout) ? self.timeout : '15m')"
).message(Message::Expression(
    "'lockTimeout is longer than timeout: ' + (has(self.lockTimeout) ? self.lockTimeout : '2s') + ' and ' + (has(self.timeout) ? self.timeout : '15m')".to_owned()
)))]
#[x_kube(validation = (
    "[has(self.command) ? self.command : [], has(self.pending) ? self.pending : [], has(self.down) ? self.down : []].all(c, c.all(w, !w.matches('(?i)(://[^/@:]*:[^/@$][^/@]*@|password=[^$ ])')))",
    "CredentialsInline: a password stands in a command, where many may read it; the command reaches the database through DATABASE_URL and PG*, which the agent sets"
))]
pub struct Migration {
    /// Where it comes from.
    #[serde(flatten)]
    pub source: MigrationSource,
    /// The command that runs it: program and arguments, no shell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 4096)))]
    pub command: Vec<String>,
    /// The command that says whether anything is due: program and arguments, run by the same image before anybody is
    /// asked, in sessions that only read. Exit code 0: nothing is, so nothing is rehearsed and migrated; 1: something is;
    /// whatever else it does fails the release before it begins. Without it a revision that was not migrated is due.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 4096)))]
    pub pending: Vec<String>,
    /// What the old version makes of the result.
    pub change: Change,
    /// Whether it may run again after an end that is not known (default: true with sql, whose files are recorded one
    /// by one; false otherwise). Say true for tools that keep a history of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// How long it may take (default: 15m).
    #[serde(default = "default_timeout", skip_serializing_if = "is_default_timeout")]
    #[schemars(default = "default_timeout")]
    pub timeout: Duration,
    /// How long one of its statements may wait for a lock (default: 2s).
    #[serde(default = "default_lock_timeout", skip_serializing_if = "is_default_lock_timeout")]
    #[schemars(default = "default_lock_timeout")]
    pub lock_timeout: Duration,
    /// Whether the command connects by itself instead of through the agent's port (default: false). What the port
    /// gives is lost then: the verified server, the lock time-out, the certain end. It gets the address in PG* and
    /// DATABASE_URL, where the template sets none, and the password in a passfile. A rehearsal goes through the port all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub direct: bool,
    /// How it is tried on a restored copy of the data first.
    #[serde(default, skip_serializing_if = "Rehearsal::is_default")]
    pub rehearse: Rehearsal,
    /// The command that takes the migration back: program and arguments, run by the same image. The rehearsal runs it
    /// after the migration and fails when the schema is not as it was before. After a Contract nothing else runs it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 4096)))]
    pub down: Vec<String>,
}

/// How a migration is tried on a restored copy of the data, in a pod that holds no credential of the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsal {
    /// Whether it is rehearsed (default: true).
    #[serde(default = "default_enabled", skip_serializing_if = "Clone::clone")]
    #[schemars(default = "default_enabled")]
    pub enabled: bool,
    /// Environment for the rehearsal only, in place of what the template takes from Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<RehearsalVariable>,
    /// A pod of the version that serves while it runs: of the old one with `change: Expand`, of this one with Contract.
    /// Each of its containers with a readiness probe must get ready on the migrated copy, which it reaches through
    /// DATABASE_URL and the PG* variables, at 127.0.0.1:5432: as soon as its startup probe asks for, or within five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<PodTemplate>,
}

/// One variable of the environment.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!self.value.matches('(?i)(://[^/@:]*:[^/@$][^/@]*@|password=[^$ ])')",
    "CredentialsInline: a password stands in the value, where many may read it; the copy is reached through DATABASE_URL and PG*, which the agent sets"
))]
pub struct RehearsalVariable {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// Its value; `$(NAME)` stands for a variable that is set before.
    #[schemars(length(max = 4096))]
    pub value: String,
}

impl Default for Rehearsal {
    fn default() -> Self {
        Self { enabled: default_enabled(), env: Vec::new(), contract: None }
    }
}

impl Rehearsal {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a migration comes from; exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MigrationSource {
    /// Image and environment of the first container of this workload.
    Workload(#[schemars(length(min = 1, max = 40))] String),
    /// A pod of its own; its first container runs the command.
    Pod(PodTemplate),
    /// Files of SQL.
    Sql(SqlFiles),
}

/// Files of SQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SqlFiles {
    /// Name of a ConfigMap in this namespace whose keys are the files, applied in the order of their names. An approval
    /// covers their content.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub config_map: String,
}

/// What the old version makes of a migrated schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Change {
    /// It works on the result, so traffic can go back at any time.
    Expand,
    /// It does not, so nothing is migrated until nothing of it runs. After the release the migration waits for an approval
    /// of its own, with a plan and a backup of its own; the new version must work on the schema as it is until then.
    Contract,
}

/// What becomes of the schema on the way back. Traffic goes back first, and waits for none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DatabaseRollback {
    /// It stays migrated: the earlier version is declared to work on it.
    #[default]
    Keep,
    /// `down` takes the migration back, unless a row would be lost by that. Not with `change: Contract`, which has changed
    /// nothing yet while traffic may go back.
    Down,
    /// The backup of the attempt takes the place of the database, once people have approved what is lost by that (gate
    /// DataLoss). Until then, and without that, the schema stays migrated. Not with `change: Contract`.
    Restore,
}

impl DatabaseRollback {
    /// Returns whether the schema stays.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
    pub fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

const fn default_timeout() -> Duration {
    Duration::from_secs(15 * 60)
}
const fn default_enabled() -> bool {
    true
}
const fn default_lock_timeout() -> Duration {
    Duration::from_secs(2)
}
fn is_default_timeout(timeout: &Duration) -> bool {
    *timeout == default_timeout()
}
fn is_zero(duration: &Duration) -> bool {
    *duration == Duration::default()
}
fn is_default_lock_timeout(timeout: &Duration) -> bool {
    *timeout == default_lock_timeout()
}

impl ReleaseDatabase {
    /// Returns the migration when it is of this kind.
    #[must_use]
    pub fn migration_of(&self, change: Change) -> Option<&Migration> {
        self.migration.as_ref().filter(|migration| migration.change == change)
    }

    /// Returns how far the backup must be proven: where no migration is due, nothing depends on it yet. A policy may
    /// ask for more.
    #[must_use]
    pub fn proof(&self, due: bool, policy: Option<ProofLevel>) -> ProofLevel {
        let default = if due { ProofLevel::Restored } else { ProofLevel::Stored };
        let asked = self.backup.proof.unwrap_or(default);
        policy.map_or(asked, |policy| policy.max(asked))
    }
}

impl Migration {
    /// Returns it without what decides only how it is tried and taken back: that makes no other revision.
    #[must_use]
    pub fn what_runs(&self) -> Self {
        Self { rehearse: Rehearsal::default(), down: Vec::new(), ..self.clone() }
    }

    /// Returns whether it may run again after an end that is not known.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.idempotent.unwrap_or(matches!(self.source, MigrationSource::Sql(_)))
    }

    /// Returns the user's pod that it runs in; `None` where the agent's own is enough.
    #[must_use]
    pub fn template<'a>(&'a self, spec: &'a ReleaseSpec) -> Option<&'a PodTemplate> {
        match &self.source {
            MigrationSource::Workload(name) => {
                spec.workloads.iter().find(|workload| workload.name == *name).map(|workload| &workload.template)
            }
            MigrationSource::Pod(template) => Some(template),
            MigrationSource::Sql(_) => None,
        }
    }

    /// Returns what runs, in words.
    #[must_use]
    pub fn in_words(&self) -> String {
        let command = self.command.join(" ");
        match &self.source {
            MigrationSource::Workload(workload) => format!("`{command}` with the image of workload {workload}"),
            MigrationSource::Pod(template) => {
                let image = template.images().last().map_or("", |(_, image)| image);
                format!("`{command}` with {image}")
            }
            MigrationSource::Sql(files) => format!("the SQL of ConfigMap {}", files.config_map),
        }
    }
}
