//! Reconciles one database, storage or backup: look, plan, remember, act, look again.

use std::{sync::Arc, time::Duration};

use kube::{
    Resource, ResourceExt,
    core::{DeserializeGuard, DynamicObject},
    runtime::controller,
};
use serde_json::json;

use super::{Action, Kind, Plan, Shared};
use crate::{
    agent_job,
    api::{Condition, ConditionType, Reason, Release, Standing, condition, labels, set_standing},
    clock::{self, Stopwatch},
    error::Error,
    kube_io::{
        calls::{self, Left, Place, is_controlled_by},
        merge, unreadable,
    },
    release::watched::Job,
};

/// How many times one reconcile looks: each look may record something and the next one act on it.
const LOOKS: usize = 6;

/// Brings one object one or more steps further.
///
/// # Errors
/// When the API server cannot be asked or refuses; what was done stays done.
pub async fn reconcile<K: Kind>(
    object: Arc<DeserializeGuard<K::Object>>,
    shared: Arc<Shared>,
) -> Result<controller::Action, Error> {
    // A cache that was never filled shows nothing, which is not the same as nothing being there.
    if !shared.filled.wait(object.meta().namespace.clone()).await {
        return Ok(controller::Action::await_change());
    }
    let object = match &object.0 {
        Ok(object) => K::written(&shared.written).newest(object),
        Err(invalid) => {
            unreadable::tell::<K::Object>(&shared.client, invalid).await?;
            return Ok(controller::Action::await_change());
        }
    };
    let key = object.meta().uid.clone().unwrap_or_default();
    let watch = Stopwatch::start();
    let result = advance::<K>(&shared, object).await;
    shared.metrics.reconciled(&K::Object::kind(&()), result.is_ok(), watch.elapsed());
    let action = result?;
    shared.backoff.succeeded(&key);
    Ok(action)
}

/// Returns how long to wait after an error.
#[must_use]
pub fn error_policy<K: Kind>(
    object: Arc<DeserializeGuard<K::Object>>,
    error: &Error,
    shared: Arc<Shared>,
) -> controller::Action {
    let meta = object.meta();
    let wait = shared.backoff.failed(meta.uid.as_deref().unwrap_or_default(), error.class());
    let (kind, name) = (K::Object::kind(&()), meta.name.as_deref().unwrap_or_default());
    if matches!(error, Error::Panicked { .. }) {
        shared.metrics.panicked(&kind);
    }
    tracing::warn!(namespace = meta.namespace.as_deref(), %kind, name, %error, wait_ms = wait.as_millis(), "will look again");
    controller::Action::requeue(wait)
}

async fn advance<K: Kind>(shared: &Shared, mut object: K::Object) -> Result<controller::Action, Error> {
    for _ in 0..LOOKS {
        let mut plan = K::plan(shared, &object);
        let mut written = remember::<K>(shared, &object, &plan.status).await?;
        match act_all::<K>(shared, written.as_ref().unwrap_or(&object), &plan).await {
            Err(Error::NameTaken { object: taken, controller }) => {
                let message = format!("{taken} exists and is not ours. Remove it or rename this object.");
                let at = (object.meta().generation.unwrap_or_default(), clock::now());
                set_standing(K::conditions(&mut plan.status), &Standing::Stuck(Reason::NameTaken, message), at);
                let latest = written.take().unwrap_or(object);
                remember::<K>(shared, &latest, &plan.status).await?;
                return Err(Error::NameTaken { object: taken, controller });
            }
            other => other?,
        }
        let Some(fresh) = written else { return Ok(rest(&plan)) };
        object = fresh;
    }
    // Whatever is left is taken up at once; giving others their turn in between.
    Ok(controller::Action::requeue(Duration::ZERO))
}

fn rest<S>(plan: &Plan<S>) -> controller::Action {
    plan.recheck.map_or_else(controller::Action::await_change, |at| {
        controller::Action::requeue(at.duration_since(clock::now()).try_into().unwrap_or(Duration::ZERO))
    })
}

