//! PostgreSQL: sessions that are known to be on the right server, as a writer, without a pooler between.
//!
//! In: a database and who it must be. Out: a session that was prepared and verified, or a refusal. No session of ours
//! is used before it has passed here.

pub mod address;
pub mod backends;
pub mod failure;
pub mod fingerprint;
pub mod identity;
pub mod ledger;
pub mod libpq;
pub mod lock;
pub mod schema;
pub mod text;
pub mod tls;

use std::{path::Path, time::Duration};

use tokio::sync::watch;
use tokio_postgres::{Client, Config, config::SslMode as Negotiation};
use uuid::Uuid;

use self::{address::Address, failure::failed, tls::SslMode};
use crate::{
    agent::{refuse, secret},
    api::Reason,
    protocol::{DatabaseFacts, DatabaseTarget, Refusal},
};

/// How long all of TLS, authentication and the first questions may take.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest application name that PostgreSQL keeps.
const LONGEST_NAME: usize = 63;
/// What every session of ours sets, where the server knows it. A time-out would end a lock or a snapshot in the middle;
/// a peer that is gone must not hold a lock for hours, and its statement must not run on.
const SETTINGS: &str = "SELECT pg_catalog.set_config(s.name, v.setting, false) FROM pg_catalog.pg_settings s \
     JOIN (VALUES ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), \
     ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('client_connection_check_interval', '2s'), \
     ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'), \
     ('tcp_user_timeout', '45000')) v(name, setting) ON v.name OPERATOR(pg_catalog.=) s.name";

/// What the ledger says must survive a crash of the server.
const DURABLE: &str = "SELECT pg_catalog.set_config('synchronous_commit', 'on', false) \
     WHERE pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off'";

/// A session that was prepared and verified.
pub struct Connected {
    /// Statements go here.
    pub client: Client,
    /// Process id of the session's backend.
    pub pid: i32,
    /// What was seen of the database when the session began.
    pub facts: DatabaseFacts,
    /// Resolves when the session is gone.
    pub gone: Gone,
    /// Where it is connected to.
    pub address: Address,
}

/// Tells when a session is gone.
#[derive(Clone)]
pub struct Gone(watch::Receiver<String>);

impl Gone {
    /// Returns when the session is gone, with the reason as far as it is known.
    pub async fn wait(&self) -> String {
        let mut receiver = self.0.clone();
        while receiver.changed().await.is_ok() {}
        let said = receiver.borrow().clone();
        if said.is_empty() { "the connection was closed".to_owned() } else { said }
    }

    /// Returns whether the session is gone already.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

/// How often a session is tried to be started when nothing answers.
const TRIES: u32 = 3;
/// How long is waited before the second try; twice that before the third.
const WAIT: Duration = Duration::from_secs(1);

/// Starts a session with the application name `switchback <purpose>`: `search_path` is `pg_catalog`, row security is
/// off, no time-out is on, and the database is who the target says it must be.
pub async fn connect(target: &DatabaseTarget, purpose: &str) -> Result<Connected, Refusal> {
    patiently(target, None, purpose, Refused::IsRenewed).await
}

/// Starts a session like that for somebody who asks again anyway.
pub async fn connect_briefly(target: &DatabaseTarget, purpose: &str) -> Result<Connected, Refusal> {
    patiently(target, None, purpose, Refused::IsTold).await
}

/// Starts a session like that with another database of the same server: nothing but the server is known to be the right
/// one.
pub async fn connect_beside(target: &DatabaseTarget, database: &str, purpose: &str) -> Result<Connected, Refusal> {
    patiently(target, Some(database), purpose, Refused::IsRenewed).await
}

/// What becomes of credentials that are refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// Where they were good before, others are waited for: whoever changes a password changes the Secret as well.
    IsRenewed,
    /// It is told at once.
    IsTold,
}

async fn patiently(
    target: &DatabaseTarget,
    beside: Option<&str>,
    purpose: &str,
    refused: Refused,
) -> Result<Connected, Refusal> {
    let mut address = Address::read(&target.secret)?;
    let (mut tries, mut renews) = (1, refused == Refused::IsRenewed && target.expect.is_some());
    loop {
        match connect_once((target, &address), beside, purpose).await {
            Err(refusal) if refusal.reason == Reason::AuthenticationFailed && renews => {
                address = address.renewed().await.ok_or_else(|| unchanged(refusal))?;
                renews = false;
            }
            // A name server or a Service that is away for a moment is no reason to give a release up.
            Err(refusal) if refusal.reason == Reason::DatabaseUnreachable && tries < TRIES => {
                tokio::time::sleep(WAIT * tries).await;
                tries += 1;
            }
            came => return came,
        }
    }
}

