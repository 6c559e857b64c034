//! What taking a migration back would lose: rows in tables and columns that go with it.
//!
//! In: what went with it on a copy of the data. Out: nothing, or a refusal that counts. What holds nothing but its default
//! is no loss: it was there when the migration had run.

use tokio_postgres::{Client, Row};

use crate::{
    agent::{postgres::failure::failed, refuse},
    api::{Reason, Taken},
    protocol::{MigrationWork, Refusal},
};

/// Nobody has to know how many more there are.
const COUNTED: u32 = 1000;
/// The table as it is quoted here: the name comes from elsewhere.
const TABLE: &str = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')";
/// A column of it, with its default.
const COLUMN: &str = "SELECT quote_ident(a.attname), pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a \
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped";

/// Refuses what would lose rows.
///
/// # Errors
/// Rows would be lost (`WouldLoseData`), or a query failed.
pub async fn refuse_loss(work: &MigrationWork, client: &Client) -> Result<(), Refusal> {
    let MigrationWork::Down { takes: Some(takes), .. } = work else { return Ok(()) };
    for taken in takes {
        let lost = lost(client, taken).await?;
        if lost > 0 {
            let many = if lost > i64::from(COUNTED) { format!("more than {COUNTED}") } else { lost.to_string() };
            let what = match &taken.column {
                Some(column) => format!("what column {column} of {} holds in {many} rows", taken.table),
                None => format!("{many} rows of {}", taken.table),
            };
            let text = format!("nothing ran: {what} would be lost");
            return Err(refuse(Reason::WouldLoseData, text));
        }
    }
    Ok(())
}

/// Counts what would be lost; what is not there any more loses nothing.
async fn lost(client: &Client, taken: &Taken) -> Result<i64, Refusal> {
    let error = |error| failed("counting what would be lost", &error);
    let text = |row: &Row, at: usize| row.try_get::<_, Option<String>>(at).map_err(error);
    let Some(table) = client.query_opt(TABLE, &[&taken.table]).await.map_err(error)? else { return Ok(0) };
    let Some(table) = text(&table, 0)? else { return Ok(0) };
    let condition = match &taken.column {
        None => "true".to_owned(),
        Some(column) => {
            let Some(row) = client.query_opt(COLUMN, &[&taken.table, column]).await.map_err(error)? else {
                return Ok(0);
            };
            let column = text(&row, 0)?.unwrap_or_default();
            let default = text(&row, 1)?.unwrap_or_else(|| "NULL".to_owned());
            format!("{column} IS DISTINCT FROM ({default})")
        }
    };
    let count = format!("SELECT count(*) FROM (SELECT FROM {table} WHERE {condition} LIMIT {}) AS lost", COUNTED + 1);
    client.query_one(&count, &[]).await.and_then(|row| row.try_get(0)).map_err(error)
}
