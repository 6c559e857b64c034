//! Revisions with their Deployments, Jobs and pods; pure.

use jiff::Timestamp;

use super::{
    super::{
        look::Kind,
        seen::{Autoscaler, Deployment, Job, Pod, Seen},
    },
    ObjectView, Part, RevisionView, State,
};
use crate::{
    api::{Record, RevisionId},
    protocol::{self, CheckResult, Word},
    release::observed::JobState,
};

/// What status says of a revision.
struct Known {
    revision: String,
    digits: String,
    version: Option<String>,
    part: Part,
    since: Option<Timestamp>,
    keep_until: Option<Timestamp>,
}

/// Returns active, candidate and previous, and every other revision of which something is left.
pub(super) fn of(seen: &Seen) -> Vec<RevisionView> {
    let mut known = seen.release.status.as_ref().map(|status| named(&status.record)).unwrap_or_default();
    let digits = seen.deployments.iter().map(|deployment| (&deployment.seen.revision, deployment.version.clone()));
    let digits = digits.chain(checks(seen).map(|job| (&job.seen.revision, None)));
    for (digits, version) in digits.filter(|(digits, _)| !digits.is_empty()) {
        if !known.iter().any(|known| known.digits == *digits) {
            let (revision, digits) = (digits.clone(), digits.clone());
            known.push(Known { revision, digits, version, part: Part::Former, since: None, keep_until: None });
        }
    }
    known.into_iter().map(|known| revision(seen, known)).collect()
}

/// Returns the Jobs that check revisions; the others belong to the database.
fn checks(seen: &Seen) -> impl Iterator<Item = &Job> {
    seen.jobs.iter().filter(|job| job.verb.is_none())
}

fn named(record: &Record) -> Vec<Known> {
    let known = |(revision, version): (&RevisionId, &String), part, since, keep_until| Known {
        revision: revision.to_string(),
        digits: revision.digits().to_owned(),
        version: Some(version.clone()),
        part,
        since,
        keep_until,
    };
    let active = record.active.as_ref();
    // That of a Contract migration is the active one.
    let candidate = record.candidate.as_ref().filter(|candidate| !candidate.contract);
    let previous = record.previous.as_ref();
    let mut all: Vec<Known> = Vec::new();
    all.extend(active.map(|it| known((&it.revision, &it.version), Part::Active, Some(it.since.0), None)));
    all.extend(candidate.map(|it| known((&it.revision, &it.version), Part::Candidate, Some(it.since.0), None)));
    all.extend(previous.map(|it| known((&it.revision, &it.version), Part::Previous, None, Some(it.keep_until.0))));
    let mut kept: Vec<Known> = Vec::new();
    for next in all {
        if !kept.iter().any(|known| known.digits == next.digits) {
            kept.push(next);
        }
    }
    kept
}

fn revision(seen: &Seen, known: Known) -> RevisionView {
    let deployments: Vec<ObjectView> = seen
        .deployments
        .iter()
        .filter(|deployment| deployment.seen.revision == known.digits)
        .map(|it| deployment(seen, it))
        .collect();
    let scalers = seen.autoscalers.iter().filter(|scaler| scaler.seen.revision == known.digits);
    let autoscalers = scalers.map(|it| autoscaler(it, seen)).collect();
    let jobs = checks(seen).filter(|job| job.seen.revision == known.digits).map(|it| job(seen, it)).collect();
    let (state, says) = sum_up(&known, &deployments, seen);
    RevisionView {
        revision: known.revision,
        version: known.version,
        part: known.part,
        state,
        says,
        since: known.since,
        keep_until: known.keep_until.filter(|_| !deployments.is_empty()),
        deployments,
        autoscalers,
        jobs,
    }
}

fn sum_up(known: &Known, deployments: &[ObjectView], seen: &Seen) -> (State, String) {
    let said = |state, says: &str| (state, says.to_owned());
    let Some(worst) = deployments.iter().map(|deployment| deployment.state).max() else {
        return match known.part {
            _ if seen.unseen.contains_key(&Kind::Deployment) => said(State::Unknown, "cannot tell"),
            Part::Candidate => said(State::Off, "not there yet"),
            Part::Active => said(State::Warning, "has no Deployment"),
            Part::Previous | Part::Former => said(State::Off, "removed"),
        };
    };
    match worst {
        State::Off => said(State::Off, "scaled to zero"),
        State::Well => said(State::Well, "ready"),
        State::Moving | State::Waiting | State::Unknown => said(State::Moving, "coming up"),
        State::Warning | State::Bad => said(State::Bad, "not well"),
    }
}

