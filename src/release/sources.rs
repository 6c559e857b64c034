//! Releases that policies promote from, wherever the operator serves them: where they stand, and who waits for them.
//!
//! In: the stores of all watches of Releases. Out: [`SourceSeen`], and a wake-up of whoever asked when one changes.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use futures::channel::mpsc;
use kube::{
    ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::Event,
    },
};

use super::observed::{SourceSeen, Standing};
use crate::api::Release;

type Guarded = DeserializeGuard<Release>;
/// Namespace and name.
type Key = (String, String);

/// What one watch of Releases has shown, and how its controller is woken.
#[derive(Debug)]
pub struct Served {
    /// The namespace, or `None` for all.
    pub scope: Option<String>,
    /// The Releases.
    pub store: Store<Guarded>,
    /// Wakes the controller.
    pub wake: mpsc::Sender<ObjectRef<Guarded>>,
}

/// The Releases of all watches.
#[derive(Debug, Default)]
pub struct Sources {
    served: Vec<Served>,
    /// Who has asked for which since that changed last.
    waiting: Mutex<HashMap<Key, BTreeSet<Key>>>,
}

impl Sources {
    /// Takes what each watch shows.
    #[must_use]
    pub fn new(served: Vec<Served>) -> Self {
        Self { served, waiting: Mutex::default() }
    }

    /// Returns where Releases stand; whoever asks is woken when one of them changes.
    pub fn look(&self, wanted: BTreeSet<Key>, whoever: &Key) -> Vec<SourceSeen> {
        if !wanted.is_empty() {
            // Before it is read: what changes meanwhile must not be missed.
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for source in &wanted {
                waiting.entry(source.clone()).or_default().insert(whoever.clone());
            }
        }
        let seen = wanted.into_iter().map(|source| {
            let standing = self.read(&source);
            SourceSeen { namespace: source.0, release: source.1, standing }
        });
        seen.collect()
    }

    fn read(&self, (namespace, name): &Key) -> Option<Standing> {
        let found = self.of(namespace)?.store.get(&ObjectRef::new(name).within(namespace))?;
        found.0.as_ref().ok().map(Standing::of)
    }

    /// Takes an event that a store has taken in, and wakes whoever asked for what has changed.
    pub fn note(&self, event: &Event<Guarded>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let woken: BTreeSet<Key> = match event {
            Event::Apply(object) | Event::Delete(object) => {
                let key = (object.namespace().unwrap_or_default(), object.name_any());
                waiting.remove(&key).unwrap_or_default()
            }
            // A list is shown as a whole, when it is whole.
            Event::InitDone => waiting.drain().flat_map(|(_, waiting)| waiting).collect(),
            Event::Init | Event::InitApply(_) => return,
        };
        drop(waiting);
        for (namespace, name) in woken {
            if let Some(served) = self.of(&namespace) {
                // A full channel holds a wake-up already, or the next change brings one.
                let _ = served.wake.clone().try_send(ObjectRef::new(&name).within(&namespace));
            }
        }
    }

    /// Returns every Release that is watched.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Guarded>> {
        self.served.iter().flat_map(|served| served.store.state()).collect()
    }

    fn of(&self, namespace: &str) -> Option<&Served> {
        self.served.iter().find(|served| served.scope.as_deref().is_none_or(|scope| scope == namespace))
    }
}
