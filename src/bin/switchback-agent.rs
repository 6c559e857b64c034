//! The agent: runs inside Jobs and has no right at the API server.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use switchback::{
    agent::{checks, inject, inspect, job, job::Asked, mark, migrate},
    protocol::{
        CheckParameters, EXIT_FAILED, InspectParameters, MarkParameters, MigrateParameters, RESULT_BYTES, paths,
    },
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
    Check(Job),
    /// Copies this program into a folder
    Inject {
        /// The folder
        folder: PathBuf,
    },
    /// Looks at a database, at storages, at a migration
    Inspect(Job),
    /// Makes a database known for ever
    Mark(Job),
    /// Runs one migration under the database's lock
    Migrate(Job),
}

#[derive(Args)]
struct Job {
    /// What to do, as JSON
    #[arg(long)]
    parameters: String,
    /// Where the result is left
    #[arg(long, default_value = "/dev/termination-log")]
    result: PathBuf,
    /// Folder in memory for what must be a file
    #[arg(long, default_value = paths::MEMORY)]
    memory: PathBuf,
}

fn main() -> ExitCode {
    // A second call is the only way this fails, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(cli.command)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether what was asked for was done.
async fn run(command: Command) -> Result<bool, Box<dyn std::error::Error>> {
    match command {
        Command::Check(job) => check(&job).await,
        Command::Inject { folder } => Ok(inject::run(&folder).map(|()| true)?),
        Command::Inspect(job) => {
            let Asked { parameters, redactor } = job::asked::<InspectParameters>(&job.parameters)?;
            job::leave(&inspect::run(&parameters).await, &job.result, &redactor)?;
            Ok(true)
        }
        Command::Mark(job) => {
            let Asked { parameters, redactor } = job::asked::<MarkParameters>(&job.parameters)?;
            Ok(job::answer(mark::run(&parameters).await, &job.result, &redactor)?)
        }
        Command::Migrate(job) => {
            let Asked { parameters, redactor } = job::asked::<MigrateParameters>(&job.parameters)?;
            let came = migrate::run(&parameters, &redactor, &job.memory).await;
            let applied = came.as_ref().is_ok_and(|result| result.problem.is_none());
            job::answer(came, &job.result, &redactor)?;
            Ok(applied)
        }
    }
}

async fn check(job: &Job) -> Result<bool, Box<dyn std::error::Error>> {
    let parameters: CheckParameters = serde_json::from_str(&job.parameters)?;
    let verdicts = checks::http::run(&parameters).await;
    for check in &verdicts.checks {
        let said = if check.passed { "passed" } else { "FAILED" };
        println!("{said} {}: {} ({} requests, {} failures)", check.name, check.detail, check.requests, check.failures);
    }
    std::fs::write(&job.result, verdicts.to_message(RESULT_BYTES))?;
    Ok(verdicts.all_passed(parameters.checks.len()))
}
