//! Needed: ConfigMaps that pods read and that the release does not bring must be there before anybody is asked; pure.
//!
//! They are asked for by their names, without their contents. Secrets are not ours to look at: the plan names them.

use std::collections::BTreeSet;

use super::{
    super::{
        manifests::{self, Kind},
        observed::{Answer, Ask, Observed},
    },
    inspect::Inspection,
};
use crate::api::{Reason, ReleaseSpec};

/// How many are asked for: each is a request.
const MOST: usize = 32;

/// Asks for each, or concludes from the answers.
pub(super) fn look(seen: &Observed, spec: &ReleaseSpec) -> Inspection {
    let own = |name: &str| spec.config.iter().any(|config| config.name == name);
    let needed: BTreeSet<&str> =
        spec.templates().flat_map(manifests::required_config_maps_of).filter(|name| !own(name)).collect();
    let ask = |name: &str| Ask::LiveObject(Kind::ConfigMap, name.to_owned());
    let asks: Vec<Ask> = needed.iter().take(MOST).map(|name| ask(name)).collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Inspection::Asking(asks);
    }
    let missing: Vec<&str> =
        needed.into_iter().filter(|name| matches!(seen.answer(&ask(name)), Some(Answer::Object(None)))).collect();
    if missing.is_empty() {
        return Inspection::Fine;
    }
    let (names, namespace, retry) = (missing.join(", "), &seen.release.namespace, seen.release.command("retry"));
    let message = format!(
        "Pods of this release need ConfigMap {names}, which namespace {namespace} does not have: they would not start. Nothing \
         was changed. Make it, or say `optional: true` where it is named; then: {retry}."
    );
    Inspection::Refused(Reason::ConfigMapNotFound, message)
}
