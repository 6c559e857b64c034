//! What the API server's own audit log says of us.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::support::{CONTROLLER, Namespace, SOON, within};

/// For how long nothing is asked where everything is said: events follow the write that they tell of.
const SETTLED: Duration = Duration::from_secs(3);

/// Returns the lab's audit log.
pub fn audit_log() -> PathBuf {
    PathBuf::from(std::env::var("LAB_DIR").expect("the lab says where it is")).join("log/audit/audit.log")
}

/// Returns where the audit log ends now.
pub fn mark() -> usize {
    usize::try_from(std::fs::metadata(audit_log()).unwrap().len()).unwrap()
}

/// Returns every request but watches that the controller made in a namespace since then.
pub fn requests_since(namespace: &Namespace, from: usize) -> Vec<Value> {
    let log = std::fs::read(audit_log()).unwrap();
    let lines = String::from_utf8_lossy(&log[from..]).into_owned();
    lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["user"]["username"] == CONTROLLER && event["verb"] != "watch")
        .filter(|event| event["objectRef"]["namespace"] == namespace.name.as_str())
        .collect()
}

/// Waits, and returns every request but watches that the controller made in a namespace meanwhile.
pub async fn requests_within(namespace: &Namespace, time: Duration) -> Vec<Value> {
    let from = mark();
    tokio::time::sleep(time).await;
    requests_since(namespace, from)
}

/// Waits until nothing is asked any more.
pub async fn until_settled(namespace: &Namespace, from: usize) {
    within(SOON * 2, "the controller asks for nothing any more", async || {
        let before = requests_since(namespace, from).len();
        tokio::time::sleep(SETTLED).await;
        (requests_since(namespace, from).len() == before).then_some(())
    })
    .await;
}

/// Requests by what they cost the API server.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Writes that were kept; without events.
    pub writes: usize,
    /// Events, new ones and those that are told again.
    pub events: usize,
    /// Strict dry runs, whatever was answered.
    pub dry_runs: usize,
    /// Reads of single objects.
    pub reads: usize,
    /// Lists: of what somebody else has in the namespace, which nobody watches.
    pub lists: usize,
}

impl Spent {
    /// Counts requests. A write that was refused was not kept: the table has it.
    pub fn of(requests: &[Value]) -> Self {
        let mut spent = Self::default();
        for event in requests {
            *match event["verb"].as_str().unwrap_or_default() {
                "get" => &mut spent.reads,
                "list" => &mut spent.lists,
                _ if is_dry_run(event) => &mut spent.dry_runs,
                _ if event["objectRef"]["resource"] == "events" => &mut spent.events,
                _ if event["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300) => &mut spent.writes,
                _ => continue,
            } += 1;
        }
        spent
    }

    /// Counts requests by verb, resource and what was answered.
    pub fn table(requests: &[Value]) -> BTreeMap<String, usize> {
        let mut table = BTreeMap::new();
        for event in requests {
            let of = |key: &str| event["objectRef"][key].as_str().unwrap_or_default();
            let (verb, code) = (event["verb"].as_str().unwrap_or_default(), &event["responseStatus"]["code"]);
            let dry = if is_dry_run(event) { "dry run: " } else { "" };
            let subresource = if of("subresource").is_empty() { "" } else { "/" };
            let line = format!("{dry}{verb} {}{subresource}{}: {code}", of("resource"), of("subresource"));
            *table.entry(line).or_default() += 1;
        }
        table
    }

    /// Returns whether nothing of it is above what is allowed.
    pub fn within(&self, allowed: &Self) -> bool {
        let Self { writes, events, dry_runs, reads, lists } = self;
        *writes <= allowed.writes
            && *events <= allowed.events
            && *dry_runs <= allowed.dry_runs
            && *reads <= allowed.reads
            && *lists <= allowed.lists
    }
}

fn is_dry_run(event: &Value) -> bool {
    event["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=All"))
}
