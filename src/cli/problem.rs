//! What people are told when a command cannot do what it was asked: what happened, on which object, why, and
//! the next command; and the exit codes, which scripts rely on.

use std::{fmt, process::ExitCode};

use super::harmless;
use crate::error::Error;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Reached,
    /// It did not.
    Failed,
    /// It was called wrongly.
    Usage,
    /// Nothing was heard in time.
    TimeOut,
    /// The object is not there, or the caller may not.
    NotFoundOrForbidden,
}

impl Exit {
    /// Returns the number, as the reference lists it.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Reached => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::TimeOut => 3,
            Self::NotFoundOrForbidden => 8,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What did not happen, and on which object.
    pub what: String,
    /// Why.
    pub why: String,
    /// The next command, when there is one.
    pub next: Option<String>,
    /// How the command ends.
    pub exit: Exit,
}

impl Problem {
    /// Says what did not happen and why.
    #[must_use]
    pub fn new(exit: Exit, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: harmless::text(&what.into()), why: harmless::text(&why.into()), next: None, exit }
    }

    /// Adds the next command.
    #[must_use]
    pub fn next(self, command: impl Into<String>) -> Self {
        Self { next: Some(command.into()), ..self }
    }

    /// Says what the API server's answer means for whoever asked.
    #[must_use]
    pub fn of_api(error: &Error) -> Self {
        let Error::Api { doing, object, source } = error else {
            let exit = if matches!(error, Error::Timeout { .. }) { Exit::TimeOut } else { Exit::Failed };
            return match error {
                Error::Timeout { doing, object, limit } => {
                    Self::new(exit, cannot(doing, object), format!("no answer within {} s", limit.as_secs()))
                        .next("kubectl version, to see whether the API server answers; --request-timeout waits longer")
                }
                other => Self::new(exit, other.to_string(), ""),
            };
        };
        let what = cannot(doing, object);
        match source.as_ref() {
            kube::Error::Api(status) => Self { what, ..Self::of_status(status.code, &status.message, object) },
            kube::Error::SerdeError(problem) => {
                Self::new(Exit::Failed, what, format!("it cannot be read by this version of the plugin ({problem})"))
                    .next("kubectl switchback version; take the plugin of the version that the operator has")
            }
            other => Self::new(Exit::Failed, what, chain(other)).next("kubectl cluster-info"),
        }
    }

    fn of_status(code: u16, message: &str, object: &str) -> Self {
        let plain = |exit| Self::new(exit, "", message.trim_end_matches('.'));
        match code {
            401 => plain(Exit::NotFoundOrForbidden).next("kubectl auth whoami"),
            403 => plain(Exit::NotFoundOrForbidden).next("kubectl auth whoami; ask an administrator for that right"),
            // The server's words for a kind that it does not know; nothing of ours is installed then.
            404 if message.contains("could not find the requested resource") || message == "404 page not found" => {
                Self::new(Exit::NotFoundOrForbidden, "", "the API server does not know that kind")
                    .next("kubectl get crd releases.switchback.dev; install Switchback when it is missing")
            }
            404 => plain(Exit::NotFoundOrForbidden).next(list_of(object)),
            _ => plain(Exit::Failed),
        }
    }
}

/// Returns the command that lists what is there, in the namespace of an object `Kind namespace/name`.
fn list_of(object: &str) -> String {
    let namespace = object.split_once(' ').and_then(|(_, path)| path.split_once('/')).map(|(namespace, _)| namespace);
    namespace.map_or_else(
        || "kubectl switchback get -A".to_owned(),
        |namespace| format!("kubectl switchback get -n {namespace}, or with -A for all namespaces"),
    )
}

fn cannot(doing: &str, object: &str) -> String {
    format!("cannot {doing} {object}")
}

/// Returns an error with its causes; the outer ones alone often say no more than "client error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = inner.source();
    }
    words
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::of_api(&error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if !self.why.is_empty() {
            write!(f, ": {}", self.why)?;
        }
        if let Some(next) = &self.next {
            write!(f, "\nnext: {next}")?;
        }
        Ok(())
    }
}
