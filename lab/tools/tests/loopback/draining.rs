//! SIGTERM loses no request.

use std::io::{Read, Write};
use std::net::TcpStream;

use lab_tools::clock;

use crate::programs::{ask, demo, eventually, get, load, receive, send, status};
use crate::servers::Service;

#[test]
fn while_draining_everything_is_answered_and_connections_are_given_back() {
    let (mut demo, address) = demo(&[("DRAIN_SECONDS", "3")]);
    let slow = std::thread::spawn(move || get(address, "/slow?ms=4500", ""));
    assert_eq!(demo.line(), "demo-app: first ordinary request");
    demo.terminate();
    eventually("unready after SIGTERM", || status(address, "/ready") == 503);
    assert_eq!(status(address, "/healthz"), 200);
    // The client does not wish to close; the answer does, and the server then closes.
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: demo\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("connection: close"), "{answer}");
    // It takes longer than draining does.
    assert_eq!(slow.join().unwrap().status, 200);
    assert_eq!(demo.wait().code(), Some(0));
}

#[test]
fn draining_takes_its_time_even_without_requests() {
    let (mut demo, _) = demo(&[("DRAIN_SECONDS", "1")]);
    let begun = clock::now();
    demo.terminate();
    assert_eq!(demo.wait().code(), Some(0));
    assert!(clock::since(begun).as_secs_f64() >= 1.0);
}

#[test]
fn a_connection_made_before_the_end_may_still_ask_after_it() {
    let (mut demo, address) = demo(&[("DRAIN_SECONDS", "0.3")]);
    demo.terminate();
    eventually("unready after SIGTERM", || status(address, "/ready") == 503);
    let mut early = TcpStream::connect(address).unwrap();
    eventually("no longer accepting", || TcpStream::connect(address).is_err());
    assert_eq!(ask(&mut early, "/", "").status, 200);
    assert_eq!(demo.wait().code(), Some(0));
}

/// The system completes connections that the server has not accepted yet, and their clients send at once. Here the
/// server sleeps through the end of draining and wakes up with such connections waiting.
#[test]
fn connections_that_wait_to_be_accepted_at_the_end_are_answered() {
    let (mut demo, address) = demo(&[("DRAIN_SECONDS", "1")]);
    demo.terminate();
    eventually("unready after SIGTERM", || status(address, "/ready") == 503);
    let begun = clock::now();
    demo.signal("STOP");
    let mut waiting: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    waiting.iter_mut().for_each(|stream| send(stream, "/", ""));
    eventually("the end of draining has passed", || clock::since(begun).as_secs_f64() > 1.1);
    demo.signal("CONT");
    assert!(waiting.iter_mut().all(|stream| receive(stream).status == 200));
    assert_eq!(demo.wait().code(), Some(0));
}

/// Pods are replaced one after the other behind a Service, each told to end before the Service leaves it, as
/// Kubernetes does; long requests are always in flight.
#[test]
fn replacing_servers_under_load_loses_no_request() {
    let start = |version| demo(&[("VERSION", version), ("DRAIN_SECONDS", "0.7")]);
    let (mut old, mut old_address) = start("1");
    let service = Service::start(old_address);
    let long = ["--long", "/slow?ms=1500", "--long-in-flight", "10"];
    let arguments = [&["--until-stdin-closes", "--events", "--rate", "200"][..], &long].concat();
    let mut load = load(service.address, &arguments);
    assert!(load.program.line().starts_with("version 1 first seen at "));
    for version in ["2", "3", "4", "5"] {
        let (new, new_address) = start(version);
        old.terminate();
        eventually("unready after SIGTERM", || status(old_address, "/ready") == 503);
        service.switch(new_address);
        assert!(load.program.line().starts_with(&format!("version {version} first seen at ")));
        assert_eq!(old.wait().code(), Some(0), "the end of the version before {version}");
        (old, old_address) = (new, new_address);
    }
    load.program.close_stdin();
    let (code, report) = load.finish();
    assert_eq!((code, &report["lost"], &report["unfinished"]), (0, &0.into(), &0.into()), "{report}");
    assert_eq!(report["ended_by"], "stdin");
    assert_eq!(report["by_version"].as_object().unwrap().len(), 5, "{report}");
    assert!(report["ok"].as_u64().unwrap() > 500 && report["requests"]["long"].as_u64().unwrap() >= 10, "{report}");
}
