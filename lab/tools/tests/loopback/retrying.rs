//! RFC 9110, 9.2.2 and RFC 9112, 9.3.1: a request may be sent again when a connection that was used before ended
//! without a byte of the answer. Such requests are told apart; everything else is lost.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use lab_tools::client::{Cause, Connection, Target};
use serde_json::Value;

use crate::programs::run_load;
use crate::servers::{OK, read_request, say, scripted};

fn run(address: SocketAddr) -> (i32, Value) {
    let (code, report) = run_load(address, &["--rate", "100", "--max", "60", "--keepalive-clients", "2"]);
    assert_eq!(report["requests"], serde_json::json!({"keepalive": 30, "new": 30, "long": 0}), "{report}");
    (code, report)
}

/// Answers the first request of a connection and does `then` with the next.
fn second_request(then: fn(&mut TcpStream)) -> SocketAddr {
    scripted(move |stream| {
        if read_request(stream).is_some() {
            say(stream, OK);
            if read_request(stream).is_some() {
                then(stream);
            }
        }
    })
}

#[test]
fn a_used_connection_that_ends_without_a_byte_is_retried_and_said_so() {
    let (code, report) = run(second_request(|_| {}));
    assert_eq!((code, &report["ok"], &report["lost"]), (0, &60.into(), &0.into()), "{report}");
    assert!(report["retried"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["retried"], report["reused"], "{report}");
    assert_eq!(report["retried_requests"][0]["cause"], "closed");
}

#[test]
fn one_byte_of_the_answer_forbids_another_try() {
    let (code, report) = run(second_request(|stream| say(stream, "H")));
    assert_eq!((code, &report["retried"]), (3, &0.into()), "{report}");
    assert!(report["lost"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["lost"], report["reused"], "{report}");
    assert_eq!(report["lost_by_cause"]["truncated"], report["lost"], "{report}");
}

#[test]
fn another_status_is_no_reason_for_another_try() {
    let (_, report) = run(second_request(|stream| {
        say(stream, "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    }));
    assert_eq!((&report["retried"], &report["lost"]), (&0.into(), &report["reused"]), "{report}");
}

#[test]
fn there_is_one_try_more_and_its_end_counts() {
    let answered = AtomicBool::new(false);
    let address = scripted(move |stream| {
        let Some(request) = read_request(stream) else {
            return;
        };
        let is_kept = !request.contains("connection: close");
        if is_kept && !answered.swap(true, Ordering::SeqCst) {
            say(stream, OK);
            read_request(stream);
        }
    });
    let (code, report) = run(address);
    assert_eq!(
        (code, &report["ok"], &report["lost"], &report["retried"]),
        (3, &1.into(), &59.into(), &1.into()),
        "{report}"
    );
}

#[test]
fn connections_closed_while_idle_cost_nothing() {
    let address = scripted(|stream| {
        if read_request(stream).is_some() {
            say(stream, OK);
        }
    });
    let (code, report) = run(address);
    assert_eq!((code, &report["ok"], &report["lost"]), (0, &60.into(), &0.into()), "{report}");
}

#[test]
fn kept_connections_are_really_reused() {
    let address = scripted(|stream| {
        while read_request(stream).is_some() {
            say(stream, OK);
        }
    });
    let (code, report) = run(address);
    assert_eq!((code, &report["retried"]), (0, &0.into()), "{report}");
    assert!(report["reused"].as_u64().unwrap() >= 20, "{report}");
}

#[tokio::test]
async fn a_fresh_connection_never_allows_another_try() {
    let address = scripted(|stream| {
        read_request(stream);
    });
    let target = Target::parse(&format!("http://{address}/")).unwrap();
    let mut connection = Connection::open(&target).await.unwrap();
    let failure = connection.exchange(target.get()).await.unwrap_err();
    assert_eq!((failure.cause, failure.may_be_sent_again), (Cause::Closed, false));
}
