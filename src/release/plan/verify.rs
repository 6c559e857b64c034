//! Verify: checks against the preview Services; only an explicit success is one; pure.
//!
//! What starts at the switch is checked there, by [`late`], before any Service moves.

use jiff::Timestamp;

use super::{
    super::{
        manifests::{self, Manifest, PhaseChecks},
        observed::Observed,
    },
    Action, Move, Plan, Situation, abort, candidate_content,
    checks::{self, Verdict},
    ending::{self, Why},
    handover, images, later, overdue, still_wanted, switch,
};
use crate::api::{Check, CheckKind, CheckPhase, Duration, HttpCheck, Outcome, Reason, Record, ReleaseSpec};

/// How long nodes and DNS may need to learn of the preview Services once their endpoints are ready: kube-proxy applies
/// changes once a second, and the first may come right after one.
const REACHABLE: Duration = Duration::from_secs(2);

/// When checks are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// In this step.
    Verify,
    /// In the switch, once what they ask has started.
    Switch,
}

/// How far the checks of a moment are.
enum Progress {
    /// Each said yes, or there are none.
    Passed,
    /// One did not say yes.
    Failed(String),
    /// What to do, and the Jobs of this moment, of which not all have passed.
    Going(Vec<Action>, Vec<String>),
}

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
    let since = record.step_since.as_ref().map_or(seen.now, |since| since.0);
    match progress(seen, &record, &content, (Moment::Verify, since)) {
        Progress::Passed => switch::begin(seen, record, &content),
        Progress::Failed(message) => ending::failed(seen, record, (Reason::ChecksFailed, message)),
        Progress::Going(actions, asked) => {
            let told = Situation::Working(Reason::Verifying, checking(&content, &asked));
            let mut plan = Plan { actions, ..Plan::stay(record, told) };
            look_when_reachable(seen, &mut plan, &content, since);
            plan.into()
        }
    }
}

/// Makes the checks of what starts at the switch; `None` when all passed, or none had to wait. Nothing has moved yet.
pub(super) fn late(seen: &Observed, record: &Record, content: &ReleaseSpec) -> Option<Move> {
    if ending::moved(record) {
        return None;
    }
    let started = record.workers.iter().filter_map(|worker| worker.handed_over_at.as_ref()).map(|at| at.0).max();
    let since = started.unwrap_or(seen.now);
    match progress(seen, record, content, (Moment::Switch, since)) {
        Progress::Passed => None,
        Progress::Failed(message) => {
            let why = Why { reason: Reason::ChecksFailed, message, outcome: Outcome::Failed };
            Some(ending::turn_back(record.clone(), seen.now, why))
        }
        Progress::Going(actions, asked) => {
            let text = format!("{} has started. {}", content.version, checking(content, &asked));
            let mut plan = Plan { actions, ..Plan::stay(record.clone(), Situation::Working(Reason::Verifying, text)) };
            look_when_reachable(seen, &mut plan, content, since);
            plan.look_again_at(later(since, content.deadlines.verify));
            Some(plan.into())
        }
    }
}

/// Says who checks; which have passed is told by the Jobs, so that each of them is worth no word of its own.
fn checking(content: &ReleaseSpec, jobs: &[String]) -> String {
    format!("Jobs {} check {}; not all have passed yet.", jobs.join(", "), content.version)
}

/// Returns how long the checks that wait for the switch may take there.
pub(super) fn late_limit(record: &Record, content: &ReleaseSpec) -> Duration {
    let waits = content.checks_of(CheckPhase::Verify).any(|check| waits(record, content, check));
    if waits { content.deadlines.verify } else { Duration::default() }
}

/// Returns whether something with Services starts, and is verified, only in the switch.
pub(crate) fn is_late(seen: &Observed, record: &Record) -> bool {
    candidate_content(seen, record).is_some_and(|content| handover::late_services(record, content).next().is_some())
}

