//! What the answers to one check amount to, one after the other; pure.

use jiff::Timestamp;

use crate::{
    api::{Decimal, Duration, bounds},
    protocol::{Finding, Probe},
};

/// How many times in a row nothing is said before that means something: one question may be lost on the way.
const SILENT: u32 = 3;

/// What one question has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    /// What it says.
    pub says: Says,
    /// In words.
    pub detail: String,
    /// Requests made.
    pub asked: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// As expected.
    Within,
    /// Not as expected.
    Breach,
    /// Nobody answered, which is what users would see: not as expected, unless a later try brings an answer.
    Unanswered,
    /// Nothing that can be judged.
    Silent,
    /// Nothing that can be judged yet.
    TooFew,
}

impl Sample {
    /// Returns what one request has brought.
    pub fn one(says: Says, detail: impl Into<String>) -> Self {
        let failed = u64::from(says != Says::Within);
        Self { says, detail: detail.into(), asked: 1, failed }
    }

    /// Judges one number.
    pub fn number(value: f64, min: Option<&Decimal>, max: Option<&Decimal>) -> Self {
        if !value.is_finite() {
            return Self::one(Says::Silent, format!("the value is {value}, which is no number"));
        }
        let within = min.is_none_or(|min| value >= min.value()) && max.is_none_or(|max| value <= max.value());
        let says = if within { Says::Within } else { Says::Breach };
        Self::one(says, format!("the value is {value}, expected {}", bounds(min, max)))
    }
}

/// Judges what a check brings during a window.
#[derive(Debug)]
pub(super) struct Judge {
    breach_for: Duration,
    enough: u32,
    must_tell: bool,
    breaching_since: Option<Timestamp>,
    silent_since: Option<Timestamp>,
    silent: u32,
    answers: u32,
    asked: u64,
    failed: u64,
}

impl Judge {
    pub fn new(probe: &Probe) -> Self {
        let (_, breach_for, enough) = probe.what.pace();
        let must_tell = probe.must_tell;
        let (breaching_since, silent_since) = (None, None);
        Self {
            breach_for,
            enough,
            must_tell,
            breaching_since,
            silent_since,
            silent: 0,
            answers: 0,
            asked: 0,
            failed: 0,
        }
    }

    /// Takes the next answer; returns what the check says once that is certain. `over`: the window has ended.
    pub fn take(
        &mut self,
        sample: Sample,
        (began, now): (Timestamp, Timestamp),
        over: bool,
    ) -> Option<(Finding, String)> {
        let Sample { says, detail, asked, failed } = sample;
        self.asked += asked;
        self.failed += failed;
        let lasts = |since: Timestamp| now.duration_since(since) >= self.breach_for.as_signed();
        match says {
            Says::Within => {
                (self.breaching_since, self.silent, self.silent_since) = (None, 0, None);
                self.answers = self.answers.saturating_add(1);
            }
            Says::Breach | Says::Unanswered => {
                (self.silent, self.silent_since) = (0, None);
                self.answers = self.answers.saturating_add(1);
                if lasts(*self.breaching_since.get_or_insert(began)) {
                    return Some((Finding::No, detail));
                }
                // At the end of the window: failing for less than `breachFor` is not long enough to be a breach.
            }
            Says::TooFew => return over.then_some((Finding::CannotTell, detail)),
            // Silence neither ends a breach nor prolongs it.
            Says::Silent => {
                self.silent = self.silent.saturating_add(1);
                let patience_over = lasts(*self.silent_since.get_or_insert(began)) && self.must_tell;
                let means_something = self.silent >= SILENT && (over || patience_over);
                return means_something.then_some((Finding::CannotTell, detail));
            }
        }
        over.then(|| self.last_word(detail))
    }

    fn last_word(&self, detail: String) -> (Finding, String) {
        if self.answers >= self.enough {
            return (Finding::Yes, detail);
        }
        let detail = format!("there were {} answers, expected at least {}; {detail}", self.answers, self.enough);
        (Finding::CannotTell, detail)
    }