/// Writes the status when it differs; returns the object as written.
async fn remember<K: Kind>(shared: &Shared, object: &K::Object, after: &K::Status) -> Result<Option<K::Object>, Error> {
    let mut before = K::status(object).cloned().unwrap_or_default();
    let mut after = after.clone();
    let value = |status: &K::Status| serde_json::to_value(status).unwrap_or_default();
    let Some(patch) = merge::diff(&value(&before), &value(&after)) else { return Ok(None) };
    // The resourceVersion makes the API server refuse what was decided on an outdated object.
    let patch = json!({ "metadata": { "resourceVersion": object.meta().resource_version }, "status": patch });
    let written: K::Object = calls::merge(&shared.client, &place(object), &patch, true).await?;
    K::written(&shared.written).keep(&written);
    if let Some(news) = news(K::conditions(&mut before), K::conditions(&mut after)) {
        let about = object.object_ref(&());
        let warning = news.status == "False";
        shared.announcer.tell(&about, warning, (&news.reason, "Reconcile", &news.message)).await;
    }
    Ok(Some(written))
}

/// Returns what is worth an event: another reason of Ready, once it is known what holds.
fn news<'a>(before: &[Condition], after: &'a [Condition]) -> Option<&'a Condition> {
    let known = condition(before, ConditionType::Ready);
    condition(after, ConditionType::Ready).filter(|ready| {
        ready.status != "Unknown"
            && known.is_none_or(|known| (&known.reason, &known.status) != (&ready.reason, &ready.status))
    })
}

fn place<K>(object: &K) -> Place
where
    K: Resource<DynamicType = ()>,
{
    Place::new::<K>(object.meta().namespace.as_deref().unwrap_or_default(), &object.name_any())
}

async fn act_all<K: Kind>(shared: &Shared, object: &K::Object, plan: &Plan<K::Status>) -> Result<(), Error> {
    let meta = object.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let uid = meta.uid.as_deref().unwrap_or_default();
    let job = |name: &str| Place::new::<k8s_openapi::api::batch::v1::Job>(namespace, name);
    for action in &plan.actions {
        tracing::debug!(namespace, name = meta.name.as_deref(), ?action, "acting");
        match action {
            Action::Create { name, body } => {
                let ours = |found: &DynamicObject| is_controlled_by(found, uid);
                let made = calls::create(&shared.client, &job(name), body, ours).await?;
                // One that this version cannot read is left to the watch, which says so.
                if let Ok(made) = made.try_parse::<Job>() {
                    shared.cache.keep_job(&made);
                }
            }
            Action::Resume { name, uid } => {
                let patch = agent_job::resume_patch(uid);
                shared.cache.keep_job(&calls::merge(&shared.client, &job(name), &patch, false).await?);
            }
            Action::LetGoOf { release_uid } => let_go_of::<K>(shared, object, release_uid).await?,
            Action::Delete { name, uid } => match calls::delete(&shared.client, &job(name), (uid, None)).await? {
                Left::Nothing => shared.cache.forget_job((namespace, name, uid)),
                // The watch shows what somebody else has given a finalizer.
                Left::Ending(_) | Left::Unknown => {}
            },
        }
    }
    Ok(())
}

/// A Release whose own finalizer was taken off by force has let go of nothing.
async fn let_go_of<K: Kind>(shared: &Shared, object: &K::Object, release_uid: &str) -> Result<(), Error> {
    let meta = object.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let releases = calls::list_metadata::<Release>(&shared.client, namespace, None).await?;
    if releases.iter().any(|release| release.uid().as_deref() == Some(release_uid)) {
        return Ok(());
    }
    let left: Vec<&str> =
        object.finalizers().iter().map(String::as_str).filter(|name| *name != labels::IN_USE).collect();
    let version = (meta.uid.as_deref().unwrap_or_default(), meta.resource_version.as_deref().unwrap_or_default());
    let held = calls::set_finalizers::<K::Object>(&shared.client, &place(object), version, &left).await?;
    held.iter().for_each(|object| K::written(&shared.written).keep(object));
    Ok(())
}
