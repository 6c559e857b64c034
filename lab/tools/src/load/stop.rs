//! Why sending ends before its time: SIGTERM, SIGINT, or standard input closed.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A wish to stop from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM or SIGINT.
    Signal,
    /// Standard input was closed.
    Stdin,
}

/// Listens for wishes to stop, from before the first request to the end.
pub fn listen(stdin: bool) -> std::io::Result<mpsc::UnboundedReceiver<Stop>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if stdin {
        let sender = sender.clone();
        // A thread of its own: tokio's would keep the program from ending while the read waits.
        std::thread::spawn(move || {
            let mut buffer = [0; 256];
            while matches!(std::io::stdin().lock().read(&mut buffer), Ok(count) if count > 0) {}
            let _ = sender.send(Stop::Stdin);
        });
    }
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send(Stop::Signal).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
