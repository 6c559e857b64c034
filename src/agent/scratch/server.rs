//! A PostgreSQL server for one restore: new, on a Unix socket in a folder of its own, made for speed and thrown away.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::{Child, Command};
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

use super::Scratch;
use crate::{
    agent::{
        archive,
        postgres::{address::Address, failure::words, tls::SslMode},
        programs, refuse,
    },
    api::Reason,
    clock::Stopwatch,
    protocol::Refusal,
};

/// The role that makes what the manifest names and checks the files. No role of a user has this name.
pub const SUPERUSER: &str = "switchback_scratch";
/// The role that restores: it owns the database and may do nothing else.
pub const PLAIN: &str = "switchback_restore";
/// The database.
pub const DATABASE: &str = "switchback_scratch";
/// PostgreSQL's own: the socket's file has it in its name.
const DEFAULT_PORT: u16 = 5432;
/// How long the server may take to start.
const START: Duration = Duration::from_secs(60);
/// Pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);
/// Settings: nothing is kept when the container dies, so nothing waits for disks.
const SETTINGS: [&str; 18] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "archive_mode=off",
    "autovacuum=off",
    "checkpoint_timeout=1h",
    "max_wal_size=2GB",
    "shared_buffers=64MB",
    "maintenance_work_mem=64MB",
    "max_connections=100",
    "max_locks_per_transaction=1024",
    // The container's /dev/shm is small.
    "dynamic_shared_memory_type=mmap",
    "max_worker_processes=0",
    "max_parallel_maintenance_workers=0",
    "unix_socket_permissions=0700",
    "lc_messages=C",
];

/// A server that runs.
pub struct Server {
    programs: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
    /// Passwords of both roles: code in a dump may try the socket as well.
    superuser: String,
    plain: String,
    /// Where it listens on loopback, when it does.
    port: Option<u16>,
    process: Child,
}

impl Server {
    /// Makes and starts a server; one that is worked on listens on loopback, on whatever port is free.
    ///
    /// # Errors
    /// It cannot be made or does not start.
    pub async fn start(scratch: &Scratch, on_loopback: bool) -> Result<Self, Refusal> {
        let (data, sockets) = (scratch.data.join("data"), scratch.data.join("socket"));
        let port = on_loopback.then(free_port).transpose().map_err(|error| of_io("a port on loopback", &error))?;
        let passwords = [Uuid::new_v4().to_string(), Uuid::new_v4().to_string()];
        let [superuser, plain] = passwords;
        let file = scratch.data.join("password");
        let prepared = prepare_folders(&scratch.data, &data, &sockets)
            .and_then(|()| write_private(&file, &superuser))
            .map_err(|error| of_io("the scratch folder", &error));
        prepared?;
        let made = Command::new(programs::find(&scratch.programs, "initdb"))
            .arg("--pgdata")
            .arg(&data)
            .arg("--pwfile")
            .arg(&file)
            .args(["--username", SUPERUSER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"])
            .args(["--no-sync", "--no-instructions"])
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| of_io("initdb", &error))?;
        if !made.status.success() {
            return Err(said("initdb", &made.stderr));
        }
        let process = Command::new(programs::find(&scratch.programs, "postgres"))
            .arg("-D")
            .arg(&data)
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
            .arg("-c")
            .arg(format!("unix_socket_directories={}", sockets.display()))
            .arg("-c")
            .arg(port.map_or_else(|| "listen_addresses=".to_owned(), |_| "listen_addresses=127.0.0.1".to_owned()))
            .args(port.into_iter().flat_map(|port| ["-c".to_owned(), format!("port={port}")]))
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| of_io("postgres", &error))?;
        let mut server = Self { programs: scratch.programs.clone(), data, sockets, superuser, plain, port, process };
        server.wait().await?;
        Ok(server)
    }

