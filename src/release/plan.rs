//! What to do next about a Release: one total, pure function.
//!
//! In: [`Observed`]. Out: [`Plan`]: what to remember, what to do, what must be known first, when to look again.
//! Every name an action uses is in the plan; `act` makes no choices. A step with an effect that cannot be taken
//! back acts only when it stands in the status *as read*: the first look records the step, the second, which
//! reads that record back, acts. A lost status write so costs a repeat, never a surprise.
#![deny(clippy::wildcard_enum_match_arm)]

mod abort;
mod action;
mod adopt;
mod approve;
mod authors;
mod backup;
mod belongings;
mod checks;
mod clean_up;
mod config;
mod contested;
mod contract;
mod database;
mod decisions;
mod delete;
mod deploy;
mod elsewhere;
mod ending;
mod fence;
mod found;
mod going;
mod handover;
mod health;
mod hooks;
mod idle;
mod images;
mod inspect;
mod lost;
mod migrate;
mod orphan;
mod pending;
mod policies;
mod preflight;
mod promotion;
mod proposal;
mod quota;
mod rehearse;
mod report;
mod restore_data;
mod retire;
mod rollback;
mod scaling;
mod slots;
mod suspend;
mod switch;
mod switch_back;
mod upkeep;
mod verify;
mod watch;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::observed::{Ask, Observed};
use crate::api::{
    CandidateRevision, Condition, ConditionType, Duration, Outcome, Reason, Record, ReleaseSpec, Step, StepTime,
};

pub use action::Action;
pub use contract::is_under_way as is_contract;
pub use health::Readiness;
pub use proposal::{expect, forecast};
pub(super) use verify::is_late;

/// How many steps one look may pass through; there are fewer steps than this.
const MOVES: usize = 16;

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to remember; written to status before anything is done.
    pub record: Record,
    /// What to tell people.
    pub situation: Situation,
    /// Who else writes a selector, in words.
    pub contested: Option<String>,
    /// What to do, in this order.
    pub actions: Vec<Action>,
    /// What must be known first; the plan is made again with the answers.
    pub asks: Vec<Ask>,
    /// When to look again though nothing happens.
    pub recheck: Option<Timestamp>,
    /// Whether acting comes before remembering, and what fails does not keep the rest: on the way back, which nothing
    /// may make wait, and where a deletion has waited long enough.
    pub act_first: bool,
}

/// What to tell people; `status.rs` gives each its conditions.
#[derive(Debug, Clone, PartialEq)]
pub enum Situation {
    /// Something moves.
    Working(Reason, String),
    /// A person is asked.
    WaitingForApproval(Reason, String),
    /// The spec's revision serves.
    Served,
    /// The active revision serves and is unwell.
    ActiveUnhealthy(String),
    /// An attempt ended badly; what served before serves on.
    Failed(Reason, String),
    /// The window does not end by itself.
    OnHold(Reason, String),
    /// The next step waits until it is no longer suspended.
    Suspended(String),
}

/// What a step says.
enum Move {
    /// Go on with this step in the same look.
    To(Box<Record>),
    /// Stay here.
    Stay(Box<Plan>),
}

/// Decides what to do next.
#[must_use]
pub fn plan(seen: &Observed) -> Plan {
    let mut record = seen.record().clone();
    if !seen.release.finalizer && !seen.release.deleting {
        let told = Situation::Working(Reason::Inspecting, "Taking the Release in.".to_owned());
        return Plan { actions: vec![Action::AddFinalizer], ..Plan::stay(record, told) };
    }
    let makes = record.step <= Step::Verify || record.step == Step::Contract;
    if let Some(taken) = seen.taken.as_ref().filter(|_| makes && record.candidate.is_some()) {
        let (reason, message) = inspect::taken((&taken.object, taken.controller.as_deref()));
        let why = ending::Why { reason, message, outcome: Outcome::Failed };
        if let Move::To(turned) = ending::turn_back(record.clone(), seen.now, why) {
            record = *turned;
        }
    }
    authors::note(seen, &mut record);
    let asked = suspend::take(seen, &mut record);
    suspend::go_on(seen, &mut record);
    for _ in 0..MOVES {
        // A migration that runs is let end before anything else.
        if seen.release.deleting && !migrate::is_running(&record) && !restore_data::is_running(&record) {
            return delete::plan(seen, record);
        }
        let before = suspend::holds(seen, &record).then(|| record.clone());
        let next = match record.step {
            Step::Idle => idle::plan(seen, record),
            Step::Inspect => inspect::plan(seen, record),
            Step::Approve => approve::plan(seen, record),
            Step::Preflight => preflight::plan(seen, record),
            Step::Backup => backup::plan(seen, record),
            Step::Rehearse => rehearse::plan(seen, record),
            Step::Migrate => migrate::plan(seen, record),
            Step::Deploy => deploy::plan(seen, record),
            Step::Verify => verify::plan(seen, record),
            Step::Switch => switch::plan(seen, record),
            Step::Watch => watch::plan(seen, record),
            Step::Retire => retire::plan(seen, record),
            Step::Contract => contract::plan(seen, record),
            Step::SwitchBack => switch_back::plan(seen, record),
            Step::RestoreData => restore_data::plan(seen, record),
            Step::CleanUp => clean_up::plan(seen, record),
        };
        let next = match before {
            Some(before) => suspend::hold(seen, before, next),
            None => next,
        };
        match next {
            Move::To(next) => record = *next,
            Move::Stay(mut plan) => {
                // Nothing makes the way back wait.
                plan.asks.extend(asked.filter(|_| !plan.act_first));
                decisions::ask_at_once(seen, &mut plan);
                upkeep::while_waiting(seen, &mut plan);
                lost::find(seen, &mut plan);
                slots::give_back(seen, &mut plan);
                database::last_word(seen).into_iter().for_each(|at| plan.look_again_at(at));
                decisions::settle(seen, &mut plan);
                slots::last(&mut plan);
                fence::note(seen, &mut plan.record);
                // A deadline that is over wakes nobody any more: whatever it meant has been decided above.
                plan.recheck = plan.recheck.filter(|at| *at > seen.now);
                return *plan;
            }
        }
    }
    // Unreachable while every step moves forward; holding is the safe answer if one ever does not.
    let told = Situation::Working(Reason::Inspecting, "The plan does not come to rest; holding.".to_owned());
    Plan::stay(seen.record().clone(), told)
}

