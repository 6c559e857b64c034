//! The command line of the load generator, with its limits.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use hyper::http::uri::PathAndQuery;
use jiff::SignedDuration;

use crate::client::Target;

/// Nothing in the lab runs longer; a forgotten generator ends by itself.
const LONGEST: Duration = Duration::from_secs(30 * 60);
const DEFAULT_LENGTH: Duration = Duration::from_secs(60);

/// Asks one URL at a fixed rate and accounts for every request.
///
/// Half of the requests go over kept connections, half each over a new one. Everything but a complete answer with
/// status 200 is lost. Exit code: 0 nothing lost, 3 something lost or unfinished, 2 no result.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub struct Settings {
    /// What to get: http://host[:port][/path]
    #[arg(long, value_parser = Target::parse)]
    pub url: Target,
    /// Requests per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub rate: u32,
    /// How long to send, at most 30m; 60s when not given [with --until-stdin-closes: 30m].
    #[arg(long = "for", value_parser = length)]
    pub length: Option<Duration>,
    /// End when standard input is closed.
    #[arg(long)]
    pub until_stdin_closes: bool,
    /// How many requests to send at most, long ones included.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub max: u64,
    /// Where to write the report (JSON).
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// Clients that each keep a connection.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub keepalive_clients: u16,
    /// A path of requests that take long, of which some are always in flight, besides the rate.
    #[arg(long)]
    pub long: Option<PathAndQuery>,
    /// How many of them.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub long_in_flight: u16,
    /// How long a request may take.
    #[arg(long, default_value = "10s", value_parser = length)]
    pub timeout: Duration,
    /// How long a long request may take.
    #[arg(long, default_value = "40s", value_parser = length)]
    pub long_timeout: Duration,
    /// Print a line on standard output when a version is first seen.
    #[arg(long)]
    pub events: bool,
}

impl Settings {
    /// How long requests are sent.
    pub fn sending_time(&self) -> Duration {
        let default = if self.until_stdin_closes { LONGEST } else { DEFAULT_LENGTH };
        self.length.unwrap_or(default)
    }
}

fn length(text: &str) -> Result<Duration, String> {
    let signed: SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    let length = Duration::try_from(signed).map_err(|error| format!("{error}"))?;
    if length.is_zero() || length > LONGEST {
        Err("must be more than 0 and at most 30m".to_owned())
    } else {
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Settings, clap::Error> {
        Settings::try_parse_from([&["load", "--url", "http://10.96.0.9/"], arguments].concat())
    }

    #[test]
    fn sending_time_has_a_default_and_an_end() {
        let time = |arguments: &[&str]| parse(arguments).map(|settings| settings.sending_time().as_secs());
        assert_eq!(time(&[]).unwrap(), 60);
        assert_eq!(time(&["--for", "1m30s"]).unwrap(), 90);
        assert_eq!(time(&["--until-stdin-closes"]).unwrap(), 1800);
        assert_eq!(time(&["--until-stdin-closes", "--for", "5s"]).unwrap(), 5);
        for wrong in ["31m", "0s", "-5s", "soon", "60"] {
            assert!(time(&["--for", wrong]).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn a_long_path_may_have_a_query() {
        let settings = parse(&["--long", "/slow?ms=20000"]).unwrap();
        assert_eq!(settings.long.unwrap().as_str(), "/slow?ms=20000");
    }
}
