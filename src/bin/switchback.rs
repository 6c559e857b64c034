//! The controller.

use clap::{Parser, Subcommand};
use switchback::{api, config, error::Error};

/// Switchback: releases that check, ask, switch without a lost request, and go back by themselves.
#[derive(Parser)]
#[command(name = "switchback", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the controller
    Run(Box<config::Config>),
    /// Prints the CustomResourceDefinitions
    Crds,
}

fn main() -> std::process::ExitCode {
    let result = match Cli::parse().command {
        Command::Run(config) => run(*config),
        Command::Crds => crds(),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(config: config::Config) -> Result<(), Error> {
    config::start_logging(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .map_err(|error| Error::Config(error.to_string()))?;
    runtime.block_on(switchback::run::run(config))
}

fn crds() -> Result<(), Error> {
    print!("{}", api::crds_yaml().map_err(|error| Error::Config(error.to_string()))?);
    Ok(())
}
