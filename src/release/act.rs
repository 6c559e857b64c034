//! Acts: one function per action; no choices. Every action is idempotent by name and guarded by UID. What the API server
//! answers is what the next look sees, also when that begins before a watch has shown it.

use kube::{
    ResourceExt as _,
    core::{DeserializeGuard, DynamicObject},
};
use serde_json::{Value, json};

use super::{
    Context,
    manifests::{self, Kind, Manifest},
    observe::place_of,
    observed::ReleaseSeen,
    plan::Action,
    watched::{self, Deployment, HorizontalPodAutoscaler, Job, Service},
};
use crate::{
    agent_job,
    api::{
        DatabaseBackup, DatabaseClaim, DatabaseInstance, Decision, DecisionStatus, Release, ReleasePolicy,
        labels::FENCE, labels::FINALIZER, labels::RELEASE_UID,
    },
    error::Error,
    kube_io::calls::{self, Left, Place, is_controlled_by},
};

/// Does one thing.
///
/// # Errors
/// As the call; whatever was done stays done, and the next look shows it.
pub async fn act(context: &Context, release: &ReleaseSeen, action: &Action) -> Result<(), Error> {
    let (client, cache, namespace) = (&context.client, &context.cache, release.namespace.as_str());
    match action {
        Action::AddFinalizer => finalizers(context, release, true).await?,
        Action::RemoveFinalizer => finalizers(context, release, false).await?,
        Action::Create(manifest) => cache.keep(manifest.kind, create(context, release, manifest).await?),
        Action::Label { kind, name, patch } => {
            cache.keep(*kind, calls::touch(client, &place_of(namespace, *kind, name), "label", patch).await?);
        }
        Action::Scale { deployment, uid, resource_version, replicas } => {
            let place = place_of(namespace, Kind::Deployment, deployment);
            let metadata = json!({ "uid": uid, "resourceVersion": resource_version });
            let patch = json!({ "metadata": metadata, "spec": { "replicas": replicas } });
            let scaled = calls::merge::<Deployment>(client, &place, &patch, false).await?;
            cache.deployments.keep(&scaled, watched::deployment);
        }
        Action::Autoscale { autoscaler, patch, .. } => {
            let place = place_of(namespace, Kind::HorizontalPodAutoscaler, autoscaler);
            let scaled = calls::merge::<HorizontalPodAutoscaler>(client, &place, patch, false).await?;
            cache.autoscalers.keep(&scaled, watched::autoscaler);
        }
        Action::Touch { kind, name, uid, resource_version, fence } => {
            let annotations = json!({ FENCE: fence });
            let metadata = json!({ "uid": uid, "resourceVersion": resource_version, "annotations": annotations });
            let (place, patch) = (place_of(namespace, *kind, name), json!({ "metadata": metadata }));
            cache.keep(*kind, calls::touch(client, &place, "fence", &patch).await?);
        }
        Action::Point { service, patch, otherwise } => {
            match (point(context, &place_of(namespace, Kind::Service, service), patch).await, otherwise) {
                (Err(error), Some(selector)) if error.is_invalid() => {
                    tracing::warn!(namespace, service, %error, "the Service as it was is refused; its selector goes back alone");
                    point(context, &place_of(namespace, Kind::Service, service), selector).await?;
                }
                (whole, _) => whole?,
            }
        }
        Action::PutBack { service, patch, .. } => {
            point(context, &place_of(namespace, Kind::Service, service), patch).await?;
        }
        Action::TakeOver(manifest) => {
            let place = place_of(namespace, manifest.kind, &manifest.name);
            cache.keep(manifest.kind, calls::take_over(client, &place, &manifest.body).await?);
        }
        Action::Delete { kind, name, uid, resource_version } => {
            let which = (uid.as_str(), resource_version.as_deref());
            match calls::delete(client, &place_of(namespace, *kind, name), which).await? {
                Left::Nothing => cache.forget(*kind, (namespace, name, uid)),
                Left::Ending(object) => cache.keep(*kind, *object),
                Left::Unknown => {}
            }
        }
        Action::Disown { kind, name, uid, owners } => {
            calls::disown(client, &place_of(namespace, *kind, name), uid, owners).await?;
        }
        Action::Resume { job, uid } => {
            let place = place_of(namespace, Kind::Job, job);
            let patch = agent_job::resume_patch(uid);
            cache.jobs.keep(&calls::merge::<Job>(client, &place, &patch, false).await?, watched::job);
        }
        Action::Claim { instance, uid, resource_version } => {
            let place = Place::new::<DatabaseInstance>(namespace, instance);
            let claim = DatabaseClaim { release_uid: release.uid.clone(), release: release.name.clone() };
            let patch = json!({
                "metadata": { "uid": uid, "resourceVersion": resource_version }, "status": { "claim": claim },
            });
            let claimed = calls::merge::<DeserializeGuard<DatabaseInstance>>(client, &place, &patch, true).await?;
            cache.instances.keep(&claimed, watched::instance);
        }
        Action::Identify { instance, uid, resource_version, identity, at } => {
            let place = Place::new::<DatabaseInstance>(namespace, instance);
            // A backup of the former one proves nothing about this one.
            let status = json!({ "identity": identity, "identitySeenAt": at, "lastProven": null });
            let patch = json!({ "metadata": { "uid": uid, "resourceVersion": resource_version }, "status": status });
            let known = calls::merge::<DeserializeGuard<DatabaseInstance>>(client, &place, &patch, true).await?;
            cache.instances.keep(&known, watched::instance);
        }
        Action::SetRunning { policy, uid, resource_version, running } => {
            let place = Place::new::<ReleasePolicy>(namespace, policy);
            let patch = json!({
                "metadata": { "uid": uid, "resourceVersion": resource_version }, "status": { "running": running },
            });
            let told = calls::merge::<DeserializeGuard<ReleasePolicy>>(client, &place, &patch, true).await?;
            cache.policies.keep(&told, watched::policy);
        }
        Action::Hold { backup, uid, resource_version, finalizers } => {
            let place = Place::new::<DatabaseBackup>(namespace, backup);
            let patch = json!({ "metadata": {
                "uid": uid, "resourceVersion": resource_version, "finalizers": finalizers,
                "labels": { RELEASE_UID: release.uid },
            } });
            let held = calls::merge::<DeserializeGuard<DatabaseBackup>>(client, &place, &patch, false).await?;
            cache.backups.keep(&held, watched::backup);
        }
        Action::LetGo { backup, uid, resource_version, finalizers } => {
            let left: Vec<&str> = finalizers.iter().map(String::as_str).collect();
            let place = place_of(namespace, Kind::DatabaseBackup, backup);
            let version = (uid.as_str(), resource_version.as_str());
            let held =
                calls::set_finalizers::<DeserializeGuard<DatabaseBackup>>(client, &place, version, &left).await?;
            held.iter().for_each(|backup| cache.backups.keep(backup, watched::backup));
        }
        Action::Settle { decision, resource_version, status } => {
            settle(context, namespace, (decision, resource_version), status).await?;
        }
    }
    Ok(())
}

