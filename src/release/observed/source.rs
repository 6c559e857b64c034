//! What was seen of the Releases that policies promote from, in this namespace or another.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::PolicySeen;
use crate::api::{ContractProgress, PodTemplate, Release, ReleaseSpec, Step};

/// A Release that a policy promotes from.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSeen {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub release: String,
    /// Where it stands; `None` when there is none in a namespace that the operator serves.
    pub standing: Option<Standing>,
}

/// Where such a Release stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Its UID.
    pub uid: String,
    /// The version that serves; `None` while none does, or another one is on its way, or it is unwell.
    pub version: Option<String>,
    /// What the version that the spec asks for runs: the one that serves, when one does.
    pub artefacts: BTreeSet<String>,
    /// Since when it serves.
    pub since: Timestamp,
    /// How far its Contract migration is, where it has one, and since when.
    pub contract: Option<(ContractProgress, Timestamp)>,
}

impl Standing {
    /// Reads a Release.
    #[must_use]
    pub fn of(release: &Release) -> Self {
        let status = release.status.clone().unwrap_or_default();
        let wanted = release.spec.revision();
        let is_well = |type_: &str| status.conditions.iter().any(|one| one.type_ == type_ && one.status == "True");
        let active = status.record.active.filter(|active| active.revision == wanted);
        let settled = status.record.step == Step::Idle && is_well("Ready");
        Self {
            uid: release.uid().unwrap_or_default(),
            since: active.as_ref().map_or(Timestamp::MAX, |active| active.since.0),
            contract: status.record.contract.map(|contract| (contract.state, contract.since.0)),
            version: active.filter(|_| settled).map(|active| active.version),
            artefacts: artefacts(&release.spec),
        }
    }
}

/// Returns what a Release runs in its workloads and as its migration: the digests of their images, which are the same
/// in every registry, and where an image has none, its name.
#[must_use]
pub fn artefacts(spec: &ReleaseSpec) -> BTreeSet<String> {
    let workloads = spec.workloads.iter().map(|workload| &workload.template);
    let images = workloads.chain(spec.migration_pod()).flat_map(PodTemplate::images);
    images.map(|(_, image)| image.rsplit_once('@').map_or(image, |(_, digest)| digest).to_owned()).collect()
}

/// Returns the Releases, by namespace and name, that policies promote one of this namespace and name from, and those
/// that they count among what is under way.
#[must_use]
pub fn wanted((namespace, name): (&str, &str), policies: &[PolicySeen]) -> BTreeSet<(String, String)> {
    let promotions = policies.iter().filter_map(|policy| policy.spec.as_ref()?.promotion.as_ref());
    let sources = promotions.flat_map(|promotion| &promotion.from);
    let or = |named: &Option<String>, other: &str| named.clone().unwrap_or_else(|| other.to_owned());
    let promoted = sources.map(|source| (or(&source.namespace, namespace), or(&source.release, name)));
    let running = policies.iter().flat_map(|policy| &policy.running).filter(|running| running.name != name);
    promoted.chain(running.map(|running| (namespace.to_owned(), running.name.clone()))).collect()
}
