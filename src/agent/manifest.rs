//! The manifest: what makes objects in a storage a backup. Written once, last, as JSON.
//!
//! It says whose database it was, what was in it, which objects hold it and what each of them adds up to. What is not
//! understood is refused by whoever reads it; nothing in it is secret.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    refuse,
    store::{Store, key::Attempt},
};
use crate::{
    api::{Reason, sha256_hex},
    protocol::{CopyResult, DatabaseFacts, ProofResult, Refusal},
};

/// Form of the manifest; another one is another number.
pub const FORM: u32 = 1;

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORM`].
    pub form: u32,
    /// UID of the `DatabaseBackup`.
    pub backup_uid: String,
    /// Which attempt at it.
    pub attempt: u32,
    /// The database as it was.
    pub database: DatabaseFacts,
    /// Position of the snapshot in the write-ahead log (`pg_lsn`).
    pub position: String,
    /// Number (`xid8`) of the oldest transaction that was under way when the snapshot was taken: what this one or a
    /// later one wrote may not be in it. 0 in manifests of earlier versions: it is not known.
    #[serde(default)]
    pub oldest_transaction: i64,
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
    /// When everything was stored.
    pub stored_at: Timestamp,
    /// Versions of the programs that made it.
    pub tools: Tools,
    /// What was in the database.
    pub content: Content,
    /// What the programs said they left out.
    pub omitted: Vec<String>,
    /// How the data is laid down.
    pub data: Data,
    /// How far it was proven before this was written.
    pub proof: ProofResult,
}

/// Versions of the programs that made a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tools {
    /// The agent.
    pub agent: String,
    /// `pg_dump --version`.
    pub dump: String,
}

/// What was in a database, within one snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// Ordinary tables, without those of extensions and of the schema `switchback`.
    pub tables: Vec<Table>,
    /// Fingerprint of the schema, hex; empty in manifests of earlier versions.
    #[serde(default)]
    pub schema: String,
    /// Sequences. They are outside of snapshots.
    pub sequences: Vec<Sequence>,
    /// Large objects.
    pub large_objects: i64,
    /// Constraints that the database itself has not validated.
    pub not_valid: Vec<String>,
    /// Extensions.
    pub extensions: Vec<Extension>,
    /// Roles of the server, as data: rows of `pg_roles` and what they are members of. No passwords.
    pub roles: Vec<Value>,
    /// The database's row of `pg_database`: encoding, locale, provider, ACL, connection limit.
    pub settings: Value,
    /// Name of the encoding.
    pub encoding: String,
    /// Rows of `pg_db_role_setting` of this database.
    pub role_settings: Vec<Value>,
}

/// An ordinary table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Rows, without those of children.
    pub rows: i64,
    /// Bytes on disk, with TOAST, without indexes.
    #[serde(default)]
    pub bytes: i64,
}

/// A sequence. It may move while a dump is taken: the dump holds something between `first` and `last`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequence {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Last value before the dump.
    pub first: i64,
    /// Last value after it.
    pub last: i64,
    /// Whether it begins anew at its end.
    #[serde(default)]
    pub cycles: bool,
}

/// An extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Schema that it is in.
    pub schema: String,
}

/// How the data is laid down: the archive of `pg_dump`, compressed as one frame, cut into pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// What the archive is.
    pub format: String,
    /// How it is compressed.
    pub compression: String,
    /// The archive itself.
    pub archive: Sum,
    /// All stored bytes, in the order of the pieces.
    pub stored: Sum,
    /// Bytes of each part but the last of a piece.
    pub part_bytes: u64,
    /// The pieces.
    pub pieces: Vec<Piece>,
}

/// What a number of bytes adds up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// How many.
    pub bytes: u64,
    /// Their SHA-256, hex.
    pub sha256: String,
}

/// One object of data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Piece {
    /// Its name beside the manifest.
    pub name: String,
    /// All of it.
    #[serde(flatten)]
    pub sum: Sum,
    /// SHA-256 of each part, hex.
    pub parts: Vec<String>,
}

impl Content {
    /// Returns the rows of all tables.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| u64::try_from(table.rows).unwrap_or(0)).sum()
    }
}

impl Manifest {
    /// Reads the manifest of a copy, which must be what its result said.
    ///
    /// # Errors
    /// It is not there, was altered (`BackupVerificationFailed`), or has a form that this version does not know.
    pub async fn read(store: &Store, copy: &CopyResult) -> Result<(Attempt, Self), Refusal> {
        let below = store.below(&copy.manifest)?;
        let attempt = Attempt::of_manifest(&below)?;
        let text = store.get(&store.key(&below)).await?;
        let wrong = |what: String| {
            let text = format!("BackupStorage {}: the manifest {} {what}", store.name(), copy.manifest);
            refuse(Reason::BackupVerificationFailed, text)
        };
        let sha256 = sha256_hex(&text);
        if sha256 != copy.sha256 {
            return Err(wrong(format!("was altered: its SHA-256 is {sha256}, was {}", copy.sha256)));
        }
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        if manifest.form == FORM { Ok((attempt, manifest)) } else { Err(wrong(format!("has form {}", manifest.form))) }
    }
}
