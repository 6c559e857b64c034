//! Retire: what does not serve any more is scaled to zero, its Services and the attempt's Jobs go; pure.

use super::{
    super::{
        manifests::Kind,
        observed::{Answer, Ask, Observed},
    },
    Action, Move, Plan, Situation, active_content, enter, fence,
    going::Going,
    hooks, recorded, scaling, upkeep,
};
use crate::api::{HookMoment, Outcome, Reason, Record, Step, labels::Role};

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    let text = record.previous.as_ref().map_or_else(
        || "Removing what the attempt needed.".to_owned(),
        |previous| format!("{} drains and is scaled to zero.", previous.version),
    );
    let situation = Situation::Working(Reason::Retiring, text);
    if !recorded(seen, &record) {
        return Plan::stay(record, situation).into();
    }
    let Some(active) = record.active.clone() else { return enter(record, Step::Idle, seen.now, None) };
    let superfluous: Vec<_> = seen
        .deployments
        .iter()
        .filter(|deployment| deployment.ours && !deployment.deleting && deployment.revision != active.revision.digits())
        .filter(|deployment| deployment.replicas > 0 || deployment.existing > 0)
        .collect();
    let hooks = hooks(seen, &mut record);
    let mut removals = removals(seen, &record);
    removals.extend(scaling::put_back(seen, &mut record));
    let autoscalers: Vec<_> = scaling::remove_others(seen, Some(&active.revision)).collect();
    if hooks.is_none() {
        removals.extend(Action::delete_jobs(seen));
    }
    if superfluous.is_empty() && removals.is_empty() && autoscalers.is_empty() && hooks.is_none() {
        record.plan = None;
        upkeep::forget_traffic(seen, &mut record);
        return enter(record, Step::Idle, seen.now, None);
    }
    let running = || superfluous.iter().filter(|deployment| deployment.replicas > 0);
    let fences = fence::deployments(seen, &record, running().copied());
    if !fences.is_empty() {
        return Plan { actions: fences, ..Plan::stay(record, situation) }.into();
    }
    // Nothing is scaled down while any Service selects it: the Services are read live before.
    let running = running().next().is_some();
    let services = record.traffic.iter().filter(|_| running);
    let asks: Vec<Ask> = services.map(|traffic| Ask::LiveService(traffic.service.clone())).collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Plan { asks, ..Plan::stay(record, situation) }.into();
    }
    let selected = |digits: &str| {
        asks.iter().any(|ask| match seen.answer(ask) {
            Some(Answer::Service(Some(service))) => {
                service.selected() == Some(digits) && !goes(seen, &record, &service.name)
            }
            _ => false,
        })
    };
    // Before the Deployments: an autoscaler of no pods says that it cannot scale.
    removals.extend(autoscalers.into_iter().filter(|(digits, _)| !selected(digits)).map(|(_, removal)| removal));
    let scale = superfluous
        .iter()
        .filter(|deployment| deployment.replicas > 0 && !selected(&deployment.revision))
        .map(|deployment| Action::scale(deployment, 0));
    removals.extend(scale);
    let again = hooks.as_ref().and_then(|going| going.again);
    removals.extend(hooks.into_iter().flat_map(|going| going.actions));
    let mut plan = Plan { actions: removals, ..Plan::stay(record, situation) };
    again.into_iter().for_each(|at| plan.look_again_at(at));
    plan.into()
}

/// Runs the hooks of a release that came through; `None` when all of them have ended, well or badly.
fn hooks(seen: &Observed, record: &mut Record) -> Option<Going> {
    let attempt = record.active.as_ref()?.attempt;
    let last = record.history.last().filter(|last| last.attempt == attempt)?;
    let content = active_content(seen, record).filter(|_| last.outcome == Outcome::Succeeded)?.clone();
    match hooks::run(seen, record, (&content, attempt), HookMoment::Done) {
        hooks::Progress::Going(going) => Some(going),
        hooks::Progress::Done | hooks::Progress::Failed(_) => None,
    }
}

/// Returns whether a Service of the former revision has no place in the active one.
fn goes(seen: &Observed, record: &Record, service: &str) -> bool {
    active_content(seen, record).is_some_and(|content| content.service(service).is_none())
}

/// Lists preview Services, Services that the active revision no longer has, and what the attempt held.
fn removals(seen: &Observed, record: &Record) -> Vec<Action> {
    let services = seen
        .services
        .iter()
        .filter(|service| service.ours && !service.deleting)
        .filter(|service| match service.role {
            Some(Role::Preview) => true,
            Some(Role::Active) => goes(seen, record, &service.name),
            _ => false,
        })
        .map(|service| Action::delete(Kind::Service, &service.name, &service.uid));
    services.chain(Action::let_go_all(seen)).collect()
}
