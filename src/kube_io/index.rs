//! Caches: what watches have shown, slim, and found by the object it belongs to; and what our own writes have left
//! until a watch shows it.
//!
//! kube's stores keep whole objects and are searched from end to end. Here each object is reduced to what
//! decisions need while it is read, and kept under its owner.
//!
//! A look that begins before its own last write has come back by the watch would decide on what was there before, and
//! make everything again: a create that is refused, and a read to learn whose it is. There are three answers to that.
//! The ReplicaSet controller counts how many events it expects and does nothing until they have come, or five minutes
//! have passed; Kubernetes 1.36 and controller-runtime wait until the cache is as new as the last write; client-go's
//! MutationCache lays the answer of a write over the cache. Here it is the third: a look may be a way back, which waits
//! for nothing. What can go wrong with it is told by resourceVersions, which grow within a kind (KEP-5504):
//!
//! - an answer that is older than what the watch has shown by then, of whatever object of the kind, is dropped: the
//!   object may have been changed or deleted since, and the watch has said so;
//! - an event that is older than our last write of the object changes nothing: a newer one is on its way;
//! - what we have made and the watch passes without a word about it is gone, or was never to be seen there, and goes; a
//!   new list does the same. Where neither comes, it goes after a while: then it is made again, and refused, as before.
//!
//! The answer to a deletion has no version, and needs none: no UID comes back. What we have deleted is not there from
//! then on, whatever events from before say of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::{Resource, ResourceExt as _, runtime::watcher::Event};

use super::written::version;
use crate::clock::Stopwatch;

/// Namespace and UID of the object that others belong to.
pub type Owner = (String, String);
/// What one watch shows: a namespace, or all of them.
pub type Scope = Option<String>;
/// Namespace and name.
type Key = (String, String);

/// How long what we have made is taken to be there, and what we have deleted to be gone, though no watch has shown it. A
/// watch that stands still for longer is broken off by its own timeouts.
const UNSHOWN: Duration = Duration::from_secs(30);

/// Objects of one kind, by owner.
#[derive(Debug)]
pub struct Index<S>(Mutex<Inner<S>>);

#[derive(Debug)]
struct Inner<S> {
    by_owner: HashMap<Owner, BTreeMap<String, S>>,
    held: HashMap<Key, Held>,
    /// What we have made and no watch has shown yet, since when.
    made: HashMap<Key, Stopwatch>,
    /// What we have deleted and no watch has shown to be gone yet, by UID.
    deleted: HashMap<String, Deleted>,
    watches: HashMap<Scope, Watch>,
}

/// An object, as far as it is found by it.
#[derive(Debug)]
struct Held {
    owner: Owner,
    uid: String,
    version: u64,
    /// Whether a watch has shown this version, and not only the answer of our own write.
    shown: bool,
}

/// An object that we have deleted.
#[derive(Debug)]
struct Deleted {
    key: Key,
    /// Who waits for the event that shows it.
    owner: Owner,
    since: Stopwatch,
}

/// How far a watch is.
#[derive(Debug, Default)]
struct Watch {
    /// The newest version that it has shown, of whatever object.
    newest: u64,
    /// A list under way; what it does not show is gone when it ends.
    list: Option<List>,
}

#[derive(Debug, Default)]
struct List {
    keys: HashSet<Key>,
    newest: u64,
}

impl<S> Default for Index<S> {
    fn default() -> Self {
        let (by_owner, held, made) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self(Mutex::new(Inner { by_owner, held, made, deleted: HashMap::new(), watches: HashMap::new() }))
    }
}

impl<S: Clone> Index<S> {
    /// Takes one event of a watch in; returns the owners whose objects may have changed.
    pub fn take<K: Resource>(
        &self,
        scope: &Scope,
        event: &Event<K>,
        read: impl Fn(&K) -> Option<(Owner, String, S)>,
    ) -> Vec<Owner> {
        let mut inner = self.lock();
        match event {
            Event::Apply(object) => {
                let which = Which::of(object);
                let version = which.version;
                let mut touched =
                    read(object).map_or_else(Vec::new, |entry| inner.show(which, entry).into_iter().collect());
                touched.extend(inner.passed(scope, version));
                touched
            }
            Event::Delete(object) => {
                let (which, key) = (Which::of(object), key(object));
                let mut touched: Vec<Owner> = inner.hide(&which, &key).into_iter().collect();
                touched.extend(inner.passed(scope, which.version));
                touched
            }
            Event::Init => {
                inner.begin_list(scope);
                vec![]
            }
            Event::InitApply(object) => {
                let Some(entry) = read(object) else { return vec![] };
                let which = Which::of(object);
                inner.list(scope, which.version, key(object));
                inner.show(which, entry)
            }
            Event::InitDone => inner.end_list(scope),
        }
    }

