//! SwitchBack: Services go back to the active revision, first of all and from the event, then its workers; pure.
//!
//! The patches carry a new value of the fence annotation, also for Services that point back already: a forward
//! patch of this attempt that is still under way holds an older resourceVersion and is refused from then on.
//!
//! What is seen goes back at once. Then each Service that traffic was moved by and no watch shows as ours is read live: somebody
//! may have taken its labels off, or its owner. It goes back all the same, and nothing says that it has before that is known.

use super::{
    super::{
        manifests::{self, Target},
        observed::{Answer, Ask, Observed, ServiceSeen},
    },
    Action, Move, Plan, Situation, active_content, candidate_content, ending, enter,
    going::Going,
    handover::{self, Progress},
    health, hooks, later, recorded,
};
use crate::api::{Duration, HookMoment, Reason, Record, RevisionId, Step, labels};

/// When to look again at a Service that belongs to somebody else: no watch of ours shows it.
const AGAIN: Duration = Duration::from_secs(5);

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    if let Some(kept) = ending::arrived(seen, &record) {
        return kept;
    }
    let active = record.active.as_ref().map(|active| active.revision.clone());
    let services: Vec<&ServiceSeen> =
        seen.services.iter().filter(|service| service.ours && service.role == Some(labels::Role::Active)).collect();
    let situation = Situation::Working(Reason::SwitchingBack, ending::told(&record));
    let theirs = match go_back(seen, &record, &services) {
        Back::Pointed(theirs) => theirs,
        Back::Acting(actions, asks) => {
            return Plan { actions, asks, act_first: true, ..Plan::stay(record, situation) }.into();
        }
        Back::Asking(asks) => return Plan { asks, ..Plan::stay(record, situation) }.into(),
    };
    let had = active_content(seen, &record).cloned();
    let is_theirs = |name: &str| theirs.iter().any(|live| live.name == name);
    for traffic in record.traffic.iter_mut().filter(|traffic| !is_theirs(&traffic.service)) {
        // A Service that only the candidate has points at nothing again.
        let known = had.as_ref().is_none_or(|content| content.service(&traffic.service).is_some());
        traffic.revision = active.clone().filter(|_| known);
        traffic.pods = traffic.pods_before.take().unwrap_or(traffic.pods);
    }
    let undoing = undo(seen, &mut record);
    if let Progress::Going(going) = handover::back(seen, &record) {
        let mut plan = hand_back(seen, record, going);
        // Last: whatever the API server makes of people's Jobs, the workers have gone on.
        plan.actions.extend(undoing.into_iter().flat_map(|going| going.actions));
        return plan.into();
    }
    if let Some(Going { actions, waiting, again, .. }) = undoing {
        let told =
            Situation::Working(Reason::SwitchingBack, format!("{} Waiting for {waiting}.", ending::told(&record)));
        let mut plan = Plan { actions, ..Plan::stay(record, told) };
        again.into_iter().for_each(|at| plan.look_again_at(at));
        return plan.into();
    }
    if let Some(theirs) = theirs.first() {
        return claimed(seen, record, theirs).into();
    }
    let Some(active) = active else { return enter(record, Step::CleanUp, seen.now, None) };
    let strangers =
        |service: &&&ServiceSeen| seen.other_endpoints(&service.name, &active) > 0 && service.selects(&active);
    if services.iter().any(|service| strangers(&service)) {
        return Plan::stay(record, situation).into();
    }
    if let Some(plan) = wait_for_start(seen, &record, &active) {
        return plan.into();
    }
    let settle = active_content(seen, &record).map(|content| content.switch.settle).unwrap_or_default();
    let settled = later(record.step_since.as_ref().map_or(seen.now, |since| since.0), settle);
    if settled > seen.now {
        let mut plan = Plan::stay(record, situation);
        plan.look_again_at(settled);
        return plan.into();
    }
    enter(record, Step::CleanUp, seen.now, None)
}

/// How far Services are.
enum Back<'a> {
    /// These are to be pointed first, and these to be looked at where a look before this one has pointed already.
    Acting(Vec<Action>, Vec<Ask>),
    /// These have to be looked at: no watch shows them as ours.
    Asking(Vec<Ask>),
    /// All point where they should, but for those that are not ours to point any more.
    Pointed(Vec<&'a ServiceSeen>),
}

