//! The agent: runs inside Jobs and has no right at the API server.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use switchback::{
    agent::{backup, checks, scratch},
    api::Duration,
    protocol::{Answer, BackupParameters, CheckParameters, EXIT_FAILED, RESULT_BYTES, paths},
};

/// Runs inside Jobs of Switchback.
#[derive(Parser)]
#[command(name = "switchback-agent", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs checks and leaves their verdicts as the container's termination message
    Check {
        /// What to check, as JSON
        #[arg(long)]
        parameters: String,
        /// Where the result is left
        #[arg(long, default_value = "/dev/termination-log")]
        result: PathBuf,
    },
    /// Takes one backup of a database, stores it, proves it
    Backup(Backup),
    /// Restores one archive for the backup beside it, as another user and without secrets
    Scratch(Scratch),
}

#[derive(Args)]
struct Backup {
    /// What to back up and where to, as JSON
    #[arg(long)]
    parameters: String,
    /// Where the result is left
    #[arg(long, default_value = "/dev/termination-log")]
    result: PathBuf,
    /// Folder of PostgreSQL's programs; by PATH when it is empty
    #[arg(long, default_value = "")]
    programs: PathBuf,
    /// Folder in memory
    #[arg(long, default_value = paths::MEMORY)]
    memory: PathBuf,
    /// Folder with the scratch container's socket
    #[arg(long, default_value = paths::SCRATCH_SOCKETS)]
    scratch: PathBuf,
}

#[derive(Args)]
struct Scratch {
    /// Folder of PostgreSQL's programs; by PATH when it is empty
    #[arg(long, default_value = "")]
    programs: PathBuf,
    /// Folder for the socket, shared with the container that asks
    #[arg(long, default_value = paths::SCRATCH_SOCKETS)]
    sockets: PathBuf,
    /// Folder for the server's data
    #[arg(long, default_value = paths::SCRATCH_DATA)]
    data: PathBuf,
    /// When it gives up by itself
    #[arg(long, default_value = "24h")]
    timeout: Duration,
}

fn main() -> ExitCode {
    // A second call is the only way this fails, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether it was done, or every check passed.
fn run(command: Command) -> Result<bool, Box<dyn std::error::Error>> {
    match command {
        Command::Check { parameters, result } => check(&parameters, result),
        Command::Backup(arguments) => take_backup(arguments),
        Command::Scratch(arguments) => serve_scratch(arguments),
    }
}

fn check(parameters: &str, result: PathBuf) -> Result<bool, Box<dyn std::error::Error>> {
    let parameters: CheckParameters = serde_json::from_str(parameters)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let verdicts = runtime.block_on(checks::http::run(&parameters));
    for check in &verdicts.checks {
        let said = if check.passed { "passed" } else { "FAILED" };
        println!("{said} {}: {} ({} requests, {} failures)", check.name, check.detail, check.requests, check.failures);
    }
    std::fs::write(result, verdicts.to_message(RESULT_BYTES))?;
    Ok(verdicts.all_passed(parameters.checks.len()))
}

fn take_backup(arguments: Backup) -> Result<bool, Box<dyn std::error::Error>> {
    let Backup { parameters, result, programs, memory, scratch } = arguments;
    let parameters: BackupParameters = serde_json::from_str(&parameters)?;
    let places = backup::Places { programs, memory, scratch };
    let answer = two_threads()?.block_on(backup::run(&parameters, &places, backup::Layout::default()));
    let text = serde_json::to_string(&answer)?;
    println!("{text}");
    std::fs::write(result, text)?;
    Ok(matches!(answer, Answer::Done(_)))
}

fn serve_scratch(arguments: Scratch) -> Result<bool, Box<dyn std::error::Error>> {
    let Scratch { programs, sockets, data, timeout } = arguments;
    let scratch = scratch::Scratch { programs, sockets, data, timeout: timeout.as_std() };
    two_threads()?.block_on(scratch::serve(&scratch)).map_err(|refusal| refusal.message.into())
}

/// One thread compresses while the other sends.
fn two_threads() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
