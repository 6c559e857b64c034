//! `restore-data`: a backup takes the place of its database. It is restored beside and compared; only when nothing is left
//! to be done but two renames, the database is closed for the moment that they take.
//!
//! In: [`RestoreDataParameters`]. Out: the answer. The order is the promise: the lock on the database's oid, how far an
//! earlier attempt has come, a new database from the backup, counts compared; then, while both are open, what is lost is
//! counted, what is replaced is backed up, the marker is written, rights and settings are copied; then both are closed,
//! their sessions end, and one transaction renames both and opens the new one. The former one stays, closed.
//!
//! Killed anywhere, the next attempt decides by oids how far this one came. Until the swap begins whatever fails leaves the
//! database as it was, open; what was built beside goes. Never here: an archive restored as a superuser, or over anything.

mod build;
mod dress;
mod fit;
mod loss;
mod prepare;
mod standing;
mod swap;

use std::time::Duration;

use tokio_postgres::{Client, Error};

use self::{
    build::Source,
    standing::{Names, Record, Standing},
};
use super::{
    backup::Places,
    limit::Limit,
    postgres::{self, Connected, backends, failure, identity, lock, lock::Lock},
    refuse, say,
};
use crate::{
    api::{DataLoss, Reason},
    protocol::{DatabaseTarget, Identity, Refusal, RestoreDataParameters, RestoreDataResult},
};

/// How long a lock is asked for: as long as somebody else's short work may take.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// What sessions that hold a lock are called.
const LOCKING: &str = "restore lock";
/// What those begin with that count what would be lost.
const LOSING: &str = "restore loss";

/// Restores a backup in the place of its database.
///
/// # Errors
/// It was refused or failed: what serves was not replaced. The message may hold what must not leave.
pub async fn run(parameters: &RestoreDataParameters, places: &Places) -> Result<RestoreDataResult, Refusal> {
    let work = Work::new(parameters, places, format!("restore {}", parameters.id))?;
    let (guard, standing) =
        work.limit.or_stopped(work.taken_up()).await.map_err(|refusal| work.beside_earlier(refusal))?;
    // What is held of the database itself goes with its sessions.
    let (record, _held) = match standing {
        Standing::Replaced(record) => {
            say("an earlier attempt has put it in its place");
            return work.report(record).await;
        }
        Standing::Closed(record) => (record, None),
        standing @ (Standing::Nothing | Standing::Begun | Standing::Restored(_)) => {
            match work.prepare(&guard, standing).await {
                Ok((record, held)) => (record, Some(held)),
                Err(refusal) => return Err(work.cleared_away(&guard.session.client, refusal).await),
            }
        }
    };
    // From here on it is brought to its end: between the two there is no database.
    match swap::swap(&work, &guard.session.client, &record).await {
        Ok(()) => work.report(record).await,
        Err(refusal) => {
            let record = work.given_up(&guard, refusal).await?;
            work.report(record).await
        }
    }
}

/// Counts what would be lost, and refuses what could not be restored; reads only.
///
/// # Errors
/// It could not be restored here, or a query failed.
pub async fn count_loss(parameters: &RestoreDataParameters, places: &Places) -> Result<DataLoss, Refusal> {
    let work = Work::new(parameters, places, format!("{LOSING} {}", parameters.id))?;
    work.limit
        .or_stopped(async {
            let admin = work.admin(&work.purpose).await?;
            match work.standing(&admin.client).await? {
                Standing::Nothing | Standing::Begun | Standing::Restored(_) => {}
                Standing::Closed(_) | Standing::Replaced(_) => {
                    return Err(refuse(
                        Reason::RestoreFailed,
                        "the database was closed or replaced by this restore already",
                    ));
                }
            }
            let source = Source::open(&work).await?;
            let live = work.live().await?;
            work.refuse_unfit(&admin.client, &live, &source).await?;
            source.room(&work).refuse_too_little(&admin.client).await?;
            loss::count(&live.reader.client, &source.manifest).await
        })
        .await
}

