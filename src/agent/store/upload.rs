//! Streaming one large object into a storage, part by part; nothing can be seen under its key before it is complete.
//!
//! The order: [`Upload::begin`], [`Upload::part`] again and again, then [`Upload::complete`] or [`Upload::abort`].
//! An upload that is dropped leaves its parts in an S3 storage until the next run aborts them.

use std::fmt;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use object_store::{
    MultipartUpload, ObjectStoreExt as _, PutPayload,
    multipart::{MultipartStore as _, PartId},
    path::Path,
};
use sha2::Sha256;

use super::{Kind, RANGE_BYTES, Reader, Store};
use crate::{api::Reason, protocol::Refusal};

/// One part of an object: its bytes, and what they add up to.
#[derive(Debug, Clone)]
pub struct Part {
    chunks: Vec<Bytes>,
    bytes: u64,
    md5: [u8; 16],
}

impl Part {
    /// Puts a part together from pieces that are not copied.
    #[must_use]
    pub fn new(chunks: Vec<Bytes>) -> Self {
        let mut md5 = Md5::new();
        for chunk in &chunks {
            md5.update(chunk);
        }
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks, bytes, md5: md5.finalize().into() }
    }

    /// Gives the pieces back, to be filled again.
    #[must_use]
    pub fn into_chunks(self) -> Vec<Bytes> {
        self.chunks
    }

    fn payload(&self) -> PutPayload {
        self.chunks.iter().cloned().collect()
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// An object on its way into a storage.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    key: Path,
    kind: UploadKind,
    bytes: u64,
    /// Something may be under the key that is ours.
    completing: bool,
}

enum UploadKind {
    S3 { id: String, parts: Vec<PartId>, sums: Vec<[u8; 16]> },
    Volume(Box<dyn MultipartUpload>),
}

impl fmt::Debug for UploadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S3 { .. } => "S3",
            Self::Volume(_) => "Volume",
        })
    }
}

impl Upload {
    /// Begins to write an object that is not there yet.
    ///
    /// # Errors
    /// It is there already, or the storage does not take it.
    pub async fn begin(store: &Store, key: &Path) -> Result<Self, Refusal> {
        let refused = |error| store.refused(&format!("begin {key}"), &error);
        if store.objects().head(key).await.is_ok() {
            return Err(super::refusal::not_writable(&store.name, &format!("{key} is there already")));
        }
        let kind = match &store.kind {
            Kind::S3(client) => UploadKind::S3 {
                id: client.create_multipart(key).await.map_err(refused)?,
                parts: Vec::new(),
                sums: Vec::new(),
            },
            Kind::Volume { files, .. } => UploadKind::Volume(files.put_multipart(key).await.map_err(refused)?),
        };
        Ok(Self { store: store.clone(), key: key.clone(), kind, bytes: 0, completing: false })
    }

