//! What a schema is, as text that two databases of one major version can be compared by.
//!
//! In: a session of ours, whose `search_path` is `pg_catalog`, so that every name is written in full. Out: one line per
//! object that users made. Left out: owners and rights, comments, the order of columns, members of extensions, the schema
//! `switchback`, tables in which migration tools keep their history. Partitions are read, but are no part of the
//! fingerprint: they come and go by themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::failure::failed;
use crate::{api::sha256_hex, protocol::Refusal};

/// How much of a definition a difference tells, in characters.
const TOLD: usize = 160;

/// Tables in which tools keep which migrations they ran: rows change with each, the table itself is the tool's.
const HISTORY: &str = "ARRAY['schema_migrations', 'schema_migrations_lock', 'ar_internal_metadata', \
    'flyway_schema_history', 'schema_version', 'databasechangelog', 'databasechangeloglock', 'alembic_version', \
    'django_migrations', '_prisma_migrations', 'knex_migrations', 'knex_migrations_lock', 'goose_db_version', \
    'gorp_migrations', 'atlas_schema_revisions', '_sqlx_migrations', 'refinery_schema_history', \
    '__diesel_schema_migrations', '__EFMigrationsHistory', 'SequelizeMeta', 'seaql_migrations']";

/// Relations that users made, with their names in full and whether they belong to a partition. `HISTORY` is replaced.
const OURS: &str = "WITH ours AS (SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index x ON x.indexrelid = c.oid \
    LEFT JOIN pg_class t ON t.oid = x.indrelid WHERE n.nspname !~ '^pg_' \
    AND n.nspname NOT IN ('information_schema', 'switchback') AND c.relpersistence <> 't' \
    AND NOT c.relname = ANY (HISTORY) AND (t.relname IS NULL OR NOT t.relname = ANY (HISTORY)) \
    AND NOT EXISTS (SELECT FROM pg_depend d LEFT JOIN pg_class o ON o.oid = d.refobjid \
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND (d.deptype = 'e' OR (c.relkind = 'S' \
      AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass AND o.relname = ANY (HISTORY))))) ";

/// Schemas that users made and what lies in them that is no relation.
const SCHEMAS: &str = "WITH schemas AS (SELECT n.* FROM pg_namespace n WHERE n.nspname !~ '^pg_' \
    AND n.nspname NOT IN ('information_schema', 'switchback') AND NOT EXISTS (SELECT FROM pg_depend d \
      WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')) ";

/// What is read of relations: object, definition, whether it is or belongs to a partition.
const OF_RELATIONS: [&str; 8] = [
    // Tables and views.
    "SELECT format('%s %s', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'c' THEN 'type' \
       WHEN 'f' THEN 'foreign table' ELSE 'table' END, c.name), \
     concat_ws(' ', CASE c.relpersistence WHEN 'u' THEN 'unlogged' END, \
       'partition by ' || pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid), \
       'with ' || (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(c.reloptions) o), \
       CASE WHEN c.relrowsecurity THEN 'row security' END, CASE WHEN c.relforcerowsecurity THEN 'forced' END, \
       CASE c.relreplident WHEN 'd' THEN NULL WHEN 'n' THEN NULL ELSE 'replica identity ' || c.relreplident::text END, \
       'inherits ' || (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_inherits i \
         WHERE i.inhrelid = c.oid), \
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END), c.relispartition \
     FROM ours c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')",
    // Columns, without their order.
    "SELECT format('column %s.%I', c.name, a.attname), concat_ws(' ', format_type(a.atttypid, a.atttypmod), \
       CASE WHEN a.attnotnull THEN 'not null' END, \
       CASE WHEN a.attgenerated <> '' THEN 'generated' END, 'default ' || pg_get_expr(d.adbin, d.adrelid), \
       CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity by default' END, \
       CASE WHEN a.attcollation <> t.typcollation THEN 'collate ' || a.attcollation::regcollation::text END), \
       c.relispartition FROM ours c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid \
     LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped",
    // Constraints. NOT NULL stands with the column, in newer versions here too.
    "SELECT format('constraint %I on %s', k.conname, c.name), pg_get_constraintdef(k.oid), c.relispartition \
     FROM ours c JOIN pg_constraint k ON k.conrelid = c.oid WHERE k.contype NOT IN ('t', 'n')",
    // Indexes.
    "SELECT format('index %s', c.name), concat_ws(' ', pg_get_indexdef(c.oid), \
       CASE WHEN NOT x.indisvalid THEN 'invalid' END), c.relispartition OR t.relispartition \
     FROM ours c JOIN pg_index x ON x.indexrelid = c.oid JOIN pg_class t ON t.oid = x.indrelid",
    // Sequences, but where they stand.
    "SELECT format('sequence %s', c.name), concat_ws(' ', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, \
       s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN 'cycle' END), false \
     FROM ours c JOIN pg_sequence s ON s.seqrelid = c.oid",
    // Triggers, but those that a constraint stands for.
    "SELECT format('trigger %I on %s', g.tgname, c.name), concat_ws(' ', pg_get_triggerdef(g.oid), \
       CASE g.tgenabled WHEN 'O' THEN NULL ELSE 'enabled ' || g.tgenabled::text END), c.relispartition \
     FROM ours c JOIN pg_trigger g ON g.tgrelid = c.oid WHERE NOT g.tgisinternal",
    // Policies.
    "SELECT format('policy %I on %s', p.polname, c.name), concat_ws(' ', p.polcmd::text, \
       CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END, \
       'to ' || (SELECT string_agg(CASE o WHEN 0 THEN 'public' ELSE pg_get_userbyid(o)::text END, ', ' \
         ORDER BY CASE o WHEN 0 THEN 'public' ELSE pg_get_userbyid(o)::text END) FROM unnest(p.polroles) o), \
       'using ' || pg_get_expr(p.polqual, p.polrelid), 'check ' || pg_get_expr(p.polwithcheck, p.polrelid)), \
       c.relispartition FROM ours c JOIN pg_policy p ON p.polrelid = c.oid",
    // Rules, but those that make a view.
    "SELECT format('rule %I on %s', r.rulename, c.name), concat_ws(' ', pg_get_ruledef(r.oid), \
       CASE r.ev_enabled WHEN 'O' THEN NULL ELSE 'enabled ' || r.ev_enabled::text END), c.relispartition \
     FROM ours c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN'",
];

