//! How far a restore has come, read from what is on the server; pure but for the query.
//!
//! Databases are known by their oid, which stays when one is renamed. What cannot be read from oids and names stands in
//! the comment of the database that does not serve: of the one that is built before the swap, of the former one after it.

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Row as ServersRow};

use super::failed;
use crate::{
    agent::{
        postgres::text::{literal, quoted},
        refuse,
    },
    api::{DataLoss, Reason, sha256_hex},
    protocol::{CopyResult, ProofSeconds, Refusal},
};

/// Longest name of a database, in bytes.
const LONGEST_NAME: usize = 63;
/// Longest id of a restore.
const LONGEST_ID: usize = 20;
/// Digits of a hash that stand for the end of a long name.
const HASH_DIGITS: usize = 8;
const LOOK: &str = "SELECT d.oid, d.datname::text, d.datallowconn, shobj_description(d.oid, 'pg_database') \
    FROM pg_database d WHERE d.oid = $1 OR d.datname::text = ANY ($2)";

/// The three names of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The database as users know it.
    pub name: String,
    /// The one that is built.
    pub beside: String,
    /// The former one, once it was replaced.
    pub before: String,
}

impl Names {
    /// Names a restore.
    ///
    /// # Errors
    /// The id could not stand in a name.
    pub fn new(name: &str, id: &str) -> Result<Self, Refusal> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if id.is_empty() || id.len() > LONGEST_ID || !id.chars().all(plain) {
            return Err(refuse(Reason::RestoreFailed, format!("{id:?} names no restore")));
        }
        let named = |word| shortened(name, &format!("_{word}_{id}"));
        Ok(Self { name: name.to_owned(), beside: named("restore"), before: named("before") })
    }
}

/// Returns a name with an end; one that would be too long is cut, with digits of its hash.
fn shortened(name: &str, end: &str) -> String {
    if name.len() + end.len() <= LONGEST_NAME {
        return format!("{name}{end}");
    }
    let hash: String = sha256_hex(name).chars().take(HASH_DIGITS).collect();
    let mut left = LONGEST_NAME.saturating_sub(end.len() + hash.len() + 1);
    while !name.is_char_boundary(left) {
        left -= 1;
    }
    format!("{}_{hash}{end}", name.get(..left).unwrap_or_default())
}

/// How far a restore says that it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It is being restored; half of it may be there.
    Restoring,
    /// All of it is there and was compared.
    Restored,
    /// Nothing is left to be done but the swap.
    Ready,
}

/// What stands in the comment of the database that does not serve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Id of the restore.
    pub restore: String,
    /// Oid of the database that is replaced.
    pub replaces: u32,
    /// Oid of the one that takes its place.
    pub by: u32,
    /// How far it has come.
    pub stage: Stage,
    /// What is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<DataLoss>,
    /// The copies of the safety backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub safety: Vec<CopyResult>,
    /// What restoring took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<ProofSeconds>,
}

#[derive(Serialize, Deserialize)]
struct Comment {
    switchback: Record,
}

impl Record {
    /// Returns what a restore that begins says.
    #[must_use]
    pub fn new(restore: &str, replaces: u32, by: u32) -> Self {
        let restore = restore.to_owned();
        Self { restore, replaces, by, stage: Stage::Restoring, loss: None, safety: Vec::new(), seconds: None }
    }

    fn read(comment: &str) -> Option<Self> {
        serde_json::from_str::<Comment>(comment).ok().map(|comment| comment.switchback)
    }

    /// Returns the statement that writes it down at a database.
    #[must_use]
    pub fn statement(&self, database: &str) -> String {
        let text = serde_json::to_string(&Comment { switchback: self.clone() }).unwrap_or_default();
        format!("COMMENT ON DATABASE {} IS {}", quoted(database), literal(&text))
    }
}

/// A database of the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// Its oid.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// Whether anybody may connect.
    pub open: bool,
    /// Its comment.
    pub comment: Option<String>,
}

