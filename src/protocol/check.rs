//! Checks: what a check Job shall do and what came of it.

use serde::{Deserialize, Serialize};

use crate::api::Duration;

/// What a check Job shall do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckParameters {
    /// The checks, all run side by side.
    pub checks: Vec<HttpProbe>,
    /// Absent: each check once. Present: each again and again until then (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
}

/// One HTTP check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpProbe {
    /// Name of the check.
    pub name: String,
    /// Where to ask.
    pub url: String,
    /// Status codes that are a success.
    pub status: Vec<u16>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Time between two requests.
    pub every: Duration,
    /// How long requests must fail without one success before the check has failed.
    pub breach_for: Duration,
}

/// What came of a check Job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// One entry per check.
    pub checks: Vec<CheckVerdict>,
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckVerdict {
    /// Name of the check.
    pub name: String,
    /// Whether it said yes.
    pub passed: bool,
    /// What was seen last, in words.
    pub detail: String,
    /// Requests made.
    pub requests: u64,
    /// Requests that failed.
    pub failures: u64,
}

impl CheckResult {
    /// Returns whether every check that was asked for is there and said yes.
    #[must_use]
    pub fn all_passed(&self, asked: usize) -> bool {
        self.checks.len() == asked && self.checks.iter().all(|check| check.passed)
    }

    /// Returns the result as JSON that fits a termination message: details are shortened until it does.
    #[must_use]
    pub fn to_message(&self, longest: usize) -> String {
        let mut short = self.clone();
        let mut detail = longest;
        loop {
            let text = serde_json::to_string(&short).unwrap_or_default();
            if text.len() <= longest || detail == 0 {
                return text;
            }
            detail /= 2;
            for check in &mut short.checks {
                check.detail = check.detail.chars().take(detail).collect();
            }
        }
    }

    /// Returns what the failed checks saw.
    #[must_use]
    pub fn failures(&self) -> String {
        let failed: Vec<String> = self
            .checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| format!("{}: {}", check.name, check.detail))
            .collect();
        failed.join("; ")
    }
}
