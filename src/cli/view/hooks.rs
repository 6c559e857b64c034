//! Hooks that have ended, whose Jobs are gone; pure.

use jiff::Timestamp;
use serde::Serialize;

use super::State;
use crate::api::{HookMoment, HookRecord};

/// A hook of the last attempt, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookView {
    /// Its name.
    pub name: String,
    /// When it ran.
    pub when: HookMoment,
    /// How it ended.
    pub state: State,
    /// The same in words.
    pub says: String,
    /// What went wrong.
    pub problem: Option<String>,
    /// When its end was seen.
    pub ended_at: Timestamp,
}

/// Returns the hooks that have ended.
pub(super) fn of(hooks: &[HookRecord]) -> Vec<HookView> {
    let view = |HookRecord { name, when, problem, at }: &HookRecord| {
        let (state, says) = match (problem, when) {
            (None, _) => (State::Well, "passed"),
            // It keeps nothing waiting, and nobody repeats it.
            (Some(_), HookMoment::SwitchBack | HookMoment::Done) => (State::Warning, "failed"),
            (Some(_), HookMoment::Switch) => (State::Bad, "failed"),
        };
        let (name, problem) = (name.clone(), problem.clone());
        HookView { name, when: *when, state, says: says.to_owned(), problem, ended_at: at.0 }
    };
    hooks.iter().map(view).collect()
}
