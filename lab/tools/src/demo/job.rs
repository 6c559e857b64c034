//! The demo image in the role of a Job: a check of a URL, and a pause with a known end.

use std::process::ExitCode;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::time::timeout;

use super::answer::CHECK_HEADER;
use super::settings::{PauseExit, Probe};
use crate::client::{Connection, Failure, Target};
use crate::{clock, lines};

/// What a shell reports for a process ended by SIGTERM.
const TERMINATED: u8 = 143;

/// Gets the URL once: exit code 0 for a complete answer with status 200, else 1 and a line that says why.
pub async fn probe(probe: &Probe) -> ExitCode {
    let target = match Target::parse(&probe.url) {
        Ok(target) => target,
        Err(refusal) => return failed(&refusal),
    };
    let answer = async {
        let mut request = target.get();
        request.headers_mut().insert(CHECK_HEADER, HeaderValue::from_static("probe"));
        Connection::open(&target).await?.exchange(request).await
    };
    match timeout(probe.timeout, answer).await {
        Ok(Ok(answer)) if answer.status == StatusCode::OK => {
            lines::out(format_args!("{} answered 200", probe.url));
            ExitCode::SUCCESS
        }
        Ok(Ok(answer)) => {
            let body = String::from_utf8_lossy(&answer.body_start);
            failed(&format!("{} answered {}: {}", probe.url, answer.status, body.trim_end()))
        }
        Ok(Err(Failure { error, .. })) => failed(&format!("{}: {error}", probe.url)),
        Err(_) => failed(&format!("{}: no answer within {:?}", probe.url, probe.timeout)),
    }
}

/// Says what it is told to say, waits, then exits with the code asked for; SIGTERM and SIGINT end the wait.
pub async fn pause_exit(pause: &PauseExit) -> ExitCode {
    let stop = match super::stop_signals() {
        Ok(stop) => stop,
        Err(error) => return failed(&format!("could not listen for signals: {error}")),
    };
    if let Some(line) = &pause.say {
        (0..pause.times).for_each(|_| lines::out(line));
    }
    lines::out(format_args!("pausing for {:?}, then exit code {}", pause.after, pause.code));
    tokio::select! {
        () = clock::sleep(pause.after) => ExitCode::from(pause.code),
        () = stop => ExitCode::from(TERMINATED),
    }
}

fn failed(message: &str) -> ExitCode {
    lines::out(message);
    ExitCode::FAILURE
}
