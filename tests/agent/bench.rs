//! How checks are made here: one check, one verdict.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use switchback::{
    agent::checks,
    clock,
    protocol::{CheckParameters, CheckVerdict, HttpProbe, Probe, ProbeKind},
};

/// Makes a check; every one ends, whatever the server does.
pub async fn check(what: ProbeKind, until: Option<Timestamp>) -> CheckVerdict {
    let probe = Probe { name: "home".into(), must_tell: false, what };
    let parameters = CheckParameters { checks: vec![probe], until };
    let result = tokio::time::timeout(Duration::from_secs(30), checks::run(&parameters)).await.unwrap();
    result.checks.into_iter().next().unwrap()
}

/// A window that is over soon.
pub fn soon() -> Option<Timestamp> {
    Some(clock::now().checked_add(SignedDuration::from_secs(2)).unwrap())
}

/// A window that is never over here: what ends it is a verdict.
pub fn later() -> Option<Timestamp> {
    Some(clock::now().checked_add(SignedDuration::from_hours(1)).unwrap())
}

/// A check over HTTP of an address, with more of its fields.
pub fn http(url: &str, more: Value) -> ProbeKind {
    let mut check = serde_json::json!({ "host": "localhost", "timeout": "2s", "every": "100ms" });
    check.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let check = serde_json::from_value(check).unwrap();
    ProbeKind::Http(Box::new(HttpProbe { url: url.into(), connect: None, check, ca: None }))
}
