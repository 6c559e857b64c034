//! Plans for one DatabaseInstance; pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    identity::{Judgement, judge},
    learn::{doubted, facts, learn, overtaken},
    manifests::{job_name, make},
    words::{another, misdeclared, unwell, well, words},
};
use crate::{
    agent_job::{
        probe::{self, Looks, Turn},
        seen::AgentJobSeen,
        targets::{self, fingerprint},
    },
    api::{
        ConditionType, DatabaseIdentity, DatabaseInstanceSpec, DatabaseInstanceStatus, Probing, ProvenBackup, Reason,
        Standing, set_condition, set_standing,
    },
    databases::{Action, Plan},
    protocol::{DatabaseFacts, Refusal},
    release::observed::Settings,
    storage::plan::is_told,
};

/// Everything one look at a DatabaseInstance has shown.
#[derive(Debug, Clone)]
pub struct Observed {
    /// When the look was taken.
    pub now: Timestamp,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What is asked for.
    pub spec: DatabaseInstanceSpec,
    /// Its status as read.
    pub status: DatabaseInstanceStatus,
    /// Every Job of the agent on it: those that look, and those of backups and Releases.
    pub jobs: Vec<AgentJobSeen>,
    /// Its backups whose whole content was read or restored.
    pub proven: Vec<ProvenSeen>,
    /// What the operator was told at its start.
    pub settings: Settings,
}

/// A backup whose whole content was read or restored.
#[derive(Debug, Clone, PartialEq)]
pub struct ProvenSeen {
    /// The backup.
    pub proven: ProvenBackup,
    /// UUID of the marker of the database that it is of.
    pub marker: Option<String>,
}

/// Returns what is to be done.
#[must_use]
pub fn plan(seen: &Observed) -> Plan<DatabaseInstanceStatus> {
    let mut plan = Plan { status: seen.status.clone(), actions: vec![], recheck: None };
    if seen.deleting {
        return plan;
    }
    // A word counts once. Taken away, it may be given again.
    if seen.spec.adopt_identity != plan.status.adopted && seen.spec.adopt_identity.is_none() {
        plan.status.adopted = None;
    }
    learn(seen, &mut plan.status);
    let looks = Looks {
        now: seen.now,
        uid: &seen.uid,
        generation: seen.generation,
        record: seen.status.probing.as_ref(),
        jobs: &seen.jobs,
    };
    let name = |look: &Probing| job_name(seen, look);
    match looks.turn(name) {
        Turn::Remember(look) => {
            plan.status.probing = Some(look);
            moving(seen, &mut plan.status, None);
        }
        Turn::Make => {
            plan.actions.extend(looks.record.map(|look| make(seen, look)));
            moving(seen, &mut plan.status, None);
        }
        Turn::Resume(uid) => {
            let resume = looks.record.map(|look| Action::Resume { name: name(look), uid });
            plan.actions.extend(resume);
        }
        Turn::Wait { problem, until } => {
            plan.recheck = until;
            moving(seen, &mut plan.status, problem.as_deref());
        }
        Turn::Ended(result) => {
            let verb = looks.record.map_or(probe::INSPECT, |look| look.verb.as_str());
            let found = facts(verb, result);
            if overtaken(seen, &looks, &found) {
                plan.status.probing = Some(looks.next(probe::INSPECT, 0));
            } else {
                let well = conclude(seen, &mut plan.status, found);
                plan.status.probing = looks.ended(well);
            }
        }
        Turn::Rest(until) => {
            plan.recheck = until;
            if until.is_none() && wants_mark(seen) {
                plan.status.probing = Some(looks.next(probe::MARK, 0));
            } else if doubted(seen) {
                plan.status.probing = Some(looks.next(probe::INSPECT, 0));
            }
        }
    }
    plan.actions.extend(looks.former(name).map(|job| Action::Delete { name: job.name.clone(), uid: job.uid.clone() }));
    plan
}

/// Returns whether an administrator's word asks for the marker of the database that was accepted.
fn wants_mark(seen: &Observed) -> bool {
    let status = &seen.status;
    let bare = status.identity.as_ref().filter(|identity| identity.marker.is_none());
    bare.is_some_and(|identity| status.adopted.as_ref() == Some(&fingerprint(identity)))
}

