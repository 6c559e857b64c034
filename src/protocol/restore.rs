//! Restoring a backup in the place of its database: what a Job shall do, and what came of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{CopyResult, DatabaseFacts, DatabaseTarget, ProofSeconds, StorageTarget};
use crate::api::{DataLoss, Duration, ProofLevel};

/// `restore-loss` and `restore-data`: the same parameters, so that what is counted is what is done.
///
/// `restore-loss` reads only; its result is `Answer<DataLoss>`, refused what could not be restored here. `restore-data`
/// restores the backup beside the database and puts it in its place; its result is `Answer<RestoreDataResult>`, refused:
/// what serves was not replaced, unless the reason is `RestoreUncertain`: then the next attempt finds out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreDataParameters {
    /// The database that is replaced, `expect` with a marker, as the role that restores: it owns the database, or is a
    /// member of the role that does, and may do nothing else.
    pub database: DatabaseTarget,
    /// The role that reads all of it, as for backups; it may be the same one.
    pub reader: RoleTarget,
    /// The role that makes, renames and closes databases; it never restores.
    pub admin: RoleTarget,
    /// Database of the same server from which that is done.
    pub maintenance: String,
    /// Where the backup is.
    pub storage: StorageTarget,
    /// The backup's copy there.
    pub copy: CopyResult,
    /// UID of the `DatabaseBackup`.
    pub backup_uid: String,
    /// Names this restore among all of this database: lower-case letters and digits, 20 at most. The next Job of the
    /// same restore has the same.
    pub id: String,
    /// Bytes that all databases of the server may have together.
    pub capacity_bytes: u64,
    /// The backup of what is replaced.
    pub safety: SafetyBackup,
    /// When it gives up by itself. The swap, once begun, is brought to its end.
    pub timeout: Duration,
}

/// Another role at the same server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleTarget {
    /// Folder with the Secret's files.
    pub secret: PathBuf,
}

/// A backup of what is replaced, taken right before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SafetyBackup {
    /// Where it goes; done when all hold it.
    pub storages: Vec<StorageTarget>,
    /// Its UID.
    pub backup_uid: String,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// How far it is proven.
    pub proof: ProofLevel,
}

/// What came of `restore-data`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreDataResult {
    /// The database that serves now: another oid, another marker.
    pub database: DatabaseFacts,
    /// Name of the former one. It is closed; what was written after the safety backup is there only.
    pub before: String,
    /// Oid of the former one.
    pub before_oid: u32,
    /// What was lost, counted right before the safety backup.
    pub loss: DataLoss,
    /// The copies of the safety backup.
    pub safety: Vec<CopyResult>,
    /// What restoring took.
    pub seconds: ProofSeconds,
}
