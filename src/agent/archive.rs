//! Restoring an archive of `pg_dump`: the database and the extensions that are made before, and `pg_restore` as a child.
//!
//! An archive may hold code that runs while it is restored, so it is restored by a plain role. `pg_restore` is told to go
//! on after failures only so that the few that are expected can be told apart; at any other one it is ended at once.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{ChildStderr, Command},
};
use tokio_postgres::{Client, Error};

use super::{
    backup::dump::one_line,
    manifest::Extension,
    postgres::text::{literal, quoted},
    refuse,
};
use crate::{api::Reason, protocol::Refusal};

/// How a message of `pg_restore` about a failed statement begins.
const FAILED: &str = "pg_restore: error: ";
/// How the server's words in it do.
const SERVER: &str = "could not execute query: ERROR:  ";
/// How the line begins that follows and has the statement.
const STATEMENT: &str = "Command was: ";
/// What `pg_restore` says at its end when it went on after failures.
const WENT_ON: &str = "pg_restore: warning: errors ignored on restore: ";
/// Most messages that are kept for a refusal, in bytes.
const MESSAGE_BYTES: usize = 16 << 10;
/// Longest that is told of a program's messages, in characters.
const TOLD: usize = 1000;
/// Longest that is told of a statement, in characters: what it is about, not what is in it.
const STATEMENT_TOLD: usize = 80;

/// Returns the statement that makes a database with the encoding and locale of the original: its encoding's name and its
/// row of `pg_database`. More options may be added at its end.
#[must_use]
pub fn create_database(name: &str, owner: &str, (encoding, settings): (&str, &Value)) -> String {
    let text = |key: &str| settings.get(key).and_then(Value::as_str);
    let (name, owner, encoding) = (quoted(name), quoted(owner), literal(encoding));
    let mut statement = format!("CREATE DATABASE {name} TEMPLATE template0 OWNER {owner} ENCODING {encoding}");
    let mut add = |word: &str, value: Option<&str>| {
        if let Some(value) = value {
            statement.push_str(&format!(" {word} {}", literal(value)));
        }
    };
    add("LC_COLLATE", text("datcollate"));
    add("LC_CTYPE", text("datctype"));
    // Since 15 the provider is a letter; its locale has another name since 17.
    let locale = text("datlocale").or_else(|| text("daticulocale"));
    match text("datlocprovider") {
        Some("i") => {
            add("LOCALE_PROVIDER", Some("icu"));
            add("ICU_LOCALE", locale);
            add("ICU_RULES", text("daticurules"));
        }
        Some("b") => {
            add("LOCALE_PROVIDER", Some("builtin"));
            add("BUILTIN_LOCALE", locale);
        }
        _ => {}
    }
    statement
}

/// Makes an extension as it was; the version of the server's when its own is not there. Returns a schema that was made
/// for it, which belongs to `owner`.
///
/// # Errors
/// The server lacks it, or this role may not make it.
pub async fn make_extension(client: &Client, extension: &Extension, owner: &str) -> Result<Option<String>, Error> {
    let (name, schema) = (quoted(&extension.name), quoted(&extension.schema));
    let system = ["pg_catalog", "public"].contains(&extension.schema.as_str());
    if !system {
        let owner = quoted(owner);
        client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner}")).await?;
    }
    let make = format!("CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA {schema}");
    let versioned = format!("{make} VERSION {} CASCADE", literal(&extension.version));
    if client.batch_execute(&versioned).await.is_err() {
        client.batch_execute(&format!("{make} CASCADE")).await?;
    }
    Ok((!system).then(|| extension.schema.clone()))
}

/// A statement of an archive that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// The statement, or its first line.
    pub statement: &'a str,
    /// The server's words.
    pub error: &'a str,
}

impl Failure<'_> {
    /// Returns whether it is that a schema, which was made for an extension, is there already.
    #[must_use]
    pub fn is_of_schema(&self, made: &[String]) -> bool {
        made.iter().any(|schema| self.error == format!("schema \"{schema}\" already exists"))
    }
}

/// How an archive is restored.
pub struct Restoring<'a, F> {
    /// Where, for messages.
    pub place: &'a str,
    /// `pg_restore`, told where to connect and what to leave out.
    pub command: Command,
    /// Which failures do not matter.
    pub is_expected: F,
}

