//! What sessions through the port are for, and whether the verified server knows one.

use tokio_postgres::Client;

use crate::{
    agent::postgres::{
        failure::failed,
        ledger::{self, Key},
    },
    protocol::Refusal,
};

/// Purpose of sessions that only read.
const READING: &str = "pending";
/// Sessions of the same role show each other their names.
const THERE: &str = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE pid = $1 \
    AND datname = current_database() AND application_name = $2";

/// What sessions are for.
pub enum Sessions {
    /// A migration and its attempt: the ledger knows each of them.
    Migrating(Key, i32),
    /// They only read, and nothing is written down of them.
    Reading,
}

impl Sessions {
    /// Returns their application name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Migrating(key, _) => format!("switchback {}", key.purpose()),
            Self::Reading => format!("switchback {READING}"),
        }
    }

    /// Returns what they are set to besides.
    pub(super) const fn options(&self) -> &'static str {
        match self {
            Self::Migrating(..) => "",
            Self::Reading => " -c default_transaction_read_only=on",
        }
    }

    /// Returns whether the verified session finds one by the id of its process, and so on the same server.
    pub(super) async fn know(&self, control: &Client, pid: i32) -> Result<bool, Refusal> {
        match self {
            Self::Migrating(key, attempt) => ledger::session(control, pid, (key, *attempt)).await,
            Self::Reading => {
                let error = |error| failed("looking for a session", &error);
                let row = control.query_one(THERE, &[&pid, &self.name()]).await.map_err(error)?;
                Ok(row.try_get::<_, i64>(0).map_err(error)? == 1)
            }
        }
    }
}
