//! What PostgreSQL, or the way to it, said, as a reason and words.

use tokio_postgres::{Error, error::SqlState};

use crate::{agent::refuse, api::Reason, protocol::Refusal};

/// Returns the server's own words with its code; for anything else the innermost cause. Without the server's DETAIL:
/// it holds values of rows, and these words end in status and events.
#[must_use]
pub fn words(error: &Error) -> String {
    let Some(said) = error.as_db_error() else {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        return cause.to_string();
    };
    let mut text = format!("{}: {} ({})", said.severity(), said.message(), said.code().code());
    if let Some(hint) = said.hint() {
        text.push_str(&format!("; HINT: {hint}"));
    }
    text
}

/// Returns the refusal for a statement of ours that failed, or a connection that was lost under it.
#[must_use]
pub fn failed(doing: &str, error: &Error) -> Refusal {
    let reason = match error.code().map_or("", SqlState::code) {
        "42501" => Reason::InsufficientPrivilege,
        "55P03" => Reason::LockTimeout,
        "25006" => Reason::NotPrimary,
        "53100" => Reason::NoSpace,
        _ => Reason::DatabaseUnreachable,
    };
    refuse(reason, format!("{doing}: {}", words(error)))
}

/// Returns the refusal for a session that could not be started.
#[must_use]
pub fn not_connected(endpoint: &str, error: &Error) -> Refusal {
    let said = words(error);
    let pooler = said.contains("startup parameter") || said.contains("command-line options");
    let code = error.code().map_or("", SqlState::code);
    let reason = match code {
        _ if pooler => Reason::PoolerNotSupported,
        "42501" => Reason::InsufficientPrivilege,
        // The address is right and the database is not there: it is not the one that was recorded.
        "3D000" => Reason::IdentityUncertain,
        code if code.starts_with("28") => Reason::AuthenticationFailed,
        _ if error.to_string().contains("authentication") || error.to_string().contains("password missing") => {
            Reason::AuthenticationFailed
        }
        _ => Reason::DatabaseUnreachable,
    };
    let tls = error.to_string().contains("TLS");
    let class = if tls { "TLS: " } else { "" };
    refuse(reason, format!("{endpoint}: {class}{said}"))
}
