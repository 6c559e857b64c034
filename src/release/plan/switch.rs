//! Switch: workers are handed over, then each Service is moved by one patch and its endpoints must follow; pure.
//!
//! The step is recorded first, with what the Services pointed at; the next look reads the Services live and
//! moves them. A partial switch is always completed or reversed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        manifests,
        observed::{Answer, Ask, Observed, ServiceSeen},
    },
    Action, Move, Plan, Situation, abort, active_content, as_before, candidate_content, deploy,
    ending::{self, Why},
    enter, fence,
    going::Going,
    handover::{self, Progress},
    health, hooks, images, later, overdue, recorded, scaling, still_wanted, verify,
};
use crate::api::{Duration, HookMoment, Outcome, Reason, Record, ReleaseSpec, RevisionId, Step, TrafficRecord, labels};

/// How long endpoints may take to follow before it is told that they have not; the API server says when a Service was
/// pointed in whole seconds.
const MOMENT: Duration = Duration::from_secs(2);

/// Begins the step.
pub(super) fn begin(seen: &Observed, record: Record, content: &ReleaseSpec) -> Move {
    let hooks = hooks::limit(content, HookMoment::Switch);
    let handover = handover::limit(&record, content).unwrap_or_default();
    let limit = content.deadlines.switch + handover + verify::late_limit(&record, content) + hooks;
    enter(record, Step::Switch, seen.now, Some(limit))
}

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    let Some(revision) = record.candidate.as_ref().map(|candidate| candidate.revision.clone()) else {
        return enter(record, Step::Idle, seen.now, None);
    };
    if recorded(seen, &record) {
        // What has moved is noted first: whatever follows must know whether users are on the candidate.
        note_moved(seen, &revision, &mut record);
    }
    let Some(content) = candidate_content(seen, &record).cloned() else { return ending::content_lost(seen, record) };
    if !recorded(seen, &record) {
        handover::remember(seen, &content, &mut record);
        remember(seen, &content, &mut record);
        let told = moving(&unmoved(&record, &revision), &content);
        return Plan::stay(record, told).into();
    }
    if let Some(turned) = ending::begun(seen, &record).or_else(|| turn(seen, &record, &content)) {
        return turned;
    }
    if let Some(next) = size(seen, &mut record, &content).or_else(|| run_hooks(seen, &mut record, &content)) {
        return next;
    }
    match handover::forward(seen, &mut record) {
        Progress::Done => images::note(seen, &mut record, &content),
        Progress::Going(going) => return hand_over(seen, record, &content, going),
    }
    if let Some(next) = verify::late(seen, &record, &content) {
        return next;
    }
    let late = overdue(seen, &record).then(|| nobody_to_go_back_to(seen, &record)).flatten();
    let unmoved = unmoved(&record, &revision);
    let next = if unmoved.is_empty() {
        follow(seen, record, &content)
    } else {
        move_services(seen, record, &content, &unmoved)
    };
    match (next, late) {
        // It goes on forward, and somebody is told.
        (Move::Stay(plan), Some(situation)) => Plan { situation, ..*plan }.into(),
        (next, _) => next,
    }
}

/// Returns the Services that do not point at a revision yet.
fn unmoved(record: &Record, revision: &RevisionId) -> Vec<String> {
    let unmoved = record.traffic.iter().filter(|traffic| traffic.revision.as_ref() != Some(revision));
    unmoved.map(|traffic| traffic.service.clone()).collect()
}

/// Says which Services move; the same before and while they do: nothing makes the switch wait for a word.
fn moving(unmoved: &[String], content: &ReleaseSpec) -> Situation {
    Situation::Working(Reason::Switching, format!("Moving {} to {}.", unmoved.join(", "), content.version))
}

/// Runs the hooks of the switch; `None` when all of them have succeeded.
fn run_hooks(seen: &Observed, record: &mut Record, content: &ReleaseSpec) -> Option<Move> {
    let attempt = record.candidate.as_ref()?.attempt;
    match hooks::run(seen, record, (content, attempt), HookMoment::Switch) {
        hooks::Progress::Done => None,
        hooks::Progress::Going(Going { actions, waiting, again, .. }) => {
            let told = Situation::Working(Reason::Switching, format!("Waiting for {waiting}."));
            let mut plan = Plan { actions, ..Plan::stay(record.clone(), told) };
            again.into_iter().for_each(|at| plan.look_again_at(at));
            Some(plan.into())
        }
        hooks::Progress::Failed(message) => {
            let why = Why { reason: Reason::HookFailed, message, outcome: Outcome::Failed };
            Some(ending::turn_back(record.clone(), seen.now, why))
        }
    }
}

