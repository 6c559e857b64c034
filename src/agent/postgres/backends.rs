//! Backends of migrations: found, ended, proven gone; and what earlier ones left behind.
//!
//! A killed client does not end its statement. Nothing begins while a backend of an earlier attempt lives.

use std::time::Duration;

use tokio_postgres::{Client, Row};

use super::{
    failure::{failed, words},
    ledger::Key,
};
use crate::{agent::refuse, api::Reason, clock::Stopwatch, protocol::Refusal};

/// How long a backend may take to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a backend may take to notice that its client has left.
const LEAVING: Duration = Duration::from_secs(5);
/// Time between two looks.
const POLL: Duration = Duration::from_millis(100);
/// By name, and by what the ledger recorded: a driver may have given its session another name since.
const OF_ALL: &str = "SELECT a.pid FROM pg_catalog.pg_stat_activity a \
    WHERE a.datname = current_database() AND (a.application_name LIKE 'switchback migrate %' \
    OR EXISTS (SELECT FROM switchback.ledger_sessions s WHERE s.pid = a.pid AND s.began = a.backend_start))";
/// One attempt's, told from those of an attempt that has begun since.
const OF_ONE: &str = "SELECT a.pid, a.state <> 'idle' FROM pg_catalog.pg_stat_activity a \
    WHERE a.datname = current_database() AND (a.application_name = 'switchback ' || $4 \
    OR EXISTS (SELECT FROM switchback.ledger_sessions s WHERE s.pid = a.pid AND s.began = a.backend_start \
    AND s.release_uid = $1 AND s.revision = $2 AND s.attempt = $3))";
const NAMED: &str = "SELECT a.pid FROM pg_catalog.pg_stat_activity a \
    WHERE a.application_name = $1 AND a.pid <> pg_catalog.pg_backend_pid()";
const TERMINATE: &str = "SELECT pg_terminate_backend($1)";
const FORGET: &str = "DELETE FROM switchback.ledger_sessions";
const INVALID_INDEXES: &str = "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_index i \
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE NOT i.indisvalid AND c.relkind = 'i' ORDER BY 1";
const PREPARED: &str = "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY 1";
const LIQUIBASE: &str = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'databasechangeloglock' \
    AND c.relkind = 'r' AND NOT c.relrowsecurity";

/// Ends every backend of a migration in this database and returns, when none is left, how many there were. Only who
/// has just got the lock may: all of them are of attempts whose agents are gone.
pub async fn end_all(client: &Client) -> Result<usize, Refusal> {
    let ended = end(client, async || {
        let rows = client.query(OF_ALL, &[]).await.map_err(looking)?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i32>, _>>().map_err(looking)
    })
    .await?;
    // Process ids come again; what is proven gone is forgotten.
    client.execute(FORGET, &[]).await.map_err(|error| failed("forgetting ended sessions", &error))?;
    Ok(ended)
}

/// Ends every backend of one attempt, and of no other; when it returns, none is left.
pub async fn end_own(client: &Client, key: &Key, attempt: i32) -> Result<(), Refusal> {
    let own = async || Ok(own(client, key, attempt).await?.into_iter().map(|(pid, _)| pid).collect());
    end(client, own).await.map(|_| ())
}

/// Ends every other session of this name on the server, in whatever database; when it returns, none is left.
pub async fn end_named(client: &Client, name: &str) -> Result<usize, Refusal> {
    let error = |error| failed("looking for sessions of an earlier attempt", &error);
    end(client, async || {
        let rows = client.query(NAMED, &[&name]).await.map_err(error)?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i32>, _>>().map_err(error)
    })
    .await
}

