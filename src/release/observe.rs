//! Looks: the cluster as it is, as [`Observed`]; no choices.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch, core::v1 as core,
    networking::v1 as networking, policy::v1 as policy,
};
use kube::{
    Client, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
};
use serde_json::Value;

use super::{
    manifests::{Kind, Manifest},
    observed::{
        Answer, Ask, AttemptSeen, AutoscalerSeen, BackupSeen, ContestSeen, DecisionSeen, DefaultsSeen, DeploymentSeen,
        Guard, InstanceSeen, JobSeen, Observed, PodSeen, PolicySeen, QuotaSeen, ReleaseSeen, ServiceSeen, Settings,
        SliceSeen, StorageSeen, TakenSeen, wanted, with_defaults,
    },
    sources::Sources,
    watched,
};
use crate::{
    api::{
        ChangedBy, DatabaseBackup, Decision, Release, ReleaseSpec, Step,
        labels::{self, FINALIZER},
    },
    clock,
    error::Error,
    kube_io::{
        calls::{self, Place},
        index::Index,
    },
};

/// Caches of everything that belongs to Releases.
#[derive(Debug, Default)]
pub struct Cache {
    /// `ControllerRevision`s.
    pub attempts: Index<AttemptSeen>,
    /// Deployments.
    pub deployments: Index<DeploymentSeen>,
    /// HorizontalPodAutoscalers.
    pub autoscalers: Index<AutoscalerSeen>,
    /// Services.
    pub services: Index<ServiceSeen>,
    /// EndpointSlices.
    pub slices: Index<SliceSeen>,
    /// Pods.
    pub pods: Index<PodSeen>,
    /// Jobs.
    pub jobs: Index<JobSeen>,
    /// DatabaseInstances, by their namespace.
    pub instances: Index<InstanceSeen>,
    /// BackupStorages, by their namespace.
    pub storages: Index<StorageSeen>,
    /// DatabaseBackups of Releases.
    pub backups: Index<BackupSeen>,
    /// ReleasePolicies, by their namespace.
    pub policies: Index<PolicySeen>,
    /// Releases that policies promote from.
    pub sources: Sources,
    /// Decisions, by the name of their Release.
    pub decisions: Index<DecisionSeen>,
    /// Frozen contents by the UID of their `ControllerRevision`: they never change, so they are read once.
    pub(super) contents: Mutex<HashMap<String, Arc<ReleaseSpec>>>,
}

impl Cache {
    /// Makes empty caches, beside the stores of Releases.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Self { sources, ..Self::default() }
    }

    /// Returns whether whatever of a kind carries the label of a Release is seen to belong to that: then only what carries none
    /// need be asked for. Where many Releases share a namespace, nearly everything in it is theirs.
    fn shows_all_of_releases(&self, namespace: &str, kind: Kind) -> bool {
        match kind {
            Kind::Service => !self.services.any(namespace, |service| !service.ours),
            // What was taken over selects by labels of its own.
            Kind::Deployment => !self.deployments.any(namespace, |deployment| !deployment.ours || deployment.adopted),
            // Budgets are watched by nobody, and of autoscalers there are few.
            _ => false,
        }
    }
}

/// What is known around a Release.
pub struct Around {
    /// Whether the admission policies guard Decisions.
    pub guard: Guard,
    /// Whether the API server stamps who changed a Release.
    pub stamp: Guard,
    /// The term in which this process leads.
    pub term: Option<i64>,
    /// What the operator was told at its start.
    pub settings: Settings,
    /// Selectors that this process has put back lately.
    pub contests: Vec<ContestSeen>,
    /// Object of somebody else that a create has just met.
    pub taken: Option<TakenSeen>,
}

