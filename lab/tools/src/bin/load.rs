//! `load`: asks one URL at a fixed rate and accounts for every request. See [`lab_tools::load`].

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    lab_tools::load::run(lab_tools::load::Settings::parse()).await
}
