//! Caches: what watches have shown, slim, and found by the object it belongs to.
//!
//! kube's stores keep whole objects and are searched from end to end. Here each object is reduced to what
//! decisions need while it is read, and kept under its owner.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use kube::runtime::watcher::Event;

/// Namespace and UID of the object that others belong to.
pub type Owner = (String, String);
/// Namespace and name.
type Key = (String, String);

/// Objects of one kind, by owner.
#[derive(Debug)]
pub struct Index<S>(Mutex<Inner<S>>);

#[derive(Debug)]
struct Inner<S> {
    by_owner: HashMap<Owner, BTreeMap<String, S>>,
    owner_of: HashMap<Key, Owner>,
    /// What a list under way has shown so far; what it does not show is gone when it ends. One per watch.
    listed: HashMap<usize, HashSet<Key>>,
    /// Which objects came from which watch.
    source: HashMap<Key, usize>,
}

impl<S> Default for Index<S> {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            by_owner: HashMap::new(),
            owner_of: HashMap::new(),
            listed: HashMap::new(),
            source: HashMap::new(),
        }))
    }
}

impl<S: Clone> Index<S> {
    /// Takes one event of watch number `watch` in; returns the owners whose objects may have changed.
    pub fn take<K>(
        &self,
        watch: usize,
        event: &Event<K>,
        read: impl Fn(&K) -> Option<(Owner, String, S)>,
    ) -> Vec<Owner> {
        let mut inner = self.lock();
        match event {
            Event::Apply(object) => read(object).map_or_else(Vec::new, |entry| inner.put(watch, entry)),
            Event::Delete(object) => read(object)
                .and_then(|((namespace, _), name, _)| inner.remove(&(namespace, name)))
                .into_iter()
                .collect(),
            Event::Init => {
                inner.listed.insert(watch, HashSet::new());
                vec![]
            }
            Event::InitApply(object) => {
                let Some(entry) = read(object) else { return vec![] };
                let key = (entry.0.0.clone(), entry.1.clone());
                inner.listed.entry(watch).or_default().insert(key);
                inner.put(watch, entry)
            }
            Event::InitDone => inner.forget_unlisted(watch),
        }
    }

    /// Returns everything that belongs to an owner.
    #[must_use]
    pub fn of(&self, owner: &Owner) -> Vec<S> {
        self.lock().by_owner.get(owner).map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }

    /// Returns everything.
    #[must_use]
    pub fn all(&self) -> Vec<S> {
        self.lock().by_owner.values().flat_map(BTreeMap::values).cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Inner<S> {
    fn put(&mut self, watch: usize, (owner, name, seen): (Owner, String, S)) -> Vec<Owner> {
        let key = (owner.0.clone(), name.clone());
        let former = self.owner_of.insert(key.clone(), owner.clone()).filter(|former| *former != owner);
        if let Some(former) = &former
            && let Some(objects) = self.by_owner.get_mut(former)
        {
            objects.remove(&name);
        }
        self.source.insert(key, watch);
        self.by_owner.entry(owner.clone()).or_default().insert(name, seen);
        former.into_iter().chain([owner]).collect()
    }

    fn remove(&mut self, key: &Key) -> Option<Owner> {
        let owner = self.owner_of.remove(key)?;
        self.source.remove(key);
        if let Some(objects) = self.by_owner.get_mut(&owner) {
            objects.remove(&key.1);
            if objects.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
        Some(owner)
    }

    fn forget_unlisted(&mut self, watch: usize) -> Vec<Owner> {
        let listed = self.listed.remove(&watch).unwrap_or_default();
        let gone: Vec<Key> = self
            .source
            .iter()
            .filter(|(key, source)| **source == watch && !listed.contains(*key))
            .map(|(key, _)| key.clone())
            .collect();
        gone.iter().filter_map(|key| self.remove(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Object = (&'static str, &'static str, i32);

    fn read((owner, name, value): &Object) -> Option<(Owner, String, i32)> {
        Some((("ns".to_owned(), (*owner).to_owned()), (*name).to_owned(), *value))
    }

    fn of(index: &Index<i32>, owner: &str) -> Vec<i32> {
        index.of(&("ns".to_owned(), owner.to_owned()))
    }

    #[test]
    fn keeps_objects_under_their_owner_and_tells_both_when_the_owner_changes() {
        let index = Index::default();
        index.take(0, &Event::Apply(("a", "x", 1)), read);
        let touched = index.take(0, &Event::Apply(("b", "x", 2)), read);
        assert_eq!(touched.len(), 2);
        assert_eq!((of(&index, "a"), of(&index, "b")), (vec![], vec![2]));
        index.take(0, &Event::Delete(("b", "x", 2)), read);
        assert_eq!(of(&index, "b"), Vec::<i32>::new());
    }

    #[test]
    fn a_new_list_forgets_what_it_does_not_show_of_its_own_watch_only() {
        let index = Index::default();
        index.take(0, &Event::Apply(("a", "x", 1)), read);
        index.take(0, &Event::Apply(("a", "y", 2)), read);
        index.take(1, &Event::Apply(("a", "z", 3)), read);
        index.take(0, &Event::<Object>::Init, read);
        index.take(0, &Event::InitApply(("a", "y", 4)), read);
        // Until the list is whole nothing is missing.
        assert_eq!(of(&index, "a"), [1, 4, 3]);
        let touched = index.take(0, &Event::<Object>::InitDone, read);
        assert_eq!((of(&index, "a"), touched.len()), (vec![4, 3], 1));
    }
}
