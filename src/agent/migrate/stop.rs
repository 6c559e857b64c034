//! What ends a migration from outside: its deadline, a SIGTERM, the loss of its lock.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Sleep,
};

use crate::{
    agent::{postgres::lock::Lock, refuse},
    api::Reason,
    protocol::Refusal,
};

/// Why a migration was ended from outside.
#[derive(Debug)]
pub enum Cut {
    /// It took too long, or the pod is to end; its end can still be written down.
    Deadline(Refusal),
    /// The lock is lost: somebody else may hold it, so nothing may be written down any more.
    LockLost(String),
}

/// Listens for SIGTERM from the moment it is made.
pub struct Stop {
    terminate: Signal,
}

impl Stop {
    /// Begins to listen. As the first process of a container the agent would be deaf without it.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())? })
    }

    /// Returns when the agent is told to end.
    pub async fn told(&mut self) -> Refusal {
        self.terminate.recv().await;
        refuse(Reason::DeadlineExceeded, "the agent was told to end (SIGTERM)")
    }

    /// Returns when the work must end.
    pub async fn wait(&mut self, deadline: Deadline<'_>, lock: &Lock) -> Cut {
        tokio::select! {
            why = lock.lost() => Cut::LockLost(why),
            () = deadline.sleep => Cut::Deadline(refuse(
                Reason::DeadlineExceeded,
                format!("the migration did not end within {} s", deadline.timeout.as_secs_f64()),
            )),
            told = self.told() => Cut::Deadline(told),
        }
    }
}

/// When a migration must have ended.
pub struct Deadline<'a> {
    /// How long that was when it began.
    pub timeout: Duration,
    /// Resolves then.
    pub sleep: std::pin::Pin<&'a mut Sleep>,
}
