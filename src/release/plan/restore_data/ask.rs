//! What is asked of people before the data come back: what would be lost is counted, and waits for their word; pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        super::{
            manifests,
            observed::{DecisionSeen, Guard, Observed},
            words,
        },
        Action, Move, Plan, Situation,
        authors::{self, Authors},
        database::{self, LOST_JOBS, Said},
        decisions::{self, Standing, Word},
        ending, later, migrate, overdue,
        policies::Policies,
        proposal, when_recorded,
    },
    restore::{began, find, kept, note, record_of, stay_with, told as restoring, what},
};
use crate::{
    api::{DataLoss, DecisionState, Gate, Reason, Record, RestoreProgress, RestoreRecord, Step, clamp, clamp_to},
    protocol::Answer,
};

/// How much is told of why it went back, in bytes: what is lost and the next command have to be told as well.
const CAUSE_BYTES: usize = 384;

/// Counts what would be lost, by a Job that only reads.
pub(super) fn count(seen: &Observed, mut record: Record, restore: &RestoreRecord) -> Move {
    let name = manifests::loss_name(&seen.release, &record, restore.attempt);
    let Some(job) = seen.job(&name) else { return make(seen, record, &name) };
    match database::result::<Answer<DataLoss>>(seen, job) {
        Said::Nothing => {
            let situation = counting(&record);
            Plan::stay(record, situation).into()
        }
        Said::Lost(message) if restore.attempt >= LOST_JOBS => kept(seen, record, &message),
        Said::Lost(_) => {
            record.deadline = Some(MicroTime(later(seen.now, migrate::START)));
            stay_with(record, RestoreRecord { attempt: restore.attempt + 1, ..restore.clone() }, counting)
        }
        Said::This(answer) => match *answer {
            Answer::Refused(refusal) => kept(seen, record, &refusal.message),
            Answer::Done(loss) => ask(seen, record, loss),
        },
    }
}

/// Makes the Job that counts. Once it is made it has a time limit of its own.
fn make(seen: &Observed, record: Record, name: &str) -> Move {
    let made = find(seen, &record).and_then(|found| {
        let uid = found.backup.uid.clone();
        let what = what(&found, name, (&uid, 1));
        let owner = record.candidate.as_ref().and_then(|candidate| seen.attempt(candidate.attempt));
        manifests::loss_job((&seen.release, &seen.settings), found.content, (&what, &record), owner)
            .ok_or("the DatabaseInstance names no capacity, or the storage of the backup is gone")
    });
    match made {
        Err(why) => kept(seen, record, why),
        Ok(_) if overdue(seen, &record) => kept(seen, record, &format!("Job {name} could not be made in time")),
        Ok(job) => {
            let actions = when_recorded(seen, &record, Action::Create(Box::new(job)));
            let situation = counting(&record);
            Plan { actions, ..Plan::stay(record, situation) }.into()
        }
    }
}

fn counting(record: &Record) -> Situation {
    let message = format!("{} What restoring the backup would lose is counted.", ending::told(record));
    Situation::Working(Reason::RestoringData, message)
}

/// Writes down what would be lost, and waits for people.
fn ask(seen: &Observed, mut record: Record, loss: DataLoss) -> Move {
    let plan = proposal::data_loss::propose(seen, &record, &loss);
    let waiting = RestoreRecord { loss: Some(loss), plan: Some(plan), ..began(seen, RestoreProgress::Waiting) };
    note(&mut record, waiting.clone());
    // What nobody approves in the time in which an approval counts stays as it is.
    let limit = Policies(&seen.policies).approvals_expire();
    record.deadline = Some(MicroTime(seen.now.saturating_add(limit).unwrap_or(Timestamp::MAX)));
    wait(seen, record, &waiting)
}

/// Waits for people; whatever else is asked for meanwhile goes first.
pub(super) fn wait(seen: &Observed, mut record: Record, restore: &RestoreRecord) -> Move {
    if let Err(why) = still_asked_for(seen, &record).and_then(|()| find(seen, &record).map(|_| ())) {
        return kept(seen, record, why);
    }
    let approvals = match decisions::word(seen, &record, Gate::DataLoss) {
        Err(ask) => {
            let told = waiting(seen, &record, restore, &[]);
            return Plan { asks: vec![ask], ..Plan::stay(record, told) }.into();
        }
        Ok(Word::No(decision)) => {
            let why = format!("{} rejected that by Decision {}", decision.actor, decision.name);
            decisions::use_up(&mut record, decision, seen.now);
            return kept(seen, record, &why);
        }
        Ok(Word::Yes(approvals)) => approvals,
    };
    if approvals.len() >= Policies(&seen.policies).required() {
        return begin(seen, record, (restore, &approvals));
    }
    if overdue(seen, &record) {
        return kept(seen, record, "nobody approved what would be lost in the time in which an approval counts");
    }
    let people: Vec<&str> = approvals.iter().map(|approval| approval.actor.as_str()).collect();
    let unmet = proposal::data_loss::unmet(seen, (&people, &authors::of(seen, &record)));
    if let Some(plan) = record.migration.as_mut().and_then(|it| it.restore.as_mut()).and_then(|it| it.plan.as_mut()) {
        plan.unmet = unmet;
    }
    let situation = waiting(seen, &record, restore, &people);
    let mut plan = Plan::stay(record, situation);
    let in_force = authors::in_force(seen).filter(|since| *since > seen.now);
    in_force.into_iter().for_each(|since| plan.look_again_at(since));
    plan.into()
}

