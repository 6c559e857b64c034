//! What status says of an attempt's backup and rehearsal; pure.

use super::{
    super::{plan_text::rehearsed, words::proven},
    Row, Said, reason_of,
};
use crate::api::{ConditionType, Reason, Step};

impl Said<'_> {
    pub(super) fn backed_up(&self) -> String {
        self.plan.record.backup.as_ref().map_or_else(String::new, |backup| {
            let rehearsal = self.plan.record.rehearsal.as_ref().filter(|rehearsal| rehearsal.backup == backup.uid);
            let restored = rehearsal.map(|rehearsal| format!(" The rehearsal restored it in {}.", rehearsal.recovery));
            let proof = proven(backup.proof);
            format!("DatabaseBackup {} is complete: {proof}.{}", backup.name, restored.unwrap_or_default())
        })
    }

    /// What the attempt's rehearsal has shown. Until its own backup is there, the last one of both is of an earlier attempt.
    pub(super) fn rehearsed(&self) -> Row {
        let record = &self.plan.record;
        let said = |holds, reason, message: String| (ConditionType::Rehearsed, Some(holds), reason, message);
        if record.step <= Step::Rehearse {
            return said(false, reason_of(record.step), "Not yet.".to_owned());
        }
        let restored = record.rehearsal.as_ref().zip(record.backup.as_ref());
        match restored.filter(|(rehearsal, backup)| rehearsal.backup == backup.uid) {
            None => said(false, reason_of(record.step), "The migration was not rehearsed.".to_owned()),
            Some((rehearsal, _)) => {
                let reaches = rehearsal.findings.reaches_production;
                let reason = if reaches { Reason::RehearsalReachesProduction } else { reason_of(record.step) };
                said(true, reason, format!("On a restored copy of the data: {}.", rehearsed(&rehearsal.findings)))
            }
        }
    }
}
