//! Requests over HTTP: once each, or again and again until the window ends or one check has failed.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use reqwest::{Client, redirect::Policy};

use crate::{
    clock,
    protocol::{CheckParameters, CheckResult, CheckVerdict, HttpProbe},
};

/// How many times a single request is repeated when nothing answers: the endpoints of a Service that was made
/// a moment ago may not have reached every node.
const FIRST_TRIES: u32 = 5;
/// Wait between these.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Runs all checks side by side; ends with the first that fails.
pub async fn run(parameters: &CheckParameters) -> CheckResult {
    // A new connection each time: a kept one would ask the same pod for ever.
    let client = Client::builder().redirect(Policy::none()).no_proxy().pool_max_idle_per_host(0);
    let client = client.user_agent("switchback-agent").build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            let checks = parameters.checks.iter().map(|probe| verdict(probe, false, error.to_string(), (0, 0)));
            return CheckResult { checks: checks.collect() };
        }
    };
    let mut running: FuturesUnordered<_> =
        parameters.checks.iter().map(|probe| one(&client, probe, parameters.until)).collect();
    let mut checks = Vec::new();
    while let Some(verdict) = running.next().await {
        let failed = !verdict.passed;
        checks.push(verdict);
        if failed && parameters.until.is_some() {
            break;
        }
    }
    CheckResult { checks }
}

async fn one(client: &Client, probe: &HttpProbe, until: Option<Timestamp>) -> CheckVerdict {
    match until {
        None => once(client, probe).await,
        Some(until) => again_and_again(client, probe, until).await,
    }
}

/// Asks until something answers; what answers counts.
async fn once(client: &Client, probe: &HttpProbe) -> CheckVerdict {
    let mut requests = 0;
    loop {
        requests += 1;
        match ask(client, probe).await {
            Ok(detail) => return verdict(probe, true, detail, (requests, requests - 1)),
            Err(failure) if failure.answered || requests >= u64::from(FIRST_TRIES) => {
                return verdict(probe, false, failure.detail, (requests, requests));
            }
            Err(_) => tokio::time::sleep(FIRST_WAIT).await,
        }
    }
}

/// Asks every `every`, until the window ends or requests have failed for `breach_for` without one success. It asks
/// at least once: a pod that was started again when the window was nearly over must not report a failure it never saw.
async fn again_and_again(client: &Client, probe: &HttpProbe, until: Timestamp) -> CheckVerdict {
    let (mut requests, mut failures) = (0, 0);
    let mut failing_since: Option<Timestamp> = None;
    let mut ticks = tokio::time::interval(probe.every.as_std().max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let began = clock::now();
        requests += 1;
        match ask(client, probe).await {
            Ok(detail) => {
                failing_since = None;
                if clock::now() >= until {
                    return verdict(probe, true, detail, (requests, failures));
                }
            }
            Err(failure) => {
                failures += 1;
                let since = *failing_since.get_or_insert(began);
                if clock::now().duration_since(since) >= probe.breach_for.as_signed() {
                    return verdict(probe, false, failure.detail, (requests, failures));
                }
                if clock::now() >= until {
                    // It has failed for less than `breachFor`: not long enough to be a breach.
                    return verdict(probe, true, failure.detail, (requests, failures));
                }
            }
        }
    }
}

/// A request that was not a success.
struct Failure {
    /// Whether the server said something.
    answered: bool,
    detail: String,
}

async fn ask(client: &Client, probe: &HttpProbe) -> Result<String, Failure> {
    let answer = client.get(&probe.url).timeout(probe.timeout.as_std()).send().await;
    match answer {
        Ok(answer) if probe.status.contains(&answer.status().as_u16()) => {
            Ok(format!("{} answered {}", probe.url, answer.status()))
        }
        Ok(answer) => {
            let expected: Vec<String> = probe.status.iter().map(ToString::to_string).collect();
            let detail = format!("{} answered {}, expected {}", probe.url, answer.status(), expected.join(" or "));
            Err(Failure { answered: true, detail })
        }
        Err(error) => Err(Failure { answered: false, detail: format!("{}: {}", probe.url, innermost(&error)) }),
    }
}

/// Returns the cause: reqwest's own words repeat the address and say no more than that sending failed.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn verdict(probe: &HttpProbe, passed: bool, detail: String, (requests, failures): (u64, u64)) -> CheckVerdict {
    CheckVerdict { name: probe.name.clone(), passed, detail, requests, failures }
}
