//! Backup: a DatabaseBackup is asked for and waited for; nothing is migrated before it is proven; pure.

use super::{
    super::{
        manifests,
        observed::{BackupState, Observed},
    },
    Action, Move, Plan, Situation, abort, candidate_content, database, ending, enter, migrate, overdue, rehearse,
    still_wanted, when_recorded,
};
use crate::api::{ProofLevel, Reason, Record, Step};

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    if !still_wanted(seen, &record) {
        return ending::superseded(seen, record);
    }
    if let Some(turned) = abort::check(seen, &record) {
        return turned;
    }
    let Some(content) = candidate_content(seen, &record).cloned() else { return ending::content_lost(seen, record) };
    let Some((database, looked)) = database::of(&content, &record) else {
        return enter(record, Step::Deploy, seen.now, Some(content.deadlines.deploy));
    };
    let name = manifests::backup_name(&seen.release, &record);
    let due = database::due(&record, (database, looked)).is_some();
    let asked = database.proof(due, looked.policy_proof);
    let is_rehearsed = rehearse::due(&record, (database, looked)).is_some();
    // The rehearsal restores it.
    let proof = if is_rehearsed { asked.min(ProofLevel::Readable) } else { asked };
    let told = |what: String| Situation::Working(Reason::BackingUp, what);
    let Some(backup) = seen.backups.iter().find(|backup| backup.name == name) else {
        let manifest = manifests::backup(&seen.release, (&name, database, looked), proof);
        let actions = when_recorded(seen, &record, Action::Create(Box::new(manifest)));
        let situation = told(format!("Asking for DatabaseBackup {name}."));
        return Plan { actions, ..Plan::stay(record, situation) }.into();
    };
    let asked = backup.database == looked.name && backup.storages == looked.storages;
    match &backup.state {
        // Whoever may create backups may guess this name.
        _ if !asked || is_older(&backup.state, &record) => {
            let message = format!("DatabaseBackup {name} was not made for this attempt: somebody else made it.");
            ending::failed(seen, record, (Reason::NameTaken, message))
        }
        BackupState::Complete(done) if done.proof >= proof => {
            record.backup = Some((**done).clone());
            if is_rehearsed {
                return enter(record, Step::Rehearse, seen.now, Some(content.deadlines.rehearse));
            }
            if due {
                record.migration = None;
                return enter(record, Step::Migrate, seen.now, Some(migrate::START));
            }
            enter(record, Step::Deploy, seen.now, Some(content.deadlines.deploy))
        }
        BackupState::Complete(done) => {
            let message = format!("DatabaseBackup {name} says {:?}, less than was asked for.", done.proof);
            ending::failed(seen, record, (Reason::BackupFailed, message))
        }
        BackupState::Failed { reason, message } => {
            let message = format!("DatabaseBackup {name}: {message} Nothing was migrated.");
            ending::failed(seen, record, (Reason::parse_or(reason, Reason::BackupFailed), message))
        }
        BackupState::Working(what) if overdue(seen, &record) => {
            let limit = content.deadlines.backup;
            let message =
                format!("DatabaseBackup {name} was not complete within {limit}: {what} Nothing was migrated.");
            ending::failed(seen, record, (Reason::BackupFailed, message))
        }
        BackupState::Working(what) => Plan::stay(record, told(format!("DatabaseBackup {name}: {what}"))).into(),
    }
}

/// Returns whether a backup was taken before the attempt asked for one.
fn is_older(state: &BackupState, record: &Record) -> bool {
    let asked = record.step_since.as_ref().map(|since| since.0);
    matches!(state, BackupState::Complete(done) if asked.is_some_and(|asked| done.taken_at.0 < asked))
}
