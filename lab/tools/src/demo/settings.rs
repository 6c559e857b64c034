//! What the demo application is told, on the command line or in the environment. Nothing is decided here.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand};
use hyper::header::HeaderValue;

/// The application that the lab releases: serves HTTP, or does a check Job's work.
#[derive(Debug, Parser)]
#[command(name = "demo-app")]
pub struct Program {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub task: Option<Task>,
    /// How to serve.
    #[command(flatten)]
    pub serve: Serve,
}

/// Work of a Job.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Gets a URL; exits 0 when the answer is 200, else prints it and exits 1.
    Probe(Probe),
    /// Waits, then exits with a code of choice.
    PauseExit(PauseExit),
    /// Brings the database's schema to what this version needs, or says what is due.
    Migrate(Migrate),
    /// Works on a queue that takes one reader, and writes down when there are two.
    Work(Work),
}

/// A check of one URL.
#[derive(Debug, Args)]
pub struct Probe {
    /// What to get: http://host[:port][/path]
    pub url: String,
    /// Seconds until the check counts as failed.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
}

/// A Job of known length and end.
#[derive(Debug, Args)]
pub struct PauseExit {
    /// The exit code.
    #[arg(long, default_value_t = 0)]
    pub code: u8,
    /// Seconds to wait before.
    #[arg(long, default_value = "0", value_parser = seconds)]
    pub after: Duration,
    /// A line that it prints first.
    #[arg(long)]
    pub say: Option<String>,
    /// How many times it prints that line.
    #[arg(long, default_value_t = 1, requires = "say")]
    pub times: u32,
}

/// Where the database is, and what this version needs of it.
#[derive(Debug, Args)]
pub struct Database {
    /// postgres://… without TLS: a server on this machine. Goes before the folder.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Folder with the files of a Secret: host, port, dbname, username, password, sslmode, ca.crt.
    #[arg(long, env = "DATABASE_SECRET_DIR")]
    pub database_secret_dir: Option<PathBuf>,
    /// The schema that this version reads: 1 orders, 2 with delivery slots, 3 without addresses.
    #[arg(long, env = "SCHEMA", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub schema: u8,
}

/// The application's own migrations.
#[derive(Debug, Args)]
pub struct Migrate {
    /// What to do.
    #[command(subcommand)]
    pub direction: Direction,
    /// Where.
    #[command(flatten)]
    pub database: Database,
}

/// A worker. Lengths of time are in seconds and may have a fraction.
#[derive(Debug, Args)]
pub struct Work {
    /// The queue.
    #[arg(long, env = "QUEUE", default_value = "mail")]
    pub queue: String,
    /// Whether the queue takes several readers.
    #[arg(long, env = "QUEUE_SHARED", value_parser = FalseyValueParser::new())]
    pub shared: bool,
    /// Who works: the version.
    #[arg(long = "app-version", env = "VERSION", default_value = "0")]
    pub version: String,
    /// Who works: the pod.
    #[arg(long, env = "HOSTNAME", default_value = "")]
    pub pod: String,
    /// How long it works on after SIGTERM.
    #[arg(long, env = "FINISH_SECONDS", default_value = "1", value_parser = seconds)]
    pub finish: Duration,
    /// Exits with code 1 that long after the start.
    #[arg(long, env = "EXIT_AFTER", value_parser = seconds)]
    pub exit_after: Option<Duration>,
    /// Where the queue is.
    #[command(flatten)]
    pub database: Database,
}

/// What to do with migrations.
#[derive(Debug, Subcommand)]
pub enum Direction {
    /// Runs what is due, up to the schema that this version reads.
    Up(Mishaps),
    /// Takes back what brought the schema that this version reads.
    Down,
    /// Exits 0 when nothing is due, 1 when something is, 2 when that cannot be found out.
    Pending,
}

/// How a migration goes wrong, on purpose.
#[derive(Debug, Args)]
pub struct Mishaps {
    /// The migration that fails at its last statement.
    #[arg(long, env = "MIGRATE_FAIL_IN")]
    pub fail_in: Option<u8>,
    /// The migration that hangs in the server at its last statement, holding its locks.
    #[arg(long, env = "MIGRATE_HANG_IN")]
    pub hang_in: Option<u8>,
    /// Seconds for which it hangs.
    #[arg(long, env = "MIGRATE_HANG_FOR", default_value = "86400", value_parser = seconds)]
    pub hang_for: Duration,
    /// The exit code after everything was committed.
    #[arg(long, env = "MIGRATE_EXIT_AFTER_COMMIT", default_value_t = 0)]
    pub exit_after_commit: u8,
}

/// How the server behaves. Lengths of time are in seconds and may have a fraction.
#[derive(Debug, Args)]
pub struct Serve {
    /// TCP port; 0 takes a free one and says which on standard error.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// What `/` and the header x-version answer.
    #[arg(long = "app-version", env = "VERSION", default_value = "0", value_parser = header_text)]
    pub version: String,
    /// What `/` answers as "pod". The container runtime sets HOSTNAME to the pod's name.
    #[arg(long, env = "HOSTNAME", default_value = "")]
    pub pod: String,
    /// Not ready until that long after the start.
    #[arg(long, env = "READY_AFTER", default_value = "0", value_parser = seconds)]
    pub ready_after: Duration,
    /// Not ready from that long after the start on, for ever.
    #[arg(long, env = "UNREADY_AFTER", value_parser = seconds)]
    pub unready_after: Option<Duration>,
    /// Not ready while this file exists.
    #[arg(long, env = "UNREADY_FILE")]
    pub unready_file: Option<PathBuf>,
    /// Not ready from that long after the first ordinary request on, and up to two seconds more by the pod's address,
    /// for ever.
    #[arg(long, env = "UNREADY_WHEN_SERVING", value_parser = seconds)]
    pub unready_when_serving: Option<Duration>,
    /// A path that answers 500.
    #[arg(long, env = "FAIL_PATH")]
    pub fail_path: Option<String>,
    /// `/smoke` answers 500 from that long after the first ordinary request on.
    #[arg(long, env = "FAIL_SMOKE_WHEN_SERVING", value_parser = seconds)]
    pub fail_smoke_when_serving: Option<Duration>,
    /// Milliseconds that `/` takes.
    #[arg(long, env = "SLOW_MS", default_value_t = 0)]
    pub slow_ms: u64,
    /// Exits with code 1 that long after the start, dropping what is in flight: a crash.
    #[arg(long, env = "EXIT_AFTER", value_parser = seconds)]
    pub exit_after: Option<Duration>,
    /// Exits with code 1 instead of serving.
    #[arg(long, env = "CRASH_AT_START", value_parser = FalseyValueParser::new())]
    pub crash_at_start: bool,
    /// How long new connections and requests are still answered after SIGTERM.
    #[arg(long = "drain-seconds", env = "DRAIN_SECONDS", default_value = "5", value_parser = seconds)]
    pub drain: Duration,
    /// The database behind `/` and `/order`, if there is one.
    #[command(flatten)]
    pub database: Database,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text} is not a number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

fn header_text(text: &str) -> Result<String, String> {
    HeaderValue::from_str(text).map_err(|_| format!("{text:?} cannot stand in a header"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_and_nothing_else() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("30"), Ok(Duration::from_secs(30)));
        for wrong in ["-1", "5s", "", "NaN", "inf"] {
            assert!(seconds(wrong).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn a_version_stands_in_a_header() {
        assert!(header_text("1.2.3-rc.1").is_ok());
        assert!(header_text("1\n2").is_err());
    }
}
