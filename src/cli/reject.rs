//! `kubectl switchback reject`: the plan that waits shall not run.

use super::{approve::waiting, decide::Proposal, problem::Problem, style::Style};
use crate::api::{DecisionKind, Empty, Release};

/// Says what the decision would do to a Release as it is.
///
/// # Errors
/// Why it would do nothing.
pub fn propose(release: &Release, style: Style) -> Result<Proposal, Problem> {
    let view = waiting(release, "reject")?;
    let text = format!(
        "The plan for {} of Release {} in namespace {} ends without having begun. It is not made again by itself: \
         push another revision, or retry.",
        view.version, view.name, view.namespace
    );
    let about = format!("plan {}", view.plan.digest);
    let question = format!("Reject {}?", view.version);
    Ok(Proposal::new((DecisionKind::Reject(Empty {}), "Rejects"), text, question, style).about(about))
}
