//! Verify: checks against the preview Services; only an explicit success is one; pure.

use super::{
    super::{
        manifests,
        observed::{JobSeen, JobState, Observed},
    },
    Action, Move, Plan, Situation, abort, candidate_content,
    ending::{self, Why},
    enter, images, later, overdue, still_wanted, switch,
};
use crate::{
    api::{CheckPhase, Duration, Outcome, Reason, Record, ReleaseSpec, Step},
    protocol::CheckResult,
};

/// How long nodes and DNS may need to learn of the preview Services once their endpoints are ready: kube-proxy applies
/// changes once a second, and the first may come right after one.
const REACHABLE: Duration = Duration::from_secs(2);

pub(super) fn plan(seen: &Observed, record: Record) -> Move {
    if !still_wanted(seen, &record) {
        return ending::superseded(seen, record);
    }
    if let Some(turned) = abort::check(seen, &record) {
        return turned;
    }
    let Some(content) = candidate_content(seen, &record).cloned() else { return ending::content_lost(seen, record) };
    if let Some(turned) = images::check(seen, &record, &content) {
        return turned;
    }
    let Some(attempt) = record.candidate.as_ref().map(|candidate| candidate.attempt) else {
        return enter(record, Step::Idle, seen.now, None);
    };
    let reachable = record.step_since.as_ref().map_or(seen.now, |since| later(since.0, REACHABLE));
    let jobs = jobs(seen, &content, attempt);
    let failed = |message| Why { reason: Reason::ChecksFailed, message, outcome: Outcome::Failed };
    let mut waiting = Vec::new();
    let mut actions = Vec::new();
    for (name, asked, manifest) in jobs {
        match seen.job(&name) {
            // The agent asks again; people's own checks may ask once.
            None if asked.is_none() && seen.now < reachable => {}
            None => actions.push(Action::Create(Box::new(manifest))),
            Some(job) => match verdict(seen, job, asked) {
                Verdict::Passed => continue,
                Verdict::Failed(message) => return ending::turn_back(record, seen.now, failed(message)),
                // Jobs and pods come by different watches: the result may be on its way until the deadline.
                Verdict::CannotTell(message) if overdue(seen, &record) => {
                    return ending::turn_back(record, seen.now, failed(message));
                }
                Verdict::CannotTell(_) | Verdict::Running => {}
            },
        }
        waiting.push(name);
    }
    if waiting.is_empty() {
        return switch::begin(seen, record, &content);
    }
    if overdue(seen, &record) {
        let message = format!("Jobs {} did not end within {}.", waiting.join(", "), content.deadlines.verify);
        return ending::turn_back(record, seen.now, failed(message));
    }
    let told = Situation::Working(Reason::Verifying, format!("Waiting for Jobs {}.", waiting.join(", ")));
    let mut plan = Plan { actions, ..Plan::stay(record, told) };
    if manifests::job_checks(&content).next().is_some() && seen.now < reachable {
        plan.look_again_at(reachable);
    }
    plan.into()
}

/// Returns the Jobs of this phase: name, how many checks it must answer for (none: its exit code is the
/// answer), object.
fn jobs(seen: &Observed, content: &ReleaseSpec, attempt: i64) -> Vec<(String, Option<usize>, manifests::Manifest)> {
    let owner = seen.attempt(attempt);
    let phase = CheckPhase::Verify;
    let asked = manifests::http_checks(content, phase).count();
    let agent = (asked > 0).then(|| {
        let job = manifests::agent_job((&seen.release, &seen.settings), (content, phase), (attempt, None), owner);
        (job.name.clone(), Some(asked), job)
    });
    let own = manifests::job_checks(content).map(|(check, job_check)| {
        let job = manifests::check_job(&seen.release, content, (attempt, check, job_check), owner);
        (job.name.clone(), None, job)
    });
    agent.into_iter().chain(own).collect()
}

/// What a check Job says.
pub(super) enum Verdict {
    Running,
    Passed,
    /// A check said no.
    Failed(String),
    /// No check said anything.
    CannotTell(String),
}

/// Reads a Job's conditions and, where the agent ran, its result; a missing result is not a success.
pub(super) fn verdict(seen: &Observed, job: &JobSeen, asked: Option<usize>) -> Verdict {
    let result = || {
        let mut pods: Vec<_> = seen.pods.iter().filter(|pod| pod.job.as_deref() == Some(&job.name)).collect();
        pods.sort_by_key(|pod| pod.created);
        let message = pods.iter().rev().find_map(|pod| pod.message.as_ref())?;
        serde_json::from_str::<CheckResult>(message).ok()
    };
    match (&job.state, asked) {
        (JobState::Running, _) => Verdict::Running,
        (JobState::Complete, None) => Verdict::Passed,
        (JobState::Complete, Some(asked)) => match result() {
            Some(result) if result.all_passed(asked) => Verdict::Passed,
            Some(result) => Verdict::Failed(format!("Checks failed: {}", result.failures())),
            None => Verdict::CannotTell(format!("Job {} is complete and left no result that can be read.", job.name)),
        },
        (JobState::Failed { reason, message }, _) => {
            let problem = seen
                .pods
                .iter()
                .filter(|pod| pod.job.as_deref() == Some(&job.name))
                .find_map(|pod| pod.problem.clone());
            match result() {
                Some(result) if asked.is_some() => Verdict::Failed(format!("Checks failed: {}", result.failures())),
                _ => {
                    let text = format!(
                        "Job {} failed: {}",
                        job.name,
                        problem.unwrap_or_else(|| format!("{reason}: {message}"))
                    );
                    if asked.is_some() { Verdict::CannotTell(text) } else { Verdict::Failed(text) }
                }
            }
        }
    }
}
