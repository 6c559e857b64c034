//! Selectors that were put back lately: what this process remembers, so that it does so at a bounded rate.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::observed::ContestSeen;

/// What was put back, by the UID of the Release.
#[derive(Debug, Default)]
pub struct Contests(Mutex<HashMap<String, Vec<ContestSeen>>>);

impl Contests {
    /// Notes that a selector was put back.
    pub fn note(&self, uid: &str, contest: ContestSeen) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_release = all.entry(uid.to_owned()).or_default();
        of_release.retain(|known| known.service != contest.service);
        of_release.push(contest);
    }

    /// Returns what was put back of a Release.
    #[must_use]
    pub fn of(&self, uid: &str) -> Vec<ContestSeen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned().unwrap_or_default()
    }

    /// Forgets a Release that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
