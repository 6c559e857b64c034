//! Who a database is, and whether it is who it must be.
//!
//! A copy that was started on its own has the same system identifier, oid and marker: only the epoch tells, which rises
//! at each write contact of ours and never falls.

use tokio_postgres::{Client, Row};

use super::{
    Seen,
    address::Address,
    failure::{failed, words},
    schema,
};
use crate::{
    agent::refuse,
    api::{Environment, Reason},
    protocol::{DatabaseFacts, DatabaseTarget, Identity, Marker, Refusal},
};

/// Oldest and newest major version that was tried.
const SUPPORTED: std::ops::RangeInclusive<i32> = 13..=18;
/// One row of everything but the marker.
const LOOK: &str = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
     pg_catalog.pg_is_in_recovery(), \
     pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on', \
     pg_catalog.current_setting('switchback.session', true), \
     pg_catalog.pg_backend_pid(), \
     (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()), \
     d.oid, d.datname::pg_catalog.text, pg_catalog.pg_database_size(d.oid) \
     FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";
const MARKER: &str = "SELECT uuid::pg_catalog.text, environment, epoch FROM switchback.identity";

/// Looks at the database of a session that has just begun; returns its backend's process id and the facts, but for the
/// marker.
pub(super) async fn look(client: &Client, address: &Address, seen: Seen) -> Result<(i32, DatabaseFacts), Refusal> {
    let doing = format!("{}: looking at the database", address.endpoint());
    let row = client.query_one(LOOK, &[]).await.map_err(|error| failed(&doing, &error))?;
    let field = |error| failed(&doing, &error);
    let number: i32 = row.try_get(0).map_err(field)?;
    writable(&row, &seen, address).map_err(|error| failed(&doing, &error))??;
    if !SUPPORTED.contains(&(number / 10_000)) {
        let (oldest, newest) = (SUPPORTED.start(), SUPPORTED.end());
        let version = version(number);
        let text = format!("{}: PostgreSQL {version}; supported are {oldest} to {newest}", address.endpoint());
        return Err(refuse(Reason::UnsupportedVersion, text));
    }
    let size: i64 = row.try_get(8).map_err(field)?;
    let identity = Identity {
        system_identifier: row.try_get(5).map_err(field)?,
        oid: row.try_get(6).map_err(field)?,
        name: row.try_get(7).map_err(field)?,
        marker: None,
    };
    let facts = DatabaseFacts {
        identity,
        endpoint: address.endpoint(),
        certificate: seen.certificate,
        server_version: version(number),
        size_bytes: u64::try_from(size).unwrap_or(0),
    };
    Ok((row.try_get(4).map_err(field)?, facts))
}

/// Refuses what is no primary or stands behind a pooler.
fn writable(row: &Row, seen: &Seen, address: &Address) -> Result<Result<(), Refusal>, tokio_postgres::Error> {
    let endpoint = address.endpoint();
    let probe: Option<String> = row.try_get(3)?;
    if probe.as_deref() != Some(&seen.probe) {
        let text = format!("{endpoint}: what was set when the session began cannot be read back: a pooler is between");
        return Ok(Err(refuse(Reason::PoolerNotSupported, text)));
    }
    if row.try_get(1)? {
        return Ok(Err(refuse(Reason::NotPrimary, format!("{endpoint}: the server is a replica or in recovery"))));
    }
    if row.try_get(2)? {
        return Ok(Err(refuse(Reason::NotPrimary, format!("{endpoint}: the database takes no writes: read-only"))));
    }
    Ok(Ok(()))
}

/// Returns `15.18` for 150018.
fn version(number: i32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}

/// Reads the marker of a database; none when it was never marked.
pub async fn read_marker(client: &Client) -> Result<Option<Marker>, Refusal> {
    let doing = "reading switchback.identity";
    schema::refuse_foreign(client).await?;
    let there = client.query_one("SELECT pg_catalog.to_regclass('switchback.identity') IS NOT NULL", &[]).await;
    if !there.and_then(|row| row.try_get::<_, bool>(0)).map_err(|error| failed(doing, &error))? {
        return Ok(None);
    }
    let rows = client.query(MARKER, &[]).await.map_err(|error| match error.code().map(|code| code.code()) {
        // A schema of that name that is not ours.
        Some("42703") => refuse(Reason::IdentityUncertain, format!("{doing}: {}", words(&error))),
        _ => failed(doing, &error),
    })?;
    rows.first().map(marker).transpose()
}

