//! Fences: what a former leader may still be about to write is made to fail; pure.
//!
//! A leader that was stopped after it had decided, and goes on after another one has taken over, still holds the versions
//! of the objects that it had read. So whoever leads next in the middle of a step that cannot be taken back writes each
//! object of that step once, before it does anything else there: then those versions are old, whatever it does next. The
//! way back does not wait for this: its own patches do the same.

use super::{
    super::{
        manifests::Kind,
        observed::{DeploymentSeen, Observed, ServiceSeen},
    },
    Action, recorded,
};
use crate::api::Record;

/// Returns what is written before a step that another leader began goes on; nothing once it is written.
pub(super) fn services<'a>(
    seen: &Observed,
    record: &Record,
    services: impl Iterator<Item = &'a ServiceSeen>,
) -> Vec<Action> {
    let Some(fence) = due(seen, record) else { return vec![] };
    let open = services.filter(|service| service.fence.as_ref() != Some(&fence));
    let touch = |service: &ServiceSeen| Action::Touch {
        kind: Kind::Service,
        name: service.name.clone(),
        uid: service.uid.clone(),
        resource_version: service.resource_version.clone(),
        fence: fence.clone(),
    };
    open.map(touch).collect()
}

/// The same for Deployments that are about to shrink or to go.
pub(super) fn deployments<'a>(
    seen: &Observed,
    record: &Record,
    deployments: impl Iterator<Item = &'a DeploymentSeen>,
) -> Vec<Action> {
    due(seen, record).map(|fence| write(deployments, &fence)).unwrap_or_default()
}

/// Returns what is written before the workers of the active revision count as back: whoever led when the switch was begun
/// may be about to stop them. As with Services, the attempt that is given up is the value.
pub(super) fn workers<'a>(
    seen: &Observed,
    record: &Record,
    deployments: impl Iterator<Item = &'a DeploymentSeen>,
) -> Vec<Action> {
    let attempt = record.candidate.as_ref().filter(|_| seen.term.is_some() && recorded(seen, record));
    attempt.map(|candidate| write(deployments, &candidate.attempt.to_string())).unwrap_or_default()
}

fn write<'a>(deployments: impl Iterator<Item = &'a DeploymentSeen>, fence: &str) -> Vec<Action> {
    let open = deployments.filter(|deployment| deployment.fence.as_deref() != Some(fence) && !deployment.deleting);
    let touch = |deployment: &DeploymentSeen| Action::Touch {
        kind: Kind::Deployment,
        name: deployment.name.clone(),
        uid: deployment.uid.clone(),
        resource_version: deployment.resource_version.clone(),
        fence: fence.to_owned(),
    };
    open.map(touch).collect()
}

/// Returns the value that marks an object as written in this term, when the step began in another one.
fn due(seen: &Observed, record: &Record) -> Option<String> {
    let term = seen.term.filter(|term| record.term != Some(*term) && recorded(seen, record))?;
    Some(format!("{term}-{}", record.attempts))
}

/// Remembers in which term a step began.
pub(super) fn note(seen: &Observed, record: &mut Record) {
    let read = seen.record();
    if (read.step, read.attempts) != (record.step, record.attempts) {
        record.term = seen.term;
    }
}
