//! The agent: what runs inside Jobs, in the user's namespace, without any right at the API server.

pub mod archive;
pub mod backup;
pub mod checks;
pub mod inject;
pub mod inspect;
pub mod job;
pub mod limit;
pub mod manifest;
pub mod mark;
pub mod migrate;
pub mod port;
pub mod postgres;
pub mod programs;
pub mod proof;
pub mod redact;
pub mod rehearse;
pub mod report;
pub mod restore_data;
pub mod scratch;
pub mod secret;
pub mod store;

use std::io::Write as _;

use crate::{api::Reason, protocol::Refusal};

/// Returns a refusal.
#[must_use]
pub fn refuse(reason: Reason, message: impl Into<String>) -> Refusal {
    Refusal { reason, message: message.into() }
}

/// Prints a line. Nobody may be reading; that is no reason to end in the middle.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
