//! Decisions and what makes them count: the admission policies, watched.
//!
//! In: the policies shipped with this version, and those in the cluster. Out: a [`Guard`] that is kept up to date.
//! What becomes of a single Decision is part of its Release's plan.

pub mod guard;

use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, future::join_all};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::{
    Api, Client, ResourceExt,
    api::DynamicObject,
    core::ApiResource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::{clock, error::Error, release::observed::Guard};
use guard::{Held, Kind, Look, Seen, Shipped};

/// The policies without which nothing runs. The others, which fence our own account and keep CRDs from being deleted,
/// make no approval more or less true.
const REQUIRED: [&str; 2] = [
    include_str!("../../charts/switchback/policies/decisions.yaml"),
    include_str!("../../charts/switchback/policies/releases.yaml"),
];

/// How many times in a row a watch may fail before what it showed last no longer counts: about 25 seconds, longer
/// than an API server takes to start again.
const FAILURES: u32 = 5;

/// Returns the policies and bindings without which nothing runs, as shipped.
///
/// # Errors
/// When a shipped file is not what it should be.
pub fn required() -> Result<Vec<Shipped>, Error> {
    let documents = REQUIRED.iter().flat_map(|text| serde_yaml::Deserializer::from_str(text));
    documents
        .map(|document| {
            let unusable =
                |problem: String| Error::Config(format!("a shipped admission policy is unusable: {problem}"));
            let object = DynamicObject::deserialize(document).map_err(|error| unusable(error.to_string()))?;
            let kind = object.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default();
            let kind = [Kind::Policy, Kind::Binding]
                .into_iter()
                .find(|known| known.as_str() == kind)
                .ok_or_else(|| unusable(format!("kind {kind:?}")))?;
            Ok(Shipped { kind, name: object.name_any(), spec: spec(&object) })
        })
        .collect()
}

/// Watches the policies for ever and keeps `guard` up to date. It changes first when each of them was looked at, or
/// could not be.
pub async fn keep(client: Client, shipped: Vec<Shipped>, guard: watch::Sender<Guard>) {
    let keeper = Keeper { client, shipped, seen: Mutex::default(), guard };
    join_all(keeper.shipped.iter().map(|object| keeper.follow(object))).await;
}

struct Keeper {
    client: Client,
    shipped: Vec<Shipped>,
    seen: Mutex<Seen>,
    guard: watch::Sender<Guard>,
}

impl Keeper {
    /// Follows one object. By its name, because the controller may read only these.
    async fn follow(&self, object: &Shipped) {
        let resource = match object.kind {
            Kind::Policy => ApiResource::erase::<ValidatingAdmissionPolicy>(&()),
            Kind::Binding => ApiResource::erase::<ValidatingAdmissionPolicyBinding>(&()),
        };
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", object.name));
        let mut events = watcher::watcher(api, config).default_backoff().boxed();
        let (mut listed, mut looked, mut failures) = (Look::Absent, false, 0);
        while let Some(event) = events.next().await {
            let look = match event {
                Ok(event) => {
                    failures = 0;
                    match event {
                        Event::Apply(found) => Some(held(&found)),
                        Event::Delete(_) => Some(Look::Absent),
                        Event::Init => {
                            listed = Look::Absent;
                            None
                        }
                        Event::InitApply(found) => {
                            listed = held(&found);
                            None
                        }
                        Event::InitDone => Some(listed.clone()),
                    }
                }
                Err(error) => {
                    tracing::warn!(kind = object.kind.as_str(), name = object.name, %error, "a watch failed and is tried again");
                    failures += 1;
                    (!looked || failures >= FAILURES).then(|| Look::Failed(error.to_string()))
                }
            };
            if let Some(look) = look {
                looked = true;
                self.take(object, look);
            }
        }
    }

    fn take(&self, object: &Shipped, look: Look) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take(object, look, clock::now());
        let judged = guard::judge(&self.shipped, &seen);
        self.guard.send_if_modified(|guard| {
            if *guard == judged {
                return false;
            }
            match &judged {
                Guard::Since(since) => tracing::info!(%since, "the admission policies guard"),
                Guard::Missing(why) => tracing::warn!(why, "the admission policies do not guard: no Release starts"),
            }
            *guard = judged;
            true
        });
    }
}

fn held(object: &DynamicObject) -> Look {
    let created = object.creation_timestamp().map(|time| time.0);
    // Who writes labels or status does not change what is refused.
    let writes = object
        .managed_fields()
        .iter()
        .filter(|entry| entry.fields_v1.as_ref().is_none_or(|fields| fields.0.get("f:spec").is_some()));
    let written = writes.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).chain(created).max();
    Look::Held(Held {
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        spec: spec(object),
        // An object that does not say since when it exists guards from no moment that is known.
        written: written.unwrap_or(jiff::Timestamp::MAX),
    })
}

fn spec(object: &DynamicObject) -> Value {
    object.data.get("spec").cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_denies_and_fails_closed() {
        let shipped = required().unwrap();
        assert_eq!(shipped.len(), 4);
        for object in shipped {
            match object.kind {
                Kind::Policy => assert_eq!(object.spec["failurePolicy"], "Fail"),
                Kind::Binding => assert_eq!(object.spec["validationActions"], serde_json::json!(["Deny"])),
            }
        }
    }
}
