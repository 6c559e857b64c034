//! The scratch server: restores one archive where nothing can be harmed, and says what came out.
//!
//! It runs in a container of its own beside the agent that has the secrets: another user, no secrets, a server on a
//! Unix socket that only its own user reaches. An archive may hold code that runs while it is restored, so the archive
//! is restored by a plain role; the superuser only makes what the manifest names before, and checks the files after.
//!
//! On the socket that the two containers share: one line of JSON ([`Request`]), the archive until the writer shuts down,
//! then one line of JSON in answer. A copy that is kept is reached on loopback afterwards; see [`keep`].

pub mod client;
pub mod keep;
mod restore;
mod serve;
mod server;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Client;

pub use self::serve::{Scratch, serve};
use super::{
    backup::catalog,
    manifest::{Content, Extension, Sequence, Table},
    refuse,
};
use crate::{api::Reason, protocol::Refusal};

/// Name of the socket in the folder that is shared.
pub const SOCKET: &str = "agent.sock";
/// How many differences a message names.
const NAMED: usize = 5;

/// What is to be made before the archive is restored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Extensions, in the order in which they were made.
    pub extensions: Vec<Extension>,
    /// Roles that objects may name; they are made without a login and without any right.
    pub roles: Vec<String>,
    /// Name of the encoding.
    pub encoding: String,
    /// The database's row of `pg_database`: locale and provider.
    pub settings: Value,
    /// What makes it last: it is not only restored, but worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
}

/// What a restored copy has beyond its data when it is worked on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keep {
    /// Settings of the database, as `name=value`.
    pub settings: Vec<String>,
    /// The role that owns the database, so that what is done in its name can be done here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Tables with their rows.
    pub tables: Vec<Table>,
    /// Sequences.
    pub sequences: Vec<Sequence>,
    /// Large objects.
    pub large_objects: i64,
    /// Constraints that are not validated.
    pub not_valid: Vec<String>,
    /// Seconds from the first byte to the end of `pg_restore`.
    pub restore_seconds: f64,
    /// Seconds to count and check.
    pub check_seconds: f64,
}

impl Request {
    /// Returns what must be made for the content of a manifest.
    #[must_use]
    pub fn of(content: &Content) -> Self {
        let name = |role: &Value| role.get("rolname").and_then(Value::as_str).map(str::to_owned);
        Self {
            extensions: content.extensions.clone(),
            roles: content.roles.iter().filter_map(name).collect(),
            encoding: content.encoding.clone(),
            settings: content.settings.clone(),
            keep: None,
        }
    }

    /// Returns what must be made for the content of a manifest, which is then worked on.
    #[must_use]
    pub fn kept(content: &Content) -> Self {
        // Those of single roles stay out: who works on it is another role.
        let of_all = content.role_settings.iter().filter(|row| row.get("role").is_none_or(Value::is_null));
        let settings = of_all.filter_map(|row| row.get("settings")?.as_array()).flatten();
        let settings = settings.filter_map(Value::as_str).map(str::to_owned).collect();
        let text =
            |value: Option<&Value>| value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let of = text(content.settings.get("datdba"));
        let owner = content.roles.iter().find(|role| of.is_some() && text(role.get("oid")) == of);
        let owner = owner.and_then(|role| role.get("rolname")?.as_str()).map(str::to_owned);
        Self { keep: Some(Keep { settings, owner }), ..Self::of(content) }
    }
}

impl Restored {
    /// Counts what is in a database; the seconds are for whoever measured them.
    ///
    /// # Errors
    /// A query failed, or the role may not see every row.
    pub async fn count(client: &Client) -> Result<Self, Refusal> {
        Ok(Self {
            tables: catalog::count_tables(client).await?,
            sequences: catalog::sequences(client).await?,
            large_objects: catalog::large_objects(client).await?,
            not_valid: catalog::not_valid(client).await?,
            restore_seconds: 0.0,
            check_seconds: 0.0,
        })
    }
}

