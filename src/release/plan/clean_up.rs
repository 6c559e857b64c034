//! CleanUp: what the attempt made goes, then it comes to rest; pure.

use std::collections::BTreeSet;

use super::{
    super::{
        manifests::{self, Kind},
        observed::{Answer, Ask, BackupState, DeploymentSeen, Observed},
    },
    Action, Move, Plan, Situation, active_content, belongings, ending, enter, fence, migrate, recorded, restore_data,
    scaling, upkeep,
};
use crate::api::{Reason, Record, Step, labels::Role};

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    if restore_data::is_due(seen, &record) {
        return enter(record, Step::RestoreData, seen.now, Some(migrate::START));
    }
    let message = ending::told(&record);
    let situation = Situation::Working(Reason::CleaningUp, message);
    if !recorded(seen, &record) {
        return Plan::stay(record, situation).into();
    }
    let belongings = match belongings::remove(seen, made(&record)) {
        Ok(removals) => removals,
        Err(asks) => return Plan { asks, ..Plan::stay(record, situation) }.into(),
    };
    let mut left = left(seen, &record);
    left.extend(belongings.into_iter().chain(scaling::put_back(seen, &mut record)).map(|action| (action, false)));
    if left.is_empty() {
        upkeep::forget_traffic(seen, &mut record);
        let why = ending::why(&record);
        return ending::come_to_rest(record, &seen.release.wanted, (seen.now, why));
    }
    let digits = made(&record).unwrap_or_default().to_owned();
    let fences =
        fence::deployments(seen, &record, of_revision(seen, &digits).filter(|deployment| !deployment.deleting));
    if !fences.is_empty() {
        return Plan { actions: fences, ..Plan::stay(record, situation) }.into();
    }
    // Nothing is removed while any Service selects it: the Services are read live before.
    let asks: Vec<Ask> = seen
        .services
        .iter()
        .filter(|service| service.ours && service.role == Some(Role::Active))
        .map(|service| &service.name)
        .chain(record.traffic.iter().map(|traffic| &traffic.service))
        .collect::<BTreeSet<_>>()
        .into_iter()
        // By name, not by what the cache takes for ours: labels can be taken off a Service that still selects.
        .filter(|_| left.iter().any(|(_, deleting)| !deleting))
        .map(|name| Ask::LiveService(name.clone()))
        .collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Plan { asks, ..Plan::stay(record, situation) }.into();
    }
    let selected = asks.iter().any(|ask| match seen.answer(ask) {
        Some(Answer::Service(Some(service))) => service.selected() == Some(digits.as_str()),
        _ => false,
    });
    let actions = left
        .into_iter()
        .filter(|(action, deleting)| {
            let serves = matches!(
                action,
                Action::Autoscale { .. }
                    | Action::Delete {
                        kind: Kind::Deployment
                            | Kind::HorizontalPodAutoscaler
                            | Kind::ConfigMap
                            | Kind::PodDisruptionBudget,
                        ..
                    }
            );
            !deleting && (!selected || !serves)
        })
        .map(|(action, _)| action)
        .collect();
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

/// Returns the revision that the attempt has made; that of a Contract migration serves, and stays.
fn made(record: &Record) -> Option<&str> {
    let candidate = record.candidate.as_ref().filter(|candidate| !candidate.contract)?;
    Some(candidate.revision.digits())
}

/// Returns the Deployments of a revision.
fn of_revision<'a>(seen: &'a Observed, digits: &'a str) -> impl Iterator<Item = &'a DeploymentSeen> {
    seen.deployments.iter().filter(move |deployment| deployment.ours && deployment.revision == digits)
}

/// Lists what is still there of the attempt, and whether it is on its way out.
fn left(seen: &Observed, record: &Record) -> Vec<(Action, bool)> {
    let digits = made(record).unwrap_or_default();
    let deployments = of_revision(seen, digits).map(|deployment| (Action::remove(deployment), deployment.deleting));
    let services = seen
        .services
        .iter()
        .filter(|service| service.ours)
        .filter(|service| match service.role {
            Some(Role::Preview) => true,
            // Made for this attempt and never used by the active revision.
            Some(Role::Active) => {
                active_content(seen, record).is_some_and(|content| content.service(&service.name).is_none())
            }
            _ => false,
        })
        .map(|service| (Action::delete(Kind::Service, &service.name, &service.uid), service.deleting));
    let jobs = seen
        .jobs
        .iter()
        .filter(|job| job.ours && !job.goes_by_itself())
        .map(|job| (Action::delete(Kind::Job, &job.name, &job.uid), job.deleting));
    scaling::left(seen, digits).chain(deployments).chain(services).chain(jobs).chain(backups(seen, record)).collect()
}

/// A backup that is whole is let go and stays; one that is not, and was asked for by this attempt, was wanted for it alone.
fn backups(seen: &Observed, record: &Record) -> impl Iterator<Item = (Action, bool)> {
    let own = manifests::backup_name(&seen.release, record);
    seen.backups.iter().filter_map(move |backup| match backup.state {
        _ if backup.is_held() => Some((Action::let_go(backup), false)),
        BackupState::Working(_) if backup.name == own => Some((Action::withdraw(backup), backup.deleting)),
        BackupState::Working(_) | BackupState::Complete(_) | BackupState::Failed { .. } => None,
    })
}
