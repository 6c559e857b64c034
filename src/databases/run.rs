//! Watches and controllers of databases, storages and backups, in one namespace or in all.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, channel::mpsc};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use super::{AllWritten, Cache, Kind, Shared, error_policy, reconcile, watched};
use crate::{
    api::{BackupStorage, DatabaseBackup, DatabaseInstance, labels},
    backup::Backups,
    database::Databases,
    kube_io::{
        backoff::Backoff,
        index::{Owner, Scope},
        leadership::Leadership,
        lists::{self, Lists},
        news::Announcer,
        work::{Stop, Work},
    },
    metrics::Metrics,
    release::{
        observed::Settings,
        watched::{Job, Pod},
    },
    storage::Storages,
};

type Guarded<K> = DeserializeGuard<K>;
type Ref<K> = ObjectRef<Guarded<K>>;
/// What is done about an event of a kind.
struct Hear<'a, K> {
    wakes: &'a Wakes,
    /// Takes it in and wakes who else is concerned.
    take: fn(&Lane, &Wakes, &Event<Guarded<K>>),
    /// Wakes the object itself, by namespace and name.
    wake: fn(&Wakes, &str, &str),
}

/// How many objects of a kind are worked on at once.
const CONCURRENCY: u16 = 4;
/// How many wake-ups may wait for a controller; more than this are dropped into one of the same object anyway.
const WAKE_UPS: usize = 4 * 1024;
/// Size of the pages in which lists are read.
const PAGE: u32 = 50;
/// How many lists must be read before a cache is whole: the three kinds, Jobs, pods.
const LISTS: usize = 5;

/// Returns what the three controllers share, and one lane per namespace that is served.
#[must_use]
pub fn lanes(
    (client, leadership, metrics): (&Client, &Arc<Leadership>, &Arc<Metrics>),
    scopes: &[Scope],
    settings: &Settings,
) -> (Arc<Shared>, Vec<Arc<Lane>>) {
    let (lists, filled) = lists::counted(scopes, LISTS);
    let shared = Arc::new(Shared {
        client: client.clone(),
        leadership: Arc::clone(leadership),
        metrics: Arc::clone(metrics),
        cache: Cache::default(),
        settings: settings.clone(),
        backoff: Backoff::default(),
        announcer: Announcer::new(client.clone()),
        filled,
        written: AllWritten::default(),
    });
    let lanes = scopes
        .iter()
        .zip(lists)
        .map(|(scope, lists)| {
            let (scope, shared, names) = (scope.clone(), Arc::clone(&shared), <[Names; 3]>::default());
            Arc::new(Lane { scope, shared, lists, names })
        })
        .collect();
    (shared, lanes)
}

/// Names of objects by their UID: Jobs know the UID only.
type Names = Mutex<HashMap<Owner, String>>;

/// The watches and controllers of one namespace, or of all.
pub struct Lane {
    scope: Scope,
    shared: Arc<Shared>,
    lists: Lists,
    /// In the order of [`watched::OWNERS`].
    names: [Names; 3],
}

/// Wakes objects of each kind. A full channel holds a wake-up of the object already, or the next event brings one.
#[derive(Clone)]
struct Wakes {
    databases: mpsc::Sender<Ref<DatabaseInstance>>,
    storages: mpsc::Sender<Ref<BackupStorage>>,
    backups: mpsc::Sender<Ref<DatabaseBackup>>,
}

impl Wakes {
    fn database(&self, namespace: &str, name: &str) {
        let _ = self.databases.clone().try_send(ObjectRef::new(name).within(namespace));
    }

    fn storage(&self, namespace: &str, name: &str) {
        let _ = self.storages.clone().try_send(ObjectRef::new(name).within(namespace));
    }

    fn backup(&self, namespace: &str, name: &str) {
        let _ = self.backups.clone().try_send(ObjectRef::new(name).within(namespace));
    }
}

