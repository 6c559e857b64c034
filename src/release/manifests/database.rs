//! What an attempt makes for its database: Jobs that look, mark and migrate, and the backup; pure.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};

use super::{
    super::observed::{AttemptSeen, InstanceSeen, ReleaseSeen, Settings, StorageSeen},
    Kind, Manifest, Marks, child_name, manifest, owners, with_own_config,
};
use crate::{
    agent_job::{self, AgentJob, Image, Work, targets},
    api::{
        DatabaseRecord, Migration, MigrationSource, PodTemplate, ProofLevel, Record, ReleaseDatabase, ReleaseSpec,
        labels::{self, Role},
    },
    protocol::{InspectParameters, MarkParameters, MigrateParameters, MigrationTarget, MigrationWork, paths},
};

/// How many characters of a Release's UID keep the backups of two Releases of the same name apart.
const UID_LENGTH: usize = 8;

/// What a Job looks for.
pub struct LookFor<'a> {
    /// Name of the Job.
    pub name: String,
    /// The database.
    pub instance: &'a InstanceSeen,
    /// Where the backup will go.
    pub storages: &'a [StorageSeen],
    /// The migration that is planned.
    pub migration: Option<&'a Migration>,
}

/// What a Job migrates.
pub struct Migrate<'a> {
    /// Name of the Job.
    pub name: &'a str,
    /// Its number in the attempt, from 1.
    pub number: u8,
    /// The database.
    pub instance: &'a InstanceSeen,
    /// What the Release says of it.
    pub database: &'a ReleaseDatabase,
    /// What was approved.
    pub looked: &'a DatabaseRecord,
    /// UID of the backup that was proven before.
    pub backup_uid: &'a str,
}

/// Returns the name of the Job that looks at the database in this step. A step that is entered again looks again, so
/// the name holds when it was entered.
#[must_use]
pub fn look_name(release: &ReleaseSeen, record: &Record) -> String {
    let candidate = record.candidate.as_ref();
    let begun = candidate.map(|candidate| candidate.since.0).unwrap_or_default();
    let entered = record.step_since.as_ref().map(|since| since.0).unwrap_or_default();
    let number = (entered.as_millisecond() - begun.as_millisecond()).to_string();
    child_name(&[&release.name, &attempt(record), &record.step.as_str().to_lowercase(), &number])
}

/// Returns the name of the Job that marks the database.
#[must_use]
pub fn mark_name(release: &ReleaseSeen, record: &Record) -> String {
    child_name(&[&release.name, &attempt(record), "mark"])
}

/// Returns the name of a Job of the migration.
#[must_use]
pub fn migrate_name(release: &ReleaseSeen, record: &Record, number: u8) -> String {
    child_name(&[&release.name, &attempt(record), "migrate", &number.to_string()])
}

/// Returns the name of the attempt's DatabaseBackup. It outlives the Release, so it names that one and no later one of
/// the same name.
#[must_use]
pub fn backup_name(release: &ReleaseSeen, record: &Record) -> String {
    let uid: String = release.uid.chars().take(UID_LENGTH).collect();
    child_name(&[&release.name, &uid, &attempt(record)])
}

fn attempt(record: &Record) -> String {
    record.candidate.as_ref().map_or(0, |candidate| candidate.attempt).to_string()
}

/// Returns the Job that looks at the database, its storages and the migration.
#[must_use]
pub fn look_job((release, settings): (&ReleaseSeen, &Settings), spec: &ReleaseSpec, what: LookFor<'_>) -> Manifest {
    let LookFor { name, instance, storages, migration } = what;
    let sql = migration.and_then(sql);
    let work = Work::Inspect(InspectParameters {
        database: Some(targets::database(&instance.name, &instance.spec, instance.status.identity.as_ref())),
        storages: storages.iter().map(|storage| targets::storage(&storage.name, &storage.spec)).collect(),
        migration: migration.map(|_| MigrationTarget {
            release_uid: release.uid.clone(),
            revision: spec.revision().to_string(),
            sql: sql.map(|_| PathBuf::from(paths::MIGRATIONS)),
        }),
    });
    let storages = storages.iter().map(|storage| (storage.name.as_str(), storage.spec.as_ref())).collect();
    let job = DatabaseJob { name: &name, instance, work: &work, image: Image::Agent, storages, sql };
    job.manifest((release, settings), spec, None)
}

/// Returns the Job that marks a database as ours.
#[must_use]
pub fn mark_job(
    (release, settings): (&ReleaseSeen, &Settings),
    spec: &ReleaseSpec,
    (name, instance): (String, &InstanceSeen),
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let database = targets::database(&instance.name, &instance.spec, instance.status.identity.as_ref());
    let work = Work::Mark(MarkParameters { database });
    let job = DatabaseJob { name: &name, instance, work: &work, image: Image::Agent, storages: vec![], sql: None };
    job.manifest((release, settings), spec, owner)
}