/// What a restore works with.
struct Work<'a> {
    parameters: &'a RestoreDataParameters,
    places: &'a Places,
    names: Names,
    /// Who is replaced.
    expected: &'a Identity,
    /// What its sessions are called: an attempt ends those that an earlier one has left.
    purpose: String,
    limit: Limit,
}

/// What keeps others away.
struct Guard {
    /// The session that makes, renames and closes databases.
    session: Connected,
    lock: Lock,
}

/// The database that serves, while it is open.
struct Live {
    /// The session that reads all of it.
    reader: Connected,
    /// One of the role that restores.
    restorer: Connected,
}

impl<'a> Work<'a> {
    fn new(parameters: &'a RestoreDataParameters, places: &'a Places, purpose: String) -> Result<Self, Refusal> {
        let expected = parameters.database.expect.as_ref().filter(|expected| expected.marker.is_some());
        let Some(expected) = expected else {
            let text = format!("{}: who it must be is not recorded", parameters.database.name);
            return Err(refuse(Reason::NotMarked, text));
        };
        let names = Names::new(&expected.name, &parameters.id)?;
        let limit = Limit::start("restoring", Reason::RestoreFailed, parameters.timeout.as_std());
        Ok(Self { parameters, places, names, expected, purpose, limit })
    }

    fn target(&self, secret: &std::path::Path) -> DatabaseTarget {
        DatabaseTarget { secret: secret.to_owned(), ..self.parameters.database.clone() }
    }

    /// Starts a session of the role that makes and renames databases, in none of those that it works on.
    async fn admin(&self, purpose: &str) -> Result<Connected, Refusal> {
        let target = self.target(&self.parameters.admin.secret);
        if [&self.names.name, &self.names.beside, &self.names.before].contains(&&self.parameters.maintenance) {
            let text = format!("{} cannot be replaced from within itself", self.parameters.maintenance);
            return Err(refuse(Reason::RestoreFailed, text));
        }
        postgres::connect_beside(&target, &self.parameters.maintenance, purpose).await
    }

    /// Keeps every other restore of this database away, and ends what earlier attempts of this one have left.
    async fn guard(&self) -> Result<Guard, Refusal> {
        let lock = lock::try_replacing(self.admin(LOCKING).await?, self.expected.oid, LOCK_WAIT).await?;
        // Not before: who holds the lock ends sessions of this name.
        let session = self.admin(&self.purpose).await?;
        lock.seen_by(&session.client).await?;
        self.end_sessions(&session.client).await?;
        Ok(Guard { session, lock })
    }

    /// Begins where the last attempt has ended.
    async fn taken_up(&self) -> Result<(Guard, Standing), Refusal> {
        let guard = self.guard().await?;
        let standing = self.standing(&guard.session.client).await?;
        Ok((guard, standing))
    }

    /// Returns the refusal of an attempt that could not find out what one before it has done.
    fn beside_earlier(&self, refusal: Refusal) -> Refusal {
        if self.parameters.safety.attempt > 1 { uncertain(refusal) } else { refusal }
    }

    /// Ends every other session of this restore: a killed agent's statements go on without it.
    async fn end_sessions(&self, client: &Client) -> Result<(), Refusal> {
        backends::end_named(client, &format!("switchback {}", self.purpose)).await.map(|_| ())
    }

    async fn standing(&self, client: &Client) -> Result<Standing, Refusal> {
        standing::look(client, &self.names, (&self.parameters.id, self.expected.oid)).await
    }

    /// Starts sessions with the database that serves: it is who it must be.
    async fn live(&self) -> Result<Live, Refusal> {
        let target = self.target(&self.parameters.reader.secret);
        let reader = postgres::connect(&target, &self.purpose).await?;
        identity::marked(&target, &reader.facts.identity)?;
        Ok(Live { reader, restorer: postgres::connect(&self.parameters.database, &self.purpose).await? })
    }

