//! Backup: a DatabaseBackup is asked for and waited for, or one that is young enough is used; nothing is migrated before it
//! is proven; pure.

mod reuse;

use self::reuse::There;
use super::{
    super::{
        manifests,
        observed::{BackupSeen, BackupState, Observed},
        words,
    },
    Action, Move, Plan, Situation, abort, candidate_content, database, ending, enter, migrate, overdue, rehearse,
    still_wanted, when_recorded,
};
use crate::api::{BackupRecord, DatabaseRecord, ProofLevel, Reason, Record, ReleaseDatabase, ReleaseSpec, Step};

/// What is asked for: the content, its database, what was seen of that, and how far the backup must be proven.
struct Wanted<'a> {
    content: &'a ReleaseSpec,
    database: &'a ReleaseDatabase,
    looked: &'a DatabaseRecord,
    proof: ProofLevel,
}

pub(super) fn plan(seen: &Observed, record: Record) -> Move {
    if !still_wanted(seen, &record) {
        return ending::superseded(seen, record);
    }
    if let Some(turned) = abort::check(seen, &record) {
        return turned;
    }
    let Some(content) = candidate_content(seen, &record).cloned() else { return ending::content_lost(seen, record) };
    let (Some(database), Some(looked)) = (&content.database, record.database.clone()) else {
        return enter(record, Step::Deploy, seen.now, Some(content.deadlines.deploy));
    };
    let (content, looked) = (content.as_ref(), &looked);
    let due = database::due(&record, (database, looked)).is_some();
    let asked = database.proof(due, looked.policy_proof);
    // The rehearsal restores it.
    let is_rehearsed = rehearse::due(&record, (database, looked)).is_some();
    let proof = if is_rehearsed { asked.min(ProofLevel::Readable) } else { asked };
    let wanted = Wanted { content, database, looked, proof };
    let name = manifests::backup_name(&seen.release, &record);
    // What was asked for is waited for, whatever came meanwhile.
    if let Some(backup) = seen.backups.iter().find(|backup| backup.name == name) {
        return own(seen, record, &wanted, backup);
    }
    if overdue(seen, &record) {
        let message = format!("DatabaseBackup {name} could not be made in time. Nothing was migrated.");
        return ending::failed(seen, record, (Reason::BackupFailed, message));
    }
    let told = |what: String| Situation::Working(Reason::BackingUp, what);
    match reuse::look(seen, &record, &wanted) {
        There::Held(done) => go_on(seen, record, &wanted, done),
        There::Free(backup) => {
            let actions = when_recorded(seen, &record, Action::hold(backup));
            let situation = told(format!("Taking DatabaseBackup {} into use.", backup.name));
            Plan { actions, ..Plan::stay(record, situation) }.into()
        }
        There::Unknown(ask) => {
            let situation = told(format!("Looking for a backup of database {} to use.", looked.name));
            Plan { asks: vec![ask], ..Plan::stay(record, situation) }.into()
        }
        There::Nothing => {
            let manifest = manifests::backup(&seen.release, (&name, database, looked), proof);
            let actions = when_recorded(seen, &record, Action::Create(Box::new(manifest)));
            // The same while it is made, which is worth no word of its own.
            let wish = words::backs_up(&looked.name, looked.storages.iter().map(String::as_str));
            Plan { actions, ..Plan::stay(record, told(format!("DatabaseBackup {name}: {wish}"))) }.into()
        }
    }
}

/// Waits for the backup that the attempt has asked for.
fn own(seen: &Observed, record: Record, wanted: &Wanted<'_>, backup: &BackupSeen) -> Move {
    let (name, looked) = (&backup.name, wanted.looked);
    let asked = backup.database == looked.name && backup.storages == looked.storages;
    match &backup.state {
        // Whoever may create backups may guess this name.
        _ if !asked || is_older(&backup.state, &record) => {
            let message = format!("DatabaseBackup {name} was not made for this attempt: somebody else made it.");
            ending::failed(seen, record, (Reason::NameTaken, message))
        }
        BackupState::Complete(done) if done.proof >= wanted.proof => go_on(seen, record, wanted, done),
        BackupState::Complete(done) => {
            let message = format!("DatabaseBackup {name} says {:?}, less than was asked for.", done.proof);
            ending::failed(seen, record, (Reason::BackupFailed, message))
        }
        BackupState::Failed { reason, message } => {
            let message = format!("DatabaseBackup {name}: {message} Nothing was migrated.");
            ending::failed(seen, record, (Reason::parse_or(reason, Reason::BackupFailed), message))
        }
        BackupState::Working(what) if overdue(seen, &record) => {
            let limit = wanted.content.deadlines.backup;
            let message =
                format!("DatabaseBackup {name} was not complete within {limit}: {what} Nothing was migrated.");
            ending::failed(seen, record, (Reason::BackupFailed, message))
        }
        BackupState::Working(what) => {
            let situation = Situation::Working(Reason::BackingUp, format!("DatabaseBackup {name}: {what}"));
            Plan::stay(record, situation).into()
        }
    }
}

/// Goes on to what rests on the backup.
fn go_on(seen: &Observed, mut record: Record, wanted: &Wanted<'_>, done: &BackupRecord) -> Move {
    let (content, target) = (wanted.content, (wanted.database, wanted.looked));
    let is_rehearsed = rehearse::due(&record, target).is_some();
    let due = database::due(&record, target).is_some();
    record.backup = Some(done.clone());
    if let Some(candidate) = &mut record.candidate {
        candidate.backup = Some(done.name.clone());
    }
    if is_rehearsed {
        return enter(record, Step::Rehearse, seen.now, Some(content.deadlines.rehearse));
    }
    if due {
        record.migration = None;
        return enter(record, Step::Migrate, seen.now, Some(migrate::START));
    }
    enter(record, Step::Deploy, seen.now, Some(content.deadlines.deploy))
}

/// Returns whether a backup was taken before the attempt asked for one.
fn is_older(state: &BackupState, record: &Record) -> bool {
    let asked = record.step_since.as_ref().map(|since| since.0);
    matches!(state, BackupState::Complete(done) if asked.is_some_and(|asked| done.taken_at.0 < asked))
}
