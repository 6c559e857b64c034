//! The session whose snapshot is dumped: locks first, snapshot after.
//!
//! A table that is rewritten, or dropped and made again, between snapshot and dump is dumped as empty without an error.
//! So every table is locked against that before the snapshot is taken, and what the snapshot sees must be what was
//! locked.

use std::time::Duration;

use jiff::Timestamp;

use super::{catalog, failed};
use crate::{
    agent::{
        postgres::{Connected, failure::words},
        refuse,
    },
    api::Reason,
    clock,
    protocol::Refusal,
};

/// How long one statement waits for its locks. Whoever holds one is rewriting, dropping or truncating.
const LOCK_TIMEOUT: &str = "5s";
/// How often all locks are asked for again.
const LOCK_ROUNDS: u32 = 12;
/// Pause between two rounds, in which others get their locks.
const PAUSE: Duration = Duration::from_secs(1);
/// Tables that one statement locks.
const TABLES_AT_ONCE: usize = 200;

/// A snapshot that others can use as long as the session lives.
pub struct Snapshot {
    /// The session.
    pub session: Connected,
    /// The snapshot's name.
    pub id: String,
    /// Position in the write-ahead log, a moment after the snapshot.
    pub position: String,
    /// Number of the oldest transaction that was under way.
    pub oldest_transaction: i64,
    /// When it was taken.
    pub taken_at: Timestamp,
}

/// Locks every table, then takes the snapshot.
///
/// # Errors
/// Somebody keeps a table locked (`YieldedToDDL`), tables come and go all the time, or a query failed.
pub async fn take(session: Connected) -> Result<Snapshot, Refusal> {
    let mut why = String::new();
    for round in 0..LOCK_ROUNDS {
        if round > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match attempt(&session).await? {
            Attempt::Taken { id, position, oldest_transaction } => {
                let taken_at = clock::now();
                check(&session).await?;
                return Ok(Snapshot { session, id, position, oldest_transaction, taken_at });
            }
            Attempt::Again(reason) => why = reason,
        }
        run(&session, "giving the locks back", "ROLLBACK").await?;
    }
    let name = &session.facts.identity.name;
    Err(refuse(Reason::YieldedToDDL, format!("the tables of {name} could not all be locked: {why}")))
}

/// Refuses when a table was rewritten since the snapshot.
///
/// # Errors
/// One was (`BackupFailed`), or the query failed.
pub async fn check(session: &Connected) -> Result<(), Refusal> {
    let rewritten = catalog::rewritten(&session.client).await?;
    if rewritten.is_empty() {
        return Ok(());
    }
    let names = rewritten.join(", ");
    Err(refuse(Reason::BackupFailed, format!("rewritten while the backup was taken: {names}; its rows are not in it")))
}

enum Attempt {
    Taken { id: String, position: String, oldest_transaction: i64 },
    Again(String),
}

async fn attempt(session: &Connected) -> Result<Attempt, Refusal> {
    let before = catalog::relations(&session.client).await?;
    // LOCK TABLE takes no snapshot: the first query after it does.
    let begin = format!("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'");
    run(session, "beginning the backup", &begin).await?;
    for some in before.chunks(TABLES_AT_ONCE) {
        let names: Vec<String> = some.iter().map(|relation| format!("ONLY {}", relation.name)).collect();
        let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        if let Err(error) = session.client.batch_execute(&lock).await {
            let code = error.code().map(|code| code.code().to_owned());
            // Locked by somebody; dropped or renamed since it was listed; replaced by a view.
            return match code.as_deref() {
                Some("55P03" | "42P01" | "3F000" | "42809" | "40P01") => Ok(Attempt::Again(words(&error))),
                _ => Err(failed("locking the tables", &error)),
            };
        }
    }
    let export = "SELECT pg_export_snapshot(), pg_current_wal_insert_lsn()::text, \
         pg_snapshot_xmin(pg_current_snapshot())::text::int8";
    let read = |row: tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    let taken = session.client.query_one(export, &[]).await.and_then(read);
    let (id, position, oldest_transaction) = taken.map_err(|error| failed("taking the snapshot", &error))?;
    let inside = catalog::relations(&session.client).await?;
    if inside == before {
        return Ok(Attempt::Taken { id, position, oldest_transaction });
    }
    Ok(Attempt::Again("tables were made, dropped or renamed meanwhile".to_owned()))
}

async fn run(session: &Connected, doing: &str, statement: &str) -> Result<(), Refusal> {
    session.client.batch_execute(statement).await.map_err(|error| failed(doing, &error))
}
