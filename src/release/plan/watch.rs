//! Watch: the candidate serves; the former version stays at full size and takes traffic back from the event
//! that shows trouble; pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        manifests::{self, PhaseChecks},
        observed::{Ask, DecisionSeen, Observed},
    },
    Action, Move, Plan, Situation, abort, candidate_content,
    checks::{self, Verdict},
    contract, decisions, disrupted,
    ending::{self, Why},
    health::{self, Readiness},
    images, later, overdue, recorded, rollback, suspend,
};
use crate::api::{Check, CheckPhase, DecisionKind, Duration, Outcome, Reason, Record, ReleaseSpec, Step};

/// How long after the window the last word of its checks may take before it is told that it is waited for.
const LAST_WORD: Duration = Duration::from_secs(30);

/// What the watch has found.
enum Finding {
    /// Nothing wrong.
    Well,
    /// Fewer ready than asked for, within what is tolerated.
    Tolerated(String),
    /// The last word of the checks may come any moment.
    Late(Timestamp),
    /// The window must not end by itself.
    Hold(Reason, String),
    /// Traffic has to go back.
    Back(Reason, String),
}

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    let Some(content) = candidate_content(seen, &record).cloned() else { return ending::content_lost(seen, record) };
    if let Some(turned) = ending::begun(seen, &record) {
        return turned;
    }
    // Readiness first, before anything that could return: going back is never made to wait.
    let readiness = readiness(seen, &mut record, &content);
    if let Finding::Back(reason, message) = readiness {
        return ending::turn_back(record, seen.now, Why { reason, message, outcome: Outcome::RolledBack });
    }
    let checks = watch_checks(seen, &record, &content);
    if let Finding::Back(reason, message) = checks {
        return ending::turn_back(record, seen.now, Why { reason, message, outcome: Outcome::RolledBack });
    }
    // From here on the way back is not forced by the candidate: it needs somebody there to go back to.
    let turned = reverted(seen, &record)
        .or_else(|| abort::check(seen, &record))
        .or_else(|| images::check(seen, &record, &content));
    let empty = record.active.as_ref().filter(|active| !health::back_is_possible(seen, &record, &active.revision));
    let goes_back = turned.is_some();
    let checks = match (turned, empty) {
        // Whether it was asked for has to be known first.
        (Some(asking @ Move::Stay(_)), _) => return asking,
        (Some(turned), None) => return turned,
        (Some(Move::To(_)), Some(active)) => {
            let (reason, message) = health::both_unhealthy(seen, &record, active);
            Finding::Hold(reason, message)
        }
        (None, _) => checks,
    };
    let ready = matches!(readiness, Finding::Well) && !goes_back;
    // A way back that a person asked for is no way forward.
    let held = suspend::holds(seen, &record)
        && record.candidate.as_ref().is_some_and(|candidate| candidate.rollback.is_none());
    let mut late = None;
    let (situation, ends) = match (readiness, checks) {
        (Finding::Hold(reason, message), _) | (_, Finding::Hold(reason, message)) => {
            (Situation::OnHold(reason, message), false)
        }
        (Finding::Tolerated(message), _) | (_, Finding::Tolerated(message)) => {
            (Situation::Working(Reason::Watching, message), false)
        }
        // What is told of the window stays true until then.
        (_, Finding::Late(until)) => {
            late = Some(until);
            (Situation::Working(Reason::Watching, watching(seen, &record, &content)), false)
        }
        _ if held && overdue(seen, &record) => (suspend::situation(seen, &record, Step::Retire), false),
        _ => (Situation::Working(Reason::Watching, watching(seen, &record, &content)), true),
    };
    if ends && overdue(seen, &record) {
        return proven(seen, record, &content, "passed its watch window");
    }
    // A person may know better than a check, never better than the pods.
    let promoted = if ready && !held { promoted(seen, &record) } else { Ok(None) };
    if let Ok(Some(decision)) = promoted {
        decisions::use_up(&mut record, decision, seen.now);
        let how = format!("was promoted by {} before its watch window was over", decision.actor);
        return proven(seen, record, &content, &how);
    }
    let counts_again = disrupted::next(&record, &content);
    let tolerated = record
        .unready_since
        .as_ref()
        .filter(|_| record.well_since.is_none())
        .map(|since| later(since.0, content.watch.tolerate));
    let mut plan = Plan::stay(record, situation);
    // The end of the window is over then.
    plan.recheck = late.or(plan.recheck);
    for end in tolerated.into_iter().chain(counts_again).filter(|end| *end > seen.now) {
        plan.look_again_at(end);
    }
    if let Some(job) = check_job(seen, &plan.record, &content) {
        plan.actions.push(job);
    }
    plan.asks.extend(promoted.err());
    plan.into()
}

