//! Deletion: children go with their owners, so only the unowned `ControllerRevision`s, the hold on backups and then our
//! finalizer have to be removed; what shall keep serving is let go before. It ends in time, whatever is in its way; pure.

use super::{
    super::{
        manifests::{self, Kind},
        observed::{Answer, Ask, AttemptSeen, Observed},
    },
    Action, Plan, Situation, later,
    orphan::{self, Letting},
};
use crate::api::{DeletionPolicy, Duration, Reason, Record, clamp};

/// When to look again at what no watch has shown.
const UNSEEN: Duration = Duration::from_secs(5);
/// After how long it is told what a deletion waits for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many objects are named of those that it waits for.
const NAMED: usize = 5;
/// How long a deletion waits. Whatever is left then goes on as it is: with its `ControllerRevision` as owner, the garbage
/// collector removes nothing.
const LIMIT: Duration = Duration::from_secs(600);

pub(super) fn plan(seen: &Observed, record: Record) -> Plan {
    let mut plan = Plan { recheck: None, ..Plan::stay(record, told(seen, &[])) };
    if !seen.release.finalizer {
        return plan;
    }
    remove(seen, &mut plan);
    let waits: Vec<String> = plan.actions.iter().filter_map(words).take(NAMED).collect();
    if waits.is_empty() {
        return plan;
    }
    let since = seen.release.deleted_at.unwrap_or(seen.now);
    let (patience, limit) = (later(since, PATIENCE), later(since, LIMIT));
    if patience > seen.now {
        plan.look_again_at(patience);
        return plan;
    }
    plan.situation = told(seen, &waits);
    if limit > seen.now {
        plan.look_again_at(limit);
    } else if is_told(seen, &plan.situation) {
        plan.actions.push(Action::RemoveFinalizer);
        // What fails does not keep the rest.
        plan.act_first = true;
    } else {
        // The controller was away, or a migration had to end first.
        plan.look_again_at(later(seen.now, UNSEEN));
    }
    plan
}

/// Returns whether status says so already, as read.
fn is_told(seen: &Observed, situation: &Situation) -> bool {
    let Situation::Working(_, message) = situation else { return false };
    let mut conditions = seen.release.status.conditions.iter();
    conditions.any(|condition| condition.type_ == "Reconciling" && condition.message == clamp(message))
}

/// Plans what comes next: what serves is let go where that is asked for, then the rest goes, then the Release.
fn remove(seen: &Observed, plan: &mut Plan) {
    if seen.release.spec.deletion_policy == DeletionPolicy::Orphan {
        match orphan::let_go(seen) {
            Letting::Asking(asks) => {
                plan.asks = asks;
                return;
            }
            Letting::Owned(actions) => {
                plan.actions = actions;
                // Nobody watches ConfigMaps.
                plan.look_again_at(later(seen.now, UNSEEN));
                return;
            }
            Letting::Gone => {}
        }
    }
    let contents = seen.attempts.iter().map(forget);
    // They would go with the Release, but a moment later: one of the same name may need theirs at once.
    let jobs = seen.jobs.iter().filter(|job| job.ours && job.goes_by_itself() && !job.deleting);
    let jobs = jobs.map(|job| Action::delete(Kind::Job, &job.name, &job.uid));
    // Backups stay; they only must not wait for a Release that is gone.
    plan.actions = contents.chain(jobs).chain(Action::let_go_all(seen)).collect();
    if !plan.actions.is_empty() {
        return;
    }
    plan.asks = unseen(seen, &plan.record);
    if plan.asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return;
    }
    plan.actions = plan.asks.iter().flat_map(|ask| rest_of(seen.answer(ask))).collect();
    if plan.actions.is_empty() {
        plan.actions.push(Action::RemoveFinalizer);
    } else {
        // A watch that begins anew shows neither that they came nor that they went.
        plan.look_again_at(later(seen.now, UNSEEN));
    }
}

/// Says what happens, and what it waits for.
fn told(seen: &Observed, waits: &[String]) -> Situation {
    let what = match seen.release.spec.deletion_policy {
        DeletionPolicy::Delete => "Removing everything that belongs to this Release.",
        DeletionPolicy::Orphan => {
            "What serves is let go and keeps serving; everything else of this Release is removed."
        }
    };
    let since = seen.release.deleted_at.unwrap_or(seen.now);
    let blocked = (!waits.is_empty()).then(|| {
        format!(
            " It waits for {}. At {} UTC the Release ends without; what is left goes on as it is. To end it now: kubectl \
             patch releases.switchback.dev {} -n {} --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'",
            waits.join(", "),
            later(since, LIMIT).strftime("%H:%M:%S"),
            seen.release.name,
            seen.release.namespace,
        )
    });
    Situation::Working(Reason::Deleting, format!("{what}{}", blocked.unwrap_or_default()))
}

/// Names what an action waits for.
fn words(action: &Action) -> Option<String> {
    if let Action::Delete { kind, name, .. } | Action::Disown { kind, name, .. } = action {
        return Some(format!("{} {name}", kind.as_str()));
    }
    let Action::LetGo { backup, .. } = action else { return None };
    Some(format!("DatabaseBackup {backup}"))
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