/// Goes on with handing the workers over, as long as that may take.
fn hand_over(seen: &Observed, record: Record, content: &ReleaseSpec, going: Going) -> Move {
    let limit = content.deadlines.handover;
    // Hooks come first, in their own time.
    let hooks = record.hooks.iter().map(|hook| &hook.at);
    let since = hooks.chain(&record.step_since).map(|time| time.0).max();
    let until = later(since.unwrap_or(seen.now), limit);
    let known = going.asks.iter().all(|ask| seen.answer(ask).is_some());
    if until <= seen.now && known {
        let message = format!("The workers were not handed over within {limit}: {}.", going.waiting);
        let why = Why { reason: Reason::HandoverTimedOut, message, outcome: Outcome::Failed };
        return ending::turn_back(record, seen.now, why);
    }
    let told = format!("Handing the workers over to {}: {}.", content.version, going.waiting);
    let Going { actions, asks, again, .. } = going;
    let mut plan = Plan { actions, asks, ..Plan::stay(record, Situation::Working(Reason::Switching, told)) };
    plan.look_again_at(again.map_or(until, |again| again.min(until)));
    plan.into()
}

/// Remembers what each Service points at now.
fn remember(seen: &Observed, content: &ReleaseSpec, record: &mut Record) {
    let active = record.active.as_ref().map(|active| active.revision.clone());
    let former = std::mem::take(&mut record.traffic);
    record.traffic = content
        .services()
        .map(|(workload, service)| TrafficRecord {
            service: service.name.clone(),
            revision: active.clone().filter(|_| former.iter().any(|traffic| traffic.service == service.name)),
            pods: deploy::size(seen, record, workload),
            pods_before: before(seen, record, &service.name),
            switched_at: None,
            settled_at: None,
        })
        .collect();
    // Services that only the former revision has keep their place until `Retire` removes them.
    let gone = former.into_iter().filter(|old| content.service(&old.service).is_none());
    record.traffic.extend(gone.collect::<Vec<_>>());
}

/// Returns how many pods the active revision has behind a Service.
fn before(seen: &Observed, record: &Record, service: &str) -> Option<i32> {
    let blue = active_content(seen, record)?;
    let (workload, _) = blue.service(service)?;
    seen.deployment(&workload.name, &blue.revision()).map(|deployment| deployment.replicas)
}

/// Sees to the sizes of both versions until the first Service has moved: what serves may no longer shrink, and what it has
/// grown by meanwhile the candidate grows by as well. `None` when both are as large as they have to be.
fn size(seen: &Observed, record: &mut Record, content: &ReleaseSpec) -> Option<Move> {
    if ending::moved(record) {
        return None;
    }
    let held = scaling::hold_active(seen, record).into_iter().chain(deploy::grow(seen, content, record));
    let actions: Vec<Action> = held.collect();
    let mut traffic = std::mem::take(&mut record.traffic);
    for traffic in &mut traffic {
        let Some((workload, _)) = content.service(&traffic.service) else { continue };
        traffic.pods = traffic.pods.max(deploy::size(seen, record, workload));
        traffic.pods_before = traffic.pods_before.max(before(seen, record, &traffic.service));
    }
    record.traffic = traffic;
    let told = Situation::Working(Reason::Switching, "Both versions are kept at the size that serves now.".to_owned());
    (!actions.is_empty()).then(|| Plan { actions, ..Plan::stay(record.clone(), told) }.into())
}

