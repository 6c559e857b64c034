//! What a migration does to the copy while it runs: locks, rewritten tables, rows, objects.
//!
//! Locks are looked at again and again by a session of its own: that works for any tool. One held for less than the time
//! between two looks may not be seen; nobody waits long for it either.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

use super::length;
use crate::{
    agent::postgres::{connect, failure::failed, fingerprint::Catalogue},
    api::{HeldLock, RehearsalFindings, Taken, TimedFile},
    clock::Stopwatch,
    protocol::{DatabaseTarget, MigrateParameters, Refusal},
};

/// Time between two looks at locks.
const EVERY: Duration = Duration::from_millis(20);
/// How many locks, files and tables are told: all of it has to fit a termination message.
pub const TOLD: usize = 8;
/// Longest name that is told, in characters.
const LONGEST: usize = 100;
/// Locks on users' tables that keep somebody from reading or writing, or from another change of the schema.
const LOCKS: &str = "SELECT l.pid, format('%I.%I', n.nspname, c.relname), l.mode FROM pg_locks l \
    JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid() AND c.relkind IN ('r', 'p', 'm', 'v') \
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'switchback') \
    AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')";
/// Where the rows of users' tables are.
const FILES: &str = "SELECT c.oid, format('%I.%I', n.nspname, c.relname), pg_relation_filenode(c.oid) FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' \
    AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'switchback')";
/// Rows written so far. Sessions tell of theirs when they end.
const ROWS: &str = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int8 FROM pg_stat_user_tables \
    WHERE schemaname <> 'switchback'";
/// Columns of users' tables, with their types.
const COLUMNS: &str = "SELECT format('%I.%I', n.nspname, c.relname), a.attname::text, \
    format_type(a.atttypid, a.atttypmod) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' \
    AND n.nspname NOT IN ('information_schema', 'switchback')";
/// How long each file took: from the one before, or from the beginning.
const TIMES: &str = "SELECT f.name, extract(epoch FROM f.applied - coalesce(lag(f.applied) OVER (ORDER BY f.applied), \
    l.began))::float8 AS seconds FROM switchback.ledger_files f JOIN switchback.ledger l USING (release_uid, revision) \
    WHERE f.release_uid = $1 AND f.revision = $2 AND f.applied >= l.began ORDER BY 2 DESC";

/// Looks on.
pub struct Observer {
    client: Client,
    before: Before,
    locks: Arc<Mutex<Locks>>,
    over: Arc<AtomicBool>,
    looking: JoinHandle<()>,
}

/// What was there before.
struct Before {
    catalogue: Catalogue,
    files: BTreeMap<u32, Option<u32>>,
    rows: i64,
}

impl Observer {
    /// Looks at what is there, and begins to look at locks.
    pub async fn begin(copy: &DatabaseTarget) -> Result<Self, Refusal> {
        let client = connect(copy, "rehearsal").await?.client;
        let files = files(&client).await?.into_iter().map(|(oid, _, file)| (oid, file)).collect();
        let before = Before { catalogue: Catalogue::read(&client).await?, files, rows: rows(&client).await? };
        let watching = connect(copy, "rehearsal locks").await?.client;
        let (locks, over) = (Arc::new(Mutex::new(Locks::default())), Arc::new(AtomicBool::new(false)));
        let looking = tokio::spawn(look(watching, Arc::clone(&locks), Arc::clone(&over)));
        Ok(Self { client, before, locks, over, looking })
    }

    /// Returns the schema as it was, and what the migration has shown.
    pub async fn end(self, migration: &MigrateParameters) -> Result<(Catalogue, Tables, RehearsalFindings), Refusal> {
        let Self { client, before, locks, over, looking } = self;
        over.store(true, Ordering::SeqCst);
        let _ = looking.await;
        let after = Catalogue::read(&client).await?;
        let changes = before.catalogue.changes_to(&after);
        let rewritten = files(&client)
            .await?
            .into_iter()
            .filter(|(oid, _, file)| before.files.get(oid).is_some_and(|was| was != file));
        let rewritten: Vec<String> = rewritten.map(|(_, name, _)| short(&name)).take(TOLD).collect();
        let findings = RehearsalFindings {
            files: times(&client, migration).await?,
            locks: locks.lock().map(|locks| locks.longest()).unwrap_or_default(),
            rewritten,
            rows: rows(&client).await?.saturating_sub(before.rows).max(0),
            changes: u32::try_from(changes.len()).unwrap_or(u32::MAX),
            ..RehearsalFindings::default()
        };
        Ok((before.catalogue, tables(&client).await?, findings))
    }
}

