//! Whether a backup can take the place of its database at all: asked before anybody is, and again before anything is
//! closed.

use tokio_postgres::{Client, Row};

use super::failed;
use crate::{agent::refuse, api::Reason, protocol::Refusal};

/// What the role that makes and renames databases must be able to do: be a member of the owner, make databases, end
/// everybody's sessions.
const ADMIN: &str = "SELECT pg_has_role(d.datdba, 'MEMBER'), r.rolsuper OR r.rolcreatedb, \
    r.rolsuper OR pg_has_role('pg_signal_backend', 'MEMBER') OR NOT EXISTS (SELECT FROM pg_stat_activity a \
      WHERE a.datid = d.oid AND a.usesysid IS NOT NULL AND NOT pg_has_role(a.usesysid, 'MEMBER')), \
    current_user::text, pg_get_userbyid(d.datdba)::text \
    FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.oid = $1";
/// What the role that restores must not be, and must be able to do.
const RESTORER: &str = "SELECT r.rolsuper OR pg_has_role('pg_execute_server_program', 'MEMBER') \
      OR pg_has_role('pg_read_server_files', 'MEMBER') OR pg_has_role('pg_write_server_files', 'MEMBER'), \
    has_database_privilege(current_database(), 'CREATE'), current_user::text \
    FROM pg_roles r WHERE r.rolname = current_user";
/// What belongs to roles that the one that restores cannot give it to.
const OTHERS: &str = "SELECT DISTINCT o.what, pg_get_userbyid(o.owner)::text FROM ( \
      SELECT format('%I.%I', n.nspname, c.relname) AS what, c.relowner AS owner, 'pg_class'::regclass AS class, c.oid \
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't' \
      UNION ALL SELECT format('%I.%I()', n.nspname, p.proname), p.proowner, 'pg_proc'::regclass, p.oid \
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
      UNION ALL SELECT format('schema %I', n.nspname), n.nspowner, 'pg_namespace'::regclass, n.oid FROM pg_namespace n \
        WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public') \
      UNION ALL SELECT format('event trigger %I', v.evtname), v.evtowner, 'pg_event_trigger'::regclass, v.oid \
        FROM pg_event_trigger v \
    ) o WHERE NOT pg_has_role(o.owner, 'MEMBER') AND NOT EXISTS (SELECT FROM pg_depend d \
      WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e') ORDER BY 1 LIMIT 4";
/// What a swap would tear off, as far as it is seen from anywhere.
const BOUND: &str = "SELECT 'transaction ' || gid || ' is prepared' FROM pg_prepared_xacts WHERE database = $1 \
    UNION ALL SELECT 'replication slot ' || slot_name || ' decodes it' FROM pg_replication_slots WHERE database = $1 \
    UNION ALL SELECT 'subscription ' || s.subname || ' writes into it' FROM pg_subscription s \
      JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = $1 \
    UNION ALL SELECT 'pg_cron keeps its jobs in it' WHERE current_setting('cron.database_name', true) = $1";
/// The rest of it, as it is seen from inside.
const CRON: &str = "SELECT 'pg_cron is installed in it' FROM pg_extension WHERE extname = 'pg_cron'";
/// Sizes of all databases; none of one whose size this role may not see.
const SIZES: &str = "SELECT d.datname::text, CASE WHEN has_database_privilege(d.oid, 'CONNECT') \
    OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(d.oid) END FROM pg_database d";

/// Refuses roles that cannot do it, or could do more.
///
/// # Errors
/// A right is missing (`InsufficientPrivilege`), or there is one too many (`SuperuserNotAllowed`).
pub async fn roles(admin: &Client, oid: u32, restorer: &Client) -> Result<(), Refusal> {
    let error = |error| failed("looking at the roles", &error);
    let lacks = |text: String| Err(refuse(Reason::InsufficientPrivilege, text));
    let row = admin.query_one(ADMIN, &[&oid]).await.map_err(error)?;
    let may = |at: usize| row.try_get::<_, bool>(at).map_err(error);
    let (role, owner): (String, String) = (row.try_get(3).map_err(error)?, row.try_get(4).map_err(error)?);
    if !may(0)? {
        return lacks(format!("role {role} (admin) is no member of {owner}, which owns the database"));
    }
    if !may(1)? {
        return lacks(format!("role {role} (admin) may not make databases: CREATEDB"));
    }
    if !may(2)? {
        return lacks(format!("role {role} (admin) may not end the sessions of others: pg_signal_backend"));
    }
    let row = restorer.query_one(RESTORER, &[]).await.map_err(error)?;
    let role: String = row.try_get(2).map_err(error)?;
    if row.try_get(0).map_err(error)? {
        let text =
            format!("role {role} would restore, and is a superuser or may run programs or reach files on the server");
        return Err(refuse(Reason::SuperuserNotAllowed, text));
    }
    if !row.try_get::<_, bool>(1).map_err(error)? {
        return lacks(format!("role {role} would restore, and may not make schemas in the database"));
    }
    let pair = |row: &Row| Ok(format!("{} is {}'s", row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?));
    let others = restorer.query(OTHERS, &[]).await.map_err(error)?;
    let others = others.iter().map(pair).collect::<Result<Vec<_>, _>>().map_err(error)?;
    if others.is_empty() {
        return Ok(());
    }
    lacks(format!("role {role} would restore, and is no member of the roles that own all of it: {}", others.join(", ")))
}

