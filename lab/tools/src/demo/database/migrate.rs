//! The application's own migrations, as a tool with a history table would run them: each in a transaction, with its
//! line in `demo_migrations`. In: how far, and how to fail on purpose. Out: lines and an exit code.

use std::process::ExitCode;

use tokio_postgres::{Client, Transaction};

use super::{Login, words};
use crate::demo::settings::{Direction, Migrate, Mishaps};
use crate::lines;

/// The exit code when it could not be found out whether anything is due.
const UNKNOWN: u8 = 2;

struct Migration {
    version: i32,
    name: &'static str,
    statements: &'static str,
    /// What takes it back.
    back: &'static str,
}

/// The first makes what version 1 works on, the second adds what version 2 reads, the third takes away what versions 1
/// and 2 read.
const MIGRATIONS: [Migration; 3] = [
    Migration {
        version: 1,
        name: "orders",
        statements: "
            CREATE TABLE orders (
                id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                item text NOT NULL,
                address text NOT NULL DEFAULT 'at home',
                placed timestamptz NOT NULL DEFAULT now()
            );
            INSERT INTO orders (item) SELECT 'item ' || number FROM generate_series(1, 1000) number;",
        back: "DROP TABLE orders",
    },
    Migration {
        version: 2,
        name: "delivery slots",
        statements: "ALTER TABLE orders ADD COLUMN delivery_slot text NOT NULL DEFAULT 'any time';",
        back: "ALTER TABLE orders DROP COLUMN delivery_slot",
    },
    Migration {
        version: 3,
        name: "no addresses",
        statements: "ALTER TABLE orders DROP COLUMN address;",
        back: "ALTER TABLE orders ADD COLUMN address text NOT NULL DEFAULT 'at home'",
    },
];

const HISTORY: &str = "CREATE TABLE IF NOT EXISTS demo_migrations (
    version int PRIMARY KEY, name text NOT NULL, applied timestamptz NOT NULL DEFAULT now())";

/// Runs what is due, or says what would be.
pub async fn run(settings: &Migrate) -> ExitCode {
    let answer = match settings.direction {
        Direction::Up(ref mishaps) => up(settings, mishaps).await.map_err(|error| (error, 1)),
        Direction::Down => down(settings).await.map_err(|error| (error, 1)),
        Direction::Pending => pending(settings).await.map_err(|error| (error, UNKNOWN)),
    };
    match answer {
        Ok(code) => ExitCode::from(code),
        Err((error, code)) => {
            lines::err(format_args!("demo-app: {error}"));
            ExitCode::from(code)
        }
    }
}

async fn connect(settings: &Migrate) -> Result<Client, String> {
    let login = Login::read(&settings.database)?.ok_or("neither DATABASE_URL nor DATABASE_SECRET_DIR is set")?;
    login.connect().await
}

fn wanted(settings: &Migrate) -> impl Iterator<Item = &'static Migration> {
    let last = i32::from(settings.database.schema);
    MIGRATIONS.iter().filter(move |migration| migration.version <= last)
}

async fn pending(settings: &Migrate) -> Result<u8, String> {
    let client = connect(settings).await?;
    let statement = "SELECT to_regclass('demo_migrations') IS NOT NULL";
    let row = client.query_one(statement, &[]).await.map_err(|error| words(&error))?;
    let applied: Vec<i32> = if row.get(0) {
        let rows = client.query("SELECT version FROM demo_migrations", &[]).await.map_err(|error| words(&error))?;
        rows.iter().map(|row| row.get(0)).collect()
    } else {
        Vec::new()
    };
    let due: Vec<_> = wanted(settings).filter(|migration| !applied.contains(&migration.version)).collect();
    for migration in &due {
        lines::out(format_args!("due: {} {}", migration.version, migration.name));
    }
    if due.is_empty() {
        lines::out("nothing is due");
    }
    Ok(u8::from(!due.is_empty()))
}

async fn up(settings: &Migrate, mishaps: &Mishaps) -> Result<u8, String> {
    let mut client = connect(settings).await?;
    client.batch_execute(HISTORY).await.map_err(|error| words(&error))?;
    for migration in wanted(settings) {
        let Migration { version, name, .. } = migration;
        let applied = apply(&mut client, migration, mishaps).await;
        match applied.map_err(|error| format!("migration {version} ({name}) failed: {}", words(&error)))? {
            true => lines::out(format_args!("applied {version} {name}")),
            false => lines::out(format_args!("{version} {name} was applied before")),
        }
    }
    if mishaps.exit_after_commit != 0 {
        lines::err("demo-app: MIGRATE_EXIT_AFTER_COMMIT is set");
    }
    Ok(mishaps.exit_after_commit)
}

/// Takes back what brought the schema that this version reads, when it was applied.
async fn down(settings: &Migrate) -> Result<u8, String> {
    let mut client = connect(settings).await?;
    let Some(Migration { version, name, back, .. }) = wanted(settings).last() else { return Ok(0) };
    let take_back = async {
        let transaction = client.transaction().await?;
        let forgotten = "DELETE FROM demo_migrations WHERE version = $1";
        let known = transaction.execute(forgotten, &[version]).await? == 1;
        if known {
            transaction.batch_execute(back).await?;
        }
        transaction.commit().await.map(|()| known)
    };
    let taken: Result<bool, tokio_postgres::Error> = take_back.await;
    match taken.map_err(|error| format!("taking back {version} ({name}) failed: {}", words(&error)))? {
        true => lines::out(format_args!("took back {version} {name}")),
        false => lines::out(format_args!("{version} {name} is not applied")),
    }
    Ok(0)
}

async fn apply(client: &mut Client, migration: &Migration, mishaps: &Mishaps) -> Result<bool, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    // Two at a time come one after the other, and the second finds the work done.
    transaction.batch_execute("LOCK TABLE demo_migrations IN SHARE ROW EXCLUSIVE MODE").await?;
    let known = "SELECT 1 FROM demo_migrations WHERE version = $1";
    if transaction.query_opt(known, &[&migration.version]).await?.is_some() {
        return Ok(false);
    }
    transaction.batch_execute(migration.statements).await?;
    go_wrong(&transaction, migration, mishaps).await?;
    let history = "INSERT INTO demo_migrations (version, name) VALUES ($1, $2)";
    transaction.execute(history, &[&migration.version, &migration.name]).await?;
    transaction.commit().await?;
    Ok(true)
}

/// After the migration's own statements: its locks are held.
async fn go_wrong(
    transaction: &Transaction<'_>,
    migration: &Migration,
    mishaps: &Mishaps,
) -> Result<(), tokio_postgres::Error> {
    let here = |chosen: Option<u8>| chosen.map(i32::from) == Some(migration.version);
    if here(mishaps.hang_in) {
        lines::err(format_args!("demo-app: hanging in migration {}", migration.version));
        transaction.execute("SELECT pg_sleep($1)", &[&mishaps.hang_for.as_secs_f64()]).await?;
    }
    if here(mishaps.fail_in) {
        transaction.batch_execute("SELECT 1 / 0").await?;
    }
    Ok(())
}
