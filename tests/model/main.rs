//! Tier 1: the real plan against a world in memory; seconds, on every run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test may stop at the first surprise"
)]

mod adopt;
mod autoscaling;
mod away;
mod broken;
mod budgets;
mod checks;
mod config;
mod contract;
mod database;
mod database_rules;
mod decisions;
mod disrupted;
mod events;
mod expiry;
mod few;
mod figures;
mod gitops;
mod hooks;
mod images;
mod inputs;
mod jobs;
mod leaders;
mod orphan;
mod pending;
mod policies;
mod quota;
mod random;
mod reach;
mod rehearsal;
mod report;
mod restored;
mod reuse;
mod rules;
mod slots;
mod table;
mod threats;
mod undone;
mod withdrawn;
mod workers;
mod world;
