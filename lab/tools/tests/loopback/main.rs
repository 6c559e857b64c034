//! Both programs on loopback: real processes, real sockets. One test program, so that it is linked once.
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
mod draining;
mod programs;
mod retrying;
mod servers;
mod sessions;
