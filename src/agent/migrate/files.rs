//! Files of SQL: read once, checked before anything runs.
//!
//! In: a folder as a ConfigMap is mounted, and what was applied earlier. Out: what runs now, in order, or why the
//! history does not fit.

use std::{collections::BTreeMap, path::Path};

use super::split::{Statement, split};
use crate::{
    agent::refuse,
    api::{Reason, sha256_hex},
    protocol::Refusal,
};

/// First line of a file whose one statement cannot stand in a transaction.
const NO_TRANSACTION: &str = "-- switchback: no-transaction";
/// Most bytes of all files: a ConfigMap holds no more than 1 MiB.
const LARGEST_BYTES: u64 = 16 << 20;

/// All files of a migration.
#[derive(Debug, Clone)]
pub struct Files {
    /// In the order of their names.
    pub files: Vec<File>,
    /// SHA-256 over names and contents, hex.
    pub checksum: String,
}

/// One file.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// SHA-256 of its content, hex.
    pub sha256: String,
}

impl File {
    /// Returns its statements.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement<'_>> {
        split(&self.text)
    }

    /// Returns whether it asks to run outside a transaction.
    #[must_use]
    pub fn is_outside_transaction(&self) -> bool {
        self.text.lines().next().is_some_and(|line| line.trim_end() == NO_TRANSACTION)
    }
}

/// Reads the files of a folder. Names that begin with a dot are how a mounted ConfigMap is kept, not files of it.
pub fn read(folder: &Path) -> Result<Files, Refusal> {
    let unreadable = |what: &Path, why: String| {
        refuse(Reason::MigrationFailed, format!("nothing ran: {} cannot be read: {why}", what.display()))
    };
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, error.to_string()))?;
    let mut files = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, error.to_string()))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            return Err(unreadable(&path, "its name is not text".into()));
        };
        let about = std::fs::metadata(&path).map_err(|error| unreadable(&path, error.to_string()))?;
        if name.starts_with('.') || about.is_dir() {
            continue;
        }
        bytes += about.len();
        if bytes > LARGEST_BYTES {
            return Err(unreadable(folder, "its files are larger than 16 MiB".into()));
        }
        let content = std::fs::read(&path).map_err(|error| unreadable(&path, error.to_string()))?;
        let sha256 = sha256_hex(&content);
        let text = String::from_utf8(content).map_err(|_| unreadable(&path, "it is not UTF-8".into()))?;
        if text.contains('\0') {
            return Err(unreadable(&path, "it has a NUL byte".into()));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        files.push(File { name, text, sha256 });
    }
    if files.is_empty() {
        return Err(unreadable(folder, "it has no files".into()));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let all: String = files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
    Ok(Files { files, checksum: sha256_hex(all) })
}

/// Returns the files that were not applied yet, when the ones that were are all there, unchanged and first.
pub fn pending<'a>(files: &'a Files, applied: &BTreeMap<String, String>) -> Result<Vec<&'a File>, Refusal> {
    let mut differences = Vec::new();
    let newest = files.files.last().map(|file| file.name.as_str());
    for (name, sha256) in applied {
        match files.files.iter().find(|file| file.name == *name) {
            // What only a later version has brought is what this one is declared to work on.
            None if newest.is_some_and(|newest| name.as_str() > newest) => {}
            None => differences.push(format!("{name} was applied and is missing now")),
            Some(file) if file.sha256 != *sha256 => differences.push(format!(
                "{name} was applied as {}, is {} now",
                sha256.get(..12).unwrap_or(sha256),
                file.sha256.get(..12).unwrap_or(&file.sha256)
            )),
            Some(_) => {}
        }
    }
    let pending: Vec<&File> = files.files.iter().filter(|file| !applied.contains_key(&file.name)).collect();
    if let (Some(first), Some((last, _))) = (pending.first(), applied.last_key_value())
        && first.name < *last
    {
        differences.push(format!("{} was not applied but stands before {last}, which was", first.name));
    }
    if differences.is_empty() {
        return Ok(pending);
    }
    Err(refuse(Reason::MigrationHistoryDiverged, differences.join("; ")))
}

/// Returns whether PostgreSQL wants a statement outside of transactions, by its words. Each of these that ran and was
/// cut before it was recorded does nothing more when it runs again, or fails; what changes rows would change them twice.
fn stands_alone(statement: &Statement<'_>) -> bool {
    let words = statement.words();
    let has = |word: &str| words.iter().any(|has| has == word);
    match words.iter().map(String::as_str).take(2).collect::<Vec<_>>().as_slice() {
        ["vacuum" | "cluster" | "reindex", ..] => true,
        ["create", "index" | "unique"] | ["drop", "index"] | ["refresh", "materialized"] => has("concurrently"),
        ["alter", "table"] => has("detach") && (has("concurrently") || has("finalize")),
        ["alter", "type"] => has("add") && has("value"),
        _ => false,
    }
}

/// Refuses what could not run as promised, before anything runs.
pub fn lint(file: &File) -> Result<(), Refusal> {
    let statements = file.statements();
    if file.is_outside_transaction() && statements.len() != 1 {
        let text = format!(
            "nothing ran: {} runs outside a transaction and has {} statements; it must have exactly one",
            file.name,
            statements.len()
        );
        return Err(refuse(Reason::MigrationFailed, text));
    }
    for statement in statements {
        let words = statement.words();
        let words: Vec<&str> = words.iter().take(3).map(String::as_str).collect();
        let why = match words.as_slice() {
            _ if file.is_outside_transaction() && !stands_alone(&statement) => {
                "it needs no place outside a transaction, where it could run twice; remove the first line"
            }
            ["begin" | "start" | "commit" | "end" | "abort", ..] | ["prepare", "transaction", ..] => {
                "the file is one transaction already"
            }
            ["rollback", rest @ ..] if !rest.contains(&"to") => "the file is one transaction already",
            ["copy", ..] if statement.text.to_lowercase().contains("from stdin") => "COPY has no input here",
            _ => continue,
        };
        let (name, line, first) = (&file.name, statement.line, statement.first_line());
        return Err(refuse(Reason::MigrationFailed, format!("nothing ran: {name} line {line}: {first}: {why}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_35_no_file_is_refused_and_of_ten_thousand_the_last_alone_is_due() {
        let folder = std::env::temp_dir().join(format!("switchback-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let refusal = read(&folder).unwrap_err();
        std::fs::remove_dir(&folder).unwrap();
        assert!(refusal.message.contains("it has no files"), "{}", refusal.message);
        // Two of one name cannot be: they are keys of a map, and files of a folder.
        let file = |number| File { name: format!("{number:05}.sql"), text: String::new(), sha256: String::new() };
        let files = Files { files: (0..10_000).map(file).collect(), checksum: String::new() };
        let applied = files.files.iter().take(9_999).map(|file| (file.name.clone(), file.sha256.clone())).collect();
        let due = pending(&files, &applied).unwrap();
        assert_eq!(due.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["09999.sql"]);
    }
}
