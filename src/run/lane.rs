//! The Releases of one namespace, or of all: their watches, their caches, and the work on them.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{SinkExt as _, StreamExt as _, channel::mpsc};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt, controller,
        reflector::{self, ObjectRef},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::{
    api::{self, Release, labels},
    error::Error,
    kube_io::{
        backoff::Backoff,
        index::{Index, Owner, Scope},
        leadership::Leadership,
        lists::{self, Lists},
        news::Announcer,
        turns::Turns,
        work::{Stop, Work, stopped},
        written::Written,
    },
    metrics::Metrics,
    release::{
        self, Arrivals, Context,
        contests::Contests,
        observe::Cache,
        observed::{Guard, Settings},
        sources::{Served, Sources},
        watched::{self, Entry},
    },
};

/// Size of the pages in which lists are read.
const PAGE: u32 = 50;
/// How many lists must be read before a cache is whole: one per kind.
const KINDS: usize = 13;
/// How many Releases are worked on at once: kube's default is without limit, and a restart with many of them
/// would exhaust connections.
const CONCURRENCY: usize = 8;
/// How many of these are kept for Releases that may have to go back: what takes long elsewhere must not hold them up.
const KEPT: usize = 2;
/// How many wake-ups may wait for a controller; more than this are dropped into one of the same object anyway.
const WAKE_UPS: usize = 16 * 1024;

pub(super) type Guarded = DeserializeGuard<Release>;

/// What every lane needs.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) leadership: Arc<Leadership>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) guard: watch::Receiver<Guard>,
    pub(super) stamp: watch::Receiver<Guard>,
    pub(super) settings: Settings,
}

/// What only one may hold of a lane: what writes its store, and who was woken.
pub(super) type Ends = (reflector::store::Writer<Guarded>, mpsc::Receiver<ObjectRef<Guarded>>);

/// Returns what all reconciles of Releases share, and one lane per namespace that is served.
pub(super) fn lanes(parts: Parts, scopes: &[Scope]) -> (Arc<Context>, Vec<(Lane, Ends)>) {
    let Parts { client, leadership, metrics, guard, stamp, settings } = parts;
    // One more than the kinds: Releases are first looked at when it is known whether they are guarded.
    let (lists, filled) = lists::counted(scopes, KINDS + 1);
    let (stores, writers): (Vec<_>, Vec<_>) = scopes.iter().map(|_| reflector::store()).unzip();
    let (wakes, woken): (Vec<_>, Vec<_>) = scopes.iter().map(|_| mpsc::channel(WAKE_UPS)).unzip();
    let served = scopes.iter().zip(&stores).zip(&wakes).map(|((scope, store), wake)| Served {
        scope: scope.clone(),
        store: store.clone(),
        wake: wake.clone(),
    });
    let context = Arc::new(Context {
        cache: Cache::new(Sources::new(served.collect())),
        announcer: Announcer::new(client.clone()),
        client,
        filled,
        guard,
        stamp,
        leadership,
        turns: Turns::new(CONCURRENCY, KEPT),
        settings,
        backoff: Backoff::default(),
        contests: Contests::default(),
        metrics,
        arrivals: Arrivals::default(),
        written: Written::default(),
    });
    let lanes = scopes.iter().zip(lists).zip(stores).zip(wakes);
    let lanes = lanes.map(|(((scope, lists), store), wake)| {
        let (context, names) = (Arc::clone(&context), Names::default());
        Lane { scope: scope.clone(), context, names, lists, store, wake }
    });
    let lanes = lanes.zip(writers.into_iter().zip(woken)).collect();
    (context, lanes)
}

/// Names of Releases by their UID: children know the UID only.
#[derive(Debug, Default, Clone)]
struct Names(Arc<Mutex<HashMap<Owner, Known>>>);

/// What is known of a Release before it is looked at.
#[derive(Debug)]
struct Known {
    name: String,
    /// Whether it wants to know of databases.
    database: bool,
}

impl Names {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Owner, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<ObjectRef<Guarded>> {
        self.lock().iter().map(|((namespace, _), known)| ObjectRef::new(&known.name).within(namespace)).collect()
    }

    /// Returns the Releases of a namespace of which something holds.
    fn of_namespace(&self, namespace: &str, holds: impl Fn(&Known) -> bool) -> Vec<ObjectRef<Guarded>> {
        let names = self.lock();
        let beside = names.iter().filter(|((beside, _), known)| beside == namespace && holds(known));
        beside.map(|(_, known)| ObjectRef::new(&known.name).within(namespace)).collect()
    }

