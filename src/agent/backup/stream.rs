//! From the dump's pipe to the storages: zstd, sums, parts. Bounded memory, no file on the way.
//!
//! Two parts are in memory at most: one on its way to all storages, one being filled.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_compression::{Level, tokio::bufread::ZstdEncoder};
use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, BufReader, ReadBuf},
    sync::mpsc,
    task::JoinHandle,
};

use super::copies::Copies;
use crate::{
    agent::{
        manifest::{Data, Piece, Sum},
        refuse,
        store::{Part, hex, key},
    },
    api::Reason,
    protocol::Refusal,
};

/// Level of zstd: above it, time rises faster than size falls.
const LEVEL: i32 = 3;
/// Bytes that go from the compressor to the sums at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks between the two.
const CHUNKS: usize = 4;
/// How an archive of `pg_dump` begins.
const MAGIC: &[u8] = b"PGDMP";

/// How large parts and pieces are, and how patient it is.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Bytes of a part: two are in memory. Storages allow 10,000 parts of an object, all but the last equal.
    pub part_bytes: u64,
    /// Parts of a piece.
    pub piece_parts: u64,
    /// How long a request to a storage is repeated before it has failed: a storage that is away for a minute shall not
    /// cost a backup.
    pub patience: Duration,
}

impl Default for Layout {
    fn default() -> Self {
        Self { part_bytes: 8 << 20, piece_parts: 8192, patience: Duration::from_secs(90) }
    }
}

/// What went through.
pub struct Streamed {
    /// For the manifest.
    pub data: Data,
    /// SHA-256 of each piece.
    pub sha256: Vec<[u8; 32]>,
}

/// Sends everything that can be read to all copies; completes nothing.
///
/// # Errors
/// A storage did not take something, or what is read is no archive.
pub async fn send(
    source: impl AsyncRead + Unpin + Send + 'static,
    copies: &mut Copies,
    layout: Layout,
) -> Result<Streamed, Refusal> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let (used, free) = mpsc::unbounded_channel();
    let mut compressor = Compressor(tokio::spawn(compress(source, Chunks { sender, free })));
    let mut parts = Parts { receiver, rest: Bytes::new(), layout };
    let mut sums = Sums::default();
    let mut next = parts.next(&mut sums).await;
    while let Some(part) = next {
        if sums.begins_piece(layout) {
            copies.begin_piece().await?;
        }
        sums.sent += 1;
        let (sent, filled) = if sums.sent.is_multiple_of(layout.piece_parts) {
            // The next part belongs to the next piece, whose sum must not begin before this one's is whole.
            (copies.part(&part).await, None)
        } else {
            let (sent, filled) = tokio::join!(copies.part(&part), parts.next(&mut sums));
            (sent, Some(filled))
        };
        sent?;
        for chunk in part.into_chunks() {
            if let Ok(mut chunk) = chunk.try_into_mut() {
                chunk.clear();
                // Nobody fills it any more when the dump is over.
                let _ = used.send(chunk);
            }
        }
        next = match filled {
            Some(filled) => filled,
            None => {
                sums.end_piece();
                parts.next(&mut sums).await
            }
        };
    }
    sums.end_piece();
    let failed = |why: String| refuse(Reason::BackupFailed, format!("reading the dump: {why}"));
    let archive = (&mut compressor.0).await.map_err(|error| failed(error.to_string()))?;
    let archive = archive.map_err(|error| failed(error.to_string()))?;
    if archive.bytes == 0 {
        return Err(failed("it is empty".to_owned()));
    }
    Ok(sums.streamed(archive, layout))
}

/// The task that compresses; it ends with whoever waits for it.
struct Compressor(JoinHandle<std::io::Result<Sum>>);

impl Drop for Compressor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where chunks go, and come back from: an allocator that is asked for new ones all the time keeps several times what is
/// in use.
struct Chunks {
    sender: mpsc::Sender<Bytes>,
    free: mpsc::UnboundedReceiver<BytesMut>,
}

