//! Verify: checks against the preview Services; only an explicit success is one; pure.

use super::{
    super::{
        manifests::{self, PhaseChecks},
        observed::Observed,
    },
    Action, Move, Plan, Situation, abort, candidate_content,
    checks::{self, Verdict},
    ending::{self, Why},
    enter, images, later, overdue, still_wanted, switch,
};
use crate::api::{CheckPhase, Duration, Outcome, Reason, Record, ReleaseSpec, Step};

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
            Some(job) => {
                let verdict =
                    asked.map_or_else(|| checks::of_user(seen, job), |asked| checks::of_agent(seen, job, asked));
                match verdict {
                    Verdict::Passed => continue,
                    Verdict::Failed(message) | Verdict::CannotTell(message, _) => {
                        return ending::turn_back(record, seen.now, failed(message));
                    }
                    // Jobs and pods come by different watches: the result may be on its way until the deadline.
                    Verdict::Lost(message) if overdue(seen, &record) => {
                        return ending::turn_back(record, seen.now, failed(message));
                    }
                    Verdict::Lost(_) | Verdict::Running => {}
                }
            }
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
    let asked = manifests::agent_checks(content, phase).count();
    let agent = (asked > 0).then(|| {
        let name = manifests::agent_job_name(&seen.release, attempt, phase);
        let instance = checks::instance(seen, content);
        let checks = PhaseChecks { name, spec: content, phase, until: None, instance };
        let job = manifests::agent_job((&seen.release, &seen.settings), &checks, owner);
        (job.name.clone(), Some(asked), job)
    });
    let own = manifests::job_checks(content).map(|(check, job_check)| {
        let job = manifests::check_job(&seen.release, content, (attempt, check, job_check), owner);
        (job.name.clone(), None, job)
    });
    agent.into_iter().chain(own).collect()
}