/// Refuses a database to which something is bound that a swap would tear off.
///
/// # Errors
/// There is such a thing (`SwapBlocked`).
pub async fn bound(admin: &Client, name: &str, inside: Option<&Client>) -> Result<(), Refusal> {
    let error = |error| failed("looking for what is bound to the database", &error);
    let mut rows = admin.query(BOUND, &[&name]).await.map_err(error)?;
    if let Some(inside) = inside {
        rows.extend(inside.query(CRON, &[]).await.map_err(error)?);
    }
    let found: Vec<&str> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(refuse(Reason::SwapBlocked, format!("{name} cannot be replaced: {}", found.join("; "))))
}

/// What room there is on a server. No statement shows it: an administrator has said how much all databases may have.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes that all databases may have together.
    pub capacity: u64,
    /// Bytes that the database had when it was backed up.
    pub original: u64,
}

impl Room {
    /// Returns how large the restored database may become: half as large again as it was.
    const fn largest(self) -> u64 {
        self.original.saturating_add(self.original / 2)
    }

    /// Refuses a restore that would not fit.
    ///
    /// # Errors
    /// It would not (`NoSpace`), or cannot be known (`InsufficientPrivilege`).
    pub async fn refuse_too_little(self, admin: &Client) -> Result<(), Refusal> {
        let used: u64 = sizes(admin).await?.iter().map(|(_, bytes)| bytes).sum();
        let needed = used.saturating_add(self.largest());
        if needed <= self.capacity {
            return Ok(());
        }
        let (largest, capacity) = (self.largest(), self.capacity);
        let text = format!(
            "the server's databases have {used} bytes, restoring beside may take {largest} more: {needed} do not fit \
             into its capacity of {capacity}"
        );
        Err(refuse(Reason::NoSpace, text))
    }

    /// Refuses a restored database that has grown beyond what there is room for.
    ///
    /// # Errors
    /// It has (`NoSpace`).
    pub async fn refuse_growth(self, admin: &Client, beside: &str) -> Result<(), Refusal> {
        let sizes = sizes(admin).await?;
        let used: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
        let own = sizes.iter().find(|(name, _)| name == beside).map_or(0, |(_, bytes)| *bytes);
        // The smallest database has some megabytes, whatever is in it.
        let smallest = sizes.iter().map(|(_, bytes)| *bytes).min().unwrap_or(0);
        let largest = self.largest().saturating_add(smallest);
        if own <= largest && used <= self.capacity {
            return Ok(());
        }
        let capacity = self.capacity;
        let text = format!(
            "{beside} has grown to {own} bytes, expected were {largest} at most; all databases have {used} bytes of \
             {capacity}"
        );
        Err(refuse(Reason::NoSpace, text))
    }
}

async fn sizes(admin: &Client) -> Result<Vec<(String, u64)>, Refusal> {
    let error = |error| failed("looking at the sizes of the databases", &error);
    let rows = admin.query(SIZES, &[]).await.map_err(error)?;
    let mut sizes = Vec::new();
    for row in &rows {
        let name: String = row.try_get(0).map_err(error)?;
        let Some(bytes) = row.try_get::<_, Option<i64>>(1).map_err(error)? else {
            let text = format!("the size of database {name} may not be seen: pg_read_all_stats");
            return Err(refuse(Reason::InsufficientPrivilege, text));
        };
        sizes.push((name, u64::try_from(bytes).unwrap_or(0)));
    }
    Ok(sizes)
}
