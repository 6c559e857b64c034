//! Reads a Release and what belongs to it: nothing but objects that carry its UID, never a whole namespace.
//!
//! In: a connection and a name. Out: [`Seen`], which the view is made of, once or again at each change. What the
//! caller may not read is left out and named; the rest is shown.

use std::collections::{BTreeMap, BTreeSet};

use futures::{
    Stream, StreamExt as _,
    future::join_all,
    stream::{self, BoxStream},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch, core::v1 as core, discovery::v1 as discovery,
};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
    core::{ApiResource, DeserializeGuard},
    runtime::{WatchStreamExt as _, watcher},
};
use serde::de::DeserializeOwned;

use super::{connection::Cluster, harmless, problem::Problem, seen::Seen};
use crate::{
    api::{
        BackupPhase, DatabaseBackup, Release, ReleasePolicy,
        labels::{BACKUP_UID, RELEASE_UID},
    },
    release::{observed::PolicySeen, watched},
};

/// Kinds of which a Release has objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `v1` Pod.
    Pod,
    /// `batch/v1` Job.
    Job,
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    HorizontalPodAutoscaler,
    /// A DatabaseBackup.
    DatabaseBackup,
    /// Job of a DatabaseBackup: it belongs to that, and not to the Release.
    BackupJob,
    /// Pod of such a Job.
    BackupPod,
}

/// What carries the UID of the Release.
const KINDS: [Kind; 7] = [
    Kind::Deployment,
    Kind::HorizontalPodAutoscaler,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Pod,
    Kind::Job,
    Kind::DatabaseBackup,
];
/// What carries the UID of a DatabaseBackup.
const OF_BACKUPS: [Kind; 2] = [Kind::BackupJob, Kind::BackupPod];

impl Kind {
    fn resource(self) -> ApiResource {
        match self {
            Self::Deployment => ApiResource::erase::<apps::Deployment>(&()),
            Self::HorizontalPodAutoscaler => ApiResource::erase::<autoscaling::HorizontalPodAutoscaler>(&()),
            Self::Service => ApiResource::erase::<core::Service>(&()),
            Self::EndpointSlice => ApiResource::erase::<discovery::EndpointSlice>(&()),
            Self::Pod | Self::BackupPod => ApiResource::erase::<core::Pod>(&()),
            Self::Job | Self::BackupJob => ApiResource::erase::<batch::Job>(&()),
            Self::DatabaseBackup => ApiResource::erase::<DatabaseBackup>(&()),
        }
    }
}

/// A change that a watch has told.
#[derive(Debug)]
pub enum Change {
    /// The Release, as it is now; `None` when it is gone.
    Release(Option<Box<Release>>),
    /// An object is there, or is different now.
    Object(Kind, Box<DynamicObject>),
    /// An object is gone.
    Gone(Kind, String),
    /// A kind is told anew from the start.
    Anew(Kind),
    /// A kind is told in full.
    Complete(Kind),
    /// A kind cannot be watched.
    Problem(Kind, String),
}

/// The objects of one Release, as they are now.
#[derive(Debug, Default)]
pub struct Objects {
    objects: BTreeMap<(Kind, String), DynamicObject>,
    /// Told before a watch began anew, and not told again yet.
    stale: BTreeSet<(Kind, String)>,
    complete: BTreeSet<Kind>,
    unseen: BTreeMap<Kind, String>,
}

impl Objects {
    /// Takes a change in.
    pub fn take(&mut self, change: Change) {
        match change {
            Change::Object(kind, object) => {
                let key = (kind, object.name_any());
                self.stale.remove(&key);
                self.objects.insert(key, harmless::object(*object));
            }
            Change::Gone(kind, name) => {
                self.objects.remove(&(kind, name));
            }
            Change::Anew(kind) => {
                self.stale.extend(self.objects.keys().filter(|(other, _)| *other == kind).cloned());
            }
            Change::Complete(kind) => {
                let stale = std::mem::take(&mut self.stale);
                let (gone, kept): (BTreeSet<_>, BTreeSet<_>) = stale.into_iter().partition(|(other, _)| *other == kind);
                self.stale = kept;
                self.objects.retain(|key, _| !gone.contains(key));
                self.unseen.remove(&kind);
                self.complete.insert(kind);
            }
            Change::Problem(kind, why) => {
                self.unseen.insert(kind, why);
            }
            Change::Release(_) => {}
        }
    }

