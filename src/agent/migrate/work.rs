//! What a migration runs: files of SQL by ourselves, or a command through the port.

use std::{pin::pin, sync::Arc};

use tokio_postgres::Client;

use super::{
    Outside,
    command::{self, Reach},
    files::{self, File, Files},
    risks, sql,
    stop::{Cut, Deadline},
};
use crate::{
    agent::{
        port::{Port, Sessions, Upstream},
        postgres::{address::Address, backends, connect, ledger, ledger::Key, lock::Lock},
        redact::Redactor,
        refuse,
    },
    api::Reason,
    protocol::{
        DatabaseFacts, MigrateParameters, MigrationFacts, MigrationState, MigrationTarget, MigrationWork, Refusal,
    },
};

/// How many names of pending files are told.
const NAMES: usize = 10;

/// One attempt, whose `Started` is committed.
pub struct Attempt<'a> {
    pub parameters: &'a MigrateParameters,
    pub key: &'a Key,
    pub number: i32,
    /// The verified session that controls all others.
    pub client: &'a Arc<Client>,
    pub facts: &'a DatabaseFacts,
    pub address: &'a Address,
    pub redactor: &'a Redactor,
}

/// What will run, read and checked.
pub enum Prepared {
    Sql(Vec<File>),
    Command { argv: Vec<String>, direct: bool },
}

impl Prepared {
    /// Returns the names of the files that will run.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Sql(files) => files.iter().map(|file| file.name.clone()).collect(),
            Self::Command { .. } => Vec::new(),
        }
    }
}

/// How the work ended.
pub enum End {
    /// By itself: well, or not.
    Came(Option<Refusal>),
    /// From outside.
    Cut(Cut),
}

/// Reads and checks what will run; refuses what would not run as approved.
pub async fn prepare(parameters: &MigrateParameters, client: &Client) -> Result<Prepared, Refusal> {
    match &parameters.work {
        MigrationWork::Command { argv, direct } | MigrationWork::Down { argv, direct, takes: _ } => {
            Ok(Prepared::Command { argv: argv.clone(), direct: *direct })
        }
        MigrationWork::Sql { folder, checksum } => {
            let files = files::read(folder)?;
            if files.checksum != *checksum {
                let text = format!(
                    "the files are not the approved ones: {checksum} was approved, {} is there",
                    files.checksum
                );
                return Err(refuse(Reason::ApprovalStale, text));
            }
            Ok(Prepared::Sql(checked(&files, client).await?))
        }
    }
}

/// Returns the files that are pending, when they can run at all.
async fn checked(files: &Files, client: &Client) -> Result<Vec<File>, Refusal> {
    let applied = ledger::files(client).await?;
    let pending = files::pending(files, &applied)?;
    for file in &pending {
        files::lint(file)?;
    }
    Ok(pending.into_iter().cloned().collect())
}

/// Looks at a migration without touching anything.
pub async fn inspect(
    client: &Client,
    target: &MigrationTarget,
    server_version: &str,
) -> Result<MigrationFacts, Refusal> {
    let key = Key { release_uid: target.release_uid.clone(), revision: target.revision.clone() };
    let entry = ledger::read(client, &key).await?;
    let mut facts = MigrationFacts {
        state: entry.map_or(MigrationState::NotStarted, |entry| entry.state),
        checksum: String::new(),
        files: 0,
        pending: 0,
        pending_names: Vec::new(),
        findings: Vec::new(),
        found: 0,
    };
    if let Some(folder) = &target.sql {
        let files = files::read(folder)?;
        let pending = checked(&files, client).await?;
        facts.checksum.clone_from(&files.checksum);
        facts.files = u32::try_from(files.files.len()).unwrap_or(u32::MAX);
        facts.pending = u32::try_from(pending.len()).unwrap_or(u32::MAX);
        (facts.findings, facts.found) = risks::find(&pending, server_version);
        facts.pending_names = pending.iter().take(NAMES).map(|file| file.name.clone()).collect();
    }
    Ok(facts)
}

