//! `backup`: one snapshot of a database into all storages, proven, and only then named a backup.
//!
//! In: [`BackupParameters`]. Out: the answer. The order is the promise: the database's lock, locks on all tables, the
//! snapshot, the dump; its exit code is seen before any upload is completed; what was stored is read back and proven;
//! the manifest comes last. Whatever fails, what was written is taken back.

pub mod blocked;
pub mod catalog;
mod copies;
pub mod dump;
mod finish;
mod session;
mod stream;

use std::time::Duration;

use jiff::Timestamp;

use self::{
    copies::{Copies, Plan},
    dump::Dump,
    session::Snapshot,
    stream::Streamed,
};
pub use self::{dump::Places, stream::Layout};
use super::{
    limit::Limit,
    manifest::Content,
    postgres::{self, Connected, failure, identity, lock},
    refuse,
    store::{Finder, Store, key},
};
use crate::{
    api::Reason,
    clock,
    protocol::{BackupParameters, BackupResult, Refusal},
};

/// How long the database's lock is asked for: as long as somebody else's short work may take.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// How long `pg_dump` may take to end after its output has.
const EXIT: Duration = Duration::from_secs(30);

/// What a backup works with.
pub struct Work<'a> {
    /// What was asked for.
    pub parameters: &'a BackupParameters,
    /// Where programs and folders are.
    pub places: &'a Places,
    /// How large parts and pieces are.
    pub layout: Layout,
    /// Name of the attempt, for the sessions on the server.
    name: String,
    limit: Limit,
    started_at: Timestamp,
}

/// Takes one backup.
///
/// # Errors
/// It was refused or failed; nothing is left that looks like a backup. Its message may hold what must not leave.
pub async fn run(parameters: &BackupParameters, places: &Places, layout: Layout) -> Result<BackupResult, Refusal> {
    let name = format!("backup {}-{}", parameters.backup_uid, parameters.attempt);
    let limit = Limit::start("the backup", Reason::BackupFailed, parameters.timeout.as_std());
    Work { parameters, places, layout, name, limit, started_at: clock::now() }.attempt().await
}

/// What stands before the first byte is read.
struct Prepared {
    guards: Guards,
    snapshot: Connected,
    tools: String,
    stores: Vec<Store>,
    plan: Plan,
}

/// What the dump runs under.
struct Guards {
    lock: lock::Lock,
    /// The session that sees who waits.
    watch: Connected,
}

/// What the dump brought.
pub struct Dumped {
    /// What was in the database.
    pub content: Content,
    /// What was sent.
    pub streamed: Streamed,
    /// What the programs left out.
    pub omitted: Vec<String>,
    /// Position of the snapshot.
    pub position: String,
    /// Number of the oldest transaction that was under way then.
    pub oldest_transaction: i64,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The database when the backup began.
    pub database: crate::protocol::DatabaseFacts,
    /// `pg_dump --version`.
    pub tools: String,
}