    /// Returns whether every kind was told in full, or cannot be.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        KINDS.iter().all(|kind| self.complete.contains(kind) || self.unseen.contains_key(kind))
    }

    /// Returns the UID of the newest DatabaseBackup, if that is not complete.
    fn unfinished(&self) -> Option<String> {
        let backups = self.objects.iter().filter(|((kind, _), _)| *kind == Kind::DatabaseBackup);
        let newest = backups.map(|(_, object)| object).max_by_key(|object| object.creation_timestamp())?;
        is_unfinished(newest).then(|| newest.uid()).flatten()
    }

    /// Returns what was seen of a Release at a time.
    #[must_use]
    pub fn seen(&self, release: Release, now: Timestamp) -> Seen {
        let mut seen = Seen::new(release, now);
        for ((kind, _), object) in &self.objects {
            match kind {
                Kind::Deployment => seen.add_deployment(object),
                Kind::HorizontalPodAutoscaler => seen.add_autoscaler(object),
                Kind::Service => {
                    let record = seen.release.status.as_ref().map(|status| status.record.clone()).unwrap_or_default();
                    let found = slim(object).as_ref().and_then(watched::service).map(|(_, _, seen)| seen);
                    seen.services.extend(found.map(|service| service.known_by(&record)));
                }
                Kind::EndpointSlice => {
                    seen.slices.extend(slim(object).as_ref().and_then(watched::slice).map(|(_, _, seen)| seen));
                }
                Kind::Pod | Kind::BackupPod => seen.add_pod(object),
                Kind::Job | Kind::BackupJob => seen.add_job(object),
                Kind::DatabaseBackup => seen.add_backup(object),
            }
        }
        seen.unseen = self.unseen.clone();
        seen
    }
}

/// Reads an object as one of the slim types that the controller watches.
pub(super) fn slim<K: DeserializeOwned>(object: &DynamicObject) -> Option<K> {
    serde_json::to_value(object).and_then(serde_json::from_value).ok()
}

/// Reads one Release.
///
/// # Errors
/// When it is not there, the caller may not, or it cannot be read by this version.
pub async fn release(cluster: &Cluster, name: &str) -> Result<Release, Problem> {
    let api: Api<Release> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    cluster.ask("read", &format!("Release {}/{name}", cluster.namespace), api.get(name)).await.map(harmless::object)
}

/// Reads the ReleasePolicies of the namespace.
///
/// # Errors
/// When they may not be read.
pub async fn policies(cluster: &Cluster) -> Result<Vec<PolicySeen>, Problem> {
    let api: Api<DeserializeGuard<ReleasePolicy>> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let what = format!("ReleasePolicies of {}", cluster.namespace);
    let found = cluster.ask("list", &what, api.list(&ListParams::default())).await?;
    Ok(found.items.iter().filter_map(watched::policy).map(|(_, _, policy)| policy).collect())
}

/// Reads everything that belongs to a Release, once.
pub async fn objects(cluster: &Cluster, uid: &str) -> Objects {
    let mut objects = Objects::default();
    list(cluster, (&KINDS, &selector(uid)), &mut objects).await;
    // Of a complete one everything is said already.
    if let Some(uid) = objects.unfinished() {
        list(cluster, (&OF_BACKUPS, &format!("{BACKUP_UID}={uid}")), &mut objects).await;
    }
    objects
}

