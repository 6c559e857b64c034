//! Promotion: where the same must have served before, and for how long; pure.

use jiff::Timestamp;

use super::super::observed::{Observed, SourceSeen, Standing, artefacts};
use crate::api::{ContractProgress, Promotion, PromotionSource};

/// What is still missing of what policies ask for.
pub(super) enum Missing {
    /// It does not serve there, for this reason.
    Elsewhere(String),
    /// It serves there, but not for long enough yet.
    Soak { until: Timestamp, message: String },
}

impl Missing {
    /// Returns it in words, and when to look again where only time is missing.
    pub(super) fn told(self) -> (String, Option<Timestamp>) {
        match self {
            Self::Elsewhere(message) => (message, None),
            Self::Soak { until, message } => (message, Some(until)),
        }
    }
}

/// Returns what is missing for a release; where only time is, the last end of it.
pub(super) fn look(seen: &Observed) -> Option<Missing> {
    let hastens =
        format!(". Somebody who holds the verb `expedite` need not wait: {}", seen.release.command("expedite"));
    missing(seen, &hastens, serves)
}

/// Returns the same for a Contract migration, which has to have run there as well. Nothing hastens it.
pub(super) fn look_for_contract(seen: &Observed) -> Option<Missing> {
    missing(seen, ".", has_contracted)
}

type Since = fn(&Observed, &Promotion, Option<&Standing>) -> Result<Timestamp, String>;

fn missing(seen: &Observed, hastens: &str, is_there: Since) -> Option<Missing> {
    let mut soak: Option<(Timestamp, String)> = None;
    let policies = seen.policies.iter().filter_map(|policy| Some((&policy.name, policy.spec.as_ref()?)));
    for (name, promotion) in policies.filter_map(|(name, spec)| Some((name, spec.promotion.as_ref()?))) {
        for source in &promotion.from {
            let (place, standing) = find(seen, source);
            let since = match is_there(seen, promotion, standing) {
                Ok(since) => since,
                Err(why) => {
                    let message = format!(
                        "ReleasePolicy {name} promotes from Release {place}, {why}. Next: release it there; or an admin of \
                         ReleasePolicies takes that out of {name}."
                    );
                    return Some(Missing::Elsewhere(message));
                }
            };
            let until = since.saturating_add(promotion.soak.as_signed()).unwrap_or(Timestamp::MAX);
            if until > seen.now && soak.as_ref().is_none_or(|(latest, _)| until > *latest) {
                let message = format!(
                    "ReleasePolicy {name} promotes what has served as Release {place} for {}, which is so at {}; what is \
                     approved by then begins by itself{hastens}",
                    promotion.soak,
                    until.strftime("%a %F %H:%M:%S UTC"),
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

/// Returns since when the same serves there on the schema that its Contract migration has made. One that runs the same
/// without any has done it otherwise, or has no database.
fn has_contracted(seen: &Observed, promotion: &Promotion, standing: Option<&Standing>) -> Result<Timestamp, String> {
    let since = serves(seen, promotion, standing)?;
    match standing.and_then(|standing| standing.contract) {
        None => Ok(since),
        Some((ContractProgress::Applied, at)) => Ok(since.max(at)),
        Some((state, _)) => {
            let state: &str = state.into();
            Err(format!("where the Contract migration has not run ({state})"))
        }
    }
}

fn find<'a>(seen: &'a Observed, source: &PromotionSource) -> (String, Option<&'a Standing>) {
    let namespace = source.namespace.as_ref().unwrap_or(&seen.release.namespace);
    let release = source.release.as_ref().unwrap_or(&seen.release.name);
    let is = |found: &&SourceSeen| found.namespace == *namespace && found.release == *release;
    (format!("{namespace}/{release}"), seen.sources.iter().find(is).and_then(|found| found.standing.as_ref()))
}