/// Compares what came out with what was counted.
///
/// # Errors
/// Something differs (`BackupVerificationFailed`); the message has both sides of the first differences.
pub fn compare(counted: &Content, restored: &Restored) -> Result<(), Refusal> {
    let mut differences = Vec::new();
    compare_tables(&counted.tables, &restored.tables, &mut differences);
    compare_sequences(&counted.sequences, &restored.sequences, &mut differences);
    if counted.large_objects != restored.large_objects {
        differences.push(format!("{} large objects, were {}", restored.large_objects, counted.large_objects));
    }
    for constraint in restored.not_valid.iter().filter(|constraint| !counted.not_valid.contains(constraint)) {
        differences.push(format!("the constraint {constraint} is not validated"));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let more = differences.len().saturating_sub(NAMED);
    differences.truncate(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let text = format!("what was restored is not what was counted: {}{more}", differences.join("; "));
    Err(refuse(Reason::BackupVerificationFailed, text))
}

fn compare_tables(counted: &[Table], restored: &[Table], differences: &mut Vec<String>) {
    let find = |tables: &[Table], table: &Table| {
        tables.iter().find(|other| (&other.schema, &other.name) == (&table.schema, &table.name)).cloned()
    };
    for table in counted {
        let name = format!("{}.{}", table.schema, table.name);
        match find(restored, table) {
            None => differences.push(format!("table {name} is missing, had {} rows", table.rows)),
            Some(found) if found.rows != table.rows => {
                differences.push(format!("table {name} has {} rows, had {}", found.rows, table.rows));
            }
            Some(_) => {}
        }
    }
    for table in restored.iter().filter(|table| find(counted, table).is_none()) {
        differences.push(format!("table {}.{} was not there", table.schema, table.name));
    }
}

/// A sequence may have moved while it was dumped.
fn compare_sequences(counted: &[Sequence], restored: &[Sequence], differences: &mut Vec<String>) {
    for sequence in counted {
        let name = format!("{}.{}", sequence.schema, sequence.name);
        let found = restored.iter().find(|other| (&other.schema, &other.name) == (&sequence.schema, &sequence.name));
        let (low, high) = (sequence.first.min(sequence.last), sequence.first.max(sequence.last));
        let moved = low != high;
        match found {
            None => differences.push(format!("sequence {name} is missing, was at {}", sequence.last)),
            Some(_) if moved && sequence.cycles => {}
            Some(found) if (low..=high).contains(&found.last) => {}
            Some(found) if moved => {
                differences.push(format!("sequence {name} is at {}, was between {low} and {high}", found.last));
            }
            Some(found) => differences.push(format!("sequence {name} is at {}, was at {low}", found.last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        let table = |name: &str, rows| Table { schema: "public".into(), name: name.into(), rows, bytes: 0 };
        let sequence = Sequence { schema: "public".into(), name: "s".into(), first: 5, last: 7, cycles: false };
        Content {
            tables: vec![table("a", 3), table("b", 0)],
            schema: String::new(),
            sequences: vec![sequence],
            large_objects: 1,
            not_valid: vec!["x".into()],
            extensions: Vec::new(),
            roles: Vec::new(),
            settings: Value::Null,
            encoding: "UTF8".into(),
            role_settings: Vec::new(),
        }
    }

    fn restored() -> Restored {
        let Content { tables, sequences, large_objects, not_valid, .. } = content();
        Restored { tables, sequences, large_objects, not_valid, restore_seconds: 0.0, check_seconds: 0.0 }
    }

    fn refused(change: impl FnOnce(&mut Restored)) -> String {
        let mut restored = restored();
        change(&mut restored);
        compare(&content(), &restored).unwrap_err().message
    }

    #[test]
    fn every_difference_is_found_and_named_with_both_sides() {
        compare(&content(), &restored()).unwrap();
        assert!(refused(|r| r.tables[0].rows = 0).contains("table public.a has 0 rows, had 3"));
        assert!(refused(|r| drop(r.tables.remove(1))).contains("table public.b is missing, had 0 rows"));
        assert!(refused(|r| r.tables[1].name = "c".into()).contains("table public.c was not there"));
        assert!(refused(|r| r.sequences[0].last = 8).contains("sequence public.s is at 8, was between 5 and 7"));
        assert!(refused(|r| r.sequences.clear()).contains("sequence public.s is missing"));
        assert!(refused(|r| r.large_objects = 0).contains("0 large objects, were 1"));
        assert!(refused(|r| r.not_valid.push("y".into())).contains("the constraint y is not validated"));
    }

    #[test]
    fn a_sequence_may_have_moved_while_it_was_dumped() {
        for last in 5..=7 {
            let mut restored = restored();
            restored.sequences[0].last = last;
            compare(&content(), &restored).unwrap();
        }
    }
}
