//! The agent: runs inside Jobs and has no right at the API server.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use switchback::{
    agent::{backup, checks, inject, inspect, job, job::Asked, mark, migrate, rehearse, report, restore_data, scratch},
    api::Duration,
    protocol::{
        BackupParameters, CheckParameters, EXIT_FAILED, Finding, InspectParameters, MarkParameters, MigrateParameters,
        PendingParameters, RehearseParameters, ReportParameters, RestoreDataParameters, paths,
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
        #[arg(default_value = paths::PROGRAM_DIR)]
        folder: PathBuf,
    },
    /// Looks at a database, at storages, at a migration
    Inspect(Job),
    /// Makes a database known for ever
    Mark(Job),
    /// Takes one backup of a database, stores it, proves it
    Backup(Backup),
    /// Counts what would be lost if a backup took the place of its database; reads only
    RestoreLoss(Backup),
    /// Restores a backup beside its database and puts it in its place
    RestoreData(Backup),
    /// Restores one archive for the backup beside it, as another user and without secrets
    Scratch(Scratch),
    /// Asks a migration's own command whether anything is due
    Pending(Job),
    /// Runs one migration under the database's lock
    Migrate(Job),
    /// Restores a backup into the scratch container, where it stays
    RehearseRestore(Rehearsal),
    /// Runs one migration on the restored copy
    RehearseMigrate(Rehearsal),
    /// Takes it back where a command says how, and says what all have seen
    Rehearse(Rehearsal),
    /// Writes what became of a release beside the backup that it rested on
    Report(Job),
}

