//! Queries to the Release's database: one number, read in a transaction that cannot write, after the database has proven
//! who it is.

use super::judge::{Sample, Says};
use crate::{
    agent::postgres::{self, connect_briefly, failure::words, milliseconds},
    api::SqlCheck,
    protocol::DatabaseTarget,
};

/// How much longer than its query all of it may take: connecting, proving who it is.
const START: std::time::Duration = std::time::Duration::from_secs(30);
/// Longest value that is read; a number is shorter.
const VALUE_CHARACTERS: usize = 64;

/// Asks once, in a session of its own.
pub(super) async fn sample(check: &SqlCheck, database: Option<&DatabaseTarget>) -> Sample {
    let Some(target) = database else {
        return Sample::one(Says::Silent, "the DatabaseInstance is gone");
    };
    let limit = check.timeout.as_std().saturating_add(START);
    match tokio::time::timeout(limit, ask(check, target)).await {
        Ok(Ok(value)) => Sample::number(value, check.min.as_ref(), check.max.as_ref()),
        Ok(Err(why)) => Sample::one(Says::Silent, why),
        Err(_) => Sample::one(Says::Silent, format!("database {}: no answer in time", target.name)),
    }
}

async fn ask(check: &SqlCheck, target: &DatabaseTarget) -> Result<f64, String> {
    let name = &target.name;
    let mut session = connect_briefly(target, "check").await.map_err(|refusal| refusal.message)?;
    let said = |error| format!("database {name}: {}", told(&error));
    let timeout = check.timeout.as_std();
    postgres::settle_for_users(&session.client, timeout).await.map_err(|refusal| refusal.message)?;
    let reads = session.client.build_transaction().read_only(true).start().await.map_err(said)?;
    let limit = format!("SET LOCAL statement_timeout = {}", milliseconds(timeout).max(1));
    reads.batch_execute(&limit).await.map_err(said)?;
    let columns = reads.prepare(&check.query).await.map_err(said)?.columns().len();
    if columns != 1 {
        return Err(format!("database {name}: the query has {columns} columns, not one"));
    }
    // As text, whatever type it has. The line break ends a comment of the query; more than one statement there cannot be.
    let query = format!(
        "SELECT pg_catalog.left(checked.value::pg_catalog.text, {VALUE_CHARACTERS}) FROM (\n{}\n) AS checked(value) LIMIT 2",
        check.query.trim_end().trim_end_matches(';')
    );
    let rows = reads.query(&query, &[]).await.map_err(said)?;
    let row = match rows.as_slice() {
        [one] => one,
        [] => return Err(format!("database {name}: the query has no row")),
        _ => return Err(format!("database {name}: the query has more than one row")),
    };
    let text: Option<&str> = row.try_get(0).map_err(said)?;
    let text = text.ok_or_else(|| format!("database {name}: the query's value is NULL"))?;
    // The value may be anything, also what must not leave the database.
    text.parse().map_err(|_| format!("database {name}: the query's value is no number"))
}

/// Classes of errors whose words are about the query and the server, and not about what is in the rows: connections,
/// transactions, names and syntax, resources, limits, states, interventions.
const WITHOUT_VALUES: [&str; 8] = ["08", "25", "40", "42", "53", "54", "55", "57"];

/// Returns what may be told of an error: others quote the value that they stumbled over.
fn told(error: &tokio_postgres::Error) -> String {
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some(code) if !WITHOUT_VALUES.iter().any(|class| code.starts_with(class)) => format!("the query fails: {code}"),
        Some(_) | None => words(error),
    }
}
