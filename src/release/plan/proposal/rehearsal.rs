//! What the plan says of a rehearsal, before it and after the last one, in words; pure.

use super::{super::super::plan_text::rehearsed, bounds};
use crate::api::{Change, Migration, PlanRecord, RehearsalRecord, Step};

/// Says what the rehearsal does.
pub(super) fn rehearse(migration: &Migration) -> String {
    let contract = migration.rehearse.contract.as_ref().map(|template| {
        let images: Vec<&str> = template.images().map(|(_, image)| image).collect();
        let whose = match migration.change {
            Change::Expand => "the old version",
            Change::Contract => "the version that serves",
        };
        format!(" Then {whose} ({}) must get ready on the migrated copy.", images.join(", "))
    });
    let down = (!migration.down.is_empty()).then(|| {
        let command = bounds::command(&migration.down);
        format!(" Then {command} takes it back, and the schema must be as it was before.")
    });
    format!(
        "Restores that backup into a scratch server, compares every table, and runs the migration there, in a pod without \
         any credential of the database.{}{} What it locks, rewrites and takes is in status afterwards. Without that \
         nothing is migrated.",
        contract.unwrap_or_default(),
        down.unwrap_or_default()
    )
}

/// Adds to a plan what the last rehearsal has shown. It is no part of what is approved.
pub(super) fn remember(plan: &mut PlanRecord, last: Option<&RehearsalRecord>) {
    let Some(last) = last else { return };
    let Some(step) = plan.steps.iter_mut().find(|planned| planned.step == Step::Rehearse) else { return };
    let which = if last.revision == plan.revision { "this revision".to_owned() } else { last.revision.to_string() };
    let text = format!(
        "{} The last rehearsal, of {which}: {}. Restoring took {}.",
        step.does,
        rehearsed(&last.findings),
        last.recovery
    );
    step.does = bounds::does(&text);
    if last.findings.reaches_production {
        let risk = "RehearsalReachesProduction: in the last rehearsal production's address answered. The pod holds no \
                    credential of it; a NetworkPolicy would keep it away.";
        plan.risks.insert(0, risk.to_owned());
    }
}