/// Returns the Decision that ends the window.
fn promoted<'a>(seen: &'a Observed, record: &Record) -> Result<Option<&'a DecisionSeen>, Ask> {
    decisions::find(seen, record, |kind| matches!(kind, DecisionKind::Promote(_)))
}

/// Judges readiness by what the endpoints and the pods say right now.
fn readiness(seen: &Observed, record: &mut Record, content: &ReleaseSpec) -> Finding {
    let revision = content.revision();
    disrupted::note(seen, record, content);
    let expected = disrupted::expected(record, content);
    let Some(worst) = health::of_revision(seen, &expected, &revision, &content.watch) else { return Finding::Well };
    let counted = format!("{}{}", worst.message, disrupted::words(record));
    if worst.readiness == Readiness::Enough {
        if record.unready_since.is_some() {
            record.well_since.get_or_insert(MicroTime(seen.now));
        }
        return Finding::Well;
    }
    let since = unready_since(record, seen.now, content.watch.tolerate);
    let patience_over = later(since, content.watch.tolerate) <= seen.now;
    if worst.readiness == Readiness::Low && !patience_over {
        return Finding::Tolerated(format!("{counted}; tolerated for {}.", content.watch.tolerate));
    }
    let cause = health::because(seen, &revision);
    match &record.active {
        None => Finding::Hold(
            Reason::ActiveUnhealthy,
            format!("{counted}{cause}. There is no earlier version to go back to; traffic stays."),
        ),
        Some(blue) if health::back_is_better(seen, record, &blue.revision, &revision) => {
            back(seen, content, (Reason::ReadinessLost, format!("{counted}{cause}")))
        }
        Some(blue) => Finding::Hold(
            Reason::BothUnhealthy,
            format!("{counted}{cause}, and {} is no better: traffic stays and no automatic act follows.", blue.version),
        ),
    }
}

/// Returns since when pods have been missing, and notes it. Pods that come and go are as bad as pods that stay away: what
/// they were well for in between is left out, and only as long as is tolerated ends it.
fn unready_since(record: &mut Record, now: Timestamp, tolerate: Duration) -> Timestamp {
    let well = record.well_since.take().map_or(SignedDuration::ZERO, |well| now.duration_since(well.0));
    // Whoever led before may have a clock that is ahead of ours.
    let well = well.max(SignedDuration::ZERO);
    let before = record.unready_since.as_ref().filter(|_| well.is_zero() || well < tolerate.as_signed());
    let since = before.map_or(now, |since| since.0.saturating_add(well).unwrap_or(now));
    record.unready_since = Some(MicroTime(since));
    since
}

/// Reads the watch checks' Job; until it has ended nothing is wrong.
fn watch_checks(seen: &Observed, record: &Record, content: &ReleaseSpec) -> Finding {
    let asked = manifests::agent_checks(content, CheckPhase::Watch).count();
    let Some(candidate) = record.candidate.as_ref().filter(|_| asked > 0) else { return Finding::Well };
    let name = manifests::agent_job_name(&seen.release, candidate.attempt, CheckPhase::Watch);
    let Some(job) = seen.job(&name) else { return without_job(seen, (record, content), &name) };
    let (message, unsure) = match checks::of_agent(seen, job, asked) {
        Verdict::Passed => return Finding::Well,
        // The window ends when its checks have ended, not before.
        Verdict::Running if overdue(seen, record) => {
            let until = record.deadline().map_or(seen.now, |end| later(end, LAST_WORD));
            let waiting = || Finding::Tolerated(format!("Waiting for the last word of Job {name}."));
            return if seen.now < until { Finding::Late(until) } else { waiting() };
        }
        Verdict::Running => return Finding::Well,
        Verdict::Failed(message) => return back_if_possible(seen, (record, content), message),
        Verdict::CannotTell(message, unsure) => (message, unsure),
        Verdict::Lost(message) => (message, vec![]),
    };
    let next = format!("kubectl delete job {name} -n {} to run it anew", seen.release.namespace);
    cannot_tell(seen, (record, content), (&message, &unsure), &next)
}

/// Says what follows while the checks have no Job: it is made in this look, and the window does not end without it. That it could
/// not be made is known once that was told and it is still not there; somebody may have deleted it to run it anew.
fn without_job(seen: &Observed, (record, content): (&Record, &ReleaseSpec), name: &str) -> Finding {
    let missing = format!("Job {name} of its checks is not there");
    let since = record.step_since.as_ref().map_or(seen.now, |since| since.0);
    if !overdue(seen, record) && later(since, LAST_WORD) > seen.now {
        return Finding::Well;
    }
    let told = seen.release.status.conditions.iter().any(|condition| condition.message.contains(&missing));
    if !overdue(seen, record) || !told {
        return Finding::Tolerated(format!("{} serves, and {missing} yet.", content.version));
    }
    let message = format!("{missing}: it could not be made");
    let next = format!("what refuses Jobs in the namespace: kubectl get resourcequotas -n {}", seen.release.namespace);
    cannot_tell(seen, (record, content), (&message, &[]), &next)
}

