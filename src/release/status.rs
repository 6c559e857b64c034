//! Status, conditions and events of a Release; pure.
//!
//! In: what was seen and the plan. Out: what people and tools read. What was observed is told, never what is
//! intended.
#![deny(clippy::wildcard_enum_match_arm)]

mod contract;
mod database;
mod news;

pub use news::{MOST_EVENTS, News, news};

use super::{
    observed::Observed,
    plan::{self, Plan, Situation},
    words,
};
use crate::api::{
    Condition, ConditionType, HistoryEntry, MigrationProgress, Outcome, Reason, ReleaseStatus, RevisionId, Step,
    set_condition,
};

/// Returns the status that goes with a plan.
#[must_use]
pub fn status(seen: &Observed, plan: &Plan) -> ReleaseStatus {
    let mut conditions = seen.release.status.conditions.clone();
    let said = Said { seen, plan };
    for (type_, status, reason, message) in said.conditions() {
        set_condition(&mut conditions, (type_, status, reason), &message, (seen.release.generation, seen.now));
    }
    // Abnormal-true conditions are there while they hold: kstatus reads their absence as well.
    let holds = said.abnormal();
    conditions.retain(|condition| !is_abnormal(condition) || holds.contains(&condition.type_.as_str()));
    let mut record = plan.record.clone();
    let limit = usize::from(seen.release.spec.history_limit);
    if record.history.len() > limit {
        record.history.drain(..record.history.len() - limit);
    }
    record.events = news::counted(seen, plan);
    ReleaseStatus { observed_generation: seen.release.generation, conditions, record }
}

fn is_abnormal(condition: &Condition) -> bool {
    [
        ConditionType::Reconciling,
        ConditionType::Stalled,
        ConditionType::TrafficContested,
        ConditionType::ContractPending,
    ]
    .iter()
    .any(|type_| type_.as_str() == condition.type_)
}

type Row = (ConditionType, Option<bool>, Reason, String);

struct Said<'a> {
    seen: &'a Observed,
    plan: &'a Plan,
}