/// Refuses to wait any longer once the spec asks for a third version: it begins when this has ended.
fn still_asked_for(seen: &Observed, record: &Record) -> Result<(), &'static str> {
    let wanted = &seen.release.wanted;
    let candidate = record.candidate.as_ref().is_some_and(|candidate| candidate.revision == *wanted);
    let active = record.active.as_ref().is_some_and(|active| active.revision == *wanted);
    if candidate || active { Ok(()) } else { Err("the spec asks for another version now") }
}

/// Begins it, by the word of people.
fn begin(seen: &Observed, mut record: Record, (restore, approvals): (&RestoreRecord, &[&DecisionSeen])) -> Move {
    let counted = || approvals.iter().take(Policies(&seen.policies).required());
    let started = RestoreRecord {
        decision: approvals.first().map(|first| first.uid.clone()).unwrap_or_default(),
        approved_by: counted().map(|approval| approval.actor.clone()).collect(),
        loss: restore.loss.clone(),
        plan: restore.plan.clone(),
        ..began(seen, RestoreProgress::Started)
    };
    counted().for_each(|approval| decisions::use_up(&mut record, approval, seen.now));
    record.deadline = Some(MicroTime(later(seen.now, migrate::START)));
    stay_with(record, started, restoring)
}

fn waiting(seen: &Observed, record: &Record, restore: &RestoreRecord, people: &[&str]) -> Situation {
    // What follows says what to do.
    let cause = clamp_to(ending::cause(record), CAUSE_BYTES);
    let serves = words::serves(record.active.as_ref().map(|active| active.version.as_str()));
    let first = format!("{cause}. {serves} on the migrated schema.");
    if let Guard::Missing(why) = &seen.guard {
        let message = format!("{first} Decisions are not guarded: {why}.");
        return Situation::WaitingForApproval(Reason::ApprovalPolicyMissing, message);
    }
    if let Authors::Unknown(reason, message) = authors::of(seen, record) {
        return Situation::WaitingForApproval(reason, format!("{first} {message}"));
    }
    let loss = restore.loss.as_ref().map(DataLoss::words).unwrap_or_default();
    let given = words::approved_so_far(people, Policies(&seen.policies).required());
    let next = format!("{}{}", seen.release.command("approve"), words::gate_option(Gate::DataLoss));
    let until = record.deadline().map(|at| at.strftime("%F %H:%M UTC").to_string()).unwrap_or_default();
    let message = format!(
        "{first} Restoring the backup would lose {loss}, and what is written \
         until then.{given} Without approval the data stay as they are from {until} on. Next: {next}, or reject it."
    );
    Situation::WaitingForApproval(Reason::DataLossPending, clamp(&message).to_owned())
}

/// Returns the restore that a Decision may be about.
fn waits<'a>(record: &'a Record, decision: &DecisionSeen) -> Result<&'a RestoreRecord, Standing> {
    let refused = |reason, message: &str| Standing::Refused(DecisionState::Refused, reason, message.to_owned());
    let waits = record_of(record).filter(|restore| restore.state == RestoreProgress::Waiting);
    let Some(restore) = waits.filter(|_| record.step == Step::RestoreData) else {
        return Err(refused(Reason::TooLate, "No way back of the data waits."));
    };
    if decisions::is_before(decision.created, restore.since.0) {
        return Err(refused(Reason::TooEarly, "It was created before what would be lost was there to be read."));
    }
    Ok(restore)
}

/// Judges an approval of what would be lost.
pub(in super::super) fn approve(
    seen: &Observed,
    record: &Record,
    (decision, digest): (&DecisionSeen, &str),
) -> Standing {
    let restore = match waits(record, decision) {
        Ok(restore) => restore,
        Err(standing) => return standing,
    };
    let plan = restore.plan.as_ref().map_or("", |plan| plan.digest.as_str());
    if plan != digest {
        let message = format!("It approves {digest}; what would be lost is {plan}.");
        return Standing::Refused(DecisionState::Refused, Reason::OtherDigest, message);
    }
    decisions::by_author(decision, &authors::of(seen, record))
}

/// Judges a rejection of it.
pub(in super::super) fn reject(record: &Record, decision: &DecisionSeen) -> Standing {
    waits(record, decision).map_or_else(|standing| standing, |_| Standing::Counts)
}