/// Runs the work until it ends or is cut. When it returns, no client of it is left; its backends may be.
pub async fn run(at: &Attempt<'_>, prepared: Prepared, lock: &Lock, outside: &mut Outside<'_>) -> End {
    let timeout = at.parameters.timeout.as_std();
    let mut sleep = pin!(tokio::time::sleep(timeout));
    let deadline = Deadline { timeout, sleep: sleep.as_mut() };
    match prepared {
        Prepared::Sql(files) => {
            let ended = tokio::select! {
                // What is due to end does not begin.
                biased;
                cut = outside.stop.wait(deadline, lock) => End::Cut(cut),
                applied = apply(at, &files) => End::Came(applied.err()),
            };
            after_sql(at, &files, ended).await
        }
        Prepared::Command { argv, direct } => run_command(at, (&argv, direct), (deadline, lock), outside).await,
    }
}

async fn apply(at: &Attempt<'_>, files: &[File]) -> Result<(), Refusal> {
    let session = connect(&at.parameters.database, &at.key.purpose()).await?;
    recorded(at, session.pid).await?;
    let lock_timeout = at.parameters.lock_timeout.as_std();
    sql::apply(&sql::Applying { client: &session.client, key: at.key, lock_timeout, redactor: at.redactor }, files)
        .await
}

async fn recorded(at: &Attempt<'_>, pid: i32) -> Result<(), Refusal> {
    if ledger::session(at.client, pid, (at.key, at.number)).await? {
        return Ok(());
    }
    Err(refuse(Reason::IdentityUncertain, "two sessions a moment apart are on different servers"))
}

/// What the files' own rows say counts: the last one may have been committed as it was cut.
async fn after_sql(at: &Attempt<'_>, files: &[File], ended: End) -> End {
    match ended {
        End::Cut(Cut::LockLost(_)) | End::Came(None) => ended,
        End::Cut(Cut::Deadline(_)) | End::Came(Some(_)) => {
            let gone = backends::end_own(at.client, at.key, at.number).await.is_ok();
            let applied = ledger::files(at.client).await.unwrap_or_default();
            let all =
                gone && !files.is_empty() && files.iter().all(|file| applied.get(&file.name) == Some(&file.sha256));
            if all { End::Came(None) } else { ended }
        }
    }
}

async fn run_command(
    at: &Attempt<'_>,
    (argv, direct): (&[String], bool),
    (deadline, lock): (Deadline<'_>, &Lock),
    outside: &mut Outside<'_>,
) -> End {
    let sessions = Sessions::Migrating(at.key.clone(), at.number);
    let lock_timeout = at.parameters.lock_timeout.as_std();
    let upstream = Upstream::of((at.address, at.facts), at.client, sessions, lock_timeout);
    let port = match Port::open(upstream).await {
        Ok(port) => port,
        Err(error) => {
            let text = format!("nothing ran: the port for the command cannot be opened: {error}");
            return End::Came(Some(refuse(Reason::MigrationFailed, text)));
        }
    };
    let name = backends::direct_name(at.key, at.number);
    let reach = if direct { Reach::Direct { folder: outside.memory, name } } else { Reach::Port(&port) };
    let mut running = match command::start(argv, at.address, &reach, outside.redactor) {
        Ok(running) => running,
        Err(refusal) => return End::Came(Some(refusal)),
    };
    let end = tokio::select! {
        biased;
        cut = outside.stop.wait(deadline, lock) => End::Cut(cut),
        ended = running.ended() => End::Came(ended.err()),
    };
    match end {
        End::Came(None) if direct => End::Came(None),
        End::Came(None) => End::Came(unfinished(at, &port).await),
        End::Came(problem) => End::Came(problem),
        End::Cut(cut) => {
            port.cut();
            running.end().await;
            End::Cut(match cut {
                Cut::Deadline(why) => {
                    Cut::Deadline(refuse(why.reason, running.said(&format!("was ended: {}", why.message))))
                }
                lost @ Cut::LockLost(_) => lost,
            })
        }
    }
}

/// A command that ended well must have been at the database, and be done there.
async fn unfinished(at: &Attempt<'_>, port: &Port) -> Option<Refusal> {
    if port.opened() == 0 {
        let text = "the command ended with exit code 0 and never connected to DATABASE_URL: nothing of it can be known";
        return Some(refuse(Reason::MigrationResultMismatch, text));
    }
    match backends::at_work(at.client, at.key, at.number).await {
        Ok(0) => None,
        Ok(count) => {
            let text = format!("the command ended with exit code 0 while {count} of its sessions were still at work");
            Some(refuse(Reason::MigrationResultMismatch, text))
        }
        Err(refusal) => Some(refusal),
    }
}
