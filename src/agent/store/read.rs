//! Reading a large object: range by range, the next one fetched while the last is used.
//!
//! One long answer would be cut by whatever stands between when the reader is slow; a range is asked for again.

use std::ops::Range;

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, path::Path};
use tokio::task::JoinHandle;

use super::Store;
use crate::{api::Reason, protocol::Refusal};

/// Bytes of one range. Two are in memory at a time, one of them twice while it is put together.
pub const RANGE_BYTES: u64 = 2 << 20;

/// Reads one object from its beginning to its end.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    key: Path,
    size: u64,
    asked: u64,
    next: Option<JoinHandle<Result<Bytes, Refusal>>>,
}

impl Reader {
    /// Starts to read an object that must have this many bytes.
    #[must_use]
    pub fn new(store: Store, key: Path, size: u64) -> Self {
        let mut reader = Self { store, key, size, asked: 0, next: None };
        reader.ask();
        reader
    }

    fn ask(&mut self) {
        let end = self.size.min(self.asked + RANGE_BYTES);
        self.next = (self.asked < end).then(|| {
            let (store, key, range) = (self.store.clone(), self.key.clone(), self.asked..end);
            tokio::spawn(async move { store.range(&key, range).await })
        });
        self.asked = end;
    }

    /// Returns the next bytes; nothing at the end.
    ///
    /// # Errors
    /// The storage did not return them, or not as many as there must be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let Some(running) = self.next.as_mut() else { return Ok(None) };
        let bytes = running.await.map_err(|error| Refusal {
            reason: Reason::BackupVerificationFailed,
            message: format!("BackupStorage {}: reading {} ended: {error}", self.store.name, self.key),
        })??;
        self.ask();
        Ok(Some(bytes))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(running) = &self.next {
            running.abort();
        }
    }
}

impl Store {
    /// Reads a range of an object; fewer bytes than asked for are a failure.
    ///
    /// # Errors
    /// The storage did not return it (`DestinationNotWritable`), or returned less (`BackupVerificationFailed`).
    pub async fn range(&self, key: &Path, range: Range<u64>) -> Result<Bytes, Refusal> {
        let wanted = range.end - range.start;
        let bytes = self.objects().get_range(key, range).await.map_err(|error| self.not_returned(key, &error))?;
        if bytes.len() as u64 == wanted {
            return Ok(bytes);
        }
        Err(Refusal {
            reason: Reason::BackupVerificationFailed,
            message: format!("BackupStorage {}: {key} returned {} of {wanted} bytes", self.name, bytes.len()),
        })
    }

    /// Returns an object's size in bytes and its tag.
    ///
    /// # Errors
    /// The storage does not know it.
    pub async fn facts(&self, key: &Path) -> Result<(u64, Option<String>), Refusal> {
        let meta = self.objects().head(key).await.map_err(|error| self.not_returned(key, &error))?;
        Ok((meta.size, meta.e_tag))
    }
}