/// Points Services back: what is seen at once, and then what is not.
fn go_back<'a>(seen: &'a Observed, record: &Record, services: &[&ServiceSeen]) -> Back<'a> {
    let digits = record.active.as_ref().map_or(labels::NO_REVISION, |active| active.revision.digits());
    let fence = record.candidate.as_ref().map_or(0, |candidate| candidate.attempt).to_string();
    let open = |service: &&&ServiceSeen| {
        let target = target_of(seen, record, &service.name, digits);
        service.selected() != Some(target.as_str()) || service.fence.as_deref() != Some(&fence)
    };
    let back = |services: &[&ServiceSeen]| -> Vec<Action> {
        services.iter().filter(open).map(|service| point(seen, record, service, (digits, &fence))).collect()
    };
    let mut actions = back(services);
    if !actions.is_empty() && !recorded(seen, record) {
        return Back::Acting(actions, vec![]);
    }
    // From the second look on one that the API server refuses in each keeps no other from being found.
    let unseen = match unseen(seen, record, services) {
        Ok(unseen) => unseen,
        Err(asks) if actions.is_empty() => return Back::Asking(asks),
        Err(asks) => return Back::Acting(actions, asks),
    };
    let (ours, theirs): (Vec<&ServiceSeen>, Vec<_>) = unseen.into_iter().partition(|live| may_point(seen, live));
    actions.extend(back(&ours));
    if actions.is_empty() { Back::Pointed(theirs) } else { Back::Acting(actions, vec![]) }
}

/// Returns the Services that traffic was moved by and no watch shows as ours, as they are now. One that is gone has no traffic;
/// it is made again when the attempt is cleaned up.
fn unseen<'a>(seen: &'a Observed, record: &Record, shown: &[&ServiceSeen]) -> Result<Vec<&'a ServiceSeen>, Vec<Ask>> {
    let is_shown = |name: &str| shown.iter().any(|service| service.name == name);
    let asks = record.traffic.iter().filter(|traffic| !is_shown(&traffic.service));
    let asks: Vec<Ask> = asks.map(|traffic| Ask::LiveService(traffic.service.clone())).collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Err(asks);
    }
    let live = asks.iter().filter_map(|ask| match seen.answer(ask) {
        Some(Answer::Service(Some(service))) => Some(service.as_ref()),
        _ => None,
    });
    Ok(live.collect())
}

/// Returns whether a Service that was read live may be pointed: it is ours, or it has lost its owner to nobody, still selects
/// pods of this Release and says so; admission lets us write no other.
fn may_point(seen: &Observed, live: &ServiceSeen) -> bool {
    let selects_ours = live.adopted.is_some() || live.selector.get(labels::RELEASE_UID) == Some(&seen.release.uid);
    live.ours || (live.controller.is_none() && live.labelled && selects_ours)
}

/// Says that a Service does not go back: it is not ours to write any more. Everything else has gone back; what the candidate
/// has stays, because that Service may select it.
fn claimed(seen: &Observed, record: Record, theirs: &ServiceSeen) -> Plan {
    let (name, namespace) = (&theirs.name, &seen.release.namespace);
    let whose = theirs.controller.as_ref().map_or_else(
        || "has no owner and selects nothing of this Release any more".to_owned(),
        |(_, words)| format!("belongs to {words} now"),
    );
    let message = format!(
        "{} Service {name} does not: it {whose}, so it is not written, and what it may select stays. Next: give it back to this \
         Release, or delete it when nobody needs it: kubectl delete service {name} -n {namespace}",
        ending::told(&record)
    );
    let mut plan = Plan::stay(record, Situation::OnHold(Reason::ServiceClaimed, message));
    plan.look_again_at(later(seen.now, AGAIN));
    plan
}

