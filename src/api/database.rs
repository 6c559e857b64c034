//! DatabaseInstance: a database, its environment, its identity and where its backups go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{Condition, JobSettings, Probing, names};

/// A database of an application.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchback.dev",
    version = "v1alpha1",
    kind = "DatabaseInstance",
    plural = "databaseinstances",
    category = "switchback",
    shortname = "dbi",
    namespaced,
    status = "DatabaseInstanceStatus",
    doc = "A database: how it is reached, what it is for, who it is and where its backups go.",
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment"),
    printcolumn(name = "Database", type_ = "string", json_path = ".status.identity.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.identity.serverVersion"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Last proven", type_ = "date", json_path = ".status.lastProven.at"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Claimed by", type_ = "string", json_path = ".status.claim.release", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseInstanceSpec {
    /// What the database is for.
    pub environment: Environment,
    /// How a PostgreSQL database is reached.
    pub postgres: PostgresSettings,
    /// Where its backups go and how far they are proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backups: Option<BackupSettings>,
    /// Room for the servers in which backups are proven.
    #[serde(default)]
    pub scratch: ScratchSettings,
    /// PostgreSQL's own programs.
    #[serde(default)]
    pub tools: ToolSettings,
    /// The word by which a first or changed identity is accepted: `SYSTEM-IDENTIFIER/OID/NAME/MARKER`, as the
    /// condition IdentityCertain shows it, with the marker's UUID or `none`. It counts once. One that ends with
    /// `none` also lets the marker be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 160),
        regex(
            pattern = r"^[0-9]{1,20}/[0-9]{1,10}/[^\x00-\x1f\x7f]{1,63}/([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|none)$"
        )
    )]
    pub adopt_identity: Option<String>,
    /// How much all databases of the server may have together: no statement shows what room there is, and a backup is
    /// restored beside the database whose place it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12), regex(pattern = r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$"))]
    pub capacity: Option<String>,
    /// What the pods that work on the database get besides what they need.
    #[serde(default)]
    pub jobs: JobSettings,
}

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
#[schemars(transform = super::crds::told_by_the_field)]
pub enum ProofLevel {
    /// Sizes and checksums of what was stored were read back.
    Stored,
    /// All of it was fetched, decompressed and read to the end, with the right checksum.
    Readable,
    /// It was restored into a scratch server; every count and sequence was compared.
    Restored,
}

/// How a PostgreSQL database is reached. Passwords are in Secrets and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresSettings {
    /// Secret with the keys `host`, `port`, `dbname`, `username` and `password`, and where needed `sslmode` and
    /// `ca.crt`, of the role that owns the application's tables.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub secret: String,
    /// What these keys are called in the Secrets, where they have other names.
    #[serde(default)]
    pub keys: SecretKeys,
    /// Secret with the certificate authority of the server, under the key `ca.crt` (default: `secret`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub ca_secret: Option<String>,
    /// Secret with user name and password of the role that takes backups (default: `secret`). The server is that
    /// of `secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub backup: Option<String>,
    /// Secret with user name and password of the role that migrates and owns the schema `switchback` (default:
    /// `secret`). The server is that of `secret`. It must be a member of the role that owns the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub migrate: Option<String>,
    /// Secret with user name and password of the role that makes, renames and closes databases when a backup takes the
    /// place of this one. The server is that of `secret`. It must be a member of the role that owns the database and hold
    /// CREATEDB, pg_signal_backend and pg_read_all_stats; nothing is restored as this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub admin: Option<String>,
}

/// What keys are called in Secrets, where they have other names than ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeys {
    /// Key of the host name (default: `host`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::KEY))]
    pub host: Option<String>,
    /// Key of the port (default: `port`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::KEY))]
    pub port: Option<String>,
    /// Key of the database's name (default: `dbname`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::KEY))]
    pub dbname: Option<String>,
    /// Key of the user name (default: `username`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::KEY))]
    pub username: Option<String>,
    /// Key of the password (default: `password`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::KEY))]
    pub password: Option<String>,
    /// Key of libpq's `sslmode` (default: `sslmode`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::KEY))]
    pub sslmode: Option<String>,
    /// Key of the certificate authority (default: `ca.crt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::KEY))]
    pub ca: Option<String>,
}

