//! What is said of a Contract migration: in the plan of its release, and in the plan of its own that people approve; pure.

use serde_json::{Value, json};

use super::{
    super::{
        super::observed::Observed,
        authors::Authors,
        policies::{Frozen, Policies},
        promotion,
    },
    FORM, approvals, bounds, covered, database, expect_as, images, line, planned, rehearsal,
    risks::tag_risk,
};
use crate::api::{
    Change, ContractProgress, ContractRecord, DatabaseRecord, Gate, Migration, PlanRecord, PlannedStep, PodTemplate,
    Record, ReleaseSpec, Scope, Step, WayBackPoint, canonical_json, sha256_hex,
};

/// Returns the digest that an approval of a content's Contract migration has to name: what runs, on which database, by
/// which rules, and after which other run. Checks and all else that decides about a switch are no part of it.
pub(in super::super) fn digest(
    seen: &Observed,
    spec: &ReleaseSpec,
    (looked, last): (&DatabaseRecord, Option<i64>),
) -> String {
    let mut all = json!({
        "form": FORM,
        "gate": Gate::Contract,
        "release": seen.release.uid,
        "revision": spec.revision(),
        "images": images(spec),
        "database": spec.database.as_ref().map(|database| covered::database(database, Some(looked))),
    });
    if let Value::Object(all) = &mut all {
        all.extend(last.map(|attempt| ("after".to_owned(), json!(attempt))));
        covered::settings(seen, spec, all);
    }
    format!("sha256:{}", sha256_hex(canonical_json(&all)))
}

/// Writes the plan of the Contract migration of what serves; what is unmet is written when it is known.
pub(in super::super) fn propose(
    seen: &Observed,
    record: &Record,
    (digest, looked): (String, &DatabaseRecord),
) -> PlanRecord {
    let spec = &seen.release.spec;
    let policies = Policies(&seen.policies);
    let mut steps = vec![planned(Step::Contract, &begins(record))];
    steps.extend(database::steps(spec, Some(looked), policies.proof(), Change::Contract));
    let migration = spec.database.as_ref().and_then(|database| database.migration_of(Change::Contract));
    let unmigrated = "nothing: the schema is as it was, but the former version has to be brought up anew";
    let way_back = steps.iter().map(|planned| {
        if planned.step == Step::Migrate {
            bounds::way_back(planned.step, Scope::ForwardOnly, &loses(migration))
        } else {
            bounds::way_back(planned.step, Scope::Full, unmigrated)
        }
    });
    let way_back = way_back.collect();
    let mut plan = PlanRecord {
        digest,
        revision: seen.release.wanted.clone(),
        steps,
        way_back,
        risks: risks(spec, looked, policies),
        unmet: vec![],
        statements: policies.statements().into_iter().map(str::to_owned).collect(),
    };
    plan = expect_as(plan, record.history.iter().filter(|entry| entry.contract));
    rehearsal::remember(&mut plan, record.rehearsal.as_ref().filter(|last| last.revision == seen.release.wanted));
    PlanRecord { risks: bounds::risks(plan.risks), ..plan }
}

fn begins(record: &Record) -> String {
    let kept = record.previous.as_ref().map_or_else(
        || "What served before is withdrawn for good".to_owned(),
        |previous| format!("{} is withdrawn for good, with its Deployments", previous.version),
    );
    format!(
        "Looks at the database once more, as an approval may be days old. {kept}: once the migration has begun, nothing \
         goes back to it any more. Waits until nothing of it runs."
    )
}

fn loses(migration: Option<&Migration>) -> String {
    let down = migration.filter(|migration| !migration.down.is_empty()).map(|migration| {
        format!("{}, run by hand, brings the schema back, not what it took", bounds::command(&migration.down))
    });
    let backup = "earlier versions are declared not to work on the result; the backup from right before has the data as it was, \
                  without what is written since"
        .to_owned();
    down.map_or_else(|| backup.clone(), |down| format!("{backup}; {down}"))
}

fn risks(spec: &ReleaseSpec, looked: &DatabaseRecord, policies: Policies<'_>) -> Vec<String> {
    let mut risks = database::risks(spec, Some(looked), policies.proof());
    let migration = spec.database.as_ref().and_then(|database| database.migration.as_ref());
    let mut images = migration.and_then(|migration| migration.template(spec)).into_iter().flat_map(PodTemplate::images);
    risks.extend(images.find_map(|(_, image)| tag_risk(image)));
    risks
}

