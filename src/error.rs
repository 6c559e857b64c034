//! What can go wrong at the edges. Refusals are data of the plan, not errors.

use std::time::Duration;

/// An operation that did not happen; each names what was done and on which object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server answered with an error, or could not be asked.
    #[error("{doing} {object}: {}", words(source))]
    Api {
        /// What was done.
        doing: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// The API server did not answer within the time that one call may take.
    #[error("{doing} {object}: no answer within {} s", limit.as_secs())]
    Timeout {
        /// What was done.
        doing: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// How long was waited.
        limit: Duration,
    },
    /// An object of somebody else has a name that is needed.
    #[error("{object} exists and {}", belongs(controller.as_deref()))]
    NameTaken {
        /// Kind, namespace and name.
        object: String,
        /// Kind and name of what controls it.
        controller: Option<String>,
    },
    /// The work on one object ended by a fault of our own.
    #[error("work on {object}: it panicked: {words}")]
    Panicked {
        /// Kind, namespace and name.
        object: String,
        /// What the panic says.
        words: String,
    },
    /// The configuration does not allow to start.
    #[error("cannot start: {0}")]
    Config(String),
    /// A server of our own cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Says whose an object is that has a name which is needed.
#[must_use]
pub fn belongs(controller: Option<&str>) -> String {
    controller.map_or_else(
        || "does not belong to this Release".to_owned(),
        |controller| format!("belongs to {controller}, not to this Release"),
    )
}

/// Returns the server's own words; kube's would be the whole answer in the form of its debug output.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Somebody else wrote meanwhile: look again at once.
    Conflict,
    /// It may pass: look again, later each time.
    Retry,
    /// Somebody has to change something: look again rarely.
    Blocked,
}

impl Error {
    /// Returns what to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if status.is_conflict() => Class::Conflict,
                kube::Error::Api(status) if status.is_forbidden() => Class::Blocked,
                _ => Class::Retry,
            },
            Self::Timeout { .. } | Self::Panicked { .. } => Class::Retry,
            Self::NameTaken { .. } | Self::Config(_) | Self::Listen { .. } => Class::Blocked,
        }
    }

    /// Returns whether the API server says that the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.is_not_found()))
    }

    /// Returns whether the API server finds the object as it would become invalid.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.is_invalid()))
    }

    /// Returns whether the API server says that an object of that name is there already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.is_already_exists()))
    }

    /// Returns the server's answer, when it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<(u16, &str)> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some((status.code, status.message.as_str())),
                _ => None,
            },
            _ => None,
        }
    }
}