/// Where backups go and how far they are proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSettings {
    /// Names of BackupStorages; each holds a copy.
    #[schemars(length(min = 1, max = 4), inner(length(min = 1, max = 253), regex(pattern = names::OBJECT)))]
    pub storage: Vec<String>,
    /// How far a backup is proven unless it says otherwise (default: Restored).
    #[serde(default = "restored")]
    #[schemars(default = "restored")]
    pub proof: ProofLevel,
    /// Gives up and tries again later when the backup's locks make others wait for more than five seconds
    /// (default: true).
    #[serde(rename = "yieldToDDL", default = "yes")]
    #[schemars(default = "yes")]
    pub yield_to_ddl: bool,
}

const fn restored() -> ProofLevel {
    ProofLevel::Restored
}
const fn yes() -> bool {
    true
}

/// Room for the servers in which backups are proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScratchSettings {
    /// Storage class of the volume (default: the cluster's; the node's own disk below 5Gi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub storage_class_name: Option<String>,
    /// Its size (default: twice the database and 1Gi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12), regex(pattern = r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$"))]
    pub size: Option<String>,
}

/// PostgreSQL's own programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolSettings {
    /// Image with the programs of the server's major version (default: the operator's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = names::WORD))]
    pub image: Option<String>,
}

/// Status of a DatabaseInstance.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseInstanceStatus {
    /// Generation of the spec that the conditions speak of; -1 before the first look.
    #[serde(default = "super::never_observed")]
    pub observed_generation: i64,
    /// What holds, in the form that kstatus reads.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Who the database is, as accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<DatabaseIdentity>,
    /// When it was last seen to be that. What ended before teaches nothing about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_seen_at: Option<MicroTime>,
    /// The word of `spec.adoptIdentity` that has counted; it does not count again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub adopted: Option<String>,
    /// The Release that may change the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<DatabaseClaim>,
    /// The newest backup whose whole content was read or restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_proven: Option<ProvenBackup>,
    /// The Job that looks at the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probing: Option<Probing>,
}

impl Default for DatabaseInstanceStatus {
    fn default() -> Self {
        Self {
            observed_generation: super::never_observed(),
            conditions: Vec::new(),
            identity: None,
            identity_seen_at: None,
            adopted: None,
            claim: None,
            last_proven: None,
            probing: None,
        }
    }
}

/// Who a database is, and what was seen beside that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseIdentity {
    /// System identifier of the server.
    #[schemars(length(max = 32))]
    pub system_identifier: String,
    /// Oid of the database.
    pub oid: i64,
    /// Name of the database.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Our mark in it; absent until the first one is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<DatabaseMarker>,
    /// `host:port`.
    #[schemars(length(max = 300))]
    pub endpoint: String,
    /// SHA-256 of the server certificate's public key, hex; absent without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub certificate: Option<String>,
    /// Version of the server.
    #[schemars(length(max = 64))]
    pub server_version: String,
    /// Size of the database when it was looked at.
    pub size_bytes: i64,
}

/// Our mark in a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseMarker {
    /// Made once, for ever.
    #[schemars(length(max = 36))]
    pub uuid: String,
    /// What the database was declared to be.
    pub environment: Environment,
    /// Rises at each write contact of ours.
    pub epoch: i64,
}

/// The Release that may change a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseClaim {
    /// UID of the Release.
    #[schemars(length(max = 64))]
    pub release_uid: String,
    /// Name of the Release, for people.
    #[schemars(length(max = 253))]
    pub release: String,
}

/// A backup whose whole content was read or restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvenBackup {
    /// Name of the DatabaseBackup.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID of the DatabaseBackup.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// When its content was what the database held.
    pub at: MicroTime,
    /// How far it is proven.
    pub level: ProofLevel,
}
