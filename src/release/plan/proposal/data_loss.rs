//! The plan that people approve when the data of a backup are to come back: what is lost by that; pure.

use serde_json::json;

use super::{
    super::{super::observed::Observed, authors::Authors, policies::Policies},
    FORM, approvals, bounds, line, planned,
};
use crate::api::{DataLoss, Gate, PlanRecord, Record, Scope, Step, canonical_json, sha256_hex};

/// Writes it.
pub(in super::super) fn propose(seen: &Observed, record: &Record, loss: &DataLoss) -> PlanRecord {
    let policies = Policies(&seen.policies);
    let database = record.database.as_ref().map_or("", |looked| looked.name.as_str());
    let backup = record.backup.as_ref();
    let taken = backup.map(|backup| backup.taken_at.0.strftime("%F %H:%M:%S UTC").to_string()).unwrap_or_default();
    let of = backup.map_or("", |backup| backup.name.as_str());
    let does = format!(
        "Restores DatabaseBackup {of}, taken at {taken}, beside database {database}, compares every table, backs up what is \
         replaced, then closes the database for a moment and puts the restored one in its place. The former one stays, closed."
    );
    let loses = format!("{}, and what is written until then", loss.words());
    PlanRecord {
        digest: digest(seen, record, loss),
        revision: record.candidate.as_ref().map_or_else(|| seen.release.wanted.clone(), |it| it.revision.clone()),
        steps: vec![planned(Step::RestoreData, &does)],
        way_back: vec![bounds::way_back(
            Step::RestoreData,
            Scope::WithLoss,
            &format!("{loses}; the former database and a backup of it stay"),
        )],
        risks: vec![
            line(&format!("Lost: {loses}.")),
            line(
                "While both are renamed nobody has a database: some seconds, at most half a minute; then it is given up.",
            ),
        ],
        unmet: vec![],
        statements: policies.statements().into_iter().map(str::to_owned).collect(),
    }
}

/// Lists what is still missing, and who can meet it.
pub(in super::super) fn unmet(seen: &Observed, (people, authors): (&[&str], &Authors<'_>)) -> Vec<String> {
    let policies = Policies(&seen.policies);
    let left = policies.required().saturating_sub(people.len());
    let missing = approvals((&seen.release, policies), people, (left, Gate::DataLoss));
    missing.into_iter().chain(authors.unmet(left)).map(|text| line(&text)).collect()
}

/// Returns the digest over what is restored, where, and what is lost by that as it was counted.
fn digest(seen: &Observed, record: &Record, loss: &DataLoss) -> String {
    let all = json!({
        "form": FORM,
        "gate": Gate::DataLoss,
        "release": seen.release.uid,
        "attempt": record.candidate.as_ref().map(|candidate| candidate.attempt),
        "database": record.database.as_ref().map(|looked| (&looked.uid, &looked.fingerprint)),
        "backup": record.backup.as_ref().map(|backup| (&backup.uid, &backup.sha256)),
        "loss": loss,
    });
    format!("sha256:{}", sha256_hex(canonical_json(&all)))
}