impl Plan {
    /// Returns a plan that does nothing.
    fn stay(record: Record, situation: Situation) -> Self {
        let recheck = record.deadline();
        Self { record, situation, contested: None, actions: vec![], asks: vec![], recheck, act_first: false }
    }

    /// Moves the next look forward, never back.
    fn look_again_at(&mut self, at: Timestamp) {
        self.recheck = Some(self.recheck.map_or(at, |earlier| earlier.min(at)));
    }
}

impl From<Plan> for Move {
    fn from(plan: Plan) -> Self {
        Self::Stay(Box::new(plan))
    }
}

/// Begins a step; its deadline is computed once, here.
fn enter(mut record: Record, step: Step, now: Timestamp, limit: Option<Duration>) -> Move {
    if record.candidate.is_some() {
        note_time(&mut record, now);
    }
    record.step = step;
    record.step_since = Some(MicroTime(now));
    record.deadline = limit.map(|limit| MicroTime(later(now, limit)));
    Move::To(Box::new(record))
}

/// Adds the time of the present step to those of the attempt.
fn note_time(record: &mut Record, now: Timestamp) {
    let Some(since) = record.step_since.as_ref().filter(|_| record.step != Step::Idle) else { return };
    let took = u64::try_from(now.duration_since(since.0).as_millis()).unwrap_or(0);
    match record.steps.iter_mut().find(|time| time.step == record.step) {
        Some(time) => {
            let before = u64::try_from(time.took.as_std().as_millis()).unwrap_or(u64::MAX);
            time.took = Duration::from_millis(before.saturating_add(took));
        }
        None => record.steps.push(StepTime { step: record.step, took: Duration::from_millis(took) }),
    }
}

/// Returns a time from now, the last possible one instead of an overflow.
fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.saturating_add(by.as_signed()).unwrap_or(Timestamp::MAX)
}

/// Returns whether a step and its attempt stand in the status as read, so that its effects may begin.
fn recorded(seen: &Observed, record: &Record) -> bool {
    let read = seen.record();
    let attempt = |record: &Record| record.candidate.as_ref().map(|candidate| candidate.attempt);
    read.step == record.step && attempt(read) == attempt(record)
}

/// Returns what may be done once its step stands in the status as read, and nothing before.
fn when_recorded(seen: &Observed, record: &Record, action: Action) -> Vec<Action> {
    recorded(seen, record).then_some(action).into_iter().collect()
}

/// Stays where status says that it is, and says what that says: for a moment that is worth no word of its own. What people
/// have decided is noted all the same.
fn as_before(seen: &Observed, record: Record) -> Plan {
    let Record { decisions, suspended, .. } = record;
    let ready = seen.release.status.conditions.iter().find(|told| told.type_ == ConditionType::Ready.as_str());
    let said = |ready: &Condition| {
        let (reason, message) = (Reason::parse(&ready.reason), ready.message.clone());
        if reason == Reason::Suspended { Situation::Suspended(message) } else { Situation::Working(reason, message) }
    };
    let told = ready.map_or_else(|| Situation::Working(Reason::Inspecting, String::new()), said);
    Plan::stay(Record { decisions, suspended, ..seen.record().clone() }, told)
}

/// Returns whether the deadline of the step is over.
fn overdue(seen: &Observed, record: &Record) -> bool {
    record.deadline().is_some_and(|deadline| deadline <= seen.now)
}

/// Returns the frozen content of the attempt under way.
fn candidate_content<'a>(seen: &'a Observed, record: &Record) -> Option<&'a Arc<ReleaseSpec>> {
    seen.contents.get(&record.candidate.as_ref()?.attempt)
}

/// Returns the frozen content of the active revision.
fn active_content<'a>(seen: &'a Observed, record: &Record) -> Option<&'a Arc<ReleaseSpec>> {
    seen.contents.get(&record.active.as_ref()?.attempt)
}

/// Returns whether the spec still asks for the attempt under way.
fn still_wanted(seen: &Observed, record: &Record) -> bool {
    // What a person went back to is not asked for by the spec, and no spec takes its place before it serves.
    let is = |candidate: &CandidateRevision| candidate.rollback.is_some() || candidate.revision == seen.release.wanted;
    record.candidate.as_ref().is_some_and(is)
}
