//! Objects as our last write left them, until the watch has shown them: a reconcile that begins before that would
//! decide on the object from before its own write.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, core::ObjectMeta};

/// Objects of one kind, by UID.
#[derive(Debug)]
pub struct Written<K>(Mutex<HashMap<String, K>>);

impl<K> Default for Written<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Resource + Clone> Written<K> {
    /// Returns the newer of what the watch has shown and what our last write left.
    #[must_use]
    pub fn newest(&self, shown: &K) -> K {
        let mut written = self.lock();
        let uid = uid(shown.meta());
        match written.get(&uid) {
            Some(ours) if version(ours.meta()) > version(shown.meta()) => ours.clone(),
            _ => {
                written.remove(&uid);
                shown.clone()
            }
        }
    }

    /// Keeps an object as a write of ours left it.
    pub fn keep(&self, written: &K) {
        let mut object = written.clone();
        object.meta_mut().managed_fields = None;
        self.lock().insert(uid(object.meta()), object);
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid(meta: &ObjectMeta) -> String {
    meta.uid.clone().unwrap_or_default()
}

/// Returns the resourceVersion as a number: within one object, newer ones are larger (KEP-5504).
pub(super) fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn at(version: &str) -> ConfigMap {
        let metadata =
            ObjectMeta { uid: Some("u".into()), resource_version: Some(version.into()), ..ObjectMeta::default() };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    #[test]
    fn what_was_written_counts_until_the_watch_has_caught_up() {
        let written = Written::default();
        assert_eq!(written.newest(&at("9")), at("9"));
        written.keep(&at("10"));
        assert_eq!(written.newest(&at("9")), at("10"));
        assert_eq!(written.newest(&at("11")), at("11"));
        assert_eq!(written.newest(&at("9")), at("9"), "kept no longer than needed");
    }
}
