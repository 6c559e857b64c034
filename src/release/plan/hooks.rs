//! Hooks: people's own Jobs at the moments at which traffic moves, one after another; pure.
//!
//! A Job is made suspended and resumed by a later look, so that neither a create nor a resume that comes late runs what
//! was given up. How each ended is remembered, for the Jobs go before the attempt is over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        manifests,
        observed::{JobSeen, JobState, Observed},
    },
    Action,
    going::Going,
    later, recorded,
};
use crate::api::{Duration, Hook, HookMoment, HookRecord, Record, ReleaseSpec, clamp_to};

/// How much longer than its timeout a hook may take to be made, seen and ended.
const MARGIN: Duration = Duration::from_secs(30);
/// How long a problem may be, in bytes: as the schema has it.
const PROBLEM_BYTES: usize = 512;

/// How far the hooks of a moment are.
pub(super) enum Progress {
    /// All of them have ended.
    Done,
    /// One is to be made, let begin or waited for.
    Going(Going),
    /// One has failed, and why.
    Failed(String),
}

/// Returns the hooks of a moment.
pub(super) fn of(content: &ReleaseSpec, moment: HookMoment) -> impl Iterator<Item = &Hook> {
    content.hooks.iter().filter(move |hook| hook.when == moment)
}

/// Returns how long the hooks of a moment may take together.
pub(super) fn limit(content: &ReleaseSpec, moment: HookMoment) -> Duration {
    of(content, moment).fold(Duration::default(), |all, hook| all + hook.timeout + MARGIN)
}

/// Runs the hooks of a moment. Only a failed one of `Switch` matters to what follows.
pub(super) fn run(
    seen: &Observed,
    record: &mut Record,
    (content, attempt): (&ReleaseSpec, i64),
    moment: HookMoment,
) -> Progress {
    let since = record.step_since.as_ref().map_or(seen.now, |since| since.0);
    let until = later(since, limit(content, moment));
    for hook in of(content, moment) {
        let known = record.hooks.iter().find(|ended| ended.name == hook.name);
        if known.is_none() {
            let problem = match end(seen, (content, attempt), hook) {
                End::Well => None,
                End::Badly(problem) => Some(problem),
                End::NotYet(..) if until <= seen.now => Some("it had not ended when its time was over".to_owned()),
                End::NotYet(action, waiting) => {
                    let actions = action.filter(|_| recorded(seen, record)).into_iter().collect();
                    return Progress::Going(Going { again: Some(until), ..Going::acts(actions, waiting) });
                }
            };
            let problem = problem.map(|problem| clamp_to(&problem, PROBLEM_BYTES).to_owned());
            record.hooks.push(HookRecord { name: hook.name.clone(), when: moment, problem, at: MicroTime(seen.now) });
        }
        let ended = record.hooks.iter().find(|ended| ended.name == hook.name);
        if let Some(problem) = ended.and_then(|ended| ended.problem.as_ref()).filter(|_| moment == HookMoment::Switch) {
            return Progress::Failed(format!("Hook {} failed: {problem}.", hook.name));
        }
    }
    Progress::Done
}

/// How a hook ended.
enum End {
    /// What is to be done, and what is waited for.
    NotYet(Option<Action>, String),
    Well,
    Badly(String),
}

fn end(seen: &Observed, (content, attempt): (&ReleaseSpec, i64), hook: &Hook) -> End {
    let name = manifests::hook_name(&seen.release, attempt, &hook.name);
    let waiting = format!("hook {} (Job {name})", hook.name);
    let Some(job) = seen.job(&name) else {
        let job = manifests::hook_job((&seen.release, &seen.settings), content, (attempt, hook), seen.attempt(attempt));
        return End::NotYet(Some(Action::Create(Box::new(job))), waiting);
    };
    match &job.state {
        JobState::Running if job.suspended && !job.deleting => End::NotYet(Some(Action::resume(job)), waiting),
        JobState::Running => End::NotYet(None, waiting),
        JobState::Complete => End::Well,
        JobState::Failed { reason, message } => {
            let mut pods = seen.pods.iter().filter(|pod| pod.job.as_deref() == Some(&job.name));
            let problem = pods.find_map(|pod| pod.problem.clone());
            End::Badly(problem.unwrap_or_else(|| format!("{reason}: {message}")))
        }
    }
}

/// Ends the hooks of a switch that is given up, before what undoes them runs; `None` when none of them runs.
pub(super) fn give_up(seen: &Observed, (content, attempt): (&ReleaseSpec, i64)) -> Option<Going> {
    let running: Vec<&JobSeen> = of(content, HookMoment::Switch)
        .filter_map(|hook| seen.job(&manifests::hook_name(&seen.release, attempt, &hook.name)))
        .filter(|job| job.state == JobState::Running)
        .collect();
    let names: Vec<&str> = running.iter().map(|job| job.name.as_str()).collect();
    let waiting = format!("the end of Job {}", names.join(", "));
    let ends: Vec<Action> = running
        .iter()
        .filter(|job| !job.deleting)
        .map(|job| Action::delete(manifests::Kind::Job, &job.name, &job.uid))
        .collect();
    (!running.is_empty()).then(|| Going::acts(ends, waiting))
}