    /// Returns the storage's own name for the upload; a volume has none.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match &self.kind {
            UploadKind::S3 { id, .. } => Some(id),
            UploadKind::Volume(_) => None,
        }
    }

    /// Returns the object's key.
    #[must_use]
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Sends the next part.
    ///
    /// # Errors
    /// The storage did not take it, or is full.
    pub async fn part(&mut self, part: &Part) -> Result<(), Refusal> {
        let refused = |store: &Store, key: &Path, error| store.refused(&format!("take a part of {key}"), &error);
        match (&mut self.kind, &self.store.kind) {
            (UploadKind::S3 { id, parts, sums }, Kind::S3(client)) => {
                let sent = client.put_part(&self.key, id, parts.len(), part.payload()).await;
                parts.push(sent.map_err(|error| refused(&self.store, &self.key, error))?);
                sums.push(part.md5);
            }
            (UploadKind::Volume(upload), _) => {
                let sent = upload.put_part(part.payload()).await;
                sent.map_err(|error| refused(&self.store, &self.key, error))?;
            }
            (UploadKind::S3 { .. }, Kind::Volume { .. }) => {}
        }
        self.bytes += part.bytes;
        Ok(())
    }

    /// Makes the object visible under its key.
    ///
    /// # Errors
    /// The storage did not put it together; what was sent is to be aborted.
    pub async fn complete(&mut self) -> Result<(), Refusal> {
        self.completing = true;
        let done = match (&mut self.kind, &self.store.kind) {
            (UploadKind::S3 { id, parts, .. }, Kind::S3(client)) => {
                client.complete_multipart(&self.key, id, parts.clone()).await.map(|_| ())
            }
            (UploadKind::Volume(upload), _) => upload.complete().await.map(|_| ()),
            (UploadKind::S3 { .. }, Kind::Volume { .. }) => Ok(()),
        };
        done.map_err(|error| self.store.refused(&format!("complete {}", self.key), &error))
    }

    /// Takes back everything that was sent, completed or not.
    ///
    /// # Errors
    /// The storage did not remove it; it says what stays behind.
    pub async fn abort(mut self) -> Result<(), Refusal> {
        match (&mut self.kind, &self.store.kind) {
            (UploadKind::S3 { id, .. }, Kind::S3(client)) => {
                abort_multipart(&self.store, client, &self.key, id).await?
            }
            // One that was completed has nothing to abort.
            (UploadKind::Volume(upload), _) => drop(upload.abort().await),
            (UploadKind::S3 { .. }, Kind::Volume { .. }) => {}
        }
        if self.completing { self.store.remove(std::slice::from_ref(&self.key)).await } else { Ok(()) }
    }

    /// Reads back what the storage holds, after it was completed: its size, and for each part what it adds up to.
    ///
    /// An S3 service computes an object's tag from the MD5 of its parts, unless it encrypts with a key of its own:
    /// then, and on a volume, all bytes are read.
    ///
    /// # Errors
    /// Something else is there than was sent (`BackupVerificationFailed`).
    pub async fn check(&self, sha256: &[u8; 32]) -> Result<(), Refusal> {
        let (size, tag) = self.store.facts(&self.key).await?;
        if size != self.bytes {
            return Err(self.altered(&format!("{size} bytes instead of {}", self.bytes)));
        }
        if let UploadKind::S3 { parts, sums, .. } = &self.kind {
            let tags_are_sums = parts.iter().zip(sums).all(|(part, sum)| bare(&part.content_id) == hex(sum));
            if tags_are_sums {
                let expected = format!("{}-{}", hex(&Md5::digest(sums.concat())), sums.len());
                let tag = tag.unwrap_or_default();
                return if bare(&tag) == expected {
                    Ok(())
                } else {
                    Err(self.altered(&format!("the tag {tag} instead of {expected}")))
                };
            }
        }
        self.check_all(sha256).await
    }

    async fn check_all(&self, sha256: &[u8; 32]) -> Result<(), Refusal> {
        let mut reader = Reader::new(self.store.clone(), self.key.clone(), self.bytes);
        let mut hash = Sha256::new();
        while let Some(bytes) = reader.next().await? {
            debug_assert!(bytes.len() as u64 <= RANGE_BYTES, "a range is bounded");
            hash.update(&bytes);
        }
        if hash.finalize()[..] == sha256[..] { Ok(()) } else { Err(self.altered("another SHA-256 than was sent")) }
    }

    fn altered(&self, what: &str) -> Refusal {
        let message = format!("BackupStorage {}: {} has {what}", self.store.name, self.key);
        Refusal { reason: Reason::BackupVerificationFailed, message }
    }
}

/// Aborts an upload of an S3 storage; one that is not known there is no failure.
pub(super) async fn abort_multipart(
    store: &Store,
    client: &object_store::aws::AmazonS3,
    key: &Path,
    id: &str,
) -> Result<(), Refusal> {
    match client.abort_multipart(key, &id.to_owned()).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(store.refused(&format!("abort the upload of {key}"), &error)),
    }
}

fn bare(tag: &str) -> &str {
    tag.trim_matches('"')
}

/// Returns bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