/// Returns what the caches show of a Release.
///
/// # Errors
/// When a frozen content that this look needs cannot be read.
pub async fn observe(
    client: &Client,
    cache: &Cache,
    release: &Release,
    Around { guard, stamp, term, contests, settings, taken }: Around,
) -> Result<Observed, Error> {
    let (namespace, name) = (release.namespace().unwrap_or_default(), release.name_any());
    let beside = (namespace.clone(), String::new());
    let (mut policies, mut former): (Vec<_>, Vec<_>) =
        cache.policies.of(&beside).into_iter().partition(|policy| policy.is_for(&name, release.labels()));
    let uid = release.uid().unwrap_or_default();
    former.retain(|policy| policy.running.iter().any(|running| running.uid == uid));
    policies.sort_by(|one, other| one.name.cmp(&other.name));
    let release = release_seen(release, &policies);
    let by_uid = (namespace.clone(), release.uid.clone());
    let by_name = (namespace, name);
    let wanted =
        if is_about_to_begin(&release) { wanted((&by_name.0, &by_name.1), &policies) } else { BTreeSet::new() };
    let sources = cache.sources.look(wanted, &by_name);
    let mut seen = Observed {
        now: clock::now(),
        contents: BTreeMap::new(),
        attempts: cache.attempts.of(&by_uid),
        deployments: cache.deployments.of(&by_uid),
        autoscalers: cache.autoscalers.of(&by_uid),
        services: known(cache.services.of(&by_uid), &release),
        slices: cache.slices.of(&by_uid),
        pods: cache.pods.of(&by_uid),
        jobs: cache.jobs.of(&by_uid),
        instances: cache.instances.of(&beside),
        storages: cache.storages.of(&beside),
        backups: cache.backups.of(&by_uid),
        policies,
        former_policies: former,
        sources,
        decisions: cache.decisions.of(&by_name),
        guard,
        stamp,
        term,
        contests,
        taken,
        answers: Vec::new(),
        settings,
        release,
    };
    let wanted: Vec<AttemptSeen> =
        seen.needed_contents().into_iter().filter_map(|number| seen.attempt(number).cloned()).collect();
    for attempt in wanted {
        match content(client, cache, (&seen.release.namespace, &attempt)).await {
            Ok(Some(content)) => {
                seen.contents.insert(attempt.number, content);
            }
            Ok(None) => {}
            Err(error) => {
                let Some(content) = seen.without_content(attempt.number) else { return Err(error) };
                tracing::warn!(%error, attempt = attempt.name, "going on without what was frozen");
                seen.contents.extend(content.map(|content| (attempt.number, content)));
            }
        }
    }
    Ok(seen)
}

/// Recognises what Services select that were taken over.
fn known(services: Vec<ServiceSeen>, release: &ReleaseSeen) -> Vec<ServiceSeen> {
    services.into_iter().map(|service| service.known_by(&release.status.record)).collect()
}

/// Returns whether the plan may ask what policies ask for before anything begins: one look may come there from rest.
fn is_about_to_begin(release: &ReleaseSeen) -> bool {
    let record = &release.status.record;
    let serves = record.active.as_ref().is_some_and(|active| active.revision == release.wanted);
    matches!(record.step, Step::Inspect | Step::Approve | Step::Preflight) || (record.step == Step::Idle && !serves)
}

fn release_seen(release: &Release, policies: &[PolicySeen]) -> ReleaseSeen {
    let spec = Arc::new(with_defaults(release.spec.clone(), policies));
    ReleaseSeen {
        name: release.name_any(),
        namespace: release.namespace().unwrap_or_default(),
        uid: release.uid().unwrap_or_default(),
        generation: release.metadata.generation.unwrap_or_default(),
        deleting: release.metadata.deletion_timestamp.is_some(),
        deleted_at: release.metadata.deletion_timestamp.as_ref().map(|at| at.0),
        resource_version: release.resource_version().unwrap_or_default(),
        finalizers: release.finalizers().to_vec(),
        finalizer: release.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
        created: release.creation_timestamp().map_or(Timestamp::MAX, |created| created.0),
        changed_by: release.annotations().get(labels::CHANGED_BY).and_then(|stamp| ChangedBy::parse(stamp)),
        wanted: spec.revision(),
        spec,
        status: Arc::new(release.status.clone().unwrap_or_default()),
    }
}

async fn content(
    client: &Client,
    cache: &Cache,
    (namespace, attempt): (&str, &AttemptSeen),
) -> Result<Option<Arc<ReleaseSpec>>, Error> {
    let lock = || cache.contents.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().get(&attempt.uid) {
        return Ok(Some(Arc::clone(known)));
    }
    let place = Place::new::<apps::ControllerRevision>(namespace, &attempt.name);
    let Some(found) = calls::read::<apps::ControllerRevision>(client, &place).await? else { return Ok(None) };
    let data = found.data.map(|data| data.0).unwrap_or_default();
    // Going back needs no content: one that cannot be read must not stand in its way.
    let spec = match parse_content(data) {
        Ok(spec) => Arc::new(spec),
        Err(error) => {
            tracing::warn!(object = %place, %error, "a frozen content cannot be read and counts as lost");
            return Ok(None);
        }
    };
    lock().insert(attempt.uid.clone(), Arc::clone(&spec));
    Ok(Some(spec))
}

