//! Checks: each asked for by the controller, answered by one verdict.
//!
//! In: what to ask, and until when. Out: what each check says: yes, no, or that it cannot tell. Redirects are never
//! followed, every question has a time-out, every answer a largest size. Never here: an answer that was not there taken
//! for a success.

mod client;
mod dns;
mod http;
mod judge;
mod prometheus;
mod rate;
mod sql;
mod tls;

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};
use jiff::Timestamp;

use self::judge::{Judge, Sample, Says};
use crate::{
    clock,
    protocol::{CheckParameters, CheckResult, CheckVerdict, Finding, Probe, ProbeKind},
};

/// How many times a check that runs once asks when nothing answers: the endpoints of a Service that was made a moment
/// ago may not have reached every node.
const FIRST_TRIES: u32 = 5;
/// Wait between these, and between the last questions when the window is over.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Shortest time between two questions.
const SHORTEST: Duration = Duration::from_millis(100);

/// Runs all checks side by side; while they watch, ends with the first that fails.
pub async fn run(parameters: &CheckParameters) -> CheckResult {
    let one = async |probe| (one(probe, parameters.until).await, probe.must_tell);
    let mut running: FuturesUnordered<_> = parameters.checks.iter().map(one).collect();
    let mut checks = Vec::new();
    while let Some((verdict, must_tell)) = running.next().await {
        let ends = verdict.passed == Finding::No || (verdict.passed == Finding::CannotTell && must_tell);
        checks.push(verdict);
        if ends && parameters.until.is_some() {
            break;
        }
    }
    CheckResult { checks }
}

async fn one(probe: &Probe, until: Option<Timestamp>) -> CheckVerdict {
    let mut prober = Prober::new(&probe.what);
    match until {
        None => once(probe, &mut prober).await,
        Some(until) => again_and_again(probe, &mut prober, until).await,
    }
}

/// Asks until something answers; what answers counts.
async fn once(probe: &Probe, prober: &mut Prober<'_>) -> CheckVerdict {
    let (every, _, enough) = probe.what.pace();
    let (mut asked, mut failed, mut answers, mut tries) = (0, 0, 0, 0);
    loop {
        let Sample { says, detail, asked: now_asked, failed: now_failed } = prober.sample().await;
        asked += now_asked;
        failed += now_failed;
        let (passed, wait) = match says {
            Says::Within => {
                answers += 1;
                (if answers >= enough { Some(Finding::Yes) } else { None }, every.as_std())
            }
            Says::Breach => (Some(Finding::No), FIRST_WAIT),
            Says::Unanswered | Says::Silent | Says::TooFew => {
                tries += 1;
                let said = if says == Says::Unanswered { Finding::No } else { Finding::CannotTell };
                ((tries >= FIRST_TRIES).then_some(said), FIRST_WAIT)
            }
        };
        match passed {
            Some(passed) => {
                return CheckVerdict { name: probe.name.clone(), passed, detail, requests: asked, failures: failed };
            }
            None => tokio::time::sleep(wait).await,
        }
    }
}

/// Asks every `every`, until the window ends or the judge has decided. It asks at least once: a pod that was started
/// again when the window was nearly over must not report a failure it never saw.
async fn again_and_again(probe: &Probe, prober: &mut Prober<'_>, until: Timestamp) -> CheckVerdict {
    let every = probe.what.pace().0.as_std().max(SHORTEST);
    let mut judge = Judge::new(probe);
    loop {
        let began = clock::now();
        let sample = prober.sample().await;
        let now = clock::now();
        let over = now >= until;
        if let Some((passed, detail)) = judge.take(sample, (began, now), over) {
            let (requests, failures) = judge.counted();
            return CheckVerdict { name: probe.name.clone(), passed, detail, requests, failures };
        }
        let spent = Duration::try_from(now.duration_since(began)).unwrap_or_default();
        let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        // The last question belongs to the end of the window, however seldom it asks.
        let wait = if over { FIRST_WAIT } else { every.saturating_sub(spent).min(left) };
        tokio::time::sleep(wait).await;
    }
}

/// What asks.
enum Prober<'a> {
    Http(Box<http::Prober<'a>>),
    Prometheus(prometheus::Prober<'a>),
    Tls(tls::Prober<'a>),
    Dns(&'a crate::api::DnsCheck),
    Sql(&'a crate::api::SqlCheck, Option<&'a crate::protocol::DatabaseTarget>),
    /// It cannot even ask: why.
    Broken(String),
}

impl<'a> Prober<'a> {
    fn new(what: &'a ProbeKind) -> Self {
        let made = match what {
            ProbeKind::Http(probe) => http::Prober::new(probe).map(|prober| Self::Http(Box::new(prober))),
            ProbeKind::Prometheus { check, ca } => prometheus::Prober::new(check, ca.as_deref()).map(Self::Prometheus),
            ProbeKind::Tls { check, ca } => tls::Prober::new(check, ca.as_deref()).map(Self::Tls),
            ProbeKind::Dns(check) => Ok(Self::Dns(check)),
            ProbeKind::Sql { check, database } => Ok(Self::Sql(check, database.as_ref())),
        };
        made.unwrap_or_else(Self::Broken)
    }

    async fn sample(&mut self) -> Sample {
        match self {
            Self::Http(prober) => prober.sample().await,
            Self::Prometheus(prober) => prober.sample().await,
            Self::Tls(prober) => prober.sample().await,
            Self::Dns(check) => dns::sample(check).await,
            Self::Sql(check, database) => sql::sample(check, *database).await,
            Self::Broken(why) => Sample::one(Says::Silent, why.clone()),
        }
    }
}
