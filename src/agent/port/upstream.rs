//! The server's side of the port: one authenticated session per connection of the child.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{BufMut as _, BytesMut};
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::{backend::Message, frontend},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_postgres::{
    Client,
    fallible_iterator::FallibleIterator as _,
    tls::{MakeTlsConnect, TlsConnect as _},
};

use super::{local::Startup, sessions::Sessions};
use crate::{
    agent::{
        postgres::{
            address::Address,
            milliseconds,
            tls::{self, SslMode},
        },
        refuse,
    },
    api::Reason,
    protocol::{DatabaseFacts, Refusal},
};

/// How long a session may take to begin.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest message while a session begins.
const LONGEST: usize = 64 << 10;

/// Where sessions go, and on what conditions.
pub struct Upstream {
    /// The server, as the verified session reached it. The credentials are those of now for each session.
    pub address: Address,
    /// Its key, as the verified session saw it.
    pub certificate: Option<String>,
    /// The verified session: it must see each new one.
    pub control: Arc<Client>,
    /// What they are for.
    pub sessions: Sessions,
    /// How long a statement may wait for a lock.
    pub lock_timeout: Duration,
    /// Major version of the server.
    pub major: u32,
    /// Sessions that may be cancelled.
    pub known: Mutex<BTreeSet<(i32, i32)>>,
}

/// A session.
pub struct Session {
    /// Its bytes.
    pub stream: Box<dyn Stream>,
    /// What the server said after authentication, up to and with `ReadyForQuery`.
    pub greeting: BytesMut,
    key: (i32, i32),
}

