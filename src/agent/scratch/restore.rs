//! Restoring an archive: what needs a superuser is made before, everything else by the plain role.

use tokio::io::AsyncRead;
use tokio_postgres::{Client, Error};

use super::{
    Request,
    server::{DATABASE, PLAIN, SUPERUSER, Server},
};
use crate::{
    agent::{
        archive::{self, Failure, Restoring},
        manifest::Extension,
        postgres::{failure::words, text::quoted},
        refuse,
    },
    api::Reason,
    protocol::Refusal,
};

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
    let create = archive::create_database(DATABASE, PLAIN, (&request.encoding, &request.settings));
    if let Err(error) = client.batch_execute(&create).await {
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

/// Makes an extension; returns a schema that was made for it.
async fn make_extension(client: &Client, extension: &Extension) -> Result<Option<String>, Refusal> {
    let made = archive::make_extension(client, extension, PLAIN).await.map_err(|error| missing(extension, &error))?;
    let schema = quoted(&extension.schema);
    // Rows of an extension's own tables are in a dump as well, and its wrappers are used by servers.
    run(client, &format!("GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {PLAIN}")).await?;
    let wrappers = "SELECT 'GRANT USAGE ON FOREIGN DATA WRAPPER ' || pg_catalog.quote_ident(fdwname) FROM \
         pg_catalog.pg_foreign_data_wrapper";
    let wrappers = client.query(wrappers, &[]).await.map_err(|error| failed("listing wrappers", &error))?;
    for row in wrappers {
        let grant: String = row.try_get(0).map_err(|error| failed("listing wrappers", &error))?;
        run(client, &format!("{grant} TO {PLAIN}")).await?;
    }
    Ok(made)
}

fn missing(extension: &Extension, error: &Error) -> Refusal {
    let text = format!("extension {} {}: {}", extension.name, extension.version, words(error));
    refuse(Reason::ExtensionNotInTools, text)
}

/// Runs `pg_restore` as the plain role on everything that can be read.
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
    // Event triggers belong to superusers: they hold no rows and would run whatever they like.
    let is_expected = |failure: Failure<'_>| {
        failure.is_of_schema(schemas) || failure.error.starts_with("permission denied to create event trigger ")
    };
    Restoring { place: "scratch", command, is_expected }.run(archive).await
}

async fn run(client: &Client, statement: &str) -> Result<(), Refusal> {
    client.batch_execute(statement).await.map_err(|error| failed("preparing the scratch database", &error))
}

fn failed(doing: &str, error: &Error) -> Refusal {
    refuse(Reason::BackupVerificationFailed, format!("scratch: {doing}: {}", words(error)))
}