impl Lane {
    /// Follows everything, and works whenever this process leads, until it is told to stop.
    pub async fn run(self: Arc<Self>, stop: &Stop) {
        let (databases, databases_woken) = mpsc::channel(WAKE_UPS);
        let (storages, storages_woken) = mpsc::channel(WAKE_UPS);
        let (backups, backups_woken) = mpsc::channel(WAKE_UPS);
        let wakes = Wakes { databases, storages, backups };
        let (database_store, database_writer) = reflector::store();
        let (storage_store, storage_writer) = reflector::store();
        let (backup_store, backup_writer) = reflector::store();
        let work = async {
            tokio::join!(
                self.work::<Databases>(database_store, databases_woken, stop),
                self.work::<Storages>(storage_store, storages_woken, stop),
                self.work::<Backups>(backup_store, backups_woken, stop),
            )
        };
        let watches = async {
            tokio::join!(
                self.follow_kind::<Databases>(
                    database_writer,
                    Hear { wakes: &wakes, take: Self::database_changed, wake: Wakes::database }
                ),
                self.follow_kind::<Storages>(
                    storage_writer,
                    Hear { wakes: &wakes, take: Self::storage_changed, wake: Wakes::storage }
                ),
                self.follow_kind::<Backups>(
                    backup_writer,
                    Hear { wakes: &wakes, take: Self::backup_changed, wake: Wakes::backup }
                ),
                self.follow(&wakes, |number, label, event| {
                    self.shared.cache.jobs.get(number).map_or_else(Vec::new, |index| {
                        index.take(&self.scope, event, |job: &Job| watched::job(job, label))
                    })
                }),
                self.follow(&wakes, |number, label, event| {
                    self.shared.cache.pods.get(number).map_or_else(Vec::new, |index| {
                        index.take(&self.scope, event, |pod: &Pod| watched::pod(pod, label))
                    })
                }),
            )
        };
        tokio::select! {
            _ = work => {},
            _ = watches => {},
        }
    }

