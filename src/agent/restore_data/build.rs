//! The new database: made closed, made known as ours, restored by the role that owns it, compared with what was counted.

use std::time::Duration;

use tokio_postgres::Client;

use super::{
    Guard, Work,
    dress::Dress,
    execute, failed,
    fit::Room,
    standing::{Record, Stage, Standing},
};
use crate::{
    agent::{
        archive::{self, Failure, Restoring},
        manifest::Manifest,
        postgres::{self, address::Address, libpq::Libpq, text::quoted},
        proof::{self, Proven},
        refuse, say,
        scratch::{self, Restored},
        store::{Store, key::Attempt},
    },
    api::Reason,
    clock::Stopwatch,
    protocol::{DatabaseFacts, ProofSeconds, Refusal},
};

/// How long a storage may fail before it is given up, as for backups.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time between two looks at how large the new database has become.
const LOOK: Duration = Duration::from_secs(5);
/// Bytes of the archive between who fetches and who restores.
const PIPE_BYTES: usize = 256 << 10;

/// The backup.
pub(super) struct Source {
    store: Store,
    attempt: Attempt,
    /// What it says of itself.
    pub(super) manifest: Manifest,
}

impl Source {
    /// Opens the copy that is restored.
    pub(super) async fn open(work: &Work<'_>) -> Result<Self, Refusal> {
        let parameters = work.parameters;
        let store = Store::open(&parameters.storage, PATIENCE).await?;
        let (attempt, manifest) = Manifest::read(&store, &parameters.copy).await.map_err(corrupt)?;
        if manifest.backup_uid != parameters.backup_uid {
            let text = format!("{} is of another DatabaseBackup", parameters.copy.manifest);
            return Err(refuse(Reason::BackupMismatch, text));
        }
        Ok(Self { store, attempt, manifest })
    }

    /// Refuses a backup of another database, or of another version of it.
    pub(super) fn refuse_mismatch(&self, work: &Work<'_>, live: &DatabaseFacts) -> Result<(), Refusal> {
        let was = &self.manifest.database;
        let name = &work.parameters.database.name;
        let marker = |facts: &DatabaseFacts| facts.identity.marker.as_ref().map(|marker| marker.uuid);
        let uuid = |facts| marker(facts).map_or_else(|| "none".to_owned(), |uuid| uuid.to_string());
        if marker(was) != marker(live) || was.identity.system_identifier != live.identity.system_identifier {
            let text = format!(
                "the backup is of another database than {name}: marker {} on server {}, {name} has {} on {}",
                uuid(was),
                was.identity.system_identifier,
                uuid(live),
                live.identity.system_identifier
            );
            return Err(refuse(Reason::BackupMismatch, text));
        }
        let major = |facts: &DatabaseFacts| facts.server_version.split('.').next().map(str::to_owned);
        if major(was) == major(live) {
            return Ok(());
        }
        let (old, new) = (&was.server_version, &live.server_version);
        Err(refuse(Reason::BackupMismatch, format!("the backup is of PostgreSQL {old}, {name} is on {new}")))
    }

    /// Returns what room there is for it.
    pub(super) fn room(&self, work: &Work<'_>) -> Room {
        Room { capacity: work.parameters.capacity_bytes, original: self.manifest.database.size_bytes }
    }
}

/// Makes the new database whole, or finds that it is.
pub(super) async fn build(
    work: &Work<'_>,
    guard: &Guard,
    (source, dress, standing): (&Source, &Dress, Standing),
) -> Result<Record, Refusal> {
    let admin = &guard.session.client;
    if let Standing::Restored(record) = &standing {
        let opened = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", quoted(&work.names.beside));
        execute(admin, "opening the restored database", &opened).await?;
        let_in_all(work, admin).await?;
        match compare(work, source).await {
            Ok(_) => return Ok(Record { stage: Stage::Restored, ..record.clone() }),
            Err(refusal) => say(&format!("what an earlier attempt restored is made anew: {}", refusal.message)),
        }
    }
    if standing != Standing::Nothing {
        drop_beside(work, admin).await?;
    }
    source.room(work).refuse_too_little(admin).await?;
    let record = make(work, admin, (source, dress)).await?;
    let schemas = extensions(work, source, dress).await?;
    say("restoring");
    let restored = tokio::select! {
        restored = restore(work, source, &schemas) => restored?,
        refusal = outgrown(work, source, admin) => return Err(refusal),
    };
    let check = compare(work, source).await?;
    let seconds = ProofSeconds { check, ..restored };
    let record = Record { stage: Stage::Restored, seconds: Some(seconds), ..record };
    execute(admin, "writing down that it is restored", &record.statement(&work.names.beside)).await?;
    say("restored and equal to what was backed up");
    Ok(record)
}

