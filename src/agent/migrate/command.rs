//! Runs a migration's command: a child that reaches the database through our port.
//!
//! The child gets no credentials, unless it must connect by itself (`direct`): then a passfile in memory, never the
//! environment. It ends before this returns, and so do all connections it had through the port.

use std::{
    io::Write as _,
    os::unix::{fs::OpenOptionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::output::{Tail, pass};
use crate::{
    agent::{
        job::DATABASE_URL,
        port::Port,
        postgres::address::Address,
        redact::{Redactor, percent_encoded},
        refuse,
    },
    api::Reason,
    protocol::Refusal,
};

/// How long a child may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(3);
/// How long its output may still come when it has ended: somebody it left behind may hold the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Settings of libpq that would lead the child elsewhere, or make it ask for what the port does not speak.
const NOT_INHERITED: [&str; 18] = [
    DATABASE_URL,
    "PGCHANNELBINDING",
    "PGDATABASE",
    "PGGSSENCMODE",
    "PGHOST",
    "PGHOSTADDR",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGPORT",
    "PGREQUIREAUTH",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGSSLROOTCERT",
];

/// A child that was started.
pub struct Running {
    child: Child,
    group: Option<Pid>,
    output: tokio::task::JoinHandle<()>,
    tail: Tail,
}

/// How the child reaches the database.
pub enum Reach<'a> {
    /// Through the port.
    Port(&'a Port),
    /// By itself. Its sessions are found by their name only, if its driver takes it from `PGAPPNAME`.
    Direct {
        /// Where passfile and authority lie, in memory.
        folder: &'a Path,
        /// Application name.
        name: String,
    },
}

/// Starts the command in a process group of its own.
pub fn start(argv: &[String], address: &Address, reach: &Reach<'_>, redactor: &Redactor) -> Result<Running, Refusal> {
    let failed = |why: String| refuse(Reason::MigrationFailed, format!("the command cannot be started: {why}"));
    let (program, arguments) = argv.split_first().ok_or_else(|| failed("it is empty".into()))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    // Of what connects by itself: a driver that reads no passfile has its password there.
    let keeps_url = matches!(reach, Reach::Direct { .. }) && std::env::var_os(DATABASE_URL).is_some();
    let is_ours = |name: &str| name != DATABASE_URL || !keeps_url;
    for name in NOT_INHERITED.into_iter().filter(|name| is_ours(name)) {
        command.env_remove(name);
    }
    let settings = settings(address, reach).map_err(|error| failed(error.to_string()))?;
    command.envs(settings.into_iter().filter(|(name, _)| is_ours(name)));
    let mut child = command.spawn().map_err(|error| failed(format!("{program}: {error}")))?;
    let tail = Tail::default();
    let pipes = (child.stdout.take(), child.stderr.take());
    let (redactor, kept) = (redactor.clone(), tail.clone());
    let output = tokio::spawn(async move {
        let (Some(out), Some(err)) = pipes else { return };
        tokio::join!(pass(out, redactor.clone(), kept.clone()), pass(err, redactor, kept));
    });
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    Ok(Running { child, group, output, tail })
}

fn settings(address: &Address, reach: &Reach<'_>) -> std::io::Result<Vec<(&'static str, String)>> {
    let (user, database) = (address.username.clone(), address.dbname.clone());
    let mut settings = vec![("PGUSER", user), ("PGDATABASE", database)];
    let (host, port, mode) = match reach {
        Reach::Port(port) => ("127.0.0.1".to_owned(), port.address.port(), "disable"),
        Reach::Direct { folder, name } => {
            settings.push(("PGAPPNAME", name.clone()));
            settings.push(("PGPASSFILE", passfile(folder, address)?.display().to_string()));
            if let Some(authorities) = &address.authorities {
                let path = folder.join("ca.crt");
                std::fs::write(&path, authorities)?;
                settings.push(("PGSSLROOTCERT", path.display().to_string()));
            }
            (address.host.clone(), address.port, address.mode.as_str())
        }
    };
    let [user, database, name] = [&address.username, &address.dbname, &host].map(|text| percent_encoded(text));
    let name = if host.contains(':') { format!("[{host}]") } else { name };
    settings.push((DATABASE_URL, format!("postgres://{user}@{name}:{port}/{database}?sslmode={mode}")));
    settings.extend([("PGHOST", host), ("PGPORT", port.to_string()), ("PGSSLMODE", mode.to_owned())]);
    Ok(settings)
}

/// Writes libpq's passfile; it ignores one that others may read.
fn passfile(folder: &Path, address: &Address) -> std::io::Result<PathBuf> {
    let path = folder.join("passfile");
    let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    let [host, user] = [&address.host, &address.username].map(|text| escaped(text));
    let line = format!("{host}:{}:*:{user}:{}\n", address.port, escaped(address.password.as_deref().unwrap_or("")));
    let _ = std::fs::remove_file(&path);
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(line.as_bytes())?;
    Ok(path)
}

impl Running {
    /// Returns when the child has ended: whether well, or how not.
    pub async fn ended(&mut self) -> Result<(), Refusal> {
        match self.exit().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(refuse(Reason::MigrationFailed, self.said(&how(status)))),
            Err(error) => Err(refuse(Reason::MigrationFailed, self.said(&format!("cannot be waited for: {error}")))),
        }
    }

    /// Returns when the child has ended, and what it left behind: how.
    pub async fn exit(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.rest().await;
        status
    }

    /// Ends the child and everything in its group.
    pub async fn end(&mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
        self.rest().await;
    }

    /// What stands at the end of its output, after how it ended.
    #[must_use]
    pub fn said(&self, how: &str) -> String {
        let tail = self.tail.text();
        if tail.is_empty() { format!("the command {how}") } else { format!("the command {how}: {tail}") }
    }

    /// Whatever the child left behind ends too.
    async fn rest(&mut self) {
        self.signal(Signal::KILL);
        if tokio::time::timeout(LAST_WORDS, &mut self.output).await.is_err() {
            self.output.abort();
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Nobody left to tell is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// Says how a child ended.
pub fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended strangely".to_owned(),
    }
}