/// How far a restore has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// Nothing of it is there.
    Nothing,
    /// Its database was made and is not whole: it goes, and is made anew.
    Begun,
    /// Its database is whole.
    Restored(Record),
    /// All was ready and the former database is closed: only the swap is left, which must be now.
    Closed(Record),
    /// It was put in its place.
    Replaced(Record),
}

/// Looks at a server from another database of it.
///
/// # Errors
/// The query failed, or the names belong to something else.
pub async fn look(client: &Client, names: &Names, (id, replaces): (&str, u32)) -> Result<Standing, Refusal> {
    let error = |error| failed("looking for the databases of the restore", &error);
    let wanted = [&names.name, &names.beside, &names.before];
    let rows = client.query(LOOK, &[&replaces, &wanted.as_slice()]).await.map_err(error)?;
    let read = |row: &ServersRow| {
        Ok(Database { oid: row.try_get(0)?, name: row.try_get(1)?, open: row.try_get(2)?, comment: row.try_get(3)? })
    };
    let found = rows.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(error)?;
    decide(&found, names, (id, replaces))
}

/// Decides by oids how far a restore has come.
fn decide(found: &[Database], names: &Names, (id, replaces): (&str, u32)) -> Result<Standing, Refusal> {
    let named = |name: &String| found.iter().find(|database| database.name == *name);
    let (serving, beside, before) = (named(&names.name), named(&names.beside), named(&names.before));
    let recorded = |database: &Database| {
        let record = database.comment.as_deref().and_then(Record::read);
        record.filter(|record| record.restore == id && record.replaces == replaces)
    };
    let taken = |database: &Database| {
        let text = format!("database {} (oid {}) is there already and is not ours", database.name, database.oid);
        Err(refuse(Reason::NameTaken, text))
    };
    match (serving, beside, before) {
        (Some(serving), _, Some(before)) if serving.oid == replaces => taken(before),
        (Some(serving), None, None) if serving.oid == replaces => Ok(Standing::Nothing),
        (Some(serving), Some(beside), None) if serving.oid == replaces => match recorded(beside) {
            Some(record) if record.by != beside.oid => taken(beside),
            Some(record) if record.stage == Stage::Restoring => Ok(Standing::Begun),
            Some(record) if record.stage == Stage::Ready && !serving.open => Ok(Standing::Closed(record)),
            Some(record) => Ok(Standing::Restored(record)),
            // It is closed before it is made known as ours; nobody has ever been in it.
            None if !beside.open && beside.comment.is_none() => Ok(Standing::Begun),
            None => taken(beside),
        },
        (Some(serving), None, Some(before)) if before.oid == replaces => match recorded(before) {
            Some(record) if record.by == serving.oid => Ok(Standing::Replaced(record)),
            Some(_) | None => Err(uncertain(found, names, replaces)),
        },
        _ => Err(uncertain(found, names, replaces)),
    }
}