    /// Works on the objects of a kind.
    async fn work<K: Kind + 'static>(
        &self,
        store: Store<Guarded<K::Object>>,
        woken: mpsc::Receiver<Ref<K::Object>>,
        stop: &Stop,
    ) {
        let (leadership, stop) = (Arc::clone(&self.shared.leadership), stop.clone());
        let work = Work { store, woken, concurrency: CONCURRENCY, leadership, stop };
        work.run(&self.shared, reconcile::<K>, error_policy::<K>).await;
    }

    /// Follows the objects of a kind for ever: takes each event in and wakes what has changed.
    async fn follow_kind<K: Kind + 'static>(
        &self,
        writer: Writer<Guarded<K::Object>>,
        Hear { wakes, take, wake }: Hear<'_, K::Object>,
    ) {
        let kind = K::Object::kind(&());
        let store = writer.as_reader();
        let objects = watcher::watcher(self.api::<Guarded<K::Object>>(), watcher::Config::default().page_size(PAGE));
        let objects = objects.default_backoff().modify(|object| object.managed_fields_mut().clear());
        let mut events = objects.reflect(writer).boxed();
        let mut listed = false;
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(%kind, %error, "a watch failed and is tried again");
                    self.shared.metrics.watch_failed(&kind);
                    continue;
                }
            };
            take(self, wakes, &event);
            let name = |object: &Guarded<K::Object>| (object.namespace().unwrap_or_default(), object.name_any());
            let changed = match &event {
                Event::Apply(object) => vec![name(object)],
                Event::Delete(object) => {
                    let uid = object.uid().unwrap_or_default();
                    K::written(&self.shared.written).forget(&uid);
                    self.shared.backoff.succeeded(&uid);
                    vec![]
                }
                Event::InitDone => store.state().iter().map(|object| name(object)).collect(),
                Event::Init | Event::InitApply(_) => vec![],
            };
            changed.iter().for_each(|(namespace, name)| wake(wakes, namespace, name));
            self.count(&mut listed, matches!(event, Event::InitDone));
        }
    }

    /// Follows the agent's Jobs, or their pods, for ever. `take` takes an event in for one of the labels that name the
    /// objects that a Job belongs to.
    async fn follow<K>(&self, wakes: &Wakes, take: impl Fn(usize, &str, &Event<K>) -> Vec<Owner>)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + 'static,
    {
        let config = watcher::Config::default().page_size(PAGE).labels(labels::VERB);
        let mut events = watcher::watcher(self.api::<K>(), config).default_backoff().boxed();
        let mut listed = false;
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "a watch failed and is tried again");
                    self.shared.metrics.watch_failed(&K::kind(&()));
                    continue;
                }
            };
            for (number, label) in watched::OWNERS.into_iter().enumerate() {
                for owner in take(number, label, &event) {
                    self.wake(number, &owner, wakes);
                }
            }
            self.count(&mut listed, matches!(event, Event::InitDone));
        }
    }

    fn wake(&self, number: usize, owner: &Owner, wakes: &Wakes) {
        let name = self.names.get(number).and_then(|names| lock(names).get(owner).cloned());
        match (name, watched::OWNERS.get(number).copied()) {
            (Some(name), Some(labels::DATABASE_UID)) => wakes.database(&owner.0, &name),
            (Some(name), Some(labels::STORAGE_UID)) => wakes.storage(&owner.0, &name),
            (Some(name), Some(labels::BACKUP_UID)) => wakes.backup(&owner.0, &name),
            _ => {}
        }
    }

    /// A backup that waits may begin when its database is ready.
    fn database_changed(&self, wakes: &Wakes, event: &Event<Guarded<DatabaseInstance>>) {
        self.note(0, event);
        for (namespace, name) in self.shared.cache.databases.take(&self.scope, event, watched::whole) {
            for backup in self.shared.cache.backups(&namespace, &name) {
                wakes.backup(&namespace, &backup.name_any());
            }
        }
    }

    /// A backup that waits may begin when its storage is ready; which storages those are may be the database's choice.
    fn storage_changed(&self, wakes: &Wakes, event: &Event<Guarded<BackupStorage>>) {
        self.note(1, event);
        for (changed, _) in self.shared.cache.storages.take(&self.scope, event, watched::whole) {
            let Some(names) = self.names.get(2) else { return };
            for ((namespace, _), name) in lock(names).iter().filter(|((namespace, _), _)| *namespace == changed) {
                wakes.backup(namespace, name);
            }
        }
    }

    /// A database knows its newest proven backup.
    fn backup_changed(&self, wakes: &Wakes, event: &Event<Guarded<DatabaseBackup>>) {
        self.note(2, event);
        let read = |object: &Guarded<DatabaseBackup>| {
            let ((namespace, _), name, backup) = watched::whole(object)?;
            Some(((namespace, backup.spec.database.clone()), name, backup))
        };
        for (namespace, database) in self.shared.cache.backups.take(&self.scope, event, read) {
            wakes.database(&namespace, &database);
        }
    }

    fn note<K: Resource<DynamicType = ()>>(&self, number: usize, event: &Event<Guarded<K>>) {
        let Some(names) = self.names.get(number) else { return };
        let key = |object: &Guarded<K>| (object.namespace().unwrap_or_default(), object.uid().unwrap_or_default());
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                lock(names).insert(key(object), object.name_any());
            }
            Event::Delete(object) => {
                lock(names).remove(&key(object));
            }
            Event::Init | Event::InitDone => {}
        }
    }

    /// Counts the lists that were read for the first time.
    fn count(&self, listed: &mut bool, done: bool) {
        if done && !*listed {
            *listed = true;
            self.lists.read_one();
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let client = self.shared.client.clone();
        match &self.scope {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }
}

fn lock(names: &Names) -> std::sync::MutexGuard<'_, HashMap<Owner, String>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}