/// Looks until it is over, and once more.
async fn look(client: Client, locks: Arc<Mutex<Locks>>, over: Arc<AtomicBool>) {
    let clock = Stopwatch::start();
    loop {
        let last = over.load(Ordering::SeqCst);
        let Ok(rows) = client.query(LOCKS, &[]).await else { return };
        let held =
            rows.iter().filter_map(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?, row.try_get(2).ok()?)));
        if let Ok(mut locks) = locks.lock() {
            locks.see(held.collect(), clock.elapsed());
        }
        if last {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Process, table, mode.
type Held = (i32, String, String);

/// Locks, by when they were seen.
#[derive(Default)]
struct Locks {
    /// Since when those that were seen last are held.
    now: BTreeMap<Held, Duration>,
    /// How long, at most, by table and mode.
    longest: BTreeMap<(String, String), Duration>,
}

impl Locks {
    fn see(&mut self, held: Vec<Held>, at: Duration) {
        let before = std::mem::take(&mut self.now);
        for lock in held {
            let since = before.get(&lock).copied().unwrap_or(at);
            let longest = self.longest.entry((lock.1.clone(), lock.2.clone())).or_default();
            *longest = (*longest).max(at.saturating_sub(since));
            self.now.insert(lock, since);
        }
    }

    fn longest(&self) -> Vec<HeldLock> {
        let mut all: Vec<_> = self.longest.iter().collect();
        all.sort_by_key(|(_, held)| std::cmp::Reverse(**held));
        let told = all.into_iter().take(TOLD).map(|((table, mode), held)| HeldLock {
            table: short(table),
            mode: mode.clone(),
            held: length(held.as_secs_f64()),
        });
        told.collect()
    }
}

async fn files(client: &Client) -> Result<Vec<(u32, String, Option<u32>)>, Refusal> {
    let error = |error: Error| failed("looking at tables", &error);
    let rows = client.query(FILES, &[]).await.map_err(error)?;
    let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    rows.iter().map(read).collect::<Result<_, _>>().map_err(error)
}

async fn rows(client: &Client) -> Result<i64, Refusal> {
    let error = |error: Error| failed("counting written rows", &error);
    client.query_one(ROWS, &[]).await.and_then(|row| row.try_get(0)).map_err(error)
}

async fn times(client: &Client, migration: &MigrateParameters) -> Result<Vec<TimedFile>, Refusal> {
    let error = |error: Error| failed("reading the copy's ledger", &error);
    let rows = client.query(TIMES, &[&migration.release_uid, &migration.revision]).await.map_err(error)?;
    let file = |row: &tokio_postgres::Row| {
        Ok(TimedFile { name: short(row.try_get(0)?), took: length(row.try_get::<_, f64>(1)?.max(0.0)) })
    };
    rows.iter().take(TOLD).map(file).collect::<Result<_, _>>().map_err(error)
}

/// Every table with its columns and their types.
pub type Tables = BTreeMap<String, BTreeMap<String, String>>;

/// Reads every table with its columns.
pub async fn tables(client: &Client) -> Result<Tables, Refusal> {
    let error = |error: Error| failed("looking at columns", &error);
    let mut tables = Tables::new();
    for row in client.query(COLUMNS, &[]).await.map_err(error)? {
        let columns = tables.entry(row.try_get(0).map_err(error)?).or_default();
        // A table may have no column at all.
        if let Some(column) = row.try_get::<_, Option<String>>(1).map_err(error)? {
            columns.insert(column, row.try_get(2).map_err(error)?);
        }
    }
    Ok(tables)
}

/// Returns tables and columns that are no more, or hold another type: what was in them is gone, or may not fit.
pub fn taken(before: &Tables, after: &Tables) -> Vec<Taken> {
    let mut taken = Vec::new();
    for (table, columns) in before {
        let Some(left) = after.get(table) else {
            taken.push(Taken { table: table.clone(), column: None });
            continue;
        };
        let gone = columns.iter().filter(|(column, type_)| left.get(*column) != Some(*type_));
        taken.extend(gone.map(|(column, _)| Taken { table: table.clone(), column: Some(column.clone()) }));
    }
    taken
}

fn short(name: &str) -> String {
    name.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_counts_from_when_it_was_seen_until_it_is_gone_each_time_anew() {
        let lock = |pid: i32, mode: &str| (pid, "public.t".to_owned(), mode.to_owned());
        let at = Duration::from_millis;
        let mut locks = Locks::default();
        locks.see(vec![lock(1, "AccessExclusiveLock")], at(100));
        locks.see(vec![lock(1, "AccessExclusiveLock"), lock(2, "ShareLock")], at(400));
        locks.see(vec![], at(500));
        locks.see(vec![lock(1, "AccessExclusiveLock")], at(600));
        locks.see(vec![lock(1, "AccessExclusiveLock")], at(700));
        let told: Vec<_> = locks.longest().into_iter().map(|lock| (lock.mode, lock.held.to_string())).collect();
        assert_eq!(
            told,
            [("AccessExclusiveLock".to_owned(), "300ms".to_owned()), ("ShareLock".to_owned(), "0s".to_owned())]
        );
    }
}
