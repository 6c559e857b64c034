//! What an attempt makes for its database: Jobs that look, mark and migrate, and the backup; pure.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};

use super::{
    super::observed::{AttemptSeen, InstanceSeen, ReleaseSeen, Settings, StorageSeen},
    Kind, Manifest, Marks, child_name,
    jobs::{KEPT_SECONDS, goes_by_itself},
    manifest, owners, with_own_config,
};
use crate::{
    agent_job::{self, AgentJob, Image, Rehearsal, Scratch, Work, targets},
    api::{
        DatabaseRecord, Migration, MigrationSource, PodTemplate, ProofLevel, Record, ReleaseDatabase, ReleaseSpec,
        Taken,
        labels::{self, Role},
    },
    protocol::{InspectParameters, MarkParameters, MigrateParameters, MigrationTarget, MigrationWork, paths},
};

/// How long Kubernetes keeps the Job of a rehearsal, with the volume of its pod.
const REHEARSAL_KEPT_SECONDS: u32 = 600;

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
    /// Fingerprint of the schema in it; empty: not known.
    pub schema: &'a str,
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

pub(super) fn attempt(record: &Record) -> String {
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
        schema: spec.database.as_ref().is_some_and(|database| database.backup.is_reused()),
    });
    let storages = storages.iter().map(|storage| (storage.name.as_str(), storage.spec.as_ref())).collect();
    let job = DatabaseJob { storages, sql, ..DatabaseJob::new(&name, instance, &work) };
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
    let job = DatabaseJob::new(&name, instance, &work);
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
    let migration = what.database.migration.as_ref()?;
    let work = Work::Migrate(migrate(release, spec, &what)?);
    let pod = migration_pod(release, spec, migration);
    let job = DatabaseJob {
        image: image(pod.as_ref())?,
        sql: sql(migration),
        ..DatabaseJob::new(what.name, what.instance, &work)
    };
    Some(job.manifest((release, settings), spec, owner))
}

/// Returns the name of a Job that takes a migration back.
#[must_use]
pub fn undo_name(release: &ReleaseSeen, record: &Record, number: u8) -> String {
    child_name(&[&release.name, &attempt(record), "undo", &number.to_string()])
}

/// Returns the Job that takes a migration back, unless that loses a row of these; `None` when the content has none.
#[must_use]
pub fn undo_job(
    (release, settings): (&ReleaseSeen, &Settings),
    spec: &ReleaseSpec,
    (what, takes): (Migrate<'_>, Vec<Taken>),
    owner: Option<&AttemptSeen>,
) -> Option<Manifest> {
    let migration = what.database.migration.as_ref()?;
    let down = MigrationWork::Down { argv: migration.down.clone(), takes: Some(takes), direct: migration.direct };
    let work = Work::Migrate(MigrateParameters { work: down, ..migrate(release, spec, &what)? });
    let pod = migration_pod(release, spec, migration);
    let job = DatabaseJob { image: image(pod.as_ref())?, ..DatabaseJob::new(what.name, what.instance, &work) };
    Some(job.manifest((release, settings), spec, owner))
}

/// Returns what the agent is told of a migration; `None` when the content has none.
pub(super) fn migrate(release: &ReleaseSeen, spec: &ReleaseSpec, what: &Migrate<'_>) -> Option<MigrateParameters> {
    let Migrate { name: _, number, instance, database, looked, backup_uid, schema } = what;
    let migration = database.migration.as_ref()?;
    Some(MigrateParameters {
        database: targets::database(&instance.name, &instance.spec, instance.status.identity.as_ref()),
        release_uid: release.uid.clone(),
        revision: spec.revision().to_string(),
        backup_uid: (*backup_uid).to_owned(),
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
        schema: (*schema).to_owned(),
        again: *number > 1,
        timeout: migration.timeout,
        lock_timeout: migration.lock_timeout,
    })
}

/// Returns the user's pod that a migration runs in, with the config of the revision; `None` where the agent's own is enough.
pub(super) fn migration_pod(release: &ReleaseSeen, spec: &ReleaseSpec, migration: &Migration) -> Option<PodTemplate> {
    migration.template(spec).map(|pod| PodTemplate(with_own_config(release, spec, &pod.0).into_owned()))
}

/// Returns the image that a migration runs in.
pub(super) fn image(pod: Option<&PodTemplate>) -> Option<Image<'_>> {
    match pod {
        Some(pod) => Some(Image::User { pod, container: pod.containers().next()?.get("name")?.as_str()? }),
        None => Some(Image::Agent),
    }
}

pub(super) fn sql(migration: &Migration) -> Option<&str> {
    match &migration.source {
        MigrationSource::Sql(files) => Some(files.config_map.as_str()),
        MigrationSource::Workload(_) | MigrationSource::Pod(_) => None,
    }
}

/// A Job of the agent on a database, for a Release.
pub(super) struct DatabaseJob<'a> {
    pub name: &'a str,
    pub instance: &'a InstanceSeen,
    pub work: &'a Work,
    pub image: Image<'a>,
    /// As whom it works on the database; `None`: it does not.
    pub role: Option<agent_job::Role>,
    /// As whom as well.
    pub also: &'a [agent_job::Role],
    pub storages: Vec<(&'a str, &'a crate::api::BackupStorageSpec)>,
    pub sql: Option<&'a str>,
    pub scratch: Option<Scratch<'a>>,
    pub rehearsal: Option<Rehearsal<'a>>,
}

impl<'a> DatabaseJob<'a> {
    /// A Job in the agent's own image, which works on the database and on nothing else.
    pub(super) fn new(name: &'a str, instance: &'a InstanceSeen, work: &'a Work) -> Self {
        let role = Some(agent_job::Role::Migrate);
        let (storages, sql, scratch, rehearsal) = (vec![], None, None, None);
        Self { name, instance, work, image: Image::Agent, role, also: &[], storages, sql, scratch, rehearsal }
    }

    pub(super) fn manifest(
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
            database: self.role.map(|role| (&self.instance.spec.postgres, role)),
            also: self.also,
            storages: self.storages.clone(),
            migrations: self.sql,
            scratch: self.scratch.clone(),
            rehearsal: self.rehearsal,
            settings: &spec.jobs.or(&self.instance.spec.jobs).or(&settings.jobs),
        };
        let mut body = job.manifest();
        if let Some(seconds) = kept_seconds(self.work) {
            goes_by_itself(&mut body, seconds);
        }
        Manifest { kind: Kind::Job, name: self.name.to_owned(), body }
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

/// Returns how long Kubernetes keeps a Job of this work after its end, where it may remove it. A rehearsal's pod holds a volume
/// of twice the database; what a mark, a backup or a restore has to say stands nowhere else.
const fn kept_seconds(work: &Work) -> Option<u32> {
    match work {
        Work::Inspect(_) | Work::Pending(_) | Work::Migrate(_) | Work::Report(_) => Some(KEPT_SECONDS),
        Work::Rehearse(..) => Some(REHEARSAL_KEPT_SECONDS),
        Work::Mark(_) | Work::Backup(_) | Work::RestoreLoss(_) | Work::RestoreData(_) => None,
    }
}
