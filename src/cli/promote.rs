//! `kubectl switchback promote`: the watch window shall end now.

use super::{
    decide::{Proposal, record_of, refuse},
    problem::Problem,
    style::Style,
};
use crate::api::{DecisionKind, Empty, Release, Step};

/// Says what the decision would do to a Release as it is.
///
/// # Errors
/// Why it would do nothing.
pub fn propose(release: &Release, style: Style) -> Result<Proposal, Problem> {
    let record = record_of(release);
    let Some(candidate) = record.candidate.as_ref().filter(|_| record.step == Step::Watch) else {
        let why = format!("no watch window runs: the step is {}", record.step.as_str());
        return Err(refuse(release, "promote", &why));
    };
    let version = &candidate.version;
    let after = record.active.as_ref().map_or_else(String::new, |active| {
        format!(" {} is scaled to zero: from then on traffic does not go back by itself.", active.version)
    });
    let text = format!("{version}: its watch window ends as soon as all pods that are needed are ready.{after}");
    let about = format!("the window of {version}");
    let decision = DecisionKind::Promote(Empty {});
    Ok(Proposal::new((decision, "Promotes"), text, format!("Promote {version}?"), style).about(about))
}
