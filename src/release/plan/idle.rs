//! Idle: nothing is under way; pure.
//!
//! Begins an attempt when the spec names another revision than the active one, unless that revision has just
//! failed, or when a person asks to go back or to try again. Otherwise keeps what serves as it was released: size,
//! Services, selectors.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        manifests::Kind,
        observed::{Ask, AttemptSeen, DeploymentSeen, Observed},
    },
    Action, Move, Plan, Situation, belongings, contract, decisions, handover,
    health::{self, Readiness},
    inspect, report, rollback, scaling, suspend,
};
use crate::api::{CandidateRevision, DecisionKind, Reason, Record, Step, labels::Role};

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    let wanted = &seen.release.wanted;
    if record.failure.as_ref().is_some_and(|failure| failure.revision != *wanted) {
        record.failure = None;
    }
    record.forget_adoption();
    let asked = match person(seen, &mut record) {
        Ok(None) => None,
        Ok(Some(next)) => return next,
        Err(ask) => Some(ask),
    };
    let serves = record.active.as_ref().is_some_and(|active| active.revision == *wanted);
    let pending = !serves && record.failure.is_none() && asked.is_none();
    if pending && !suspend::holds(seen, &record) {
        return begin(seen, record);
    }
    // Whether a person wants to go back is known first.
    let rest = if asked.is_none() { contract::at_rest(seen, &mut record) } else { contract::Rest::default() };
    let waits = match rest {
        contract::Rest::Begins(next) => return next,
        contract::Rest::Waits(waits) => waits,
    };
    let mut situation = situation(seen, &record);
    if pending && situation == Situation::Served {
        situation = suspend::situation(seen, &record, Step::Inspect);
    }
    let mut plan = Plan::stay(record, situation);
    resize(seen, &mut plan);
    if seen.record().step == Step::Idle {
        let active = plan.record.active.as_ref().map(|active| &active.revision);
        plan.actions.extend(scaling::remove_others(seen, active).map(|(_, removal)| removal));
    }
    remove_old(seen, &mut plan);
    plan.asks.extend(asked);
    waits.join(&mut plan);
    report::write(seen, &mut plan);
    plan.into()
}

/// Does what a person asks for: to go back, or to try once more what failed.
fn person(seen: &Observed, record: &mut Record) -> Result<Option<Move>, Ask> {
    if let Some(back) = rollback::check(seen, record)? {
        return Ok(Some(back));
    }
    if let Some(retry) = decisions::find(seen, record, |kind| matches!(kind, DecisionKind::Retry(_)))? {
        if record.failure.take().is_none() {
            contract::wait_again(seen, record);
        }
        decisions::use_up(record, retry, seen.now);
    }
    Ok(None)
}

/// Begins an attempt.
fn begin(seen: &Observed, mut record: Record) -> Move {
    record.attempts = rollback::next_attempt(seen, &record);
    record.candidate = Some(CandidateRevision {
        revision: seen.release.wanted.clone(),
        version: seen.release.spec.version.clone(),
        attempt: record.attempts,
        generation: seen.release.generation,
        since: MicroTime(seen.now),
        content: None,
        approved_by: vec![],
        source: seen.release.spec.source.clone(),
        images: vec![],
        rollback: None,
        contract: false,
        backup: None,
        beside_broken: false,
    });
    record.plan = None;
    record.hooks.clear();
    record.steps.clear();
    inspect::begin(seen, record)
}

fn situation(seen: &Observed, record: &Record) -> Situation {
    if let Some(failure) = &record.failure {
        return Situation::Failed(Reason::of_outcome(failure.outcome, &failure.reason), failure.message.clone());
    }
    let Some(active) = &record.active else { return Situation::Served };
    match health::of_revision(seen, record, &active.revision, &seen.release.spec.watch) {
        Some(worst) if worst.readiness != Readiness::Enough => {
            let cause = health::because(seen, &active.revision);
            Situation::ActiveUnhealthy(format!("{}{cause}.", worst.message))
        }
        Some(_) | None => Situation::Served,
    }
}

/// Keeps the active revision at the size that the spec asks for; a change of replicas or autoscaling alone is no release.
fn resize(seen: &Observed, plan: &mut Plan) {
    let Some(active) = plan.record.active.clone().filter(|active| active.revision == seen.release.wanted) else {
        return;
    };
    let spec = &seen.release.spec;
    for workload in &spec.workloads {
        scaling::keep(seen, (spec, workload), &active, plan);
        scaling::expect(&mut plan.record, workload, workload.size());
        handover::note(&mut plan.record, workload);
    }
}

/// Removes what is kept no longer: Deployments of former revisions, and contents that history has forgotten.
fn remove_old(seen: &Observed, plan: &mut Plan) {
    let record = &mut plan.record;
    if let Some(until) = record.previous.as_ref().map(|previous| previous.keep_until.0) {
        if until <= seen.now {
            record.previous = None;
        } else {
            plan.recheck = Some(until);
        }
    }
    // Deleting waits for the look that has read back what is forgotten.
    if seen.record().previous != record.previous || seen.record().step != Step::Idle {
        return;
    }
    let active = record.active.iter().map(|active| active.revision.digits());
    let previous = record.previous.iter().map(|previous| previous.revision.digits());
    let kept: Vec<&str> = active.chain(previous).collect();
    let old: Vec<&DeploymentSeen> = seen
        .deployments
        .iter()
        .filter(|seen| seen.ours && !seen.deleting && !kept.contains(&&*seen.revision))
        .collect();
    let contents = forgotten(seen, record, &kept);
    let digits = old.iter().map(|seen| &seen.revision).chain(contents.iter().map(|attempt| &attempt.revision));
    // Before what remembers them.
    let belongings = match belongings::remove(seen, digits.map(String::as_str)) {
        Ok(removals) => removals,
        Err(asks) => {
            plan.asks.extend(asks);
            return;
        }
    };
    plan.actions.extend(belongings);
    plan.actions.extend(old.into_iter().map(Action::remove));
    let contents = contents.into_iter();
    plan.actions.extend(contents.map(|seen| Action::delete(Kind::ControllerRevision, &seen.name, &seen.uid)));
    // What an attempt that ended before it made anything has looked with, and what it held.
    let at_work = report::job(seen, record);
    let is_at_work = |action: &Action| matches!(action, Action::Delete { name, .. } if Some(name) == at_work.as_ref());
    plan.actions.extend(Action::delete_jobs(seen).filter(|action| !is_at_work(action)).chain(Action::let_go_all(seen)));
    // Made by a leader that was stopped before the write left and went on when nobody needed it any more.
    let late = seen.services.iter().filter(|seen| seen.ours && !seen.deleting && seen.role == Some(Role::Preview));
    plan.actions.extend(late.map(|seen| Action::delete(Kind::Service, &seen.name, &seen.uid)));
}

/// Lists the contents of attempts that history has forgotten and that own nothing any more.
fn forgotten<'a>(seen: &'a Observed, record: &Record, kept: &[&str]) -> Vec<&'a AttemptSeen> {
    let oldest = record.history.first().map_or(0, |entry| entry.attempt);
    let owns = |digits: &str| seen.deployments.iter().any(|deployment| deployment.revision == digits);
    seen.attempts
        .iter()
        .filter(|attempt| attempt.role == Some(Role::Attempt) && attempt.number < oldest)
        .filter(|attempt| !kept.contains(&&*attempt.revision) && !owns(&attempt.revision))
        .collect()
}
