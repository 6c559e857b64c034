//! `kubectl switchback suspend` and `resume`: nothing goes on but what goes back, until it is resumed.

use super::{
    decide::{Proposal, record_of, refuse},
    problem::Problem,
    style::Style,
};
use crate::api::{DecisionKind, Empty, Release, Step};

/// Says what `suspend` would do to a Release as it is.
///
/// # Errors
/// Why it would do nothing.
pub fn suspend(release: &Release, style: Style) -> Result<Proposal, Problem> {
    let record = record_of(release);
    if let Some(by) = &record.suspended {
        return Err(refuse(
            release,
            "suspend",
            &format!("{} suspended it already, by Decision {}", by.actor, by.decision),
        ));
    }
    let what = match &record.candidate {
        Some(candidate) if matches!(record.step, Step::Switch | Step::Watch) => {
            format!("{} goes on being watched, and its window does not end.", candidate.version)
        }
        Some(candidate) => format!(
            "{} stops before the step after {}; what that step has begun is completed.",
            candidate.version,
            record.step.as_str()
        ),
        None => "Nothing is under way; what is asked for next does not begin.".to_owned(),
    };
    let text = format!("{what} What serves is kept, and going back is never suspended.");
    let question = format!("Suspend {}?", release.metadata.name.as_deref().unwrap_or_default());
    let decision = DecisionKind::Suspend(Empty {});
    // Wherever it stands meanwhile, it stops before the next step.
    Ok(Proposal::new((decision, "Suspends"), text, question, style).about("the Release as it goes on".to_owned()))
}

/// Says what `resume` would do to a Release as it is.
///
/// # Errors
/// Why it would do nothing.
pub fn resume(release: &Release, style: Style) -> Result<Proposal, Problem> {
    let record = record_of(release);
    let Some(by) = &record.suspended else {
        let spec = if release.spec.suspend { ", but spec.suspend is true: set it to false" } else { "" };
        return Err(refuse(release, "resume", &format!("no Decision suspends it{spec}")));
    };
    let left = if release.spec.suspend { " The spec suspends it, too, and goes on doing so." } else { "" };
    let text = format!("Decision {} by {} holds no longer.{left}", by.decision, by.actor);
    let question = format!("Resume {}?", release.metadata.name.as_deref().unwrap_or_default());
    let about = format!("Decision {}", by.decision);
    Ok(Proposal::new((DecisionKind::Resume(Empty {}), "Resumes"), text, question, style).about(about))
}
