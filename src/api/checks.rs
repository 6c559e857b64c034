//! Checks of a Release: what must hold before anybody is asked, before traffic moves, and while the new version is
//! watched.

mod decimal;
mod http;
mod pattern;
mod sources;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{Duration, PodTemplate, names};

pub use decimal::Decimal;
pub use http::{BodyExpectation, BodyText, HeaderExpectation, HeaderText, HttpCheck, HttpRate, Scheme, SentHeader};
pub use pattern::{PatternError, compile};
pub use sources::{DnsCheck, PrometheusCheck, SqlCheck, TlsCheck, bounds};

/// One check.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "[has(self.http), has(self.job), has(self.prometheus), has(self.tls), has(self.dns), has(self.sql)].filter(x, x).size() == 1",
    "name exactly one of http, job, prometheus, tls, dns and sql"
))]
#[x_kube(validation = ("self.phase == 'Verify' || !has(self.job)", "a job check runs once, before traffic moves: its phase is Verify"))]
#[x_kube(validation = (
    "self.phase != 'Preflight' || !has(self.http) || !has(self.http.service)",
    "before anything is made there is no preview Service: an http check of the phase Preflight names a host alone"
))]
#[x_kube(validation = (
    "self.phase == 'Watch' || !has(self.http) || !has(self.http.rate)",
    "a rate takes a window: its phase is Watch"
))]
#[x_kube(validation = (
    "self.phase == 'Watch' || !has(self.onInconclusive)",
    "onInconclusive belongs to the phase Watch: before the switch only a success lets a release go on"
))]
pub struct Check {
    /// Name of the check, unique in the Release.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// When it runs.
    pub phase: CheckPhase,
    /// What it does.
    #[serde(flatten)]
    pub kind: CheckKind,
    /// Watch: what follows when it cannot tell: no data, nobody there who could be asked, too few samples, its pod lost
    /// three times (default: Hold).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_inconclusive: Option<OnInconclusive>,
}

/// When a check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum CheckPhase {
    /// Before anybody is asked, and once more when the release begins.
    Preflight,
    /// Before traffic moves, against the preview Services.
    Verify,
    /// After traffic moved, for the whole window, against the Services that users use.
    Watch,
}

/// What follows when a check of the phase Watch cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crds::told_by_the_field)]
pub enum OnInconclusive {
    /// The window does not end, the former version stays at full size, a person is called.
    Hold,
    /// Traffic goes back.
    SwitchBack,
}

/// What a check does; exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CheckKind {
    /// Requests over HTTP, to a Service of this Release or to a host.
    Http(HttpCheck),
    /// A pod of the user's own; exit code 0 is success.
    Job(JobCheck),
    /// A query to Prometheus; one number within bounds is success.
    Prometheus(PrometheusCheck),
    /// A certificate: its chain, its name, how long it is still valid.
    Tls(TlsCheck),
    /// A name: what it resolves to.
    Dns(DnsCheck),
    /// A query to the Release's database; one number within bounds is success.
    Sql(SqlCheck),
}

/// A pod of the user's own; exit code 0 is success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobCheck {
    /// The pod. It runs once, under its own service account, without retries.
    pub template: PodTemplate,
    /// How long it may take (default: 5m).
    #[serde(default = "default_job_timeout")]
    #[schemars(default = "default_job_timeout")]
    pub timeout: Duration,
}

/// Certificate authorities to trust instead of the usual ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorities {
    /// Name of a ConfigMap in this namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub config_map: String,
    /// Its key with certificates in PEM (default: ca.crt).
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::KEY), default = "default_key")]
    pub key: String,
}

const fn default_job_timeout() -> Duration {
    Duration::from_secs(300)
}
fn default_key() -> String {
    "ca.crt".to_owned()
}

impl Check {
    /// Returns the certificate authorities that it trusts instead of the usual ones.
    #[must_use]
    pub const fn authorities(&self) -> Option<&Authorities> {
        match &self.kind {
            CheckKind::Http(http) => http.ca.as_ref(),
            CheckKind::Prometheus(prometheus) => prometheus.ca.as_ref(),
            CheckKind::Tls(tls) => tls.ca.as_ref(),
            CheckKind::Job(_) | CheckKind::Dns(_) | CheckKind::Sql(_) => None,
        }
    }

    /// Returns the pod that it runs in, where that is the user's own.
    #[must_use]
    pub const fn pod(&self) -> Option<&PodTemplate> {
        match &self.kind {
            CheckKind::Job(job) => Some(&job.template),
            CheckKind::Http(_)
            | CheckKind::Prometheus(_)
            | CheckKind::Tls(_)
            | CheckKind::Dns(_)
            | CheckKind::Sql(_) => None,
        }
    }

    /// Returns its regular expressions, each with the field that holds it.
    #[must_use]
    pub fn patterns(&self) -> Vec<(String, &str)> {
        match &self.kind {
            CheckKind::Http(http) => http.patterns(),
            CheckKind::Job(_)
            | CheckKind::Prometheus(_)
            | CheckKind::Tls(_)
            | CheckKind::Dns(_)
            | CheckKind::Sql(_) => vec![],
        }
    }

    /// Returns whether traffic goes back when it cannot tell.
    #[must_use]
    pub fn goes_back_unsure(&self) -> bool {
        self.on_inconclusive == Some(OnInconclusive::SwitchBack)
    }
}
