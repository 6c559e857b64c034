//! Requests over HTTP.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{Authorities, Decimal};
use crate::api::{Duration, names};

/// Requests over HTTP, to a Service of this Release or to a host. Redirects are not followed; of an answer at most
/// 256 KiB are read.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.service) || has(self.host)", "name a service, a host, or both"))]
#[x_kube(validation = ("!has(self.timeout) || duration(self.timeout) <= duration('1m')", "timeout is longer than 1m"))]
#[x_kube(validation = ("!has(self.every) || duration(self.every) >= duration('100ms')", "every is shorter than 100ms"))]
#[x_kube(validation = (
    "!has(self.percentile) || has(self.maxLatency)",
    "percentile says how many of the requests maxLatency is about: it means nothing without it"
))]
#[x_kube(validation = (
    "!has(self.rate) || (!has(self.maxLatency) && (!has(self.breachFor) || duration(self.breachFor) == duration('0s')))",
    "with a rate the whole window counts: maxLatency and breachFor mean nothing beside it"
))]
#[x_kube(validation = (
    "!has(self.ca) || (has(self.scheme) ? self.scheme == 'https' : !has(self.service))",
    "certificate authorities are for https"
))]
pub struct HttpCheck {
    /// Service of this Release that is asked: its preview twin before traffic moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 55))]
    pub service: Option<String>,
    /// Name of the host that is asked. Beside a service: what the requests call it, while they go to the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::HOST))]
    pub host: Option<String>,
    /// How it is asked (default: https for a host alone, else http). With https the certificate must be valid and made
    /// out for the name that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// Port (default: the Service's first; of a host 443, or 80 without https).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Certificate authorities to trust instead of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Authorities>,
    /// Path and query.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[!-~]*$"), default = "default_path")]
    pub path: String,
    /// Headers that are sent. Credentials do not belong here: many may read a spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub send: Vec<SentHeader>,
    /// Status codes that are a success (default: 200). Redirects are not followed.
    #[serde(default = "default_status")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 100, max = 599)), default = "default_status")]
    pub status: Vec<u16>,
    /// Headers that each answer must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HeaderExpectation>,
    /// What the body of each answer must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyExpectation>,
    /// How many requests are made, one after the other; in the phase Watch each time (default: 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub requests: Option<u32>,
    /// How long an answer may take at most, with its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency: Option<Duration>,
    /// How many percent of the requests must be answered within maxLatency (default: 100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub percentile: Option<u8>,
    /// How long one request may take (default: 5s).
    #[serde(default = "default_timeout")]
    #[schemars(default = "default_timeout")]
    pub timeout: Duration,
    /// Watch: time between two times that it asks (default: 5s).
    #[serde(default = "default_every")]
    #[schemars(default = "default_every")]
    pub every: Duration,
    /// Watch: how long requests must fail without one success before the check has failed (default: 0s, the first failure counts).
    #[serde(default)]
    pub breach_for: Duration,
    /// Watch: judges all requests of the last minutes together instead of each by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<HttpRate>,
}

/// How a host is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[schemars(transform = super::super::crds::told_by_the_field)]
pub enum Scheme {
    /// Without encryption.
    Http,
    /// With TLS; the certificate must be valid.
    Https,
}

/// A header that is sent.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!(self.name.lowerAscii() in ['authorization', 'proxy-authorization', 'cookie', 'host', 'content-length', 'transfer-encoding'])",
    "credentials are not sent: many may read a spec; nor what belongs to the request itself (Host: name a host instead)"
))]
pub struct SentHeader {
    /// Its name.
    #[schemars(length(min = 1, max = 64), regex(pattern = names::HEADER))]
    pub name: String,
    /// Its value.
    #[schemars(length(min = 1, max = 256), regex(pattern = names::LINE))]
    pub value: String,
}

/// A header that an answer must have.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.value) != has(self.matches)", "name exactly one of value and matches"))]
#[x_kube(validation = ("!has(self.matches) || (''.matches(self.matches) ? true : true)", "matches is no regular expression"))]
pub struct HeaderExpectation {
    /// Its name.
    #[schemars(length(min = 1, max = 64), regex(pattern = names::HEADER))]
    pub name: String,
    /// What it says.
    #[serde(flatten)]
    pub says: HeaderText,
}

/// What a header says; exactly one. Of several lines of the same name one is enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HeaderText {
    /// Exactly this.
    Value(#[schemars(length(max = 1024))] String),
    /// Something in which this regular expression (Rust's syntax) finds a match.
    Matches(#[schemars(length(max = 512))] String),
}

/// What the body of an answer must hold.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.contains) != has(self.matches)", "name exactly one of contains and matches"))]
#[x_kube(validation = ("!has(self.matches) || (''.matches(self.matches) ? true : true)", "matches is no regular expression"))]
pub struct BodyExpectation {
    /// What it holds.
    #[serde(flatten)]
    pub holds: BodyText,
}

/// What a body holds; exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BodyText {
    /// This text.
    Contains(#[schemars(length(min = 1, max = 1024))] String),
    /// Something in which this regular expression (Rust's syntax) finds a match.
    Matches(#[schemars(length(max = 512))] String),
}

/// All requests of the last minutes together.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.maxFailurePercent) || has(self.maxMeanLatency)", "name maxFailurePercent, maxMeanLatency, or both"))]
#[x_kube(validation = ("!has(self.maxFailurePercent) || (double(self.maxFailurePercent) >= 0.0 && double(self.maxFailurePercent) < 100.0)", "maxFailurePercent is not from 0 to below 100"))]
#[x_kube(validation = ("duration(self.over) >= duration('1s') && duration(self.over) <= duration('1h')", "over is not from 1s to 1h"))]
pub struct HttpRate {
    /// Which time counts, up to now.
    pub over: Duration,
    /// How many percent of these requests may fail at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failure_percent: Option<Decimal>,
    /// How long those that were answered may have taken on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_mean_latency: Option<Duration>,
    /// How many requests there must be before anything is judged (default: 20). With fewer when the window ends the
    /// check cannot tell.
    #[serde(default = "default_min_samples")]
    #[schemars(range(min = 1, max = 100_000), default = "default_min_samples")]
    pub min_samples: u32,
}

fn default_path() -> String {
    "/".to_owned()
}
fn default_status() -> Vec<u16> {
    vec![200]
}
const fn default_timeout() -> Duration {
    Duration::from_secs(5)
}
const fn default_every() -> Duration {
    Duration::from_secs(5)
}
const fn default_min_samples() -> u32 {
    20
}

impl HttpCheck {
    /// Returns how it asks.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        let usual = if self.service.is_none() { Scheme::Https } else { Scheme::Http };
        self.scheme.unwrap_or(usual)
    }

    /// Returns its regular expressions, each with the field that holds it.
    pub(super) fn patterns(&self) -> Vec<(String, &str)> {
        let headers = self.headers.iter().filter_map(|header| match &header.says {
            HeaderText::Matches(pattern) => Some((format!("headers[{}].matches", header.name), pattern.as_str())),
            HeaderText::Value(_) => None,
        });
        let body = self.body.iter().filter_map(|body| match &body.holds {
            BodyText::Matches(pattern) => Some(("body.matches".to_owned(), pattern.as_str())),
            BodyText::Contains(_) => None,
        });
        headers.chain(body).collect()
    }
}
