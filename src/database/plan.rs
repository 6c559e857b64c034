//! Plans for one DatabaseInstance; pure.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    identity::{Judgement, is_newer, judge},
    manifests::{job_name, make},
};
use crate::{
    agent_job::{
        probe::{self, Looks, Turn},
        seen::{AgentJobSeen, Said},
        targets::{self, fingerprint},
    },
    api::{
        ConditionType, DatabaseIdentity, DatabaseInstanceSpec, DatabaseInstanceStatus, Environment, Probing,
        ProvenBackup, Reason, Standing, set_condition, set_standing,
    },
    databases::{Action, Plan},
    protocol::{Answer, BackupResult, DatabaseFacts, InspectResult, MigrateResult, Refusal},
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
    /// Image of the agent.
    pub agent_image: String,
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
            let well = conclude(seen, &mut plan.status, facts(verb, result));
            plan.status.probing = looks.ended(well);
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

/// Reads the facts out of a result of a look.
fn facts(verb: &str, result: Result<Value, Refusal>) -> Result<DatabaseFacts, Refusal> {
    let answer = match verb {
        probe::MARK => result.and_then(probe::read::<Answer<DatabaseFacts>>)?,
        _ => result.and_then(probe::read::<InspectResult>)?.database.ok_or_else(|| Refusal {
            reason: Reason::JobLost,
            message: "The agent said nothing of the database.".to_owned(),
        })?,
    };
    match answer {
        Answer::Done(facts) => Ok(facts),
        Answer::Refused(refusal) => Err(refusal),
    }
}

/// Takes over what other Jobs have learned: a marker, a higher epoch; and the newest proven backup.
fn learn(seen: &Observed, status: &mut DatabaseInstanceStatus) {
    for facts in seen.jobs.iter().filter_map(|job| facts_of(job, seen.now)) {
        let learned = targets::identity(&facts);
        if let Some(known) = status.identity.as_mut().filter(|known| is_newer(known, &learned)) {
            *known = learned;
        }
    }
    let marker = status.identity.as_ref().and_then(|identity| identity.marker.as_ref()).map(|marker| &marker.uuid);
    let newest = seen
        .proven
        .iter()
        .filter(|backup| backup.marker.as_ref() == marker)
        .map(|backup| &backup.proven)
        .max_by_key(|proven| (proven.at.0, proven.level));
    let older = |known: &ProvenBackup| newest.is_some_and(|newest| known.at.0 <= newest.at.0);
    if let Some(newest) = newest.filter(|_| status.last_proven.as_ref().is_none_or(older)) {
        status.last_proven = Some(newest.clone());
    }
}

fn facts_of(job: &AgentJobSeen, now: Timestamp) -> Option<DatabaseFacts> {
    let Said::Result(result) = job.said::<Value>(now) else { return None };
    match job.verb.as_str() {
        "backup" => match serde_json::from_value::<Answer<BackupResult>>(result).ok()? {
            Answer::Done(done) => Some(done.database),
            Answer::Refused(_) => None,
        },
        probe::MARK => facts(probe::MARK, Ok(result)).ok(),
        "migrate" => match serde_json::from_value::<Answer<MigrateResult>>(result).ok()? {
            Answer::Done(done) => done.database,
            Answer::Refused(_) => None,
        },
        _ => None,
    }
}

/// Returns whether another Job was refused, after the last look, for a reason that a look would find too.
fn doubted(seen: &Observed) -> bool {
    let looked = seen.status.probing.as_ref().and_then(|look| look.ended_at.as_ref()).map(|at| at.0);
    let doubts = |refusal: &Refusal| {
        matches!(
            refusal.reason,
            Reason::IdentityUncertain
                | Reason::DatabaseUnreachable
                | Reason::AuthenticationFailed
                | Reason::NotPrimary
                | Reason::PoolerNotSupported
        )
    };
    seen.jobs
        .iter()
        .filter(|job| job.ended.as_ref().is_some_and(|end| looked.is_some_and(|looked| end.at > looked)))
        .filter_map(|job| refusal_of(job, seen.now))
        .any(|refusal| doubts(&refusal))
}

fn refusal_of(job: &AgentJobSeen, now: Timestamp) -> Option<Refusal> {
    let Said::Result(result) = job.said::<Value>(now) else { return None };
    if let Some(refused) = result.get("refused") {
        return serde_json::from_value(refused.clone()).ok();
    }
    // A migration that began says in its result what became of it.
    serde_json::from_value(result.get("done")?.get("problem")?.clone()).ok()
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
            }
            let message = format!("It is {}.", fingerprint(&facts));
            let certain = (ConditionType::IdentityCertain, Some(true), Reason::Reachable);
            set_condition(&mut status.conditions, certain, &message, (seen.generation, seen.now));
            let standing = Standing::Well(Reason::Reachable, well(seen, &facts, &seen_as));
            status.identity = Some(facts);
            stand(seen, status, &standing);
            true
        }
        Judgement::Uncertain(differences) => {
            let message = another(seen, &facts, &differences);
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

fn uncertain(seen: &Observed, status: &mut DatabaseInstanceStatus, message: &str) {
    let condition = (ConditionType::IdentityCertain, Some(false), Reason::IdentityUncertain);
    set_condition(&mut status.conditions, condition, message, (seen.generation, seen.now));
    stand(seen, status, &Standing::Stuck(Reason::IdentityUncertain, message.to_owned()));
}

fn words(identity: &DatabaseIdentity) -> String {
    let DatabaseIdentity { name, endpoint, server_version, .. } = identity;
    format!("PostgreSQL {server_version}, {name} at {endpoint}.")
}

fn well(seen: &Observed, facts: &DatabaseIdentity, words: &str) -> String {
    match &facts.marker {
        Some(marker) => {
            let environment: &str = marker.environment.into();
            format!("{words} Marked {environment}.")
        }
        None => format!(
            "{words} Not marked yet: the first approved release marks it, and until then it can have no backup. To mark it now: {}",
            adopt(seen, facts)
        ),
    }
}

fn unwell(seen: &Observed, message: &str) -> String {
    let (name, namespace) = (&seen.name, &seen.namespace);
    let message = message.trim_end_matches('.');
    format!(
        "{message}. Nothing is done with it; it is looked at again by itself, and at once when the spec changes. Next: kubectl describe databaseinstance {name} -n {namespace}"
    )
}

fn another(seen: &Observed, facts: &DatabaseIdentity, differences: &[String]) -> String {
    let again = match &seen.status.adopted {
        Some(adopted) if *adopted == fingerprint(facts) => {
            " This word has counted before: take adoptIdentity away first."
        }
        _ => "",
    };
    format!(
        "This is not the database that was accepted: {}. Nothing that writes is done with it. If it is the right one: {}.{again}",
        differences.join("; "),
        adopt(seen, facts)
    )
}

fn misdeclared(seen: &Observed, facts: &DatabaseIdentity, marked: Environment) -> String {
    let (declared, marked): (&str, &str) = (seen.spec.environment.into(), marked.into());
    format!(
        "{} is marked {marked} and declared {declared}. Nothing that writes is done with it. Next: mend spec.environment, or let the Secret {} name another database",
        fingerprint(facts),
        seen.spec.postgres.secret
    )
}

/// Says how an administrator accepts what was seen. A name that a shell would read otherwise is not put into a command.
fn adopt(seen: &Observed, facts: &DatabaseIdentity) -> String {
    let (name, namespace, word) = (&seen.name, &seen.namespace, fingerprint(facts));
    if facts.name.chars().any(|letter| !(letter.is_ascii_alphanumeric() || "-_.".contains(letter))) {
        return format!("set spec.adoptIdentity of DatabaseInstance {name} to {word:?}");
    }
    format!(
        "kubectl patch databaseinstance {name} -n {namespace} --type merge -p '{{\"spec\":{{\"adoptIdentity\":\"{word}\"}}}}'"
    )
}
