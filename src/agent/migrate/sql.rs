//! Runs files of SQL: one transaction each, its row of the ledger in the same one.

use std::time::Duration;

use tokio_postgres::{
    Client,
    error::{DbError, ErrorPosition, SqlState},
};
use uuid::Uuid;

use super::{files::File, split::Statement};
use crate::{
    agent::{
        postgres::{self, backends, failure, ledger, ledger::Key},
        redact::Redactor,
        refuse, say,
    },
    api::Reason,
    protocol::Refusal,
};

/// How often a file is tried whose statement waited too long for a lock.
const TRIES: u32 = 5;
/// Unit of the wait between two tries.
const WAIT: Duration = Duration::from_millis(400);
/// Statements that give our own ones ground to stand on after users' statements.
const OWN_GROUND: &str = "RESET SESSION AUTHORIZATION; RESET ROLE; SET LOCAL search_path = pg_catalog";
const TRANSACTION: &str = "SELECT pg_catalog.txid_current()::pg_catalog.text";

/// How files are applied.
pub struct Applying<'a> {
    /// The session, which does nothing else.
    pub client: &'a Client,
    /// In whose name.
    pub key: &'a Key,
    /// How long a statement may wait for a lock.
    pub lock_timeout: Duration,
    /// What must not be printed.
    pub redactor: &'a Redactor,
}

/// Why a file was not applied.
struct Failure {
    refusal: Refusal,
    /// A lock was waited for too long and all of the file was undone: it may be tried again.
    again: bool,
}

/// Applies files in order; stops at the first that fails.
pub async fn apply(applying: &Applying<'_>, files: &[File]) -> Result<(), Refusal> {
    for file in files {
        let mut tried = 1;
        while let Err(failure) = one(applying, file).await {
            if !failure.again || tried == TRIES {
                return Err(failure.refusal);
            }
            say(&format!("{}; trying again", applying.redactor.text(&failure.refusal.message)));
            tokio::time::sleep(jitter(tried)).await;
            tried += 1;
        }
        say(&format!("applied {}", file.name));
    }
    Ok(())
}

/// Returns a wait that grows and that no two agents share.
fn jitter(tried: u32) -> Duration {
    let percent = u32::try_from(Uuid::new_v4().as_u128() % 100).unwrap_or(0);
    WAIT * tried * (50 + percent) / 100
}

async fn one(applying: &Applying<'_>, file: &File) -> Result<(), Failure> {
    let begun = postgres::settle_for_users(applying.client, applying.lock_timeout).await;
    begun.map_err(|refusal| Failure { refusal, again: false })?;
    if file.is_outside_transaction() {
        return alone(applying, file).await.map_err(|refusal| Failure { refusal, again: false });
    }
    match together(applying, file).await {
        Ok(()) => Ok(()),
        Err(refusal) => {
            let undone = applying.client.batch_execute("ROLLBACK").await.is_ok();
            Err(Failure { again: undone && refusal.reason == Reason::LockTimeout, refusal })
        }
    }
}

/// Runs a file and its row of the ledger in one transaction.
async fn together(applying: &Applying<'_>, file: &File) -> Result<(), Refusal> {
    let client = applying.client;
    let at_the_end = |error| failed_at(file, "at its end", &error);
    client.batch_execute("BEGIN").await.map_err(at_the_end)?;
    let before = transaction(client).await.map_err(at_the_end)?;
    for statement in file.statements() {
        client.batch_execute(statement.text).await.map_err(|error| failed_in(file, &statement, &error))?;
    }
    client.batch_execute(OWN_GROUND).await.map_err(at_the_end)?;
    // A file that ended our transaction by a way that was not foreseen would be half recorded.
    if transaction(client).await.map_err(at_the_end)? != before {
        let text = format!("{} ended the transaction that it runs in; part of it may be committed", file.name);
        return Err(refuse(Reason::MigrationFailed, text));
    }
    record(applying, file).await.map_err(at_the_end)?;
    client.batch_execute("COMMIT").await.map_err(at_the_end)
}

async fn transaction(client: &Client) -> Result<String, tokio_postgres::Error> {
    client.query_one(TRANSACTION, &[]).await?.try_get(0)
}

async fn record(applying: &Applying<'_>, file: &File) -> Result<(), tokio_postgres::Error> {
    let key = applying.key;
    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&file.name, &file.sha256, &key.release_uid, &key.revision];
    applying.client.execute(ledger::FILE, &row).await.map(|_| ())
}

/// Runs a file of one statement outside a transaction, then records it.
async fn alone(applying: &Applying<'_>, file: &File) -> Result<(), Refusal> {
    let client = applying.client;
    for statement in file.statements() {
        let ran = client.batch_execute(statement.text).await;
        let ran = ran.map_err(|error| failed_in(file, &statement, &error));
        let looked = match postgres::settle_again(client).await {
            Ok(()) => mentioned(client, &statement).await,
            Err(refusal) => Err(refusal),
        };
        let left = looked.as_deref().unwrap_or_default().join(", ");
        match ran {
            Err(refusal) if left.is_empty() => return Err(refusal),
            Err(refusal) => {
                return Err(refuse(refusal.reason, format!("{}; the index {left} is invalid", refusal.message)));
            }
            // IF NOT EXISTS is content with an index that an interrupted run left unusable.
            Ok(()) if !left.is_empty() => {
                let (name, line) = (&file.name, statement.line);
                let text = format!("{name} line {line}: the index {left} is invalid; drop it, then migrate again");
                return Err(refuse(Reason::MigrationFailed, text));
            }
            Ok(()) => {}
        }
        looked?;
    }
    record(applying, file).await.map_err(|error| failed_at(file, "at its end", &error))
}

/// Returns invalid indexes whose names stand in a statement.
async fn mentioned(client: &Client, statement: &Statement<'_>) -> Result<Vec<String>, Refusal> {
    let words: Vec<&str> = statement.text.split(|c: char| !(c.is_alphanumeric() || "_$".contains(c))).collect();
    let named = |index: &String| index.rsplit('.').next().is_some_and(|name| words.contains(&name));
    Ok(backends::invalid_indexes(client).await?.into_iter().filter(named).collect())
}

fn failed_in(file: &File, statement: &Statement<'_>, error: &tokio_postgres::Error) -> Refusal {
    let line = match error.as_db_error().and_then(DbError::position) {
        Some(ErrorPosition::Original(character)) => statement.line_at(*character),
        _ => statement.line,
    };
    failed_at(file, &format!("line {line}: {}", statement.first_line()), error)
}

fn failed_at(file: &File, place: &str, error: &tokio_postgres::Error) -> Refusal {
    let reason = match error.code() {
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => Reason::LockTimeout,
        _ => Reason::MigrationFailed,
    };
    refuse(reason, format!("{} {place}: {}", file.name, failure::words(error)))
}