/// Returns whether a check waits until the switch has begun: what it asks starts only then. Nobody can tell what a Job of
/// the user's asks.
pub(super) fn waits(record: &Record, content: &ReleaseSpec, check: &Check) -> bool {
    let mut late = handover::late_services(record, content);
    match &check.kind {
        CheckKind::Http(HttpCheck { service: Some(name), .. }) => late.any(|late| late == name),
        CheckKind::Job(_) => late.next().is_some(),
        CheckKind::Http(_) | CheckKind::Prometheus(_) | CheckKind::Tls(_) | CheckKind::Dns(_) | CheckKind::Sql(_) => {
            false
        }
    }
}

fn look_when_reachable(seen: &Observed, plan: &mut Plan, content: &ReleaseSpec, since: Timestamp) {
    let reachable = later(since, REACHABLE);
    if manifests::job_checks(content).next().is_some() && seen.now < reachable {
        plan.look_again_at(reachable);
    }
}

/// Makes the Jobs of a moment and reads what they say.
fn progress(seen: &Observed, record: &Record, content: &ReleaseSpec, (moment, since): (Moment, Timestamp)) -> Progress {
    let limit = content.deadlines.verify;
    let overdue = match moment {
        Moment::Verify => overdue(seen, record),
        Moment::Switch => later(since, limit) <= seen.now,
    };
    let reachable = later(since, REACHABLE);
    let (mut late, mut all) = (Vec::new(), Vec::new());
    let mut actions = Vec::new();
    for (job, asked) in jobs(seen, record, content, moment) {
        let name = job.name.clone();
        all.push(name.clone());
        match seen.job(&name) {
            // The agent asks again; people's own checks may ask once.
            None if asked.is_none() && seen.now < reachable => {}
            None => actions.push(Action::Create(Box::new(job))),
            Some(job) => {
                let verdict =
                    asked.map_or_else(|| checks::of_user(seen, job), |asked| checks::of_agent(seen, job, asked));
                match verdict {
                    Verdict::Passed => continue,
                    Verdict::Failed(message) | Verdict::CannotTell(message, _) => return Progress::Failed(message),
                    // Jobs and pods come by different watches: the result may be on its way until the deadline.
                    Verdict::Lost(message) if overdue => return Progress::Failed(message),
                    Verdict::Lost(_) | Verdict::Running => {}
                }
            }
        }
        late.push(name);
    }
    if late.is_empty() {
        Progress::Passed
    } else if overdue {
        Progress::Failed(format!("Jobs {} did not end within {limit}.", late.join(", ")))
    } else {
        // All of them, and not only those that are left: which have passed is told by the Jobs.
        Progress::Going(actions, all)
    }
}

/// Returns the Jobs of a moment, each with how many checks it must answer for; without, its exit code is the answer.
fn jobs(seen: &Observed, record: &Record, content: &ReleaseSpec, moment: Moment) -> Vec<(Manifest, Option<usize>)> {
    let Some(attempt) = record.candidate.as_ref().map(|candidate| candidate.attempt) else { return vec![] };
    let owner = seen.attempt(attempt);
    let phase = CheckPhase::Verify;
    let is_now = |check: &Check| waits(record, content, check) == (moment == Moment::Switch);
    let asked: Vec<&Check> = manifests::agent_checks(content, phase).filter(|check| is_now(check)).collect();
    let count = asked.len();
    let agent = (count > 0).then(|| {
        let name = match moment {
            Moment::Verify => manifests::agent_job_name(&seen.release, attempt, phase),
            Moment::Switch => manifests::late_job_name(&seen.release, attempt),
        };
        let instance = checks::instance(seen, content);
        let checks = PhaseChecks { name, spec: content, phase, checks: asked, until: None, instance };
        (manifests::agent_job((&seen.release, &seen.settings), &checks, owner), Some(count))
    });
    let own = manifests::job_checks(content).filter(|(check, _)| is_now(check));
    let own = own.map(|(check, job)| {
        (manifests::check_job((&seen.release, &seen.settings), content, (attempt, check, job), owner), None)
    });
    agent.into_iter().chain(own).collect()
}