/// Says that the database is looked at. What was found last stands until something else is found.
fn moving(seen: &Observed, status: &mut DatabaseInstanceStatus, problem: Option<&str>) {
    if is_told(&seen.status.conditions, seen.generation) {
        return;
    }
    let message = match problem {
        None => "The database is looked at.".to_owned(),
        Some(problem) => format!("The database is to be looked at: {problem}"),
    };
    stand(seen, status, &Standing::Moving(Reason::Inspecting, message));
}

fn stand(seen: &Observed, status: &mut DatabaseInstanceStatus, standing: &Standing) {
    set_standing(&mut status.conditions, standing, (seen.generation, seen.now));
    status.observed_generation = seen.generation;
}

/// Writes down what a look has found; returns whether all is well.
fn conclude(seen: &Observed, status: &mut DatabaseInstanceStatus, found: Result<DatabaseFacts, Refusal>) -> bool {
    let mut say = |type_, holds, reason, message: &str| {
        set_condition(&mut status.conditions, (type_, holds, reason), message, (seen.generation, seen.now));
    };
    let facts = match found {
        Ok(facts) => targets::identity(&facts),
        Err(refusal) => {
            let Refusal { reason, message } = &refusal;
            if *reason == Reason::IdentityUncertain {
                say(ConditionType::IdentityCertain, Some(false), *reason, message);
            } else {
                let answered = (*reason != Reason::JobLost).then_some(false);
                say(ConditionType::Reachable, answered, *reason, message);
            }
            let standing = Standing::Stuck(*reason, unwell(seen, message));
            stand(seen, status, &standing);
            return false;
        }
    };
    let seen_as = words(&facts);
    say(ConditionType::Reachable, Some(true), Reason::Reachable, &seen_as);
    let word = seen.spec.adopt_identity.as_deref().filter(|word| seen.status.adopted.as_deref() != Some(*word));
    match judge((status.identity.as_ref(), &facts), seen.spec.environment, word) {
        judgement @ (Judgement::Accepted | Judgement::Adopted) => {
            if judgement == Judgement::Adopted {
                status.adopted.clone_from(&seen.spec.adopt_identity);
                // A backup of another database proves nothing about this one.
                let mark = |identity: &DatabaseIdentity| identity.marker.as_ref().map(|marker| marker.uuid.clone());
                if status.identity.as_ref().and_then(mark) != mark(&facts) {
                    status.last_proven = None;
                }
            }
            say_certain(seen, status, &facts);
            status.identity = Some(facts);
            status.identity_seen_at = Some(MicroTime(seen.now));
            true
        }
        Judgement::Uncertain(differences) => {
            let message = another(seen, &facts, &differences);
            uncertain(seen, status, &message);
            false
        }
        Judgement::Older(difference) => {
            let message = another(seen, &facts, &[difference]);
            uncertain(seen, status, &message);
            false
        }
        Judgement::Misdeclared(marked) => {
            let message = misdeclared(seen, &facts, marked);
            uncertain(seen, status, &message);
            false
        }
    }
}

/// Says who the database is, and that it may be used.
pub(super) fn say_certain(seen: &Observed, status: &mut DatabaseInstanceStatus, facts: &DatabaseIdentity) {
    let message = format!("It is {}.", fingerprint(facts));
    let certain = (ConditionType::IdentityCertain, Some(true), Reason::Reachable);
    set_condition(&mut status.conditions, certain, &message, (seen.generation, seen.now));
    stand(seen, status, &Standing::Well(Reason::Reachable, well(seen, facts, &words(facts))));
}

fn uncertain(seen: &Observed, status: &mut DatabaseInstanceStatus, message: &str) {
    let condition = (ConditionType::IdentityCertain, Some(false), Reason::IdentityUncertain);
    set_condition(&mut status.conditions, condition, message, (seen.generation, seen.now));
    stand(seen, status, &Standing::Stuck(Reason::IdentityUncertain, message.to_owned()));
}