    /// Returns how many requests were made, and how many failed.
    pub const fn counted(&self) -> (u64, u64) {
        (self.asked, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::protocol::ProbeKind;

    fn judge(breach_for: &str, enough: u32, must_tell: bool) -> Judge {
        let check = serde_json::json!({
            "address": "http://p", "query": "q", "max": "1", "breachFor": breach_for, "minSamples": enough
        });
        let what = ProbeKind::Prometheus { check: serde_json::from_value(check).unwrap(), ca: None };
        Judge::new(&Probe { name: "errors".into(), must_tell, what })
    }

    /// Lets answers come, one each ten seconds; the last one when the window is over. Returns the verdict and after how
    /// many answers it was certain.
    fn judged(mut judge: Judge, answers: &str) -> Option<(Finding, usize)> {
        let begin: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (number, answer) in answers.chars().enumerate() {
            let says = match answer {
                '+' => Says::Within,
                '-' => Says::Breach,
                '?' => Says::Silent,
                _ => Says::TooFew,
            };
            let at = begin.checked_add(SignedDuration::from_secs(10 * i64::try_from(number).unwrap())).unwrap();
            let over = number + 1 == answers.len();
            if let Some((finding, _)) = judge.take(Sample::one(says, "x"), (at, at), over) {
                return Some((finding, number + 1));
            }
        }
        None
    }

    #[test]
    fn a_breach_fails_when_it_has_lasted_and_not_before() {
        assert_eq!(judged(judge("0s", 1, false), "+-+"), Some((Finding::No, 2)));
        assert_eq!(judged(judge("20s", 1, false), "+---+"), Some((Finding::No, 4)));
        assert_eq!(judged(judge("20s", 1, false), "--+--+--"), Some((Finding::Yes, 8)));
        // Silence neither ends a breach nor is one.
        assert_eq!(judged(judge("20s", 1, false), "-??-+"), Some((Finding::No, 4)));
        assert_eq!(judged(judge("20s", 1, false), "-???+"), Some((Finding::Yes, 5)));
    }

    #[test]
    fn input_53_silence_is_never_a_success() {
        assert_eq!(judged(judge("0s", 1, false), "+++???"), Some((Finding::CannotTell, 6)));
        assert_eq!(judged(judge("0s", 1, false), "???+"), Some((Finding::Yes, 4)), "it came back");
        // One lost question at the end is asked again.
        assert_eq!(judged(judge("0s", 1, false), "+++?"), None);
        assert_eq!(judged(judge("0s", 3, false), "+?+?+"), Some((Finding::Yes, 5)));
        assert_eq!(judged(judge("0s", 3, false), "+?+"), Some((Finding::CannotTell, 3)), "too few");
        assert_eq!(judged(judge("0s", 1, false), "..."), Some((Finding::CannotTell, 3)));
    }

    #[test]
    fn who_must_tell_is_waited_for_no_longer_than_a_breach_may_last() {
        assert_eq!(judged(judge("0s", 1, true), "+???+"), Some((Finding::CannotTell, 4)));
        assert_eq!(judged(judge("40s", 1, true), "+???++"), Some((Finding::Yes, 6)));
        assert_eq!(judged(judge("40s", 1, true), "+?????+"), Some((Finding::CannotTell, 6)));
        assert_eq!(judged(judge("0s", 1, true), "....+"), Some((Finding::Yes, 5)), "it gathers still");
    }

    #[test]
    fn input_53_what_is_no_number_tells_nothing() {
        let bound: Decimal = "2".parse().unwrap();
        for (value, says) in [
            (2.0, Says::Within),
            (2.1, Says::Breach),
            (f64::NAN, Says::Silent),
            (f64::INFINITY, Says::Silent),
            (f64::NEG_INFINITY, Says::Silent),
        ] {
            assert_eq!(Sample::number(value, None, Some(&bound)).says, says, "{value}");
        }
        assert_eq!(Sample::number(1.9, Some(&bound), None).says, Says::Breach);
    }
}