    fn note(&self, event: &Event<Guarded>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let database = object.0.as_ref().is_ok_and(|release| release.spec.database.is_some());
                self.lock().insert(owner(object), Known { name: object.name_any(), database });
            }
            Event::Delete(object) => {
                self.lock().remove(&owner(object));
            }
            Event::Init | Event::InitDone => {}
        }
    }

    /// Forgets all but these; returns which that were.
    fn keep(&self, there: &HashSet<Owner>) -> Vec<Owner> {
        self.lock().extract_if(|owner, _| !there.contains(owner)).map(|(owner, _)| owner).collect()
    }
}

fn owner(object: &Guarded) -> Owner {
    (object.namespace().unwrap_or_default(), object.uid().unwrap_or_default())
}

/// The watches and the controller of one namespace, or of all.
pub(super) struct Lane {
    scope: Scope,
    context: Arc<Context>,
    names: Names,
    pub(super) lists: Lists,
    store: reflector::Store<Guarded>,
    wake: mpsc::Sender<ObjectRef<Guarded>>,
}

impl Lane {
    /// Follows everything for ever.
    pub(super) async fn watch(&self, writer: reflector::store::Writer<Guarded>) {
        let cache = &self.context.cache;
        let by_uid = self.names.clone();
        let uid = move |owner: Owner| {
            let name = by_uid.lock().get(&owner).map(|known| known.name.clone());
            name.map(|name| ObjectRef::new(&name).within(&owner.0)).into_iter().collect()
        };
        let name = |owner: Owner| vec![ObjectRef::new(&owner.1).within(&owner.0)];
        let beside = self.names.clone();
        let beside = move |owner: Owner| beside.of_namespace(&owner.0, |known| known.database);
        let all = self.names.clone();
        let all_beside = move |owner: Owner| all.of_namespace(&owner.0, |_| true);
        let follow = Follow { lane: self };
        let watches = async {
            tokio::join!(
                follow.kind::<watched::ControllerRevision, _>(&cache.attempts, watched::attempt, &uid),
                follow.kind::<watched::Deployment, _>(&cache.deployments, watched::deployment, &uid),
                follow.kind::<watched::HorizontalPodAutoscaler, _>(&cache.autoscalers, watched::autoscaler, &uid),
                follow.kind::<watched::Service, _>(&cache.services, watched::service, &uid),
                follow.kind::<watched::EndpointSlice, _>(&cache.slices, watched::slice, &uid),
                follow.kind::<watched::Pod, _>(&cache.pods, watched::pod, &uid),
                follow.kind::<watched::Job, _>(&cache.jobs, watched::job, &uid),
                follow.kind::<DeserializeGuard<api::DatabaseBackup>, _>(&cache.backups, watched::backup, &uid),
                follow.kind::<DeserializeGuard<api::DatabaseInstance>, _>(&cache.instances, watched::instance, &beside),
                follow.kind::<DeserializeGuard<api::BackupStorage>, _>(&cache.storages, watched::storage, &beside),
                follow.kind::<DeserializeGuard<api::ReleasePolicy>, _>(&cache.policies, watched::policy, &all_beside),
                follow.kind::<DeserializeGuard<api::Decision>, _>(&cache.decisions, watched::decision, &name),
            );
        };
        tokio::join!(self.follow_releases(writer), watches, self.wake_when_the_guard_changes());
    }

    /// Wakes every Release whenever it changes whether and since when they are guarded: those that wait for an
    /// approval have no other reason to look again.
    async fn wake_when_the_guard_changes(&self) {
        let mut wake = self.wake.clone();
        let (mut guard, mut stamp) = (self.context.guard.clone(), self.context.stamp.clone());
        while let Ok(()) = tokio::select! { changed = guard.changed() => changed, changed = stamp.changed() => changed }
        {
            for release in self.names.all() {
                if wake.send(release).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Follows the Releases themselves: keeps the store, forgets what is gone, wakes what has changed.
    async fn follow_releases(&self, writer: reflector::store::Writer<Guarded>) {
        let releases = watcher::watcher(self.api::<Guarded>(), watcher::Config::default().page_size(PAGE));
        let releases = releases.default_backoff().modify(|object| object.managed_fields_mut().clear());
        let mut events = releases.reflect(writer).boxed();
        let mut listed = false;
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(%error, "a watch of Releases failed and is tried again");
                    self.context.metrics.watch_failed("Release");
                    continue;
                }
            };
            self.names.note(&event);
            self.context.cache.sources.note(&event);
            match &event {
                Event::Apply(release) => self.wake(ObjectRef::from_obj(release)),
                Event::Delete(release) => {
                    let _ = self.context.arrivals.take(&release.namespace().unwrap_or_default(), &release.name_any());
                    self.context.forget(&release.uid().unwrap_or_default());
                }
                Event::InitDone => {
                    self.forget_what_is_gone();
                    self.names.all().into_iter().for_each(|release| self.wake(release));
                    if !std::mem::replace(&mut listed, true) {
                        self.lists.read_one();
                    }
                }
                Event::Init | Event::InitApply(_) => {}
            }
        }
    }

