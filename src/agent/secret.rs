//! Secrets as mounted files: one folder per Secret, one file per key.
//!
//! In: a folder and the name of a key. Out: its value, or a refusal that names Secret and key. Never a value in an
//! error.

use std::path::Path;

use crate::{agent::refuse, api::Reason, protocol::Refusal};

/// Largest value that is read: more than any credential, less than a mistake.
const LARGEST_BYTES: u64 = 1 << 20;

/// Returns the value of a key that must be there and not be empty.
pub fn required(folder: &Path, key: &str) -> Result<String, Refusal> {
    match optional(folder, key)? {
        Some(value) => Ok(value),
        None => Err(lacks(folder, key, "is missing or empty")),
    }
}

/// Returns the value of a key, without the newline at its end that editors leave; nothing when it is missing or
/// empty.
pub fn optional(folder: &Path, key: &str) -> Result<Option<String>, Refusal> {
    let path = folder.join(key);
    match std::fs::metadata(&path) {
        Ok(about) if about.len() > LARGEST_BYTES => return Err(lacks(folder, key, "is larger than 1 MiB")),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(lacks(folder, key, &format!("cannot be read: {error}"))),
    }
    let bytes = std::fs::read(&path).map_err(|error| lacks(folder, key, &format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| lacks(folder, key, "is not text"))?;
    let value = text.trim_end_matches(['\n', '\r']);
    if value.contains('\0') {
        return Err(lacks(folder, key, "is not text"));
    }
    Ok(Some(value.to_owned()).filter(|value| !value.is_empty()))
}

/// Returns the refusal of a Secret one of whose keys cannot be used.
pub fn lacks(folder: &Path, key: &str, why: &str) -> Refusal {
    refuse(Reason::SecretKeyNotFound, format!("the Secret mounted at {}: key {key} {why}", folder.display()))
}