/// Reads one row of `uuid, environment, epoch`.
pub(super) fn marker(row: &Row) -> Result<Marker, Refusal> {
    let foreign = |what: &str| refuse(Reason::IdentityUncertain, format!("switchback.identity has a strange {what}"));
    let uuid: &str = row.try_get(0).map_err(|_| foreign("uuid"))?;
    let environment: &str = row.try_get(1).map_err(|_| foreign("environment"))?;
    Ok(Marker {
        uuid: uuid.parse().map_err(|_| foreign("uuid"))?,
        environment: serde_json::from_value(environment.into()).map_err(|_| foreign("environment"))?,
        epoch: row.try_get(2).map_err(|_| foreign("epoch"))?,
    })
}

/// Decides whether the database that was seen is the target: system identifier, oid, name and marker must be the
/// recorded ones, the epoch at least as high, and the marker's environment the declared one.
pub fn verify(target: &DatabaseTarget, seen: &Identity) -> Result<(), Refusal> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, recorded: String, found: String| {
        if recorded != found {
            differences.push(format!("{what} was {recorded}, is {found}"));
        }
    };
    if let Some(expected) = &target.expect {
        compare("system identifier", expected.system_identifier.clone(), seen.system_identifier.clone());
        compare("oid", expected.oid.to_string(), seen.oid.to_string());
        compare("name", expected.name.clone(), seen.name.clone());
        if let Some(before) = &expected.marker {
            compare("marker", before.uuid.to_string(), marker_text(seen));
        }
    }
    if let Some(marker) = &seen.marker
        && marker.environment != target.environment
    {
        let (declared, found) = (name(target.environment), name(marker.environment));
        differences.push(format!("environment is declared {declared}, the marker says {found}"));
    }
    if let (Some(before), Some(now)) = (target.expect.as_ref().and_then(|expect| expect.marker.as_ref()), &seen.marker)
        && now.epoch < before.epoch
    {
        differences.push(format!("epoch was {}, is {}: an older copy", before.epoch, now.epoch));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let text = format!("{} is not the database that was recorded: {}", target.name, differences.join("; "));
    Err(refuse(Reason::IdentityUncertain, text))
}

/// Decides whether another database is on the target's server.
pub(super) fn verify_server(target: &DatabaseTarget, seen: &Identity) -> Result<(), Refusal> {
    let expected = target.expect.as_ref().map(|expected| expected.system_identifier.as_str());
    match expected {
        Some(recorded) if recorded != seen.system_identifier => {
            let (name, found) = (&target.name, &seen.system_identifier);
            let text = format!(
                "the server of {name} is not the one that was recorded: system identifier was {recorded}, is {found}"
            );
            Err(refuse(Reason::IdentityUncertain, text))
        }
        _ => Ok(()),
    }
}

/// Refuses an address at which the database was not seen; before a password is sent there.
pub(super) fn at_its_place(target: &DatabaseTarget, endpoint: &str) -> Result<(), Refusal> {
    match &target.endpoint {
        Some(recorded) if recorded != endpoint => {
            let text = format!(
                "{} is not the database that was recorded: endpoint was {recorded}, the Secret says {endpoint}",
                target.name
            );
            Err(refuse(Reason::IdentityUncertain, text))
        }
        _ => Ok(()),
    }
}

fn name(environment: Environment) -> &'static str {
    environment.into()
}

fn marker_text(identity: &Identity) -> String {
    identity.marker.as_ref().map_or_else(|| "none".to_owned(), |marker| marker.uuid.to_string())
}

/// Returns the marker that is recorded and was found, or that there is none: such a database cannot be worked on.
pub fn marked<'a>(target: &DatabaseTarget, seen: &'a Identity) -> Result<&'a Marker, Refusal> {
    let recorded = target.expect.as_ref().is_some_and(|expected| expected.marker.is_some());
    match &seen.marker {
        Some(marker) if recorded => Ok(marker),
        Some(_) => Err(refuse(Reason::NotMarked, format!("{}: its marker is not recorded yet", target.name))),
        None => Err(refuse(Reason::NotMarked, format!("{} was never marked", target.name))),
    }
}
