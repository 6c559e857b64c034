//! One HTTP/1.1 exchange over one connection.
//!
//! In: a [`Target`] and a [`Connection`], fresh or used before. Out: an [`Answer`] that arrived completely, or a
//! [`Failure`] that says what happened and whether a correct client may send the request again. Nothing is retried,
//! pooled or timed here.

mod counted;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;

use counted::Counted;

/// How much of a body is kept, for messages about answers that were not expected.
const BODY_KEPT: usize = 512;

/// A request that can be sent any number of times: `GET` of one path of one server.
#[derive(Clone, Debug)]
pub struct Target {
    host: String,
    port: u16,
    authority: HeaderValue,
    path: PathAndQuery,
}

impl Target {
    /// Reads `http://host[:port][/path]`. The message of a refusal is for the command line.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(format!("{url}: only http:// is spoken in the lab"));
        }
        let authority = uri.authority().ok_or_else(|| format!("{url}: no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|error| format!("{url}: {error}"))?,
            path: uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }

    /// The same server, another path.
    pub fn with_path(&self, path: PathAndQuery) -> Self {
        Self { path, ..self.clone() }
    }

    /// Builds the request.
    pub fn get(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = Uri::from(self.path.clone());
        request.headers_mut().insert(HOST, self.authority.clone());
        request
    }
}

/// An answer whose last byte arrived.
#[derive(Debug)]
pub struct Answer {
    /// The status code, whatever it is.
    pub status: StatusCode,
    /// The header `x-version`.
    pub version: Option<String>,
    /// Up to [`BODY_KEPT`] bytes of the body.
    pub body_start: Vec<u8>,
    /// Whether the server leaves the connection open.
    pub keeps_open: bool,
}

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// No connection came about.
    Connect,
    /// The connection broke, mostly by a reset.
    Reset,
    /// The connection was closed before the first byte of the answer.
    Closed,
    /// The answer stopped in the middle, or its end cannot be told.
    Truncated,
    /// What came is not HTTP/1.1.
    Protocol,
    /// A complete answer with another status than 200.
    Status,
    /// No complete answer in time.
    Timeout,
}

/// An exchange without a complete answer.
#[derive(Debug)]
pub struct Failure {
    /// What kind of thing went wrong.
    pub cause: Cause,
    /// The message, down to the operating system's.
    pub error: String,
    /// Whether RFC 9112, 9.3.1 lets a client send the request again: the method is idempotent (only `GET` is sent
    /// here), the connection was used before, and it ended without a single byte of the answer.
    pub may_be_sent_again: bool,
}

/// One connection, with the count of what was received on it.
pub struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    received: Arc<AtomicU64>,
    used: bool,
}

impl Connection {
    /// Connects.
    pub async fn open(target: &Target) -> Result<Self, Failure> {
        let refused = |cause, error: String| Failure { cause, error, may_be_sent_again: false };
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(|error| refused(Cause::Connect, error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| refused(Cause::Connect, error.to_string()))?;
        let received = Arc::new(AtomicU64::new(0));
        let counted = Counted::new(stream, Arc::clone(&received));
        let (sender, driver) =
            handshake(TokioIo::new(counted)).await.map_err(|error| refused(Cause::Protocol, chain(&error)))?;
        // The driver's error also reaches whoever waits for an answer; an idle connection has nobody to tell.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Self { sender, received, used: false })
    }

    /// Tells whether the connection can take a request, as far as this side knows.
    pub async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends one request and reads the answer to its last byte.
    pub async fn exchange(&mut self, request: Request<Empty<Bytes>>) -> Result<Answer, Failure> {
        let used_before = std::mem::replace(&mut self.used, true);
        let before = self.received.load(Ordering::Acquire);
        let result = match self.sender.send_request(request).await {
            Ok(response) => read(response).await,
            Err(error) => Err((error, Stage::Head)),
        };
        result.map_err(|(error, stage)| {
            let silent = self.received.load(Ordering::Acquire) == before;
            let cause = classify(&error, stage, silent);
            let ended = matches!(cause, Cause::Reset | Cause::Closed);
            Failure { cause, error: chain(&error), may_be_sent_again: used_before && silent && ended }
        })?
    }
}

/// Where in the answer an error came.
#[derive(Clone, Copy)]
enum Stage {
    Head,
    Body,
}

async fn read(response: Response<Incoming>) -> Result<Result<Answer, Failure>, (hyper::Error, Stage)> {
    let (head, mut body) = response.into_parts();
    let has_length = head.headers.contains_key(CONTENT_LENGTH) || head.headers.contains_key(TRANSFER_ENCODING);
    let mut body_start = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| (error, Stage::Body))?;
        if let Some(data) = frame.data_ref() {
            let room = BODY_KEPT.saturating_sub(body_start.len());
            body_start.extend(data.iter().take(room));
        }
    }
    if !has_length {
        // Such a body ends when the connection does: cut off and complete look the same.
        let error = "an answer without length: whether it is complete cannot be told".to_owned();
        return Ok(Err(Failure { cause: Cause::Truncated, error, may_be_sent_again: false }));
    }
    let closes = head.headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    let version = head.headers.get("x-version").and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Ok(Answer { status: head.status, version, body_start, keeps_open: !closes }))
}

fn classify(error: &hyper::Error, stage: Stage, silent: bool) -> Cause {
    match (io_error(error).map(io::Error::kind), stage) {
        (Some(io::ErrorKind::UnexpectedEof), _) => Cause::Truncated,
        (Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput), _) => Cause::Protocol,
        (Some(_), _) => Cause::Reset,
        (None, Stage::Head) if error.is_incomplete_message() && !silent => Cause::Truncated,
        // Cancelled: the connection ended before the request was written to it.
        (None, Stage::Head) if error.is_incomplete_message() || error.is_canceled() => Cause::Closed,
        (None, Stage::Body) if error.is_incomplete_message() => Cause::Truncated,
        (None, Stage::Head | Stage::Body) => Cause::Protocol,
    }
}

fn io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let messages: Vec<String> =
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    messages.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_http_url_and_nothing_else() {
        let target = Target::parse("http://[::1]:8080/slow?ms=5").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("::1", 8080));
        assert_eq!(target.get().headers().get(HOST).unwrap(), "[::1]:8080");
        assert_eq!(target.get().uri(), "/slow?ms=5");
        assert_eq!(Target::parse("http://demo").unwrap().port, 80);
        for wrong in ["https://demo/", "demo:8080", "/path", ""] {
            assert!(Target::parse(wrong).is_err(), "{wrong} was taken");
        }
    }
}
