//! What a storage's failure means: a reason for machines, a sentence for people.
//!
//! Messages carry the service's error code and text, never a header, a signature or a credential.

use std::{error::Error, io};

use crate::{api::Reason, protocol::Refusal};

/// Error codes of S3 services that say who is asking is not known.
const UNKNOWN_CALLER: [&str; 9] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "InvalidSecurity",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "AuthorizationHeaderMalformed",
    "XAdminUserNotFound",
];
/// Error codes, and words of services without a code of their own for it, that say there is no room.
const FULL: [&str; 6] = [
    "QuotaExceeded",
    "InsufficientStorage",
    "XMinioStorageFull",
    "InsufficientCapacity",
    "No space left on device",
    "507 Insufficient Storage",
];
/// Longest cause that is quoted, in characters.
const LONGEST: usize = 300;

/// Returns a refusal about a storage.
pub fn refuse(reason: Reason, storage: &str, why: &str) -> Refusal {
    crate::agent::refuse(reason, format!("BackupStorage {storage}: {why}"))
}

/// Returns a refusal about a storage that does not take objects.
pub fn not_writable(storage: &str, why: &str) -> Refusal {
    refuse(Reason::DestinationNotWritable, storage, why)
}

/// Returns what a failed operation means; `what` follows "could not".
pub fn of(storage: &str, place: &str, what: &str, error: &object_store::Error) -> Refusal {
    let text = chain(error);
    let code = between(&text, "<Code>", "</Code>").unwrap_or_default();
    let reason = if is_full(error, &text) {
        Reason::NoSpace
    } else if UNKNOWN_CALLER.contains(&code) || matches!(error, object_store::Error::Unauthenticated { .. }) {
        Reason::AuthenticationFailed
    } else {
        Reason::DestinationNotWritable
    };
    refuse(reason, storage, &format!("{place} could not {what}: {}", cause(error, &text, code)))
}

/// Returns what a failed operation on files means; `what` follows "could not".
pub fn of_io(storage: &str, place: &str, what: &str, error: &io::Error) -> Refusal {
    let reason = if no_room(error) { Reason::NoSpace } else { Reason::DestinationNotWritable };
    refuse(reason, storage, &format!("{place} could not {what}: {error}"))
}

fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn is_full(error: &object_store::Error, text: &str) -> bool {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(this) = cause {
        if this.downcast_ref::<io::Error>().is_some_and(no_room) {
            return true;
        }
        cause = this.source();
    }
    FULL.iter().any(|word| text.contains(word))
}

/// Returns all causes in one text; each library repeats those below it or not, as it likes.
fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(this) = cause {
        let said = this.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = this.source();
    }
    text
}

fn cause(error: &object_store::Error, text: &str, code: &str) -> String {
    if let object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } = error {
        return "an object with this key is there already".to_owned();
    }
    let said = match code {
        "" => text.to_owned(),
        code => match between(text, "<Message>", "</Message>") {
            Some(message) => format!("{code}: {message}"),
            None => code.to_owned(),
        },
    };
    said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(inner, _)| inner)
}
