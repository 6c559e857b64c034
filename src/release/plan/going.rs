//! What part of a step is to be done, known or waited for before the step can go on; pure.

use jiff::Timestamp;

use super::{super::observed::Ask, Action};

/// What is to be done, known or waited for.
#[derive(Default)]
pub(super) struct Going {
    pub actions: Vec<Action>,
    pub asks: Vec<Ask>,
    /// What is waited for, in words.
    pub waiting: String,
    /// When to look again though nothing happens.
    pub again: Option<Timestamp>,
}

impl Going {
    pub(super) fn acts(actions: Vec<Action>, waiting: String) -> Self {
        Self { actions, waiting, ..Self::default() }
    }

    pub(super) fn waits(waiting: String) -> Self {
        Self::acts(vec![], waiting)
    }
}
