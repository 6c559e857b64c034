//! Backends of migrations: found, ended, proven gone; and what earlier ones left behind.
//!
//! A killed client does not end its statement. Nothing begins while a backend of an earlier attempt lives.

use std::time::Duration;

use tokio_postgres::Client;

use super::failure::{failed, words};
use crate::{agent::refuse, api::Reason, clock::Stopwatch, protocol::Refusal};

/// How long a backend may take to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a backend may take to notice that its client has left.
const LEAVING: Duration = Duration::from_secs(5);
/// Time between two looks.
const POLL: Duration = Duration::from_millis(100);
/// By name, and by what the ledger recorded: a driver may have given its session another name since. Only called while
/// no session of this agent is at work, so all of them are of earlier attempts.
const OF_MIGRATIONS: &str = "SELECT a.pid FROM pg_catalog.pg_stat_activity a \
    WHERE a.datname = current_database() AND (a.application_name LIKE 'switchback migrate %' \
    OR EXISTS (SELECT FROM switchback.ledger_sessions s WHERE s.pid = a.pid AND s.began = a.backend_start))";
const AT_WORK: &str = "SELECT count(*) FROM pg_catalog.pg_stat_activity a \
    WHERE a.datname = current_database() AND a.state <> 'idle' AND (a.application_name LIKE 'switchback migrate %' \
    OR EXISTS (SELECT FROM switchback.ledger_sessions s WHERE s.pid = a.pid AND s.began = a.backend_start))";
const TERMINATE: &str = "SELECT pg_terminate_backend($1)";
const FORGET: &str = "DELETE FROM switchback.ledger_sessions";
const INVALID_INDEXES: &str = "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_index i \
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE NOT i.indisvalid AND c.relkind = 'i' ORDER BY 1";
const PREPARED: &str = "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY 1";

/// Ends every backend of a migration in this database and returns, when none is left, how many there were.
pub async fn end_all(client: &Client) -> Result<usize, Refusal> {
    let waiting = Stopwatch::start();
    let mut ended = 0;
    loop {
        let pids = of_migrations(client).await?;
        if pids.is_empty() {
            // Process ids come again; what is proven gone is forgotten.
            client.execute(FORGET, &[]).await.map_err(|error| failed("forgetting ended sessions", &error))?;
            return Ok(ended);
        }
        ended = ended.max(pids.len());
        for pid in &pids {
            client.execute(TERMINATE, &[pid]).await.map_err(|error| {
                let text =
                    format!("process {pid} of an earlier migration lives and cannot be ended: {}", words(&error));
                refuse(Reason::DatabaseBusy, text)
            })?;
        }
        if waiting.elapsed() >= PATIENCE {
            let who: Vec<String> = pids.iter().map(ToString::to_string).collect();
            let who = who.join(", ");
            let text = format!("processes {who} of an earlier migration did not end within {} s", PATIENCE.as_secs());
            return Err(refuse(Reason::DatabaseBusy, text));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn of_migrations(client: &Client) -> Result<Vec<i32>, Refusal> {
    let doing = "looking for backends of earlier migrations";
    let rows = client.query(OF_MIGRATIONS, &[]).await.map_err(|error| failed(doing, &error))?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| failed(doing, &error))
}

/// Returns how many backends of migrations are at a statement or inside a transaction, once they had a moment to end.
pub async fn at_work(client: &Client) -> Result<i64, Refusal> {
    let error = |error| failed("looking for sessions that still work", &error);
    let waiting = Stopwatch::start();
    loop {
        let count = client.query_one(AT_WORK, &[]).await.map_err(error)?.try_get(0).map_err(error)?;
        if count == 0 || waiting.elapsed() >= LEAVING {
            return Ok(count);
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

/// Returns, in words, what earlier work left behind that may stand in the way; nothing of it is touched.
pub async fn leftovers(client: &Client) -> Result<Vec<String>, Refusal> {
    let mut found: Vec<String> =
        invalid_indexes(client).await?.iter().map(|name| format!("index {name} is invalid")).collect();
    let rows = client.query(PREPARED, &[]).await;
    for row in rows.map_err(|error| failed("looking for prepared transactions", &error))? {
        let gid: String = row.try_get(0).unwrap_or_default();
        found.push(format!("transaction {gid} is prepared and holds its locks"));
    }
    Ok(found)
}
