//! Decisions and what makes them count: the admission policies, watched.
//!
//! In: the policies shipped with this version, and those in the cluster. Out: a [`Guard`] that is kept up to date.
//! What becomes of a single Decision is part of its Release's plan.

pub mod guard;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

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

/// The policy without which nobody is known to have changed what.
const STAMP: [&str; 1] = [include_str!("../../charts/switchback/policies/authors.yaml")];

/// Versions of the kinds' group, the better one first: a server that has a kind in neither does not serve it.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// How long until a server that does not serve a kind is asked again: as often as watches begin anew.
const ASK_AGAIN: Duration = Duration::from_secs(290);

/// How long until a server that did not answer is asked again.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Returns the policies and bindings without which nothing runs, as shipped.
///
/// # Errors
/// When a shipped file is not what it should be.
pub fn required() -> Result<Vec<Shipped>, Error> {
    shipped(&REQUIRED)
}

/// Returns the policy and binding that stamp who changed a Release, as shipped.
///
/// # Errors
/// When a shipped file is not what it should be.
pub fn stamping() -> Result<Vec<Shipped>, Error> {
    shipped(&STAMP)
}

fn shipped(files: &[&str]) -> Result<Vec<Shipped>, Error> {
    let documents = files.iter().flat_map(|text| serde_yaml::Deserializer::from_str(text));
    documents
        .map(|document| {
            let unusable =
                |problem: String| Error::Config(format!("a shipped admission policy is unusable: {problem}"));
            let object = DynamicObject::deserialize(document).map_err(|error| unusable(error.to_string()))?;
            let kind = object.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default();
            let kind = Kind::ALL
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
    fn names(&self) -> BTreeSet<&str> {
        self.shipped.iter().map(|object| object.name.as_str()).collect()
    }

    /// Follows one object for ever, also through a change of the version in which its kind is served.
    async fn follow(&self, object: &Shipped) {
        loop {
            let wait = match self.served(object.kind).await {
                Ok(resource) => {
                    self.watch(object, &resource).await;
                    TRY_AGAIN
                }
                Err(Unserved::Never) => {
                    self.take(object, Look::Failed("this API server does not serve its kind".to_owned()));
                    ASK_AGAIN
                }
                Err(Unserved::NoAnswer(why)) => {
                    self.take(object, Look::Failed(why));
                    TRY_AGAIN
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Watches one object, by its name, because the controller may read only these; ends when that fails for long.
    async fn watch(&self, object: &Shipped, resource: &ApiResource) {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), resource);
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
            if failures >= FAILURES {
                return;
            }
        }
    }

    /// Returns how the API server serves a kind.
    async fn served(&self, kind: Kind) -> Result<ApiResource, Unserved> {
        match kind {
            Kind::Policy => return Ok(ApiResource::erase::<ValidatingAdmissionPolicy>(&())),
            Kind::Binding => return Ok(ApiResource::erase::<ValidatingAdmissionPolicyBinding>(&())),
            Kind::Stamp | Kind::StampBinding => {}
        }
        for version in VERSIONS {
            let group = format!("{GROUP}/{version}");
            let asked = tokio::time::timeout(ANSWER, self.client.list_api_group_resources(&group)).await;
            let served = match asked {
                Ok(Ok(served)) => served.resources,
                Ok(Err(kube::Error::Api(status))) if status.is_not_found() => continue,
                Ok(Err(error)) => return Err(Unserved::NoAnswer(error.to_string())),
                Err(_) => return Err(Unserved::NoAnswer(format!("no answer within {ANSWER:?}"))),
            };
            if let Some(found) = served.into_iter().find(|resource| resource.kind == kind.as_str()) {
                return Ok(ApiResource {
                    group: GROUP.to_owned(),
                    version: version.to_owned(),
                    api_version: group,
                    kind: found.kind,
                    plural: found.name,
                });
            }
        }
        Err(Unserved::Never)
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
                Guard::Since(since) => {
                    tracing::info!(%since, policies = ?self.names(), "admission policies are in force")
                }
                Guard::Missing(why) => tracing::warn!(why, "admission policies are not in force"),
            }
            *guard = judged;
            true
        });
    }
}

/// Why a kind cannot be watched.
enum Unserved {
    /// The server does not have it.
    Never,
    /// The server did not say.
    NoAnswer(String),
}

/// The kinds' group.
const GROUP: &str = "admissionregistration.k8s.io";

fn held(object: &DynamicObject) -> Look {
    // Who writes labels or status does not change what is refused.
    let writes = object
        .managed_fields()
        .iter()
        .filter(|entry| entry.fields_v1.as_ref().is_none_or(|fields| fields.0.get("f:spec").is_some()));
    let written = writes.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max();
    // Whoever writes an object may say of its fields what they like, and nothing of when it was made.
    let created = object.creation_timestamp().map(|time| time.0);
    let written = written.map(|written| created.map_or(written, |created| written.max(created)));
    Look::Held(Held {
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        spec: spec(object),
        written,
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
        let shipped: Vec<Shipped> = required().unwrap().into_iter().chain(stamping().unwrap()).collect();
        assert_eq!(shipped.len(), 6);
        for object in shipped {
            match object.kind {
                Kind::Policy | Kind::Stamp => assert_eq!(object.spec["failurePolicy"], "Fail"),
                Kind::Binding => assert_eq!(object.spec["validationActions"], serde_json::json!(["Deny"])),
                Kind::StampBinding => assert_eq!(object.spec, serde_json::json!({ "policyName": object.name })),
            }
        }
    }

    /// What one writes the other one checks: both must reckon the same stamp.
    #[test]
    fn who_changed_what_is_reckoned_alike_where_it_is_written_and_where_it_is_checked() {
        let (stamps, checks) = (stamping().unwrap(), required().unwrap());
        let variables = |all: &[Shipped], kind, name: &str| -> Vec<Value> {
            let found = all.iter().find(|object| object.kind == kind && object.name == name);
            found.and_then(|object| object.spec["variables"].as_array().cloned()).unwrap()
        };
        let checked = variables(&checks, Kind::Policy, "switchback-releases");
        let stamped = variables(&stamps, Kind::Stamp, "switchback-authors");
        assert_eq!(stamped.len(), 11);
        for variable in stamped {
            assert!(checked.contains(&variable), "{}", variable["name"]);
        }
    }
}
