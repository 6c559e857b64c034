//! Every look at a clock in the lab's programs. Nothing else may call one, so that a reader finds them all here.
#![allow(clippy::disallowed_methods, reason = "the one module of this crate that may read a clock")]

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Reads the monotonic clock: for intervals and due times.
pub fn now() -> Instant {
    Instant::now()
}

/// Reads the wall clock: for the moments in reports, which are compared with those of other programs.
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// Measures how long ago `earlier` was.
pub fn since(earlier: Instant) -> Duration {
    now().saturating_duration_since(earlier)
}

/// Waits for a length of time.
pub async fn sleep(length: Duration) {
    tokio::time::sleep(length).await;
}

/// Writes a moment as RFC 3339 with milliseconds, in UTC.
pub fn rfc3339(moment: Timestamp) -> String {
    format!("{moment:.3}")
}
