//! What the API server itself must refuse and let pass, asked of a real one: `lab/in cargo test --test api`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect in the shortest way"
)]

mod authors;
mod databases;
mod decisions;
mod fence;
mod guard;
mod lifecycle;
mod policies;
mod release_policies;
mod releases;
mod schema;
#[path = "../support/mod.rs"]
mod support;