/// Makes the database: closed until it is known as ours and nobody but the roles of this work is let in.
async fn make(work: &Work<'_>, admin: &Client, (source, dress): (&Source, &Dress)) -> Result<Record, Refusal> {
    let (beside, content) = (&work.names.beside, &source.manifest.content);
    let create = archive::create_database(beside, &dress.owner, (&content.encoding, &content.settings));
    let at = dress.tablespace.as_deref().map_or_else(String::new, |name| format!(" TABLESPACE {}", quoted(name)));
    let create = format!("{create}{at} ALLOW_CONNECTIONS false");
    execute(admin, "making the database beside", &create).await?;
    let oid = admin.query_one("SELECT oid FROM pg_database WHERE datname = $1", &[beside]).await;
    let oid = oid.and_then(|row| row.try_get(0)).map_err(|error| failed("looking for the database beside", &error))?;
    let record = Record::new(&work.parameters.id, work.expected.oid, oid);
    let known = record.statement(beside);
    let beside = quoted(beside);
    let opened = format!(
        "BEGIN; {known}; REVOKE ALL ON DATABASE {beside} FROM PUBLIC; ALTER DATABASE {beside} ALLOW_CONNECTIONS true; COMMIT"
    );
    execute(admin, "opening the database beside", &opened).await?;
    let_in_all(work, admin).await?;
    Ok(record)
}

/// Returns the roles that work on the new database.
pub(super) fn let_in(work: &Work<'_>) -> Result<Vec<String>, Refusal> {
    let parameters = work.parameters;
    let folders = [&parameters.database.secret, &parameters.reader.secret, &parameters.admin.secret];
    folders.into_iter().map(|folder| Address::read(folder).map(|address| address.username)).collect()
}

async fn let_in_all(work: &Work<'_>, admin: &Client) -> Result<(), Refusal> {
    let roles: Vec<String> = let_in(work)?.iter().map(|role| quoted(role)).collect();
    let grant = format!("GRANT CONNECT ON DATABASE {} TO {}", quoted(&work.names.beside), roles.join(", "));
    execute(admin, "letting roles into the database beside", &grant).await
}

/// Removes the new database. Only this work has ever been in it.
pub(super) async fn drop_beside(work: &Work<'_>, admin: &Client) -> Result<(), Refusal> {
    let drop = format!("DROP DATABASE {} WITH (FORCE)", quoted(&work.names.beside));
    execute(admin, "removing what was restored beside", &drop).await
}

/// Makes the extensions, from the server's own files: before there is anything of the dump that could run.
async fn extensions(work: &Work<'_>, source: &Source, dress: &Dress) -> Result<Vec<String>, Refusal> {
    let target = work.target(&work.parameters.admin.secret);
    let session = postgres::connect_beside(&target, &work.names.beside, &work.purpose).await?;
    let client = &session.client;
    execute(client, "preparing the session", "SET client_min_messages = warning").await?;
    let restorer = quoted(&Address::read(&work.parameters.database.secret)?.username);
    let mut schemas = Vec::new();
    for extension in &source.manifest.content.extensions {
        let doing = format!("making extension {} {}", extension.name, extension.version);
        let error = |error| failed(&doing, &error);
        schemas.extend(archive::make_extension(client, extension, &dress.owner).await.map_err(error)?);
        // Rows of an extension's own tables are in a dump as well.
        let tables = "SELECT c.oid::regclass::text FROM pg_extension e JOIN pg_class c ON c.oid = ANY (e.extconfig) \
             WHERE e.extname = $1";
        for row in client.query(tables, &[&extension.name]).await.map_err(error)? {
            let table: String = row.try_get(0).map_err(error)?;
            execute(client, &doing, &format!("GRANT ALL ON {table} TO {restorer}")).await?;
        }
    }
    Ok(schemas)
}

