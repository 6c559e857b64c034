//! Wiring: client, watches, caches, the controller, shutdown.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{SinkExt, StreamExt, channel::mpsc};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Controller, WatchStreamExt, controller,
        reflector::{self, ObjectRef},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::{
    api::{self, Release, labels},
    config::Config,
    databases,
    decision::{self, guard::not_looked_yet},
    error::Error,
    kube_io::{
        backoff::Backoff,
        index::{Index, Owner},
        lists::{self, Lists},
        news::Announcer,
        written::Written,
    },
    metrics::Metrics,
    release::{
        self, Context,
        observe::Cache,
        observed::Settings,
        sources::{Served, Sources},
        watched::{self, Entry},
    },
};

type Guarded = DeserializeGuard<Release>;

/// How many Releases are worked on at once: kube's default is without limit, and a restart with many of them
/// would exhaust connections.
const CONCURRENCY: u16 = 8;
/// How many wake-ups may wait for a controller; more than this are dropped into one of the same object anyway.
const WAKE_UPS: usize = 16 * 1024;
/// Size of the pages in which lists are read.
const PAGE: u32 = 50;

/// Runs the controller until it is told to stop.
///
/// # Errors
/// When the configuration does not allow to start.
pub async fn run(config: Config) -> Result<(), Error> {
    let client = client().await?;
    let (judged, guard) = watch::channel(not_looked_yet());
    let (judged_stamp, stamp) = watch::channel(not_looked_yet());
    let mut first_judged = [guard.clone(), stamp.clone()];
    let keep_guard = decision::keep(client.clone(), decision::required()?, judged);
    let keep_stamp = decision::keep(client.clone(), decision::stamping()?, judged_stamp);
    let scopes: Vec<Option<String>> =
        if config.namespaces.is_empty() { vec![None] } else { config.namespaces.iter().cloned().map(Some).collect() };
    // One more than the kinds: Releases are first looked at when it is known whether they are guarded.
    let (lists, filled) = lists::counted(&scopes, KINDS + 1);
    let settings = Settings { agent_image: config.agent_image.clone(), tools_image: config.tools_image.clone() };
    let (databases, database_lanes) = databases::lanes(&client, &scopes, &settings);
    let (stores, writers): (Vec<_>, Vec<_>) = scopes.iter().map(|_| reflector::store()).unzip();
    let (wakes, woken): (Vec<_>, Vec<_>) = scopes.iter().map(|_| mpsc::channel(WAKE_UPS)).unzip();
    let served = scopes.iter().zip(&stores).zip(&wakes).map(|((scope, store), wake)| Served {
        scope: scope.clone(),
        store: store.clone(),
        wake: wake.clone(),
    });
    let context = Arc::new(Context {
        client: client.clone(),
        cache: Cache::new(Sources::new(served.collect())),
        filled,
        guard,
        stamp,
        settings: settings.clone(),
        backoff: Backoff::default(),
        announcer: Announcer::new(client.clone()),
        metrics: Metrics::default(),
        written: Written::default(),
    });
    let lanes: Vec<_> = scopes
        .into_iter()
        .zip(lists)
        .zip(wakes)
        .enumerate()
        .map(|(number, ((scope, lists), wake))| {
            let (context, names) = (Arc::clone(&context), Names::default());
            Lane { number, scope, context, names, lists, wake }
        })
        .collect();
    let server = crate::http::serve(config.listen, Arc::clone(&context), databases);
    let controllers = async {
        let databases = futures::future::join_all(database_lanes.into_iter().map(databases::Lane::run));
        let releases = lanes.iter().zip(stores.into_iter().zip(writers)).zip(woken);
        let releases = releases.map(|((lane, store), woken)| lane.run(store, woken));
        tokio::join!(futures::future::join_all(releases), databases)
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespaces = ?config.namespaces, "started");
    let guarding = async {
        tokio::join!(keep_guard, keep_stamp, async {
            for judged in &mut first_judged {
                // A sender that is gone has ended the program.
                let _ = judged.changed().await;
            }
            lanes.iter().for_each(|lane| lane.lists.read_one());
        });
    };
    tokio::select! {
        _ = controllers => Ok(()),
        () = guarding => Ok(()),
        served = server => served,
    }
}

/// Makes a client whose calls are tried once: each of ours has its own deadline and its own way to repeat.
async fn client() -> Result<Client, Error> {
    let config_error = |error: &dyn std::fmt::Display| Error::Config(error.to_string());
    let mut config = kube::Config::infer().await.map_err(|error| config_error(&error))?;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| config_error(&error))
}

/// How many lists must be read before a cache is whole: one per kind.
const KINDS: usize = 11;

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
}

fn owner(object: &Guarded) -> Owner {
    (object.namespace().unwrap_or_default(), object.uid().unwrap_or_default())
}

/// The watches and the controller of one namespace, or of all.
struct Lane {
    number: usize,
    scope: Option<String>,
    context: Arc<Context>,
    names: Names,
    lists: Lists,
    wake: mpsc::Sender<ObjectRef<Guarded>>,
}

/// The Releases of a lane: to read, and to write what its watch shows.
type Releases = (reflector::Store<Guarded>, reflector::store::Writer<Guarded>);

impl Lane {
    async fn run(&self, releases: Releases, woken: mpsc::Receiver<ObjectRef<Guarded>>) {
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
        tokio::select! {
            () = self.control(releases, woken) => {},
            () = watches => {},
            () = self.wake_when_the_guard_changes() => {},
        }
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

    async fn control(&self, (reader, writer): Releases, woken: mpsc::Receiver<ObjectRef<Guarded>>) {
        let (names, context) = (self.names.clone(), Arc::clone(&self.context));
        let releases = watcher::watcher(self.api::<Guarded>(), watcher::Config::default().page_size(PAGE))
            .default_backoff()
            .modify(|object| object.managed_fields_mut().clear())
            .inspect(move |event| {
                if let Ok(event) = event {
                    names.note(event);
                }
            })
            .reflect(writer)
            .inspect(move |event| {
                if let Ok(event) = event {
                    context.cache.sources.note(event);
                }
            })
            .touched_objects();
        Controller::for_stream(releases, reader)
            .reconcile_on(woken)
            .with_config(controller::Config::default().concurrency(CONCURRENCY))
            .shutdown_on_signal()
            .run(release::reconcile, release::error_policy, Arc::clone(&self.context))
            .for_each(|result| async move {
                // Errors of reconciles are logged where they are waited out; what is left are those of the queue.
                if let Err(controller::Error::QueueError(error)) = result {
                    tracing::warn!(%error, "a watch of Releases failed and is tried again");
                }
            })
            .await;
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
                    continue;
                }
            };
            for owner in index.take(self.lane.number, &event, read) {
                for release in releases(owner) {
                    // A full channel holds a wake-up of this Release already, or the next event brings one.
                    let _ = self.lane.wake.clone().try_send(release);
                }
            }
            if matches!(event, Event::InitDone) && !listed {
                listed = true;
                self.lane.lists.read_one();
            }
        }
    }
}