/// Returns the Job that migrates; `None` when the content has no migration.
#[must_use]
pub fn migrate_job(
    (release, settings): (&ReleaseSeen, &Settings),
    spec: &ReleaseSpec,
    what: Migrate<'_>,
    owner: Option<&AttemptSeen>,
) -> Option<Manifest> {
    let Migrate { name, number, instance, database, looked, backup_uid } = what;
    let migration = database.migration.as_ref()?;
    let work = Work::Migrate(MigrateParameters {
        database: targets::database(&instance.name, &instance.spec, instance.status.identity.as_ref()),
        release_uid: release.uid.clone(),
        revision: spec.revision().to_string(),
        backup_uid: backup_uid.to_owned(),
        work: match &migration.source {
            MigrationSource::Sql(_) => MigrationWork::Sql {
                folder: PathBuf::from(paths::MIGRATIONS),
                checksum: looked.pending.as_ref().map(|pending| pending.checksum.clone()).unwrap_or_default(),
            },
            MigrationSource::Workload(_) | MigrationSource::Pod(_) => {
                MigrationWork::Command { argv: migration.command.clone(), direct: migration.direct }
            }
        },
        idempotent: migration.is_idempotent(),
        again: number > 1,
        timeout: migration.timeout,
        lock_timeout: migration.lock_timeout,
    });
    let template = template(spec, migration).map(|pod| with_own_config(release, spec, &pod.0).into_owned());
    let template = template.map(PodTemplate);
    let image = match &template {
        Some(pod) => Image::User { pod, container: pod.containers().next()?.get("name")?.as_str()? },
        None => Image::Agent,
    };
    let job = DatabaseJob { name, instance, work: &work, image, storages: vec![], sql: sql(migration) };
    Some(job.manifest((release, settings), spec, owner))
}

/// Returns the user's pod that a migration runs in; `None` where the agent's own is enough.
fn template<'a>(spec: &'a ReleaseSpec, migration: &'a Migration) -> Option<&'a PodTemplate> {
    match &migration.source {
        MigrationSource::Workload(name) => {
            spec.workloads.iter().find(|workload| workload.name == *name).map(|workload| &workload.template)
        }
        MigrationSource::Pod(template) => Some(template),
        MigrationSource::Sql(_) => None,
    }
}

fn sql(migration: &Migration) -> Option<&str> {
    match &migration.source {
        MigrationSource::Sql(files) => Some(files.config_map.as_str()),
        MigrationSource::Workload(_) | MigrationSource::Pod(_) => None,
    }
}

/// A Job of the agent on a database, for a Release.
struct DatabaseJob<'a> {
    name: &'a str,
    instance: &'a InstanceSeen,
    work: &'a Work,
    image: Image<'a>,
    storages: Vec<(&'a str, &'a crate::api::BackupStorageSpec)>,
    sql: Option<&'a str>,
}

impl DatabaseJob<'_> {
    fn manifest(
        &self,
        (release, settings): (&ReleaseSeen, &Settings),
        spec: &ReleaseSpec,
        owner: Option<&AttemptSeen>,
    ) -> Manifest {
        let revision = spec.revision();
        let job = AgentJob {
            name: self.name,
            namespace: &release.namespace,
            labels: BTreeMap::from([
                (labels::RELEASE_UID, release.uid.clone()),
                (labels::ROLE, Role::Database.as_str().to_owned()),
                (labels::REVISION, revision.digits().to_owned()),
                (labels::DATABASE_UID, self.instance.uid.clone()),
            ]),
            owners: match owners(release, owner) {
                Value::Array(owners) => owners,
                _ => vec![],
            },
            work: self.work,
            agent_image: &settings.agent_image,
            image: self.image,
            database: Some((&self.instance.spec.postgres, agent_job::Role::Migrate)),
            storages: self.storages.clone(),
            migrations: self.sql,
            scratch: None,
            settings: &spec.jobs.or(&self.instance.spec.jobs),
        };
        Manifest { kind: Kind::Job, name: self.name.to_owned(), body: job.manifest() }
    }
}

/// Returns the DatabaseBackup of an attempt. It has no owner: backups outlive Releases.
#[must_use]
pub fn backup(
    release: &ReleaseSeen,
    (name, database, looked): (&str, &ReleaseDatabase, &DatabaseRecord),
    proof: ProofLevel,
) -> Manifest {
    let marks = Marks { release, revision: "", workload: "", role: Role::Database };
    manifest(
        Kind::DatabaseBackup,
        name.to_owned(),
        &marks,
        json!({
            "metadata": { "finalizers": [labels::IN_USE] },
            "spec": { "database": database.name, "storage": looked.storages, "proof": proof },
        }),
    )
}
