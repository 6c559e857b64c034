//! What is said of a Release in more than one place: by status, events, Decisions and the plugin; pure.
//!
//! In: what status remembers. Out: sentences without their full stop, each written once. What is said of plans is in
//! [`super::plan_text`].

use crate::api::{Gate, ProofLevel, Suspension};

/// Says who serves users.
#[must_use]
pub fn serves(version: Option<&str>) -> String {
    version.map_or_else(
        || "Nothing of this Release serves users yet".to_owned(),
        |version| format!("{version} serves users"),
    )
}

/// Says who suspended it.
#[must_use]
pub fn suspended(by: &Suspension) -> String {
    format!("{} suspended it by Decision {}", by.actor, by.decision)
}

/// Says who has approved so far, as a sentence that follows another one; nothing when nobody has.
#[must_use]
pub fn approved_so_far(people: &[&str], required: usize) -> String {
    if people.is_empty() {
        return String::new();
    }
    format!(" {} of {required} approvals are given, by {}.", people.len(), people.join(", "))
}

/// Says what becomes of a backup that is asked for.
#[must_use]
pub fn backs_up<'a>(database: &str, storages: impl Iterator<Item = &'a str>) -> String {
    format!("A backup of {database} is taken into {} and proven.", storages.collect::<Vec<_>>().join(" and "))
}

/// Says how far a backup is proven.
#[must_use]
pub const fn proven(level: ProofLevel) -> &'static str {
    match level {
        ProofLevel::Stored => "stored",
        ProofLevel::Readable => "read back",
        ProofLevel::Restored => "restored and compared",
    }
}

/// Returns what a command of the plugin has to say to mean the plan of a gate.
#[must_use]
pub const fn gate_option(gate: Gate) -> &'static str {
    match gate {
        Gate::Release => "",
        Gate::Contract => " --gate contract",
        Gate::DataLoss => " --gate data-loss",
    }
}

/// Says, after what waits, that it waits for the admission policies, and who can meet that.
#[must_use]
pub fn unguarded(waits: &str) -> String {
    format!(
        "{waits} until the admission policies of the chart (deploy/cluster-prerequisites.yaml) are in force, which an admin of \
         the cluster applies."
    )
}
