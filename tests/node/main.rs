//! Tier 3: whole releases on a real node, with every request on the Service address counted.
//!
//! Run by `make test` (tests/run), which brings the lab up and the images in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test may stop at the first surprise"
)]

mod aborted;
mod account;
mod adopted;
mod audited;
mod autoscaled;
mod away;
mod belongings;
mod canary;
mod checks;
mod contested;
mod contract;
mod database_scene;
mod databases;
mod decided;
mod evicted;
mod figures;
mod forged;
mod harness;
mod hostile;
mod interrupted;
mod labels;
mod leaders;
mod measured;
mod plugin;
mod proxy;
mod quiet;
mod rehearsals;
mod releases;
mod restored;
mod slices;
mod smoke;
mod stopped;
#[path = "../support/mod.rs"]
mod support;
mod workers;
