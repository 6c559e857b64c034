//! What the demo application does when told to.

use std::process::Output;

use crate::programs::{demo, demo_command, demo_job, eventually, get, status};

#[test]
fn it_says_its_version_and_pod() {
    let (_demo, address) = demo(&[("VERSION", "2.1"), ("HOSTNAME", "demo-abc")]);
    let answer = get(address, "/", "");
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body, serde_json::json!({"version": "2.1", "pod": "demo-abc"}));
    assert!(answer.head.contains("x-version: 2.1"));
    assert!(answer.head.contains("content-length: "));
    let paths = ["/ready", "/healthz", "/smoke", "/slow?ms=1", "/other"];
    assert_eq!(paths.map(|path| status(address, path)), [200, 200, 200, 200, 404]);
}

#[test]
fn readiness_comes_and_goes_with_time() {
    let (_late, late) = demo(&[("READY_AFTER", "1000")]);
    assert_eq!(status(late, "/ready"), 503);
    assert_eq!(status(late, "/healthz"), 200);
    let (_soon, soon) = demo(&[("READY_AFTER", "0.2")]);
    eventually("ready after READY_AFTER", || status(soon, "/ready") == 200);
    let (_gone, gone) = demo(&[("UNREADY_AFTER", "0.2")]);
    eventually("unready after UNREADY_AFTER", || status(gone, "/ready") == 503);
}

#[test]
fn readiness_follows_a_file() {
    let file = std::env::temp_dir().join(format!("demo-unready-{}", std::process::id()));
    let (_demo, address) = demo(&[("UNREADY_FILE", file.to_str().unwrap())]);
    assert_eq!(status(address, "/ready"), 200);
    std::fs::write(&file, "").unwrap();
    assert_eq!(status(address, "/ready"), 503);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(status(address, "/ready"), 200);
}

#[test]
fn failures_meant_for_after_the_switch_wait_for_an_ordinary_request() {
    let (_demo, address) = demo(&[("UNREADY_WHEN_SERVING", "0"), ("FAIL_SMOKE_WHEN_SERVING", "0")]);
    let checks = |expected: u16| {
        assert_eq!(
            ["/ready", "/smoke"].map(|path| status(address, path)),
            [expected, if expected == 200 { 200 } else { 500 }]
        );
    };
    checks(200);
    assert_eq!(status(address, "/healthz"), 200);
    assert_eq!(get(address, "/", "x-check: probe\r\n").status, 200);
    checks(200);
    assert_eq!(status(address, "/"), 200);
    checks(503);
    assert_eq!(status(address, "/healthz"), 200);
}

#[test]
fn a_probe_tells_good_from_bad() {
    let probe = |url: String| -> (Option<i32>, String) {
        let Output { status, stdout, .. } = demo_command(&["probe", &url], &[]).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap())
    };
    let (good_demo, good) = demo(&[("UNREADY_WHEN_SERVING", "0")]);
    assert_eq!(probe(format!("http://{good}/smoke")).0, Some(0));
    assert_eq!(probe(format!("http://{good}/")).0, Some(0));
    assert_eq!(status(good, "/ready"), 200, "a probe counted as an ordinary request");
    let (_bad, bad) = demo(&[("FAIL_PATH", "/smoke")]);
    let (code, output) = probe(format!("http://{bad}/smoke"));
    assert_eq!(code, Some(1));
    assert!(output.contains("500") && output.contains("FAIL_PATH"), "{output}");
    drop(good_demo);
    assert_eq!(probe(format!("http://{good}/smoke")).0, Some(1));
    assert_eq!(probe("ftp://demo/".to_owned()).0, Some(1));
}

#[test]
fn it_crashes_when_told_to() {
    let crash = demo_command(&[], &[("CRASH_AT_START", "1")]).output().unwrap();
    assert_eq!(crash.status.code(), Some(1));
    assert!(String::from_utf8(crash.stderr).unwrap().contains("CRASH_AT_START"));
    let (_demo, address) = demo(&[("CRASH_AT_START", "false")]);
    assert_eq!(status(address, "/"), 200);
    let later = demo_command(&[], &[("EXIT_AFTER", "0.1")]).output().unwrap();
    assert_eq!(later.status.code(), Some(1));
}

#[test]
fn a_pause_ends_as_told_or_when_terminated() {
    let mut pause = demo_job(&["pause-exit", "--code", "7", "--after", "0.05"]);
    assert_eq!(pause.wait().code(), Some(7));
    let mut told = demo_job(&["pause-exit", "--say", "one line", "--times", "2"]);
    assert_eq!([told.line(), told.line()], ["one line", "one line"]);
    assert_eq!(told.wait().code(), Some(0));
    let mut long = demo_job(&["pause-exit", "--after", "1000"]);
    long.line();
    long.terminate();
    assert_eq!(long.wait().code(), Some(143));
}
