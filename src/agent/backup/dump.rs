//! `pg_dump` as a child: one snapshot, archive format, to a pipe. No shell; nothing secret in argv or environment.

use std::{path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

use crate::{
    agent::{
        postgres::{Connected, libpq::Libpq},
        programs, refuse,
    },
    api::Reason,
    protocol::Refusal,
};

/// How long `pg_dump` waits for a lock of its own: the tables are locked already, so anything that is waited for is
/// somebody else's.
const LOCK_WAIT: &str = "10s";
/// Messages that do not stop a backup: how they begin, without "pg_dump: warning: ".
const KNOWN_WARNINGS: [&str; 4] = [
    "subscriptions not dumped",
    "there are circular foreign-key constraints",
    "could not find a suitable",
    "You might not be able to restore the dump",
];
/// How much of a program's messages is kept.
const MESSAGE_BYTES: u64 = 64 << 10;

/// Where programs are and where files in memory may be.
#[derive(Debug, Clone)]
pub struct Places {
    /// Folder of PostgreSQL's programs.
    pub programs: PathBuf,
    /// Folder in memory.
    pub memory: PathBuf,
    /// Folder with the scratch server's socket.
    pub scratch: PathBuf,
}

impl Places {
    /// Returns the path of one of PostgreSQL's programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        programs::find(&self.programs, name)
    }
}

/// A `pg_dump` that runs.
pub struct Dump {
    child: Child,
    messages: JoinHandle<Vec<u8>>,
    _files: Libpq,
}

/// Returns what `pg_dump --version` says when its major version is the server's.
///
/// # Errors
/// It is another one: a dump would fail, or be such that the server cannot restore it (`UnsupportedVersion`).
pub async fn version(places: &Places, server: &str) -> Result<String, Refusal> {
    let missing = |error| refuse(Reason::UnsupportedVersion, format!("pg_dump cannot be run: {error}"));
    let asked = Command::new(places.program("pg_dump")).arg("--version").env_clear().output().await.map_err(missing)?;
    let said = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    let major = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let number = said.split(") ").nth(1).map(major).unwrap_or_default();
    if number == major(server) {
        return Ok(said);
    }
    Err(refuse(Reason::UnsupportedVersion, format!("the server is PostgreSQL {server}, the tools are {said:?}")))
}

impl Dump {
    /// Starts `pg_dump`; returns it and its output.
    ///
    /// # Errors
    /// It could not be started, or its passfile not be written.
    pub async fn start(
        places: &Places,
        session: &Connected,
        snapshot: &str,
        name: &str,
    ) -> Result<(Self, ChildStdout), Refusal> {
        let failed = |error| refuse(Reason::BackupFailed, format!("pg_dump cannot be started: {error}"));
        // All tables were waited for since the session began.
        let address = session.address.current();
        let libpq = Libpq::write(&places.memory, &address).map_err(failed)?;
        let mut child = Command::new(places.program("pg_dump"))
            .args(["--format=custom", "--compress=0", "--no-password"])
            .arg(format!("--lock-wait-timeout={LOCK_WAIT}"))
            .arg(format!("--snapshot={snapshot}"))
            // A restored copy that had the marker would claim to be this database.
            .arg("--exclude-table-data=switchback.identity")
            .env_clear()
            .envs(libpq.environment(&address, name))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (Some(output), Some(messages)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(refuse(Reason::BackupFailed, "pg_dump has no output"));
        };
        let messages = tokio::spawn(read_messages(messages));
        Ok((Self { child, messages, _files: libpq }, output))
    }

    /// Waits for its end; returns what it said it left out.
    ///
    /// # Errors
    /// It failed, or said something that is not known to be harmless.
    pub async fn end(mut self) -> Result<Vec<String>, Refusal> {
        let ended = self.child.wait().await;
        let messages = self.messages.await.unwrap_or_default();
        let said = String::from_utf8_lossy(&messages).into_owned();
        match ended {
            Ok(status) if status.success() => omitted(&said),
            Ok(status) => {
                Err(refuse(Reason::BackupFailed, format!("pg_dump ended with {status}: {}", one_line(&said))))
            }
            Err(error) => Err(refuse(Reason::BackupFailed, format!("pg_dump: {error}"))),
        }
    }
}

/// Reads messages to their end, so that the program is never stopped by them; keeps the first of them.
pub async fn read_messages(stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut stream = BufReader::new(stream);
    // What cannot be read any more was not said.
    let _ = (&mut stream).take(MESSAGE_BYTES).read_to_end(&mut kept).await;
    while let Ok(more) = stream.fill_buf().await {
        let read = more.len();
        if read == 0 {
            break;
        }
        stream.consume(read);
    }
    kept
}

/// Returns a program's messages in one line.
pub fn one_line(said: &str) -> String {
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads warnings; details and hints belong to the warning before them.
fn omitted(said: &str) -> Result<Vec<String>, Refusal> {
    let mut warnings = Vec::new();
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        let detail = line.starts_with("pg_dump: detail:") || line.starts_with("pg_dump: hint:");
        if detail || !line.starts_with("pg_dump: ") {
            continue;
        }
        let warning = line.trim_start_matches("pg_dump: ").trim_start_matches("warning: ");
        if !KNOWN_WARNINGS.iter().any(|known| warning.starts_with(known)) {
            let text = format!("pg_dump warned of something that is not known to be harmless: {}", one_line(said));
            return Err(refuse(Reason::BackupFailed, text));
        }
        warnings.push(warning.to_owned());
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_that_is_not_known_fails_the_backup() {
        let known = "pg_dump: warning: there are circular foreign-key constraints on this table:\n\
             pg_dump: detail: a\npg_dump: hint: Consider using a full dump\n";
        assert_eq!(omitted(known).unwrap().len(), 1);
        assert_eq!(omitted("").unwrap().len(), 0);
        assert!(omitted("pg_dump: warning: something new\n").is_err());
        assert!(omitted(&format!("{known}pg_dump: warning: bad sort\n")).is_err());
    }
}
