//! `migrate`: one migration under the database's lock, against the ledger.
//!
//! In order: the database is who it must be; the lock is ours alone; no backend of an earlier attempt lives; the ledger
//! allows it; `Started` is committed; the work runs until it ends or is cut; its backends are gone; the end is
//! committed. Whatever cannot be proven stays `Started`: uncertain.

mod command;
pub mod files;
mod loss;
mod output;
pub mod pending;
mod risks;
pub mod split;
mod sql;
mod stop;
mod work;

use std::{path::Path, sync::Arc, time::Duration};

use tokio_postgres::Client;

pub use self::work::inspect;
use self::{
    stop::{Cut, Stop},
    work::{Attempt, End, Prepared},
};
use super::{
    postgres::{Connected, backends, connect, fingerprint::Catalogue, identity, ledger, ledger::Key, lock, lock::Lock},
    redact::Redactor,
    refuse, say,
};
use crate::{
    api::Reason,
    clock,
    protocol::{MigrateParameters, MigrateResult, MigrationState, MigrationWork, Refusal},
};

/// How long the lock is asked for: longer waits are the controller's, who sees what it waits for.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// Runs a migration. A refusal: nothing has begun in this run.
pub async fn run(parameters: &MigrateParameters, redactor: &Redactor, memory: &Path) -> Result<MigrateResult, Refusal> {
    let mut stop = Stop::listen().map_err(|error| {
        refuse(Reason::MigrationFailed, format!("nothing ran: no signals can be received: {error}"))
    })?;
    let began = tokio::select! {
        ready = begin(parameters) => ready,
        told = stop.told() => Err(told),
    };
    let ready = match began? {
        Begun::Ready(ready) => ready,
        Begun::Ended(result) => return Ok(*result),
    };
    migrate(parameters, *ready, Outside { stop, redactor, memory }).await
}

/// What reaches a migration from outside of it.
struct Outside<'a> {
    stop: Stop,
    redactor: &'a Redactor,
    /// Folder in memory, for a child that connects by itself.
    memory: &'a Path,
}

/// A migration that may start.
struct Ready {
    control: Connected,
    lock: Lock,
    key: Key,
    prepared: Prepared,
}

enum Begun {
    Ready(Box<Ready>),
    /// The ledger has the answer already.
    Ended(Box<MigrateResult>),
}

async fn begin(parameters: &MigrateParameters) -> Result<Begun, Refusal> {
    let (database, uid) = (&parameters.database, &parameters.release_uid);
    let control = connect(database, &format!("control {uid}")).await?;
    identity::marked(database, &control.facts.identity)?;
    let session = connect(database, &format!("lock {uid}")).await?;
    let lock = lock::try_exclusive(session, parameters.timeout.as_std().min(LOCK_WAIT)).await?;
    lock.seen_by(&control.client).await?;
    // What lives now is of an attempt whose agent is gone; the ledger is read when it can write no more.
    let ended = backends::end_all(&control.client).await?;
    if ended > 0 {
        say(&format!("ended {ended} backends of an earlier attempt"));
    }
    for left in backends::leftovers(&control.client).await? {
        say(&format!("note: {left}"));
    }
    let key = Key { release_uid: uid.clone(), revision: parameters.revision.clone() };
    let entry = ledger::read(&control.client, &key).await?;
    let answer = |state, problem| {
        let result = MigrateResult { state, problem, database: Some(control.facts.clone()), ..nothing() };
        Ok(Begun::Ended(Box::new(result)))
    };
    // Of this attempt, or of an earlier one of the same revision that could use the same backup.
    let is_of_this_attempt = entry.as_ref().is_some_and(|entry| entry.backup_uid == parameters.backup_uid);
    let failed = entry.as_ref().map(|entry| entry.error.clone()).unwrap_or_default();
    let state = entry.map(|entry| entry.state);
    let is_command = matches!(parameters.work, MigrationWork::Command { .. });
    let takes_back = parameters.work.success() == MigrationState::Undone;
    match state {
        Some(MigrationState::Failed) if parameters.again && is_of_this_attempt => {
            return answer(MigrationState::Failed, Some(remembered(&failed)));
        }
        // Of files the ledger says below which are due.
        Some(MigrationState::Applied) if is_of_this_attempt && is_command => {
            return answer(MigrationState::Applied, None);
        }
        None | Some(MigrationState::Undone) if takes_back => return answer(MigrationState::Undone, None),
        Some(MigrationState::Started) if !parameters.idempotent => {
            let text = "an earlier attempt began and its end is not known; it is not declared idempotent";
            return answer(MigrationState::Started, Some(refuse(Reason::MigrationUncertain, text)));
        }
        Some(_) | None => {}
    }
    unchanged(parameters, &control.client).await?;
    loss::refuse_loss(&parameters.work, &control.client).await?;
    let prepared = work::prepare(parameters, &control.client).await?;
    // Files that were added since an earlier attempt applied this revision are due; a command never is again.
    if state == Some(MigrationState::Applied) && prepared.names().is_empty() && !takes_back {
        return answer(MigrationState::Applied, None);
    }
    Ok(Begun::Ready(Box::new(Ready { control, lock, key, prepared })))
}

/// Refuses a schema that is not the one that was backed up and rehearsed. What a lost Job of the same attempt has changed
/// is no reason.
async fn unchanged(parameters: &MigrateParameters, client: &Client) -> Result<(), Refusal> {
    if parameters.schema.is_empty() || parameters.again {
        return Ok(());
    }
    let schema = Catalogue::read(client).await?.fingerprint();
    if schema == parameters.schema {
        return Ok(());
    }
    let text = format!(
        "nothing ran: the schema of {} is not the one that was backed up and rehearsed ({} is there, {} was): something \
         else changed it meanwhile",
        parameters.database.name,
        schema.get(..12).unwrap_or(&schema),
        parameters.schema.get(..12).unwrap_or(&parameters.schema)
    );
    Err(refuse(Reason::SchemaChanged, text))
}

