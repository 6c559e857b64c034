//! `kubectl switchback expedite`: the plan that waits shall not wait for what only time meets: a freeze, a soak, and the
//! rehearsal of its migration.

use super::{approve::waiting, decide::Proposal, problem::Problem, style::Style};
use crate::api::{DecisionKind, Empty, Gate, Release, Step};

/// Says what the decision would do to a Release as it is.
///
/// # Errors
/// Why it would do nothing.
pub fn propose(release: &Release, style: Style) -> Result<Proposal, Problem> {
    let view = waiting(release, "expedite", Gate::Release)?;
    let rehearses = view.plan.steps.iter().any(|planned| planned.step == Step::Rehearse);
    let rehearsal = if rehearses { " Its migration runs without having been rehearsed." } else { "" };
    let text = format!(
        "{} of Release {}: no freeze holds it up, and no time that it should have served elsewhere before.{rehearsal} \
         Its approvals, its backup and its checks are needed all the same.",
        view.version, view.name
    );
    let about = format!("plan {}", view.plan.digest);
    let question = format!("Expedite {}?", view.version);
    Ok(Proposal::new((DecisionKind::Expedite(Empty {}), "Expedites"), text, question, style).about(about))
}
