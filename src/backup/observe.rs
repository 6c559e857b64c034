//! Looks: a DatabaseBackup, its database, its storages and its Jobs, as the caches show them.

use kube::ResourceExt;

use super::observed::Observed;
use crate::{
    api::{DatabaseBackup, DatabaseInstance, labels},
    clock,
    databases::Shared,
};

/// Returns what the caches show of a DatabaseBackup.
pub(super) fn observe(shared: &Shared, object: &DatabaseBackup) -> Observed {
    let (namespace, uid) = (object.namespace().unwrap_or_default(), object.uid().unwrap_or_default());
    let database = shared.cache.database(&namespace, &object.spec.database);
    let storages = storages(object, database.as_deref())
        .into_iter()
        .map(|name| {
            let storage = shared.cache.storage(&namespace, &name);
            (name, storage)
        })
        .collect();
    Observed {
        now: clock::now(),
        name: object.name_any(),
        jobs: shared.cache.jobs(&namespace, labels::BACKUP_UID, &uid),
        namespace,
        uid,
        generation: object.metadata.generation.unwrap_or_default(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        held: object.finalizers().iter().any(|finalizer| finalizer == labels::IN_USE),
        release_uid: object.labels().get(labels::RELEASE_UID).cloned(),
        spec: object.spec.clone(),
        status: object.status.clone().unwrap_or_default(),
        database,
        storages,
        settings: shared.settings.clone(),
    }
}

/// Returns the names of the storages: those that the backup names, else the database's.
fn storages(object: &DatabaseBackup, database: Option<&DatabaseInstance>) -> Vec<String> {
    if !object.spec.storage.is_empty() {
        return object.spec.storage.clone();
    }
    let backups = database.and_then(|database| database.spec.backups.as_ref());
    backups.map(|backups| backups.storage.clone()).unwrap_or_default()
}