/// Returns where to go instead of forward.
fn turn(seen: &Observed, record: &Record, content: &ReleaseSpec) -> Option<Move> {
    let moved = ending::moved(record);
    let outcome = if moved { Outcome::RolledBack } else { Outcome::Failed };
    let why = |reason, message| Why { reason, message, outcome };
    let turn = |why| Some(ending::turn_back(record.clone(), seen.now, why));
    // Judged by the candidate's own pods: all of them were ready before the patch, and endpoints follow later.
    let (critical, counted) = pods(seen, record, content);
    if let Some(active) = record.active.as_ref().filter(|_| moved && critical)
        && health::back_is_better(seen, record, &active.revision, &content.revision())
    {
        let message = format!("{counted} right after the switch; traffic goes back to {}.", active.version);
        return turn(why(Reason::ReadinessLost, message));
    }
    let asked = abort::check(seen, record);
    if let Some(situation) = nobody_to_go_back_to(seen, record) {
        let half = unmoved(record, &content.revision()).iter().any(|name| content.service(name).is_some());
        if half {
            // What has not moved serves nobody where it is: it goes on forward.
            return None;
        }
        return match asked.or_else(|| images::check(seen, record, content)) {
            Some(Move::To(_)) => Some(Plan::stay(record.clone(), situation).into()),
            asking => asking,
        };
    }
    if asked.is_some() {
        return asked;
    }
    if !moved && !still_wanted(seen, record) {
        return turn(Why {
            reason: Reason::Superseded,
            message: "The spec changed before traffic moved.".to_owned(),
            outcome: Outcome::Superseded,
        });
    }
    if let Some(turned) = images::check(seen, record, content) {
        return Some(turned);
    }
    if overdue(seen, record) {
        let message =
            format!("The switch to {} was not complete within {}.", content.version, content.deadlines.switch);
        return turn(why(Reason::SwitchTimedOut, message));
    }
    None
}

/// Returns what is told when traffic has moved and should go back, and the former version has nobody who could take it.
fn nobody_to_go_back_to(seen: &Observed, record: &Record) -> Option<Situation> {
    let active = record.active.as_ref().filter(|_| ending::moved(record))?;
    let (reason, message) = health::both_unhealthy(seen, record, active);
    (!health::back_is_possible(seen, record, &active.revision)).then_some(Situation::OnHold(reason, message))
}

/// Counts the candidate's ready pods behind the Services that have moved; says whether they are critically few.
fn pods(seen: &Observed, record: &Record, content: &ReleaseSpec) -> (bool, String) {
    let revision = content.revision();
    let moved = record.traffic.iter().filter(|traffic| traffic.switched_at.is_some());
    moved
        .filter_map(|traffic| Some((traffic, content.service(&traffic.service)?.0)))
        .map(|(traffic, workload)| (seen.ready_pods(&workload.name, &revision), traffic.pods))
        .find(|(ready, pods)| health::judge(*ready, *pods, &content.watch) == health::Readiness::Critical)
        .map_or((false, String::new()), |(ready, pods)| (true, format!("{ready} of {pods} pods are ready")))
}

/// Notes which Services are seen to point at the candidate.
pub(super) fn note_moved(seen: &Observed, revision: &RevisionId, record: &mut Record) {
    for traffic in &mut record.traffic {
        if seen.service(&traffic.service).is_some_and(|service| service.selects(revision))
            && traffic.switched_at.is_none()
        {
            traffic.revision = Some(revision.clone());
            traffic.switched_at = Some(MicroTime(seen.now));
        }
    }
}

/// Moves what is not moved yet, when the candidate is still whole and the Services are as they were.
fn move_services(seen: &Observed, record: Record, content: &ReleaseSpec, unmoved: &[String]) -> Move {
    let told = |message: String| Situation::Working(Reason::Switching, message);
    let named = seen.services.iter().filter(|service| service.ours && unmoved.contains(&service.name));
    let fences = fence::services(seen, &record, named);
    if !fences.is_empty() {
        let text = "Another leader began this switch: what it may still write is made to fail first.";
        return Plan { actions: fences, ..Plan::stay(record, told(text.to_owned())) }.into();
    }
    if let Some(missing) = deploy::missing(seen, content, &record) {
        let text = format!("Waiting before the Services are moved: {missing}.");
        return Plan::stay(record, told(text)).into();
    }
    let asks: Vec<Ask> = unmoved
        .iter()
        .filter(|name| content.service(name).is_some())
        .map(|name| Ask::LiveService(name.clone()))
        .collect();
    if asks.is_empty() {
        return follow(seen, record, content);
    }
    let situation = moving(unmoved, content);
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Plan { asks, ..Plan::stay(record, situation) }.into();
    }
    let actions = asks
        .iter()
        .filter_map(|ask| match seen.answer(ask) {
            Some(Answer::Service(Some(service))) if service.ours && !service.deleting => Some(service.as_ref()),
            _ => None,
        })
        // Moved a moment ago; the watch has not shown it yet.
        .filter(|service| !service.selects(&content.revision()))
        .filter(|service| is_as_recorded(&record, service))
        .filter_map(|service| forward(seen, &record, content, service))
        .collect();
    Plan { actions, ..Plan::stay(record, situation) }.into()
}

