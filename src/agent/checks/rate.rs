//! All requests of the last minutes together: how many failed, how long those that were answered took; pure.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;

use super::judge::{Sample, Says};
use crate::api::HttpRate;

/// What one time of asking has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// Requests made.
    pub asked: u64,
    /// Requests that failed.
    pub failed: u64,
    /// How long those that succeeded took, together.
    pub took: Duration,
}

/// The tallies of a time that moves with the clock.
pub(super) struct Rate<'a> {
    rate: &'a HttpRate,
    tallies: VecDeque<(Timestamp, Tally)>,
}

impl<'a> Rate<'a> {
    pub const fn new(rate: &'a HttpRate) -> Self {
        Self { rate, tallies: VecDeque::new() }
    }

    /// Adds what was asked just now; returns what all of the last time together say. `failure`: what the last failure
    /// was, in words.
    pub fn take(&mut self, now: Timestamp, tally: Tally, failure: Option<&str>) -> Sample {
        self.tallies.push_back((now, tally));
        let oldest = now.saturating_sub(self.rate.over.as_signed()).unwrap_or(Timestamp::MIN);
        while self.tallies.front().is_some_and(|(at, _)| *at < oldest) {
            self.tallies.pop_front();
        }
        let sum = self.tallies.iter().fold(Tally::default(), |sum, (_, tally)| Tally {
            asked: sum.asked + tally.asked,
            failed: sum.failed + tally.failed,
            took: sum.took.saturating_add(tally.took),
        });
        let (says, mut detail) = self.judge(sum);
        if let Some(failure) = failure.filter(|_| sum.failed > 0) {
            detail.push_str(&format!("; the last one: {failure}"));
        }
        Sample { says, detail, asked: tally.asked, failed: tally.failed }
    }

    #[allow(clippy::cast_precision_loss, reason = "nobody makes 2^52 requests")]
    fn judge(&self, sum: Tally) -> (Says, String) {
        let HttpRate { over, max_failure_percent, max_mean_latency, min_samples } = self.rate;
        let Tally { asked, failed, took } = sum;
        let (percent, answered) = (failed as f64 * 100.0 / asked.max(1) as f64, asked - failed);
        let mean = took.checked_div(u32::try_from(answered).unwrap_or(u32::MAX));
        let answered = mean.map(|mean| format!(", the others took {} ms on average", mean.as_millis()));
        let seen = format!("{failed} of {asked} requests failed within {over}{}", answered.unwrap_or_default());
        if asked < u64::from(*min_samples) {
            return (Says::TooFew, format!("{seen}; at least {min_samples} are needed to tell"));
        }
        if let Some(max) = max_failure_percent.as_ref().filter(|max| percent > max.value()) {
            return (Says::Breach, format!("{seen}: that is {percent:.3} %, expected at most {max} %"));
        }
        if let Some(max) = max_mean_latency {
            return match mean {
                Some(mean) if mean > max.as_std() => (Says::Breach, format!("{seen}, expected at most {max}")),
                Some(_) => (Says::Within, seen),
                None => (Says::Silent, format!("{seen}: none was answered")),
            };
        }
        (Says::Within, seen)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    /// Makes requests each second; returns what is said at the end.
    fn said(rate: &serde_json::Value, tallies: &[(u64, u64, u64)]) -> Sample {
        let rate: HttpRate = serde_json::from_value(rate.clone()).unwrap();
        let mut rates = Rate::new(&rate);
        let begin: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let mut last = None;
        for (second, (asked, failed, took)) in (0..).zip(tallies) {
            let now = begin.checked_add(SignedDuration::from_secs(second)).unwrap();
            let tally = Tally { asked: *asked, failed: *failed, took: Duration::from_millis(*took) };
            last = Some(rates.take(now, tally, (*failed > 0).then_some("500")));
        }
        last.unwrap()
    }

    #[test]
    fn a_share_of_failures_is_judged_over_the_time_that_was_asked_for() {
        let rate = serde_json::json!({ "over": "10s", "maxFailurePercent": "2", "minSamples": 50 });
        assert_eq!(said(&rate, &[(49, 49, 0)]).says, Says::TooFew);
        assert_eq!(said(&rate, &[(50, 1, 0), (50, 1, 0)]).says, Says::Within);
        let breach = said(&rate, &[(50, 1, 0), (50, 2, 0)]);
        assert_eq!((breach.says, breach.asked, breach.failed), (Says::Breach, 50, 2));
        assert!(breach.detail.contains("3 of 100") && breach.detail.contains("3.000 %"), "{}", breach.detail);
        // What is older than ten seconds does not count any more.
        let mut long = vec![(50, 50, 0)];
        long.extend([(50, 0, 0); 11]);
        assert_eq!(said(&rate, &long).says, Says::Within);
    }

    #[test]
    fn a_mean_is_that_of_what_was_answered_and_nothing_without_any() {
        let rate = serde_json::json!({ "over": "10s", "maxMeanLatency": "200ms", "minSamples": 2 });
        assert_eq!(said(&rate, &[(2, 0, 400)]).says, Says::Within);
        assert_eq!(said(&rate, &[(2, 0, 402)]).says, Says::Breach);
        assert_eq!(said(&rate, &[(2, 2, 0)]).says, Says::Silent);
    }
}
