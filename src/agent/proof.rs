//! Proofs: that what a storage holds can be read, and restored.
//!
//! In: a copy and what must be in it. Out: how far it is proven and the seconds it took, or a refusal that names what
//! differs. Plain SQL is never run: archives are read by `pg_restore`, in the scratch container when they are restored.

use std::process::Stdio;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    process::Command,
    sync::mpsc,
    task::JoinHandle,
};
use tokio_util::io::StreamReader;

use super::{
    backup::{Places, dump},
    manifest::{Content, Data, Sum},
    refuse, scratch,
    store::{Reader, Store, hex, key::Attempt},
};
use crate::{
    api::{BackupProofSeconds, ProofLevel, Reason},
    clock::{self, Stopwatch},
    protocol::{ProofResult, ProofSeconds, Refusal},
};

/// Bytes that go to the reading program at once.
const CHUNK_BYTES: usize = 256 << 10;

/// What is proven.
#[derive(Clone, Copy)]
pub struct Proven<'a> {
    /// Where programs and sockets are.
    pub places: &'a Places,
    /// Where the objects are.
    pub attempt: &'a Attempt,
    /// What must be in it.
    pub content: &'a Content,
    /// How it is laid down.
    pub data: &'a Data,
}

/// Proves every copy; only the first one is restored, the others are read to their end.
///
/// # Errors
/// A copy is not what was stored, or not what was counted (`BackupVerificationFailed`), or cannot be restored here.
pub async fn prove(level: ProofLevel, stores: &[Store], proven: &Proven<'_>) -> Result<ProofResult, Refusal> {
    let mut seconds = None;
    for store in stores {
        let took = match level {
            ProofLevel::Stored => None,
            ProofLevel::Restored if seconds.is_none() => {
                Some(restored(store, proven, &scratch::Request::of(proven.content)).await?.into())
            }
            ProofLevel::Readable | ProofLevel::Restored => Some(readable(store, proven).await?),
        };
        seconds = seconds.or(took);
    }
    Ok(ProofResult { level, at: clock::now(), seconds })
}

/// Fetches all of it and reads the archive to its end.
async fn readable(store: &Store, proven: &Proven<'_>) -> Result<BackupProofSeconds, Refusal> {
    let watch = Stopwatch::start();
    let failed = |why: String| refuse(Reason::BackupVerificationFailed, format!("{}: {why}", store.name()));
    // Without a database pg_restore writes SQL; here it goes nowhere, and is run by nobody.
    let mut child = Command::new(proven.places.program("pg_restore"))
        .arg("--file=/dev/null")
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("pg_restore cannot be started: {error}")))?;
    let (Some(mut input), Some(messages)) = (child.stdin.take(), child.stderr.take()) else {
        return Err(failed("pg_restore has no input".to_owned()));
    };
    let messages = tokio::spawn(dump::read_messages(messages));
    let fetched = fetch(store, proven, &mut input).await;
    drop(input);
    if let Err(Cut::Refused(refusal)) = fetched {
        return Err(refusal);
    }
    let ended = child.wait().await.map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&messages.await.unwrap_or_default()).into_owned();
    match fetched {
        Ok(()) if ended.success() => {
            Ok(BackupProofSeconds { fetch: watch.elapsed().as_secs_f64(), restore: None, check: None })
        }
        _ => Err(failed(format!("the archive cannot be read to its end: {ended}: {}", dump::one_line(&said)))),
    }
}

/// Restores it in the scratch container and compares what came out.
///
/// # Errors
/// As [`prove`].
pub async fn restored(store: &Store, proven: &Proven<'_>, request: &scratch::Request) -> Result<ProofSeconds, Refusal> {
    let (mut reader, mut writer) = scratch::client::connect(&proven.places.scratch).await?.into_split();
    scratch::client::ask(&mut writer, request).await?;
    let (restored, fetch) = feed(store, proven, (&mut writer, scratch::client::answer(&mut reader))).await?;
    scratch::compare(proven.content, &restored)?;
    Ok(ProofSeconds { fetch, restore: restored.restore_seconds, check: restored.check_seconds })
}

/// Fetches all of it for who restores it; returns what that says, and the seconds it took to fetch.
///
/// # Errors
/// What was stored is not what is there, or what restores it says why it cannot.
pub async fn feed<T>(
    store: &Store,
    proven: &Proven<'_>,
    (writer, answering): (&mut (impl AsyncWrite + Unpin), impl Future<Output = Result<T, Refusal>>),
) -> Result<(T, f64), Refusal> {
    let watch = Stopwatch::start();
    let sending = async {
        let fetched = fetch(store, proven, writer).await;
        // The end of what is written is the end of the archive.
        let _ = writer.shutdown().await;
        (fetched, watch.elapsed().as_secs_f64())
    };
    tokio::pin!(sending, answering);
    let (early, (fetched, fetch)) = tokio::select! {
        // Whatever went wrong there, the rest of the archive is not asked for. What went well still has to be what was
        // stored.
        early = &mut answering => (Some(early?), sending.await),
        sent = &mut sending => (None, sent),
    };
    if let Err(Cut::Refused(refusal)) = fetched {
        return Err(refusal);
    }
    let answer = match early {
        Some(answer) => answer,
        None => answering.await?,
    };
    if let Err(Cut::Reader(error)) = fetched {
        return Err(refuse(Reason::BackupVerificationFailed, format!("what restores it stopped reading: {error}")));
    }
    Ok((answer, fetch))
}

