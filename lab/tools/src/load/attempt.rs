//! One request, from its due time to its end: answered or lost, once. The only place that sends a request again.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue};
use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::schedule::Kind;
use crate::client::{Answer, Cause, Connection, Failure, Target};
use crate::clock;

/// What is to be sent.
pub struct Request {
    /// Where to.
    pub target: Target,
    /// How it travels.
    pub kind: Kind,
    /// When it was due: latency counts from here, so that a generator that falls behind does not look like a fast
    /// server.
    pub due: Instant,
    /// How long it may take from when it is really sent.
    pub limit: Duration,
    /// The client whose connection it uses.
    pub client: usize,
    /// That connection, if the client has one and it is free.
    pub kept: Option<Connection>,
}

/// How a request ended.
pub struct Done {
    /// How it travelled.
    pub kind: Kind,
    /// When it ended.
    pub at: Timestamp,
    /// From when it was due.
    pub latency: Duration,
    /// Whether it went (or first went) over a connection that was used before.
    pub reused: bool,
    /// The version that answered, or why there was no good answer.
    pub result: Result<Option<String>, Trouble>,
    /// The end of the first try, if there was a second.
    pub retried: Option<Trouble>,
    /// The client whose connection it used.
    pub client: usize,
    /// The connection, if it can be used again.
    pub kept: Option<Connection>,
}

/// What went wrong, and how long after sending.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// What kind of thing.
    pub cause: Cause,
    /// The message.
    pub error: String,
    /// From sending. Near 0 for a connection closed while the request was on its way; long for a server that took
    /// the request and went away with it.
    pub after: Duration,
}

/// Carries one request to its end.
pub async fn perform(request: Request) -> Done {
    let Request { target, kind, due, limit, client, kept } = request;
    let mut trip = Trip { sent: clock::now(), reused: false, retried: None };
    let end = match timeout(limit, trip.travel(&target, kind, kept)).await {
        Ok(end) => end,
        Err(_) => {
            let error = format!("no complete answer within {limit:?}");
            Err(Failure { cause: Cause::Timeout, error, may_be_sent_again: false })
        }
    };
    let (result, kept) = match end {
        Ok((answer, connection)) if answer.status == StatusCode::OK => {
            (Ok(answer.version), answer.keeps_open.then_some(connection))
        }
        Ok((answer, connection)) => {
            let error = format!("status {}", answer.status);
            let trouble = Trouble { cause: Cause::Status, error, after: clock::since(trip.sent) };
            (Err(trouble), answer.keeps_open.then_some(connection))
        }
        Err(failure) => (Err(trip.trouble(failure)), None),
    };
    Done {
        kind,
        at: clock::wall(),
        latency: clock::since(due),
        reused: trip.reused,
        result,
        retried: trip.retried,
        client,
        kept: kept.filter(|_| kind == Kind::Keepalive),
    }
}

/// What has to be known even if time runs out in the middle.
struct Trip {
    sent: Instant,
    reused: bool,
    retried: Option<Trouble>,
}

impl Trip {
    async fn travel(
        &mut self,
        target: &Target,
        kind: Kind,
        kept: Option<Connection>,
    ) -> Result<(Answer, Connection), Failure> {
        if let Some(mut connection) = kept
            && connection.is_open().await
        {
            self.reused = true;
            match connection.exchange(target.get()).await {
                Ok(answer) => return Ok((answer, connection)),
                Err(failure) if failure.may_be_sent_again => self.retried = Some(self.trouble(failure)),
                Err(failure) => return Err(failure),
            }
        }
        // Whatever happens on this one is final: a fresh connection never allows another try.
        let mut request = target.get();
        if kind != Kind::Keepalive {
            // The server closes first, so that the connection's TIME_WAIT occupies no ephemeral port of this side.
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut connection = Connection::open(target).await?;
        let answer = connection.exchange(request).await?;
        Ok((answer, connection))
    }

    fn trouble(&self, failure: Failure) -> Trouble {
        Trouble { cause: failure.cause, error: failure.error, after: clock::since(self.sent) }
    }
}