/// Reads a frozen content.
pub(super) fn parse_content(data: Value) -> Result<ReleaseSpec, serde_json::Error> {
    serde_json::from_value(data)
}

/// Forgets contents that are not needed while nothing is under way.
pub fn forget_contents(cache: &Cache, seen: &Observed) {
    let mut contents = cache.contents.lock().unwrap_or_else(PoisonError::into_inner);
    for attempt in &seen.attempts {
        contents.remove(&attempt.uid);
    }
}

/// Answers what a plan asks for.
///
/// # Errors
/// When the API server cannot be asked; a refusal is an answer.
pub async fn answer(client: &Client, cache: &Cache, namespace: &str, ask: &Ask) -> Result<Answer, Error> {
    match ask {
        Ask::DryRun(manifest) => match calls::dry_run(client, &place(namespace, manifest), &manifest.body).await {
            Ok(()) => Ok(Answer::Accepted),
            Err(error) => match error.refusal() {
                // A webhook that cannot say is no refusal; what it does is seen when the object is created.
                Some((400, message)) if message.contains("does not support dry run") => {
                    Ok(Answer::Untried { message: message.to_owned() })
                }
                // What is wrong with us, or passes, is not the object's fault.
                Some((401 | 408 | 429, _)) => Err(error),
                Some((403, message)) if message.contains("cannot create resource") => Err(error),
                Some((code @ 400..=428, message)) => Ok(Answer::Refused { code, message: message.to_owned() }),
                _ => Err(error),
            },
        },
        Ask::LiveService(name) => {
            let found = calls::read::<watched::Service>(client, &Place::new::<core::Service>(namespace, name)).await?;
            Ok(Answer::Service(found.map(|service| Box::new(watched::service_seen(&service)))))
        }
        Ask::LiveObject(kind, name) => {
            let found = calls::read_meta(client, &place_of(namespace, *kind, name)).await?;
            Ok(Answer::Object(found.as_ref().map(watched::object_seen)))
        }
        Ask::Running(kind, name) => {
            let found = calls::read_whole(client, &place_of(namespace, *kind, name)).await?;
            Ok(Answer::Running(found.map(|found| Box::new(watched::running(&found)))))
        }
        Ask::SelectorManager(name) => {
            let found = calls::read::<watched::Service>(client, &Place::new::<core::Service>(namespace, name)).await?;
            Ok(Answer::Manager(found.and_then(|service| watched::selector_manager(&service))))
        }
        Ask::Quotas => quotas(client, namespace).await,
        Ask::Selecting(kind) => {
            let place = place_of(namespace, *kind, "");
            let others = cache.shows_all_of_releases(namespace, *kind).then(|| format!("!{}", labels::RELEASE_UID));
            let read = |found| watched::selecting(*kind, &found);
            Ok(Answer::Selecting(calls::list_whole(client, (&place, others.as_deref()), read).await?))
        }
        Ask::NetworkPolicies => match calls::list::<networking::NetworkPolicy>(client, namespace, None).await {
            Ok(found) => Ok(Answer::NetworkPolicies(Some(found.iter().filter_map(watched::network_policy).collect()))),
            // A Role of an earlier version does not grant it, and nothing rests on it.
            Err(error) if matches!(error.refusal(), Some((403, _))) => Ok(Answer::NetworkPolicies(None)),
            Err(error) => Err(error),
        },
        Ask::PodsOf(selector) => {
            let found = calls::list_metadata::<core::Pod>(client, namespace, Some(selector)).await?;
            Ok(Answer::Pods(found.iter().map(|pod| (pod.name_any(), pod.labels().clone())).collect()))
        }
        Ask::LiveBackup(name) => {
            let found = calls::read::<DatabaseBackup>(client, &Place::new::<DatabaseBackup>(namespace, name)).await?;
            Ok(Answer::Backup(found.map(|backup| Box::new(watched::backup_seen(&backup)))))
        }
        Ask::BackupsOf(database) => {
            let found = calls::list::<DeserializeGuard<DatabaseBackup>>(client, namespace, None).await?;
            let read = found.iter().filter_map(|backup| backup.0.as_ref().ok());
            let of = read.filter(|backup| backup.spec.database == *database);
            Ok(Answer::Backups(of.map(watched::backup_seen).collect()))
        }
        Ask::LiveAttempts(uid) => {
            let whose = format!("{}={uid}", labels::RELEASE_UID);
            let found = match calls::list_metadata::<apps::ControllerRevision>(client, namespace, Some(&whose)).await {
                // A namespace that is deleted loses its RoleBindings first; what is in it goes with it.
                Err(error) if matches!(error.refusal(), Some((403, _))) => vec![],
                other => other?,
            };
            let entries = found.iter().filter_map(watched::attempt);
            Ok(Answer::Attempts(entries.map(|(_, _, seen)| seen).collect()))
        }
        Ask::LiveRelease { name, uid } => {
            let found =
                calls::read::<PartialObjectMeta<Release>>(client, &Place::new::<Release>(namespace, name)).await?;
            Ok(Answer::Exists(found.is_some_and(|release| release.uid().as_ref() == Some(uid))))
        }
        Ask::Left(selector) => left(client, namespace, selector).await.map(Answer::Left),
        Ask::LiveDecision { name, uid } => {
            let found = calls::read::<Decision>(client, &Place::new::<Decision>(namespace, name)).await?;
            Ok(Answer::Exists(found.is_some_and(|decision| decision.uid().as_ref() == Some(uid))))
        }
    }
}

