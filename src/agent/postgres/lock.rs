//! The database's lock: an advisory lock of a session that does nothing else.
//!
//! Backups hold it shared, migrations alone. It is asked for again and again and never waited for inside the server: a
//! blocking wait deadlocks with CREATE INDEX CONCURRENTLY. The session is asked all the time whether it still holds;
//! whoever works under the lock watches `lost` and stops when it resolves.

use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::{Client, Row};

use super::{Connected, failure::failed};
use crate::{
    agent::refuse,
    api::Reason,
    clock::Stopwatch,
    protocol::{DatabaseFacts, Refusal},
};

/// The key of a database's own lock: `SWBK`, and the lock's number.
const OWN: Key = Key(0x5357_424B, 1);
/// First half of the keys of databases that are replaced, `SWBO`; the other half is the database's oid. Their locks are
/// held in another database of the server: nobody stays connected to one that is renamed.
const REPLACED: i32 = 0x5357_424F;
/// Time between two attempts to get the lock.
const POLL: Duration = Duration::from_millis(250);
/// Time between two questions whether it is still held.
const BEAT: Duration = Duration::from_secs(2);
/// How long an answer to that may take before the session counts as lost.
const ANSWER: Duration = Duration::from_secs(10);
/// Who holds the lock, as far as this role may see it.
const HOLDERS: &str = "SELECT l.pid, a.application_name, a.backend_start::pg_catalog.text \
     FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid \
     WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.objsubid OPERATOR(pg_catalog.=) 2 \
     AND l.classid::pg_catalog.int8 OPERATOR(pg_catalog.=) $1 AND l.objid::pg_catalog.int8 OPERATOR(pg_catalog.=) $2 \
     AND l.database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database \
       WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
     ORDER BY a.backend_start";

/// Which lock: the key's halves, as PostgreSQL shows them.
#[derive(Debug, Clone, Copy)]
struct Key(i32, u32);

impl Key {
    /// Returns the halves as lock functions take them.
    const fn halves(self) -> (i32, i32) {
        (self.0, self.1.cast_signed())
    }

    /// Returns who holds it in the session's database: process id, application name, begin of the session.
    async fn holders(self, client: &Client) -> Result<Vec<Row>, Refusal> {
        let rows = client.query(HOLDERS, &[&i64::from(self.0), &i64::from(self.1)]).await;
        rows.map_err(|error| failed("looking for the database's lock", &error))
    }
}

/// The lock, held as long as this lives and its session does.
pub struct Lock {
    /// Process id of the session that holds it.
    pub pid: i32,
    /// What was seen of the database when that session began.
    pub facts: DatabaseFacts,
    key: Key,
    lost: watch::Receiver<String>,
    beat: tokio::task::JoinHandle<()>,
}

impl Lock {
    /// Returns when the lock is lost, with the reason as far as it is known.
    pub async fn lost(&self) -> String {
        let mut receiver = self.lost.clone();
        while receiver.changed().await.is_ok() {}
        receiver.borrow().clone()
    }

    /// Refuses a session that does not see the lock: it is on another server, which nobody has locked.
    pub async fn seen_by(&self, client: &Client) -> Result<(), Refusal> {
        let rows = self.key.holders(client).await?;
        if rows.iter().any(|row| row.try_get::<_, i32>(0).is_ok_and(|pid| pid == self.pid)) {
            return Ok(());
        }
        Err(refuse(Reason::IdentityUncertain, "two sessions a moment apart are on different servers"))
    }

    /// Returns once nobody else holds it beside this one; gives up after `wait` as `DatabaseBusy`.
    pub async fn alone(&self, session: &Connected, wait: Duration) -> Result<(), Refusal> {
        let waiting = Stopwatch::start();
        loop {
            let rows = self.key.holders(&session.client).await?;
            if rows.iter().all(|row| row.try_get::<_, i32>(0).is_ok_and(|pid| pid == self.pid)) {
                return Ok(());
            }
            if waiting.elapsed() >= wait {
                return Err(busy(session, self.key).await);
            }
            tokio::time::sleep(POLL.min(wait)).await;
        }
    }

