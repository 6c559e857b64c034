//! The agent: runs inside Jobs and has no right at the API server.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use switchback::{
    agent::checks,
    protocol::{CheckParameters, EXIT_FAILED, RESULT_BYTES},
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

/// Returns whether every check passed.
fn run(command: Command) -> Result<bool, Box<dyn std::error::Error>> {
    let Command::Check { parameters, result } = command;
    let parameters: CheckParameters = serde_json::from_str(&parameters)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let verdicts = runtime.block_on(checks::http::run(&parameters));
    for check in &verdicts.checks {
        let said = if check.passed { "passed" } else { "FAILED" };
        println!("{said} {}: {} ({} requests, {} failures)", check.name, check.detail, check.requests, check.failures);
    }
    std::fs::write(result, verdicts.to_message(RESULT_BYTES))?;
    Ok(verdicts.all_passed(parameters.checks.len()))
}
