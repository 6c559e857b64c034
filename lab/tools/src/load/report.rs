//! The report: its shape in JSON, and how it gets into a file. Nothing is computed here.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::schedule::Kind;
use crate::client::Cause;
use crate::clock;

/// Everything that is known at the end. Moments are RFC 3339 with milliseconds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When sending began.
    pub started_at: String,
    /// When the last request had ended.
    pub ended_at: String,
    /// What ended it.
    pub ended_by: EndedBy,
    /// Requests sent, each counted once.
    pub sent: u64,
    /// Complete answers with status 200.
    pub ok: u64,
    /// Requests without one.
    pub lost: u64,
    /// Requests sent a second time after a used connection ended without a byte of the answer.
    pub retried: u64,
    /// Requests whose end was not waited for, because a signal came while it was.
    pub unfinished: u64,
    /// Requests by kind.
    pub requests: Counts,
    /// Requests sent over a connection that was used before.
    pub reused: u64,
    /// Answers by version.
    pub by_version: BTreeMap<String, Version>,
    /// Lost requests by what went wrong.
    pub lost_by_cause: BTreeMap<Cause, u64>,
    /// The first 50 lost requests.
    pub lost_requests: Vec<TroubleLine>,
    /// The first 50 retried requests, with what happened to the first try.
    pub retried_requests: Vec<TroubleLine>,
    /// Of the answered requests that are not long, from when they were due.
    pub latency_ms: Latency,
    /// How far the generator itself was behind its schedule, at most: a large value puts the latencies in doubt.
    pub behind_ms_max: f64,
}

/// What ended the sending.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// The time was over.
    Time,
    /// The number of requests was reached.
    Count,
    /// SIGTERM or SIGINT.
    Signal,
    /// Standard input was closed.
    Stdin,
}

/// Requests by kind.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Over kept connections.
    pub keepalive: u64,
    /// Over new connections.
    pub new: u64,
    /// Long ones.
    pub long: u64,
}

impl Counts {
    /// The count of one kind.
    pub fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Keepalive => &mut self.keepalive,
            Kind::New => &mut self.new,
            Kind::Long => &mut self.long,
        }
    }
}

/// One request in trouble.
#[derive(Debug, Serialize)]
pub struct TroubleLine {
    /// When it ended.
    pub at: String,
    /// How it travelled.
    pub kind: Kind,
    /// What kind of thing went wrong.
    pub cause: Cause,
    /// The message.
    pub error: String,
    /// From sending to the trouble.
    pub after_ms: f64,
}

/// The answers of one version.
#[derive(Debug, Serialize)]
pub struct Version {
    #[serde(flatten)]
    all: Moments,
    by_kind: BTreeMap<Kind, Moments>,
}

#[derive(Debug, Serialize)]
struct Moments {
    count: u64,
    first_at: Option<String>,
    last_at: Option<String>,
}

/// Latencies in milliseconds.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// Half was not slower.
    pub p50: f64,
    /// 99 of 100 were not slower.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// When one version answered.
#[derive(Debug, Default)]
pub struct Seen {
    /// Anything.
    pub all: Span,
    /// By kind: a long request's answer comes long after the switch that it does not contradict.
    pub by_kind: BTreeMap<Kind, Span>,
}

/// Some answers, from the first to the last.
#[derive(Debug, Default)]
pub struct Span {
    /// How many.
    pub count: u64,
    /// The first one's end.
    pub first: Option<Timestamp>,
    /// The last one's end.
    pub last: Option<Timestamp>,
}

impl Seen {
    /// In the shape of the report.
    pub fn to_version(&self) -> Version {
        let by_kind = self.by_kind.iter().map(|(kind, span)| (*kind, span.to_moments())).collect();
        Version { all: self.all.to_moments(), by_kind }
    }
}

impl Span {
    fn to_moments(&self) -> Moments {
        let text = |moment: Option<Timestamp>| moment.map(clock::rfc3339);
        Moments { count: self.count, first_at: text(self.first), last_at: text(self.last) }
    }
}

impl Report {
    /// Tells whether every request is known to have been answered.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.unfinished == 0
    }

    /// The report in one line.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("the report cannot be written as JSON: {error}"))
    }

    /// Writes the report so that whoever waits for the file never reads half of it.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let partial = file.with_extension("partial");
        std::fs::write(&partial, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&partial, file)
    }
}
