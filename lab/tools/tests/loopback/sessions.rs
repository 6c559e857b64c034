//! A run of the load generator from its start to its end.

use serde_json::Value;

use crate::programs::{demo, eventually, load, run_load};

#[test]
fn it_sends_what_is_due_and_no_more() {
    let (_demo, address) = demo(&[("VERSION", "1")]);
    let (code, report) = run_load(address, &["--rate", "100", "--for", "1s"]);
    assert_eq!((code, &report["ended_by"], &report["sent"]), (0, &"time".into(), &100.into()), "{report}");
    assert_eq!(report["requests"], serde_json::json!({"keepalive": 50, "new": 50, "long": 0}));
    assert_eq!(report["by_version"]["1"]["count"], 100);
    for moment in [&report["started_at"], &report["ended_at"], &report["by_version"]["1"]["first_at"]] {
        let text = moment.as_str().unwrap();
        assert!(text.len() == "2026-01-01T00:00:00.000Z".len() && text.ends_with('Z'), "{text}");
    }
}

#[test]
fn a_slow_server_does_not_lower_the_rate() {
    let (_demo, address) = demo(&[("SLOW_MS", "400")]);
    let (code, report) = run_load(address, &["--rate", "100", "--for", "1s", "--keepalive-clients", "1"]);
    assert_eq!((code, &report["sent"], &report["ok"]), (0, &100.into(), &100.into()), "{report}");
    assert!(report["latency_ms"]["p50"].as_f64().unwrap() >= 400.0, "{report}");
}

#[test]
fn the_count_is_a_limit_for_long_requests_too() {
    let (_demo, address) = demo(&[]);
    let (code, report) = run_load(address, &["--max", "15", "--long", "/slow?ms=100"]);
    assert_eq!((code, &report["ended_by"], &report["sent"]), (0, &"count".into(), &15.into()), "{report}");
    assert!(report["requests"]["long"].as_u64().unwrap() >= 10, "{report}");
    let (_, few) = run_load(address, &["--max", "3", "--long", "/slow?ms=1"]);
    assert_eq!((&few["sent"], &few["requests"]["long"]), (&3.into(), &3.into()), "{few}");
}

#[test]
fn a_signal_ends_it_with_all_answers_and_a_report() {
    let (_demo, address) = demo(&[("VERSION", "1")]);
    let file = std::env::temp_dir().join(format!("load-report-{}.json", std::process::id()));
    let arguments = ["--events", "--long", "/slow?ms=500", "--report", file.to_str().unwrap()];
    let load = load(address, &arguments);
    assert!(load.program.line().starts_with("version 1 first seen at "));
    load.program.terminate();
    let (code, report) = load.finish();
    assert_eq!((code, &report["ended_by"], &report["unfinished"]), (0, &"signal".into(), &0.into()), "{report}");
    assert_eq!(report["requests"]["long"], 10, "{report}");
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(written, report);
}

#[test]
fn a_second_signal_does_not_wait_and_does_not_claim_success() {
    let (_demo, address) = demo(&[]);
    let mut load = load(address, &["--events", "--long", "/slow?ms=30000"]);
    load.program.line();
    // Again and again: the system merges signals that it has not delivered yet.
    eventually("ends", || {
        load.program.terminate();
        load.program.has_ended()
    });
    let (code, report) = load.finish();
    assert_eq!((code, &report["lost"]), (3, &0.into()), "{report}");
    // The long ones, and whatever else was just on its way.
    assert!(report["unfinished"].as_u64().unwrap() >= 10, "{report}");
}

#[test]
fn a_report_that_cannot_be_written_is_said() {
    let (_demo, address) = demo(&[]);
    let (code, report) = run_load(address, &["--max", "2", "--report", "/nonexistent/report.json"]);
    assert_eq!((code, &report["ok"]), (2, &2.into()), "{report}");
}
