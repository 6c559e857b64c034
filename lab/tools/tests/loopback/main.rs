//! Both programs on loopback: real processes, real sockets, a real database. One test program, so that it is linked once.
//!
//! Every wait is for a condition and has a limit; the limits are far above what is needed, and no test measures time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "functions that tests share are not inside #[test], and a failure there is a failure of the test"
)]

mod behaviours;
mod counting;
mod databases;
mod draining;
#[path = "../../../../tests/support/postgres.rs"]
#[allow(dead_code, reason = "the other package's tests use the rest")]
mod postgres;
#[path = "../../../../tests/support/process.rs"]
#[allow(dead_code, reason = "the other package's tests use the rest")]
mod process;
mod programs;
mod retrying;
mod servers;
mod sessions;
