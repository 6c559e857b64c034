//! How the controller is configured: every flag, its environment variable and its default, in one place.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
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
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "SWITCHBACK_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Form of the log
    #[arg(long, env = "SWITCHBACK_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// Lowest level that is logged: error, warn, info, debug or trace
    #[arg(long, env = "SWITCHBACK_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub log_level: LevelFilter,
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
