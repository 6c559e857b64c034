//! What the application asks its database while it serves: the newest order, and a new one.
//!
//! A database that is slow or gone fails single answers, soon, and nothing else: connections are few, and whoever
//! waits for one waits shortly. Whether the schema has what this version needs is looked at apart from that, and
//! readiness follows the last answer: a database that says nothing does not turn every pod unready at once.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use serde_json::Value;
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use super::{Login, Tls, words};
use crate::clock;
use crate::demo::settings::Database;

/// Connections of one pod.
const CONNECTIONS: usize = 4;
/// How long a request waits for one of them: longer than the 2 s for which a migration that waits for a lock keeps
/// others waiting behind it.
const WAIT_LIMIT: Duration = Duration::from_secs(3);
/// How long the server works on a statement, waiting for locks included.
const STATEMENT_LIMIT: &str = "-c statement_timeout=2000";
/// How long an answer may take before its connection is given up.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Between two looks at the schema.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What each version of the schema is read with. Migration 2 adds `delivery_slot`; migration 3 drops `address`.
const NEWEST: [&str; 3] = [
    "SELECT row_to_json(o)::text FROM (SELECT id, item, address FROM orders ORDER BY id DESC LIMIT 1) o",
    "SELECT row_to_json(o)::text FROM (SELECT id, item, address, delivery_slot FROM orders ORDER BY id DESC LIMIT 1) o",
    "SELECT row_to_json(o)::text FROM (SELECT id, item, delivery_slot FROM orders ORDER BY id DESC LIMIT 1) o",
];
const ORDER: &str = "INSERT INTO orders (item) VALUES ('one more') RETURNING json_build_object('id', id)::text";

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The schema has not what this version asks for.
    Schema(String),
    /// The database cannot be reached, is too slow, or refuses.
    Unavailable(String),
}

const UNKNOWN: u8 = 0;
const FITS: u8 = 1;
const LACKS: u8 = 2;

/// The application's database.
pub struct Shop {
    pool: Pool,
    newest: &'static str,
    schema: AtomicU8,
}

impl Shop {
    /// Reads the settings and connects to nothing yet. Nothing when they name no database.
    pub fn open(settings: &Database) -> Result<Option<Self>, String> {
        let Some(mut login) = Login::read(settings)? else { return Ok(None) };
        login.config.options(STATEMENT_LIMIT);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match login.tls {
            Tls::Off => Manager::from_config(login.config, NoTls, recycling),
            Tls::Verified(tls) => Manager::from_config(login.config, *tls, recycling),
        };
        let limits = Timeouts { wait: Some(WAIT_LIMIT), create: Some(ANSWER_LIMIT), recycle: Some(WAIT_LIMIT) };
        let pool = Pool::builder(manager).max_size(CONNECTIONS).timeouts(limits).runtime(Runtime::Tokio1).build();
        let newest = usize::from(settings.schema).checked_sub(1).and_then(|index| NEWEST.get(index));
        Ok(Some(Self {
            pool: pool.map_err(|error| error.to_string())?,
            newest: newest.ok_or_else(|| format!("there is no schema {}", settings.schema))?,
            schema: AtomicU8::new(UNKNOWN),
        }))
    }

    /// Returns the newest order; null when there is none.
    pub async fn newest(&self) -> Result<Value, Failure> {
        self.ask(self.newest).await
    }

    /// Places an order and returns its number.
    pub async fn order(&self) -> Result<Value, Failure> {
        self.ask(ORDER).await
    }

    /// Looks at the schema again and again.
    pub async fn keep_looking(&self) {
        loop {
            match self.newest().await {
                Ok(_) => self.schema.store(FITS, Ordering::Release),
                Err(Failure::Schema(_)) => self.schema.store(LACKS, Ordering::Release),
                Err(Failure::Unavailable(_)) => {}
            }
            clock::sleep(LOOK_EVERY).await;
        }
    }

    /// Says why the application cannot do its work, or nothing when it can.
    pub fn why_unready(&self) -> Option<&'static str> {
        match self.schema.load(Ordering::Acquire) {
            FITS => None,
            LACKS => Some("the schema lacks what this version reads"),
            _ => Some("the database has not answered yet"),
        }
    }

    async fn ask(&self, statement: &str) -> Result<Value, Failure> {
        let connection = self.pool.get().await.map_err(|error| Failure::Unavailable(pool_words(&error)))?;
        let Ok(answer) = timeout(ANSWER_LIMIT, connection.query_opt(statement, &[])).await else {
            // Its answer may still come: nobody else may get it.
            drop(Object::take(connection));
            return Err(Failure::Unavailable(format!("no answer within {ANSWER_LIMIT:?}")));
        };
        let row = answer.map_err(|error| failure(&error))?;
        let text: Option<String> = row.map(|row| row.try_get(0)).transpose().map_err(|error| failure(&error))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }
}

fn failure(error: &tokio_postgres::Error) -> Failure {
    match error.code() {
        Some(code) if [SqlState::UNDEFINED_COLUMN, SqlState::UNDEFINED_TABLE].contains(code) => {
            Failure::Schema(words(error))
        }
        _ => Failure::Unavailable(words(error)),
    }
}

fn pool_words(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => words(error),
        PoolError::Timeout(_) => "no connection was free".to_owned(),
        other => other.to_string(),
    }
}