/// Reads all of it and compares every sum; nothing of it goes anywhere.
///
/// # Errors
/// What was stored is not what is there (`BackupVerificationFailed`), or the storage did not return it.
pub async fn intact(store: &Store, proven: &Proven<'_>) -> Result<(), Refusal> {
    match fetch(store, proven, &mut tokio::io::sink()).await {
        Ok(()) => Ok(()),
        Err(Cut::Refused(refusal)) => Err(refusal),
        Err(Cut::Reader(error)) => Err(refuse(Reason::BackupVerificationFailed, error.to_string())),
    }
}

/// Why fetching ended early.
enum Cut {
    /// The storage, or what it returned.
    Refused(Refusal),
    /// Whoever reads the archive stopped.
    Reader(std::io::Error),
}

/// Fetches all pieces, decompresses them into a sink, and compares every sum.
async fn fetch(store: &Store, proven: &Proven<'_>, sink: &mut (impl AsyncWrite + Unpin)) -> Result<(), Cut> {
    let (sender, receiver) = mpsc::channel(1);
    let mut fetching =
        Fetching(tokio::spawn(pieces(store.clone(), proven.attempt.clone(), proven.data.clone(), sender)));
    let chunks = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk: Bytes| (Ok::<_, std::io::Error>(chunk), receiver))
    });
    let source = StreamReader::new(Box::pin(chunks));
    let archive = decompress(async_compression::tokio::bufread::ZstdDecoder::new(source), sink).await;
    if let Err(Cut::Reader(error)) = archive {
        return Err(Cut::Reader(error));
    }
    let altered = |what: String| {
        Cut::Refused(refuse(Reason::BackupVerificationFailed, format!("BackupStorage {}: {what}", store.name())))
    };
    // What the pieces say comes first: bytes that were altered decompress to nonsense, or not at all.
    (&mut fetching.0).await.map_err(|error| altered(error.to_string()))?.map_err(Cut::Refused)?;
    let archive = archive?;
    if archive == proven.data.archive {
        return Ok(());
    }
    let (was, is) = (&proven.data.archive, archive);
    Err(altered(format!("the archive has {} bytes, {}; was {}, {}", is.bytes, is.sha256, was.bytes, was.sha256)))
}

/// The task that fetches; it ends with whoever waits for it.
struct Fetching(JoinHandle<Result<(), Refusal>>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads every piece and compares its sum.
async fn pieces(store: Store, attempt: Attempt, data: Data, sender: mpsc::Sender<Bytes>) -> Result<(), Refusal> {
    for (number, piece) in data.pieces.iter().enumerate() {
        let key = store.key(&attempt.piece(number));
        let altered = |what: String| {
            let text = format!("BackupStorage {}: {key} has {what}", store.name());
            Err(refuse(Reason::BackupVerificationFailed, text))
        };
        let (size, _) = store.facts(&key).await?;
        if size != piece.sum.bytes {
            return altered(format!("{size} bytes, stored were {}", piece.sum.bytes));
        }
        let mut reader = Reader::new(store.clone(), key.clone(), piece.sum.bytes);
        let mut hash = Sha256::new();
        while let Some(bytes) = reader.next().await? {
            hash.update(&bytes);
            // Whoever decompresses may have stopped: the sum says whether rightly.
            let _ = sender.send(bytes).await;
        }
        let sha256 = hex(&hash.finalize());
        if sha256 != piece.sum.sha256 {
            return altered(format!("the SHA-256 {sha256}, stored was {}", piece.sum.sha256));
        }
    }
    Ok(())
}

async fn decompress(mut source: impl AsyncRead + Unpin, sink: &mut (impl AsyncWrite + Unpin)) -> Result<Sum, Cut> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let broken = |error: std::io::Error| {
            Cut::Refused(refuse(Reason::BackupVerificationFailed, format!("it cannot be decompressed: {error}")))
        };
        let read = source.read(&mut buffer).await.map_err(broken)?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
        hash.update(chunk);
        bytes += read as u64;
        sink.write_all(chunk).await.map_err(Cut::Reader)?;
    }
    sink.flush().await.map_err(Cut::Reader)?;
    Ok(Sum { bytes, sha256: hex(&hash.finalize()) })
}