/// Returns how many backends of one attempt are at a statement or inside a transaction, once they had a moment to end.
pub async fn at_work(client: &Client, key: &Key, attempt: i32) -> Result<usize, Refusal> {
    let waiting = Stopwatch::start();
    loop {
        let count = own(client, key, attempt).await?.into_iter().filter(|(_, at_work)| *at_work).count();
        if count == 0 || waiting.elapsed() >= LEAVING {
            return Ok(count);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Returns the application name of sessions that a command of this attempt opens by itself.
#[must_use]
pub fn direct_name(key: &Key, attempt: i32) -> String {
    format!("switchback {} {attempt}", key.purpose())
}

async fn own(client: &Client, key: &Key, attempt: i32) -> Result<Vec<(i32, bool)>, Refusal> {
    let name = format!("{} {attempt}", key.purpose());
    let rows = client.query(OF_ONE, &[&key.release_uid, &key.revision, &attempt, &name]).await.map_err(looking)?;
    let pair = |row: &Row| Ok((row.try_get(0)?, row.try_get::<_, Option<bool>>(1)?.unwrap_or(true)));
    rows.iter().map(pair).collect::<Result<_, _>>().map_err(looking)
}

fn looking(error: tokio_postgres::Error) -> Refusal {
    failed("looking for backends of migrations", &error)
}

async fn end(client: &Client, look: impl AsyncFn() -> Result<Vec<i32>, Refusal>) -> Result<usize, Refusal> {
    let waiting = Stopwatch::start();
    let mut ended = 0;
    loop {
        let pids = look().await?;
        if pids.is_empty() {
            return Ok(ended);
        }
        ended = ended.max(pids.len());
        for pid in &pids {
            client.execute(TERMINATE, &[pid]).await.map_err(|error| {
                let text = format!("process {pid} of an earlier attempt lives and cannot be ended: {}", words(&error));
                refuse(Reason::DatabaseBusy, text)
            })?;
        }
        if waiting.elapsed() >= PATIENCE {
            let who: Vec<String> = pids.iter().map(ToString::to_string).collect();
            let (who, seconds) = (who.join(", "), PATIENCE.as_secs());
            let text = format!("processes of an earlier attempt did not end within {seconds} s: {who}");
            return Err(refuse(Reason::DatabaseBusy, text));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Returns the names of indexes that an interrupted CREATE INDEX CONCURRENTLY left.
pub async fn invalid_indexes(client: &Client) -> Result<Vec<String>, Refusal> {
    let rows = client.query(INVALID_INDEXES, &[]).await;
    let rows = rows.map_err(|error| failed("looking for invalid indexes", &error))?;
    Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
}

/// Returns who holds Liquibase's lock, which has no expiry. Its table is the users': only plain ones are read.
async fn stale_liquibase_locks(client: &Client) -> Result<Vec<String>, Refusal> {
    let tables = client.query(LIQUIBASE, &[]).await;
    let tables = tables.map_err(|error| failed("looking for Liquibase's lock", &error))?;
    let mut found = Vec::new();
    let wait = async |time: &str| {
        let set = client.batch_execute(&format!("SET lock_timeout = {time}")).await;
        set.map_err(|error| failed("preparing the session", &error))
    };
    // Somebody may have locked the table itself.
    wait("1000").await?;
    for table in tables.iter().filter_map(|row| row.try_get::<_, String>(0).ok()) {
        let held = client.query(&format!("SELECT coalesce(lockedby, '') FROM {table} WHERE locked"), &[]).await;
        // A table of that name that is not Liquibase's, or may not be read, has no lock that can be told of.
        for by in held.unwrap_or_default().iter().filter_map(|row| row.try_get::<_, String>(0).ok()) {
            found.push(format!("Liquibase's lock {table} is held by {by}"));
        }
    }
    wait("0").await?;
    Ok(found)
}

/// Returns, in words, what earlier work left behind that may stand in the way; nothing of it is touched.
pub async fn leftovers(client: &Client) -> Result<Vec<String>, Refusal> {
    let mut found: Vec<String> =
        invalid_indexes(client).await?.iter().map(|name| format!("index {name} is invalid")).collect();
    let rows = client.query(PREPARED, &[]).await;
    for row in rows.map_err(|error| failed("looking for prepared transactions", &error))? {
        let gid: String = row.try_get(0).unwrap_or_default();
        found.push(format!("transaction {gid} is prepared and holds its locks"));
    }
    found.extend(stale_liquibase_locks(client).await?);
    Ok(found)
}
