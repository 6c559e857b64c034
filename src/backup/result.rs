//! What came of a backup's Job, held against what was asked; pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::observed::Observed;
use crate::{
    api::{BackupCopy, BackupManifest, BackupProof, DatabaseBackupStatus, Reason},
    protocol::{BackupResult, ProofResult, Refusal},
};

/// Returns the status of a backup that has all copies that were asked for, proven as far as was asked.
///
/// # Errors
/// [`Reason::BackupFailed`] when less came back.
pub(super) fn complete(seen: &Observed, result: &BackupResult) -> Result<DatabaseBackupStatus, Refusal> {
    let refuse = |message: String| Refusal { reason: Reason::BackupFailed, message };
    let holds = |name: &String| result.copies.iter().any(|copy| copy.storage == *name && !copy.manifest.is_empty());
    if let Some((missing, _)) = seen.storages.iter().find(|(name, _)| !holds(name)) {
        return Err(refuse(format!("The agent tells of no copy in BackupStorage {missing}")));
    }
    let asked = seen.proof();
    if result.proof.level < asked {
        let (asked, level): (&str, &str) = (asked.into(), result.proof.level.into());
        return Err(refuse(format!("It is proven as {level}, not as {asked}")));
    }
    let BackupResult { database, copies, size_bytes, tables, rows, position, schema, taken_at, completed_at, proof } =
        result;
    let ProofResult { level, at, seconds } = proof;
    let number = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(DatabaseBackupStatus {
        completed_at: Some(MicroTime((*completed_at).max(*at))),
        taken_at: Some(MicroTime(*taken_at)),
        position: Some(position.clone()),
        schema: Some(schema.clone()).filter(|schema| !schema.is_empty()),
        marker: database.identity.marker.as_ref().map(|marker| marker.uuid.to_string()),
        copies: copies
            .iter()
            .map(|copy| BackupCopy {
                storage: copy.storage.clone(),
                manifest: BackupManifest { key: copy.manifest.clone(), sha256: copy.sha256.clone() },
            })
            .collect(),
        size_bytes: number(*size_bytes),
        tables: number(*tables),
        rows: number(*rows),
        proof: Some(BackupProof { level: *level, at: MicroTime(*at), seconds: *seconds }),
        retry_at: None,
        ..seen.status.clone()
    })
}

/// Says what there is.
pub(super) fn words(status: &DatabaseBackupStatus) -> String {
    let names: Vec<&str> = status.copies.iter().map(|copy| copy.storage.as_str()).collect();
    let proof = status.proof.as_ref();
    let level: &str = proof.map_or("not at all", |proof| proof.level.into());
    let (tables, rows, bytes) =
        (status.tables.unwrap_or_default(), status.rows.unwrap_or_default(), status.size_bytes.unwrap_or_default());
    let recovery = proof.and_then(BackupProof::took).and_then(|seconds| seconds.recovery());
    let recovery =
        recovery.map(|seconds| format!(" A recovery would take {:.0} s.", seconds.ceil())).unwrap_or_default();
    format!(
        "{tables} tables with {rows} rows in {bytes} bytes are in {}, proven: {level}.{recovery}",
        names.join(" and ")
    )
}