fn uncertain(found: &[Database], names: &Names, replaces: u32) -> Refusal {
    let seen: Vec<String> = found.iter().map(|database| format!("{} is oid {}", database.name, database.oid)).collect();
    let seen = if seen.is_empty() { "none of them is there".to_owned() } else { seen.join(", ") };
    let text = format!("{} was oid {replaces}; on the server {seen}", names.name);
    refuse(Reason::IdentityUncertain, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: u32 = 5;
    const NEW: u32 = 9;

    fn database(oid: u32, name: &str, comment: Option<&Record>) -> Database {
        let comment = comment.map(|record| serde_json::to_string(&Comment { switchback: record.clone() }).unwrap());
        Database { oid, name: name.to_owned(), open: true, comment }
    }

    fn record(stage: Stage) -> Record {
        Record { stage, ..Record::new("a1", OLD, NEW) }
    }

    fn before(record: Option<&Record>) -> Database {
        database(OLD, "shop_before_a1", record)
    }

    fn beside(record: Option<&Record>) -> Database {
        database(NEW, "shop_restore_a1", record)
    }

    fn decided(found: &[Database]) -> Result<Standing, Reason> {
        let names = Names::new("shop", "a1").unwrap();
        decide(found, &names, ("a1", OLD)).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn how_far_it_has_come_is_decided_by_oids() {
        let old = || database(OLD, "shop", None);
        let closed = |database: Database| Database { open: false, ..database };
        let (restored, ready) = (record(Stage::Restored), record(Stage::Ready));
        assert_eq!(decided(&[old()]), Ok(Standing::Nothing));
        assert_eq!(decided(&[old(), closed(beside(None))]), Ok(Standing::Begun));
        assert_eq!(decided(&[old(), beside(Some(&record(Stage::Restoring)))]), Ok(Standing::Begun));
        assert_eq!(decided(&[old(), beside(Some(&restored))]), Ok(Standing::Restored(restored.clone())));
        // Closed by somebody else: it is not ours to go on.
        assert_eq!(decided(&[closed(old()), beside(Some(&restored))]), Ok(Standing::Restored(restored)));
        assert_eq!(decided(&[old(), beside(Some(&ready))]), Ok(Standing::Restored(ready.clone())));
        assert_eq!(decided(&[closed(old()), beside(Some(&ready))]), Ok(Standing::Closed(ready.clone())));
        let before = closed(before(Some(&ready)));
        assert_eq!(decided(&[database(NEW, "shop", None), before]), Ok(Standing::Replaced(ready)));
    }

    #[test]
    fn threat_t13_what_is_not_ours_or_not_where_it_was_is_not_touched() {
        let old = || database(OLD, "shop", None);
        let ready = record(Stage::Ready);
        let foreign = Record { restore: "b2".into(), ..ready.clone() };
        let elsewhere = Record { by: 77, ..ready.clone() };
        // Its name, and it was open: somebody may have used it.
        assert_eq!(decided(&[old(), database(NEW, "shop_restore_a1", None)]), Err(Reason::NameTaken));
        assert_eq!(decided(&[old(), database(NEW, "shop_restore_a1", Some(&foreign))]), Err(Reason::NameTaken));
        assert_eq!(decided(&[old(), database(NEW, "shop_restore_a1", Some(&elsewhere))]), Err(Reason::NameTaken));
        assert_eq!(decided(&[old(), database(7, "shop_before_a1", None)]), Err(Reason::NameTaken));
        assert_eq!(decided(&[]), Err(Reason::IdentityUncertain));
        assert_eq!(decided(&[database(7, "shop", None)]), Err(Reason::IdentityUncertain));
        assert_eq!(decided(&[before(Some(&ready))]), Err(Reason::IdentityUncertain));
        assert_eq!(decided(&[database(7, "shop", None), before(Some(&ready))]), Err(Reason::IdentityUncertain));
        assert_eq!(decided(&[database(NEW, "shop", None), before(None)]), Err(Reason::IdentityUncertain));
        assert_eq!(decided(&[database(NEW, "shop", None), before(Some(&foreign))]), Err(Reason::IdentityUncertain));
        let renamed = database(OLD, "elsewhere", None);
        assert_eq!(decided(&[database(7, "shop", None), renamed]), Err(Reason::IdentityUncertain));
    }

    #[test]
    fn names_are_plain_and_never_too_long() {
        let names = Names::new("shop", "a1").unwrap();
        assert_eq!((names.beside.as_str(), names.before.as_str()), ("shop_restore_a1", "shop_before_a1"));
        for id in ["", "A", "a-b", "a\"b", "abcdefghijklmnopqrstu"] {
            assert_eq!(Names::new("shop", id).unwrap_err().reason, Reason::RestoreFailed, "{id}");
        }
        let (one, two) = ("\u{e4}".repeat(31), format!("{}b", "\u{e4}".repeat(31)));
        let [one, two] = [one, two].map(|name| Names::new(&name, "abcdefghijklmnopqrst").unwrap());
        for name in [&one.beside, &one.before, &two.beside, &two.before] {
            assert!(name.len() <= LONGEST_NAME && name.ends_with("_abcdefghijklmnopqrst"), "{name}");
        }
        assert!(one.beside != two.beside && one.before != two.before && one.before != one.beside);
    }
}
