//! What check Jobs say, and the checks that come before anybody is asked; pure.

use super::{
    super::{
        manifests::{self, PhaseChecks},
        observed::{JobSeen, JobState, Observed},
    },
    Action, contract,
    database::{self, Said},
    when_recorded,
};
use crate::{
    api::{Check, CheckPhase, Record, ReleaseSpec, compile},
    protocol::{CheckResult, Finding},
};

/// What a check Job says.
pub(super) enum Verdict {
    /// Nothing yet.
    Running,
    /// Every check said yes.
    Passed,
    /// A check said no.
    Failed(String),
    /// No check said no, and these did not say yes; none is named where not all have answered.
    CannotTell(String, Vec<String>),
    /// It ended without a word.
    Lost(String),
}

/// Reads the Job of the agent: only an explicit yes of each check is one.
pub(super) fn of_agent(seen: &Observed, job: &JobSeen, asked: usize) -> Verdict {
    let result = match database::result::<CheckResult>(seen, job) {
        Said::Nothing => return Verdict::Running,
        Said::Lost(message) => return Verdict::Lost(message),
        Said::This(result) => *result,
    };
    if result.that(Finding::No).next().is_some() {
        return Verdict::Failed(format!("Checks failed: {}", result.failures()));
    }
    let unsure: Vec<String> = result.that(Finding::CannotTell).map(|check| check.name.clone()).collect();
    if !unsure.is_empty() {
        return Verdict::CannotTell(format!("Checks cannot tell: {}", result.failures()), unsure);
    }
    if result.all_passed(asked) && job.state == JobState::Complete {
        return Verdict::Passed;
    }
    let answered = result.checks.len();
    Verdict::CannotTell(format!("Job {} ended and answers for {answered} of {asked} checks.", job.name), unsure)
}

/// Reads the Job of a user's own check: its exit code is the answer.
pub(super) fn of_user(seen: &Observed, job: &JobSeen) -> Verdict {
    match &job.state {
        JobState::Running => Verdict::Running,
        JobState::Complete => Verdict::Passed,
        JobState::Failed { reason, message } => {
            let mut pods = seen.pods.iter().filter(|pod| pod.job.as_deref() == Some(&job.name));
            let problem = pods.find_map(|pod| pod.problem.clone());
            let why = problem.unwrap_or_else(|| format!("{reason}: {message}"));
            Verdict::Failed(format!("Job {} failed: {why}", job.name))
        }
    }
}

/// Returns whether traffic goes back when these watch checks cannot tell; without names, when any of all cannot.
pub(super) fn goes_back_unsure(content: &ReleaseSpec, names: &[String]) -> bool {
    let asked = |check: &&Check| names.is_empty() || names.contains(&check.name);
    content.checks_of(CheckPhase::Watch).filter(asked).any(Check::goes_back_unsure)
}

/// Says what is wrong with the checks of a spec that the API server cannot see.
pub(super) fn invalid(spec: &ReleaseSpec) -> Option<String> {
    spec.checks.iter().find_map(|check| {
        check.patterns().into_iter().find_map(|(field, pattern)| {
            let error = compile(pattern).err()?;
            Some(format!(
                "Check {}: {field} is no regular expression: {error}. Nothing was changed; correct the spec.",
                check.name
            ))
        })
    })
}

/// How far the preflight checks are.
pub(super) enum Preflight {
    /// All passed, or there are none.
    Passed,
    /// What to do, and what to tell.
    Working(Vec<Action>, String),
    /// Not all passed.
    Refused(String),
}

/// Says what looks, the same until all of it has ended: which has is told by the Jobs.
pub(super) fn looking(record: &Record, spec: &ReleaseSpec) -> String {
    // A Contract migration has none.
    let checks = manifests::agent_checks(spec, CheckPhase::Preflight).filter(|_| !contract::is_under_way(record));
    let checks = checks.map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ");
    match &spec.database {
        Some(database) if checks.is_empty() => format!("Looking at database {}.", database.name),
        Some(database) => format!("Looking at database {} and running preflight checks: {checks}.", database.name),
        None => format!("Running preflight checks: {checks}."),
    }
}

/// Adds the preflight checks to a look at the database that has begun: neither waits for the other.
pub(super) fn beside(seen: &Observed, record: &Record, spec: &ReleaseSpec, mut actions: Vec<Action>) -> Vec<Action> {
    let has_begun = !actions.is_empty() || seen.job(&manifests::look_name(&seen.release, record)).is_some();
    if has_begun && let Preflight::Working(more, _) = preflight(seen, record, spec) {
        actions.extend(more);
    }
    actions
}

/// Makes the preflight checks, once per step.
pub(super) fn preflight(seen: &Observed, record: &Record, spec: &ReleaseSpec) -> Preflight {
    let asked: Vec<&Check> = manifests::agent_checks(spec, CheckPhase::Preflight).collect();
    if asked.is_empty() {
        return Preflight::Passed;
    }
    let count = asked.len();
    let told = || looking(record, spec);
    let name = manifests::preflight_job_name(&seen.release, record);
    let Some(job) = seen.job(&name) else {
        let instance = instance(seen, spec);
        let checks = PhaseChecks { name, spec, phase: CheckPhase::Preflight, checks: asked, until: None, instance };
        let job = manifests::agent_job((&seen.release, &seen.settings), &checks, None);
        // What is made counts from the record, which must be there first.
        return Preflight::Working(when_recorded(seen, record, Action::Create(Box::new(job))), told());
    };
    match of_agent(seen, job, count) {
        Verdict::Running => Preflight::Working(vec![], told()),
        Verdict::Passed => Preflight::Passed,
        Verdict::Failed(message) | Verdict::CannotTell(message, _) | Verdict::Lost(message) => {
            Preflight::Refused(format!("{}. Nothing was changed.", message.trim_end_matches('.')))
        }
    }
}

/// Returns the DatabaseInstance that a content names, for checks that ask it.
pub(super) fn instance<'a>(seen: &'a Observed, spec: &ReleaseSpec) -> Option<&'a super::super::observed::InstanceSeen> {
    seen.instance(&spec.database.as_ref()?.name)
}