#[derive(Args)]
struct Rehearsal {
    #[command(flatten)]
    job: Job,
    /// Folder that the pod's containers share
    #[arg(long, default_value = paths::SCRATCH_SOCKETS)]
    shared: PathBuf,
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

#[derive(Args)]
struct Backup {
    #[command(flatten)]
    job: Job,
    /// Folder of PostgreSQL's programs; found by PATH when none is named
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Folder with the scratch container's socket
    #[arg(long, default_value = paths::SCRATCH_SOCKETS)]
    scratch: PathBuf,
}

#[derive(Args)]
struct Scratch {
    /// Folder of PostgreSQL's programs; found by PATH when none is named
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Folder for the socket, shared with the container that asks
    #[arg(long, default_value = paths::SCRATCH_SOCKETS)]
    sockets: PathBuf,
    /// Folder for the server's data
    #[arg(long, default_value = paths::SCRATCH_DATA)]
    data: PathBuf,
    /// Port on loopback at which containers of users find a copy that is worked on
    #[arg(long, default_value_t = paths::SCRATCH_PORT)]
    port: u16,
    /// When it gives up by itself
    #[arg(long, default_value = "24h")]
    timeout: Duration,
}

fn main() -> ExitCode {
    // A second call is the only way this fails, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let command = Cli::parse().command;
    let came = threads(&command).and_then(|runtime| runtime.block_on(run(command)));
    match came {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// One thread is enough but where data passes through: there one compresses while the other sends.
fn threads(command: &Command) -> Result<tokio::runtime::Runtime, Box<dyn std::error::Error>> {
    let mut builder = match command {
        Command::Backup(_) | Command::RestoreData(_) | Command::Scratch(_) | Command::RehearseRestore(_) => {
            tokio::runtime::Builder::new_multi_thread()
        }
        Command::Check(_)
        | Command::Inject { .. }
        | Command::Inspect(_)
        | Command::Mark(_)
        | Command::Pending(_)
        | Command::Migrate(_)
        | Command::RestoreLoss(_)
        | Command::RehearseMigrate(_)
        | Command::Rehearse(_)
        | Command::Report(_) => tokio::runtime::Builder::new_current_thread(),
    };
    Ok(builder.worker_threads(2).enable_all().build()?)
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
        Command::Backup(arguments) => take_backup(arguments).await,
        Command::RestoreLoss(arguments) => {
            let (asked, job, places) = restore(arguments)?;
            let came = restore_data::count_loss(&asked.parameters, &places).await;
            Ok(job::answer(came, &job.result, &asked.redactor)?)
        }
        Command::RestoreData(arguments) => {
            let (asked, job, places) = restore(arguments)?;
            let came = restore_data::run(&asked.parameters, &places).await;
            Ok(job::answer(came, &job.result, &asked.redactor)?)
        }
        Command::Scratch(arguments) => serve_scratch(arguments).await,
        Command::Pending(job) => {
            let Asked { parameters, redactor } = job::asked::<PendingParameters>(&job.parameters)?;
            Ok(job::answer(migrate::pending::run(&parameters, &redactor).await, &job.result, &redactor)?)
        }
        Command::Migrate(job) => {
            let Asked { parameters, redactor } = job::asked::<MigrateParameters>(&job.parameters)?;
            let came = migrate::run(&parameters, &redactor, &job.memory).await;
            let applied = came.as_ref().is_ok_and(|result| result.problem.is_none());
            job::answer(came, &job.result, &redactor)?;
            Ok(applied)
        }
        Command::Report(job) => {
            let Asked { parameters, redactor } = job::asked::<ReportParameters>(&job.parameters)?;
            Ok(job::answer(report::run(&parameters).await, &job.result, &redactor)?)
        }
        Command::RehearseRestore(arguments) => {
            let (asked, job, folders) = rehearsal(arguments)?;
            let came = rehearse::restore(&asked.parameters, &folders).await;
            Ok(job::answer(came, &job.result, &asked.redactor)?)
        }
        Command::RehearseMigrate(arguments) => {
            let (asked, job, folders) = rehearsal(arguments)?;
            let came = rehearse::migrate(&asked.parameters, &asked.redactor, &folders).await;
            Ok(job::answer(came, &job.result, &asked.redactor)?)
        }
        Command::Rehearse(arguments) => {
            let (asked, job, folders) = rehearsal(arguments)?;
            let came = rehearse::conclude(&asked.parameters, &asked.redactor, &folders).await;
            Ok(job::answer(came, &job.result, &asked.redactor)?)
        }
    }
}

fn rehearsal(arguments: Rehearsal) -> Result<(Asked<RehearseParameters>, Job, rehearse::Folders), serde_json::Error> {
    let Rehearsal { job, shared } = arguments;
    let asked = job::asked(&job.parameters)?;
    let folders = rehearse::Folders { memory: job.memory.clone(), shared };
    Ok((asked, job, folders))
}

async fn check(job: &Job) -> Result<bool, Box<dyn std::error::Error>> {
    let Asked { parameters, redactor } = job::asked::<CheckParameters>(&job.parameters)?;
    let verdicts = checks::run(&parameters).await;
    for check in &verdicts.checks {
        let said = match check.passed {
            Finding::Yes => "passed",
            Finding::No => "FAILED",
            Finding::CannotTell => "CANNOT TELL",
        };
        let detail = redactor.text(&check.detail);
        println!("{said} {}: {detail} ({} requests, {} failures)", check.name, check.requests, check.failures);
    }
    job::leave(&verdicts, &job.result, &redactor)?;
    Ok(verdicts.all_passed(parameters.checks.len()))
}

fn restore(arguments: Backup) -> Result<(Asked<RestoreDataParameters>, Job, backup::Places), serde_json::Error> {
    let Backup { job, programs, scratch } = arguments;
    let asked = job::asked(&job.parameters)?;
    let places = backup::Places { programs: programs.unwrap_or_default(), memory: job.memory.clone(), scratch };
    Ok((asked, job, places))
}

async fn take_backup(arguments: Backup) -> Result<bool, Box<dyn std::error::Error>> {
    let Backup { job, programs, scratch } = arguments;
    let Asked { parameters, redactor } = job::asked::<BackupParameters>(&job.parameters)?;
    let places = backup::Places { programs: programs.unwrap_or_default(), memory: job.memory, scratch };
    let came = backup::run(&parameters, &places, backup::Layout::default()).await;
    Ok(job::answer(came, &job.result, &redactor)?)
}

async fn serve_scratch(arguments: Scratch) -> Result<bool, Box<dyn std::error::Error>> {
    let Scratch { programs, sockets, data, port, timeout } = arguments;
    let programs = programs.unwrap_or_default();
    let scratch = scratch::Scratch { programs, sockets, data, port, timeout: timeout.as_std() };
    scratch::serve(&scratch).await.map_err(|refusal| refusal.message.into())
}
