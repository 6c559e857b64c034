//! The Job that takes a backup; pure.

use kube::ResourceExt;

use super::observed::{Inputs, Observed};
use crate::{
    agent_job::{AgentJob, Image, Owner, Role, Scratch, Work, targets, tools_image},
    api::{Duration, ProofLevel, labels},
    databases::Action,
    protocol::BackupParameters,
    release::manifests::child_name,
};

/// How long the agent may take for one backup with its proof.
const TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// Returns the name of an attempt's Job.
pub(super) fn job_name(seen: &Observed, attempt: i32) -> String {
    child_name(&[&seen.name, &attempt.to_string()])
}

/// Makes the Job of an attempt.
pub(super) fn make(seen: &Observed, inputs: &Inputs<'_>, (name, attempt): (String, i32)) -> Action {
    let Inputs { database, storages } = inputs;
    let identity = database.status.as_ref().and_then(|status| status.identity.as_ref());
    let (version, bytes) = identity.map_or(("", 0), |identity| (identity.server_version.as_str(), identity.size_bytes));
    let tools = tools_image(database.spec.tools.image.as_deref(), &seen.settings.tools_image, version);
    let named: Vec<_> = storages.iter().map(|storage| (storage.name_any(), &storage.spec)).collect();
    let proof = seen.proof();
    let work = Work::Backup(BackupParameters {
        database: targets::database(&seen.spec.database, &database.spec, identity),
        storages: named.iter().map(|(name, spec)| targets::storage(name, spec)).collect(),
        backup_uid: seen.uid.clone(),
        attempt: u32::try_from(attempt).unwrap_or(1),
        proof,
        yield_to_ddl: database.spec.backups.as_ref().is_none_or(|backups| backups.yield_to_ddl),
        timeout: TIMEOUT,
    });
    let owner = Owner { kind: "DatabaseBackup", name: &seen.name, uid: &seen.uid };
    let scratch = Scratch { image: &tools, settings: &database.spec.scratch, database_bytes: bytes };
    let job = AgentJob {
        name: &name,
        namespace: &seen.namespace,
        labels: [(labels::BACKUP_UID, seen.uid.clone()), (labels::DATABASE_UID, database.uid().unwrap_or_default())]
            .into(),
        owners: vec![owner.reference()],
        work: &work,
        agent_image: &seen.settings.agent_image,
        image: Image::Tools(&tools),
        database: Some((&database.spec.postgres, Role::Backup)),
        also: &[],
        storages: named.iter().map(|(name, spec)| (name.as_str(), *spec)).collect(),
        migrations: None,
        scratch: (proof == ProofLevel::Restored).then_some(scratch),
        rehearsal: None,
        settings: &database.spec.jobs.or(&seen.settings.jobs),
    };
    let body = job.manifest();
    Action::Create { name, body }
}
