//! ReleasePolicy: guard rails and defaults for the Releases of a namespace.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, JobSettings, Mode, ProofLevel, names};

/// What holds for the Releases of a namespace, whatever they say. Of several policies that match a Release all hold
/// together: the strictest value wins.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchback.dev",
    version = "v1alpha1",
    kind = "ReleasePolicy",
    plural = "releasepolicies",
    category = "switchback",
    shortname = "relpol",
    namespaced,
    status = "ReleasePolicyStatus",
    doc = "Guard rails and defaults for the Releases of its namespace. Of several policies that match a Release all hold together, and the strictest value wins.",
    printcolumn(name = "Automatic", type_ = "string", json_path = ".spec.automatic"),
    printcolumn(name = "Default", type_ = "string", json_path = ".spec.defaultMode"),
    printcolumn(name = "Approvals", type_ = "integer", json_path = ".spec.approval.required"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.defaultMode) || self.defaultMode != 'Automatic' || (has(self.automatic) && self.automatic == 'Allowed')",
    "defaultMode Automatic takes automatic: Allowed"
))]
pub struct ReleasePolicySpec {
    /// Which Releases (default: all of the namespace).
    #[serde(default, skip_serializing_if = "PolicySelector::is_everything")]
    pub selector: PolicySelector,
    /// Mode of Releases that say none (default: Manual).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_mode: Option<Mode>,
    /// Whether a Release may start by itself (default: Forbidden). Where it is forbidden, `mode: Automatic` waits for
    /// approvals like any other.
    #[serde(default)]
    pub automatic: Automatic,
    /// Whether the first release of an application waits for approvals (default: as its mode says). A new cluster need
    /// not wait for hundreds of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_release: Option<Mode>,
    /// What an approval takes.
    #[serde(default)]
    pub approval: ApprovalRules,
    /// When no release begins. Going back is never frozen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub freeze: Vec<Freeze>,
    /// Where the same must have served before (default: nowhere).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// What images must be.
    #[serde(default)]
    pub images: ImageRules,
    /// Whether versions must be semantic versions, as in semver.org 2.0.0 (default: false).
    #[serde(default)]
    pub semver: bool,
    /// What must be known of the database.
    #[serde(default)]
    pub database: DatabaseRules,
    /// Of how many Releases at once something may be under way (default: 0, no limit). Those that wait hold no place, and
    /// going back takes none.
    #[serde(default)]
    #[schemars(range(min = 0, max = 64))]
    pub concurrency: u8,
    /// What the pods of the Releases' Jobs get where a Release says nothing. Of several policies the first by name that
    /// says something is taken.
    #[serde(default, skip_serializing_if = "JobSettings::is_default")]
    pub jobs: JobSettings,
}

/// What is observed of a ReleasePolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleasePolicyStatus {
    /// The Releases of which something is under way, where `concurrency` limits them.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub running: Vec<RunningRelease>,
}

/// A Release of which something is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunningRelease {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Since when.
    pub since: MicroTime,
}

/// Which Releases a policy is for: those with all of the labels, or those with one of the names.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.matchLabels) || !has(self.names)", "name labels or names, not both"))]
pub struct PolicySelector {
    /// Labels that a Release must have, all of them. Changing a Release's labels takes the verb `relabel`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Names of Releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253), regex(pattern = names::OBJECT)))]
    pub names: Vec<String>,
}

fn labels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63 }
    })
}

impl PolicySelector {
    /// Returns whether nothing narrows it down.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.match_labels.is_empty() && self.names.is_empty()
    }

    /// Returns whether a Release with this name and these labels is meant.
    #[must_use]
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let labelled = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        labelled && (self.names.is_empty() || self.names.iter().any(|named| named == name))
    }
}

/// Whether a Release may start by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Automatic {
    /// With the right to let it.
    Allowed,
    /// Never.
    #[default]
    Forbidden,
}

