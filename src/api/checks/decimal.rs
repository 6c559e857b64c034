//! Decimal numbers as people write them. Strings, because JSON numbers lose digits and YAML ones their form.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Digits before and behind the point that are accepted: what a double holds exactly.
const DIGITS: usize = 15;

/// A decimal number: `0.001`, `-5`, at most 15 digits before and behind the point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal {
    text: String,
    value: f64,
}

/// What is no decimal number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a decimal number: write 0.001 or -5, with at most 15 digits before and behind the point")]
pub struct NotDecimal(String);

impl Decimal {
    /// Returns the number.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.value
    }
}

impl FromStr for Decimal {
    type Err = NotDecimal;

    fn from_str(text: &str) -> Result<Self, NotDecimal> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let digits = |text: &str| (1..=DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = text.parse().ok().filter(|_| digits(whole) && digits(part));
        let value = value.ok_or_else(|| NotDecimal(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), value })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Decimal {
    type Error = NotDecimal;

    fn try_from(text: String) -> Result<Self, NotDecimal> {
        text.parse()
    }
}

impl From<Decimal> for String {
    fn from(decimal: Decimal) -> Self {
        decimal.text
    }
}

impl JsonSchema for Decimal {
    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 32, "pattern": "^-?[0-9]{1,15}([.][0-9]{1,15})?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write_and_nothing_that_only_looks_like_a_number() {
        for (text, value) in [("0.001", 0.001), ("-5", -5.0), ("007", 7.0), ("900", 900.0)] {
            let decimal: Decimal = text.parse().unwrap();
            assert_eq!((decimal.value(), decimal.to_string().as_str()), (value, text));
        }
        for text in
            ["", "-", ".5", "5.", "1e3", "NaN", "inf", "+1", "0x10", "1_000", "1,5", " 1", "1 ", "1234567890123456"]
        {
            assert_eq!(text.parse::<Decimal>(), Err(NotDecimal(text.into())), "{text}");
        }
    }
}
