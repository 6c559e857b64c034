//! How long to wait after errors, per object: kube's controller does not remember.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use crate::error::Class;

/// First wait after an error that may pass.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait after an error that may pass.
const LONGEST: Duration = Duration::from_secs(30);
/// Wait after an error that somebody has to mend.
const BLOCKED: Duration = Duration::from_secs(60);
/// Wait after a conflict: the newer object is on its way to the cache.
const CONFLICT: Duration = Duration::from_millis(50);
/// Doublings until the longest wait is reached, so that the shift cannot overflow.
const DOUBLINGS: u32 = 8;

/// Counts errors in a row, per object.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// Notes an error and returns how long to wait.
    #[must_use]
    pub fn failed(&self, key: &str, class: Class) -> Duration {
        let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = counts.entry(key.to_owned()).or_default();
        let wait = match class {
            Class::Blocked => BLOCKED,
            // A conflict that keeps coming back is a fight, and waits like any other error.
            Class::Conflict if *count == 0 => CONFLICT,
            Class::Conflict | Class::Retry => (FIRST * (1 << (*count).min(DOUBLINGS))).min(LONGEST),
        };
        *count += 1;
        wait
    }

    /// Forgets an object's errors, after a success or when it is gone.
    pub fn succeeded(&self, key: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_each_time_and_starts_anew_after_a_success() {
        let backoff = Backoff::default();
        let waits: Vec<u128> = (0..10).map(|_| backoff.failed("a", Class::Retry).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(backoff.failed("b", Class::Conflict).as_millis(), 50);
        backoff.succeeded("a");
        assert_eq!(backoff.failed("a", Class::Retry).as_millis(), 200);
        assert_eq!(backoff.failed("a", Class::Blocked).as_secs(), 60);
    }
}