/// Ends the hooks of the switch and runs those that undo them; `None` when all of them have ended, well or badly.
fn undo(seen: &Observed, record: &mut Record) -> Option<Going> {
    let content = candidate_content(seen, record)?.clone();
    let attempt = record.candidate.as_ref()?.attempt;
    if let Some(going) = hooks::give_up(seen, (&content, attempt)) {
        let actions = if recorded(seen, record) { going.actions } else { vec![] };
        return Some(Going { actions, ..going });
    }
    match hooks::run(seen, record, (&content, attempt), HookMoment::SwitchBack) {
        hooks::Progress::Going(going) => Some(going),
        hooks::Progress::Done | hooks::Progress::Failed(_) => None,
    }
}

/// Goes on with handing the workers back, for as long as it takes: two readers of a queue are worse than none.
fn hand_back(seen: &Observed, record: Record, going: Going) -> Plan {
    let limit = handover_limit(seen, &record);
    let late = record.step_since.as_ref().map_or(seen.now, |since| later(since.0, limit));
    let told = format!("{} Its workers follow: {}.", ending::told(&record), going.waiting);
    let situation = if late > seen.now {
        Situation::Working(Reason::SwitchingBack, told)
    } else {
        let namespace = &seen.release.namespace;
        Situation::OnHold(
            Reason::WorkerNotGone,
            format!(
                "{told} They start when it has ended. If its node is gone for good: kubectl delete pod --force \
                 --grace-period=0 -n {namespace} with its name."
            ),
        )
    };
    // Whatever is done here is of the step that the status as read names.
    let (actions, asks) = if recorded(seen, &record) { (going.actions, going.asks) } else { (vec![], vec![]) };
    let mut plan = Plan { actions, asks, ..Plan::stay(record, situation) };
    [Some(late), going.again].into_iter().flatten().filter(|at| *at > seen.now).for_each(|at| plan.look_again_at(at));
    plan
}

/// Returns how long workers may take to follow: as what serves was frozen with, as the spec says when that is lost.
fn handover_limit(seen: &Observed, record: &Record) -> Duration {
    let content = active_content(seen, record).unwrap_or(&seen.release.spec);
    content.deadlines.handover
}

/// Waits until what was stopped for the candidate, and users wait for, has started again, as long as a handover may take:
/// what is told afterwards is that it serves.
fn wait_for_start(seen: &Observed, record: &Record, active: &RevisionId) -> Option<Plan> {
    let late = handover_limit(seen, record);
    let until = record.step_since.as_ref().map(|since| later(since.0, late)).filter(|until| *until > seen.now)?;
    let workload = handover::away(seen, record)?;
    let because = health::because(seen, active);
    let told = format!("{} Waiting until {workload} of it is ready again{because}.", ending::told(record));
    let mut plan = Plan::stay(record.clone(), Situation::Working(Reason::SwitchingBack, told));
    plan.look_again_at(until);
    Some(plan)
}

/// Returns the digits a Service has to name: none where the active revision does not have that Service.
fn target_of(seen: &Observed, record: &Record, service: &str, digits: &str) -> String {
    let known = active_content(seen, record).is_none_or(|content| content.service(service).is_some());
    if known { digits.to_owned() } else { labels::NO_REVISION.to_owned() }
}

fn point(seen: &Observed, record: &Record, service: &ServiceSeen, (digits, fence): (&str, &str)) -> Action {
    let after = active_content(seen, record).and_then(|content| content.service(&service.name));
    let before = candidate_content(seen, record).and_then(|content| content.service(&service.name));
    // The contents are not needed to go back: without them the selector's own word is enough.
    let workload = after
        .or(before)
        .map(|(workload, _)| workload.name.clone())
        .or_else(|| service.selector.get(labels::WORKLOAD).cloned())
        .unwrap_or_default();
    let digits = target_of(seen, record, &service.name, digits);
    let target = Target {
        workload: &workload,
        digits: &digits,
        service: after.map(|(_, service)| service),
        before: before.map(|(_, service)| service),
        fence: Some(fence),
    };
    let patch = manifests::service_patch(&seen.release, service, target);
    let bare = Target { service: None, before: None, ..target };
    let otherwise = Some(manifests::service_patch(&seen.release, service, bare));
    Action::Point { service: service.name.clone(), patch, otherwise }
}
