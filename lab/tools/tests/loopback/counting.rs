//! The load generator counts as lost whatever is not a complete answer with status 200, and says why.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use crate::programs::run_load;
use crate::servers::{OK, read_request, say, scripted};

const FEW: [&str; 4] = ["--rate", "100", "--max", "20"];

fn assert_all_lost(address: SocketAddr, cause: &str, more: &[&str]) -> Value {
    let (code, report) = run_load(address, &[&FEW[..], more].concat());
    assert_eq!(code, 3, "{report}");
    assert_eq!((&report["sent"], &report["lost"], &report["ok"]), (&20.into(), &20.into(), &0.into()), "{report}");
    assert_eq!(report["lost_by_cause"], serde_json::json!({cause: 20}), "{report}");
    assert_eq!(report["lost_requests"].as_array().unwrap().len(), 20);
    assert_eq!(report["retried"], 0, "{report}");
    report
}

fn answering(answer: &'static str) -> SocketAddr {
    scripted(move |stream| {
        if read_request(stream).is_some() {
            say(stream, answer);
        }
    })
}

#[test]
fn another_status_is_lost() {
    let closing = answering("HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let report = assert_all_lost(closing, "status", &[]);
    assert_eq!(report["lost_requests"][0]["error"], "status 500 Internal Server Error");
    let staying = scripted(|stream| {
        while read_request(stream).is_some() {
            say(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        }
    });
    assert_all_lost(staying, "status", &[]);
}

#[test]
fn half_an_answer_is_lost() {
    for answer in [
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        // No length: that it is complete cannot be told.
        "HTTP/1.1 200 OK\r\n\r\nok",
    ] {
        assert_all_lost(answering(answer), "truncated", &[]);
    }
}

#[test]
fn nonsense_is_lost() {
    assert_all_lost(answering("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol", &[]);
}

#[test]
fn a_reset_connection_is_lost() {
    // Closing a socket with bytes that nobody read resets the connection.
    let resetting = scripted(|stream: &mut TcpStream| {
        let _ = stream.read(&mut [0]);
    });
    assert_all_lost(resetting, "reset", &[]);
}

#[test]
fn a_new_connection_closed_without_an_answer_is_lost() {
    let closing = scripted(|stream| {
        read_request(stream);
    });
    assert_all_lost(closing, "closed", &[]);
}

#[test]
fn no_connection_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_all_lost(address, "connect", &[]);
}

#[test]
fn no_answer_in_time_is_lost() {
    let silent = scripted(|stream| {
        read_request(stream);
        read_request(stream);
    });
    assert_all_lost(silent, "timeout", &["--timeout", "200ms"]);
}

#[test]
fn a_lost_long_request_is_counted_and_does_not_use_up_the_count() {
    let address = scripted(|stream| {
        while let Some(request) = read_request(stream) {
            say(
                stream,
                if request.starts_with("GET / ") { OK } else { "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n" },
            );
        }
    });
    let long = ["--long", "/slow?ms=5", "--long-in-flight", "2"];
    let (code, report) = run_load(address, &[&["--rate", "100", "--for", "500ms"][..], &long].concat());
    assert_eq!((code, &report["lost_requests"][0]["kind"]), (3, &"long".into()), "{report}");
    assert_eq!(report["requests"]["keepalive"].as_u64().unwrap() + report["requests"]["new"].as_u64().unwrap(), 50);
    assert_eq!(report["lost"], report["requests"]["long"], "{report}");
    assert!(report["requests"]["long"].as_u64().unwrap() <= 8, "{report}");
}
