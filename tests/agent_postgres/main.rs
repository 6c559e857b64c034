//! The agent against a real PostgreSQL server, as the program that runs in Jobs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod bench;
mod checks;
mod command;
mod connect;
mod fingerprint;
mod identity;
mod killed;
mod lock;
mod pending;
#[allow(dead_code, reason = "each test target uses its own part")]
#[path = "../support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "each test target uses its own part")]
#[path = "../support/process.rs"]
mod process;
mod rotated;
mod sql;
