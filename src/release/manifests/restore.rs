//! The Jobs by which the data of an attempt's backup come back: one counts what would be lost, one does it; pure.

use super::{
    super::observed::{AttemptSeen, InstanceSeen, ReleaseSeen, Settings, StorageSeen},
    Manifest, child_name,
    database::{DatabaseJob, attempt},
};
use crate::{
    agent_job::{Image, Role, Work, targets, tools_image},
    api::{BackupRecord, DatabaseRecord, ProofLevel, Record, ReleaseSpec},
    protocol::{CopyResult, RestoreDataParameters, RoleTarget, SafetyBackup},
};

/// From which database others are renamed: every server has it.
const MAINTENANCE: &str = "postgres";
/// How many characters of a Release's UID tell its restores from those of others.
const UID_LENGTH: usize = 8;
/// Roles that work beside the one that restores.
const BESIDE: [Role; 2] = [Role::Backup, Role::Admin];

/// What a Job restores.
pub struct Restore<'a> {
    /// Name of the Job.
    pub name: &'a str,
    /// The database.
    pub instance: &'a InstanceSeen,
    /// As it was looked at.
    pub looked: &'a DatabaseRecord,
    /// The backup.
    pub backup: &'a BackupRecord,
    /// Where it is, and where the backup of what is replaced goes.
    pub storages: &'a [StorageSeen],
    /// UID and attempt of that.
    pub safety: (&'a str, u8),
}

/// Returns the name of a Job that counts what would be lost.
#[must_use]
pub fn loss_name(release: &ReleaseSeen, record: &Record, number: u8) -> String {
    child_name(&[&release.name, &attempt(record), "loss", &number.to_string()])
}

/// Returns the name of a Job that restores.
#[must_use]
pub fn restore_name(release: &ReleaseSeen, record: &Record, number: u8) -> String {
    child_name(&[&release.name, &attempt(record), "restore", &number.to_string()])
}

/// Returns the Job that counts what would be lost; `None` when nobody has said how much the server may hold, or the
/// backup's storage is gone.
#[must_use]
pub fn loss_job(
    (release, settings): (&ReleaseSeen, &Settings),
    spec: &ReleaseSpec,
    (what, record): (&Restore<'_>, &Record),
    owner: Option<&AttemptSeen>,
) -> Option<Manifest> {
    let work = Work::RestoreLoss(Box::new(parameters((release, record), spec, what)?));
    Some(job((release, settings), spec, (what, &work), owner))
}

/// Returns the Job that restores; `None` as [`loss_job`].
#[must_use]
pub fn restore_job(
    (release, settings): (&ReleaseSeen, &Settings),
    spec: &ReleaseSpec,
    (what, record): (&Restore<'_>, &Record),
    owner: Option<&AttemptSeen>,
) -> Option<Manifest> {
    let work = Work::RestoreData(Box::new(parameters((release, record), spec, what)?));
    Some(job((release, settings), spec, (what, &work), owner))
}

fn job(
    (release, settings): (&ReleaseSeen, &Settings),
    spec: &ReleaseSpec,
    (what, work): (&Restore<'_>, &Work),
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let Restore { name, instance, looked, storages, .. } = what;
    let tools = tools_image(instance.spec.tools.image.as_deref(), &settings.tools_image, &looked.server_version);
    let storages = storages.iter().map(|storage| (storage.name.as_str(), storage.spec.as_ref())).collect();
    let job =
        DatabaseJob { image: Image::Tools(&tools), also: &BESIDE, storages, ..DatabaseJob::new(name, instance, work) };
    job.manifest((release, settings), spec, owner)
}

fn parameters(
    (release, record): (&ReleaseSeen, &Record),
    spec: &ReleaseSpec,
    what: &Restore<'_>,
) -> Option<RestoreDataParameters> {
    let Restore { name: _, instance, looked: _, backup, storages, safety: (uid, number) } = what;
    let storage = storages.iter().find(|storage| storage.name == backup.storage)?;
    let target = |storage: &StorageSeen| targets::storage(&storage.name, &storage.spec);
    let release_uid: String = release.uid.chars().filter(char::is_ascii_alphanumeric).take(UID_LENGTH).collect();
    let role = |role: Role| RoleTarget { secret: role.folder() };
    let [reader, admin] = BESIDE.map(role);
    Some(RestoreDataParameters {
        database: targets::database(&instance.name, &instance.spec, instance.status.identity.as_ref()),
        reader,
        admin,
        maintenance: MAINTENANCE.to_owned(),
        storage: target(storage),
        copy: CopyResult {
            storage: backup.storage.clone(),
            manifest: backup.manifest.clone(),
            sha256: backup.sha256.clone(),
        },
        backup_uid: backup.uid.clone(),
        id: format!("{}{}", release_uid.to_ascii_lowercase(), attempt(record)),
        capacity_bytes: targets::capacity(&instance.spec)?,
        safety: SafetyBackup {
            storages: storages.iter().map(target).collect(),
            backup_uid: (*uid).to_owned(),
            attempt: u32::from(*number),
            proof: ProofLevel::Readable,
        },
        timeout: spec.deadlines.backup,
    })
}
