//! Restoring an archive: what needs a superuser is made before, everything else by the plain role.

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::ChildStderr,
};
use tokio_postgres::{Client, Error};

use super::{
    Request,
    server::{DATABASE, PLAIN, SUPERUSER, Server, of_io, said},
};
use crate::{
    agent::{manifest::Extension, postgres::failure::words, refuse},
    api::Reason,
    protocol::Refusal,
};

/// How a message of `pg_restore` about a failed statement begins.
const FAILED: &str = "pg_restore: error: ";
/// What `pg_restore` says at its end when it went on after failures.
const WENT_ON: &str = "pg_restore: warning: errors ignored on restore: ";
/// Most messages that are kept for a refusal, in bytes.
const MESSAGE_BYTES: usize = 16 << 10;

/// Makes roles, the database, extensions and what the plain role needs of them; returns the schemas that were made for
/// extensions.
///
/// # Errors
/// The tools lack a locale or an extension (`ExtensionNotInTools`).
pub async fn prepare(server: &Server, request: &Request) -> Result<Vec<String>, Refusal> {
    let client = server.connect_superuser("postgres").await?;
    run(&client, &server.plain_role()).await?;
    for role in request.roles.iter().filter(|role| ![SUPERUSER, PLAIN].contains(&role.as_str())) {
        run(&client, &format!("CREATE ROLE {} NOLOGIN", quoted(role))).await?;
    }
    if let Err(error) = client.batch_execute(&create_database(request)).await {
        let text = format!("the database's locale cannot be had in the tools' image: {}", words(&error));
        return Err(refuse(Reason::ExtensionNotInTools, text));
    }
    drop(client);
    let client = server.connect_superuser(DATABASE).await?;
    run(&client, "SET client_min_messages = warning").await?;
    let mut schemas = Vec::new();
    for extension in &request.extensions {
        schemas.extend(make_extension(&client, extension).await?);
    }
    Ok(schemas)
}

