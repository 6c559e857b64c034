//! `kubectl switchback rollback`: a version that served before shall serve again.

use clap::Args as ClapArgs;

use super::{
    connection::Cluster,
    decide::{self, Proposal, record_of, refuse},
    problem::{Exit, Problem},
    style::Style,
};
use crate::api::{ActiveRevision, DecisionKind, Outcome, Record, Release, RevisionId, Rollback, Step, Withdrawal};

/// Goes back to a version that served before; of an attempt that runs, to the one that serves.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: decide::Args,
    /// Version or revision that shall serve, of those in status.history
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When there is nothing to go back to, or the Decision cannot be written.
pub async fn run(cluster: &Cluster, args: &Args) -> Result<Exit, Problem> {
    decide::run(cluster, &args.common, |release, style| propose(release, args.to.as_deref(), style)).await
}

/// Says what the decision would do to a Release as it is.
///
/// # Errors
/// Why it would do nothing.
pub fn propose(release: &Release, to: Option<&str>, style: Style) -> Result<Proposal, Problem> {
    let record = record_of(release);
    let (revision, version) = target(&record, to).map_err(|why| refuse(release, "rollback", &why))?;
    let effect = match (record.step, &record.candidate, &record.active) {
        (Step::Idle | Step::Inspect | Step::Approve, _, Some(active)) => format!(
            "{version} comes up beside {}, is verified, takes its traffic and is watched. The database stays as it is: \
             what was migrated since {version} served is not undone.",
            active.version
        ),
        (Step::Switch | Step::Watch, Some(candidate), _) => {
            format!("Traffic goes back from {} to {version} at once.", candidate.version)
        }
        (_, Some(candidate), _) => {
            format!("The attempt to release {} ends; {version} serves on, untouched.", candidate.version)
        }
        (_, None, _) => {
            format!("As soon as the present step has ended, {version} comes up, is verified and takes traffic.")
        }
    };
    let mut text = format!("to {version} ({revision}). {effect}");
    let wanted = release.spec.revision();
    let was_tried = record.active.as_ref().is_some_and(|active| active.revision == wanted)
        || record.candidate.as_ref().is_some_and(|candidate| candidate.revision == wanted && begun(&record))
        || record.failure.as_ref().is_some_and(|failure| failure.revision == wanted);
    let asked = &release.spec.version;
    if was_tried && wanted != revision {
        text.push_str(&format!(
            " The spec goes on saying {asked}, which is not tried again by itself; revert it where it is kept."
        ));
    } else if wanted != revision {
        text.push_str(&format!(" Then {asked} follows, which the spec asks for: suspend it if it shall not."));
    }
    let decision = DecisionKind::Rollback(Rollback { to: Some(revision) });
    let about = format!("{version}, in step {}", record.step.as_str());
    Ok(Proposal::new((decision, "Goes back"), text, format!("Go back to {version}?"), style).about(about))
}

fn asks_for(to: Option<&str>, (revision, version): &(&RevisionId, &String)) -> bool {
    to.is_none_or(|to| to == version.as_str() || to == revision.to_string())
}

/// Returns whether an attempt has begun to do something.
fn begun(record: &Record) -> bool {
    record.candidate.is_some() && !matches!(record.step, Step::Inspect | Step::Approve)
}

/// Returns the withdrawn revision that is meant and that history has forgotten.
fn forgotten<'a>(last: &'a Withdrawal, to: Option<&str>, active: &ActiveRevision) -> Option<&'a RevisionId> {
    match to {
        Some(to) => last.revisions.iter().find(|revision| revision.to_string() == to),
        // The version before the active one.
        None => last.revisions.first().filter(|_| last.before == active.attempt),
    }
}

fn withdrawn(version: &str, last: &Withdrawal) -> String {
    format!(
        "{version} is withdrawn: it does not work on the schema that the Contract migration of {} made; the way is forward",
        last.version
    )
}

/// Returns the revision that is meant: always named, so that what happens meanwhile cannot make it mean another one.
fn target(record: &Record, to: Option<&str>) -> Result<(RevisionId, String), String> {
    let Some(active) = &record.active else {
        return Err("there is no earlier version to go back to".to_owned());
    };
    if matches!(record.step, Step::SwitchBack | Step::RestoreData | Step::CleanUp) {
        return Err("it is on its way back already".to_owned());
    }
    if record.candidate.as_ref().is_some_and(|candidate| candidate.contract) {
        return Err("a Contract migration is under way, and what serves goes on serving: abort it first".to_owned());
    }
    if begun(record) {
        let is_active = |to: &str| to == active.version || to == active.revision.to_string();
        return match to {
            Some(to) if !is_active(to) => Err(format!(
                "an attempt is under way, from which only {} can be gone back to: abort it first",
                active.version
            )),
            Some(_) | None => Ok((active.revision.clone(), active.version.clone())),
        };
    }
    let served = record.history.iter().rev().filter(|entry| entry.outcome == Outcome::Succeeded && !entry.contract);
    let all = record
        .previous
        .iter()
        .map(|previous| (previous.attempt, (&previous.revision, &previous.version)))
        .chain(served.map(|entry| (entry.attempt, (&entry.revision, &entry.version))))
        .filter(|(_, (revision, _))| **revision != active.revision);
    let is_withdrawn = |attempt: i64| record.withdrawn.as_ref().is_some_and(|last| attempt < last.before);
    let (gone, served): (Vec<_>, Vec<_>) = all.partition(|(attempt, _)| is_withdrawn(*attempt));
    let served: Vec<(&RevisionId, &String)> = served.into_iter().map(|(_, found)| found).collect();
    let found = served.iter().find(|found| asks_for(to, found));
    if let Some((revision, version)) = found {
        return Ok(((*revision).clone(), (*version).clone()));
    }
    let gone = gone.into_iter().map(|(_, found)| found);
    if let (Some((_, version)), Some(last)) = (gone.into_iter().find(|found| asks_for(to, found)), &record.withdrawn) {
        return Err(withdrawn(version, last));
    }
    if let Some((revision, last)) =
        record.withdrawn.as_ref().and_then(|last| Some((forgotten(last, to, active)?, last)))
    {
        return Err(withdrawn(&revision.to_string(), last));
    }
    let mut known: Vec<&str> = served.iter().map(|(_, version)| version.as_str()).collect();
    known.dedup();
    let known = if known.is_empty() { "no other version".to_owned() } else { known.join(", ") };
    Err(match to {
        Some(to) if to == active.version || to == active.revision.to_string() => format!("{to} serves already"),
        // By its version it cannot be told from one that never served.
        Some(to) => match &record.withdrawn {
            Some(last) => format!(
                "{to} never served or is forgotten; remembered is {known}. Whatever served before {} is withdrawn: it does \
                 not work on the schema that its Contract migration made",
                last.version
            ),
            None => format!("{to} never served or is forgotten; remembered is {known}"),
        },
        None => "no earlier version is remembered".to_owned(),
    })
}
