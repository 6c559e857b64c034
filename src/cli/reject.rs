//! `kubectl switchback reject`: the plan that waits shall not run.

use super::{
    approve::waiting,
    connection::Cluster,
    decide::{self, Args, Proposal},
    problem::{Exit, Problem},
    style::Style,
};
use crate::api::{DecisionKind, Empty, Release};

/// Runs the command.
///
/// # Errors
/// When no plan waits, or the Decision cannot be written.
pub async fn run(cluster: &Cluster, args: &Args) -> Result<Exit, Problem> {
    let style = Style::of_stdout();
    decide::run(cluster, args, |release| propose(release, style)).await
}

fn propose(release: &Release, style: Style) -> Result<Proposal, Problem> {
    let view = waiting(release, "reject")?;
    let text = format!(
        "The plan for {} of Release {} in namespace {} ends without having begun. It is not made again by itself: \
         push another revision.",
        view.version, view.name, view.namespace
    );
    Ok(Proposal {
        decision: DecisionKind::Reject(Empty {}),
        text: format!("{}\n", style.hang(&format!("{} ", style.bold("Rejects")), &text)),
        question: format!("Reject {}?", view.version),
        shown: format!("plan {}", view.plan.digest),
    })
}
