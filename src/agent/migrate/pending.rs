//! `pending`: asks a command of the user's image whether anything of its migration is due.
//!
//! It goes through the same port as the migration will, in sessions that only read: nobody has approved anything yet. Two
//! exit codes mean something. Whatever else happens is an answer that is not known, and never that nothing is due.

use std::{process::ExitStatus, sync::Arc};

use super::{
    command::{self, Reach, Running, how},
    stop::Stop,
};
use crate::{
    agent::{
        port::{Port, Sessions, Upstream},
        postgres::{Connected, connect},
        redact::Redactor,
        refuse,
    },
    api::Reason,
    protocol::{PendingParameters, PendingResult, Refusal},
};

/// Exit code of a command that has found nothing to do.
const NOTHING_DUE: i32 = 0;
/// Exit code of one that has: that of most tools, and of most programs that break. Those that break before they have been
/// at the database are told apart, and the others cost a rehearsal, which fails.
const DUE: i32 = 1;

/// Asks.
///
/// # Errors
/// It is not known.
pub async fn run(parameters: &PendingParameters, redactor: &Redactor) -> Result<PendingResult, Refusal> {
    let mut stop = Stop::listen().map_err(|error| unknown(&format!("no signals can be received: {error}")))?;
    let Connected { client, facts, address, .. } = connect(&parameters.database, "pending control").await?;
    let lock_timeout = parameters.lock_timeout.as_std();
    let upstream = Upstream::of((&address, &facts), &Arc::new(client), Sessions::Reading, lock_timeout);
    let port = Port::open(upstream).await;
    let port = port.map_err(|error| unknown(&format!("the port for the command cannot be opened: {error}")))?;
    let running = command::start(&parameters.argv, &address, &Reach::Port(&port), redactor);
    let mut running = running.map_err(|refusal| unknown(&refusal.message))?;
    let limit = parameters.timeout.as_std();
    let ended = tokio::select! {
        biased;
        told = stop.told() => Err(told.message),
        () = tokio::time::sleep(limit) => Err(format!("it did not end within {} s", limit.as_secs_f64())),
        status = running.exit() => status.map_err(|error| format!("it cannot be waited for: {error}")),
    };
    match ended {
        Ok(status) => answer(status, port.opened(), &running),
        Err(why) => {
            port.cut();
            running.end().await;
            Err(unknown(&running.said(&format!("was ended: {why}"))))
        }
    }
}

/// Returns what an exit code means, of a command that has been at the database.
fn answer(status: ExitStatus, sessions: usize, running: &Running) -> Result<PendingResult, Refusal> {
    let due = match status.code() {
        Some(NOTHING_DUE) => false,
        Some(DUE) => true,
        Some(_) | None => return Err(unknown(&running.said(&how(status)))),
    };
    if sessions == 0 {
        let never = format!("{} and never connected to DATABASE_URL", how(status));
        return Err(unknown(&running.said(&never)));
    }
    Ok(PendingResult { due })
}

fn unknown(why: &str) -> Refusal {
    let codes = format!("exit code {NOTHING_DUE} says that nothing is, {DUE} that something is");
    refuse(Reason::PendingUnknown, format!("whether a migration is due is not known ({codes}): {why}"))
}