    /// Returns whether the lock was held a moment ago.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.lost.has_changed().is_ok()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The session ends with the task that holds it, and the lock with the session.
        self.beat.abort();
    }
}

/// Takes the lock beside others who share it, on a session that it keeps; gives up after `wait` as `DatabaseBusy`.
pub async fn try_shared(session: Connected, wait: Duration) -> Result<Lock, Refusal> {
    take(session, wait, ("SELECT pg_catalog.pg_try_advisory_lock_shared($1, $2)", OWN)).await
}

/// Takes the lock alone, on a session that it keeps; gives up after `wait` as `DatabaseBusy`.
pub async fn try_exclusive(session: Connected, wait: Duration) -> Result<Lock, Refusal> {
    take(session, wait, ("SELECT pg_catalog.pg_try_advisory_lock($1, $2)", OWN)).await
}

/// Takes the lock of a database that is to be replaced alone, in another one of the same server; gives up after `wait`.
pub async fn try_replacing(session: Connected, oid: u32, wait: Duration) -> Result<Lock, Refusal> {
    take(session, wait, ("SELECT pg_catalog.pg_try_advisory_lock($1, $2)", Key(REPLACED, oid))).await
}

async fn take(session: Connected, wait: Duration, (statement, key): (&str, Key)) -> Result<Lock, Refusal> {
    let waiting = Stopwatch::start();
    let ask = failing_as("asking for the database's lock");
    let (one, two) = key.halves();
    loop {
        let row = session.client.query_one(statement, &[&one, &two]).await.map_err(ask)?;
        if row.try_get(0).map_err(ask)? {
            return Ok(hold(session, key));
        }
        if waiting.elapsed() >= wait {
            return Err(busy(&session, key).await);
        }
        tokio::time::sleep(POLL.min(wait)).await;
    }
}

fn failing_as(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> Refusal + Copy {
    move |error| failed(doing, &error)
}

fn hold(session: Connected, key: Key) -> Lock {
    let Connected { client, pid, facts, gone, address: _ } = session;
    let (sender, lost) = watch::channel(String::new());
    let beat = tokio::spawn(async move {
        let why = tokio::select! {
            why = gone.wait() => why,
            why = beat(&client) => why,
        };
        sender.send_replace(why);
    });
    Lock { pid, facts, key, lost, beat }
}

/// Asks until the answer is late or wrong.
async fn beat(client: &Client) -> String {
    loop {
        tokio::time::sleep(BEAT).await;
        let answer = client.query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]);
        match tokio::time::timeout(ANSWER, answer).await {
            Err(_) => return format!("the lock's session did not answer within {} s", ANSWER.as_secs()),
            Ok(Err(error)) => return super::failure::words(&error),
            Ok(Ok(row)) if row.try_get::<_, bool>(0).is_ok_and(|replica| !replica) => {}
            Ok(Ok(_)) => return "the server is no primary any more".to_owned(),
        }
    }
}

async fn busy(session: &Connected, key: Key) -> Refusal {
    let holders: Vec<String> = key
        .holders(&session.client)
        .await
        .unwrap_or_default()
        .iter()
        .map(|row| {
            let pid = row.try_get::<_, i32>(0).unwrap_or_default();
            let name = row.try_get::<_, Option<String>>(1).ok().flatten().unwrap_or_else(|| "somebody".into());
            let since = row.try_get::<_, Option<String>>(2).ok().flatten().unwrap_or_else(|| "unknown".into());
            format!("{name} (process {pid}, since {since})")
        })
        .collect();
    let who = if holders.is_empty() { "nobody any more".to_owned() } else { holders.join(", ") };
    refuse(Reason::DatabaseBusy, format!("the lock of {} is held by {who}", session.facts.identity.name))
}