/// What is read of schemas.
const OF_SCHEMAS: [&str; 5] = [
    "SELECT format('schema %I', n.nspname), '', false FROM schemas n",
    // Functions and procedures; what aggregates are made of.
    "SELECT format('function %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), \
       CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) ELSE (SELECT concat_ws(' ', 'aggregate', \
         g.aggtransfn::oid::regprocedure, g.aggfinalfn::oid::regproc, format_type(g.aggtranstype, NULL), g.agginitval) \
         FROM pg_aggregate g WHERE g.aggfnoid = p.oid) END, false \
     FROM schemas n JOIN pg_proc p ON p.pronamespace = n.oid WHERE NOT EXISTS (SELECT FROM pg_depend d \
       WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))",
    // Enums, domains with their constraints, ranges. Rows of tables and arrays come with what they are of.
    "SELECT format('type %I.%I', n.nspname, t.typname), concat_ws(' ', t.typtype::text, \
       (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e \
         WHERE e.enumtypid = t.oid), \
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, \
       CASE WHEN t.typnotnull THEN 'not null' END, 'default ' || t.typdefault, \
       (SELECT string_agg(format('%I %s', k.conname, pg_get_constraintdef(k.oid)), ', ' ORDER BY k.conname) \
         FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype <> 'n'), \
       (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid)), false \
     FROM schemas n JOIN pg_type t ON t.typnamespace = n.oid WHERE t.typtype IN ('e', 'd', 'r') \
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid \
       AND d.deptype = 'e')",
    "SELECT format('statistics %I.%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid), false \
     FROM schemas n JOIN pg_statistic_ext s ON s.stxnamespace = n.oid",
    "SELECT format('extension %I', e.extname), concat_ws(' ', e.extversion, 'in', s.nspname), false \
     FROM pg_extension e JOIN pg_namespace s ON s.oid = e.extnamespace \
     UNION ALL SELECT format('event trigger %I', v.evtname), concat_ws(' ', v.evtevent, v.evtfoid::regprocedure, \
       v.evtenabled::text, array_to_string(v.evttags, ',')), false FROM pg_event_trigger v \
       WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = v.oid \
         AND d.deptype = 'e')",
];

/// Every object that users made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Catalogue(BTreeMap<String, Definition>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Definition {
    text: String,
    partition: bool,
}

impl Catalogue {
    /// Reads the catalogue as the session's transaction sees it.
    ///
    /// # Errors
    /// A query failed.
    pub async fn read(client: &Client) -> Result<Self, Refusal> {
        let mut objects = BTreeMap::new();
        let relations = OF_RELATIONS.iter().map(|query| format!("{OURS}{query}").replace("HISTORY", HISTORY));
        let schemas = OF_SCHEMAS.iter().map(|query| format!("{SCHEMAS}{query}"));
        for query in relations.chain(schemas) {
            let error = |error| failed("reading the schema", &error);
            for row in client.query(&query, &[]).await.map_err(error)? {
                let definition =
                    Definition { text: row.try_get(1).map_err(error)?, partition: row.try_get(2).map_err(error)? };
                objects.insert(row.try_get(0).map_err(error)?, definition);
            }
        }
        Ok(Self(objects))
    }

    /// Returns the SHA-256 over all of it but partitions, hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let lines: Vec<String> = self
            .0
            .iter()
            .filter(|(_, definition)| !definition.partition)
            // Both may hold line ends; JSON text cannot be mistaken for two lines.
            .map(|(object, definition)| serde_json::json!([object, definition.text]).to_string())
            .collect();
        sha256_hex(lines.join("\n"))
    }

    /// Says what became of each object that is not as it was, partitions included.
    #[must_use]
    pub fn changes_to(&self, after: &Self) -> Vec<String> {
        let before = self.0.iter().filter_map(|(object, was)| match after.0.get(object) {
            None => Some(format!("{object} is gone")),
            Some(is) if is != was => Some(format!("{object} is {}, was {}", short(&is.text), short(&was.text))),
            Some(_) => None,
        });
        let added = after.0.keys().filter(|object| !self.0.contains_key(*object));
        before.chain(added.map(|object| format!("{object} is new"))).collect()
    }
}

/// Returns a definition on one line, not too long.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= TOLD {
        return format!("\"{line}\"");
    }
    format!("\"{}…\"", line.chars().take(TOLD).collect::<String>())
}
