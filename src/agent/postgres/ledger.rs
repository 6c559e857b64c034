//! What is kept in a database about itself and its migrations: the schema `switchback`.
//!
//! `identity` has the marker, `ledger` one row per release and revision, `ledger_files` one row per file of SQL that was
//! ever applied (of the database, not of a revision: no file runs twice), `ledger_sessions` the backends of migrations,
//! by which one is found whatever its driver calls itself. An entry `Started` without an end is uncertain.

use std::collections::BTreeMap;

use tokio_postgres::{Client, error::SqlState};
use uuid::Uuid;

use super::{failure::failed, identity, schema};
use crate::{
    agent::refuse,
    api::{Environment, Reason},
    protocol::{Marker, MigrationState, Refusal},
};

/// Makes what is missing. Others may read who the database is, so that a backup's role can.
const SCHEMA: &str = "
CREATE SCHEMA IF NOT EXISTS switchback;
CREATE TABLE IF NOT EXISTS switchback.identity (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    uuid uuid NOT NULL,
    environment text NOT NULL,
    epoch bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS switchback.ledger (
    release_uid text NOT NULL,
    revision text NOT NULL,
    state text NOT NULL CONSTRAINT ledger_state_check
        CHECK (state IN ('Started', 'Applied', 'Failed', 'Undone')),
    backup_uid text NOT NULL,
    attempt integer NOT NULL,
    began timestamptz NOT NULL,
    ended timestamptz,
    error text,
    PRIMARY KEY (release_uid, revision)
);
CREATE TABLE IF NOT EXISTS switchback.ledger_files (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    release_uid text NOT NULL,
    revision text NOT NULL,
    applied timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS switchback.ledger_sessions (
    pid integer NOT NULL,
    began timestamptz NOT NULL,
    release_uid text NOT NULL,
    revision text NOT NULL,
    attempt integer NOT NULL,
    PRIMARY KEY (pid, began)
);
GRANT USAGE ON SCHEMA switchback TO PUBLIC;
GRANT SELECT ON switchback.identity TO PUBLIC;
";
/// Lets a ledger that an earlier version made say `Undone`.
const WIDEN: &str = "ALTER TABLE switchback.ledger DROP CONSTRAINT IF EXISTS ledger_state_check, \
    ADD CONSTRAINT ledger_state_check CHECK (state IN ('Started', 'Applied', 'Failed', 'Undone'))";
/// Keeps two who make the schema at once apart, for a moment: `SWBK` and the number of this lock.
const ALONE: &str = "SELECT pg_catalog.pg_advisory_xact_lock(1398227531, 2)";
const FIRST: &str = "INSERT INTO switchback.identity (uuid, environment, epoch) VALUES ($1::text::uuid, $2, 0) \
    ON CONFLICT (one) DO NOTHING";
const RAISE: &str = "UPDATE switchback.identity SET epoch = epoch + 1 RETURNING uuid::text, environment, epoch";
const READ: &str = "SELECT state, attempt, coalesce(error, ''), backup_uid FROM switchback.ledger \
    WHERE release_uid = $1 AND revision = $2";
const START: &str = "INSERT INTO switchback.ledger AS l (release_uid, revision, state, backup_uid, attempt, began) \
    VALUES ($1, $2, 'Started', $3, 1, clock_timestamp()) ON CONFLICT (release_uid, revision) DO UPDATE \
    SET state = 'Started', backup_uid = excluded.backup_uid, attempt = l.attempt + 1, began = excluded.began, \
    ended = NULL, error = NULL RETURNING attempt";
const END: &str = "UPDATE switchback.ledger SET state = $4, error = $5, ended = clock_timestamp() \
    WHERE release_uid = $1 AND revision = $2 AND attempt = $3 AND state = 'Started'";
const FILES: &str = "SELECT name, sha256 FROM switchback.ledger_files";
/// Records a file: name, SHA-256, release, revision. Runs in a transaction in which users' statements ran, so every
/// name is in full.
pub const FILE: &str = "INSERT INTO switchback.ledger_files (name, sha256, release_uid, revision, applied) \
    VALUES ($1::pg_catalog.text, $2::pg_catalog.text, $3::pg_catalog.text, $4::pg_catalog.text, \
    pg_catalog.clock_timestamp())";
const SESSION: &str = "INSERT INTO switchback.ledger_sessions (pid, began, release_uid, revision, attempt) \
    SELECT pid, backend_start, $2, $3, $4 FROM pg_catalog.pg_stat_activity WHERE pid = $1 \
    AND datname = current_database() AND backend_start IS NOT NULL AND application_name = $5";
/// Longest cause of a failure that is kept, in characters.
const LONGEST_ERROR: usize = 4000;

/// Which migration.
#[derive(Debug, Clone)]
pub struct Key {
    /// UID of the Release.
    pub release_uid: String,
    /// Its revision.
    pub revision: String,
}

impl Key {
    /// Returns what sessions at work are for: their application name is `switchback ` and this.
    #[must_use]
    pub fn purpose(&self) -> String {
        format!("migrate {}", self.release_uid)
    }
}

/// What the ledger says of a migration.
#[derive(Debug, Clone)]
pub struct Entry {
    /// How far it came.
    pub state: MigrationState,
    /// Number of the last attempt.
    pub attempt: i32,
    /// Why it failed.
    pub error: String,
    /// UID of the DatabaseBackup that was proven before it.
    pub backup_uid: String,
}

/// Makes schema and tables, writes the marker when there is none, raises the epoch; all or nothing.
pub async fn mark(client: &mut Client, environment: Environment) -> Result<Marker, Refusal> {
    let doing = "marking the database";
    let error = |error| failed(doing, &error);
    let transaction = client.transaction().await.map_err(error)?;
    transaction.batch_execute(ALONE).await.map_err(error)?;
    transaction.batch_execute(SCHEMA).await.map_err(error)?;
    schema::refuse_foreign(&transaction).await?;
    let uuid = Uuid::new_v4().to_string();
    let environment: &str = environment.into();
    transaction.execute(FIRST, &[&uuid, &environment]).await.map_err(error)?;
    let marker = identity::marker(&transaction.query_one(RAISE, &[]).await.map_err(error)?)?;
    transaction.commit().await.map_err(error)?;
    Ok(marker)
}

/// Reads the entry of one migration; none before the first and where there is no ledger yet.
pub async fn read(client: &Client, key: &Key) -> Result<Option<Entry>, Refusal> {
    let doing = "reading the ledger";
    let rows = match client.query(READ, &[&key.release_uid, &key.revision]).await {
        Err(error) if is_absent(&error) => return Ok(None),
        other => other.map_err(|error| failed(doing, &error))?,
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let error = |error| failed(doing, &error);
    let state: String = row.try_get(0).map_err(error)?;
    let state = serde_json::from_value(state.as_str().into()).map_err(|_| {
        refuse(Reason::MigrationUncertain, format!("the ledger says {state:?}, which nobody here knows"))
    })?;
    Ok(Some(Entry {
        state,
        attempt: row.try_get(1).map_err(error)?,
        error: row.try_get(2).map_err(error)?,
        backup_uid: row.try_get(3).map_err(error)?,
    }))
}

/// Commits `Started` and the next epoch at once; returns the attempt's number and the marker.
pub async fn start(client: &mut Client, key: &Key, backup_uid: &str) -> Result<(i32, Marker), Refusal> {
    let error = |error| failed("writing to the ledger", &error);
    let transaction = client.transaction().await.map_err(error)?;
    schema::refuse_foreign(&transaction).await?;
    let marker = identity::marker(&transaction.query_one(RAISE, &[]).await.map_err(error)?)?;
    let row = transaction.query_one(START, &[&key.release_uid, &key.revision, &backup_uid]).await.map_err(error)?;
    let attempt = row.try_get(0).map_err(error)?;
    transaction.commit().await.map_err(error)?;
    Ok((attempt, marker))
}

/// Makes sure that the ledger can say that a migration was taken back.
pub async fn widen(client: &Client) -> Result<(), Refusal> {
    client.batch_execute(WIDEN).await.map_err(|error| failed("preparing the ledger", &error))
}

/// Commits the end of an attempt, unless a later one has begun.
pub async fn end(client: &Client, key: &Key, attempt: i32, end: Result<MigrationState, &str>) -> Result<(), Refusal> {
    let state = match end {
        Ok(MigrationState::Undone) => "Undone",
        Ok(_) => "Applied",
        Err(_) => "Failed",
    };
    let problem = end.err().map(|problem| problem.chars().take(LONGEST_ERROR).collect::<String>());
    let written = client.execute(END, &[&key.release_uid, &key.revision, &attempt, &state, &problem]).await;
    match written.map_err(|error| failed("writing to the ledger", &error))? {
        1 => Ok(()),
        _ => Err(refuse(Reason::MigrationUncertain, format!("the ledger has a later attempt than {attempt}"))),
    }
}

/// Returns name and SHA-256 of every file that was ever applied.
pub async fn files(client: &Client) -> Result<BTreeMap<String, String>, Refusal> {
    let doing = "reading the ledger's files";
    let rows = match client.query(FILES, &[]).await {
        Err(error) if is_absent(&error) => return Ok(BTreeMap::new()),
        other => other.map_err(|error| failed(doing, &error))?,
    };
    let pair = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(pair).collect::<Result<_, _>>().map_err(|error| failed(doing, &error))
}

/// Records a backend of an attempt before any statement of it runs; false when this server has no such backend.
pub async fn session(client: &Client, pid: i32, (key, attempt): (&Key, i32)) -> Result<bool, Refusal> {
    let name = format!("switchback {}", key.purpose());
    let written = client.execute(SESSION, &[&pid, &key.release_uid, &key.revision, &attempt, &name]).await;
    Ok(written.map_err(|error| failed("recording a session", &error))? == 1)
}

fn is_absent(error: &tokio_postgres::Error) -> bool {
    [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME].iter().any(|code| error.code() == Some(code))
}
