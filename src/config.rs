//! How the controller is configured: every flag, its environment variable and its default, in one place.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use serde_json::Value;

use crate::{
    api::{Duration, GROUP, JobSettings},
    error::Error,
    kube_io::lease::Terms,
};

/// Flags of `switchback run`.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Namespaces to serve, separated by commas; all when none is named
    #[arg(long, env = "SWITCHBACK_NAMESPACES", value_delimiter = ',', value_name = "NAME")]
    pub namespaces: Vec<String>,
    /// Image of the agent, which runs in Jobs beside the Releases
    #[arg(long, env = "SWITCHBACK_AGENT_IMAGE", value_name = "IMAGE")]
    pub agent_image: String,
    /// Image with PostgreSQL's own programs, for backups; {major} stands for the server's major version
    #[arg(
        long,
        env = "SWITCHBACK_TOOLS_IMAGE",
        value_name = "IMAGE",
        default_value = "localhost/postgres-tools-{major}:dev"
    )]
    pub tools_image: String,
    /// What the pods of all Jobs get where neither Release nor policies nor DatabaseInstance say another thing: JSON, as
    /// `spec.jobs` of a Release
    #[arg(long, env = "SWITCHBACK_JOBS", value_name = "JSON", default_value = "{}", value_parser = job_settings)]
    pub jobs: JobSettings,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "SWITCHBACK_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Who leads, where several run
    #[command(flatten)]
    pub election: ElectionConfig,
    /// Form of the log
    #[arg(long, env = "SWITCHBACK_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// Lowest level that is logged: error, warn, info, debug or trace
    #[arg(long, env = "SWITCHBACK_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub log_level: LevelFilter,
}

/// Flags of the leader election: those of Kubernetes' own controllers, with their defaults.
#[derive(Debug, Clone, Args)]
pub struct ElectionConfig {
    /// Work only while holding a lease, so that several may run and one works
    #[arg(long, env = "SWITCHBACK_LEADER_ELECT")]
    pub leader_elect: bool,
    /// Name of the lease, in the namespace that this program runs in
    #[arg(long, env = "SWITCHBACK_LEASE_NAME", default_value = "switchback", value_name = "NAME")]
    pub lease_name: String,
    /// How long the lease must not have been renewed before another one takes it
    #[arg(long, env = "SWITCHBACK_LEASE_DURATION", default_value = "15s", value_name = "DURATION")]
    pub lease_duration: Duration,
    /// How long after its last renewal a leader stops to write; less than the lease lasts
    #[arg(long, env = "SWITCHBACK_LEASE_RENEW_DEADLINE", default_value = "10s", value_name = "DURATION")]
    pub lease_renew_deadline: Duration,
    /// How long between two tries to renew the lease, or to take it
    #[arg(long, env = "SWITCHBACK_LEASE_RETRY_PERIOD", default_value = "2s", value_name = "DURATION")]
    pub lease_retry_period: Duration,
}

impl ElectionConfig {
    /// Returns the terms of the lease.
    ///
    /// # Errors
    /// When two could lead at once under them.
    pub fn terms(&self) -> Result<Terms, Error> {
        let terms = Terms {
            lease: self.lease_duration.as_std(),
            renew: self.lease_renew_deadline.as_std(),
            retry: self.lease_retry_period.as_std(),
        };
        terms.problem().map_or(Ok(terms), |problem| Err(Error::Config(problem)))
    }
}

/// Reads job settings. A field that is misspelt would be a right or a node that nobody gets, so it is refused.
fn job_settings(text: &str) -> Result<JobSettings, String> {
    let given: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let settings: JobSettings = serde_json::from_value(given.clone()).map_err(|error| error.to_string())?;
    let understood = serde_json::to_value(&settings).map_err(|error| error.to_string())?;
    if let Some(unknown) = first_unknown(&given, &understood) {
        return Err(format!("unknown field {unknown}"));
    }
    let mut labels = settings.labels.keys();
    match labels.find(|key| key.split('/').next() == Some(GROUP)) {
        Some(key) => Err(format!("label {key}: labels of {GROUP} are the operator's own")),
        None => Ok(settings),
    }
}

/// Returns the first field that says something and was not understood.
fn first_unknown(given: &Value, understood: &Value) -> Option<String> {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    };
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            given.iter().filter(|(_, value)| says(value)).find_map(|(key, value)| match understood.get(key) {
                None => Some(key.clone()),
                Some(known) => first_unknown(value, known).map(|unknown| format!("{key}.{unknown}")),
            })
        }
        (Value::Array(given), Value::Array(understood)) => {
            given.iter().zip(understood).find_map(|(value, known)| first_unknown(value, known))
        }
        _ => None,
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line
    Json,
    /// Lines for people
    Text,
}

/// Begins logging to standard error.
pub fn start_logging(config: &Config) {
    // Libraries speak up only when something is wrong: their debug output is a flood.
    let levels = Targets::new().with_default(LevelFilter::WARN).with_target("switchback", config.log_level);
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry().with(levels);
    match config.log_format {
        LogFormat::Json => {
            subscriber.with(log.json().flatten_event(true).with_current_span(false).with_span_list(false)).init()
        }
        LogFormat::Text => subscriber.with(log).init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_jobs_are_those_of_a_release_and_nothing_else() {
        let read = job_settings(
            r#"{"nodeSelector":{"disk":"fast"},"tolerations":[{"operator":"Exists"}],"labels":{},"resources":{"limits":{"memory":"1Gi"}}}"#,
        );
        assert_eq!(read.unwrap().node_selector["disk"], "fast");
        assert!(job_settings("{}").unwrap().is_default());
        for (text, says) in [
            ("{", "EOF"),
            (r#"{"nodeSelectors":{"disk":"fast"}}"#, "unknown field nodeSelectors"),
            (r#"{"resources":{"limit":{"memory":"1Gi"}}}"#, "unknown field resources.limit"),
            (r#"{"tolerations":[{"operators":"Exists"}]}"#, "unknown field tolerations.operators"),
            (r#"{"serviceAccountName":7}"#, "invalid type"),
            (r#"{"labels":{"switchback.dev/role":"x"}}"#, "labels of switchback.dev are the operator's own"),
        ] {
            let problem = job_settings(text).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }
}
