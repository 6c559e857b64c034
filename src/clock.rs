//! The one place that reads a clock.
//!
//! Everything that decides takes the time as data; only the edges (a reconcile, an agent, a command) ask here.

use std::time::Duration;

use jiff::{Timestamp, Unit};

/// Returns the present time in UTC, in whole microseconds: what status can hold, so that a time read back is the
/// time that was written.
#[allow(clippy::disallowed_methods)]
#[must_use]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Microsecond).unwrap_or(now)
}

/// Measures how long something took, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts measuring.
    #[allow(clippy::disallowed_methods)]
    #[must_use]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// One that was started some time ago.
    #[cfg(test)]
    #[allow(clippy::disallowed_methods)]
    #[must_use]
    pub fn started(ago: Duration) -> Self {
        Self(std::time::Instant::now().checked_sub(ago).expect("the machine has run for longer"))
    }

    /// Returns the time since the start.
    #[allow(clippy::disallowed_methods)]
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
