//! `kubectl switchback approve`: the plan that waits may run.

use clap::Args as ClapArgs;

use super::{
    connection::Cluster,
    decide::{self, Proposal},
    gate::GateArg,
    plan::lines,
    problem::{Exit, Problem},
    style::Style,
    view::{PlanView, Standing, Summary},
};
use crate::{
    api::{Approval, DecisionKind, Gate, Release},
    clock,
    release::plan_text::{self, Line},
};

/// Approves the plan that waits, as it is shown.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: decide::Args,
    /// Which of the plans that may wait
    #[arg(long, value_name = "GATE", default_value = "release")]
    gate: GateArg,
    /// Digest of the plan that is meant; any other is not approved
    #[arg(long, value_name = "sha256:...")]
    digest: Option<String>,
    /// The sentence that a ReleasePolicy asks for, word for word
    #[arg(long, value_name = "TEXT")]
    statement: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When no plan waits, another digest is asked for, or the Decision cannot be written.
pub async fn run(cluster: &Cluster, args: &Args) -> Result<Exit, Problem> {
    let common = decide::Args { statement: args.statement.clone(), ..args.common.clone() };
    decide::run(cluster, &common, |release, style| propose(release, (args.gate.into(), args.digest.as_deref()), style))
        .await
}

/// Says what the decision would do to a Release as it is.
///
/// # Errors
/// Why it would do nothing.
pub fn propose(release: &Release, (gate, digest): (Gate, Option<&str>), style: Style) -> Result<Proposal, Problem> {
    let view = waiting(release, "approve", gate)?;
    let found = view.plan.digest.clone();
    if let Some(asked) = digest.filter(|asked| *asked != found) {
        let what = format!("cannot approve Release {}/{}", view.namespace, view.name);
        return Err(Problem::new(Exit::Failed, what, format!("the plan that waits is {found}, not {asked}"))
            .next(format!("kubectl switchback plan {}{} -n {}", view.name, view.option(), view.namespace)));
    }
    let mut short = plan_text::short(&view.plan);
    short.push(Line { step: None, head: "Digest".to_owned(), text: found.clone() });
    let short = lines(&short, None, style);
    let (what, question) = match gate {
        Gate::Release => (view.version.clone(), format!("Release {} now?", view.version)),
        Gate::Contract => (
            format!("the Contract migration of {}", view.version),
            format!("Run the Contract migration of {} now?", view.version),
        ),
        Gate::DataLoss => (
            format!("the way back of the data from {}", view.version),
            "Restore the backup and lose what was written since?".to_owned(),
        ),
    };
    let head = format!("{what} of Release {} in namespace {}", view.name, view.namespace);
    Ok(Proposal {
        text: format!("{} {head}\n{short}\n", style.bold("Approves")),
        question,
        shown: format!("plan {found}"),
        statements: view.plan.statements.clone(),
        decision: DecisionKind::Approve(Approval { digest: found, gate }),
    })
}

/// Returns the plan that waits for a word, or says why none does.
///
/// # Errors
/// When no plan waits.
pub(super) fn waiting(release: &Release, verb: &str, gate: Gate) -> Result<PlanView, Problem> {
    let summary = Summary::of(release, clock::now());
    let (name, namespace) = (&summary.name, &summary.namespace);
    let cannot = |why: String| {
        Problem::new(Exit::Failed, format!("cannot {verb} Release {namespace}/{name}"), why)
            .next(format!("kubectl switchback get {name} -n {namespace}"))
    };
    let status = release.status.clone().unwrap_or_default();
    if status.observed_generation < release.metadata.generation.unwrap_or(0) {
        return Err(cannot("the controller has not looked at the present spec yet; its plan is still to come".into()));
    }
    if gate == Gate::Contract {
        return PlanView::of_contract(release).ok_or_else(|| cannot(no_contract(release)));
    }
    if gate == Gate::DataLoss {
        return PlanView::of_data_loss(release).ok_or_else(|| cannot("no way back of the data waits".into()));
    }
    match PlanView::of(release) {
        Some(view) if view.standing == Standing::Waiting => Ok(view),
        None if PlanView::of_contract(release).is_some() => {
            Err(cannot("no plan of a release waits; a Contract migration does, which is another gate: contract".into()))
        }
        Some(view) => Err(cannot(format!(
            "no plan waits: that of {} runs already, its step is {}",
            view.version, summary.step.name
        ))),
        None => Err(cannot(format!("no plan waits: the step is {}, {}", summary.step.name, summary.reason))),
    }
}

/// Says why no Contract migration waits.
fn no_contract(release: &Release) -> String {
    let contract = release.status.as_ref().and_then(|status| status.record.contract.as_ref());
    contract.map_or_else(
        || "no Contract migration waits".to_owned(),
        |contract| {
            let state: &str = contract.state.into();
            format!("no Contract migration waits: that of {} is {}", contract.version, state.to_lowercase())
        },
    )
}
