//! What of a plan fits into status: as the schema has it. A plan that exceeds it could not be written; pure.

use crate::api::{PlannedStep, Scope, Step, WayBackPoint, shorten};

/// How long a line may be, in bytes.
const LINE_BYTES: usize = 512;
/// How long a step's text may be, in bytes.
const DOES_BYTES: usize = 4096;
/// How many risks may be listed.
const MOST_RISKS: usize = 64;
/// Longest part of a command or a query that is shown within a text, in bytes: what is said of it must fit beside it.
const SHOWN_BYTES: usize = 120;

/// Returns a line of what is unmet or could go wrong, no longer than it may be.
pub(in super::super) fn line(text: &str) -> String {
    shorten(text, LINE_BYTES)
}

/// Returns what a step does, no longer than it may be.
pub(super) fn does(text: &str) -> String {
    shorten(text, DOES_BYTES)
}

/// Returns a command as it is shown within a text.
pub(super) fn command(words: &[String]) -> String {
    format!("`{}`", shown(&words.join(" ")))
}

/// Returns the beginning of what is too long to be shown within a text.
pub(super) fn shown(text: &str) -> String {
    shorten(text, SHOWN_BYTES)
}

/// Returns a step with what it does.
pub(super) fn planned(step: Step, text: &str) -> PlannedStep {
    PlannedStep { step, does: does(text), expected: None }
}

/// Returns what going back after a step restores and loses.
pub(super) fn way_back(after: Step, scope: Scope, loses: &str) -> WayBackPoint {
    WayBackPoint { after, scope, loses: line(loses) }
}

/// Returns as many risks as may be listed: the first, and how many more there are. So what weighs most stands first.
pub(super) fn risks(risks: Vec<String>) -> Vec<String> {
    let left_out = risks.len().saturating_sub(MOST_RISKS);
    let kept = if left_out > 0 { MOST_RISKS - 1 } else { MOST_RISKS };
    let more = (left_out > 0).then(|| format!("And {} more like these.", left_out + 1));
    risks.iter().take(kept).map(|risk| line(risk)).chain(more).collect()
}
