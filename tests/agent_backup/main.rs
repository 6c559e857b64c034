//! Backups of a real PostgreSQL server into a real S3 server and a volume, with everything that can go wrong on the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod cut;
mod good;
mod hostile;
mod rehearse;
mod report;
mod restore;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod world;