/// Does what is asked for when these checks cannot tell, or all of them: it goes back, or a person is called.
fn cannot_tell(
    seen: &Observed,
    (record, content): (&Record, &ReleaseSpec),
    (message, unsure): (&str, &[String]),
    next: &str,
) -> Finding {
    let message = ending::sentence(message);
    if checks::goes_back_unsure(content, unsure) {
        return back_if_possible(seen, (record, content), format!("{message} The spec says to go back then."));
    }
    Finding::Hold(Reason::WatchOnHold, format!("{message} The window does not end. Next: {next}."))
}

/// Takes traffic back because of checks, unless nobody is there who could take it.
fn back_if_possible(seen: &Observed, (record, content): (&Record, &ReleaseSpec), message: String) -> Finding {
    match &record.active {
        Some(blue) if !health::back_is_possible(seen, record, &blue.revision) => Finding::Hold(
            Reason::BothUnhealthy,
            format!("{message}, and {}: traffic stays.", health::nobody(seen, record, blue)),
        ),
        Some(_) | None => back(seen, content, (Reason::ChecksFailed, message)),
    }
}

/// Takes traffic back, or calls a person where the spec leaves it to people.
fn back(seen: &Observed, content: &ReleaseSpec, (reason, message): (Reason, String)) -> Finding {
    if content.rollback.automatic {
        return Finding::Back(reason, message);
    }
    Finding::Hold(
        reason,
        format!(
            "{} rollback.automatic is false: traffic stays until somebody decides. Next: {}",
            ending::sentence(&message),
            seen.release.command("abort")
        ),
    )
}

/// Goes back because the spec names the former revision again.
fn reverted(seen: &Observed, record: &Record) -> Option<Move> {
    // A person left that revision on purpose.
    record.candidate.as_ref().filter(|candidate| candidate.rollback.is_none())?;
    let active = record.active.as_ref().filter(|active| active.revision == seen.release.wanted)?;
    let message = format!("The spec names {} again.", active.version);
    Some(ending::turn_back(
        record.clone(),
        seen.now,
        Why { reason: Reason::SpecReverted, message, outcome: Outcome::Superseded },
    ))
}

/// Starts the watch checks' Job.
fn check_job(seen: &Observed, record: &Record, content: &ReleaseSpec) -> Option<Action> {
    let candidate = record.candidate.as_ref().filter(|_| recorded(seen, record))?;
    let asked: Vec<&Check> = manifests::agent_checks(content, CheckPhase::Watch).collect();
    let name = manifests::agent_job_name(&seen.release, candidate.attempt, CheckPhase::Watch);
    if asked.is_empty() || seen.job(&name).is_some() {
        return None;
    }
    let owner = seen.attempt(candidate.attempt);
    let (phase, until, instance) = (CheckPhase::Watch, record.deadline(), checks::instance(seen, content));
    let checks = PhaseChecks { name, spec: content, phase, checks: asked, until, instance };
    let job = manifests::agent_job((&seen.release, &seen.settings), &checks, owner);
    Some(Action::Create(Box::new(job)))
}

fn watching(seen: &Observed, record: &Record, content: &ReleaseSpec) -> String {
    let until = record.deadline().map(|end| end.strftime("%H:%M:%S").to_string()).unwrap_or_default();
    let back = record.active.as_ref().map_or_else(
        || "There is no earlier version to go back to.".to_owned(),
        |active| format!("{} stays at full size, ready to take traffic back.", active.version),
    );
    let of_candidate = record.candidate.as_ref().is_some_and(|candidate| candidate.rollback.is_some());
    let next = if of_candidate || seen.release.wanted == content.revision() {
        String::new()
    } else {
        format!(" {} waits until the window ends.", seen.release.spec.version)
    };
    format!("{} serves and is watched until {until} UTC. {back}{next}", content.version)
}

/// The window is over and nothing failed.
fn proven(seen: &Observed, mut record: Record, content: &ReleaseSpec, how: &str) -> Move {
    let contract = contract::follows(seen, &mut record, content);
    let message = format!("{} serves and {how}.{contract}", content.version);
    rollback::left(seen, &mut record);
    let why = Why { reason: Reason::Released, message, outcome: Outcome::Succeeded };
    ending::stay_on_candidate(record, seen.now, content.rollback.keep_previous, why)
}
