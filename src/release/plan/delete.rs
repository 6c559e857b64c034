//! Deletion: children go with their owners, so only the unowned `ControllerRevision`s, the hold on backups and then our
//! finalizer have to be removed; pure.

use super::{
    super::{
        manifests::{self, Kind},
        observed::{Answer, Ask, BackupSeen, Observed},
    },
    Action, Plan, Situation,
};
use crate::api::{Reason, Record};

pub(super) fn plan(seen: &Observed, record: Record) -> Plan {
    let told = Situation::Working(Reason::Deleting, "Removing everything that belongs to this Release.".to_owned());
    let mut plan = Plan { recheck: None, ..Plan::stay(record, told) };
    if !seen.release.finalizer {
        return plan;
    }
    let contents =
        seen.attempts.iter().map(|attempt| Action::delete(Kind::ControllerRevision, &attempt.name, &attempt.uid));
    // Backups stay; they only must not wait for a Release that is gone.
    plan.actions = contents.chain(Action::let_go_all(seen)).collect();
    if plan.actions.is_empty() {
        match unseen_backup(seen, &plan.record) {
            Unseen::Ask(ask) => plan.asks.push(ask),
            Unseen::Held(backup) => plan.actions.push(Action::let_go(&backup)),
            Unseen::None => plan.actions.push(Action::RemoveFinalizer),
        }
    }
    plan
}

/// What is known of a backup that was asked for a moment ago and that no watch has shown yet.
enum Unseen {
    Ask(Ask),
    Held(Box<BackupSeen>),
    None,
}

fn unseen_backup(seen: &Observed, record: &Record) -> Unseen {
    let name = manifests::backup_name(&seen.release, record);
    let asked_for = record.candidate.is_some() && record.database.is_some();
    if !asked_for || seen.backups.iter().any(|backup| backup.name == name) {
        return Unseen::None;
    }
    let ask = Ask::LiveBackup(name);
    match seen.answer(&ask) {
        None => Unseen::Ask(ask),
        Some(Answer::Backup(Some(live))) if live.is_held() => Unseen::Held(live.clone()),
        Some(_) => Unseen::None,
    }
}
