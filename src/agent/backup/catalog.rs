//! What is in a database: read with plain queries, every name quoted by the server, within the caller's transaction.

use serde_json::Value;
use tokio_postgres::{Client, Error, Row};

use super::failed;
use crate::{
    agent::{
        manifest::{Content, Extension, Sequence, Table},
        postgres::fingerprint::Catalogue,
    },
    protocol::Refusal,
};

/// How many sequences one statement reads.
const SEQUENCES_AT_ONCE: usize = 100;
/// Relations of users: in no schema of the system and of no extension.
const OURS: &str = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't' \
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid \
       AND d.deptype = 'e')";

/// A table that is locked for the dump.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation {
    /// Its oid.
    pub oid: u32,
    /// Its quoted name, with the schema's.
    pub name: String,
}

fn relation(row: &Row) -> Result<Relation, Error> {
    Ok(Relation { oid: row.try_get(0)?, name: row.try_get(1)? })
}

/// Lists what is locked: ordinary and partitioned tables, those of extensions where they may be read.
///
/// # Errors
/// The query failed.
pub async fn relations(client: &Client) -> Result<Vec<Relation>, Refusal> {
    let query = "SELECT c.oid, format('%I.%I', n.nspname, c.relname) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
         AND c.relpersistence <> 't' \
         AND (has_table_privilege(c.oid, 'SELECT') OR NOT EXISTS (SELECT FROM pg_depend d \
           WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')) ORDER BY c.oid";
    all(client, "listing the tables", query, relation).await
}

/// Returns the names of tables whose rows are not where the snapshot says: they were rewritten after it was taken, and
/// what reads them in it sees nothing. Foreign and partitioned tables have no rows of their own.
///
/// # Errors
/// The query failed.
pub async fn rewritten(client: &Client) -> Result<Vec<String>, Refusal> {
    let query = "SELECT c.oid, format('%I.%I', n.nspname, c.relname) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' \
         AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't' \
         AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)";
    let found = all(client, "looking for tables that were rewritten", query, relation).await?;
    Ok(found.into_iter().map(|relation| relation.name).collect())
}

/// Lists every ordinary table, with its quoted name; its rows are not counted.
///
/// # Errors
/// The query failed.
pub async fn tables(client: &Client) -> Result<Vec<(Table, String)>, Refusal> {
    let query = format!(
        "SELECT n.nspname::text, c.relname::text, format('%I.%I', n.nspname, c.relname), \
         coalesce(pg_table_size(c.oid), 0) {OURS} AND c.relkind = 'r' AND n.nspname <> 'switchback' ORDER BY 1, 2"
    );
    all(client, "listing the tables", &query, |row| {
        let (schema, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok((Table { schema, name, rows: 0, bytes: row.try_get(3)? }, row.try_get::<_, String>(2)?))
    })
    .await
}

/// Counts the rows of every ordinary table.
///
/// # Errors
/// A query failed, or the role may not see every row.
pub async fn count_tables(client: &Client) -> Result<Vec<Table>, Refusal> {
    let mut counted = Vec::new();
    for (mut table, quoted) in tables(client).await? {
        let (doing, count) = (format!("counting {quoted}"), format!("SELECT count(*) FROM ONLY {quoted}"));
        table.rows = all(client, &doing, &count, |row| row.try_get::<_, i64>(0)).await?.into_iter().sum();
        counted.push(table);
    }
    Ok(counted)
}

/// Reads every sequence.
///
/// # Errors
/// A query failed.
pub async fn sequences(client: &Client) -> Result<Vec<Sequence>, Refusal> {
    let query = format!(
        "SELECT format('SELECT %L::text, %L::text, last_value, %L::bool FROM %I.%I', n.nspname, c.relname, \
         s.seqcycle, n.nspname, c.relname) FROM pg_sequence s JOIN (SELECT c.oid, c.relname, c.relnamespace {OURS} \
         AND c.relkind = 'S' AND n.nspname <> 'switchback') c ON c.oid = s.seqrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY n.nspname, c.relname"
    );
    let queries = all(client, "listing the sequences", &query, |row| row.try_get::<_, String>(0)).await?;
    let mut sequences = Vec::new();
    for some in queries.chunks(SEQUENCES_AT_ONCE) {
        let query = some.join(" UNION ALL ");
        let read = all(client, "reading the sequences", &query, |row| {
            let last: i64 = row.try_get(2)?;
            let (schema, name) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Sequence { schema, name, first: last, last, cycles: row.try_get(3)? })
        });
        sequences.extend(read.await?);
    }
    Ok(sequences)
}

/// Reads everything that is counted or compared, but tables and sequences.
///
/// # Errors
/// A query failed.
pub async fn content(client: &Client) -> Result<Content, Refusal> {
    let settings = "SELECT (to_jsonb(d) - 'datfrozenxid' - 'datminmxid')::text FROM pg_database d \
         WHERE datname = current_database()";
    let roles = "SELECT (to_jsonb(r) - 'rolpassword' || jsonb_build_object('memberOf', (SELECT \
         coalesce(jsonb_agg(g.rolname::text ORDER BY g.rolname), '[]') FROM pg_auth_members m \
         JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid)))::text \
         FROM pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY r.rolname";
    let role_settings = "SELECT jsonb_build_object('role', r.rolname::text, 'settings', to_jsonb(s.setconfig))::text \
         FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase \
         LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE d.datname = current_database() ORDER BY r.rolname";
    let encoding = "SELECT pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()";
    let read = "reading the database's settings";
    Ok(Content {
        tables: Vec::new(),
        schema: Catalogue::read(client).await?.fingerprint(),
        sequences: Vec::new(),
        large_objects: large_objects(client).await?,
        not_valid: not_valid(client).await?,
        extensions: extensions(client).await?,
        roles: json(client, "reading the roles", roles).await?,
        settings: json(client, read, settings).await?.into_iter().next().unwrap_or_default(),
        encoding: text(client, read, encoding).await?,
        role_settings: json(client, read, role_settings).await?,
    })
}

/// Counts the large objects.
///
/// # Errors
/// The query failed.
pub async fn large_objects(client: &Client) -> Result<i64, Refusal> {
    let query = "SELECT count(*) FROM pg_largeobject_metadata";
    Ok(all(client, "counting the large objects", query, |row| row.try_get::<_, i64>(0)).await?.into_iter().sum())
}

/// Lists the constraints that are not validated.
///
/// # Errors
/// The query failed.
pub async fn not_valid(client: &Client) -> Result<Vec<String>, Refusal> {
    let query = "SELECT format('%I on %s', k.conname, k.conrelid::regclass) FROM pg_constraint k \
         JOIN pg_namespace n ON n.oid = k.connamespace WHERE NOT k.convalidated AND n.nspname !~ '^pg_' \
         AND k.conrelid <> 0 ORDER BY 1";
    all(client, "listing the constraints", query, |row| row.try_get(0)).await
}

async fn extensions(client: &Client) -> Result<Vec<Extension>, Refusal> {
    let query = "SELECT e.extname::text, e.extversion, n.nspname::text FROM pg_extension e \
         JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY e.oid";
    all(client, "listing the extensions", query, |row| {
        Ok(Extension { name: row.try_get(0)?, version: row.try_get(1)?, schema: row.try_get(2)? })
    })
    .await
}

async fn json(client: &Client, doing: &str, query: &str) -> Result<Vec<Value>, Refusal> {
    let texts = all(client, doing, query, |row| row.try_get::<_, String>(0)).await?;
    Ok(texts.iter().map(|text| serde_json::from_str(text).unwrap_or_default()).collect())
}

async fn text(client: &Client, doing: &str, query: &str) -> Result<String, Refusal> {
    Ok(all(client, doing, query, |row| row.try_get(0)).await?.into_iter().next().unwrap_or_default())
}

/// Runs a query and reads every row.
async fn all<T>(
    client: &Client,
    doing: &str,
    query: &str,
    read: impl Fn(&Row) -> Result<T, Error>,
) -> Result<Vec<T>, Refusal> {
    let rows = client.query(query, &[]).await.map_err(|error| failed(doing, &error))?;
    rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| failed(doing, &error))
}
