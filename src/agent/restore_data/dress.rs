//! What a database is beyond what is in it: owner, rights, settings, limit of connections, comment. A dump has none of it,
//! so it is read from the one that is replaced and given to the one that takes its place.

use tokio_postgres::{Client, Row};

use super::failed;
use crate::{
    agent::{
        postgres::text::{self, literal, quoted},
        refuse,
    },
    api::Reason,
    protocol::Refusal,
};

/// To name a tablespace takes a right on it; the one of the template comes by itself.
const DATABASE: &str = "SELECT pg_get_userbyid(d.datdba)::text, (SELECT t.spcname::text FROM pg_tablespace t \
      WHERE t.oid = d.dattablespace AND t.oid <> o.dattablespace), d.datconnlimit, \
    shobj_description(d.oid, 'pg_database') \
    FROM pg_database d, pg_database o WHERE d.oid = $1 AND o.datname = 'template0'";
/// Rights, with those that nobody has changed written out.
const RIGHTS: &str = "SELECT CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee)::text END, \
    a.privilege_type, a.is_grantable FROM pg_database d, \
    LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE d.oid = $1 ORDER BY 1, 2";
/// Settings, of all roles and of single ones.
const SETTINGS: &str = "SELECT r.rolname::text, unnest(s.setconfig) FROM pg_db_role_setting s \
    LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = $1";

/// A right on a database.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Right {
    /// Who has it; `None`: everybody.
    role: Option<String>,
    privilege: String,
    may_grant: bool,
}

/// What a database is beyond what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dress {
    /// Who owns it.
    pub owner: String,
    /// Where it is, when that is not where a new one comes by itself.
    pub tablespace: Option<String>,
    /// Its comment.
    pub comment: Option<String>,
    connections: i32,
    rights: Vec<Right>,
    /// Role, if it is of one, and setting.
    settings: Vec<(Option<String>, String)>,
}

impl Dress {
    /// Reads it from another database of the server.
    ///
    /// # Errors
    /// A query failed, or the database is gone.
    pub async fn read(client: &Client, oid: u32) -> Result<Self, Refusal> {
        let error = |error| failed("reading what the database is beyond its data", &error);
        let row = client.query_one(DATABASE, &[&oid]).await.map_err(error)?;
        let right =
            |row: &Row| Ok(Right { role: row.try_get(0)?, privilege: row.try_get(1)?, may_grant: row.try_get(2)? });
        let rights = client.query(RIGHTS, &[&oid]).await.map_err(error)?;
        let settings = client.query(SETTINGS, &[&oid]).await.map_err(error)?;
        Ok(Self {
            owner: row.try_get(0).map_err(error)?,
            tablespace: row.try_get(1).map_err(error)?,
            connections: row.try_get(2).map_err(error)?,
            comment: row.try_get(3).map_err(error)?,
            rights: rights.iter().map(right).collect::<Result<_, _>>().map_err(error)?,
            settings: settings
                .iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                .collect::<Result<_, _>>()
                .map_err(error)?,
        })
    }

    /// Returns the statements that give it to a database to which these roles had been let meanwhile. The owner has come
    /// with the database; the comment comes with the swap.
    ///
    /// # Errors
    /// A setting cannot be written down.
    pub fn statements(&self, database: &str, let_in: &[&str]) -> Result<Vec<String>, Refusal> {
        let database = quoted(database);
        let mut statements = vec![format!("ALTER DATABASE {database} CONNECTION LIMIT {}", self.connections)];
        let roles: Vec<String> =
            [self.owner.as_str()].iter().chain(let_in).map(|role| format!(", {}", quoted(role))).collect();
        statements.push(format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC{}", roles.concat()));
        for Right { role, privilege, may_grant } in &self.rights {
            let role = role.as_deref().map_or_else(|| "PUBLIC".to_owned(), quoted);
            let more = if *may_grant { " WITH GRANT OPTION" } else { "" };
            statements.push(format!("GRANT {privilege} ON DATABASE {database} TO {role}{more}"));
        }
        for (role, setting) in &self.settings {
            let Some(set) = text::set(setting) else {
                let text = format!("a setting of the database cannot be read: {setting:?}");
                return Err(refuse(Reason::RestoreFailed, text));
            };
            statements.push(match role {
                None => format!("ALTER DATABASE {database} {set}"),
                Some(role) => format!("ALTER ROLE {} IN DATABASE {database} {set}", quoted(role)),
            });
        }
        Ok(statements)
    }

    /// Returns the statement that gives its comment to a database.
    #[must_use]
    pub fn comment_on(&self, database: &str) -> String {
        let comment = self.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
        format!("COMMENT ON DATABASE {} IS {comment}", quoted(database))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_t23_everything_is_quoted_and_nothing_that_was_let_in_stays() {
        let right = |role: Option<&str>, privilege: &str, may_grant| Right {
            role: role.map(str::to_owned),
            privilege: privilege.to_owned(),
            may_grant,
        };
        let dress = Dress {
            owner: "own\"er".into(),
            tablespace: None,
            comment: Some("it's".into()),
            connections: 7,
            rights: vec![right(None, "CONNECT", false), right(Some("a b"), "CREATE", true)],
            settings: vec![
                (None, "search_path=a;DROP/**/DATABASE/**/x".into()),
                (Some("app\"".into()), "statement_timeout=1s".into()),
            ],
        };
        let statements = dress.statements("s\"hop", &["reader"]).unwrap();
        let expected = [
            "ALTER DATABASE \"s\"\"hop\" CONNECTION LIMIT 7",
            "REVOKE ALL ON DATABASE \"s\"\"hop\" FROM PUBLIC, \"own\"\"er\", \"reader\"",
            "GRANT CONNECT ON DATABASE \"s\"\"hop\" TO PUBLIC",
            "GRANT CREATE ON DATABASE \"s\"\"hop\" TO \"a b\" WITH GRANT OPTION",
            "ALTER DATABASE \"s\"\"hop\" SET \"search_path\" TO 'a;DROP/**/DATABASE/**/x'",
            "ALTER ROLE \"app\"\"\" IN DATABASE \"s\"\"hop\" SET \"statement_timeout\" TO '1s'",
        ];
        assert_eq!(statements, expected);
        assert_eq!(dress.comment_on("x"), "COMMENT ON DATABASE \"x\" IS 'it''s'");
    }
}
