//! What the plan says of the database, in words; pure.

use super::{super::super::plan_text::size, bounds, planned, rehearsal};
use crate::api::{
    Change, DatabaseRecord, DatabaseRollback, Environment, Migration, PendingMigration, PlannedStep, ProofLevel,
    ReleaseDatabase, ReleaseSpec, Scope, Step,
};

/// What is asked for, and what was seen of it; a forecast has seen nothing.
/// Of which kind the migration is that the attempt runs is part of it.
type Asked<'a> = (&'a ReleaseDatabase, Option<&'a DatabaseRecord>, Change);

/// Says what Preflight does about the database.
pub(super) fn preflight(spec: &ReleaseSpec, looked: Option<&DatabaseRecord>) -> String {
    let Some(database) = &spec.database else {
        return "No database belongs to this Release: nothing is backed up, migrated or rehearsed.".to_owned();
    };
    let unmarked = looked.is_some_and(|looked| looked.fingerprint.ends_with("/none"));
    let mark = if unmarked { " and marks it as ours, which it never was" } else { "" };
    let asked = database.migration.as_ref().and_then(pending_command);
    let asked =
        asked.map(|command| format!(" Asks {command} once more whether a migration is due.")).unwrap_or_default();
    format!("Claims database {}{mark}.{asked}", database.name)
}

/// Returns the command that says what is due, quoted.
fn pending_command(migration: &Migration) -> Option<String> {
    (!migration.pending.is_empty()).then(|| bounds::command(&migration.pending))
}

/// Returns the steps that the database needs.
pub(super) fn steps(
    spec: &ReleaseSpec,
    looked: Option<&DatabaseRecord>,
    policy: Option<ProofLevel>,
    change: Change,
) -> Vec<PlannedStep> {
    let Some(database) = &spec.database else { return vec![] };
    let asked = (database, looked, change);
    let mut steps = vec![planned(Step::Backup, &backup(asked, policy))];
    steps.extend(rehearsed(asked).map(|migration| planned(Step::Rehearse, &rehearsal::rehearse(migration))));
    steps.extend(due(asked).map(|migration| planned(Step::Migrate, &migrate(migration, looked))));
    steps
}

/// Returns the migration when something of it is due, or may be, and it is rehearsed first.
fn rehearsed(asked: Asked<'_>) -> Option<&Migration> {
    due(asked).filter(|migration| migration.rehearse.enabled)
}

/// Returns the migration when it is of that kind, and something of it is due, or may be.
fn due((database, looked, change): Asked<'_>) -> Option<&Migration> {
    database.migration_of(change).filter(|_| looked.is_none_or(|looked| looked.pending.is_some()))
}

/// Returns whether the attempt may rest on a backup that is there already.
fn may_reuse(database: &ReleaseDatabase, change: Change) -> bool {
    database.backup.is_reused() && change != Change::Contract
}

fn backup(asked: Asked<'_>, policy: Option<ProofLevel>) -> String {
    let (database, looked, change) = asked;
    let (what, to) = match looked {
        Some(looked) => (
            format!(
                "PostgreSQL {}, {} at {}, {}, declared {}",
                looked.server_version,
                looked.name,
                looked.endpoint,
                size(looked.size_bytes),
                environment(looked.environment)
            ),
            looked.storages.join(" and "),
        ),
        None if database.backup.storage.is_empty() => {
            (database.name.clone(), "the storages of the database".to_owned())
        }
        None => (database.name.clone(), database.backup.storage.join(" and ")),
    };
    let proof = database.proof(due(asked).is_some(), policy);
    let proof = if rehearsed(asked).is_some() { proof.min(ProofLevel::Readable) } else { proof };
    let proof = match proof {
        ProofLevel::Stored => "reads sizes and checksums back",
        ProofLevel::Readable => "reads all of it back",
        ProofLevel::Restored => "restores it into a scratch server and compares every table",
    };
    let reused = may_reuse(database, change).then(|| {
        format!(
            "Uses the newest backup of this schema that is not older than {} when {to} has one that was proven so far; else: ",
            database.backup.reuse
        )
    });
    let reused = reused.unwrap_or_default();
    let nothing_due = looked.and_then(|looked| nothing_due(database, looked)).unwrap_or_default();
    format!("{reused}Backs up {what}, to {to}, and {proof}. Without that nothing goes on.{nothing_due}")
}

/// Says that nothing of a migration is due, and who says so.
fn nothing_due(database: &ReleaseDatabase, looked: &DatabaseRecord) -> Option<String> {
    let migration = database.migration.as_ref().filter(|_| looked.pending.is_none())?;
    let says = pending_command(migration).filter(|_| looked.asked).unwrap_or_else(|| "the ledger".to_owned());
    Some(format!(" Nothing of its migration is due, says {says}: it is neither rehearsed nor run."))
}

fn migrate(migration: &Migration, looked: Option<&DatabaseRecord>) -> String {
    let pending = match (looked, pending_command(migration)) {
        (None, Some(command)) => format!(", if {command} says that it is due,"),
        (Some(looked), Some(command)) if looked.asked => format!(" (due, says {command})"),
        (looked, _) => looked.and_then(|looked| looked.pending.as_ref()).map(files).unwrap_or_default(),
    };
    format!(
        "Runs {}{pending} under the database's lock, within {}; a statement waits at most {} for a lock. \
         {} {}",
        migration.in_words(),
        migration.timeout,
        migration.lock_timeout,
        linted(migration, looked),
        match migration.change {
            Change::Expand => "The version that serves is declared to work on the result.",
            Change::Contract => "The version that serves is made for the result; no earlier one works on it.",
        }
    )
}

