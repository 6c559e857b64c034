//! `kubectl switchback abort`: the attempt that runs shall stop, and traffic goes back when it had moved.

use super::{
    decide::{Proposal, record_of, refuse},
    problem::Problem,
    style::Style,
    view::Summary,
};
use crate::{
    api::{DecisionKind, Empty, Record, Release, Step},
    clock,
};

/// Says what the decision would do to a Release as it is.
///
/// # Errors
/// Why it would do nothing.
pub fn propose(release: &Release, style: Style) -> Result<Proposal, Problem> {
    let summary = Summary::of(release, clock::now());
    let record = record_of(release);
    let (name, namespace) = (&summary.name, &summary.namespace);
    let effect = effect(&record).map_err(|why| refuse(release, "abort", &why))?;
    let version = record.candidate.map_or(summary.version, |candidate| candidate.version);
    let text = format!("{version} of Release {name} in namespace {namespace}, in step {}. {effect}", summary.step.name);
    let about = format!("the attempt for {version}");
    Ok(Proposal::new((DecisionKind::Abort(Empty {}), "Aborts"), text, format!("Abort {version}?"), style).about(about))
}

/// Says what an abort would do now, or why it would do nothing.
fn effect(record: &Record) -> Result<String, String> {
    let active = record.active.as_ref().map(|active| active.version.as_str());
    match (record.step, active) {
        (Step::Inspect | Step::Approve, _) => Ok("Nothing has happened yet.".to_owned()),
        (Step::Preflight | Step::Backup | Step::Rehearse | Step::Deploy | Step::Verify, Some(active)) => {
            Ok(format!("What was made for it is removed; {active} serves on, untouched."))
        }
        (Step::Preflight | Step::Backup | Step::Rehearse | Step::Deploy | Step::Verify, None) => {
            Ok("What was made for it is removed; nothing serves yet.".to_owned())
        }
        (Step::Migrate, _) => {
            Ok("A migration that runs is let end, or its schema would be half changed; then the attempt ends."
                .to_owned())
        }
        (Step::Switch | Step::Watch, Some(active)) => {
            Ok(format!("Traffic goes back to {active}, then what was made for it is removed."))
        }
        (Step::Switch | Step::Watch, None) => {
            Err("this is the first release and serves already: there is no earlier version to go back to".to_owned())
        }
        (Step::Idle, _) => Err("nothing is under way".to_owned()),
        (Step::Contract, active) => Ok(format!(
            "Nothing was migrated. {} serves on, and its Contract migration waits for another approval.",
            active.unwrap_or("What serves")
        )),
        (Step::Retire, _) => Err("the former version drains already: there is nothing to go back to".to_owned()),
        (Step::SwitchBack | Step::RestoreData | Step::CleanUp, _) => Err("it is on its way back already".to_owned()),
    }
}
