//! The swap: both databases are closed, their sessions end, one transaction renames both and opens the new one.
//!
//! Between closing and renaming nobody has a database, so nothing else is done there. Whoever asked for it opens the former
//! one again when it cannot be done.

use std::time::Duration;

use tokio_postgres::{Client, Error, error::SqlState};

use super::{Record, Work, dress::Dress, execute, failed};
use crate::{
    agent::{
        postgres::{failure::words, text::quoted},
        refuse, say,
    },
    api::Reason,
    clock::Stopwatch,
    protocol::Refusal,
};

/// How long sessions may take to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a lock is waited for at a time.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// Time between two looks at who is left.
const POLL: Duration = Duration::from_millis(50);
/// Fails unless three oids have these names, and nobody may connect to two of them.
const CHECK: &str = "SELECT count(*) FILTER (WHERE oid = $1 AND datname = $2), \
    count(*) FILTER (WHERE oid = $3 AND datname = $4), count(*) FILTER (WHERE datallowconn) \
    FROM pg_database WHERE oid IN ($1, $3)";
/// Those of nobody are the server's own, which the renaming ends by itself.
const END: &str = "SELECT a.pid, pg_terminate_backend(a.pid) FROM pg_stat_activity a \
    WHERE a.datid IN ($1, $2) AND a.usesysid IS NOT NULL";

/// Puts the new database in the place of the former one.
///
/// # Errors
/// It could not be done, or its word was lost: the databases may still be closed.
pub(super) async fn swap(work: &Work<'_>, admin: &Client, record: &Record) -> Result<(), Refusal> {
    let dress = Dress::read(admin, record.replaces).await?;
    say("closing");
    while_busy(async || close(work, admin, record).await).await?;
    say("closed");
    while_busy(async || {
        end_sessions(admin, record).await?;
        rename(work, admin, (record, &dress)).await
    })
    .await
}

/// Lets users into the former database again.
///
/// # Errors
/// It stays closed.
pub(super) async fn open_again(admin: &Client, name: &str) -> Result<(), Refusal> {
    let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", quoted(name));
    while_busy(async || {
        transaction(admin, "opening the database again", async |doing| {
            admin.batch_execute(&open).await.map_err(|error| busy(doing, &error))
        })
        .await
    })
    .await
}

/// Tries again as long as somebody is in the way, but not for ever: nobody has a database meanwhile.
async fn while_busy(attempt: impl AsyncFn() -> Result<(), Refusal>) -> Result<(), Refusal> {
    let waiting = Stopwatch::start();
    loop {
        match attempt().await {
            Err(refusal) if refusal.reason == Reason::DatabaseBusy && waiting.elapsed() < PATIENCE => {}
            tried => return tried,
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Does something all or not at all, and waits for no lock for longer than a moment: whoever holds it may sit in another
/// database, where nobody is ended.
async fn transaction(
    admin: &Client,
    doing: &str,
    work: impl AsyncFnOnce(&str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let begin = format!("BEGIN; SET LOCAL lock_timeout = {}", LOCK_WAIT.as_millis());
    execute(admin, doing, &begin).await?;
    match work(doing).await {
        Ok(()) => execute(admin, doing, "COMMIT").await,
        Err(refusal) => {
            let _ = admin.batch_execute("ROLLBACK").await;
            Err(refusal)
        }
    }
}

/// Closes both: whoever is not in now does not come in any more.
async fn close(work: &Work<'_>, admin: &Client, record: &Record) -> Result<(), Refusal> {
    let (name, beside) = (quoted(&work.names.name), quoted(&work.names.beside));
    let closing =
        format!("ALTER DATABASE {beside} ALLOW_CONNECTIONS false; ALTER DATABASE {name} ALLOW_CONNECTIONS false");
    transaction(admin, "closing the databases", async |doing| {
        admin.batch_execute(&closing).await.map_err(|error| busy(doing, &error))?;
        check(work, admin, record).await
    })
    .await
}

/// Refuses databases whose names are not those of their oids, or that are not closed.
async fn check(work: &Work<'_>, admin: &Client, record: &Record) -> Result<(), Refusal> {
    let error = |error| failed("looking at the databases", &error);
    let Record { replaces, by, .. } = record;
    let row = admin.query_one(CHECK, &[replaces, &work.names.name, by, &work.names.beside]).await.map_err(error)?;
    let count = |at: usize| row.try_get::<_, i64>(at).map_err(error);
    if (count(0)?, count(1)?, count(2)?) == (1, 1, 0) {
        return Ok(());
    }
    let (name, beside) = (&work.names.name, &work.names.beside);
    let text =
        format!("{name} is not oid {replaces} any more, or {beside} not {by}: somebody else renamed or opened one");
    Err(refuse(Reason::IdentityUncertain, text))
}

/// Ends every session of both; refuses as long as there is one.
async fn end_sessions(admin: &Client, record: &Record) -> Result<(), Refusal> {
    let rows = admin.query(END, &[&record.replaces, &record.by]).await.map_err(|error| {
        let text = format!("a session cannot be ended: {}", words(&error));
        // It may end by itself.
        refuse(Reason::DatabaseBusy, text)
    })?;
    if rows.is_empty() {
        return Ok(());
    }
    Err(refuse(Reason::DatabaseBusy, format!("{} sessions do not end", rows.len())))
}

/// Renames both and opens the new one, all or nothing.
async fn rename(work: &Work<'_>, admin: &Client, (record, dress): (&Record, &Dress)) -> Result<(), Refusal> {
    let names = &work.names;
    let (name, beside, before) = (quoted(&names.name), quoted(&names.beside), quoted(&names.before));
    transaction(admin, "swapping the databases", async |doing| {
        check(work, admin, record).await?;
        let statements = format!(
            "ALTER DATABASE {name} RENAME TO {before}; ALTER DATABASE {beside} RENAME TO {name}; {}; {}; \
             ALTER DATABASE {name} ALLOW_CONNECTIONS true",
            record.statement(&names.before),
            dress.comment_on(&names.name)
        );
        admin.batch_execute(&statements).await.map_err(|error| busy(doing, &error))
    })
    .await
}

fn busy(doing: &str, error: &Error) -> Refusal {
    let refusal = failed(doing, error);
    // "is being accessed by other users"; somebody looks at the same rows.
    let again = [SqlState::OBJECT_IN_USE, SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED];
    if error.code().is_some_and(|code| again.contains(code)) {
        return Refusal { reason: Reason::DatabaseBusy, ..refusal };
    }
    refusal
}