    /// A list shows what is there; what went while nothing was watched is told by nobody.
    fn forget_what_is_gone(&self) {
        let there: HashSet<Owner> = self.store.state().iter().map(|release| owner(release)).collect();
        self.names.keep(&there).iter().for_each(|(_, uid)| self.context.forget(uid));
    }

    /// Wakes a Release. A full channel holds a wake-up of it already, or the next event brings one.
    fn wake(&self, release: ObjectRef<Guarded>) {
        self.context.arrived(release.namespace.as_deref().unwrap_or_default(), &release.name);
        let _ = self.wake.clone().try_send(release);
    }

    /// Works on the Releases whenever this process leads.
    pub(super) async fn work(&self, woken: mpsc::Receiver<ObjectRef<Guarded>>, stop: &Stop) {
        let store = self.store.clone();
        // Without a limit here: whose turn it is is decided between all namespaces.
        let leadership = Arc::clone(&self.context.leadership);
        let work = Work { store: store.clone(), woken, concurrency: 0, leadership, stop: stop.clone() };
        let reconcile = move |release: Arc<Guarded>, context| in_turn((store.clone(), stop.clone()), release, context);
        work.run(&self.context, reconcile, release::error_policy).await;
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let client = self.context.client.clone();
        match &self.scope {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }
}

/// Works on a Release when its turn has come.
async fn in_turn(
    (store, stop): (reflector::Store<Guarded>, Stop),
    release: Arc<Guarded>,
    context: Arc<Context>,
) -> Result<controller::Action, Error> {
    let namespace = release.namespace().unwrap_or_default();
    let turn = async {
        // A cache that was never filled shows nothing, which is not the same as nothing being there. It is waited for
        // before a place is taken: one namespace whose rights are gone must not hold the places of all others.
        if context.filled.wait(Some(namespace.clone())).await {
            context.turns.wait(&namespace, release::urgency(&release)).await
        } else {
            None
        }
    };
    let place = tokio::select! {
        place = turn => place,
        // What has not begun is left to the next leader.
        () = stopped(&stop) => None,
    };
    let Some(_place) = place else { return Ok(controller::Action::await_change()) };
    // It may have changed while it waited.
    let release = store.get(&ObjectRef::from_obj(&*release)).unwrap_or(release);
    let arrived = context.arrivals.take(&namespace, &release.name_any());
    release::reconcile(release, context, arrived).await
}

/// Follows kinds that belong to Releases.
struct Follow<'a> {
    lane: &'a Lane,
}

impl Follow<'_> {
    /// Follows one kind for ever: takes each event in and wakes the Releases it belongs to.
    async fn kind<K, S>(
        &self,
        index: &Index<S>,
        read: fn(&K) -> Entry<S>,
        releases: &(dyn Fn(Owner) -> Vec<ObjectRef<Guarded>> + Sync),
    ) where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + 'static,
        S: Clone,
    {
        let kind = K::kind(&());
        let config = watcher::Config::default().page_size(PAGE);
        // These people write; everything else is ours and says so.
        let theirs = ["Decision", "ReleasePolicy", "DatabaseInstance", "BackupStorage"].contains(&&*kind);
        let config = if theirs { config } else { config.labels(labels::RELEASE_UID) };
        let mut events = watcher::watcher(self.lane.api::<K>(), config).default_backoff().boxed();
        let mut listed = false;
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(%kind, %error, "a watch failed and is tried again");
                    self.lane.context.metrics.watch_failed(&kind);
                    continue;
                }
            };
            for owner in index.take(&self.lane.scope, &event, read) {
                for release in releases(owner) {
                    self.lane.wake(release);
                }
            }
            if matches!(event, Event::InitDone) && !listed {
                listed = true;
                self.lane.lists.read_one();
            }
        }
    }
}
