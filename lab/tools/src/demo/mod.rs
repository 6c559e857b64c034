//! The application that the lab releases: a small HTTP server that behaves well or badly on purpose.
//!
//! In: command line and environment ([`settings`]). Out: answers, and an exit code. What it answers when is decided
//! by pure functions in [`behaviour`]; [`answer`] turns that into HTTP; [`server`] accepts, drains and ends without
//! losing a request; [`job`] is the same image in the role of a check Job; [`database`] is the PostgreSQL behind it, if
//! it is given one, with migrations and a worker.

mod answer;
mod behaviour;
mod database;
mod job;
mod server;
mod settings;

use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{clock, lines};
use answer::App;
use database::Shop;
pub use settings::{Program, Serve, Task};

/// Connections that may wait to be accepted. tokio's 128 are full after a stall of about a second under the lab's load,
/// and each one beyond them is dropped and tried again by its client a second later.
const BACKLOG: u32 = 1024;

/// Runs the task that the command line names, serving when it names none.
pub async fn run(program: Program) -> ExitCode {
    match program.task {
        None => serve(program.serve).await,
        Some(Task::Probe(probe)) => job::probe(&probe).await,
        Some(Task::PauseExit(pause)) => job::pause_exit(&pause).await,
        Some(Task::Migrate(migrate)) => database::migrate(&migrate).await,
        Some(Task::Work(work)) => match stop_signals() {
            Ok(stop) => database::work(&work, stop).await,
            Err(error) => failed("listen for signals", &error),
        },
    }
}

async fn serve(settings: Serve) -> ExitCode {
    if settings.crash_at_start {
        lines::err("demo-app: CRASH_AT_START is set");
        return ExitCode::FAILURE;
    }
    // Before the first connection: process 1 of a container ignores signals that it has no handler for.
    let stop = match stop_signals() {
        Ok(signals) => signals,
        Err(error) => return failed("listen for signals", &error),
    };
    let shop = match Shop::open(&settings.database) {
        Ok(shop) => shop.map(Arc::new),
        Err(error) => {
            lines::err(format_args!("demo-app: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let listener = match listen(settings.port) {
        Ok(listener) => listener,
        Err(error) => return failed(&format!("listen on port {}", settings.port), &error),
    };
    match listener.local_addr() {
        Ok(address) => lines::err(format_args!("demo-app {}: listening on {address}", settings.version)),
        Err(error) => return failed("read the address listened on", &error),
    }
    let exit_after = settings.exit_after;
    let limits = server::Limits { drain: settings.drain, in_flight: server::IN_FLIGHT_LIMIT };
    let app = Arc::new(App::new(settings, shop.clone()));
    if let Some(shop) = shop {
        tokio::spawn(async move { shop.keep_looking().await });
    }
    tokio::select! {
        ended = server::serve(listener, app, stop, limits) => ended.report(),
        () = wait_or_never(exit_after) => {
            lines::err("demo-app: EXIT_AFTER has passed");
            ExitCode::FAILURE
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // A port whose old connections are still in TIME_WAIT can be taken at once.
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.listen(BACKLOG)
}

async fn wait_or_never(length: Option<std::time::Duration>) {
    match length {
        Some(length) => clock::sleep(length).await,
        None => std::future::pending().await,
    }
}

fn stop_signals() -> io::Result<impl Future<Output = ()>> {
    let mut terminate: Signal = signal(SignalKind::terminate())?;
    let mut interrupt: Signal = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn failed(operation: &str, error: &io::Error) -> ExitCode {
    lines::err(format_args!("demo-app: could not {operation}: {error}"));
    ExitCode::FAILURE
}
