//! Looks: a DatabaseInstance, its backups and every Job on it, as the caches show them.

use kube::ResourceExt;

use super::plan::{Observed, ProvenSeen};
use crate::{
    api::{DatabaseBackup, DatabaseInstance, ProofLevel, ProvenBackup, labels},
    clock,
    databases::Shared,
};

/// Returns what the caches show of a DatabaseInstance.
pub(super) fn observe(shared: &Shared, object: &DatabaseInstance) -> Observed {
    let (namespace, uid) = (object.namespace().unwrap_or_default(), object.uid().unwrap_or_default());
    let name = object.name_any();
    Observed {
        now: clock::now(),
        jobs: shared.cache.jobs(&namespace, labels::DATABASE_UID, &uid),
        proven: shared.cache.backups(&namespace, &name).iter().filter_map(|backup| proven(backup)).collect(),
        name,
        namespace,
        uid,
        generation: object.metadata.generation.unwrap_or_default(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        spec: object.spec.clone(),
        status: object.status.clone().unwrap_or_default(),
        settings: shared.settings.clone(),
    }
}

/// Returns a backup whose whole content was read or restored.
fn proven(backup: &DatabaseBackup) -> Option<ProvenSeen> {
    let status = backup.status.as_ref()?;
    status.completed_at.as_ref()?;
    let level = status.proof.as_ref()?.level;
    let proven = ProvenBackup {
        name: backup.name_any(),
        uid: backup.uid().unwrap_or_default(),
        at: status.taken_at.clone()?,
        level,
    };
    (level > ProofLevel::Stored).then(|| ProvenSeen { proven, marker: status.marker.clone() })
}