impl<F: Fn(Failure<'_>) -> bool> Restoring<'_, F> {
    /// Runs `pg_restore` on everything that can be read.
    ///
    /// # Errors
    /// Something could not be restored (`BackupVerificationFailed`), or the disk is full.
    pub async fn run(mut self, archive: &mut (impl AsyncRead + Unpin)) -> Result<(), Refusal> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = self.command.spawn().map_err(|error| of_io(self.place, "pg_restore", &error))?;
        let (Some(mut input), Some(messages)) = (child.stdin.take(), child.stderr.take()) else {
            let text = format!("{}: pg_restore has no input", self.place);
            return Err(refuse(Reason::BackupVerificationFailed, text));
        };
        let outcome = {
            let feeding = async {
                // When it stops reading, its messages say why.
                let _ = tokio::io::copy(archive, &mut input).await;
                let _ = input.shutdown().await;
                drop(input);
            };
            let reading = self.expected_only(messages);
            tokio::pin!(feeding, reading);
            tokio::select! {
                outcome = &mut reading => outcome,
                () = &mut feeding => reading.await,
            }
        };
        let expected = match outcome {
            Ok(expected) => expected,
            Err(refusal) => {
                let _ = child.kill().await;
                return Err(refusal);
            }
        };
        let status = child.wait().await.map_err(|error| of_io(self.place, "pg_restore", &error))?;
        if status.success() || (status.code() == Some(1) && expected.all_told) {
            // Whoever sends it is not left with bytes that nobody takes.
            let _ = tokio::io::copy(archive, &mut tokio::io::sink()).await;
            return Ok(());
        }
        Err(said(self.place, &format!("pg_restore ended with {status}"), &expected.messages))
    }

    /// Reads messages to their end; a failure that is not expected is a refusal at once.
    async fn expected_only(&self, messages: ChildStderr) -> Result<Expected, Refusal> {
        let mut lines = BufReader::new(messages).lines();
        let (mut kept, mut seen, mut told) = (Vec::new(), 0_u64, None);
        // The server's words, until the line with the statement has come.
        let mut failed: Option<String> = None;
        // What cannot be read as text is no message that is known.
        while let Ok(Some(line)) = lines.next_line().await {
            if kept.len() < MESSAGE_BYTES {
                kept.extend_from_slice(line.as_bytes());
                kept.push(b'\n');
            }
            if let (Some(statement), Some(error)) = (line.strip_prefix(STATEMENT), &failed) {
                self.judge(Failure { statement, error })?;
                failed = None;
                seen += 1;
            } else if let Some(count) = line.strip_prefix(WENT_ON) {
                told = count.trim().parse().ok();
            } else if let Some(failure) = line.strip_prefix(FAILED) {
                let Some(error) = failure.strip_prefix(SERVER) else {
                    return Err(said(self.place, "pg_restore", failure.as_bytes()));
                };
                // One whose statement was not told is judged without.
                if let Some(error) = failed.replace(error.to_owned()) {
                    self.judge(Failure { statement: "", error: &error })?;
                    seen += 1;
                }
            }
        }
        if let Some(error) = failed {
            self.judge(Failure { statement: "", error: &error })?;
            seen += 1;
        }
        Ok(Expected { messages: kept, all_told: told == Some(seen) })
    }

    fn judge(&self, failure: Failure<'_>) -> Result<(), Refusal> {
        if (self.is_expected)(failure) {
            return Ok(());
        }
        let Failure { statement, error } = failure;
        let short: String = statement.chars().take(STATEMENT_TOLD).collect();
        Err(said(self.place, "pg_restore", format!("{error}: {short}").as_bytes()))
    }
}

/// What `pg_restore` said.
struct Expected {
    messages: Vec<u8>,
    /// It went on after exactly as many failures as were seen.
    all_told: bool,
}

/// Returns what a program said as a refusal.
#[must_use]
pub fn said(place: &str, program: &str, messages: &[u8]) -> Refusal {
    let text = one_line(&String::from_utf8_lossy(messages));
    let full = text.contains("No space left on device") || text.contains("Disk quota exceeded");
    let reason = if full { Reason::NoSpace } else { Reason::BackupVerificationFailed };
    let short: String = text.chars().take(TOLD).collect();
    refuse(reason, format!("{place}: {program}: {short}"))
}

/// Returns a failure of files as a refusal.
#[must_use]
pub fn of_io(place: &str, what: &str, error: &std::io::Error) -> Refusal {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let reason = if full { Reason::NoSpace } else { Reason::BackupVerificationFailed };
    refuse(reason, format!("{place}: {what}: {error}"))
}