    /// Takes in what a write of ours has left, until a watch shows it.
    pub fn keep<K: Resource>(&self, written: &K, read: impl Fn(&K) -> Option<(Owner, String, S)>) {
        if let Some(entry) = read(written) {
            self.lock().keep(Which::of(written), entry);
        }
    }

    /// Takes in that a deletion of ours has left no object of this UID, until a watch shows it.
    pub fn forget(&self, (namespace, name, uid): (&str, &str, &str)) {
        self.lock().delete((namespace.to_owned(), name.to_owned()), uid);
    }

    /// Returns everything that belongs to an owner.
    #[must_use]
    pub fn of(&self, owner: &Owner) -> Vec<S> {
        let mut inner = self.lock();
        inner.forget_made(|since, _| since.elapsed() > UNSHOWN);
        inner.deleted.retain(|_, deleted| deleted.since.elapsed() <= UNSHOWN);
        inner.by_owner.get(owner).map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }

    /// Returns whether this holds of something in a namespace.
    pub fn any(&self, namespace: &str, holds: impl Fn(&S) -> bool) -> bool {
        let inner = self.lock();
        let mut there = inner.by_owner.iter().filter(|((beside, _), _)| beside == namespace);
        there.any(|(_, objects)| objects.values().any(&holds))
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

fn key(object: &impl Resource) -> Key {
    (object.meta().namespace.clone().unwrap_or_default(), object.name_any())
}

/// Returns whether a watch shows what is in a namespace.
fn covers(scope: &Scope, (namespace, _): &Key) -> bool {
    scope.as_ref().is_none_or(|scope| scope == namespace)
}

/// Which object, and which state of it.
struct Which {
    uid: String,
    version: u64,
}

impl Which {
    fn of(object: &impl Resource) -> Self {
        Self { uid: object.meta().uid.clone().unwrap_or_default(), version: version(object.meta()) }
    }
}

impl<S> Inner<S> {
    /// Takes in what a watch shows of an object, unless our own last write of it is newer.
    fn show(&mut self, Which { uid, version }: Which, entry: (Owner, String, S)) -> Vec<Owner> {
        let key = (entry.0.0.clone(), entry.1.clone());
        if self.deleted.contains_key(&uid) || self.is_newer_here(&key, version) {
            return vec![entry.0];
        }
        self.made.remove(&key);
        self.put(Held { owner: entry.0, uid, version, shown: true }, key, entry.2)
    }

    /// Takes in that a watch shows an object no longer, unless we have made another one of that name since.
    fn hide(&mut self, which: &Which, key: &Key) -> Option<Owner> {
        if let Some(deleted) = self.deleted.remove(&which.uid) {
            return Some(deleted.owner);
        }
        if self.is_newer_here(key, which.version) { None } else { self.remove(key) }
    }

    /// Removes what we have deleted, and notes that no event from before brings it back.
    fn delete(&mut self, key: Key, uid: &str) {
        if self.held.get(&key).is_some_and(|held| held.uid == uid)
            && let Some(owner) = self.remove(&key)
        {
            self.deleted.insert(uid.to_owned(), Deleted { key, owner, since: Stopwatch::start() });
        }
    }

    fn is_newer_here(&self, key: &Key, version: u64) -> bool {
        self.held.get(key).is_some_and(|held| !held.shown && held.version > version)
    }

    /// Notes how far a watch has come. What we have made before that and it has not shown is not there.
    fn passed(&mut self, scope: &Scope, version: u64) -> Vec<Owner> {
        let watch = self.watches.entry(scope.clone()).or_default();
        watch.newest = watch.newest.max(version);
        let newest = watch.newest;
        self.forget_made(|_, (key, held)| covers(scope, key) && held.version <= newest)
    }

    fn keep(&mut self, Which { uid, version }: Which, (owner, name, seen): (Owner, String, S)) {
        let key = (owner.0.clone(), name);
        let watch = self.watches.get(&Some(key.0.clone())).or_else(|| self.watches.get(&None));
        // Nobody would ever show the next version, or somebody has shown it already.
        if watch.is_none_or(|watch| watch.newest >= version) {
            return;
        }
        match self.held.get(&key) {
            Some(held) if held.version >= version => return,
            Some(_) => {}
            None => {
                self.made.insert(key.clone(), Stopwatch::start());
            }
        }
        self.put(Held { owner, uid, version, shown: false }, key, seen);
    }

    fn put(&mut self, held: Held, key: Key, seen: S) -> Vec<Owner> {
        let owner = held.owner.clone();
        let former = self.held.insert(key.clone(), held).map(|former| former.owner).filter(|former| *former != owner);
        if let Some(former) = &former
            && let Some(objects) = self.by_owner.get_mut(former)
        {
            objects.remove(&key.1);
        }
        self.by_owner.entry(owner.clone()).or_default().insert(key.1, seen);
        former.into_iter().chain([owner]).collect()
    }

    fn remove(&mut self, key: &Key) -> Option<Owner> {
        self.made.remove(key);
        let owner = self.held.remove(key)?.owner;
        if let Some(objects) = self.by_owner.get_mut(&owner) {
            objects.remove(&key.1);
            if objects.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
        Some(owner)
    }

    /// Forgets what we have made and no watch has shown, where something holds.
    fn forget_made(&mut self, holds: impl Fn(&Stopwatch, (&Key, &Held)) -> bool) -> Vec<Owner> {
        let held = &self.held;
        let over = self.made.iter().filter(|(key, since)| held.get(*key).is_some_and(|held| holds(since, (key, held))));
        let over: Vec<Key> = over.map(|(key, _)| key.clone()).collect();
        over.iter().filter_map(|key| self.remove(key)).collect()
    }

    /// The list is asked for after this: whatever stands here by now is no newer than what it will show.
    fn begin_list(&mut self, scope: &Scope) {
        let watch = Watch { list: Some(List::default()), ..Watch::default() };
        self.watches.insert(scope.clone(), watch);
        self.held.iter_mut().filter(|(key, _)| covers(scope, key)).for_each(|(_, held)| held.shown = true);
    }

    fn list(&mut self, scope: &Scope, version: u64, key: Key) {
        let list = self.watches.entry(scope.clone()).or_default().list.get_or_insert_default();
        list.newest = list.newest.max(version);
        list.keys.insert(key);
    }

    fn end_list(&mut self, scope: &Scope) -> Vec<Owner> {
        let watch = self.watches.entry(scope.clone()).or_default();
        let List { keys, newest } = watch.list.take().unwrap_or_default();
        watch.newest = newest;
        // What a list shows that we have deleted is from before that: the watch which follows tells of its end.
        self.deleted.retain(|_, deleted| !covers(scope, &deleted.key) || keys.contains(&deleted.key));
        let gone: Vec<Key> =
            self.held.keys().filter(|key| covers(scope, key) && !keys.contains(*key)).cloned().collect();
        gone.iter().filter_map(|key| self.remove(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;

    use super::*;

    /// An object of namespace `ns`; its version is what is kept of it.
    fn object(owner: &str, name: &str, version: u64) -> ConfigMap {
        let metadata = ObjectMeta {
            namespace: Some("ns".into()),
            name: Some(name.into()),
            uid: Some(format!("uid-{name}")),
            resource_version: Some(version.to_string()),
            labels: Some([("owner".to_owned(), owner.to_owned())].into()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn read(object: &ConfigMap) -> Option<(Owner, String, u64)> {
        let owner = (object.namespace()?, object.labels().get("owner")?.clone());
        Some((owner, object.name_any(), version(&object.metadata)))
    }

    fn of(index: &Index<u64>, owner: &str) -> Vec<u64> {
        index.of(&("ns".to_owned(), owner.to_owned()))
    }

    fn take(index: &Index<u64>, event: Event<ConfigMap>) -> usize {
        index.take(&None, &event, read).len()
    }

    /// An index whose watch has shown everything up to version 10, which is an object of somebody else.
    fn watching() -> Index<u64> {
        let index = Index::default();
        take(&index, Event::Init);
        take(&index, Event::InitApply(object("other", "o", 10)));
        take(&index, Event::InitDone);
        index
    }

    #[test]
    fn keeps_objects_under_their_owner_and_tells_both_when_the_owner_changes() {
        let index = Index::default();
        take(&index, Event::Apply(object("a", "x", 1)));
        assert_eq!(take(&index, Event::Apply(object("b", "x", 2))), 2);
        assert_eq!((of(&index, "a"), of(&index, "b")), (vec![], vec![2]));
        take(&index, Event::Delete(object("b", "x", 3)));
        assert_eq!(of(&index, "b"), [0; 0]);
    }

    #[test]
    fn a_new_list_forgets_what_it_does_not_show_of_its_own_namespace_only() {
        let (index, scope) = (Index::default(), Some("ns".to_owned()));
        let elsewhere = |mut object: ConfigMap| {
            object.metadata.namespace = Some("elsewhere".into());
            object
        };
        index.take(&scope, &Event::Apply(object("a", "x", 1)), read);
        index.take(&scope, &Event::Apply(object("a", "y", 2)), read);
        index.take(&Some("elsewhere".into()), &Event::Apply(elsewhere(object("a", "z", 3))), read);
        index.take(&scope, &Event::<ConfigMap>::Init, read);
        index.take(&scope, &Event::InitApply(object("a", "y", 4)), read);
        // Until the list is whole nothing is missing.
        assert_eq!(of(&index, "a"), [1, 4]);
        assert_eq!(index.take(&scope, &Event::<ConfigMap>::InitDone, read).len(), 1);
        assert_eq!((of(&index, "a"), index.of(&("elsewhere".into(), "a".into()))), (vec![4], vec![3]));
    }

    #[test]
    fn what_we_wrote_is_there_at_once_and_gives_way_to_what_the_watch_shows_of_it() {
        let index = watching();
        index.keep(&object("a", "x", 12), read);
        assert_eq!(of(&index, "a"), [12]);
        assert_eq!(take(&index, Event::Apply(object("a", "x", 12))), 1, "whoever waits for it is woken all the same");
        take(&index, Event::Apply(object("a", "x", 13)));
        assert_eq!(of(&index, "a"), [13]);
        index.keep(&object("a", "x", 15), read);
        take(&index, Event::Apply(object("a", "x", 14)));
        assert_eq!(of(&index, "a"), [15], "an event from before our write");
        take(&index, Event::Delete(object("a", "x", 16)));
        assert_eq!(of(&index, "a"), [0; 0]);
    }

    #[test]
    fn an_answer_that_comes_after_the_watch_brings_nothing_back() {
        let index = watching();
        take(&index, Event::Apply(object("a", "x", 12)));
        take(&index, Event::Apply(object("a", "x", 14)));
        index.keep(&object("a", "x", 12), read);
        assert_eq!(of(&index, "a"), [14], "somebody else wrote since");
        take(&index, Event::Delete(object("a", "x", 15)));
        index.keep(&object("a", "x", 13), read);
        assert_eq!(of(&index, "a"), [0; 0], "it was deleted since");
    }

    #[test]
    fn another_object_of_the_name_is_not_taken_for_ours() {
        let index = watching();
        take(&index, Event::Apply(object("a", "x", 11)));
        // Somebody deleted that one, with version 12, and we made it again before the watch could say so.
        index.keep(&object("a", "x", 13), read);
        take(&index, Event::Delete(object("a", "x", 12)));
        assert_eq!(of(&index, "a"), [13]);
    }

    #[test]
    fn what_the_watch_passes_without_a_word_is_not_there() {
        let index = watching();
        index.keep(&object("a", "x", 12), read);
        take(&index, Event::Apply(object("other", "o", 11)));
        assert_eq!(of(&index, "a"), [12], "the watch is not that far");
        assert_eq!(take(&index, Event::Apply(object("other", "o", 13))), 2, "its owner is told");
        assert_eq!(of(&index, "a"), [0; 0]);
        // What it has shown once is there until it says otherwise.
        take(&index, Event::Apply(object("a", "y", 14)));
        index.keep(&object("a", "y", 15), read);
        take(&index, Event::Apply(object("other", "o", 16)));
        assert_eq!(of(&index, "a"), [15]);
    }

    #[test]
    fn a_new_list_knows_better_than_everything_before_it() {
        let index = watching();
        take(&index, Event::Apply(object("a", "x", 11)));
        index.keep(&object("a", "x", 90), read);
        index.keep(&object("a", "y", 91), read);
        take(&index, Event::Init);
        // As after a backup of the cluster was restored: versions begin anew.
        take(&index, Event::InitApply(object("a", "x", 5)));
        index.keep(&object("a", "x", 4), read);
        assert_eq!(of(&index, "a"), [5, 91]);
        index.keep(&object("a", "x", 7), read);
        take(&index, Event::InitDone);
        assert_eq!(of(&index, "a"), [7], "what was written since counts, and what is not listed is gone");
        take(&index, Event::Apply(object("a", "x", 8)));
        index.keep(&object("a", "y", 9), read);
        assert_eq!(of(&index, "a"), [8, 9]);
    }

    #[test]
    fn what_nobody_watches_is_not_kept() {
        let index = Index::default();
        index.take(&Some("elsewhere".into()), &Event::<ConfigMap>::Init, read);
        index.keep(&object("a", "x", 12), read);
        assert_eq!(of(&index, "a"), [0; 0]);
    }

    #[test]
    fn what_we_made_is_there_for_half_a_minute_where_no_watch_shows_it() {
        let index = watching();
        index.keep(&object("a", "x", 12), read);
        let made = |ago| {
            let key = ("ns".to_owned(), "x".to_owned());
            index.lock().made.insert(key, Stopwatch::started(Duration::from_secs(ago)));
        };
        made(29);
        assert_eq!(of(&index, "a"), [12]);
        made(31);
        assert_eq!(of(&index, "a"), [0; 0]);
        // What a watch has shown is there until it says otherwise.
        take(&index, Event::Apply(object("a", "x", 13)));
        assert_eq!((of(&index, "a"), index.lock().made.len()), (vec![13], 0));
    }

    #[test]
    fn what_we_deleted_is_gone_at_once_and_nothing_from_before_brings_it_back() {
        let index = watching();
        let deleted = |name| index.forget(("ns", name, &format!("uid-{name}")));
        take(&index, Event::Apply(object("a", "x", 12)));
        deleted("x");
        assert_eq!(of(&index, "a"), [0; 0]);
        take(&index, Event::Apply(object("a", "x", 13)));
        assert_eq!(of(&index, "a"), [0; 0], "an event from before");
        assert_eq!(take(&index, Event::Delete(object("a", "x", 14))), 1, "whoever waits for its end is woken");
        // What was made and deleted before any watch has shown it.
        index.keep(&object("a", "y", 15), read);
        deleted("y");
        assert_eq!((of(&index, "a"), index.lock().made.len()), (vec![], 0));
        take(&index, Event::Apply(object("a", "y", 15)));
        take(&index, Event::Delete(object("a", "y", 16)));
        assert_eq!((of(&index, "a"), index.lock().deleted.len()), (vec![], 0));
    }

    #[test]
    fn another_object_of_a_name_that_we_deleted_is_there() {
        let index = watching();
        take(&index, Event::Apply(object("a", "x", 12)));
        // Somebody else has done both meanwhile.
        let mut another = object("a", "x", 14);
        another.metadata.uid = Some("another".to_owned());
        take(&index, Event::Apply(another.clone()));
        index.forget(("ns", "x", "uid-x"));
        assert_eq!(of(&index, "a"), [14]);
        index.forget(("ns", "x", "another"));
        another.metadata.uid = Some("made anew".to_owned());
        another.metadata.resource_version = Some("16".to_owned());
        index.keep(&another, read);
        another.metadata.uid = Some("another".to_owned());
        another.metadata.resource_version = Some("15".to_owned());
        take(&index, Event::Delete(another));
        assert_eq!(of(&index, "a"), [16]);
    }

    #[test]
    fn what_we_deleted_is_forgotten_by_a_list_without_it_and_in_time() {
        let index = watching();
        for name in ["x", "y", "z"] {
            take(&index, Event::Apply(object("a", name, 12)));
            index.forget(("ns", name, &format!("uid-{name}")));
        }
        take(&index, Event::Init);
        take(&index, Event::InitApply(object("a", "x", 12)));
        take(&index, Event::InitDone);
        let left: Vec<String> = index.lock().deleted.keys().cloned().collect();
        assert_eq!((of(&index, "a"), left), (vec![], vec!["uid-x".to_owned()]), "the list is from before");
        index.lock().deleted.values_mut().for_each(|seen| seen.since = Stopwatch::started(Duration::from_secs(31)));
        assert_eq!((of(&index, "a"), index.lock().deleted.len()), (vec![], 0));
    }
}
