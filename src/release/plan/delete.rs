//! Deletion: children go with their owners, so only the unowned `ControllerRevision`s, the hold on backups and then our
//! finalizer have to be removed; pure.

use super::{
    super::{
        manifests::{self, Kind},
        observed::{Answer, Ask, AttemptSeen, Observed},
    },
    Action, Plan, Situation, later,
};
use crate::api::{Duration, Reason, Record};

/// When to look again at what no watch has shown.
const UNSEEN: Duration = Duration::from_secs(5);

pub(super) fn plan(seen: &Observed, record: Record) -> Plan {
    let told = Situation::Working(Reason::Deleting, "Removing everything that belongs to this Release.".to_owned());
    let mut plan = Plan { recheck: None, ..Plan::stay(record, told) };
    if !seen.release.finalizer {
        return plan;
    }
    let contents = seen.attempts.iter().map(forget);
    // Backups stay; they only must not wait for a Release that is gone.
    plan.actions = contents.chain(Action::let_go_all(seen)).collect();
    if !plan.actions.is_empty() {
        return plan;
    }
    plan.asks = unseen(seen, &plan.record);
    if plan.asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return plan;
    }
    plan.actions = plan.asks.iter().flat_map(|ask| rest_of(seen.answer(ask))).collect();
    if plan.actions.is_empty() {
        plan.actions.push(Action::RemoveFinalizer);
    } else {
        // A watch that begins anew shows neither that they came nor that they went.
        plan.look_again_at(later(seen.now, UNSEEN));
    }
    plan
}

fn forget(attempt: &AttemptSeen) -> Action {
    Action::delete(Kind::ControllerRevision, &attempt.name, &attempt.uid)
}

/// Returns what must be known of what was made a moment ago and no watch may have shown yet: it has no owner, so nobody
/// else would ever remove it.
fn unseen(seen: &Observed, record: &Record) -> Vec<Ask> {
    let backup = manifests::backup_name(&seen.release, record);
    let asked_for = record.candidate.is_some() && record.database.is_some();
    let shown = seen.backups.iter().any(|seen| seen.name == backup);
    let backup = (asked_for && !shown).then_some(Ask::LiveBackup(backup));
    [Ask::LiveAttempts(seen.release.uid.clone())].into_iter().chain(backup).collect()
}

/// Returns what to do about it.
fn rest_of(answer: Option<&Answer>) -> Vec<Action> {
    match answer {
        Some(Answer::Attempts(live)) => live.iter().map(forget).collect(),
        Some(Answer::Backup(Some(live))) if live.is_held() => vec![Action::let_go(live)],
        _ => vec![],
    }
}
