//! What Jobs have to say about a database: those that look, and those of backups and Releases; pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::Value;

use super::{
    identity::{Judgement, is_newer, judge},
    manifests::job_name,
    plan::{Observed, say_certain},
};
use crate::{
    agent_job::{
        probe::{self, Looks},
        seen::{AgentJobSeen, Said},
        targets,
    },
    api::{ConditionType, DatabaseInstanceStatus, ProvenBackup, Reason, condition},
    protocol::{self, Answer, BackupResult, DatabaseFacts, Done, InspectResult, MigrateResult, Refusal, Word},
};

/// Returns whether a look shows the database as it was before another Job wrote to it: the look began earlier.
pub(super) fn overtaken(seen: &Observed, looks: &Looks<'_>, found: &Result<DatabaseFacts, Refusal>) -> bool {
    let Ok(facts) = found else { return false };
    let judged = judge((seen.status.identity.as_ref(), &targets::identity(facts)), seen.spec.environment, None);
    let name = looks.record.map(|look| job_name(seen, look));
    let began = seen.jobs.iter().find(|job| Some(&job.name) == name.as_ref()).and_then(|job| job.created);
    let wrote = |job: &AgentJobSeen| {
        let end = job.ended.as_ref().map(|end| end.at);
        job.verb != probe::INSPECT && Some(&job.name) != name.as_ref() && end.is_some() && end >= began
    };
    matches!(judged, Judgement::Older(_)) && seen.jobs.iter().any(wrote)
}

/// Reads the facts out of a result of a look.
pub(super) fn facts(verb: &str, result: Result<Value, Refusal>) -> Result<DatabaseFacts, Refusal> {
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
pub(super) fn learn(seen: &Observed, status: &mut DatabaseInstanceStatus) {
    // What ended before the database was last seen is what it was then: an administrator may have accepted another one.
    let seen_at = status.identity_seen_at.as_ref().map_or(Timestamp::MAX, |at| at.0).as_second();
    let later = |job: &&AgentJobSeen| job.ended.as_ref().is_some_and(|end| end.at.as_second() >= seen_at);
    for facts in seen.jobs.iter().filter(later).filter_map(|job| facts_of(job, seen.now)) {
        let learned = targets::identity(&facts);
        if let Some(known) = status.identity.as_mut().filter(|known| is_newer(known, &learned)) {
            let marked = known.marker.is_none() && learned.marker.is_some();
            *known = learned.clone();
            status.identity_seen_at = Some(MicroTime(seen.now));
            // What was said of a database without a mark is true no more.
            if marked && is_well(seen, status) {
                say_certain(seen, status, &learned);
            }
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

/// Returns whether it was found well as its spec says now.
fn is_well(seen: &Observed, status: &DatabaseInstanceStatus) -> bool {
    let ready = condition(&status.conditions, ConditionType::Ready).filter(|ready| ready.status == "True");
    status.observed_generation == seen.generation && ready.is_some()
}

fn facts_of(job: &AgentJobSeen, now: Timestamp) -> Option<DatabaseFacts> {
    fn done<T: Done>(job: &AgentJobSeen, now: Timestamp) -> Option<T> {
        let Said::Result(Answer::Done(done)) = job.said(now) else { return None };
        Some(done)
    }
    match job.verb.as_str() {
        BackupResult::VERB => done::<BackupResult>(job, now).map(|backup| backup.database),
        DatabaseFacts::VERB => done(job, now),
        MigrateResult::VERB => done::<MigrateResult>(job, now)?.database,
        _ => None,
    }
}

/// Returns whether another Job was refused, after the last look, for a reason that a look would find too.
pub(super) fn doubted(seen: &Observed) -> bool {
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
        // What others have looked at is judged by them.
        .filter(|job| job.verb != InspectResult::VERB)
        .filter_map(|job| protocol::refusal(&job.verb, job.message.as_deref()?))
        .any(|refusal| doubts(&refusal))
}
