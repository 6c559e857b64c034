//! What status says of a Contract migration: conditions and events; pure.

use super::{super::plan, Row, Said, reason_of};
use crate::api::{ConditionType, ContractProgress, Reason, Record, Step};

impl Said<'_> {
    /// Tells of a Contract migration that has not been applied: why not yet, and what lets it begin.
    pub(super) fn contract(&self) -> Option<Row> {
        let contract = self.plan.record.contract.as_ref()?;
        let command = |verb| self.seen.release.command(verb);
        let next = match contract.state {
            ContractProgress::Rejected | ContractProgress::Applied => return None,
            ContractProgress::Running => String::new(),
            ContractProgress::Pending | ContractProgress::Failed => format!(
                " Next: {} --gate contract, then {} --gate contract, or reject it.",
                command("plan"),
                command("approve")
            ),
        };
        let message = format!("{}{next}", contract.message);
        Some((ConditionType::ContractPending, Some(true), Reason::parse(&contract.reason), message))
    }

    /// Tells, while no release is under way, what has become of the Contract migration of what serves.
    pub(super) fn contracted(&self) -> Vec<Row> {
        let record = &self.plan.record;
        let runs = plan::is_contract(record);
        let Some(contract) = record.contract.as_ref().filter(|_| runs || record.candidate.is_none()) else {
            return vec![];
        };
        let applied = contract.state == ContractProgress::Applied;
        let message = if applied { "The ledger says: applied." } else { "Not yet." };
        let mut rows =
            vec![(ConditionType::Migrated, Some(applied), Reason::parse(&contract.reason), message.to_owned())];
        if runs && matches!(record.step, Step::Backup | Step::Rehearse | Step::Migrate) {
            let holds = record.step > Step::Backup;
            let message = if holds { self.backed_up() } else { "Not yet.".to_owned() };
            rows.push((ConditionType::BackedUp, Some(holds), reason_of(record.step), message));
            rows.push(self.rehearsed());
        }
        rows
    }
}

/// Returns what is worth an event of a Contract migration that waits: that it does, and that it was dropped.
pub(super) fn waits(before: &Record, after: &Record) -> Option<(Reason, String)> {
    let contract = after.contract.as_ref()?;
    let known = before.contract.as_ref().filter(|known| known.revision == contract.revision);
    match contract.state {
        ContractProgress::Pending if known.is_none() => {
            let told = format!("The Contract migration of {} waits for an approval of its own.", contract.version);
            Some((Reason::ContractPending, told))
        }
        ContractProgress::Rejected if known.is_none_or(|known| known.state != contract.state) => {
            Some((Reason::Rejected, contract.message.clone()))
        }
        ContractProgress::Pending
        | ContractProgress::Rejected
        | ContractProgress::Running
        | ContractProgress::Failed
        | ContractProgress::Applied => None,
    }
}
