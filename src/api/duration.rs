//! Lengths of time as people write them: `90s`, `1h30m`, `250ms`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Longest length of time that is accepted: one year. There are no days, as in CEL and Go.
const LONGEST_HOURS: u64 = 8760;

/// A length of time in the grammar `([0-9]+(ms|s|m|h))+`, at most 8760h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(std::time::Duration);

impl std::ops::Add for Duration {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Duration {
    /// Returns a length of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// Returns a length of whole milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }

    /// Returns the length for the standard library.
    #[must_use]
    pub const fn as_std(self) -> std::time::Duration {
        self.0
    }

    /// Returns the length for arithmetic with timestamps.
    #[must_use]
    pub fn as_signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX)
    }
}

/// What is wrong with a length of time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseError {
    /// The text does not follow the grammar.
    #[error("{0:?} is not a duration: write numbers with the units ms, s, m or h, as in 1h30m")]
    Grammar(String),
    /// The text is longer than a year.
    #[error("{0:?} is longer than 8760h")]
    TooLong(String),
}

impl FromStr for Duration {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let grammar = || ParseError::Grammar(text.to_owned());
        let too_long = || ParseError::TooLong(text.to_owned());
        let mut rest = text;
        let mut milliseconds: u64 = 0;
        if rest.is_empty() {
            return Err(grammar());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(grammar)?;
            let (number, tail) = rest.split_at(digits);
            let (unit_ms, tail) = unit(tail).ok_or_else(grammar)?;
            if number.is_empty() {
                return Err(grammar());
            }
            let number: u64 = number.parse().map_err(|_| too_long())?;
            milliseconds =
                number.checked_mul(unit_ms).and_then(|part| milliseconds.checked_add(part)).ok_or_else(too_long)?;
            rest = tail;
        }
        if milliseconds > LONGEST_HOURS * 3_600_000 {
            return Err(too_long());
        }
        Ok(Self::from_millis(milliseconds))
    }
}

/// Reads one unit; returns its milliseconds and what follows it.
fn unit(text: &str) -> Option<(u64, &str)> {
    // `ms` stands first: `m` would match its beginning.
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
        .into_iter()
        .find_map(|(name, ms)| text.strip_prefix(name).map(|tail| (ms, tail)))
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= ms {
                write!(f, "{}{name}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Duration {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 24,
            "pattern": "^([0-9]+(ms|s|m|h))+$",
            "x-kubernetes-validations": [{
                "rule": "duration(self) <= duration('8760h')",
                "message": "longer than 8760h"
            }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_grammar_allows_and_nothing_else() {
        for (text, ms) in [("5s", 5_000), ("1h30m", 5_400_000), ("250ms", 250), ("0s", 0), ("1m1ms", 60_001)] {
            assert_eq!(text.parse(), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "-1s", "1e9h", "1.5.2s", "s", "1d", "5 s", "ms5", "1h ", "0 16 * * FRI"] {
            assert_eq!(text.parse::<Duration>(), Err(ParseError::Grammar(text.into())), "{text}");
        }
        for text in ["8761h", "99999999999999999999h", "2628000h", "99999999999999h"] {
            assert_eq!(text.parse::<Duration>(), Err(ParseError::TooLong(text.into())), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_it_prints_it_reads_back(ms in 0u64..=8760 * 3_600_000) {
            let duration = Duration::from_millis(ms);
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
