//! The Job in which an attempt's migration is rehearsed; pure.

use std::path::PathBuf;

use super::{
    super::observed::{AttemptSeen, InstanceSeen, ReleaseSeen, Settings, StorageSeen},
    Manifest, child_name,
    database::{DatabaseJob, Migrate, attempt, image, migrate, migration_pod, sql},
};
use crate::{
    agent_job::{Rehearsal, Scratch, Work, targets, tools_image},
    api::{BackupRecord, DatabaseRecord, Record, ReleaseDatabase, ReleaseSpec},
    protocol::{CopyResult, DatabaseTarget, MigrateParameters, RehearseParameters, paths},
};

/// What a Job rehearses.
pub struct Rehearse<'a> {
    /// Name of the Job.
    pub name: &'a str,
    /// The database that it is a rehearsal for.
    pub instance: &'a InstanceSeen,
    /// What the Release says of it.
    pub database: &'a ReleaseDatabase,
    /// What was approved.
    pub looked: &'a DatabaseRecord,
    /// The backup that is restored.
    pub backup: &'a BackupRecord,
    /// Where it is.
    pub storage: &'a StorageSeen,
}

/// Returns the name of the Job.
#[must_use]
pub fn rehearse_name(release: &ReleaseSeen, record: &Record) -> String {
    child_name(&[&release.name, &attempt(record), "rehearse"])
}

/// Returns the Job; `None` when the content has no migration.
#[must_use]
pub fn rehearse_job(
    (release, settings): (&ReleaseSeen, &Settings),
    spec: &ReleaseSpec,
    what: Rehearse<'_>,
    owner: Option<&AttemptSeen>,
) -> Option<Manifest> {
    let Rehearse { name, instance, database, looked, backup, storage } = what;
    let migration = database.migration.as_ref()?;
    let will = Migrate { name, number: 1, instance, database, looked, backup_uid: &backup.uid, schema: "" };
    let copy = DatabaseTarget {
        name: format!("the copy of {}", instance.name),
        secret: PathBuf::from(paths::SCRATCH_DATABASE),
        environment: instance.spec.environment,
        // It has no marker, and is wherever the scratch server is.
        expect: None,
        endpoint: None,
    };
    let parameters = RehearseParameters {
        storage: targets::storage(&storage.name, &storage.spec),
        copy: CopyResult {
            storage: storage.name.clone(),
            manifest: backup.manifest.clone(),
            sha256: backup.sha256.clone(),
        },
        migration: MigrateParameters { database: copy, ..migrate(release, spec, &will)? },
        down: migration.down.clone(),
        production: looked.endpoint.clone(),
    };
    let pod = migration_pod(release, spec, migration);
    let work = Work::Rehearse(Box::new(parameters), spec.deadlines.rehearse);
    let tools = tools_image(instance.spec.tools.image.as_deref(), &settings.tools_image, &looked.server_version);
    let job = DatabaseJob {
        name,
        instance,
        work: &work,
        image: image(pod.as_ref())?,
        role: None,
        also: &[],
        storages: vec![(storage.name.as_str(), storage.spec.as_ref())],
        sql: sql(migration),
        scratch: Some(Scratch { image: &tools, settings: &instance.spec.scratch, database_bytes: looked.size_bytes }),
        rehearsal: Some(Rehearsal {
            env: &migration.rehearse.env,
            contract: migration.rehearse.contract.as_ref(),
            down: !migration.down.is_empty(),
        }),
    };
    Some(job.manifest((release, settings), spec, owner))
}