impl Work<'_> {
    async fn attempt(&self) -> Result<BackupResult, Refusal> {
        let prepared = self.limit.or_stopped(self.prepare()).await?;
        let Prepared { guards, snapshot, tools, stores, plan } = prepared;
        let attempt = plan.attempt.clone();
        let mut copies = Copies::new(plan, stores);
        let mut finished = self.dump_watched(snapshot, &guards, &mut copies).await;
        // Sessions of a dump that was cut go on otherwise.
        let ending = blocked::end_sessions(&guards.watch.client, &self.name);
        let _ = tokio::time::timeout(EXIT, ending).await;
        let database = guards.lock.facts.clone();
        drop(guards);
        if let Ok(dumped) = &mut finished {
            dumped.database = database;
            dumped.tools = tools;
        }
        let result = match finished {
            Ok(dumped) => self.limit.or_stopped(self.finish(&attempt, dumped, &mut copies)).await,
            Err(refusal) => Err(refusal),
        };
        match result {
            Ok(result) => Ok(result),
            Err(refusal) => Err(taken_back(refusal, copies.take_back().await)),
        }
    }

    /// Runs the dump, unless the lock is lost or somebody waits for it too long.
    async fn dump_watched(&self, snapshot: Connected, guards: &Guards, copies: &mut Copies) -> Result<Dumped, Refusal> {
        let waits = async {
            if self.parameters.yield_to_ddl {
                blocked::somebody_waits(&guards.watch.client, &self.name).await
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            dumped = self.limit.or_stopped(self.dump(snapshot, copies)) => dumped,
            refusal = waits => Err(refusal),
            why = guards.lock.lost() => Err(refuse(Reason::BackupFailed, format!("the database's lock was lost: {why}"))),
        }
    }

    async fn prepare(&self) -> Result<Prepared, Refusal> {
        let target = &self.parameters.database;
        let session = postgres::connect(target, "backup lock").await?;
        let marker = identity::marked(target, &session.facts.identity)?.uuid;
        let tools = dump::version(self.places, &session.facts.server_version).await?;
        let backup_uid = &self.parameters.backup_uid;
        let attempt = key::Attempt::new(marker, self.started_at, backup_uid, self.parameters.attempt)?;
        let mut stores = Vec::new();
        for storage in &self.parameters.storages {
            stores.push(Store::open(storage, self.layout.patience).await?);
        }
        if stores.is_empty() {
            return Err(refuse(Reason::StorageNotFound, "no storage is named"));
        }
        let lock = lock::try_shared(session, LOCK_WAIT).await?;
        let (backup, number) = (key::uid(backup_uid)?, self.parameters.attempt);
        let finder = Finder { marker, backup, attempt: number, now: clock::now() };
        for store in &stores {
            if let Err(refusal) = store.remove_leftovers(&finder).await {
                // A storage that lets nothing be removed keeps them; they cost room and are no backup.
                eprintln!("leftovers stay: {}", refusal.message);
            }
        }
        let snapshot = postgres::connect(target, &self.name).await?;
        let watch = postgres::connect(target, "backup watch").await?;
        let gives_up_at =
            self.started_at.saturating_add(self.parameters.timeout.as_signed()).unwrap_or(self.started_at);
        let plan = Plan { attempt, started_at: self.started_at, gives_up_at };
        Ok(Prepared { guards: Guards { lock, watch }, snapshot, tools, stores, plan })
    }

    async fn dump(&self, session: Connected, copies: &mut Copies) -> Result<Dumped, Refusal> {
        let Snapshot { session, id, position, oldest_transaction, taken_at } = session::take(session).await?;
        let first = catalog::sequences(&session.client).await?;
        let (dump, output) = Dump::start(self.places, &session, &id, &self.name).await?;
        let both = async { tokio::try_join!(stream::send(output, copies, self.layout), content(&session)) };
        let (streamed, mut content) = match both.await {
            Ok(both) => both,
            // The end of the dump's output may have been its failure, whose words say more.
            Err(refusal) if refusal.reason == Reason::BackupFailed => {
                return Err(match tokio::time::timeout(EXIT, dump.end()).await {
                    Ok(Err(said)) => said,
                    Ok(Ok(_)) | Err(_) => refusal,
                });
            }
            Err(refusal) => return Err(refusal),
        };
        let omitted = match tokio::time::timeout(EXIT, dump.end()).await {
            Ok(ended) => ended?,
            Err(_) => return Err(refuse(Reason::BackupFailed, "pg_dump does not end")),
        };
        session::check(&session).await?;
        content.sequences = first;
        for last in catalog::sequences(&session.client).await? {
            let mut all = content.sequences.iter_mut();
            if let Some(sequence) = all.find(|first| (&first.schema, &first.name) == (&last.schema, &last.name)) {
                sequence.last = last.last;
            }
        }
        let database = session.facts.clone();
        let tools = String::new();
        Ok(Dumped { content, streamed, omitted, position, oldest_transaction, taken_at, database, tools })
    }
}

async fn content(session: &Connected) -> Result<Content, Refusal> {
    let content = catalog::content(&session.client).await?;
    let tables = catalog::count_tables(&session.client).await?;
    Ok(Content { tables, ..content })
}

/// Adds to a refusal what could not be taken back.
fn taken_back(refusal: Refusal, left: Vec<Refusal>) -> Refusal {
    if left.is_empty() {
        return refusal;
    }
    let left: Vec<String> = left.into_iter().map(|refusal| refusal.message).collect();
    let message = format!("{}; not all of it could be taken back: {}", refusal.message, left.join("; "));
    Refusal { message, ..refusal }
}

/// Returns the refusal for a statement that failed: the server's own words are about the backup, anything else is about
/// the way to the server.
pub fn failed(doing: &str, error: &tokio_postgres::Error) -> Refusal {
    let refusal = failure::failed(doing, error);
    match refusal.reason {
        Reason::DatabaseUnreachable if error.as_db_error().is_some() => {
            Refusal { reason: Reason::BackupFailed, ..refusal }
        }
        _ => refusal,
    }
}
