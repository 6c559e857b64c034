//! How long an agent's work may take, and what ends it before: the pod is to go.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::refuse;
use crate::{api::Reason, clock::Stopwatch, protocol::Refusal};

/// The time that a piece of work has, from when this was made.
pub struct Limit {
    /// What takes the time, as the beginning of a sentence.
    what: &'static str,
    /// Why it fails when the process is asked to end.
    fails: Reason,
    timeout: Duration,
    started: Stopwatch,
}

impl Limit {
    /// Begins to count.
    pub fn start(what: &'static str, fails: Reason, timeout: Duration) -> Self {
        Self { what, fails, timeout, started: Stopwatch::start() }
    }

    /// Returns the time that is left.
    pub fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.started.elapsed())
    }

    /// Runs something until it ends, the time is over, or the process is asked to end.
    ///
    /// # Errors
    /// It failed, or was ended: with `DeadlineExceeded` by its time.
    pub async fn or_stopped<T>(&self, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let what = self.what;
        tokio::select! {
            done = work => done,
            () = tokio::time::sleep(self.left()) => {
                let text = format!("{what} took longer than {} s", self.timeout.as_secs());
                Err(refuse(Reason::DeadlineExceeded, text))
            }
            () = asked_to_end() => Err(refuse(self.fails, format!("{what} was asked to end (SIGTERM)"))),
        }
    }
}

/// Returns when the process is asked to end.
pub async fn asked_to_end() {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}