/// Returns what still works, or may come to work, of what is selected: first whoever makes pods, then the pods, so that none
/// is made in between.
async fn left(client: &Client, namespace: &str, selector: &str) -> Result<Option<String>, Error> {
    let sets = calls::list::<watched::ReplicaSet>(client, namespace, Some(selector)).await?;
    if let Some(set) = sets.iter().find(|set| !set.is_at_rest()) {
        return Ok(Some(format!("ReplicaSet {}", set.name_any())));
    }
    let pods = calls::list::<watched::Pod>(client, namespace, Some(selector)).await?;
    let left = pods.iter().map(watched::pod_seen).find(|pod| !pod.ended);
    Ok(left.map(|pod| format!("pod {}", pod.name)))
}

/// Reads the quotas of a namespace and, where there are any, what its limits give to containers.
async fn quotas(client: &Client, namespace: &str) -> Result<Answer, Error> {
    let place = Place::new::<core::ResourceQuota>(namespace, "");
    let quotas = calls::list_whole(client, (&place, None), |quota| watched::quota(&quota)).await?;
    let quotas: Vec<QuotaSeen> = quotas.into_iter().flatten().collect();
    let mut defaults = DefaultsSeen::default();
    if !quotas.is_empty() {
        let place = Place::new::<core::LimitRange>(namespace, "");
        let limits = calls::list_whole(client, (&place, None), |limits| limits).await?;
        limits.iter().for_each(|limits| watched::defaults(limits, &mut defaults));
    }
    Ok(Answer::Quotas(quotas, defaults))
}

/// Returns where an object of a Release is.
#[must_use]
pub fn place(namespace: &str, manifest: &Manifest) -> Place {
    place_of(namespace, manifest.kind, &manifest.name)
}

/// Returns where an object of a kind is.
#[must_use]
pub fn place_of(namespace: &str, kind: Kind, name: &str) -> Place {
    match kind {
        Kind::Deployment => Place::new::<apps::Deployment>(namespace, name),
        Kind::Service => Place::new::<core::Service>(namespace, name),
        Kind::Job => Place::new::<batch::Job>(namespace, name),
        Kind::ConfigMap => Place::new::<core::ConfigMap>(namespace, name),
        Kind::PodDisruptionBudget => Place::new::<policy::PodDisruptionBudget>(namespace, name),
        Kind::HorizontalPodAutoscaler => Place::new::<autoscaling::HorizontalPodAutoscaler>(namespace, name),
        Kind::ControllerRevision => Place::new::<apps::ControllerRevision>(namespace, name),
        Kind::DatabaseBackup => Place::new::<DatabaseBackup>(namespace, name),
        Kind::Pod => Place::new::<core::Pod>(namespace, name),
    }
}
