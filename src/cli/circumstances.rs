//! What a forecast is made of besides the spec: the policies that match, where they promote from, who holds their places,
//! and who would be an author.
//!
//! In: a connection, and the Release as the API server would store it. Out: what the controller would see of these. What
//! the caller may not read is named and left out; nothing is guessed.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{Api, ResourceExt as _};

use super::{connection::Cluster, look};
use crate::{
    api::{PromotionSource, Record, Release, RunningRelease, StampRecord},
    release::observed::{Guard, Observed, PolicySeen, SourceSeen, Standing, wanted},
};

/// What was seen besides the spec.
#[derive(Default)]
pub(super) struct Circumstances {
    /// The policies that match.
    pub policies: Vec<PolicySeen>,
    /// Where they promote from, and who holds their places.
    pub sources: Vec<SourceSeen>,
    /// What is not known, and why.
    pub warnings: Vec<String>,
}

/// Reads what policies ask for, and what they ask it of.
pub(super) async fn look(cluster: &Cluster, release: &Release) -> Circumstances {
    let mut seen = Circumstances::default();
    match look::policies(cluster).await {
        Ok(policies) => seen.policies = policies,
        Err(problem) => {
            seen.warnings.push(format!("what ReleasePolicies ask for is not known: {}", problem.why));
            return seen;
        }
    }
    let name = release.name_any();
    seen.policies.retain(|policy| policy.is_for(&name, release.labels()));
    let asked = wanted((&cluster.namespace, &name), &seen.policies);
    let found = join_all(asked.into_iter().map(|place| source(cluster, place))).await;
    for (place, answer) in found {
        match answer {
            Ok(source) => seen.sources.push(source),
            Err(why) => {
                seen.warnings.push(format!("how Release {}/{} stands is not known: {why}", place.0, place.1));
                leave_out(&mut seen.policies, (&cluster.namespace, &name), &place);
            }
        }
    }
    // Places of what is gone are free.
    let is_gone = |running: &RunningRelease| {
        let its = |source: &&SourceSeen| source.namespace == cluster.namespace && source.release == running.name;
        let found = seen.sources.iter().find(its);
        found.is_some_and(|found| found.standing.as_ref().is_none_or(|standing| standing.uid != running.uid))
    };
    seen.policies.iter_mut().for_each(|policy| policy.running.retain(|running| !is_gone(running)));
    seen
}

/// A namespace and a name.
type Place = (String, String);

/// Reads one Release that policies speak of.
async fn source(cluster: &Cluster, place: Place) -> (Place, Result<SourceSeen, String>) {
    let (namespace, name) = place.clone();
    let api: Api<Release> = Api::namespaced(cluster.client.clone(), &namespace);
    let found = cluster.ask("read", &format!("Release {namespace}/{name}"), api.get_opt(&name)).await;
    let standing = found.map(|found| found.as_ref().map(Standing::of)).map_err(|problem| problem.why);
    (place, standing.map(|standing| SourceSeen { namespace, release: name, standing }))
}

/// Takes a source that may not be read out of what policies promote from: whether it serves there cannot be said.
fn leave_out(policies: &mut [PolicySeen], (namespace, name): (&str, &str), place: &Place) {
    let is_it = |source: &PromotionSource| {
        source.namespace.as_deref().unwrap_or(namespace) == place.0
            && source.release.as_deref().unwrap_or(name) == place.1
    };
    for policy in policies.iter_mut().filter_map(|policy| policy.spec.as_mut()) {
        if let Some(promotion) = &mut Arc::make_mut(policy).promotion {
            promotion.from.retain(|source| !is_it(source));
        }
    }
}

/// Adds who would be an author: whom the API server's dry run has stamped, and everybody since what serves was asked for.
pub(super) fn add_authors(seen: &mut Observed, record: &mut Record, existing: Option<&Release>) {
    if seen.release.changed_by.is_none() {
        seen.stamp = Guard::Missing("its dry run of this change stamped nobody".to_owned());
        return;
    }
    // Since when, only the controller remembers; where it has not noted it yet, it would do so when it sees this.
    let generation = existing.and_then(|existing| existing.metadata.generation).unwrap_or(0);
    let since = record.stamped.as_ref().map_or(seen.release.created, |stamped| stamped.since.0);
    record.stamped.get_or_insert(StampRecord { since: MicroTime(since), generation });
    (seen.guard, seen.stamp) = (Guard::Since(since), Guard::Since(since));
}