/// Says what is known of the migration before it runs.
fn linted(migration: &Migration, looked: Option<&DatabaseRecord>) -> String {
    let first = if migration.rehearse.enabled { "Rehearsed before" } else { "Not rehearsed" };
    match looked.and_then(|looked| looked.pending.as_ref()) {
        Some(PendingMigration { files: Some(_), found: 0, .. }) => format!("{first}; lint found nothing."),
        Some(PendingMigration { files: Some(_), found: 1, .. }) => format!("{first}; lint found one risk, below."),
        Some(PendingMigration { files: Some(_), found, .. }) => format!("{first}; lint found {found} risks, below."),
        Some(PendingMigration { files: None, .. }) | None if migration.rehearse.enabled => {
            format!("{first}, not linted.")
        }
        Some(PendingMigration { files: None, .. }) | None => "Neither rehearsed nor linted.".to_owned(),
    }
}

/// Lists what lint found.
fn findings(pending: &PendingMigration) -> Vec<String> {
    let told = pending
        .findings
        .iter()
        .map(|found| format!("Migration {} line {}: {} ({})", found.file, found.line, found.message, found.rule));
    let told: Vec<String> = told.collect();
    let more = usize::try_from(pending.found).unwrap_or(usize::MAX).saturating_sub(told.len());
    let more = (more > 0).then(|| format!("Migration: lint found {more} more."));
    told.into_iter().chain(more).collect()
}

fn files(pending: &PendingMigration) -> String {
    let Some(count) = pending.files else { return String::new() };
    let more = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(pending.names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let noun = if count == 1 { "file" } else { "files" };
    format!(" ({count} {noun} due: {}{more})", pending.names.join(", "))
}

/// Says what a way back means once the migration has run: how far it goes, and what is lost, after what is lost without one.
/// `None` when none is due.
pub(super) fn way_back(
    (spec, looked): (&ReleaseSpec, Option<&DatabaseRecord>),
    has_earlier: bool,
    lost: &str,
) -> Option<(Scope, String)> {
    let works = if has_earlier { ", which the earlier version is declared to work on" } else { "" };
    let stays = format!("the schema stays migrated{works}");
    let migration = due((spec.database.as_ref()?, looked, Change::Expand))?;
    Some(match spec.rollback.database {
        DatabaseRollback::Keep => (Scope::Full, format!("{lost}; {stays}")),
        DatabaseRollback::Down => {
            let down = bounds::command(&migration.down);
            let takes_back = format!("{down} takes the migration back, unless a row would be lost: then {stays}");
            (Scope::Full, format!("{lost}; {takes_back}"))
        }
        DatabaseRollback::Restore => (
            Scope::WithLoss,
            format!(
                "{lost}; {stays}. With the data (gate DataLoss): what was written since the backup, which takes the place \
                 of the database"
            ),
        ),
    })
}

/// What restoring the data on the way back means.
const RESTORE_RISK: &str = "On the way back, once traffic has gone back, what restoring the backup would lose is counted and \
     waits for an approval of its own (gate DataLoss); the new version's pods stay until then. The database is closed for the \
     moment in which the restored one takes its place, and every session ends.";

/// Says what taking the migration back may lose, or why it will not run.
fn down_risk(spec: &ReleaseSpec, migration: &Migration) -> Option<String> {
    match spec.rollback.database {
        DatabaseRollback::Keep => return None,
        DatabaseRollback::Restore => return Some(RESTORE_RISK.to_owned()),
        DatabaseRollback::Down => {}
    }
    Some(if migration.rehearse.enabled {
        "On the way back `down` runs once traffic has gone back. What it removes is counted before, and kept when it holds a \
         row; what comes after that over connections that are kept alive to the new version is lost with it."
            .to_owned()
    } else {
        "rollback.database is Down and the migration is not rehearsed: what `down` loses is not known, so it does not run."
            .to_owned()
    })
}

/// Lists what could go wrong with the database.
pub(super) fn risks(spec: &ReleaseSpec, looked: Option<&DatabaseRecord>, policy: Option<ProofLevel>) -> Vec<String> {
    let Some(database) = &spec.database else { return vec![] };
    let either = [Change::Expand, Change::Contract].map(|change| due((database, looked, change)));
    let Some(migration) = either.into_iter().flatten().next() else { return vec![] };
    let mut risks: Vec<String> = looked.and_then(|looked| looked.pending.as_ref()).map(findings).unwrap_or_default();
    if migration.direct {
        risks.push(
            "The migration connects by itself (direct): that it reaches the verified server, waits no longer for locks \
             than said, and has ended for certain is not known."
                .to_owned(),
        );
    }
    if !migration.is_idempotent() {
        risks.push(
            "The migration is not declared idempotent: when its end is not known, the release stops and a person has \
             to look."
                .to_owned(),
        );
    }
    if !migration.rehearse.enabled {
        risks.push(
            "The migration is not rehearsed (rehearse.enabled is false): what it locks, how long it takes and whether it \
             passes at all shows in production."
                .to_owned(),
        );
    }
    if may_reuse(database, migration.change) {
        risks.push(format!(
            "A backup may be up to {} old before the migration (backup.reuse): what was written since is in no backup.",
            database.backup.reuse
        ));
    }
    risks.extend(down_risk(spec, migration));
    if !migration.rehearse.enabled && database.proof(true, policy) < ProofLevel::Restored {
        risks.push("The backup is not restored before the migration: whether it can be is not known.".to_owned());
    }
    risks
}

fn environment(environment: Environment) -> &'static str {
    environment.into()
}
