//! DatabaseInstance: a database, its environment, its identity and where its backups go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// What a database is for; clones and restores go downwards only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum Environment {
    /// For one person's work.
    Development,
    /// For trying what goes to production.
    Staging,
    /// For users.
    Production,
}

/// How far a backup is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum ProofLevel {
    /// Sizes and checksums of what was stored were read back.
    Stored,
    /// All of it was fetched, decompressed and read to the end, with the right checksum.
    Readable,
    /// It was restored into a scratch server; every count and sequence was compared.
    Restored,
}
