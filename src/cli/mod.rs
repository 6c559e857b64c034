//! The kubectl plugin.
//!
//! In: arguments, a kubeconfig. Out: text on standard output, problems on standard error, an exit code. [`view`]
//! builds what is shown; one file per command. Never here: a right that the caller does not have, a decision of
//! the controller's.

pub mod abort;
pub mod approve;
mod circumstances;
mod complete;
pub mod connection;
pub mod decide;
pub mod expedite;
mod file;
pub mod follow;
pub mod gate;
pub mod get;
pub mod harmless;
pub mod logs;
pub mod look;
pub mod plan;
pub mod problem;
pub mod promote;
pub mod reject;
pub mod retry;
pub mod rollback;
mod screen;
pub mod seen;
pub mod show;
pub mod style;
pub mod suspend;
pub mod text;
pub mod view;
pub mod words;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use connection::{Flags, connect};
use problem::{Exit, Problem};

/// What the program is called; kubectl finds it by this name.
const PROGRAM: &str = "kubectl-switchback";

/// Releases to production that check, ask, switch without a lost request, and go back by themselves.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, bin_name = "kubectl switchback", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 error or refused, 2 usage, 3 no answer in time, 8 not found or forbidden"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show Releases, or one as a tree: revisions, Deployments, pods, Jobs, Services
    Get(get::Args),
    /// Show what will happen, what could go wrong, and the way back after each step
    Plan(plan::Args),
    /// Show the logs of what is under way or has failed: Jobs, checks, the version on its way
    Logs(logs::Args),
    /// Approve the plan that waits
    Approve(approve::Args),
    /// Reject the plan that waits
    Reject(reject::Args),
    /// Stop the attempt that runs; traffic goes back when it had moved
    Abort(decide::Args),
    /// Try once more what failed and is not tried again by itself
    Retry(decide::Args),
    /// Go back to a version that served before
    Rollback(rollback::Args),
    /// Stop before the next step; going back is never stopped
    Suspend(decide::Args),
    /// Go on after suspend
    Resume(decide::Args),
    /// End the watch window now
    Promote(decide::Args),
    /// Let the plan that waits begin in spite of a freeze or a soak, and without a rehearsal
    Expedite(decide::Args),
    /// Print the version of the plugin and of the API it speaks
    Version,
    /// Print a completion script
    Completion {
        /// For which shell
        shell: Shell,
    },
}

/// Runs the plugin on the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = if completes() { None } else { Some(Cli::parse()) };
    // A second call is the only way this fails, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(Exit::Failed, "cannot start", error.to_string()))
        .and_then(|runtime| {
            runtime.block_on(async {
                match &cli {
                    Some(cli) => run(cli).await,
                    None => complete().await,
                }
            })
        });
    match ended {
        Ok(exit) => exit.into(),
        // The reader of standard output has gone: nothing is wrong.
        Err(problem) if problem.exit == Exit::Reached => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            problem.exit.into()
        }
    }
}

/// Returns whether kubectl runs this program to complete a command line.
fn completes() -> bool {
    let called = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = called.as_ref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(complete::PREFIX))
}

async fn complete() -> Result<Exit, Problem> {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    show::print(&complete::run(Cli::command(), &words).await)?;
    Ok(Exit::Reached)
}

async fn run(cli: &Cli) -> Result<Exit, Problem> {
    let flags = &cli.flags;
    match &cli.command {
        Command::Get(args) => get::run(&connect(flags).await?, args).await,
        Command::Plan(args) => plan::run(flags, args).await,
        Command::Logs(args) => logs::run(&connect(flags).await?, args).await,
        Command::Approve(args) => approve::run(&connect(flags).await?, args).await,
        Command::Reject(args) => reject::run(&connect(flags).await?, args).await,
        Command::Abort(args) => decide::run(&connect(flags).await?, args, abort::propose).await,
        Command::Retry(args) => decide::run(&connect(flags).await?, args, retry::propose).await,
        Command::Rollback(args) => rollback::run(&connect(flags).await?, args).await,
        Command::Suspend(args) => decide::run(&connect(flags).await?, args, suspend::suspend).await,
        Command::Resume(args) => decide::run(&connect(flags).await?, args, suspend::resume).await,
        Command::Promote(args) => decide::run(&connect(flags).await?, args, promote::propose).await,
        Command::Expedite(args) => decide::run(&connect(flags).await?, args, expedite::propose).await,
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            show::print(&format!("{PROGRAM} {version} ({}/{})\n", crate::api::GROUP, crate::api::VERSION))?;
            Ok(Exit::Reached)
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), PROGRAM, &mut script);
            show::print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Reached)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
