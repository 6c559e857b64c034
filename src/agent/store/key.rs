//! Keys of a backup's objects: `<prefix>/<marker UUID>/<UTC time>-<backup UID>/<attempt>/…`.
//!
//! Nothing of a key is free text: two UUIDs, a time, a number and fixed names. So no key can leave its storage's
//! prefix, and two attempts can never write the same one.

use jiff::{Timestamp, tz::TimeZone};
use object_store::path::Path;
use uuid::Uuid;

use super::refusal;
use crate::{agent::refuse, api::Reason, protocol::Refusal};

/// Name of the object that makes the others a backup; written last.
pub(super) const MANIFEST: &str = "manifest.json";
/// How names of the objects begin that say what became of a release that rested on the backup.
const REPORT: &str = "release-";
/// How names of the objects begin that say an upload began; each is written before the first byte of its piece.
const NOTE: &str = "upload-";
/// Longest prefix; S3 ends at 1,024 bytes for the whole key.
const LONGEST_PREFIX: usize = 512;

/// The folder of one attempt at a backup, below a storage's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    folder: Path,
}

impl Attempt {
    /// Names an attempt.
    ///
    /// # Errors
    /// The backup's UID is no UUID.
    pub fn new(marker: Uuid, at: Timestamp, backup_uid: &str, attempt: u32) -> Result<Self, Refusal> {
        let uid = uid(backup_uid)?;
        let time = at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let folder = [marker.to_string(), format!("{time}-{uid}"), attempt.to_string()];
        Ok(Self { folder: folder.into_iter().collect() })
    }

    /// Returns the attempt whose manifest has this key, below a storage's prefix.
    ///
    /// # Errors
    /// It is no such key.
    pub fn of_manifest(below_prefix: &Path) -> Result<Self, Refusal> {
        let folder = below_prefix.as_ref().rsplit_once('/').map(|(folder, _)| folder).unwrap_or_default();
        let attempt = Self { folder: Path::parse(folder).unwrap_or_default() };
        if read(below_prefix).is_some() && attempt.manifest() == *below_prefix {
            return Ok(attempt);
        }
        Err(refuse(Reason::BackupVerificationFailed, format!("{below_prefix} is no key of a manifest")))
    }

    /// Returns the key of the manifest.
    #[must_use]
    pub fn manifest(&self) -> Path {
        self.folder.clone().join(MANIFEST)
    }

    /// Returns the key of what became of an attempt of a Release that rested on it.
    #[must_use]
    pub fn report(&self, release: Uuid, attempt: u32) -> Path {
        self.folder.clone().join(format!("{REPORT}{release}-{attempt}.json"))
    }

    /// Returns the key of what is known when the upload of a piece begins.
    #[must_use]
    pub fn note(&self, piece: usize) -> Path {
        self.folder.clone().join(format!("{NOTE}{piece:04}.json"))
    }

    /// Returns the key of a piece of data.
    #[must_use]
    pub fn piece(&self, piece: usize) -> Path {
        self.folder.clone().join(piece_name(piece))
    }
}

/// Returns the name of a piece of data beside its manifest.
#[must_use]
pub fn piece_name(piece: usize) -> String {
    format!("data-{piece:04}")
}

/// Reads a backup's UID.
///
/// # Errors
/// It is no UUID.
pub fn uid(text: &str) -> Result<Uuid, Refusal> {
    Uuid::try_parse(text).map_err(|_| refuse(Reason::BackupFailed, format!("the backup's UID {text:?} is no UUID")))
}

/// Returns whether a key is one of [`Attempt::note`].
pub(super) fn is_note(key: &Path) -> bool {
    key.filename().is_some_and(|name| name.starts_with(NOTE))
}

/// Reads the marker, the backup's UID and the attempt's number from the key of an attempt's object.
pub(super) fn read(below_prefix: &Path) -> Option<(Uuid, Uuid, u32)> {
    let parts: Vec<String> = below_prefix.parts().map(|part| part.as_ref().to_owned()).collect();
    let [marker, backup, attempt, _] = parts.as_slice() else { return None };
    let (_, uid) = backup.split_once('-')?;
    Some((Uuid::try_parse(marker).ok()?, Uuid::try_parse(uid).ok()?, attempt.parse().ok()?))
}

/// Checks what every key of a storage begins with.
///
/// # Errors
/// It is absolute, has `.` or `..` or an empty part, or is not plain: letters, digits and `-_.!'()`.
pub(super) fn prefix(storage: &str, text: &str) -> Result<Path, Refusal> {
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.!'()".contains(c))
    };
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return Ok(Path::default());
    }
    if trimmed.len() <= LONGEST_PREFIX
        && trimmed.split('/').all(plain)
        && let Ok(path) = Path::parse(trimmed)
    {
        return Ok(path);
    }
    Err(refusal::not_writable(storage, &format!("the prefix {text:?} is no plain relative path")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_t16_no_key_leaves_its_prefix() {
        for text in ["../other", "/etc", "a//b", "a/../b", "a/./b", "a\\b", "a\0b", "\u{e4}", "a b", "/", "..", "a/.."]
        {
            assert!(prefix("s", text).is_err(), "{text:?}");
        }
        for text in ["", "team-a", "team-a/", "a/b_c/d.e"] {
            assert_eq!(prefix("s", text).unwrap().as_ref(), text.trim_end_matches('/'));
        }
    }

    #[test]
    fn threat_t16_nothing_of_a_key_is_free_text() {
        let marker = Uuid::new_v4();
        for uid in ["../../x", "", "a/b", "%2e%2e"] {
            assert!(Attempt::new(marker, Timestamp::UNIX_EPOCH, uid, 1).is_err(), "{uid}");
        }
        let uid = Uuid::new_v4();
        let attempt = Attempt::new(marker, Timestamp::UNIX_EPOCH, &uid.to_string(), 7).unwrap();
        assert_eq!(attempt.manifest().as_ref(), format!("{marker}/19700101T000000Z-{uid}/7/manifest.json"));
        assert_eq!(read(&attempt.piece(3)), Some((marker, uid, 7)));
        let next = Attempt::new(marker, Timestamp::UNIX_EPOCH, &uid.to_string(), 8).unwrap();
        assert_ne!(attempt.piece(0), next.piece(0));
    }
}