/// Reads what the ledger keeps of a failure: its reason, a colon, its message.
fn remembered(error: &str) -> Refusal {
    let (reason, message) = error.split_once(": ").unwrap_or(("", error));
    match reason.parse() {
        Ok(reason) => refuse(reason, message),
        Err(_) => refuse(Reason::MigrationFailed, error),
    }
}

fn nothing() -> MigrateResult {
    MigrateResult {
        state: MigrationState::NotStarted,
        problem: None,
        database: None,
        began_at: None,
        files: 0,
        seconds: 0.0,
    }
}

async fn migrate(
    parameters: &MigrateParameters,
    ready: Ready,
    mut outside: Outside<'_>,
) -> Result<MigrateResult, Refusal> {
    let Ready { control, lock, key, prepared } = ready;
    let Connected { mut client, mut facts, address, .. } = control;
    if parameters.work.success() == MigrationState::Undone {
        ledger::widen(&client).await?;
    }
    let (attempt, marker) = ledger::start(&mut client, &key, &parameters.backup_uid).await?;
    facts.identity.marker = Some(marker);
    let (began_at, watch) = (clock::now(), clock::Stopwatch::start());
    let names = prepared.names();
    let client = Arc::new(client);
    let at = Attempt {
        parameters,
        key: &key,
        number: attempt,
        client: &client,
        facts: &facts,
        address: &address,
        redactor: outside.redactor,
    };
    let end = work::run(&at, prepared, &lock, &mut outside).await;
    let (state, problem) = conclude(&at, &lock, end).await;
    let applied = match state {
        MigrationState::Applied => Ok(names.len()),
        _ => {
            ledger::files(&client).await.map(|applied| names.iter().filter(|name| applied.contains_key(*name)).count())
        }
    };
    let problem = problem.map(|problem| match (&applied, names.len()) {
        (Ok(applied), pending) if pending > 0 => {
            refuse(problem.reason, format!("{}; {applied} of {pending} pending files were applied", problem.message))
        }
        _ => problem,
    });
    let files = applied.unwrap_or(0);
    Ok(MigrateResult {
        state,
        problem,
        database: Some(facts.clone()),
        began_at: Some(began_at),
        files: u32::try_from(files).unwrap_or(u32::MAX),
        seconds: watch.elapsed().as_secs_f64(),
    })
}

/// Proves that nothing of the attempt works on, and only then writes down how it ended.
async fn conclude(at: &Attempt<'_>, lock: &Lock, end: End) -> (MigrationState, Option<Refusal>) {
    let problem = match end {
        End::Came(problem) => problem,
        End::Cut(Cut::Deadline(problem)) => Some(problem),
        End::Cut(Cut::LockLost(why)) => return lost(at, &why).await,
    };
    // The ledger is text that leaves, too.
    let problem = problem.map(|problem| at.redactor.refusal(problem));
    let uncertain = |why: Refusal| {
        let before = problem.as_ref().map_or_else(String::new, |problem| format!("{}; ", problem.message));
        let text = format!("{before}its end could not be written down: {}", why.message);
        (MigrationState::Started, Some(refuse(Reason::MigrationUncertain, text)))
    };
    match finish(at, at.client, lock, problem.as_ref()).await {
        Ok(()) => return ended(at, problem),
        Err(why) if !at.client.is_closed() => return uncertain(why),
        Err(_) => {}
    }
    // The session was lost, not the database.
    match connect(&at.parameters.database, &format!("control {}", at.key.release_uid)).await {
        Ok(again) => match finish(at, &again.client, lock, problem.as_ref()).await {
            Ok(()) => ended(at, problem),
            Err(why) => uncertain(why),
        },
        Err(why) => uncertain(why),
    }
}

fn ended(at: &Attempt<'_>, problem: Option<Refusal>) -> (MigrationState, Option<Refusal>) {
    (if problem.is_some() { MigrationState::Failed } else { at.parameters.work.success() }, problem)
}

async fn finish(at: &Attempt<'_>, client: &Client, lock: &Lock, problem: Option<&Refusal>) -> Result<(), Refusal> {
    backends::end_own(client, at.key, at.number).await?;
    if !lock.is_held() {
        return Err(refuse(Reason::MigrationUncertain, "the database's lock was lost"));
    }
    let problem = problem.map(|problem| format!("{}: {}", problem.reason.as_str(), problem.message));
    let end = problem.as_deref().map_or_else(|| Ok(at.parameters.work.success()), Err);
    ledger::end(client, at.key, at.number, end).await
}

/// The lock is lost: nothing is written down any more, but what still works is ended.
async fn lost(at: &Attempt<'_>, why: &str) -> (MigrationState, Option<Refusal>) {
    let again = connect(&at.parameters.database, &format!("control {}", at.key.release_uid)).await;
    let ended = match again {
        // Not those of somebody who holds the lock by now.
        Ok(again) => backends::end_own(&again.client, at.key, at.number).await,
        Err(refusal) => Err(refusal),
    };
    let rest =
        ended.map_or_else(|refusal| format!("; {}", refusal.message), |()| "; nothing of it works on".to_owned());
    let text = format!("the database's lock was lost while the migration ran ({why}){rest}");
    (MigrationState::Started, Some(refuse(Reason::MigrationUncertain, text)))
}
