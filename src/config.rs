//! How the controller is configured: every flag, its environment variable and its default, in one place.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{api::Duration, error::Error, kube_io::lease::Terms};

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
