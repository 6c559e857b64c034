//! What watches read of databases, storages and backups.

use std::sync::Arc;

use kube::{ResourceExt, core::DeserializeGuard};

use super::{Entry, entry};
use crate::{
    api::{
        BackupRecord, BackupStorage, ConditionType, DatabaseBackup, DatabaseBackupStatus, DatabaseInstance, ProofLevel,
        labels,
    },
    release::{
        observed::{BackupSeen, BackupState, InstanceSeen, StorageSeen},
        words,
    },
};

/// Reads a DatabaseInstance; all of a namespace are kept together.
#[must_use]
pub fn instance(object: &DeserializeGuard<DatabaseInstance>) -> Entry<InstanceSeen> {
    let object = object.0.as_ref().ok()?;
    let seen = InstanceSeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        spec: Arc::new(object.spec.clone()),
        status: Arc::new(object.status.clone().unwrap_or_default()),
    };
    Some(((object.namespace()?, String::new()), object.name_any(), seen))
}

/// Reads a BackupStorage; all of a namespace are kept together.
#[must_use]
pub fn storage(object: &DeserializeGuard<BackupStorage>) -> Entry<StorageSeen> {
    let object = object.0.as_ref().ok()?;
    let seen = StorageSeen { name: object.name_any(), spec: Arc::new(object.spec.clone()) };
    Some(((object.namespace()?, String::new()), object.name_any(), seen))
}

/// Reads a DatabaseBackup of a Release.
#[must_use]
pub fn backup(object: &DeserializeGuard<DatabaseBackup>) -> Entry<BackupSeen> {
    let object = object.0.as_ref().ok()?;
    entry(object, backup_seen(object))
}

/// Reads a DatabaseBackup, wherever it belongs.
#[must_use]
pub fn backup_seen(object: &DatabaseBackup) -> BackupSeen {
    let status = object.status.clone().unwrap_or_default();
    BackupSeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        database: object.spec.database.clone(),
        storages: object.spec.storage.clone(),
        user: object.labels().get(labels::RELEASE_UID).cloned(),
        marker: status.marker.clone(),
        copies: status.copies.iter().map(|copy| copy.storage.clone()).collect(),
        finalizers: object.finalizers().to_vec(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        state: state(object, &status),
    }
}

/// Returns how far a backup is, by what its controller has seen of it.
fn state(object: &DatabaseBackup, status: &DatabaseBackupStatus) -> BackupState {
    let condition = |type_: ConditionType| {
        status.conditions.iter().find(|condition| condition.type_ == type_.as_str() && condition.status == "True")
    };
    if let Some(stalled) = condition(ConditionType::Stalled) {
        return BackupState::Failed { reason: stalled.reason.clone(), message: stalled.message.clone() };
    }
    let whole = condition(ConditionType::Complete).and_then(|_| {
        let copy = status.copies.first()?;
        Some(BackupRecord {
            name: object.name_any(),
            uid: object.uid()?,
            manifest: copy.manifest.key.clone(),
            storage: copy.storage.clone(),
            sha256: copy.manifest.sha256.clone(),
            schema: status.schema.clone().unwrap_or_default(),
            proof: status.proof.as_ref().map_or(ProofLevel::Stored, |proof| proof.level),
            taken_at: status.taken_at.clone()?,
        })
    });
    whole.map_or_else(
        || {
            let told = status.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
            // Its controller says the same as soon as it has looked.
            let spec = &object.spec;
            let wish = || words::backs_up(&spec.database, spec.storage.iter().map(String::as_str));
            BackupState::Working(told.map_or_else(wish, |told| told.message.clone()))
        },
        |record| BackupState::Complete(Box::new(record)),
    )
}