fn unchanged(Refusal { reason, message }: Refusal) -> Refusal {
    refuse(reason, format!("{message}; it let us in before, and the Secret holds no other value since"))
}

async fn connect_once(
    (target, address): (&DatabaseTarget, &Address),
    beside: Option<&str>,
    purpose: &str,
) -> Result<Connected, Refusal> {
    let mut address = address.clone();
    let endpoint = address.endpoint();
    identity::at_its_place(target, &endpoint)?;
    let verify = if beside.is_some() { identity::verify_server } else { identity::verify };
    if let Some(database) = beside {
        database.clone_into(&mut address.dbname);
    }
    let started = async {
        let connected = start((&target.secret, address), purpose).await?;
        verify(target, &connected.facts.identity)?;
        Ok(connected)
    };
    match tokio::time::timeout(START_TIMEOUT, started).await {
        Ok(connected) => connected,
        Err(_) => Err(refuse(
            Reason::DatabaseUnreachable,
            format!("{endpoint}: no session within {} s: timed out", START_TIMEOUT.as_secs()),
        )),
    }
}

async fn start((folder, address): (&Path, Address), purpose: &str) -> Result<Connected, Refusal> {
    let stream = address.dial().await?;
    let (mut connector, seen) = tls::connector(address.mode, address.authorities.as_deref())
        .map_err(|why| secret::lacks(folder, "ca.crt", &why))?;
    let connector =
        tokio_postgres::tls::MakeTlsConnect::<tokio::net::TcpStream>::make_tls_connect(&mut connector, &address.host);
    let Ok(connector) = connector;
    // What is set here must be read back later: a pooler would give the session to somebody else.
    let probe = Uuid::new_v4().to_string();
    let config = config(&address, purpose, &probe);
    let connected = config.connect_raw(stream, connector).await;
    let (client, connection) = connected.map_err(|error| failure::not_connected(&address.endpoint(), &error))?;
    let gone = drive(connection);
    let seen = Seen { probe, certificate: seen.get().cloned() };
    let (pid, mut facts) = identity::look(&client, &address, seen).await?;
    // Not before: behind a pooler, settings would stay with somebody else's session.
    settle(&client).await?;
    facts.identity.marker = identity::read_marker(&client).await?;
    Ok(Connected { client, pid, facts, gone, address })
}

/// What is known of a session before its first statement.
pub struct Seen {
    /// What was set at its start.
    pub probe: String,
    /// SHA-256 of the server's key.
    pub certificate: Option<String>,
}

fn config(address: &Address, purpose: &str, probe: &str) -> Config {
    let mut config = Config::new();
    let name: String = format!("switchback {purpose}").chars().take(LONGEST_NAME).collect();
    config.user(&address.username).dbname(&address.dbname).application_name(&name);
    // A role's own time-out could end the very first statement.
    config.options(format!("-c switchback.session={probe} -c statement_timeout=0 -c lock_timeout=0"));
    config.ssl_mode(match address.mode {
        SslMode::Disable => Negotiation::Disable,
        SslMode::Prefer => Negotiation::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Negotiation::Require,
    });
    if let Some(password) = &address.password {
        config.password(password);
    }
    config
}

/// Sets what a session of ours needs.
async fn settle(client: &Client) -> Result<(), Refusal> {
    let all = format!("SET search_path = pg_catalog; SET row_security = off; {SETTINGS}; {DURABLE}");
    client.batch_execute(&all).await.map_err(|error| failed("preparing the session", &error))
}

/// Takes a session back from users' statements.
pub async fn settle_again(client: &Client) -> Result<(), Refusal> {
    client.batch_execute("DISCARD ALL").await.map_err(|error| failed("preparing the session", &error))?;
    settle(client).await
}

/// Gives a session to users' statements: their own `search_path`, nothing of what ran before, no time-out but that for
/// locks.
pub async fn settle_for_users(client: &Client, lock_timeout: Duration) -> Result<(), Refusal> {
    let error = |error| failed("preparing the session", &error);
    client.batch_execute("DISCARD ALL").await.map_err(error)?;
    let all = format!(
        "SET row_security = off; SET standard_conforming_strings = on; {SETTINGS}; {DURABLE}; SET lock_timeout = {}",
        milliseconds(lock_timeout)
    );
    client.batch_execute(&all).await.map_err(error)
}

/// Returns a time-out as PostgreSQL takes it.
#[must_use]
pub fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

fn drive<S, T>(connection: tokio_postgres::Connection<S, T>) -> Gone
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, receiver) = watch::channel(String::new());
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            sender.send_replace(failure::words(&error));
        }
    });
    Gone(receiver)
}