async fn list(cluster: &Cluster, (kinds, selector): (&[Kind], &str), objects: &mut Objects) {
    let params = ListParams::default().labels(selector);
    let lists = join_all(kinds.iter().map(|kind| {
        let params = &params;
        async move {
            let api = api(cluster, *kind);
            (*kind, cluster.ask("list", &objects_of(cluster, *kind), api.list(params)).await)
        }
    }))
    .await;
    for (kind, list) in lists {
        match list {
            Ok(list) => {
                list.items.into_iter().for_each(|object| objects.take(Change::Object(kind, Box::new(object))));
                objects.take(Change::Complete(kind));
            }
            Err(problem) => objects.take(Change::Problem(kind, format!("{}: {}", problem.what, problem.why))),
        }
    }
}

/// Watches everything that belongs to a Release, and the Release itself.
pub fn changes(cluster: &Cluster, name: &str, uid: &str) -> impl Stream<Item = Change> + Unpin + use<> {
    let releases: Api<Release> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let release = watcher(releases, config).default_backoff().filter_map(|event| async {
        match event {
            Ok(watcher::Event::Apply(release) | watcher::Event::InitApply(release)) => {
                Some(Change::Release(Some(Box::new(harmless::object(release)))))
            }
            Ok(watcher::Event::Delete(_)) => Some(Change::Release(None)),
            // A hiccup of the watch: it is begun again, and then tells what is.
            Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => None,
        }
    });
    let objects = KINDS.map(|kind| {
        let events = events(cluster, kind, &selector(uid));
        if kind == Kind::DatabaseBackup { with_jobs(cluster.clone(), events) } else { events }
    });
    stream::select(release.boxed(), stream::select_all(objects))
}

fn events(cluster: &Cluster, kind: Kind, selector: &str) -> BoxStream<'static, Change> {
    let config = watcher::Config::default().labels(selector);
    let what = objects_of(cluster, kind);
    let events = watcher(api(cluster, kind), config).default_backoff();
    let changes = events.filter_map(move |event| {
        let change = change(kind, &what, event);
        async { change }
    });
    changes.boxed()
}

/// Adds to the changes of DatabaseBackups those of the Jobs of each one that was not complete when it was first told.
fn with_jobs(cluster: Cluster, backups: BoxStream<'static, Change>) -> BoxStream<'static, Change> {
    let mut followed = BTreeSet::new();
    let changes = backups.flat_map_unordered(None, move |change| {
        let uid = match &change {
            Change::Object(_, object) if is_unfinished(object) => {
                object.uid().filter(|uid| followed.insert(uid.clone()))
            }
            _ => None,
        };
        let jobs = uid.map(|uid| OF_BACKUPS.map(|kind| events(&cluster, kind, &format!("{BACKUP_UID}={uid}"))));
        let jobs = stream::select_all(jobs.into_iter().flatten());
        // Several watches tell of these kinds: none of them alone tells all.
        let jobs = jobs.filter(|change| {
            let partial = !matches!(change, Change::Anew(_) | Change::Complete(_));
            async move { partial }
        });
        stream::iter([change]).chain(jobs).boxed()
    });
    changes.boxed()
}

fn is_unfinished(backup: &DynamicObject) -> bool {
    let phase = backup.data.pointer("/status/phase").and_then(serde_json::Value::as_str);
    phase != Some(BackupPhase::Completed.as_str())
}

fn change(kind: Kind, what: &str, event: watcher::Result<watcher::Event<DynamicObject>>) -> Option<Change> {
    match event {
        Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
            Some(Change::Object(kind, Box::new(object)))
        }
        Ok(watcher::Event::Delete(object)) => Some(Change::Gone(kind, object.name_any())),
        Ok(watcher::Event::Init) => Some(Change::Anew(kind)),
        Ok(watcher::Event::InitDone) => Some(Change::Complete(kind)),
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) => {
            Some(Change::Problem(kind, format!("cannot list {what}: {}", status.message)))
        }
        Err(_) => None,
    }
}

fn api(cluster: &Cluster, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind.resource())
}

fn selector(uid: &str) -> String {
    format!("{RELEASE_UID}={uid}")
}

fn objects_of(cluster: &Cluster, kind: Kind) -> String {
    format!("{} of this Release in namespace {}", kind.resource().plural, cluster.namespace)
}
