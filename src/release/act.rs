//! Acts: one function per action; no choices. Every action is idempotent by name and guarded by UID.

use kube::{Client, core::PartialObjectMeta};
use serde_json::json;

use super::{manifests::Kind, observe::place_of, observed::ReleaseSeen, plan::Action};
use crate::{
    agent_job,
    api::{
        DatabaseBackup, DatabaseClaim, DatabaseInstance, Decision, DecisionStatus, Release, ReleasePolicy,
        labels::FENCE, labels::FINALIZER, labels::RELEASE_UID,
    },
    error::Error,
    kube_io::calls::{self, Place, is_controlled_by},
};

/// Does one thing.
///
/// # Errors
/// As the call; whatever was done stays done, and the next look shows it.
pub async fn act(client: &Client, release: &ReleaseSeen, action: &Action) -> Result<(), Error> {
    let namespace = release.namespace.as_str();
    match action {
        Action::AddFinalizer => finalizers(client, release, true).await,
        Action::RemoveFinalizer => finalizers(client, release, false).await,
        Action::Create(manifest) => {
            let place = place_of(namespace, manifest.kind, &manifest.name);
            let uid = release.uid.as_str();
            calls::create(client, &place, &manifest.body, |found| {
                let labelled = found.metadata.labels.as_ref().and_then(|labels| labels.get(RELEASE_UID));
                // These have no owner; nobody else writes our label with this UID by accident.
                let unowned = matches!(manifest.kind, Kind::ControllerRevision | Kind::DatabaseBackup);
                is_controlled_by(found, uid) || (unowned && labelled.is_some_and(|label| label == uid))
            })
            .await
        }
        Action::Scale { deployment, uid, resource_version, replicas } => {
            let place = place_of(namespace, Kind::Deployment, deployment);
            let metadata = json!({ "uid": uid, "resourceVersion": resource_version });
            let patch = json!({ "metadata": metadata, "spec": { "replicas": replicas } });
            calls::merge::<super::watched::Deployment>(client, &place, &patch, false).await.map(|_| ())
        }
        Action::Autoscale { autoscaler, patch, .. } => {
            let place = place_of(namespace, Kind::HorizontalPodAutoscaler, autoscaler);
            calls::merge::<super::watched::HorizontalPodAutoscaler>(client, &place, patch, false).await.map(|_| ())
        }
        Action::Touch { kind, name, uid, resource_version, fence } => {
            let annotations = json!({ FENCE: fence });
            let metadata = json!({ "uid": uid, "resourceVersion": resource_version, "annotations": annotations });
            let (place, patch) = (place_of(namespace, *kind, name), json!({ "metadata": metadata }));
            calls::touch(client, &place, &patch).await
        }
        Action::Point { service, patch, otherwise } => {
            let place = place_of(namespace, Kind::Service, service);
            let whole = calls::merge::<super::watched::Service>(client, &place, patch, false).await;
            match (whole, otherwise) {
                (Err(error), Some(selector)) if error.is_invalid() => {
                    tracing::warn!(service = %place, %error, "the Service as it was is refused; its selector goes back alone");
                    calls::merge::<super::watched::Service>(client, &place, selector, false).await.map(|_| ())
                }
                (whole, _) => whole.map(|_| ()),
            }
        }
        Action::PutBack { service, patch, .. } => {
            let place = place_of(namespace, Kind::Service, service);
            calls::merge::<super::watched::Service>(client, &place, patch, false).await.map(|_| ())
        }
        Action::TakeOver(manifest) => {
            let place = place_of(namespace, manifest.kind, &manifest.name);
            calls::take_over(client, &place, &manifest.body).await
        }
        Action::Delete { kind, name, uid, resource_version } => {
            let which = (uid.as_str(), resource_version.as_deref());
            calls::delete(client, &place_of(namespace, *kind, name), which).await
        }
        Action::Disown { kind, name, uid, owners } => {
            calls::disown(client, &place_of(namespace, *kind, name), uid, owners).await
        }
        Action::Resume { job, uid } => {
            let place = place_of(namespace, Kind::Job, job);
            let patch = agent_job::resume_patch(uid);
            calls::merge::<super::watched::Job>(client, &place, &patch, false).await.map(|_| ())
        }
        Action::Claim { instance, uid, resource_version } => {
            let place = Place::new::<DatabaseInstance>(namespace, instance);
            let claim = DatabaseClaim { release_uid: release.uid.clone(), release: release.name.clone() };
            let patch = json!({
                "metadata": { "uid": uid, "resourceVersion": resource_version }, "status": { "claim": claim },
            });
            calls::merge::<DatabaseInstance>(client, &place, &patch, true).await.map(|_| ())
        }
        Action::SetRunning { policy, uid, resource_version, running } => {
            let place = Place::new::<ReleasePolicy>(namespace, policy);
            let patch = json!({
                "metadata": { "uid": uid, "resourceVersion": resource_version }, "status": { "running": running },
            });
            calls::merge::<PartialObjectMeta<ReleasePolicy>>(client, &place, &patch, true).await.map(|_| ())
        }
        Action::Hold { backup, uid, resource_version, finalizers } => {
            let place = Place::new::<DatabaseBackup>(namespace, backup);
            let patch = json!({ "metadata": {
                "uid": uid, "resourceVersion": resource_version, "finalizers": finalizers,
                "labels": { RELEASE_UID: release.uid },
            } });
            calls::merge::<PartialObjectMeta<DatabaseBackup>>(client, &place, &patch, false).await.map(|_| ())
        }
        Action::LetGo { backup, uid, resource_version, finalizers } => {
            let left: Vec<&str> = finalizers.iter().map(String::as_str).collect();
            let place = place_of(namespace, Kind::DatabaseBackup, backup);
            calls::set_finalizers::<DatabaseBackup>(client, &place, (uid, resource_version), &left).await
        }
        Action::Settle { decision, resource_version, status } => {
            settle(client, namespace, (decision, resource_version), status).await
        }
    }
}

async fn finalizers(client: &Client, release: &ReleaseSeen, present: bool) -> Result<(), Error> {
    let mut all: Vec<&str> = release.finalizers.iter().map(String::as_str).filter(|name| *name != FINALIZER).collect();
    if present {
        all.push(FINALIZER);
    }
    let place = Place::new::<Release>(&release.namespace, &release.name);
    calls::set_finalizers::<Release>(client, &place, (&release.uid, &release.resource_version), &all).await
}

async fn settle(
    client: &Client,
    namespace: &str,
    (decision, resource_version): (&str, &str),
    status: &DecisionStatus,
) -> Result<(), Error> {
    let place = Place::new::<Decision>(namespace, decision);
    // What was said by whoever leads now is not unsaid by whoever led before.
    let patch = json!({ "metadata": { "resourceVersion": resource_version }, "status": status });
    match calls::merge::<Decision>(client, &place, &patch, true).await {
        // Deleted by somebody who may.
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(|_| ()),
    }
}