/// Lists what is still missing, and who can meet it.
pub(in super::super) fn unmet(seen: &Observed, (people, authors): (&[&str], &Authors<'_>)) -> Vec<String> {
    let policies = Policies(&seen.policies);
    let mut unmet: Vec<String> =
        policies.refuses(&seen.release.spec, seen.now).map(|(_, message)| message).into_iter().collect();
    let left = policies.contract_required().saturating_sub(people.len());
    if left > 0 {
        unmet.extend(approvals((&seen.release, policies), people, (left, Gate::Contract)));
    }
    unmet.extend(authors.unmet(left));
    unmet.extend(promotion::look_for_contract(seen).map(|missing| missing.told().0));
    unmet.extend(policies.frozen(seen.now).map(|freeze| frozen(&freeze)));
    unmet.iter().map(|text| line(text)).collect()
}

/// Says until when it does not begin. Nothing hastens it.
pub(in super::super) fn frozen(frozen: &Frozen<'_>) -> String {
    let why = frozen.why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!(
        "ReleasePolicy {} lets nothing begin until {}{why}; what is approved by then begins by itself.",
        frozen.policy,
        frozen.until.strftime("%a %F %H:%M UTC")
    )
}

/// Says, in the plan of a release, what is left to be done after it.
pub(super) fn after_release(spec: &ReleaseSpec, looked: Option<&DatabaseRecord>) -> Option<PlannedStep> {
    let migration = due(spec, looked)?;
    let rehearsed = if migration.rehearse.enabled { ", rehearsed" } else { "" };
    let does = format!(
        "Not with this approval, and not by itself: {} waits for an approval of its own (gate Contract), with a plan and \
         a backup of its own. Until then {} serves on the schema as it is, and there is a way back. It runs, backed up \
         anew{rehearsed}, once nothing of an earlier version does.",
        migration.in_words(),
        spec.version
    );
    Some(planned(Step::Contract, &does))
}

/// Says what it takes the way back from.
pub(super) fn way_back(spec: &ReleaseSpec, looked: Option<&DatabaseRecord>) -> Option<WayBackPoint> {
    let migration = due(spec, looked)?;
    Some(bounds::way_back(Step::Contract, Scope::ForwardOnly, &loses(Some(migration))))
}

fn due<'a>(spec: &'a ReleaseSpec, looked: Option<&DatabaseRecord>) -> Option<&'a Migration> {
    let migration = spec.database.as_ref()?.migration_of(Change::Contract)?;
    looked.is_none_or(|looked| looked.pending.is_some()).then_some(migration)
}

/// Says, in the plan of a release, what becomes of one that waits.
pub(super) fn waiting(spec: &ReleaseSpec, record: &Record) -> Option<String> {
    let waits = record.contract.as_ref().filter(|contract| contract.is_open())?;
    let looked = record.database.as_ref();
    let becomes = match (due(spec, looked), shared(spec, looked, waits)) {
        (Some(_), _) => format!("that of {} takes its place, and waits for an approval of its own", spec.version),
        (None, Some(files)) => format!(
            "{} runs {files} of it as Expand, while {} serves and versions before it may have to",
            spec.version, waits.version
        ),
        (None, None) => format!("this release has none, so it is dropped when {} serves", spec.version),
    };
    let how = match waits.state {
        ContractProgress::Failed => format!("ended without success ({})", waits.reason),
        ContractProgress::Pending
        | ContractProgress::Running
        | ContractProgress::Rejected
        | ContractProgress::Applied => "waits and has not run".to_owned(),
    };
    Some(format!("A Contract migration of {} {how}: {becomes}.", waits.version))
}

/// Names the files of one that waits which a release runs before its version comes up.
fn shared(spec: &ReleaseSpec, looked: Option<&DatabaseRecord>, waits: &ContractRecord) -> Option<String> {
    spec.database.as_ref()?.migration_of(Change::Expand)?;
    let (due, waiting) = (looked?.pending.as_ref()?, waits.database.pending.as_ref()?);
    let shared: Vec<&str> = due.names.iter().filter(|name| waiting.names.contains(name)).map(String::as_str).collect();
    (!shared.is_empty()).then(|| shared.join(", "))
}

/// Says that a version is asked for that does not work on the schema any more.
pub(in super::super) fn withdrawn(record: &Record, spec: &ReleaseSpec) -> Option<String> {
    let last = record.withdrawn.as_ref()?;
    let revision = spec.revision();
    let of_revision = record.history.iter().filter(|entry| entry.revision == revision && !entry.contract);
    let newest = of_revision.map(|entry| entry.attempt).max();
    newest.map_or_else(|| last.revisions.contains(&revision), |newest| newest < last.before).then(|| {
        format!(
            "{} served, or was tried, before the Contract migration of {}: it is declared not to work on the schema as it is.",
            spec.version, last.version
        )
    })
}