/// Returns the statement that makes the database with the encoding and locale of the original.
fn create_database(request: &Request) -> String {
    let text = |key: &str| request.settings.get(key).and_then(Value::as_str);
    let mut statement =
        format!("CREATE DATABASE {DATABASE} TEMPLATE template0 OWNER {PLAIN} ENCODING {}", literal(&request.encoding));
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

/// Makes an extension as it was; the version of the tools when its own is not there. Returns a schema that was made.
async fn make_extension(client: &Client, extension: &Extension) -> Result<Option<String>, Refusal> {
    let (name, schema) = (quoted(&extension.name), quoted(&extension.schema));
    let system = ["pg_catalog", "public"].contains(&extension.schema.as_str());
    if !system {
        run(client, &format!("CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {PLAIN}")).await?;
    }
    let make = format!("CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA {schema}");
    let versioned = format!("{make} VERSION {} CASCADE", literal(&extension.version));
    if client.batch_execute(&versioned).await.is_err() {
        client.batch_execute(&format!("{make} CASCADE")).await.map_err(|error| missing(extension, &error))?;
    }
    // Rows of an extension's own tables are in a dump as well, and its wrappers are used by servers.
    run(client, &format!("GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {PLAIN}")).await?;
    let wrappers = "SELECT 'GRANT USAGE ON FOREIGN DATA WRAPPER ' || pg_catalog.quote_ident(fdwname) FROM \
         pg_catalog.pg_foreign_data_wrapper";
    let wrappers = client.query(wrappers, &[]).await.map_err(|error| failed("listing wrappers", &error))?;
    for row in wrappers {
        let grant: String = row.try_get(0).map_err(|error| failed("listing wrappers", &error))?;
        run(client, &format!("{grant} TO {PLAIN}")).await?;
    }
    Ok((!system).then(|| extension.schema.clone()))
}

fn missing(extension: &Extension, error: &Error) -> Refusal {
    let text = format!("extension {} {}: {}", extension.name, extension.version, words(error));
    refuse(Reason::ExtensionNotInTools, text)
}

/// Runs `pg_restore` as the plain role on everything that can be read.
///
/// It is told to go on after failures only so that the few that are expected can be told apart; at any other one it is
/// ended at once.
///
/// # Errors
/// Something could not be restored (`BackupVerificationFailed`), or the disk is full.
pub async fn run_restore(
    server: &Server,
    schemas: &[String],
    archive: &mut (impl AsyncRead + Unpin),
) -> Result<(), Refusal> {
    let mut command = server.command("pg_restore", PLAIN)?;
    command.args(["--no-owner", "--no-privileges", "--no-tablespaces", "--no-comments", "--no-publications"]);
    command.args(["--no-subscriptions", "--no-security-labels", "--no-password", "--dbname", DATABASE]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().map_err(|error| of_io("pg_restore", &error))?;
    let (Some(mut input), Some(messages)) = (child.stdin.take(), child.stderr.take()) else {
        return Err(refuse(Reason::BackupVerificationFailed, "scratch: pg_restore has no input"));
    };
    let feeding = async {
        // When it stops reading, its messages say why.
        let _ = tokio::io::copy(archive, &mut input).await;
        let _ = input.shutdown().await;
        drop(input);
    };
    let reading = expected_only(messages, schemas);
    tokio::pin!(feeding, reading);
    let outcome = tokio::select! {
        outcome = &mut reading => outcome,
        () = &mut feeding => reading.await,
    };
    let expected = match outcome {
        Ok(expected) => expected,
        Err(refusal) => {
            let _ = child.kill().await;
            return Err(refusal);
        }
    };
    let status = child.wait().await.map_err(|error| of_io("pg_restore", &error))?;
    if status.success() || (status.code() == Some(1) && expected.all_told) {
        return Ok(());
    }
    Err(said(&format!("pg_restore ended with {status}"), &expected.messages))
}

/// What `pg_restore` said.
struct Expected {
    messages: Vec<u8>,
    /// It went on after exactly as many failures as were seen.
    all_told: bool,
}

/// Reads messages to their end; a failure that is not expected is a refusal at once.
async fn expected_only(messages: ChildStderr, schemas: &[String]) -> Result<Expected, Refusal> {
    let mut lines = BufReader::new(messages).lines();
    let (mut kept, mut seen, mut told) = (Vec::new(), 0_u64, None);
    // What cannot be read as text is no message that is known.
    while let Ok(Some(line)) = lines.next_line().await {
        if kept.len() < MESSAGE_BYTES {
            kept.extend_from_slice(line.as_bytes());
            kept.push(b'\n');
        }
        if let Some(count) = line.strip_prefix(WENT_ON) {
            told = count.trim().parse().ok();
        } else if let Some(failure) = line.strip_prefix(FAILED) {
            if !is_expected(failure, schemas) {
                return Err(said("pg_restore", line.as_bytes()));
            }
            seen += 1;
        }
    }
    Ok(Expected { messages: kept, all_told: told == Some(seen) })
}

/// A schema that was made for an extension is there already. Event triggers belong to superusers: they hold no rows and
/// would run whatever they like.
fn is_expected(failure: &str, schemas: &[String]) -> bool {
    let Some(server) = failure.strip_prefix("could not execute query: ERROR:  ") else { return false };
    server.starts_with("permission denied to create event trigger ")
        || schemas.iter().any(|schema| server == format!("schema \"{schema}\" already exists"))
}

/// Returns a name that cannot break out.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\"").replace('\0', ""))
}

/// Returns a text that cannot break out.
pub fn literal(text: &str) -> String {
    let plain = text.replace('\'', "''").replace('\0', "");
    if plain.contains('\\') { format!("E'{}'", plain.replace('\\', "\\\\")) } else { format!("'{plain}'") }
}

async fn run(client: &Client, statement: &str) -> Result<(), Refusal> {
    client.batch_execute(statement).await.map_err(|error| failed("preparing the scratch database", &error))
}

fn failed(doing: &str, error: &Error) -> Refusal {
    refuse(Reason::BackupVerificationFailed, format!("scratch: {doing}: {}", words(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_cannot_break_out() {
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("a'b"), "'a''b'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }
}
