//! Config: the ConfigMaps that belong to a revision are made before its pods and go after them; pure.
//!
//! Nobody watches ConfigMaps: a watch would show everybody's. They are made by name before anything needs them, and
//! looked at one by one where it has to be known whether they are there.

use super::{
    super::{
        manifests::{self, Kind},
        observed::{Answer, Ask, AttemptSeen, Observed},
    },
    Action, Plan,
};
use crate::api::{ConfigFiles, ReleaseSpec, RevisionId};

/// Makes every ConfigMap of a content, or finds it there.
pub(super) fn make(seen: &Observed, content: &ReleaseSpec, owner: Option<&AttemptSeen>) -> Vec<Action> {
    let made = content.config.iter().map(|config| manifests::config_map(&seen.release, (content, config), owner));
    made.map(|manifest| Action::Create(Box::new(manifest))).collect()
}

/// Makes every ConfigMap of a content before the first of these, whose pod may read them.
pub(super) fn before(
    seen: &Observed,
    (content, owner): (&ReleaseSpec, Option<&AttemptSeen>),
    actions: Vec<Action>,
) -> Vec<Action> {
    let made = if actions.is_empty() { vec![] } else { make(seen, content, owner) };
    made.into_iter().chain(actions).collect()
}

/// Returns what must be asked of the config that the spec brings: what has its names, and whether what is missing would
/// be taken.
pub(super) fn inspect(seen: &Observed, spec: &ReleaseSpec) -> Vec<Ask> {
    let asks = spec.config.iter().flat_map(|config| {
        let ask = live(seen, &config.name, &seen.release.wanted);
        let missing = matches!(seen.answer(&ask), Some(Answer::Object(None)));
        let manifest = missing.then(|| manifests::config_map(&seen.release, (spec, config), None));
        [ask].into_iter().chain(manifest.map(|manifest| Ask::DryRun(Box::new(manifest))))
    });
    asks.collect()
}

/// Returns the config of the spec whose name in the revision somebody else has.
pub(super) fn taken(seen: &Observed, spec: &ReleaseSpec) -> Option<manifests::Manifest> {
    let is_taken = |config: &&ConfigFiles| {
        let answer = seen.answer(&live(seen, &config.name, &seen.release.wanted));
        matches!(answer, Some(Answer::Object(Some(found))) if !found.ours)
    };
    let taken = spec.config.iter().find(is_taken)?;
    Some(manifests::config_map(&seen.release, (spec, taken), None))
}

/// Makes ConfigMaps again that somebody deleted: a pod that is not ready may lack one.
pub(super) fn restore(seen: &Observed, (content, attempt): (&ReleaseSpec, i64), plan: &mut Plan) {
    if content.config.is_empty() || !seen.has_unready_pods(&content.revision()) {
        return;
    }
    for config in &content.config {
        let ask = live(seen, &config.name, &content.revision());
        if matches!(seen.answer(&ask), Some(Answer::Object(None))) {
            let manifest = manifests::config_map(&seen.release, (content, config), seen.attempt(attempt));
            plan.upkeep.push(Action::Create(Box::new(manifest)));
        }
        plan.asks.push(ask);
    }
}

fn live(seen: &Observed, config: &str, revision: &RevisionId) -> Ask {
    Ask::LiveObject(Kind::ConfigMap, manifests::config_name(&seen.release, config, revision.digits()))
}