impl Said<'_> {
    fn conditions(&self) -> Vec<Row> {
        let mut rows = self.kstatus();
        rows.push(self.serving());
        rows.extend(self.finished());
        rows.extend(self.progress());
        rows.extend(self.contract());
        rows.extend(self.contracted());
        if let Some(contested) = &self.plan.contested {
            rows.push((ConditionType::TrafficContested, Some(true), Reason::TrafficContested, contested.clone()));
        }
        rows
    }

    fn abnormal(&self) -> Vec<&'static str> {
        let mut holds: Vec<&'static str> = match &self.plan.situation {
            Situation::Working(..) | Situation::WaitingForApproval(..) | Situation::OnHold(..) => {
                vec![ConditionType::Reconciling.as_str()]
            }
            Situation::Failed(..) => vec![ConditionType::Stalled.as_str()],
            Situation::Served | Situation::ActiveUnhealthy(_) | Situation::Suspended(_) => vec![],
        };
        holds.extend(self.plan.contested.as_ref().map(|_| ConditionType::TrafficContested.as_str()));
        holds.extend(self.contract().map(|_| ConditionType::ContractPending.as_str()));
        holds
    }

    /// The rows of the table in the reference: one situation, one set of conditions.
    fn kstatus(&self) -> Vec<Row> {
        use ConditionType::{Ready, Reconciling, Stalled};
        let row = |type_, status, reason, message: &str| (type_, status, reason, message.to_owned());
        match &self.plan.situation {
            Situation::Working(reason, message)
            | Situation::WaitingForApproval(reason, message)
            | Situation::OnHold(reason, message) => {
                vec![row(Reconciling, Some(true), *reason, message), row(Ready, None, *reason, message)]
            }
            Situation::Suspended(message) => vec![row(Ready, None, Reason::Suspended, message)],
            Situation::Served => vec![row(Ready, Some(true), Reason::Released, &self.served())],
            Situation::ActiveUnhealthy(message) => vec![row(Ready, Some(false), Reason::ActiveUnhealthy, message)],
            Situation::Failed(reason, message) => {
                let message = self.failed(message);
                vec![row(Stalled, Some(true), *reason, &message), row(Ready, Some(false), *reason, &message)]
            }
        }
    }

    fn served(&self) -> String {
        self.plan.record.active.as_ref().map_or_else(String::new, |active| format!("{} serves.", active.version))
    }

    /// What happened, who serves, what does not follow by itself, the next command.
    fn failed(&self, cause: &str) -> String {
        let record = &self.plan.record;
        let version = &self.seen.release.spec.version;
        let cause = cause.trim_end_matches('.');
        let Some(failure) = &record.failure else { return format!("{cause}.") };
        let serves = words::serves(record.active.as_ref().map(|active| active.version.as_str()));
        let ended = match (failure.outcome, &record.active) {
            (Outcome::RolledBack, Some(active)) => {
                let at = failure.at.0.strftime("%H:%M:%S");
                format!("Rolled back to {} at {at} UTC ({cause}).", active.version)
            }
            _ => format!("{cause}."),
        };
        // What became of taking it back is told by the cause.
        let schema =
            record.migration.as_ref().filter(|migration| migration.undo.is_none() && migration.restore.is_none());
        let schema = schema.filter(|migration| migration.revision == failure.revision);
        let schema = match schema.map(|migration| migration.state) {
            Some(MigrationProgress::Applied) => {
                " The schema stays migrated; its change is declared one that the version before works on."
            }
            Some(
                MigrationProgress::Started
                | MigrationProgress::Failed
                | MigrationProgress::Uncertain
                | MigrationProgress::NotStarted,
            )
            | None => "",
        };
        format!(
            "{ended} {serves}.{schema} The spec still says {version}: it is not tried again by itself. \
             Push a fix or revert the spec; or have it tried once more: {}",
            self.seen.release.command("retry")
        )
    }

    /// Tells who serves users, by what the Services' endpoints show.
    fn serving(&self) -> Row {
        let record = &self.plan.record;
        let mut revisions: Vec<(&str, i32)> = record
            .traffic
            .iter()
            .filter_map(|traffic| {
                let revision = traffic.revision.as_ref()?;
                Some((self.version_of(revision), self.seen.ready_endpoints(&traffic.service, revision)))
            })
            .chain(self.working())
            .collect();
        revisions.sort_unstable();
        let served = !revisions.is_empty() && revisions.iter().all(|(_, ready)| *ready > 0);
        let mut versions: Vec<&str> = revisions.iter().map(|(version, _)| *version).collect();
        versions.dedup();
        if served {
            let message = format!("{}.", words::serves(Some(&versions.join(" and "))));
            (ConditionType::Serving, Some(true), Reason::Released, message)
        } else if versions.is_empty() {
            (ConditionType::Serving, Some(false), Reason::NothingServes, format!("{}.", words::serves(None)))
        } else {
            let message = format!("No pod of {} behind at least one Service is ready.", versions.join(" and "));
            (ConditionType::Serving, Some(false), Reason::ActiveUnhealthy, message)
        }
    }

    /// Counts the workers of the active revision where nothing but workers serves.
    fn working(&self) -> impl Iterator<Item = (&str, i32)> {
        let record = &self.plan.record;
        let active = record.active.as_ref().filter(|_| record.traffic.is_empty());
        active.into_iter().flat_map(move |active| {
            let workers = record.workers.iter().filter(|worker| worker.active.is_some());
            workers.map(|worker| (active.version.as_str(), self.seen.ready_pods(&worker.workload, &active.revision)))
        })
    }

    fn version_of(&self, revision: &RevisionId) -> &str {
        let record = &self.plan.record;
        let candidate = record.candidate.as_ref().map(|candidate| (&candidate.revision, &candidate.version));
        let active = record.active.as_ref().map(|active| (&active.revision, &active.version));
        [candidate, active]
            .into_iter()
            .flatten()
            .find(|(known, _)| *known == revision)
            .map_or("an earlier version", |(_, version)| version.as_str())
    }

    fn finished(&self) -> Option<Row> {
        let record = &self.plan.record;
        let under_way = record.candidate.as_ref();
        match (under_way, record.history.last()) {
            (Some(candidate), _) => {
                let message = if candidate.contract {
                    format!("The Contract migration of {} is under way.", candidate.version)
                } else {
                    format!("The attempt to release {} is under way.", candidate.version)
                };
                Some((ConditionType::Finished, Some(false), reason_of(record.step), message))
            }
            (None, Some(last)) => Some((ConditionType::Finished, Some(true), ended(last), last.message.clone())),
            (None, None) => None,
        }
    }

    /// How far the attempt is: each of these is true from the step on that follows what it speaks of.
    fn progress(&self) -> Vec<Row> {
        let record = &self.plan.record;
        // What a Contract migration is an attempt of is up, verified and switched to.
        let is_release = record.step <= Step::Watch && !plan::is_contract(record);
        let Some(candidate) = record.candidate.as_ref().filter(|_| is_release) else { return vec![] };
        let people = &candidate.approved_by;
        let by = match &candidate.rollback {
            Some(order) => format!("{} goes back to it.", order.actor),
            None if people.is_empty() => "Approved by its mode, Automatic.".to_owned(),
            None => format!("Approved by {}.", people.join(", ")),
        };
        // What served before is frozen as it was, and runs as it ran.
        let preflight = match &candidate.rollback {
            Some(_) => "Its content is the one that served.".to_owned(),
            None => "What was approved was inspected once more and is frozen.".to_owned(),
        };
        let looked = record.database.as_ref();
        let backed_up = looked.map(|_| (ConditionType::BackedUp, Step::Rehearse, self.backed_up()));
        let plans = |step| record.plan.iter().flat_map(|plan| &plan.steps).any(|planned| planned.step == step);
        let due = looked.filter(|_| plans(Step::Migrate));
        let migrated = due.map(|_| (ConditionType::Migrated, Step::Deploy, "The ledger says: applied.".to_owned()));
        let later = plans(Step::Contract).then(|| {
            let message = "Not with the release: its Contract migration waits for an approval of its own.".to_owned();
            (ConditionType::Migrated, Some(false), reason_of(record.step), message)
        });
        let rehearsed = due.map(|_| self.rehearsed());
        let (ready, verified) =
            if plan::is_late(self.seen, record) { (Step::Watch, Step::Watch) } else { (Step::Verify, Step::Switch) };
        let rows = [
            (ConditionType::Approved, Step::Preflight, by),
            (ConditionType::PreflightPassed, Step::Backup, preflight),
            (ConditionType::CandidateReady, ready, "All pods of the candidate are ready.".to_owned()),
            (ConditionType::Verified, verified, "All verify checks passed.".to_owned()),
            (ConditionType::Switched, Step::Watch, "Traffic is on the candidate.".to_owned()),
        ];
        rows.into_iter()
            .chain(backed_up)
            .chain(migrated)
            .map(|(type_, from, message)| {
                let holds = record.step >= from;
                (type_, Some(holds), reason_of(record.step), if holds { message } else { "Not yet.".to_owned() })
            })
            .chain(rehearsed)
            .chain(later)
            .collect()
    }
}

/// Returns what is said of a step.
const fn reason_of(step: Step) -> Reason {
    match step {
        Step::Idle => Reason::Released,
        Step::Inspect => Reason::Inspecting,
        Step::Approve => Reason::WaitingForApproval,
        Step::Preflight => Reason::Preflight,
        Step::Backup => Reason::BackingUp,
        Step::Rehearse => Reason::Rehearsing,
        Step::Migrate => Reason::Migrating,
        Step::Deploy => Reason::Deploying,
        Step::Verify => Reason::Verifying,
        Step::Switch => Reason::Switching,
        Step::Watch => Reason::Watching,
        Step::Retire => Reason::Retiring,
        Step::Contract => Reason::Contracting,
        Step::SwitchBack => Reason::SwitchingBack,
        Step::RestoreData => Reason::RestoringData,
        Step::CleanUp => Reason::CleaningUp,
    }
}

/// Returns the reason by which people know how an attempt ended.
fn ended(entry: &HistoryEntry) -> Reason {
    if entry.contract && entry.outcome == Outcome::Succeeded {
        return Reason::Migrated;
    }
    Reason::of_outcome(entry.outcome, &entry.reason)
}
