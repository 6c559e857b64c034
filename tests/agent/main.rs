//! The agent's checks against real servers on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod bench;
mod examples;
mod hosts;
mod http;
#[allow(dead_code, reason = "each test target uses its own part")]
#[path = "../support/process.rs"]
mod process;
mod prometheus;
mod server;
