//! Which backup that is there already serves a release instead of one of its own; pure.
//!
//! In: the DatabaseBackups of the database as they are now, whoever asked for them. Out: the one to use, which is held
//! before anything rests on it. One that somebody deletes, or that another Release uses, is never chosen.

use jiff::Timestamp;

use super::{
    super::{
        super::observed::{Answer, Ask, BackupSeen, BackupState, Observed},
        contract,
    },
    Wanted,
};
use crate::api::{BackupRecord, Record};

/// What there is to be used.
pub(super) enum There<'a> {
    /// Nothing: one is taken.
    Nothing,
    /// That must be asked first.
    Unknown(Ask),
    /// This one, once the Release holds it.
    Free(&'a BackupSeen),
    /// This one, which the Release holds.
    Held(&'a BackupRecord),
}

/// Returns the newest backup that is young enough when the attempt asks for one.
pub(super) fn look<'a>(seen: &'a Observed, record: &Record, wanted: &Wanted<'_>) -> There<'a> {
    let Some(oldest) = oldest(record, wanted) else { return There::Nothing };
    let whole = |backup: &'a BackupSeen| Some((backup, usable(seen, backup, wanted)?));
    let young = |(_, done): &(&BackupSeen, &BackupRecord)| done.taken_at.0 >= oldest;
    let newest = |(_, done): &(&BackupSeen, &'a BackupRecord)| done.taken_at.0;
    let held = seen.backups.iter().filter(|backup| backup.is_held());
    if let Some((_, done)) = held.filter_map(whole).filter(young).max_by_key(newest) {
        return There::Held(done);
    }
    let ask = Ask::BackupsOf(wanted.looked.name.clone());
    match seen.answer(&ask) {
        Some(Answer::Backups(found)) => {
            let newest = found.iter().filter_map(whole).filter(young).max_by_key(newest);
            newest.map_or(There::Nothing, |(backup, _)| There::Free(backup))
        }
        Some(_) => There::Nothing,
        None => There::Unknown(ask),
    }
}

/// Returns how old a backup may be, counted from when the attempt began to look for one; `None` when none is reused. Under a
/// Contract migration none is: what it takes was written until right before, and nothing else has it.
fn oldest(record: &Record, wanted: &Wanted<'_>) -> Option<Timestamp> {
    let backup = &wanted.database.backup;
    let since = record.step_since.as_ref()?.0;
    (backup.is_reused() && !contract::is_under_way(record)).then(|| since.checked_sub(backup.reuse.as_signed()).ok())?
}

/// Returns what a backup holds when it is of this database, whole, proven and where it is wanted.
fn usable<'a>(seen: &Observed, backup: &'a BackupSeen, wanted: &Wanted<'_>) -> Option<&'a BackupRecord> {
    let looked = wanted.looked;
    let of_another = backup.is_held() && backup.user.as_ref() != Some(&seen.release.uid);
    let marker = backup.marker.as_deref()?;
    let is_of_it = backup.database == looked.name && looked.fingerprint.ends_with(&format!("/{marker}"));
    let is_there = looked.storages.iter().all(|storage| backup.copies.contains(storage));
    match &backup.state {
        BackupState::Complete(done) if is_of_it && is_there && !backup.deleting && !of_another => {
            // What was migrated since is not in it: nothing would be restored that the serving version can use.
            let is_like_it = looked.schema.as_ref() == Some(&done.schema);
            Some(done.as_ref()).filter(|done| is_like_it && done.proof >= wanted.proof)
        }
        BackupState::Complete(_) | BackupState::Working(_) | BackupState::Failed { .. } => None,
    }
}
