//! Checks: what a check Job shall do and what came of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::DatabaseTarget;
use crate::api::{DnsCheck, Duration, HttpCheck, PrometheusCheck, SqlCheck, TlsCheck};

/// What a check Job shall do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckParameters {
    /// The checks, all run side by side.
    pub checks: Vec<Probe>,
    /// Absent: each check once. Present: each again and again until then (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Name of the check.
    pub name: String,
    /// Whether the Job ends early when the check cannot tell for as long as a breach may last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_tell: bool,
    /// What is asked.
    pub what: ProbeKind,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeKind {
    /// Requests over HTTP.
    Http(Box<HttpProbe>),
    /// A query to Prometheus.
    Prometheus {
        /// The query.
        check: PrometheusCheck,
        /// File with certificate authorities.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca: Option<PathBuf>,
    },
    /// A certificate.
    Tls {
        /// Whose.
        check: TlsCheck,
        /// File with certificate authorities.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca: Option<PathBuf>,
    },
    /// A name.
    Dns(DnsCheck),
    /// A query to a database.
    Sql {
        /// The query.
        check: SqlCheck,
        /// The database; absent when its `DatabaseInstance` is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<DatabaseTarget>,
    },
}

/// Requests over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpProbe {
    /// What is asked for; it holds a port only where the scheme's own is not meant.
    pub url: String,
    /// `host:port` that is connected to instead of the URL's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// How, and what is expected.
    pub check: HttpCheck,
    /// File with certificate authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// What came of a check Job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// One entry per check that came to an end.
    pub checks: Vec<CheckVerdict>,
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckVerdict {
    /// Name of the check.
    pub name: String,
    /// Whether it said yes.
    #[serde(default, skip_serializing_if = "Finding::cannot_tell")]
    pub passed: Finding,
    /// What was seen last, in words; redacted.
    pub detail: String,
    /// How often it asked.
    pub requests: u64,
    /// How often that was no success.
    pub failures: u64,
}

/// What a check says. In JSON true or false; what cannot tell says neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Option<bool>", into = "Option<bool>")]
pub enum Finding {
    /// An explicit success.
    Yes,
    /// A failure.
    No,
    /// Neither.
    #[default]
    CannotTell,
}

impl Finding {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
    fn cannot_tell(&self) -> bool {
        *self == Self::CannotTell
    }
}

impl From<Option<bool>> for Finding {
    fn from(said: Option<bool>) -> Self {
        match said {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::CannotTell,
        }
    }
}

impl From<Finding> for Option<bool> {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Yes => Some(true),
            Finding::No => Some(false),
            Finding::CannotTell => None,
        }
    }
}

impl ProbeKind {
    /// Returns the time between two times that it asks, how long a breach may last, and how many answers there must be.
    #[must_use]
    pub const fn pace(&self) -> (Duration, Duration, u32) {
        match self {
            Self::Http(http) => (http.check.every, http.check.breach_for, 1),
            Self::Prometheus { check, .. } => (check.every, check.breach_for, check.min_samples),
            Self::Tls { check, .. } => (check.every, check.breach_for, 1),
            Self::Dns(check) => (check.every, check.breach_for, 1),
            Self::Sql { check, .. } => (check.every, check.breach_for, 1),
        }
    }
}

impl CheckResult {
    /// Returns whether every check that was asked for is there and said yes.
    #[must_use]
    pub fn all_passed(&self, asked: usize) -> bool {
        self.checks.len() == asked && self.checks.iter().all(|check| check.passed == Finding::Yes)
    }

    /// Returns the checks that said so.
    pub fn that(&self, finding: Finding) -> impl Iterator<Item = &CheckVerdict> {
        self.checks.iter().filter(move |check| check.passed == finding)
    }

    /// Returns what those saw that did not say yes: the ones that failed, else the ones that cannot tell.
    #[must_use]
    pub fn failures(&self) -> String {
        let words = |finding| -> Vec<String> {
            self.that(finding).map(|check| format!("{}: {}", check.name, check.detail)).collect()
        };
        let failed = words(Finding::No);
        if failed.is_empty() { words(Finding::CannotTell).join("; ") } else { failed.join("; ") }
    }
}