/// What an approval takes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.expires) || duration(self.expires) >= duration('1m')", "expires is shorter than a minute"))]
pub struct ApprovalRules {
    /// How many people must approve (default: 1).
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 8), default = "one")]
    pub required: u8,
    /// How many people must approve a Contract migration, which waits for approvals of its own and never runs without
    /// (default: as many as `required` says).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8))]
    pub contract_required: Option<u8>,
    /// Whether nobody's approval of their own change counts (default: false). Everybody who changed the spec since what
    /// serves was asked for is an author. Takes an API server that stamps who did (MutatingAdmissionPolicy).
    #[serde(default)]
    pub not_author: bool,
    /// How long an approval, and what else lets a release begin, counts after it was made (default: 24h).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Duration>,
    /// Sentences one of which must stand in `statement` of each approval (default: none is asked for).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 256), regex(pattern = names::SENTENCE)))]
    pub statements: Vec<String>,
}

const fn one() -> u8 {
    1
}

impl Default for ApprovalRules {
    fn default() -> Self {
        Self { required: one(), contract_required: None, not_author: false, expires: None, statements: vec![] }
    }
}

/// A time in which no release begins, again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Freeze {
    /// When it begins: minute, hour, day of month, month, day of week.
    #[schemars(length(max = 128), regex(pattern = r"^[-0-9A-Za-z*/,#]+( +[-0-9A-Za-z*/,#]+){4}$"))]
    pub schedule: String,
    /// How long it lasts.
    #[serde(rename = "for")]
    pub lasts: Duration,
    /// Time zone of the schedule, by its name in the IANA database (default: UTC).
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z][-+_/A-Za-z0-9]*$"), default = "utc")]
    pub timezone: String,
    /// Why, for whoever waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Where the same must have served before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Promotion {
    /// The Releases that must serve it, all of them.
    #[schemars(length(min = 1, max = 8))]
    pub from: Vec<PromotionSource>,
    /// How long they must have served it, after their own watch windows (default: 0s).
    #[serde(default = "no_time")]
    #[schemars(default = "no_time")]
    pub soak: Duration,
    /// Whether it must be the same images, of workloads and of a migration's own pod (default: true); otherwise the same
    /// version text is enough.
    #[serde(default = "yes")]
    #[schemars(default = "yes")]
    pub same_images: bool,
}

/// A Release that a version is promoted from. The operator must serve its namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.namespace) || has(self.release)", "name the namespace or the release: it is another one"))]
pub struct PromotionSource {
    /// Its namespace (default: this one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Its name (default: that of the Release that is promoted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub release: Option<String>,
}

const fn no_time() -> Duration {
    Duration::from_millis(0)
}

const fn yes() -> bool {
    true
}

/// What images must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageRules {
    /// Whether every image must be named by its digest, which nobody can move after an approval (default: false).
    #[serde(default)]
    pub digest_required: bool,
}

/// What must be known of the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseRules {
    /// How far the backup of a release must be proven, at least (default: as the Release says).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofLevel>,
    /// Whether production's address may answer from the pod in which a migration is rehearsed (default: Allowed). Forbidden: a
    /// rehearsal that finds it answering has failed, and nothing is migrated.
    #[serde(default, skip_serializing_if = "RehearsalReach::is_allowed")]
    pub rehearsal_reaches_production: RehearsalReach,
}

/// Whether production may be reached from where a migration is rehearsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RehearsalReach {
    /// It is told: in status, and as a risk of the next plan.
    #[default]
    Allowed,
    /// It fails the rehearsal.
    Forbidden,
}

impl RehearsalReach {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
    fn is_allowed(&self) -> bool {
        *self == Self::Allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_policy_is_for_all_or_for_those_with_all_labels_or_one_of_the_names() {
        let critical = labels(&[("tier", "critical"), ("team", "shop")]);
        let all = PolicySelector::default();
        assert!(all.is_everything() && all.matches("shop", &BTreeMap::new()));
        let labelled = PolicySelector { match_labels: critical.clone(), names: vec![] };
        assert!(labelled.matches("shop", &critical));
        assert!(!labelled.matches("shop", &labels(&[("tier", "critical")])));
        assert!(!labelled.matches("shop", &labels(&[("tier", "critical"), ("team", "search")])));
        let named =
            PolicySelector { match_labels: BTreeMap::new(), names: vec!["shop".to_owned(), "search".to_owned()] };
        assert!(named.matches("search", &BTreeMap::new()) && !named.matches("shop-2", &critical));
    }
}