/// Restores the archive as the role that owns the database; returns what it took.
async fn restore(work: &Work<'_>, source: &Source, schemas: &[String]) -> Result<ProofSeconds, Refusal> {
    let failed =
        |error: std::io::Error| refuse(Reason::RestoreFailed, format!("pg_restore cannot be started: {error}"));
    let address = Address { dbname: work.names.beside.clone(), ..Address::read(&work.parameters.database.secret)? };
    let libpq = Libpq::write(&work.places.memory, &address).map_err(failed)?;
    let mut command = tokio::process::Command::new(work.places.program("pg_restore"));
    command.env_clear().envs(libpq.environment(&address, &work.purpose));
    // By its name alone it could be taken for a whole connection string.
    let name = address.dbname.replace('\\', "\\\\").replace('\'', "\\'");
    command.args(["--no-password", "--no-subscriptions", "--dbname"]).arg(format!("dbname='{name}'"));
    let is_expected = |failure: Failure<'_>| is_expected(failure, schemas);
    let restoring = Restoring { place: &work.names.beside, command, is_expected };
    let Source { store, attempt, manifest } = source;
    let proven = Proven { places: work.places, attempt, content: &manifest.content, data: &manifest.data };
    let (mut reader, mut writer) = tokio::io::duplex(PIPE_BYTES);
    let timed = async {
        let watch = Stopwatch::start();
        restoring.run(&mut reader).await.map(|()| watch.elapsed().as_secs_f64())
    };
    match proof::feed(store, &proven, (&mut writer, timed)).await {
        Ok((restore, fetch)) => Ok(ProofSeconds { fetch, restore, check: 0.0 }),
        Err(refusal) if refusal.reason == Reason::BackupVerificationFailed => {
            // Of bytes that were altered the first to complain may be pg_restore, in words that say nothing of it.
            proof::intact(store, &proven).await.map_err(corrupt)?;
            Err(not_restored(refusal))
        }
        Err(refusal) => Err(refusal),
    }
}

/// What is found wrong with a copy that was proven once.
fn corrupt(refusal: Refusal) -> Refusal {
    instead_of_unverified(refusal, Reason::BackupCorrupt)
}

/// What is found wrong with what came of a whole copy.
fn not_restored(refusal: Refusal) -> Refusal {
    instead_of_unverified(refusal, Reason::RestoreFailed)
}

fn instead_of_unverified(refusal: Refusal, reason: Reason) -> Refusal {
    match refusal.reason {
        Reason::BackupVerificationFailed => Refusal { reason, ..refusal },
        _ => refusal,
    }
}

/// What belongs to whoever made the extension has its comment already; what belongs to the server's administrator stays
/// his.
fn is_expected(failure: Failure<'_>, schemas: &[String]) -> bool {
    let Failure { statement, error } = failure;
    failure.is_of_schema(schemas)
        || (statement.starts_with("COMMENT ON EXTENSION ") && error.starts_with("must be owner of extension "))
        || (statement.starts_with("ALTER SCHEMA public OWNER TO ") && error.starts_with("must be "))
        || (statement.starts_with("COMMENT ON SCHEMA public ") && error.starts_with("must be owner of schema "))
}

/// Compares what was restored with what was counted, and has the server learn how it is spread; returns the seconds.
async fn compare(work: &Work<'_>, source: &Source) -> Result<f64, Refusal> {
    let watch = Stopwatch::start();
    let reader = work.target(&work.parameters.reader.secret);
    let session = postgres::connect_beside(&reader, &work.names.beside, &work.purpose).await?;
    let restored = Restored::count(&session.client).await?;
    scratch::compare(&source.manifest.content, &restored).map_err(not_restored)?;
    // A dump has no statistics: without them the first queries of users would read whole tables.
    let owner = postgres::connect_beside(&work.parameters.database, &work.names.beside, &work.purpose).await?;
    execute(&owner.client, "preparing the session", "SET client_min_messages = error").await?;
    execute(&owner.client, "analyzing what was restored", "ANALYZE").await?;
    Ok(watch.elapsed().as_secs_f64())
}

/// Returns when the new database has become larger than there is room for.
async fn outgrown(work: &Work<'_>, source: &Source, admin: &Client) -> Refusal {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(refusal) = source.room(work).refuse_growth(admin, &work.names.beside).await {
            return refusal;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_loses_nothing_is_expected() {
        let expected = |statement, error| is_expected(Failure { statement, error }, &["ext".to_owned()]);
        assert!(expected("CREATE SCHEMA ext;", "schema \"ext\" already exists"));
        assert!(expected("COMMENT ON EXTENSION hstore IS 'pairs'", "must be owner of extension hstore"));
        assert!(expected("ALTER SCHEMA public OWNER TO postgres;", "must be member of role \"postgres\""));
        assert!(!expected("ALTER SCHEMA app OWNER TO postgres;", "must be member of role \"postgres\""));
        assert!(!expected("ALTER TABLE public.orders OWNER TO other;", "must be member of role \"other\""));
        assert!(!expected("CREATE EVENT TRIGGER n", "permission denied to create event trigger \"n\""));
        assert!(!expected("COMMENT ON TABLE orders IS 'x'", "must be owner of table orders"));
    }
}
