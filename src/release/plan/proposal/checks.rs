//! What the plan says of the checks, in words; pure.

use super::{super::verify, bounds::shown};
use crate::api::{
    Check, CheckKind, CheckPhase, DnsCheck, Duration, HttpCheck, HttpRate, PrometheusCheck, Record, ReleaseSpec,
    SqlCheck, TlsCheck, bounds,
};

/// Up to here each check of a phase is told in full; what a step does has a largest size.
const ALL_BYTES: usize = 3000;

/// Lists the checks of a phase with what each wants; `None` when there are none. Where that is too much, by name.
pub(super) fn of_phase(spec: &ReleaseSpec, phase: CheckPhase) -> Option<String> {
    listed(&spec.checks_of(phase).collect::<Vec<_>>())
}

/// Lists the verify checks that are made in the switch, or those that are not.
pub(super) fn verify(spec: &ReleaseSpec, record: &Record, in_switch: bool) -> Option<String> {
    let all = spec.checks_of(CheckPhase::Verify);
    listed(&all.filter(|check| verify::waits(record, spec, check) == in_switch).collect::<Vec<_>>())
}

fn listed(checks: &[&Check]) -> Option<String> {
    let all: Vec<String> = checks.iter().map(|check| format!("{} ({})", check.name, words(check))).collect();
    let full = all.join("; ");
    let names = || checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ");
    (!all.is_empty()).then(|| if full.len() > ALL_BYTES { names() } else { full })
}

fn words(check: &Check) -> String {
    let wants = match &check.kind {
        CheckKind::Http(check) => http(check),
        CheckKind::Job(check) => {
            let images: Vec<&str> = check.template.images().map(|(_, image)| image).collect();
            format!("a Job with {} ends with exit code 0", images.join(", "))
        }
        CheckKind::Prometheus(PrometheusCheck { address, query, min, max, .. }) => {
            format!("{:?} at {address} is {}", shown(query), bounds(min.as_ref(), max.as_ref()))
        }
        CheckKind::Tls(check) => tls(check),
        CheckKind::Dns(check) => dns(check),
        CheckKind::Sql(SqlCheck { query, min, max, .. }) => {
            format!("{:?} in the database is {}", shown(query), bounds(min.as_ref(), max.as_ref()))
        }
    };
    if check.phase == CheckPhase::Watch { format!("{wants}{}", watched(check)) } else { wants }
}

/// Says how a check goes on while the new version is watched.
fn watched(check: &Check) -> String {
    let (every, breach_for) = match &check.kind {
        CheckKind::Http(HttpCheck { every, breach_for, .. })
        | CheckKind::Prometheus(PrometheusCheck { every, breach_for, .. })
        | CheckKind::Tls(TlsCheck { every, breach_for, .. })
        | CheckKind::Dns(DnsCheck { every, breach_for, .. })
        | CheckKind::Sql(SqlCheck { every, breach_for, .. }) => (*every, *breach_for),
        CheckKind::Job(_) => return String::new(),
    };
    let lasting = if breach_for == Duration::default() {
        String::new()
    } else {
        format!(", or has not been for less than {breach_for}")
    };
    let unsure = if check.goes_back_unsure() { ", and traffic goes back when it cannot tell" } else { "" };
    format!(", asked every {every}{lasting}{unsure}")
}

fn http(check: &HttpCheck) -> String {
    let HttpCheck { service, host, port, path, status, headers, body, requests, max_latency, percentile, rate, .. } =
        check;
    let scheme: &str = check.scheme().into();
    let called = host.as_ref().or(service.as_ref()).map_or("", String::as_str);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let by = match (service, host) {
        (Some(service), Some(_)) => format!(" by way of Service {service}"),
        _ => String::new(),
    };
    let status: Vec<String> = status.iter().map(ToString::to_string).collect();
    let mut wants = format!("{scheme}://{called}{port}{path}{by} answers {}", status.join(" or "));
    let headers: Vec<&str> = headers.iter().map(|header| header.name.as_str()).collect();
    if !headers.is_empty() {
        wants.push_str(&format!(" with the headers {} as written", headers.join(", ")));
    }
    if body.is_some() {
        wants.push_str(" and the body as written");
    }
    if let Some(requests) = requests.filter(|requests| *requests > 1) {
        wants.push_str(&format!(", {requests} times"));
    }
    if let Some(limit) = max_latency {
        wants.push_str(&format!(", {} % within {limit}", percentile.unwrap_or(100)));
    }
    if let Some(HttpRate { over, max_failure_percent, max_mean_latency, .. }) = rate {
        let failures = max_failure_percent.as_ref().map(|max| format!(" but for at most {max} %"));
        let mean = max_mean_latency.map(|max| format!(" in at most {max} on average"));
        wants.push_str(&format!("{}{} over {over}", failures.unwrap_or_default(), mean.unwrap_or_default()));
    }
    wants
}

fn tls(check: &TlsCheck) -> String {
    let TlsCheck { host, port, valid_for, .. } = check;
    format!("{host}:{port} shows a certificate for {}, trusted and valid for {valid_for} more", check.name())
}

fn dns(check: &DnsCheck) -> String {
    let DnsCheck { host, addresses, names, .. } = check;
    let expected: Vec<&str> = addresses.iter().chain(names).map(String::as_str).collect();
    if expected.is_empty() {
        format!("{host} resolves")
    } else {
        format!("{host} resolves to nothing but {}", expected.join(", "))
    }
}
