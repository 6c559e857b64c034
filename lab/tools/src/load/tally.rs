//! Adds up. In: what was sent and how each request ended. Out: the numbers of the report. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::attempt::{Done, Trouble};
use super::report::{Counts, Latency, Seen, Span, TroubleLine, Version};
use super::schedule::Kind;
use crate::client::Cause;
use crate::clock;

/// How many requests are told one by one; the rest is in the counts.
const LISTED: usize = 50;
/// The name of answers that bear no version.
const NO_VERSION: &str = "none";

/// The sums so far.
#[derive(Default)]
pub struct Tally {
    /// Requests sent; by kind, too.
    pub sent: u64,
    /// By kind.
    pub requests: Counts,
    /// Complete answers with status 200.
    pub ok: u64,
    /// Everything else that ended.
    pub lost: u64,
    /// Sent a second time, as a correct client may; how that ended is in `ok` or `lost`.
    pub retried: u64,
    /// Sent over a connection that was used before.
    pub reused: u64,
    /// Lost, by what went wrong.
    pub lost_by_cause: BTreeMap<Cause, u64>,
    /// The first lost ones.
    pub lost_requests: Vec<TroubleLine>,
    /// The first retried ones.
    pub retried_requests: Vec<TroubleLine>,
    versions: BTreeMap<String, Seen>,
    latencies_us: Vec<u32>,
}

impl Tally {
    /// Counts a request that is being sent.
    pub fn sent(&mut self, kind: Kind) {
        self.sent += 1;
        *self.requests.of(kind) += 1;
    }

    /// How many have no end yet.
    pub fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.ok).saturating_sub(self.lost)
    }

    /// Counts how a request ended. Returns the version when it had not been seen before.
    pub fn ended(&mut self, done: &Done) -> Option<String> {
        self.reused += u64::from(done.reused);
        if let Some(trouble) = &done.retried {
            self.retried += 1;
            list(&mut self.retried_requests, done, trouble);
        }
        match &done.result {
            Ok(version) => {
                self.ok += 1;
                if done.kind != Kind::Long {
                    self.latencies_us.push(u32::try_from(done.latency.as_micros()).unwrap_or(u32::MAX));
                }
                self.saw(version.as_deref().unwrap_or(NO_VERSION), done)
            }
            Err(trouble) => {
                self.lost += 1;
                *self.lost_by_cause.entry(trouble.cause).or_default() += 1;
                list(&mut self.lost_requests, done, trouble);
                None
            }
        }
    }

    fn saw(&mut self, version: &str, done: &Done) -> Option<String> {
        let is_new = !self.versions.contains_key(version);
        let seen = self.versions.entry(version.to_owned()).or_default();
        seen.all.extend(done.at);
        seen.by_kind.entry(done.kind).or_default().extend(done.at);
        is_new.then(|| version.to_owned())
    }

    /// Answers by version.
    pub fn versions(&self) -> BTreeMap<String, Version> {
        self.versions.iter().map(|(version, seen)| (version.clone(), seen.to_version())).collect()
    }

    /// The latency of ordinary requests that were answered.
    pub fn latency(&self) -> Latency {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        Latency { p50: percentile(&sorted, 50), p99: percentile(&sorted, 99), max: percentile(&sorted, 100) }
    }
}

fn list(lines: &mut Vec<TroubleLine>, done: &Done, trouble: &Trouble) {
    if lines.len() < LISTED {
        lines.push(TroubleLine {
            at: clock::rfc3339(done.at),
            kind: done.kind,
            cause: trouble.cause,
            error: trouble.error.clone(),
            after_ms: milliseconds(trouble.after),
        });
    }
}

/// Milliseconds with three decimals.
pub fn milliseconds(length: Duration) -> f64 {
    f64::from(u32::try_from(length.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

/// The smallest value that at least `percent` of the values do not exceed, in milliseconds; 0 without values.
fn percentile(sorted_us: &[u32], percent: usize) -> f64 {
    let rank = (sorted_us.len() * percent).div_ceil(100).saturating_sub(1);
    sorted_us.get(rank).map_or(0.0, |us| f64::from(*us) / 1000.0)
}

impl Span {
    fn extend(&mut self, at: Timestamp) {
        self.count += 1;
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(kind: Kind, second: i64, result: Result<Option<String>, Trouble>) -> Done {
        Done {
            kind,
            at: Timestamp::from_second(second).unwrap(),
            latency: Duration::from_millis(u64::try_from(second).unwrap()),
            reused: false,
            result,
            retried: None,
            client: 0,
            kept: None,
        }
    }

    fn answered(kind: Kind, second: i64, version: &str) -> Done {
        done(kind, second, Ok(Some(version.to_owned())))
    }

    fn reset() -> Trouble {
        Trouble { cause: Cause::Reset, error: "reset".to_owned(), after: Duration::from_millis(7) }
    }

    #[test]
    fn a_version_is_new_once_and_spans_its_answers() {
        let mut tally = Tally::default();
        assert_eq!(tally.ended(&answered(Kind::New, 5, "1")), Some("1".to_owned()));
        assert_eq!(tally.ended(&answered(Kind::Keepalive, 9, "1")), None);
        assert_eq!(tally.ended(&answered(Kind::New, 7, "2")), Some("2".to_owned()));
        let versions = serde_json::to_value(tally.versions()).unwrap();
        assert_eq!(versions["1"]["count"], 2);
        assert_eq!(versions["1"]["first_at"], "1970-01-01T00:00:05.000Z");
        assert_eq!(versions["1"]["last_at"], "1970-01-01T00:00:09.000Z");
        assert_eq!(versions["1"]["by_kind"]["new"]["last_at"], "1970-01-01T00:00:05.000Z");
    }

    #[test]
    fn a_retried_request_is_still_one_request() {
        let mut tally = Tally::default();
        tally.sent(Kind::Keepalive);
        tally.ended(&Done { retried: Some(reset()), ..answered(Kind::Keepalive, 1, "1") });
        tally.sent(Kind::Keepalive);
        tally.ended(&Done { retried: Some(reset()), ..done(Kind::Keepalive, 1, Err(reset())) });
        assert_eq!((tally.sent, tally.ok, tally.lost, tally.retried, tally.in_flight()), (2, 1, 1, 2, 0));
    }

    #[test]
    fn lists_are_bounded_and_counts_are_not() {
        let mut tally = Tally::default();
        for _ in 0..LISTED + 10 {
            tally.ended(&done(Kind::New, 1, Err(reset())));
        }
        assert_eq!(tally.lost_requests.len(), LISTED);
        assert_eq!(tally.lost_by_cause.get(&Cause::Reset), Some(&60));
    }

    #[test]
    fn percentiles_leave_out_long_requests() {
        let mut tally = Tally::default();
        assert!(tally.latency().max.abs() < f64::EPSILON);
        for number in 1..=200 {
            tally.ended(&answered(Kind::New, number, "1"));
        }
        tally.ended(&answered(Kind::Long, 20_000, "1"));
        let latency = tally.latency();
        assert_eq!((latency.p50, latency.p99, latency.max), (100.0, 198.0, 200.0));
    }
}
