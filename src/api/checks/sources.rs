//! What is asked of others than the new version: Prometheus, certificates, names, the database.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Authorities, Decimal};
use crate::api::{Duration, names};

/// A query to Prometheus. Success is exactly one number within the bounds; no data, NaN, several series and anything
/// else tell nothing.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.min) || has(self.max)", "name min, max, or both"))]
#[x_kube(validation = ("!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)", "min is larger than max"))]
#[x_kube(validation = ("!has(self.timeout) || duration(self.timeout) <= duration('1m')", "timeout is longer than 1m"))]
#[x_kube(validation = ("!has(self.every) || duration(self.every) >= duration('1s')", "every is shorter than 1s"))]
#[x_kube(validation = ("!has(self.ca) || self.address.startsWith('https:')", "certificate authorities are for https"))]
pub struct PrometheusCheck {
    /// Address of Prometheus or of what speaks its HTTP API: `http://prometheus.monitoring.svc:9090`.
    #[schemars(length(min = 1, max = 512), regex(pattern = names::ADDRESS))]
    pub address: String,
    /// Certificate authorities to trust instead of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Authorities>,
    /// The query. Its result must be one number: a scalar, or a vector of one series.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// Smallest number that is a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// Largest number that is a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
    /// Time between two queries (default: 15s).
    #[serde(default = "every_15s")]
    #[schemars(default = "every_15s")]
    pub every: Duration,
    /// Watch: how long the number must be out of bounds before the check has failed (default: 0s).
    #[serde(default)]
    pub breach_for: Duration,
    /// How many numbers there must be for a success (default: 1). Before the switch it asks until there are as many.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000), default = "one")]
    pub min_samples: u32,
    /// How long one query may take (default: 10s).
    #[serde(default = "timeout_10s")]
    #[schemars(default = "timeout_10s")]
    pub timeout: Duration,
}

/// A certificate, as a server shows it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.timeout) || duration(self.timeout) <= duration('1m')", "timeout is longer than 1m"))]
#[x_kube(validation = ("!has(self.every) || duration(self.every) >= duration('1s')", "every is shorter than 1s"))]
pub struct TlsCheck {
    /// Host that is connected to.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::HOST))]
    pub host: String,
    /// Port (default: 443).
    #[serde(default = "https")]
    #[schemars(range(min = 1, max = 65535), default = "https")]
    pub port: u16,
    /// Name that the certificate must be made out for (default: the host).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::HOST))]
    pub name: Option<String>,
    /// How long every certificate of the chain must still be valid (default: 336h, two weeks).
    #[serde(default = "two_weeks")]
    #[schemars(default = "two_weeks")]
    pub valid_for: Duration,
    /// Certificate authorities to trust instead of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Authorities>,
    /// Watch: time between two connections (default: 30s).
    #[serde(default = "every_30s")]
    #[schemars(default = "every_30s")]
    pub every: Duration,
    /// Watch: how long it must be wrong before the check has failed (default: 0s).
    #[serde(default)]
    pub breach_for: Duration,
    /// How long connecting may take (default: 10s).
    #[serde(default = "timeout_10s")]
    #[schemars(default = "timeout_10s")]
    pub timeout: Duration,
}

/// A name, as the resolver of the cluster answers for it. Success is at least one address, and where any are expected,
/// none but these.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.addresses) || self.addresses.all(a, isIP(a))", "an address is no IP address"))]
#[x_kube(validation = ("!has(self.timeout) || duration(self.timeout) <= duration('1m')", "timeout is longer than 1m"))]
#[x_kube(validation = ("!has(self.every) || duration(self.every) >= duration('1s')", "every is shorter than 1s"))]
pub struct DnsCheck {
    /// The name.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::HOST))]
    pub host: String,
    /// Addresses that it may resolve to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 2, max = 45)))]
    pub addresses: Vec<String>,
    /// Names whose addresses it may resolve to: a load balancer's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253), regex(pattern = names::HOST)))]
    pub names: Vec<String>,
    /// Watch: time between two questions (default: 30s).
    #[serde(default = "every_30s")]
    #[schemars(default = "every_30s")]
    pub every: Duration,
    /// Watch: how long it must be wrong before the check has failed (default: 0s).
    #[serde(default)]
    pub breach_for: Duration,
    /// How long one answer may take (default: 10s).
    #[serde(default = "timeout_10s")]
    #[schemars(default = "timeout_10s")]
    pub timeout: Duration,
}

/// A query to the Release's database, in a transaction that only reads, by the role that owns the application's tables.
/// Success is exactly one number within the bounds.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.min) || has(self.max)", "name min, max, or both"))]
#[x_kube(validation = ("!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)", "min is larger than max"))]
#[x_kube(validation = ("!has(self.timeout) || duration(self.timeout) <= duration('1m')", "timeout is longer than 1m"))]
#[x_kube(validation = ("!has(self.every) || duration(self.every) >= duration('1s')", "every is shorter than 1s"))]
pub struct SqlCheck {
    /// One SELECT of one column; its one row is the number.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// Smallest number that is a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// Largest number that is a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
    /// Watch: time between two queries (default: 30s).
    #[serde(default = "every_30s")]
    #[schemars(default = "every_30s")]
    pub every: Duration,
    /// Watch: how long the number must be out of bounds before the check has failed (default: 0s).
    #[serde(default)]
    pub breach_for: Duration,
    /// How long one query may take (default: 10s).
    #[serde(default = "timeout_10s")]
    #[schemars(default = "timeout_10s")]
    pub timeout: Duration,
}

const fn every_15s() -> Duration {
    Duration::from_secs(15)
}
const fn every_30s() -> Duration {
    Duration::from_secs(30)
}
const fn timeout_10s() -> Duration {
    Duration::from_secs(10)
}
const fn two_weeks() -> Duration {
    Duration::from_secs(14 * 24 * 3600)
}
const fn one() -> u32 {
    1
}
const fn https() -> u16 {
    443
}

impl TlsCheck {
    /// Returns the name that the certificate must be made out for.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.host)
    }
}

/// Says which numbers are a success.
#[must_use]
pub fn bounds(min: Option<&Decimal>, max: Option<&Decimal>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("from {min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "any".to_owned(),
    }
}