/// A stream of bytes, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Upstream {
    /// Returns the way to the server that a verified session has reached.
    pub fn of(
        (address, facts): (&Address, &DatabaseFacts),
        control: &Arc<Client>,
        sessions: Sessions,
        lock_timeout: Duration,
    ) -> Self {
        Self {
            address: address.clone(),
            certificate: facts.certificate.clone(),
            control: Arc::clone(control),
            sessions,
            lock_timeout,
            major: facts.server_version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0),
            known: Mutex::default(),
        }
    }

    /// Begins a session as the agent, with what the client asked for where it may.
    pub async fn session(&self, startup: &Startup) -> Result<Session, Refusal> {
        let address = self.address.current();
        let session = match self.begun(startup, &address).await {
            // It let the verified session in: its password was changed since.
            Err(refusal) if refusal.reason == Reason::AuthenticationFailed => match address.renewed().await {
                Some(address) => self.begun(startup, &address).await?,
                None => return Err(refusal),
            },
            came => came?,
        };
        // Only the verified server knows this process: another one behind the same name would not.
        if !self.sessions.know(&self.control, session.key.0).await? {
            return Err(refuse(
                Reason::IdentityUncertain,
                "the server that answered is not the one that was verified, or a pooler stands before it",
            ));
        }
        if let Ok(mut known) = self.known.lock() {
            known.insert(session.key);
        }
        Ok(session)
    }

    /// Forgets a session that has ended.
    pub fn forget(&self, session: &Session) {
        if let Ok(mut known) = self.known.lock() {
            known.remove(&session.key);
        }
    }

    /// Passes a cancel request on, when it is for a session of this port.
    pub async fn cancel(&self, process_id: i32, secret_key: i32) {
        let known = self.known.lock().is_ok_and(|known| known.contains(&(process_id, secret_key)));
        if !known {
            return;
        }
        let mut request = BytesMut::new();
        frontend::cancel_request(process_id, secret_key, &mut request);
        let send = async {
            let mut stream = self.connect().await?;
            let sent = stream.write_all(&request).await;
            sent.map_err(|error| self.unreachable(&error.to_string()))?;
            // The server closes when it has done it.
            let _ = stream.read(&mut [0]).await;
            Ok::<(), Refusal>(())
        };
        let _ = tokio::time::timeout(START_TIMEOUT, send).await;
    }

    fn unreachable(&self, why: &str) -> Refusal {
        refuse(Reason::DatabaseUnreachable, format!("{}: {why}", self.address.endpoint()))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Refusal> {
        let broken = |error: io::Error| self.unreachable(&error.to_string());
        let mut stream = self.address.dial().await?;
        if self.address.mode == SslMode::Disable {
            return Ok(Box::new(stream));
        }
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        stream.write_all(&request).await.map_err(broken)?;
        if stream.read_u8().await.map_err(broken)? != b'S' {
            if self.address.mode == SslMode::Prefer && self.certificate.is_none() {
                return Ok(Box::new(stream));
            }
            return Err(self.unreachable("TLS: the server does not offer it"));
        }
        let (mut connector, seen) = tls::connector(self.address.mode, self.address.authorities.as_deref())
            .map_err(|why| self.unreachable(&format!("TLS: {why}")))?;
        let Ok(connector) =
            MakeTlsConnect::<tokio::net::TcpStream>::make_tls_connect(&mut connector, &self.address.host);
        let stream = connector.connect(stream).await;
        let stream = stream.map_err(|error| self.unreachable(&format!("TLS: {error}")))?;
        if seen.get() != self.certificate.as_ref() {
            return Err(self.unreachable("TLS: the server shows another key than a moment ago"));
        }
        Ok(Box::new(stream))
    }

    async fn begun(&self, startup: &Startup, address: &Address) -> Result<Session, Refusal> {
        let session = tokio::time::timeout(START_TIMEOUT, self.begin(startup, address)).await;
        session.map_err(|_| self.unreachable("no session in time"))?
    }

    async fn begin(&self, startup: &Startup, address: &Address) -> Result<Session, Refusal> {
        let mut stream = self.connect().await?;
        let settings = self.settings(startup, &address.username);
        let settings = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut text = BytesMut::new();
        let broken = |error: io::Error| self.unreachable(&error.to_string());
        frontend::startup_message(settings, &mut text).map_err(broken)?;
        stream.write_all(&text).await.map_err(broken)?;
        self.authenticate(&mut stream, address).await?;
        let mut greeting = BytesMut::new();
        let mut key = (0, 0);
        loop {
            let raw = read(&mut stream).await.map_err(broken)?;
            greeting.put_slice(&raw);
            match parse(raw).map_err(broken)? {
                Message::BackendKeyData(body) => key = (body.process_id(), body.secret_key()),
                Message::ReadyForQuery(_) => return Ok(Session { stream, greeting, key }),
                Message::ErrorResponse(body) => return Err(self.unreachable(&said(&body))),
                _ => {}
            }
        }
    }

    /// What the client asked for, but never another user, database, name or lock time-out.
    fn settings(&self, startup: &Startup, username: &str) -> Vec<(String, String)> {
        // What is asked for by name would count after `options`.
        let ours = [
            "user",
            "database",
            "application_name",
            "replication",
            "options",
            "lock_timeout",
            "default_transaction_read_only",
        ];
        let is_ours = |name: &str| ours.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        let asked = startup.settings.iter().filter(|(name, _)| !is_ours(name)).cloned();
        let options = startup.settings.iter().find(|(name, _)| name == "options").map_or("", |(_, value)| value);
        // The last one counts.
        let mut options =
            format!("{options} -c lock_timeout={}{}", milliseconds(self.lock_timeout), self.sessions.options());
        if self.major >= 14 {
            options.push_str(" -c client_connection_check_interval=2000");
        }
        let fixed = [
            ("user", username.to_owned()),
            ("database", self.address.dbname.clone()),
            ("application_name", self.sessions.name()),
            ("options", options),
        ];
        asked.chain(fixed.map(|(name, value)| (name.to_owned(), value))).collect()
    }

    async fn authenticate(&self, stream: &mut Box<dyn Stream>, address: &Address) -> Result<(), Refusal> {
        let refused = |why: &str| refuse(Reason::AuthenticationFailed, format!("{}: {why}", address.endpoint()));
        let broken = |error: io::Error| self.unreachable(&error.to_string());
        let password = || address.password.as_deref().ok_or_else(|| refused("the Secret has no password"));
        let mut scram = None;
        let mut proven = false;
        loop {
            let mut answer = BytesMut::new();
            match parse(read(stream).await.map_err(broken)?).map_err(broken)? {
                // A server that has not shown that it knows the password's hash is not let off.
                Message::AuthenticationOk if scram.is_some() && !proven => return Err(refused("SASL out of order")),
                Message::AuthenticationOk => return Ok(()),
                Message::ErrorResponse(body) => return Err(refused(&said(&body))),
                Message::AuthenticationCleartextPassword => {
                    frontend::password_message(password()?.as_bytes(), &mut answer).map_err(broken)?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(address.username.as_bytes(), password()?.as_bytes(), body.salt());
                    frontend::password_message(hash.as_bytes(), &mut answer).map_err(broken)?;
                }
                Message::AuthenticationSasl(_) => {
                    // The key was compared with the verified session's, so the channel is bound by that.
                    let begun = ScramSha256::new(password()?.as_bytes(), ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut answer).map_err(broken)?;
                    scram = Some(begun);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let scram = scram.as_mut().ok_or_else(|| refused("SASL out of order"))?;
                    scram.update(body.data()).map_err(|error| refused(&error.to_string()))?;
                    frontend::sasl_response(scram.message(), &mut answer).map_err(broken)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let scram = scram.as_mut().ok_or_else(|| refused("SASL out of order"))?;
                    scram.finish(body.data()).map_err(|error| refused(&error.to_string()))?;
                    proven = true;
                    continue;
                }
                _ => return Err(refused("the server asks for a way of authentication that is not known here")),
            }
            stream.write_all(&answer).await.map_err(broken)?;
        }
    }
}

/// Reads one message of the server with its head.
async fn read(stream: &mut Box<dyn Stream>) -> io::Result<BytesMut> {
    let tag = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    let body = usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(4);
    if body > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut raw = BytesMut::with_capacity(body + 5);
    raw.put_u8(tag);
    raw.put_u32(length);
    let mut rest = BytesMut::zeroed(body);
    stream.read_exact(&mut rest).await?;
    raw.put_slice(&rest);
    Ok(raw)
}

fn parse(mut raw: BytesMut) -> io::Result<Message> {
    Message::parse(&mut raw)?.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn said(body: &postgres_protocol::message::backend::ErrorResponseBody) -> String {
    let fields: Vec<(u8, String)> = body
        .fields()
        .map(|field| Ok((field.type_(), String::from_utf8_lossy(field.value_bytes()).into_owned())))
        .collect()
        .unwrap_or_default();
    let field = |kind: u8| fields.iter().find(|(found, _)| *found == kind).map_or("", |(_, text)| text);
    format!("{}: {} ({})", field(b'S'), field(b'M'), field(b'C'))
}