impl Chunks {
    fn next(&mut self) -> BytesMut {
        let used = self.free.try_recv().ok().filter(|chunk| chunk.capacity() >= CHUNK_BYTES);
        used.unwrap_or_else(|| BytesMut::with_capacity(CHUNK_BYTES))
    }
}

/// Compresses everything that can be read; returns what the plain bytes add up to.
async fn compress(source: impl AsyncRead + Unpin + Send, mut chunks: Chunks) -> std::io::Result<Sum> {
    let source = Counting { inner: source, hash: Sha256::new(), bytes: 0, begin: Vec::new() };
    let source = BufReader::with_capacity(CHUNK_BYTES, source);
    let mut encoder = ZstdEncoder::with_quality(source, Level::Precise(LEVEL));
    loop {
        let mut chunk = chunks.next();
        while chunk.len() < CHUNK_BYTES && encoder.read_buf(&mut chunk).await? > 0 {}
        if chunk.is_empty() || chunks.sender.send(chunk.freeze()).await.is_err() {
            break;
        }
    }
    let counted = encoder.into_inner().into_inner();
    if counted.bytes > 0 && counted.begin != MAGIC {
        return Err(std::io::Error::other("it is no archive of pg_dump"));
    }
    Ok(Sum { bytes: counted.bytes, sha256: hex(&counted.hash.finalize()) })
}

/// Adds up what is read through it.
struct Counting<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
    begin: Vec<u8>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counting<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = buf.filled().get(before..).unwrap_or_default();
        self.hash.update(read);
        self.bytes += read.len() as u64;
        let missing = MAGIC.len().saturating_sub(self.begin.len());
        self.begin.extend(read.iter().take(missing));
        polled
    }
}

/// Puts chunks together to parts.
struct Parts {
    receiver: mpsc::Receiver<Bytes>,
    rest: Bytes,
    layout: Layout,
}

impl Parts {
    /// Returns the next part, full unless it is the last; nothing at the end.
    async fn next(&mut self, sums: &mut Sums) -> Option<Part> {
        let (mut chunks, mut missing) = (Vec::new(), self.layout.part_bytes);
        let mut hash = Sha256::new();
        while missing > 0 {
            if self.rest.is_empty() {
                match self.receiver.recv().await {
                    Some(chunk) => self.rest = chunk,
                    None => break,
                }
            }
            let take = self.rest.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            let chunk = self.rest.split_to(take);
            missing -= take as u64;
            hash.update(&chunk);
            sums.add(&chunk);
            chunks.push(chunk);
        }
        if chunks.is_empty() {
            return None;
        }
        sums.parts.push(hex(&hash.finalize()));
        Some(Part::new(chunks))
    }
}

/// What the stored bytes add up to: all, the piece, its parts.
#[derive(Default)]
struct Sums {
    all: Sha256,
    bytes: u64,
    piece: Sha256,
    piece_bytes: u64,
    parts: Vec<String>,
    sent: u64,
    pieces: Vec<Piece>,
    sha256: Vec<[u8; 32]>,
}

impl Sums {
    fn begins_piece(&self, layout: Layout) -> bool {
        self.sent.is_multiple_of(layout.piece_parts)
    }

    fn add(&mut self, bytes: &[u8]) {
        self.all.update(bytes);
        self.piece.update(bytes);
        self.bytes += bytes.len() as u64;
        self.piece_bytes += bytes.len() as u64;
    }

    fn end_piece(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        let sha256: [u8; 32] = std::mem::take(&mut self.piece).finalize().into();
        let sum = Sum { bytes: std::mem::take(&mut self.piece_bytes), sha256: hex(&sha256) };
        let name = key::piece_name(self.pieces.len());
        self.pieces.push(Piece { name, sum, parts: std::mem::take(&mut self.parts) });
        self.sha256.push(sha256);
    }

    fn streamed(self, archive: Sum, layout: Layout) -> Streamed {
        let data = Data {
            format: "pg_dump custom".to_owned(),
            compression: "zstd".to_owned(),
            archive,
            stored: Sum { bytes: self.bytes, sha256: hex(&self.all.finalize()) },
            part_bytes: layout.part_bytes,
            pieces: self.pieces,
        };
        Streamed { data, sha256: self.sha256 }
    }
}
