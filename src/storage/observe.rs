//! Looks: a BackupStorage and the Jobs that try it, as the caches show them.

use kube::ResourceExt;

use super::plan::Observed;
use crate::{
    api::{BackupStorage, labels},
    clock,
    databases::Shared,
};

/// Returns what the caches show of a BackupStorage.
pub(super) fn observe(shared: &Shared, object: &BackupStorage) -> Observed {
    let (namespace, uid) = (object.namespace().unwrap_or_default(), object.uid().unwrap_or_default());
    Observed {
        now: clock::now(),
        name: object.name_any(),
        jobs: shared.cache.jobs(&namespace, labels::STORAGE_UID, &uid),
        namespace,
        uid,
        generation: object.metadata.generation.unwrap_or_default(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        spec: object.spec.clone(),
        status: object.status.clone().unwrap_or_default(),
        settings: shared.settings.clone(),
    }
}
