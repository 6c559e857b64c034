//! A restored copy that is worked on: where it is found, and as whom.
//!
//! The server listens on loopback, of the pod alone. The files by which our own sessions reach it lie in the folder that
//! the containers share. Containers of users reach it through a port that asks for no password and lets nobody be another
//! role than the one that restored, which owns everything; once that is closed it stays closed.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};
use tokio_postgres::Client;

use super::{
    Keep, Request, SOCKET,
    serve::Scratch,
    server::{PLAIN, SUPERUSER, Server},
};
use crate::{
    agent::{
        port::{Port, Sessions, Upstream},
        postgres::{
            address::Address,
            failure::words,
            ledger::Key,
            text::{self, quoted},
        },
        refuse,
    },
    api::Reason,
    protocol::Refusal,
};

/// Name of the folder with the files, as a database's Secret has them.
pub const FOLDER: &str = "database";
/// In whose name sessions through the port are recorded. No Release has this UID.
const CONTRACT: &str = "contract";
/// What is written to the socket to have the port closed.
const CLOSE: &[u8] = b"close\n";

/// A copy that is open to work.
pub struct Kept {
    /// The port for containers of users.
    port: Port,
}

/// Opens a restored copy: whatever a migration may do as the owner of the database, it may do here.
///
/// # Errors
/// The folder cannot be written, or the port is taken.
pub async fn open(scratch: &Scratch, server: &Server, (request, keep): (&Request, &Keep)) -> Result<Kept, Refusal> {
    let failed = |what: &str, why: String| refuse(Reason::RehearsalFailed, format!("scratch: {what}: {why}"));
    let Some(address) = server.address() else { return Err(failed("the copy", "it has no port".to_owned())) };
    let superuser = server.connect_superuser(&address.dbname).await?;
    let users = |role: &&String| ![SUPERUSER, PLAIN].contains(&role.as_str());
    // In production they may own what the migration touches, or be granted something by it.
    let grants = request.roles.iter().filter(users).map(|role| format!("GRANT {} TO {PLAIN}", quoted(role)));
    let owner = keep.owner.iter().filter(users).map(|owner| format!("REASSIGN OWNED BY {PLAIN} TO {}", quoted(owner)));
    for statement in grants.chain(owner) {
        superuser.batch_execute(&statement).await.map_err(|error| failed("roles", words(&error)))?;
    }
    let plain = server.connect_plain().await?;
    for setting in &keep.settings {
        set(&plain, &address.dbname, setting).await;
    }
    write(&scratch.sockets.join(FOLDER), &address).map_err(|error| failed("its address", error.to_string()))?;
    let upstream = Upstream {
        address,
        certificate: None,
        control: Arc::new(plain),
        sessions: Sessions::Migrating(Key { release_uid: CONTRACT.to_owned(), revision: CONTRACT.to_owned() }, 1),
        lock_timeout: Duration::ZERO,
        // The oldest that is supported: what newer ones can be asked for is nothing here.
        major: 0,
        known: Mutex::default(),
    };
    let port = Port::open_at(upstream, scratch.port).await;
    Ok(Kept { port: port.map_err(|error| failed(&format!("port {}", scratch.port), error.to_string()))? })
}

impl Kept {
    /// Waits until somebody has the port closed, again and again: whoever asks twice is answered twice.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn serve(&self, listener: &UnixListener) -> std::io::Result<()> {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut asked = [0; CLOSE.len()];
            if stream.read_exact(&mut asked).await.is_ok() && asked == CLOSE {
                self.port.cut();
                let _ = stream.write_all(CLOSE).await;
            }
        }
    }
}

/// Has the port for containers of users closed; when it returns, none of them reaches the copy any more.
///
/// # Errors
/// The scratch container does not answer.
pub async fn close(sockets: &Path) -> Result<(), Refusal> {
    let closing = async {
        let mut stream = UnixStream::connect(sockets.join(SOCKET)).await?;
        stream.write_all(CLOSE).await?;
        let mut answer = [0; CLOSE.len()];
        stream.read_exact(&mut answer).await.map(|_| ())
    };
    closing.await.map_err(|error: std::io::Error| {
        refuse(Reason::RehearsalFailed, format!("the scratch container does not close its port: {error}"))
    })
}

/// Sets what the database sets for each session; what only a superuser may set stays out.
async fn set(owner: &Client, database: &str, setting: &str) {
    let Some(set) = text::set(setting) else { return };
    let statement = format!("ALTER DATABASE {} {set}", quoted(database));
    if let Err(error) = owner.batch_execute(&statement).await {
        eprintln!("the copy is without {setting}: {}", words(&error));
    }
}

/// Writes the files. Other containers of the pod have other users.
fn write(folder: &PathBuf, address: &Address) -> std::io::Result<()> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir(folder)?;
    let port = address.port.to_string();
    let files = [
        ("host", address.host.as_str()),
        ("port", &port),
        ("dbname", &address.dbname),
        ("username", &address.username),
        ("password", address.password.as_deref().unwrap_or_default()),
        ("sslmode", "disable"),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    }
    std::fs::set_permissions(folder, Permissions::from_mode(0o755))
}
