//! Promotion: where the same must have served before, and for how long; pure.

use jiff::Timestamp;

use super::super::observed::{Observed, SourceSeen, Standing, artefacts};
use crate::api::{Promotion, PromotionSource};

/// What is still missing of what policies ask for.
pub(super) enum Missing {
    /// It does not serve there, for this reason.
    Elsewhere(String),
    /// It serves there, but not for long enough yet.
    Soak { until: Timestamp, message: String },
}

/// Returns what is missing; where only time is, the last end of it.
pub(super) fn look(seen: &Observed) -> Option<Missing> {
    let mut soak: Option<(Timestamp, String)> = None;
    let policies = seen.policies.iter().filter_map(|policy| Some((&policy.name, policy.spec.as_ref()?)));
    for (name, promotion) in policies.filter_map(|(name, spec)| Some((name, spec.promotion.as_ref()?))) {
        for source in &promotion.from {
            let (place, standing) = find(seen, source);
            let since = match serves(seen, promotion, standing) {
                Ok(since) => since,
                Err(why) => {
                    let message = format!("ReleasePolicy {name} promotes from Release {place}, {why}.");
                    return Some(Missing::Elsewhere(message));
                }
            };
            let until = since.saturating_add(promotion.soak.as_signed()).unwrap_or(Timestamp::MAX);
            if until > seen.now && soak.as_ref().is_none_or(|(latest, _)| until > *latest) {
                let message = format!(
                    "ReleasePolicy {name} promotes what has served as Release {place} for {}, which is so at {}; what is \
                     approved by then begins by itself. Somebody who holds the verb `expedite` need not wait: kubectl \
                     switchback expedite {}",
                    promotion.soak,
                    until.strftime("%a %F %H:%M:%S UTC"),
                    seen.release.name
                );
                soak = Some((until, message));
            }
        }
    }
    soak.map(|(until, message)| Missing::Soak { until, message })
}

/// Returns since when the same serves there, or why it does not.
fn serves(seen: &Observed, promotion: &Promotion, standing: Option<&Standing>) -> Result<Timestamp, String> {
    let Some(standing) = standing else {
        return Err("and there is none in a namespace that this operator serves".to_owned());
    };
    let Some(version) = &standing.version else {
        return Err("where no version serves and is well now".to_owned());
    };
    let spec = &seen.release.spec;
    let other: Vec<String> = artefacts(spec).difference(&standing.artefacts).cloned().collect();
    if promotion.same_images && !other.is_empty() {
        return Err(format!("where {version} serves, and {} does not run", other.join(" and ")));
    }
    if !promotion.same_images && *version != spec.version {
        return Err(format!("where {version} serves and {} does not", spec.version));
    }
    Ok(standing.since)
}

fn find<'a>(seen: &'a Observed, source: &PromotionSource) -> (String, Option<&'a Standing>) {
    let namespace = source.namespace.as_ref().unwrap_or(&seen.release.namespace);
    let release = source.release.as_ref().unwrap_or(&seen.release.name);
    let is = |found: &&SourceSeen| found.namespace == *namespace && found.release == *release;
    (format!("{namespace}/{release}"), seen.sources.iter().find(is).and_then(|found| found.standing.as_ref()))
}
