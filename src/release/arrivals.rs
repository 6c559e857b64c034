//! When the event came that a Release waits to be looked at for: what a way back is measured from.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::clock::Stopwatch;

/// The earliest event of each Release that it was not looked at for yet, by namespace and name.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<HashMap<(String, String), Stopwatch>>);

impl Arrivals {
    /// Notes that something has happened to a Release.
    pub fn note(&self, namespace: &str, name: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((namespace.to_owned(), name.to_owned())).or_insert_with(Stopwatch::start);
    }

    /// Returns when that was, or that it is now where nothing but time has passed; what comes later is another event.
    #[must_use]
    pub fn take(&self, namespace: &str, name: &str) -> Stopwatch {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&(namespace.to_owned(), name.to_owned())).unwrap_or_else(Stopwatch::start)
    }
}
