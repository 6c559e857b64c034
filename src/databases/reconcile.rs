//! Reconciles one database, storage or backup: look, plan, remember, act, look again.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use kube::{
    Resource, ResourceExt,
    core::{DeserializeGuard, ObjectMeta, error_boundary::InvalidObject},
    runtime::controller,
};
use serde_json::json;

use super::{Action, Kind, Plan, Shared};
use crate::{
    agent_job,
    api::{Condition, ConditionType, Reason, Standing, condition, set_standing},
    clock,
    error::Error,
    kube_io::{
        calls::{self, Place, is_controlled_by},
        merge,
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
    if !shared.wait_until_filled(object.meta().namespace.clone()).await {
        return Ok(controller::Action::await_change());
    }
    let object = match &object.0 {
        Ok(object) => shared.freshest::<K>(object),
        Err(invalid) => return unreadable::<K>(&shared, invalid).await,
    };
    let key = object.meta().uid.clone().unwrap_or_default();
    let action = advance::<K>(&shared, object).await?;
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
    tracing::warn!(namespace = meta.namespace.as_deref(), %kind, name, %error, wait_ms = wait.as_millis(), "will look again");
    controller::Action::requeue(wait)
}

async fn advance<K: Kind>(shared: &Shared, mut object: K::Object) -> Result<controller::Action, Error> {
    for _ in 0..LOOKS {
        let mut plan = K::plan(shared, &object);
        let mut written = remember::<K>(shared, &object, &plan.status).await?;
        match act_all(shared, object.meta(), &plan).await {
            Err(Error::NameTaken { object: taken }) => {
                let message = format!("{taken} exists and is not ours. Remove it or rename this object.");
                let at = (object.meta().generation.unwrap_or_default(), clock::now());
                set_standing(K::conditions(&mut plan.status), &Standing::Stuck(Reason::NameTaken, message), at);
                let latest = written.take().unwrap_or(object);
                remember::<K>(shared, &latest, &plan.status).await?;
                return Err(Error::NameTaken { object: taken });
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
    shared.keep_written::<K>(&written);
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

async fn act_all<S>(shared: &Shared, object: &ObjectMeta, plan: &Plan<S>) -> Result<(), Error> {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let uid = object.uid.as_deref().unwrap_or_default();
    let job = |name: &str| Place::new::<k8s_openapi::api::batch::v1::Job>(namespace, name);
    for action in &plan.actions {
        tracing::debug!(namespace, name = object.name.as_deref(), ?action, "acting");
        match action {
            Action::Create { name, body } => {
                calls::create(&shared.client, &job(name), body, |found| is_controlled_by(found, uid)).await?;
            }
            Action::Resume { name, uid } => {
                let patch = agent_job::resume_patch(uid);
                calls::merge::<Job>(&shared.client, &job(name), &patch, false).await?;
            }
            Action::Delete { name, uid } => calls::delete(&shared.client, &job(name), uid).await?,
        }
    }
    Ok(())
}

/// Says on the object itself that it cannot be read; the others go on.
async fn unreadable<K: Kind>(shared: &Shared, invalid: &InvalidObject) -> Result<controller::Action, Error> {
    let ObjectMeta { namespace, name, generation, creation_timestamp, .. } = &invalid.metadata;
    let (namespace, name) = (namespace.clone().unwrap_or_default(), name.clone().unwrap_or_default());
    let message = format!(
        "The stored object does not fit this version's schema: {}. Nothing is done with it. Next: kubectl edit {} {name} -n {namespace}",
        invalid.error,
        K::Object::plural(&())
    );
    // Repeating it changes nothing: the time is the object's own.
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_, "status": status, "reason": Reason::InvalidStoredObject.as_str(),
            "message": crate::api::clamp(&message),
            "lastTransitionTime": creation_timestamp, "observedGeneration": generation,
        })
    };
    let patch = json!({ "status": { "conditions": [condition("Ready", "False"), condition("Stalled", "True")] } });
    let place = Place::new::<K::Object>(&namespace, &name);
    calls::merge::<DeserializeGuard<K::Object>>(&shared.client, &place, &patch, true).await?;
    Ok(controller::Action::await_change())
}

impl Shared {
    /// Waits until every watch over a namespace has listed; false when that will never be.
    async fn wait_until_filled(&self, namespace: Option<String>) -> bool {
        let Some(filled) = self.filled.get(&namespace).or_else(|| self.filled.get(&None)) else { return false };
        filled.clone().wait_for(|filled| *filled).await.is_ok()
    }

    /// Returns whether every watch over every namespace has listed.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.filled.values().all(|filled| *filled.borrow())
    }

    /// Returns the newer of what the watch has shown and what our last write left.
    fn freshest<K: Kind>(&self, shown: &K::Object) -> K::Object {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = shown.meta().uid.clone().unwrap_or_default();
        let ours = written.get(&uid).and_then(|value| serde_json::from_value::<K::Object>(value.clone()).ok());
        match ours {
            Some(ours) if version(ours.meta()) > version(shown.meta()) => ours,
            _ => {
                written.remove(&uid);
                shown.clone()
            }
        }
    }

    fn keep_written<K: Kind>(&self, object: &K::Object) {
        let mut object = object.clone();
        object.meta_mut().managed_fields = None;
        let uid = object.meta().uid.clone().unwrap_or_default();
        let value = serde_json::to_value(&object).unwrap_or_default();
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, value);
    }

    /// Forgets what is kept of an object that is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.backoff.succeeded(uid);
    }
}

/// Returns the resourceVersion as a number: within one object, newer ones are larger (KEP-5504).
fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
