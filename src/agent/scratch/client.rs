//! The side with the secrets: asks the scratch container and reads its answer.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{Request, Restored, SOCKET};
use crate::{
    agent::refuse,
    api::Reason,
    clock::Stopwatch,
    protocol::{Answer, Refusal},
};

/// How long the scratch container may take to start.
const START: Duration = Duration::from_secs(60);
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// Largest answer: a hundred thousand tables.
const ANSWER_BYTES: u64 = 32 << 20;

/// Connects to the scratch container, which may still be starting.
///
/// # Errors
/// Nothing answers.
pub async fn connect(folder: &Path) -> Result<UnixStream, Refusal> {
    let socket = folder.join(SOCKET);
    let waiting = Stopwatch::start();
    loop {
        match UnixStream::connect(&socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) if waiting.elapsed() >= START => {
                let text = format!("the scratch container does not answer at {}: {error}", socket.display());
                return Err(refuse(Reason::BackupVerificationFailed, text));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Sends the request.
///
/// # Errors
/// Nobody reads it.
pub async fn ask(writer: &mut (impl AsyncWrite + Unpin), request: &Request) -> Result<(), Refusal> {
    let mut line = serde_json::to_vec(request).map_err(|error| lost(&error.to_string()))?;
    line.push(b'\n');
    writer.write_all(&line).await.map_err(|error| lost(&error.to_string()))
}

/// Reads the answer.
///
/// # Errors
/// The restore failed, or the container ended without an answer.
pub async fn answer(reader: &mut (impl AsyncRead + Unpin)) -> Result<Restored, Refusal> {
    let mut text = Vec::new();
    reader.take(ANSWER_BYTES).read_to_end(&mut text).await.map_err(|error| lost(&error.to_string()))?;
    match serde_json::from_slice::<Answer<Restored>>(&text) {
        Ok(Answer::Done(restored)) => Ok(restored),
        Ok(Answer::Refused(refusal)) => Err(refusal),
        Err(_) => Err(lost("it ended without an answer")),
    }
}

fn lost(why: &str) -> Refusal {
    refuse(Reason::BackupVerificationFailed, format!("the scratch container: {why}"))
}
