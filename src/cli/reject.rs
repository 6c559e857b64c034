//! `kubectl switchback reject`: the plan that waits shall not run.

use clap::Args as ClapArgs;

use super::{
    approve::waiting,
    connection::Cluster,
    decide::{self, Proposal},
    gate::GateArg,
    problem::{Exit, Problem},
    style::Style,
};
use crate::api::{DecisionKind, Gate, Rejection, Release};

/// Rejects the plan that waits.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: decide::Args,
    /// Which of the plans that may wait
    #[arg(long, value_name = "GATE", default_value = "release")]
    gate: GateArg,
}

/// Runs the command.
///
/// # Errors
/// When no plan waits, or the Decision cannot be written.
pub async fn run(cluster: &Cluster, args: &Args) -> Result<Exit, Problem> {
    decide::run(cluster, &args.common, |release, style| propose(release, args.gate.into(), style)).await
}

/// Says what the decision would do to a Release as it is.
///
/// # Errors
/// Why it would do nothing.
pub fn propose(release: &Release, gate: Gate, style: Style) -> Result<Proposal, Problem> {
    let view = waiting(release, "reject", gate)?;
    let (version, subject) = (&view.version, format!("Release {} in namespace {}", view.name, view.namespace));
    let (text, question) = match gate {
        Gate::Release => (
            format!(
                "The plan for {version} of {subject} ends without having begun. It is not made again by itself: push \
                 another revision, or retry."
            ),
            format!("Reject {version}?"),
        ),
        Gate::Contract => (
            format!(
                "the Contract migration of {version} of {subject} is dropped: {version} serves on, on the schema as it \
                 is. It waits again after a retry, or with the next revision that has one."
            ),
            format!("Reject the Contract migration of {version}?"),
        ),
        Gate::DataLoss => (
            format!(
                "the way back of the data of {subject} ends here: data and schema stay as they are, and so does what serves."
            ),
            "Keep the data as they are?".to_owned(),
        ),
    };
    let about = format!("plan {}", view.plan.digest);
    let decision = DecisionKind::Reject(Rejection { gate });
    Ok(Proposal::new((decision, "Rejects"), text, question, style).about(about))
}
