//! `demo-app`: the application that the lab releases. See [`lab_tools::demo`].

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    lab_tools::demo::run(lab_tools::demo::Program::parse()).await
}
