//! A worker on a queue that takes one reader: it holds an advisory lock for as long as it lives, and writes down when
//! somebody else holds it. In: where the database is. Out: lines, rows of `demo_work` and `demo_violations`, an exit code.

use std::process::ExitCode;
use std::time::Duration;

use tokio_postgres::Client;

use super::{Login, words};
use crate::demo::settings::Work;
use crate::{clock, lines};

/// Between two pieces of work.
const PACE: Duration = Duration::from_millis(50);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS demo_work (queue text, version text, pod text, began timestamptz, last timestamptz);
    CREATE TABLE IF NOT EXISTS demo_violations (queue text, version text, pod text, at timestamptz)";

/// Works until it is told to stop; ends the piece at hand first.
pub async fn run(settings: &Work, stop: impl Future<Output = ()>) -> ExitCode {
    tokio::select! {
        result = work(settings) => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                lines::err(format_args!("demo-app: {error}"));
                ExitCode::FAILURE
            }
        },
        () = stop => {
            // The lock is held to the last moment: whoever comes too early is seen.
            clock::sleep(settings.finish).await;
            lines::err("demo-app: the piece of work at hand is done");
            ExitCode::SUCCESS
        }
    }
}

async fn work(settings: &Work) -> Result<(), String> {
    let login = Login::read(&settings.database)?.ok_or("neither DATABASE_URL nor DATABASE_SECRET_DIR is set")?;
    let client = login.connect().await?;
    let begun = clock::now();
    prepare(&client).await.map_err(|error| words(&error))?;
    alone(&client, settings).await.map_err(|error| words(&error))?;
    lines::err(format_args!("demo-app {}: works on {}", settings.version, settings.queue));
    let who: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&settings.queue, &settings.version, &settings.pod];
    client
        .execute("INSERT INTO demo_work VALUES ($1, $2, $3, now(), now())", &who)
        .await
        .map_err(|error| words(&error))?;
    loop {
        if settings.exit_after.is_some_and(|limit| clock::since(begun) >= limit) {
            return Err("EXIT_AFTER has passed".to_owned());
        }
        clock::sleep(PACE).await;
        let one = "UPDATE demo_work SET last = now() WHERE queue = $1 AND version = $2 AND pod = $3";
        client.execute(one, &who).await.map_err(|error| words(&error))?;
    }
}

/// Several pods may begin at once, and `IF NOT EXISTS` is no lock.
async fn prepare(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("SELECT pg_advisory_lock(hashtext('demo tables'))").await?;
    client.batch_execute(TABLES).await?;
    client.batch_execute("SELECT pg_advisory_unlock(hashtext('demo tables'))").await
}

/// Takes the queue, and writes down when somebody else has it.
async fn alone(client: &Client, settings: &Work) -> Result<(), tokio_postgres::Error> {
    if settings.shared {
        return Ok(());
    }
    let row = client.query_one("SELECT pg_try_advisory_lock(hashtext($1))", &[&settings.queue]).await?;
    if !row.get::<_, bool>(0) {
        lines::err(format_args!("demo-app: somebody else works on {}", settings.queue));
        let violation = "INSERT INTO demo_violations VALUES ($1, $2, $3, now())";
        client.execute(violation, &[&settings.queue, &settings.version, &settings.pod]).await?;
        client.execute("SELECT pg_advisory_lock(hashtext($1))", &[&settings.queue]).await?;
    }
    Ok(())
}