fn deployment(seen: &Seen, deployment: &Deployment) -> ObjectView {
    let it = &deployment.seen;
    let mut pods: Vec<ObjectView> = seen
        .pods
        .iter()
        .filter(|pod| pod.seen.job.is_none() && pod.seen.revision == it.revision && pod.seen.workload == it.workload)
        .map(pod)
        .collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    let sick = pods.iter().any(|pod| pod.state == State::Bad);
    let (state, says) = if it.deleting {
        (State::Moving, "being deleted".to_owned())
    } else if it.replicas == 0 && it.existing == 0 {
        (State::Off, "scaled to zero".to_owned())
    } else if it.replicas == 0 {
        (State::Moving, format!("{} still there", it.existing))
    } else {
        let state = match (it.problem.is_some() || sick, it.available >= it.replicas) {
            (false, true) => State::Well,
            (false, false) => State::Moving,
            (true, _) => State::Bad,
        };
        (state, format!("{} of {} ready", it.available, it.replicas))
    };
    ObjectView {
        kind: "Deployment",
        name: it.name.clone(),
        state,
        says,
        problem: it.problem.clone(),
        created: deployment.created,
        node: None,
        pods,
    }
}

fn autoscaler(autoscaler: &Autoscaler, seen: &Seen) -> ObjectView {
    let it = &autoscaler.seen;
    let is_its = |found: &&Deployment| found.seen.revision == it.revision && found.seen.workload == it.workload;
    let runs = seen.deployments.iter().find(is_its).map_or(0, |found| found.seen.replicas);
    let bounds = format!("between {} and {}", it.least, it.most);
    let (state, says) = match (it.deleting, &autoscaler.problem, autoscaler.wants) {
        (true, ..) => (State::Moving, "being deleted".to_owned()),
        (false, Some(_), _) => (State::Warning, "does not scale".to_owned()),
        // Kubernetes leaves those alone.
        (false, None, _) if runs == 0 => (State::Off, "of no pods".to_owned()),
        (false, None, None) => (State::Moving, format!("has not looked yet, {bounds}")),
        (false, None, Some(wants)) => (State::Well, format!("wants {wants}, {bounds}")),
    };
    ObjectView {
        kind: "HorizontalPodAutoscaler",
        name: it.name.clone(),
        state,
        says,
        problem: autoscaler.problem.clone(),
        created: autoscaler.created,
        node: None,
        pods: vec![],
    }
}

fn pod(pod: &Pod) -> ObjectView {
    let it = &pod.seen;
    let (state, says) = match (it.deleting, it.ready, pod.phase.as_str()) {
        (true, _, _) => (State::Moving, "ending"),
        (false, true, _) => (State::Well, "ready"),
        (false, false, "Succeeded") => (State::Well, "done"),
        (false, false, "Failed") => (State::Bad, "failed"),
        (false, false, _) if it.problem.is_some() => (State::Bad, "not ready"),
        (false, false, "Pending") => (State::Moving, "starting"),
        (false, false, "Running") if it.job.is_some() => (State::Moving, "running"),
        (false, false, "Running") => (State::Moving, "not ready"),
        (false, false, _) => (State::Unknown, "unknown"),
    };
    let restarts = match pod.restarts {
        0 => String::new(),
        1 => ", 1 restart".to_owned(),
        more => format!(", {more} restarts"),
    };
    ObjectView {
        kind: "Pod",
        name: it.name.clone(),
        state,
        says: format!("{says}{restarts}"),
        // What was before is no news of a pod that is ready, ends or is done.
        problem: it.problem.clone().filter(|_| state == State::Bad),
        created: it.created,
        node: pod.node.clone(),
        pods: vec![],
    }
}

pub(super) fn job(seen: &Seen, job: &Job) -> ObjectView {
    let it = &job.seen;
    // Those that check have no label for their verb.
    let verb = job.verb.as_deref().unwrap_or(CheckResult::VERB);
    let refusal = seen.message_of(&it.name).and_then(|message| protocol::refusal(verb, message));
    let refusal = refusal.map(|refusal| refusal.message);
    let well = if job.verb.is_some() { "done" } else { "passed" };
    let (state, says, problem) = match &it.state {
        _ if it.deleting => (State::Moving, "being deleted", None),
        JobState::Running if it.suspended => (State::Moving, "not started", None),
        JobState::Running => (State::Moving, "running", refusal),
        // A Job on a database ends well also when its answer is no.
        JobState::Complete if job.verb.is_some() && refusal.is_some() => (State::Bad, "refused", refusal),
        JobState::Complete => (State::Well, well, None),
        JobState::Failed { reason, message } => {
            (State::Bad, "failed", refusal.or_else(|| Some(format!("{reason}: {message}"))))
        }
    };
    let mut pods: Vec<ObjectView> =
        seen.pods.iter().filter(|pod| pod.seen.job.as_deref() == Some(it.name.as_str())).map(pod).collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    let (name, says) = (it.name.clone(), says.to_owned());
    ObjectView { kind: "Job", name, state, says, problem, created: job.created, node: None, pods }
}
