//! The side without secrets: one request, one server, one answer.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

use super::{
    Request, Restored, SOCKET,
    keep::{self, Kept},
    restore,
    server::Server,
};
use crate::{
    agent::{limit, refuse},
    api::Reason,
    clock::Stopwatch,
    protocol::{Answer, Refusal},
};

/// Largest request: ten thousand roles and extensions.
const REQUEST_BYTES: u64 = 8 << 20;

/// Where things are in the scratch container.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// Folder of PostgreSQL's programs; empty: by `PATH`.
    pub programs: PathBuf,
    /// Folder that both containers see.
    pub sockets: PathBuf,
    /// Folder of the server's data; must be this user's own.
    pub data: PathBuf,
    /// Port on loopback at which containers of users find a copy that is worked on.
    pub port: u16,
    /// When it gives up by itself: nobody may ask at all.
    pub timeout: Duration,
}

/// Waits for one request, answers it, ends; a copy that is kept stays until the process is asked to end. Returns whether
/// the archive was restored; nobody asking is no failure.
///
/// # Errors
/// The socket cannot be made.
pub async fn serve(scratch: &Scratch) -> Result<bool, Refusal> {
    let path = scratch.sockets.join(SOCKET);
    let failed = |error: std::io::Error| {
        refuse(Reason::BackupVerificationFailed, format!("the socket {}: {error}", path.display()))
    };
    // Left by a container that was started again.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(failed)?;
    // The other container has another user. The folder is the pod's own.
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).map_err(failed)?;
    let done = tokio::select! {
        done = answer_one(scratch, &listener) => done,
        () = tokio::time::sleep(scratch.timeout) => Ok(false),
        () = limit::asked_to_end() => Ok(false),
    };
    let _ = std::fs::remove_file(&path);
    done.map_err(failed)
}

async fn answer_one(scratch: &Scratch, listener: &UnixListener) -> std::io::Result<bool> {
    let (stream, _) = listener.accept().await?;
    let mut stream = BufReader::with_capacity(256 << 10, stream);
    let mut line = String::new();
    (&mut stream).take(REQUEST_BYTES).read_line(&mut line).await?;
    let Ok(request) = serde_json::from_str::<Request>(&line) else { return Ok(false) };
    let (answer, kept) = match work(scratch, &request, &mut stream).await {
        Ok((restored, kept)) => (Answer::Done(restored), kept),
        Err(refusal) => (Answer::Refused(refusal), None),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    stream.get_mut().write_all(&text).await?;
    stream.get_mut().shutdown().await?;
    // Bytes that nobody reads would turn the end of the answer into a broken connection.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    if let Some((_server, kept)) = &kept {
        kept.serve(listener).await?;
    }
    Ok(matches!(answer, Answer::Done(_)))
}

/// Restores and checks; returns the server as well when the copy is kept.
async fn work(
    scratch: &Scratch,
    request: &Request,
    archive: &mut BufReader<UnixStream>,
) -> Result<(Restored, Option<(Server, Kept)>), Refusal> {
    let server = Server::start(scratch, request.keep.is_some()).await?;
    let done = restore_and_check(&server, request, archive).await;
    let opened = match (done, &request.keep) {
        (Ok(restored), Some(keep)) => {
            keep::open(scratch, &server, (request, keep)).await.map(|kept| (restored, Some(kept)))
        }
        (done, _) => done.map(|restored| (restored, None)),
    };
    match opened {
        Ok((restored, Some(kept))) => Ok((restored, Some((server, kept)))),
        other => {
            server.stop().await;
            other.map(|(restored, _)| (restored, None))
        }
    }
}

async fn restore_and_check(
    server: &Server,
    request: &Request,
    archive: &mut BufReader<UnixStream>,
) -> Result<Restored, Refusal> {
    let schemas = restore::prepare(server, request).await?;
    let watch = Stopwatch::start();
    restore::run_restore(server, &schemas, archive).await?;
    let restore_seconds = watch.elapsed().as_secs_f64();
    let watch = Stopwatch::start();
    let client = server.connect_plain().await?;
    let unreadable = |refusal: Refusal| Refusal { reason: Reason::BackupVerificationFailed, ..refusal };
    let mut restored = Restored { restore_seconds, ..Restored::count(&client).await.map_err(unreadable)? };
    server.amcheck().await?;
    restored.check_seconds = watch.elapsed().as_secs_f64();
    Ok(restored)
}
