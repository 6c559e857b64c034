//! Everything that can be done while users are served: the new database is built, what is lost is counted, what is replaced
//! is backed up, and the new one gets its marker, rights and settings.

use tokio_postgres::Client;

use super::{
    Guard, LOCK_WAIT, LOCKING, Live, Work,
    build::{self, Source},
    dress::Dress,
    execute, fit, loss,
    standing::{Record, Stage, Standing},
};
use crate::{
    agent::{
        backup,
        postgres::{self, ledger, lock, lock::Lock},
        refuse, say,
    },
    api::{Duration as Length, Reason},
    protocol::{BackupParameters, CopyResult, Refusal},
};

impl Work<'_> {
    pub(super) async fn refuse_unfit(&self, admin: &Client, live: &Live, source: &Source) -> Result<(), Refusal> {
        source.refuse_mismatch(self, &live.reader.facts)?;
        fit::roles(admin, self.expected.oid, &live.restorer.client).await?;
        fit::bound(admin, &self.names.name, Some(&live.reader.client)).await
    }

    /// Does everything that can be done while users are served, until only the swap is left. Returns the lock that keeps
    /// migrations away as well.
    pub(super) async fn prepare(&self, guard: &Guard, standing: Standing) -> Result<(Record, Lock), Refusal> {
        let (live, shared) = self.limit.or_stopped(self.beside_backups()).await?;
        let working = async {
            let (dress, record) = self.limit.or_stopped(self.built(guard, &live, standing)).await?;
            // It gives up by itself, and takes back then what it has written.
            let record = Record { safety: self.back_up().await?, ..record };
            self.limit.or_stopped(self.dressed(guard, (&live, &shared), (&dress, record))).await
        };
        let lost = |why: String| Err(refuse(Reason::RestoreFailed, format!("the database's lock was lost: {why}")));
        let record = tokio::select! {
            done = working => done,
            why = guard.lock.lost() => lost(why),
            why = shared.lost() => lost(why),
        };
        Ok((record?, shared))
    }

    /// Takes the database's lock beside backups, never beside a migration.
    async fn beside_backups(&self) -> Result<(Live, Lock), Refusal> {
        let live = self.live().await?;
        let target = self.target(&self.parameters.reader.secret);
        let shared = lock::try_shared(postgres::connect(&target, LOCKING).await?, LOCK_WAIT).await?;
        Ok((live, shared))
    }

    /// Builds the new database and counts what is lost.
    async fn built(&self, guard: &Guard, live: &Live, standing: Standing) -> Result<(Dress, Record), Refusal> {
        let admin = &guard.session.client;
        let source = Source::open(self).await?;
        self.refuse_unfit(admin, live, &source).await?;
        let dress = Dress::read(admin, self.expected.oid).await?;
        let record = build::build(self, guard, (&source, &dress, standing)).await?;
        let loss = loss::count(&live.reader.client, &source.manifest).await?;
        say(&format!("lost: {}", loss.words()));
        Ok((dress, Record { loss: Some(loss), ..record }))
    }

    /// Backs up what is replaced.
    async fn back_up(&self) -> Result<Vec<CopyResult>, Refusal> {
        let safety = &self.parameters.safety;
        let parameters = BackupParameters {
            database: self.target(&self.parameters.reader.secret),
            storages: safety.storages.clone(),
            backup_uid: safety.backup_uid.clone(),
            attempt: safety.attempt,
            proof: safety.proof,
            yield_to_ddl: true,
            timeout: Length::from_secs(self.limit.left().as_secs().max(1)),
        };
        let result = backup::run(&parameters, self.places, backup::Layout::default()).await?;
        say(&format!("backed up what is replaced: {} rows in {} tables", result.rows, result.tables));
        Ok(result.copies)
    }

    /// Makes the new database what the former one is beyond its data, and writes down that only the swap is left.
    async fn dressed(
        &self,
        guard: &Guard,
        (live, shared): (&Live, &Lock),
        (dress, record): (&Dress, Record),
    ) -> Result<Record, Refusal> {
        let admin = &guard.session.client;
        self.mark().await?;
        self.give(admin, dress).await?;
        // A backup of somebody else would be cut in the middle.
        shared.alone(&live.reader, LOCK_WAIT).await?;
        fit::bound(admin, &self.names.name, Some(&live.reader.client)).await?;
        let record = Record { stage: Stage::Ready, ..record };
        execute(admin, "writing down that it is ready", &record.statement(&self.names.beside)).await?;
        Ok(record)
    }

    /// Writes the marker of the new database: it is another one from now on, not an older copy of the former one.
    async fn mark(&self) -> Result<(), Refusal> {
        let database = &self.parameters.database;
        let mut session = postgres::connect_beside(database, &self.names.beside, &self.purpose).await?;
        ledger::mark(&mut session.client, database.environment).await.map(|_| ())
    }

    /// Gives the new database what the former one is beyond its data, all or nothing.
    async fn give(&self, admin: &Client, dress: &Dress) -> Result<(), Refusal> {
        let let_in = build::let_in(self)?;
        let let_in: Vec<&str> = let_in.iter().map(String::as_str).collect();
        let statements = dress.statements(&self.names.beside, &let_in)?.join("; ");
        execute(admin, "copying rights and settings of the database", &format!("BEGIN; {statements}; COMMIT")).await
    }
}
