//! Where a database is and as whom it is reached: the Secret's files, and the TCP connection.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::tls::SslMode;
use crate::{
    agent::{refuse, secret},
    api::Reason,
    protocol::Refusal,
};

/// How long one address of the host may take to accept a connection.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may be silent before it is asked, and between questions; after three it is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long sent bytes may stay unacknowledged before the connection counts as gone.
const UNACKNOWLEDGED: Duration = Duration::from_secs(45);

/// How long it may take until a Secret's new value stands in the mounted files: the kubelet looks once in 60 to 90 s.
const MOUNTED: Duration = Duration::from_secs(100);
/// How often the files are read meanwhile.
const PAUSE: Duration = Duration::from_millis(500);

/// Where a database is and as whom it is reached.
#[derive(Clone)]
pub struct Address {
    /// Folder with the Secret's files; empty where nobody's Secret says it.
    pub folder: PathBuf,
    /// Host, as a certificate names it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub dbname: String,
    /// Role.
    pub username: String,
    /// Password, when there is one.
    pub password: Option<String>,
    /// How much TLS.
    pub mode: SslMode,
    /// Authorities to trust, PEM.
    pub authorities: Option<String>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.username, self.endpoint(), self.dbname)
    }
}

impl Address {
    /// Reads the files of a Secret.
    pub fn read(folder: &Path) -> Result<Self, Refusal> {
        let port = secret::required(folder, "port")?;
        let mode = secret::optional(folder, "sslmode")?.unwrap_or_else(|| "prefer".to_owned());
        let known = "is none of disable, prefer, require, verify-ca, verify-full";
        let address = Self {
            folder: folder.to_owned(),
            host: secret::required(folder, "host")?,
            port: port.parse().map_err(|_| secret::lacks(folder, "port", "is no port number"))?,
            dbname: secret::required(folder, "dbname")?,
            username: secret::required(folder, "username")?,
            password: secret::optional(folder, "password")?,
            mode: SslMode::parse(&mode).ok_or_else(|| secret::lacks(folder, "sslmode", known))?,
            authorities: secret::optional(folder, "ca.crt")?,
        };
        if matches!(address.mode, SslMode::VerifyCa | SslMode::VerifyFull) && address.authorities.is_none() {
            return Err(secret::lacks(folder, "ca.crt", &format!("is missing or empty, which sslmode {mode} needs")));
        }
        Ok(address)
    }

    /// Returns the same with the credentials that the Secret's files hold now, when they can be read.
    #[must_use]
    pub fn current(&self) -> Self {
        match Self::read(&self.folder) {
            Ok(Self { username, password, .. }) => Self { username, password, ..self.clone() },
            Err(_) => self.clone(),
        }
    }

    /// Waits until the Secret's files hold other credentials, since these were refused; returns the same with those.
    /// `None`: they did not change in the time that a change may take.
    pub async fn renewed(&self) -> Option<Self> {
        let is_other = |now: &Self| (&now.username, &now.password) != (&self.username, &self.password);
        let wait = async {
            loop {
                let now = self.current();
                if is_other(&now) {
                    return now;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(MOUNTED, wait).await.ok()
    }

    /// Returns `host:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }

    /// Connects to the first address of the host that answers.
    pub async fn dial(&self) -> Result<TcpStream, Refusal> {
        let unreachable = |why: String| refuse(Reason::DatabaseUnreachable, format!("{}: {why}", self.endpoint()));
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let addresses = addresses.map_err(|error| unreachable(format!("the name is not resolved: {error}")))?;
        let mut why = "the name has no address".to_owned();
        for address in addresses {
            match tokio::time::timeout(TCP_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    return keep_alive(stream).map_err(|error| unreachable(format!("the socket: {error}")));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    "the connection is refused".clone_into(&mut why);
                }
                Ok(Err(error)) => why = format!("no connection: {error}"),
                Err(_) => why = format!("no answer within {} s: timed out", TCP_TIMEOUT.as_secs()),
            }
        }
        Err(unreachable(why))
    }
}

/// A connection whose peer is gone must be noticed: the lock is worth no more than that.
fn keep_alive(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(stream)
}
