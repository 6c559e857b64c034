//! What would be lost: the rows of every table now beside those of the backup, and how many of them were written since.
//!
//! A row knows the transaction that wrote it, and the manifest the oldest one that was under way: what that one or a later
//! one wrote may not be in the backup. So an `UPDATE` is seen as well, which changes no number of rows.

use tokio_postgres::Client;

use super::failed;
use crate::{
    agent::{backup::catalog, manifest::Manifest},
    api::{DataLoss, TableLoss},
    clock,
    protocol::Refusal,
};

/// Longest that a table's name is told, in characters: a result has room for 4 kB.
const LONGEST_NAME: usize = 60;
/// All of it within one snapshot.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
const NEXT: &str = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8";

/// Counts what would be lost if a backup took the place of the session's database.
///
/// # Errors
/// A query failed, or the role may not see every row.
pub async fn count(client: &Client, manifest: &Manifest) -> Result<DataLoss, Refusal> {
    client.batch_execute(BEGIN).await.map_err(|error| failed("counting what would be lost", &error))?;
    let counted = within(client, manifest).await;
    client.batch_execute("ROLLBACK").await.map_err(|error| failed("counting what would be lost", &error))?;
    Ok(DataLoss::of(counted?, (manifest.taken_at, clock::now())))
}

async fn within(client: &Client, manifest: &Manifest) -> Result<Vec<TableLoss>, Refusal> {
    let error = |error| failed("counting what would be lost", &error);
    let next: i64 = client.query_one(NEXT, &[]).await.and_then(|row| row.try_get(0)).map_err(error)?;
    let content = &manifest.content;
    let told = |schema: &str, name: &str| format!("{schema}.{name}").chars().take(LONGEST_NAME).collect();
    let mut tables = Vec::new();
    let mut gone: Vec<_> = content.tables.iter().collect();
    for (table, quoted) in catalog::tables(client).await? {
        let was = content.tables.iter().find(|was| (&was.schema, &was.name) == (&table.schema, &table.name));
        gone.retain(|was| (&was.schema, &was.name) != (&table.schema, &table.name));
        // A row has the lower half of its transaction's number; the upper half is the newest that is not ahead of us.
        let count = format!(
            "SELECT count(*), count(*) FILTER (WHERE x + (($1 - x) / 4294967296) * 4294967296 >= $2) \
             FROM (SELECT xmin::text::int8 AS x FROM ONLY {quoted}) AS rows"
        );
        let oldest = manifest.oldest_transaction;
        let row = client.query_one(&count, &[&next, &oldest]).await.map_err(error)?;
        let (is, written): (i64, i64) = (row.try_get(0).map_err(error)?, row.try_get(1).map_err(error)?);
        let written = (oldest > 0).then_some(written);
        let was = was.map(|was| was.rows);
        tables.push(TableLoss { table: told(&table.schema, &table.name), was, is: Some(is), written });
    }
    tables.extend(gone.into_iter().map(|was| TableLoss {
        table: told(&was.schema, &was.name),
        was: Some(was.rows),
        is: None,
        written: None,
    }));
    let (was, is) = (Some(content.large_objects), Some(catalog::large_objects(client).await?));
    tables.push(TableLoss { table: "large objects".to_owned(), was, is, written: None });
    Ok(tables)
}