/// Returns whether nobody of ours has pointed a Service elsewhere since the switch was recorded: whoever reads another
/// revision there, or the fence of a way back, leads no longer and has not noticed yet. What others do to the selector
/// is no reason to wait.
fn is_as_recorded(record: &Record, live: &ServiceSeen) -> bool {
    let attempt = record.candidate.as_ref().map_or(0, |candidate| candidate.attempt).to_string();
    let active = record.active.as_ref().map(|active| active.revision.digits());
    let known = [Some(labels::NO_REVISION), active, None];
    live.fence.as_ref() != Some(&attempt) && known.contains(&live.selected())
}

fn forward(seen: &Observed, record: &Record, content: &ReleaseSpec, live: &ServiceSeen) -> Option<Action> {
    let (workload, service) = content.service(&live.name)?;
    let revision = content.revision();
    let before = active_content(seen, record).and_then(|blue| blue.service(&live.name)).map(|(_, former)| former);
    let target = manifests::Target {
        workload: &workload.name,
        digits: revision.digits(),
        service: Some(service),
        before,
        fence: None,
    };
    let patch = manifests::service_patch(&seen.release, live, target);
    Some(Action::Point { service: live.name.clone(), patch, otherwise: None })
}

/// Returns until when it is waited for the endpoints before it is noted that their Services have moved: mostly they follow
/// within a moment, and one word tells of both.
fn follows_soon(seen: &Observed) -> Option<Timestamp> {
    let unnoted = seen.record().traffic.iter().filter(|traffic| traffic.switched_at.is_none());
    let moved = unnoted.filter_map(|traffic| seen.service(&traffic.service)?.written_at).max()?;
    // The API server's clock may be another one.
    Some(later(moved, MOMENT)).filter(|until| moved <= seen.now && seen.now < *until)
}

/// Waits until the endpoints have followed, and `settle` more.
fn follow(seen: &Observed, mut record: Record, content: &ReleaseSpec) -> Move {
    let revision = content.revision();
    let mut waiting = Vec::new();
    // Of a Service that only the former version has, this is when that got it.
    let moved =
        |traffic: &&mut TrafficRecord| traffic.switched_at.is_some() && traffic.revision.as_ref() == Some(&revision);
    for traffic in record.traffic.iter_mut().filter(moved) {
        let ready = seen.ready_endpoints(&traffic.service, &revision);
        let others = seen.other_endpoints(&traffic.service, &revision);
        if ready >= traffic.pods && others == 0 {
            traffic.settled_at.get_or_insert(MicroTime(seen.now));
        } else if traffic.settled_at.is_none() {
            waiting.push(traffic.service.clone());
        }
    }
    if !waiting.is_empty() {
        if let Some(until) = follows_soon(seen) {
            let mut plan = as_before(seen, record);
            plan.look_again_at(until);
            return plan.into();
        }
        // Counts are left to those who look at the endpoints, as for pods.
        let text = format!("{} point at {}; endpoints have not followed yet.", waiting.join(", "), content.version);
        return Plan::stay(record, Situation::Working(Reason::Switching, text)).into();
    }
    let services = record.traffic.iter().filter_map(|traffic| traffic.settled_at.as_ref());
    let workers = record.workers.iter().filter_map(|worker| worker.handed_over_at.as_ref());
    let followed = services.chain(workers).map(|time| time.0).max();
    let settled = later(followed.unwrap_or(seen.now), content.switch.settle);
    if settled > seen.now {
        let text = format!("The endpoints have followed; settling for {}.", content.switch.settle);
        let mut plan = Plan::stay(record, Situation::Working(Reason::Switching, text));
        plan.look_again_at(settled);
        return plan.into();
    }
    enter(record, Step::Watch, seen.now, Some(content.watch.window))
}
