//! Whether the schema `switchback` is ours.
//!
//! Whoever may create schemas could have laid one of that name: a view, a trigger, a cast in it would run as our role.
//! Nothing of it is read before this has looked.

use tokio_postgres::GenericClient;

use super::failure::failed;
use crate::{agent::refuse, api::Reason, protocol::Refusal};

/// Whatever in the schema somebody else could have laid there for this role to step on.
const FOREIGN: &str = "SELECT 'schema switchback belongs to ' || pg_catalog.pg_get_userbyid(n.nspowner)
    FROM pg_catalog.pg_namespace n WHERE n.nspname = 'switchback' AND NOT (n.nspowner = ANY (TRUSTED))
UNION ALL SELECT 'switchback.' || c.relname || ' belongs to ' || pg_catalog.pg_get_userbyid(c.relowner)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'switchback' AND NOT (c.relowner = ANY (TRUSTED))
UNION ALL SELECT 'switchback.' || c.relname || ' is no plain table'
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'switchback' AND c.relname IN ('identity', 'ledger', 'ledger_files', 'ledger_sessions')
    AND (c.relkind <> 'r' OR c.relhastriggers OR c.relhasrules OR c.relrowsecurity)";
/// Who may do everything in this database anyway: superusers, its owner and whoever may act as that; and ourselves.
const TRUSTED: &str = "SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user OR \
    pg_catalog.pg_has_role(r.oid, (SELECT d.datdba FROM pg_catalog.pg_database d \
    WHERE d.datname = pg_catalog.current_database()), 'MEMBER')";
/// Refuses a schema of that name that somebody else owns or has put code into: our role would run it.
pub async fn refuse_foreign(client: &impl GenericClient) -> Result<(), Refusal> {
    let rows = client.query(&FOREIGN.replace("TRUSTED", TRUSTED), &[]).await;
    let rows = rows.map_err(|error| failed("looking at the schema switchback", &error))?;
    let found: Vec<&str> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(refuse(Reason::IdentityUncertain, format!("the schema switchback is not ours: {}", found.join("; "))))
}
