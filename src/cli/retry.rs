//! `kubectl switchback retry`: what failed shall be tried once more.

use super::{
    decide::{Proposal, refuse},
    problem::Problem,
    style::Style,
};
use crate::api::{ContractProgress, DecisionKind, Empty, Mode, Release};

/// Says what the decision would do to a Release as it is.
///
/// # Errors
/// Why it would do nothing.
pub fn propose(release: &Release, style: Style) -> Result<Proposal, Problem> {
    let record = release.status.as_ref().map(|status| &status.record);
    let failure = record.and_then(|record| record.failure.as_ref());
    let rejected = record.and_then(|record| record.contract.as_ref());
    let rejected = rejected.filter(|contract| contract.state == ContractProgress::Rejected && failure.is_none());
    if let Some(contract) = rejected {
        let text = format!(
            "The Contract migration of {}, which was rejected, waits again for an approval of its own.",
            contract.version
        );
        let question = format!("Let the Contract migration of {} wait again?", contract.version);
        return Ok(Proposal::new((DecisionKind::Retry(Empty {}), "Tries again"), text, question, style)
            .about(format!("the rejected Contract migration of {}", contract.revision)));
    }
    let Some(failure) = failure.filter(|_| record.is_some_and(|record| record.candidate.is_none())) else {
        return Err(refuse(release, "retry", "nothing that failed waits to be tried again"));
    };
    let version = &release.spec.version;
    let then = match release.spec.mode {
        None | Some(Mode::Manual) => {
            "Its plan is made anew and waits for an approval of its own, unless a policy lets it begin by itself."
        }
        Some(Mode::Automatic) => "Its plan is made anew and runs by itself, unless a policy forbids it.",
    };
    let text = format!("{version}, which ended so: {} {then}", failure.message);
    Ok(Proposal::new((DecisionKind::Retry(Empty {}), "Tries again"), text, format!("Try {version} again?"), style)
        .about(format!("the failed attempt for {}", failure.revision)))
}