    async fn wait(&mut self) -> Result<(), Refusal> {
        let waiting = Stopwatch::start();
        loop {
            match self.connect(SUPERUSER, &self.superuser, "postgres").await {
                Ok(_) => return Ok(()),
                Err(refusal) if waiting.elapsed() > START => return Err(refusal),
                Err(_) => {}
            }
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(refuse(Reason::BackupVerificationFailed, format!("the scratch server ended: {status}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Connects as the superuser.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn connect_superuser(&self, database: &str) -> Result<Client, Refusal> {
        self.connect(SUPERUSER, &self.superuser, database).await
    }

    /// Connects as the role that restored, as sessions on users' databases are prepared.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn connect_plain(&self) -> Result<Client, Refusal> {
        let client = self.connect(PLAIN, &self.plain, DATABASE).await?;
        let settings = client.batch_execute("SET search_path = pg_catalog; SET row_security = off").await;
        settings.map_err(|error| refuse(Reason::BackupVerificationFailed, words(&error)))?;
        Ok(client)
    }

    async fn connect(&self, user: &str, password: &str, database: &str) -> Result<Client, Refusal> {
        let mut config = Config::new();
        config.host_path(&self.sockets).user(user).password(password).dbname(database);
        config.port(self.port.unwrap_or(DEFAULT_PORT));
        let (client, connection) = config.connect(NoTls).await.map_err(|error| {
            refuse(Reason::BackupVerificationFailed, format!("the scratch server: {}", words(&error)))
        })?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Returns where the plain role finds the copy on loopback; `None` when the server listens on its socket only.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        Some(Address {
            folder: PathBuf::new(),
            host: "127.0.0.1".to_owned(),
            port: self.port?,
            dbname: DATABASE.to_owned(),
            username: PLAIN.to_owned(),
            password: Some(self.plain.clone()),
            mode: SslMode::Disable,
            authorities: None,
        })
    }

    /// Returns the statement that makes the plain role. It sees every row: policies would hide some of them from who
    /// counts.
    #[must_use]
    pub fn plain_role(&self) -> String {
        format!("CREATE ROLE {PLAIN} LOGIN BYPASSRLS PASSWORD '{}'", self.plain)
    }

    /// Returns a program of PostgreSQL, told how to connect as one of the two roles.
    ///
    /// # Errors
    /// The file with the password cannot be written.
    pub fn command(&self, name: &str, user: &str) -> Result<Command, Refusal> {
        let password = if user == SUPERUSER { &self.superuser } else { &self.plain };
        let passfile = self.data.with_file_name(format!("passfile-{user}"));
        write_private(&passfile, &format!("*:*:*:{user}:{password}\n"))
            .map_err(|error| of_io("the passfile of the scratch server", &error))?;
        let mut command = Command::new(programs::find(&self.programs, name));
        command.env_clear().env("LC_ALL", "C").env("PGHOST", &self.sockets).env("PGUSER", user);
        command.env("PGPORT", self.port.unwrap_or(DEFAULT_PORT).to_string());
        command.env("PGPASSFILE", passfile).env("PGCLIENTENCODING", "UTF8").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Checks every table's and index's files.
    ///
    /// # Errors
    /// Something is corrupt.
    pub async fn amcheck(&self) -> Result<(), Refusal> {
        let mut command = self.command("pg_amcheck", SUPERUSER)?;
        command.args(["--install-missing", "--heapallindexed", "--database", DATABASE]).stdout(Stdio::piped());
        let done = command.output().await.map_err(|error| of_io("pg_amcheck", &error))?;
        if done.status.success() {
            return Ok(());
        }
        Err(said("pg_amcheck", &[done.stdout, done.stderr].concat()))
    }

    /// Ends the server and removes its data.
    pub async fn stop(mut self) {
        let ended = Command::new(programs::find(&self.programs, "pg_ctl"))
            .args(["stop", "--mode", "immediate", "--silent", "-D"])
            .arg(&self.data)
            .env_clear()
            .stdin(Stdio::null())
            .status()
            .await;
        if ended.is_err() {
            let _ = self.process.start_kill();
        }
        let _ = self.process.wait().await;
        // It goes with the pod in any case.
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn said(program: &str, messages: &[u8]) -> Refusal {
    archive::said("scratch", program, messages)
}

fn of_io(what: &str, error: &std::io::Error) -> Refusal {
    archive::of_io("scratch", what, error)
}

/// Returns a port on loopback that nobody uses. Nobody else in the pod takes one meanwhile.
fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Makes the folders anew: a container that was started again finds what the first one left.
fn prepare_folders(folder: &Path, data: &Path, sockets: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for old in [data, sockets] {
        if old.exists() {
            std::fs::remove_dir_all(old)?;
        }
        std::fs::create_dir(old)?;
        std::fs::set_permissions(old, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let _ = std::fs::remove_file(path);
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}