/// Creates an object, or finds it there as ours. What watches find it by is put back where somebody took it off: it would
/// be made again in each look, and never be seen.
async fn create(context: &Context, release: &ReleaseSeen, manifest: &Manifest) -> Result<DynamicObject, Error> {
    let (client, uid) = (&context.client, release.uid.as_str());
    let place = place_of(&release.namespace, manifest.kind, &manifest.name);
    let made = calls::create(client, &place, &manifest.body, |found| {
        let labelled = found.labels().get(RELEASE_UID).is_some_and(|label| label == uid);
        // These have no owner; nobody else writes our label with this UID by accident.
        is_controlled_by(found, uid) || (manifest.kind.is_unowned() && labelled)
    });
    let made = made.await?;
    match manifests::labels_back(manifest, &made.metadata) {
        Some(patch) => calls::touch(client, &place, "label", &patch).await,
        None => Ok(made),
    }
}

async fn point(context: &Context, place: &Place, patch: &Value) -> Result<(), Error> {
    let pointed = calls::merge::<Service>(&context.client, place, patch, false).await?;
    context.cache.services.keep(&pointed, watched::service);
    Ok(())
}

async fn finalizers(context: &Context, release: &ReleaseSeen, present: bool) -> Result<(), Error> {
    let mut all: Vec<&str> = release.finalizers.iter().map(String::as_str).filter(|name| *name != FINALIZER).collect();
    if present {
        all.push(FINALIZER);
    }
    let place = Place::new::<Release>(&release.namespace, &release.name);
    let version = (release.uid.as_str(), release.resource_version.as_str());
    let written = calls::set_finalizers::<Release>(&context.client, &place, version, &all).await?;
    written.iter().for_each(|release| context.written.keep(release));
    Ok(())
}

async fn settle(
    context: &Context,
    namespace: &str,
    (decision, resource_version): (&str, &str),
    status: &DecisionStatus,
) -> Result<(), Error> {
    let place = Place::new::<Decision>(namespace, decision);
    // What was said by whoever leads now is not unsaid by whoever led before.
    let patch = json!({ "metadata": { "resourceVersion": resource_version }, "status": status });
    match calls::merge::<DeserializeGuard<Decision>>(&context.client, &place, &patch, true).await {
        Ok(settled) => context.cache.decisions.keep(&settled, watched::decision),
        // Deleted by somebody who may.
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