    /// Opens the database again when its swap was not done, and removes what was built beside. When only the word of
    /// it was lost, returns what was done.
    async fn given_up(&self, guard: &Guard, refusal: Refusal) -> Result<Record, Refusal> {
        let lost = guard.session.client.is_closed();
        if lost && !guard.lock.is_held() {
            // Somebody else may be at it.
            return Err(uncertain(refusal));
        }
        let again = if lost { Some(self.admin(&self.purpose).await.map_err(uncertain)?) } else { None };
        let admin = again.as_ref().map_or(&guard.session.client, |again| &again.client);
        let _ = admin.batch_execute("ROLLBACK").await;
        if lost {
            // The server may still be at what was asked of it there.
            self.end_sessions(admin).await.map_err(uncertain)?;
        }
        if let Standing::Replaced(record) = self.standing(admin).await.map_err(uncertain)? {
            return Ok(record);
        }
        match swap::open_again(admin, &self.names.name).await {
            Ok(()) => Err(self.cleared_away(admin, refusal).await),
            Err(closed) => {
                let message = format!("{}; and {} stays closed: {}", refusal.message, self.names.name, closed.message);
                Err(uncertain(Refusal { message, ..refusal }))
            }
        }
    }

    /// Removes what was built beside, while the database itself is as it was.
    async fn cleared_away(&self, admin: &Client, refusal: Refusal) -> Refusal {
        let clearing = async {
            let _ = admin.batch_execute("ROLLBACK").await;
            self.end_sessions(admin).await?;
            match self.standing(admin).await? {
                Standing::Begun | Standing::Restored(_) => build::drop_beside(self, admin).await,
                Standing::Nothing | Standing::Closed(_) => Ok(()),
                Standing::Replaced(_) => {
                    Err(refuse(Reason::RestoreUncertain, "the backup took its place all the same"))
                }
            }
        };
        match clearing.await {
            Ok(()) => refusal,
            Err(replaced) if replaced.reason == Reason::RestoreUncertain => replaced,
            Err(left) => {
                let message = format!("{}; what was built beside stays: {}", refusal.message, left.message);
                Refusal { message, ..refusal }
            }
        }
    }

    /// Says what came of it, as the server has it now.
    async fn report(&self, record: Record) -> Result<RestoreDataResult, Refusal> {
        let Record { restore: _, replaces, by, stage: _, loss, safety, seconds } = record;
        let target = &self.parameters.database;
        // It was replaced, and whoever comes back may have taken the last connection.
        let session = postgres::connect_beside(target, &self.names.name, &self.purpose).await.map_err(uncertain)?;
        let database = session.facts;
        let (oid, marker) = (database.identity.oid, &database.identity.marker);
        let (Some(loss), Some(seconds), true, true) = (loss, seconds, oid == by, marker.is_some()) else {
            let text = format!("{} is oid {oid} and should be {by}, with a marker of ours", self.names.name);
            return Err(refuse(Reason::RestoreUncertain, text));
        };
        Ok(RestoreDataResult {
            database,
            before: self.names.before.clone(),
            before_oid: replaces,
            loss,
            safety,
            seconds,
        })
    }
}

/// Returns the refusal of an attempt whose end is not known here: the next one finds out.
fn uncertain(refusal: Refusal) -> Refusal {
    Refusal { reason: Reason::RestoreUncertain, ..refusal }
}

/// Runs statements.
async fn execute(client: &Client, doing: &str, statements: &str) -> Result<(), Refusal> {
    client.batch_execute(statements).await.map_err(|error| failed(doing, &error))
}

/// Returns the refusal for a statement that failed: the server's own words are about the restore, anything else is about
/// the way to the server.
fn failed(doing: &str, error: &Error) -> Refusal {
    let refusal = failure::failed(doing, error);
    match refusal.reason {
        Reason::DatabaseUnreachable if error.as_db_error().is_some() => {
            Refusal { reason: Reason::RestoreFailed, ..refusal }
        }
        _ => refusal,
    }
}
