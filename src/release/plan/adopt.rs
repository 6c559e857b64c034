//! Adopt: what runs without us is found, recorded as what serves, and taken over; pure.
//!
//! It is found in `Inspect`, and what was found is part of what people approve. In `Preflight` it becomes the active
//! revision: from then on traffic goes back to it, nothing of it is written but its labels and owners, and it ends like
//! every other former revision. Recorded comes before taken over, so that nobody takes what serves for a leftover.

use super::{
    super::{
        manifests::{self, Kind, TakeOver},
        observed::{Answer, Ask, Observed, RunningSeen},
    },
    Action, Move, Plan, Situation, ending,
    ending::Why,
    found::{self, Found},
    later, when_recorded,
};
use crate::api::{ActiveRevision, AdoptedWorkload, AdoptionRecord, Duration, Outcome, Reason, Record, TrafficRecord};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// Number of the attempt that holds what was taken over: it came before the first.
const BEFORE_THE_FIRST: i64 = 0;
/// When to look again at what cannot be taken over: nobody watches it before.
const AGAIN: Duration = Duration::from_secs(10);

/// Looks for what the spec wants to take over, while the plan is made; `None` when that is known and in status as read:
/// manifests depend on it.
pub(super) fn look(seen: &Observed, record: &mut Record) -> Option<Move> {
    let asking = || Situation::Working(Reason::Inspecting, "Looking at what runs now.".to_owned());
    match found::look(seen, record) {
        Found::Nothing => {
            if record.active.is_none() {
                record.adoption = None;
            }
            None
        }
        Found::Asking(asks) => Some(Plan { asks, ..Plan::stay(record.clone(), asking()) }.into()),
        Found::Refused(reason, message) => Some(ending::failed(seen, record.clone(), (reason, message))),
        Found::Here(adoption, _) => {
            record.adoption = Some(*adoption);
            (seen.record().adoption != record.adoption).then(|| Plan::stay(record.clone(), asking()).into())
        }
    }
}

/// Returns whether two looks have found the same to go back to. How many pods there are is no part of it.
pub(super) fn is_same(one: &AdoptionRecord, other: &AdoptionRecord) -> bool {
    let sizeless = |adoption: &AdoptionRecord| {
        let mut adoption = adoption.clone();
        adoption.workloads.iter_mut().for_each(|workload| workload.pods = 0);
        adoption
    };
    sizeless(one) == sizeless(other)
}

/// Makes what was found the active revision, and waits until it is taken over; `None` when it is, or when there is nothing.
pub(super) fn take(seen: &Observed, record: &Record) -> Option<Move> {
    let adoption = record.adoption.as_ref()?;
    match &record.active {
        Some(active) if active.revision == adoption.revision => {
            let open = open(seen, adoption);
            (!open.is_empty()).then(|| Plan::stay(record.clone(), waiting(seen, &open)).into())
        }
        Some(_) => None,
        None => Some(become_active(seen, record.clone())),
    }
}

fn become_active(seen: &Observed, mut record: Record) -> Move {
    let told = Situation::Working(Reason::Preflight, "What runs now is recorded as what serves.".to_owned());
    let (found, content) = match found::look(seen, &record) {
        Found::Asking(asks) => return Plan { asks, ..Plan::stay(record, told) }.into(),
        Found::Refused(reason, message) => return ending::failed(seen, record, (reason, message)),
        Found::Here(found, content) if record.adoption.as_ref().is_some_and(|known| is_same(known, &found)) => {
            (found, content)
        }
        Found::Here(..) | Found::Nothing => return changed(seen, record),
    };
    let frozen = match seen.attempt(BEFORE_THE_FIRST) {
        Some(frozen) if frozen.revision == found.revision.digits() => frozen,
        // Of an attempt that ended before anything was taken over.
        Some(other) => {
            let delete = Action::delete(Kind::ControllerRevision, &other.name, &other.uid);
            return Plan { actions: when_recorded(seen, &record, delete), ..Plan::stay(record, told) }.into();
        }
        None => {
            let create = Action::Create(Box::new(manifests::attempt(&seen.release, BEFORE_THE_FIRST, &content)));
            return Plan { actions: when_recorded(seen, &record, create), ..Plan::stay(record, told) }.into();
        }
    };
    let now = MicroTime(seen.now);
    let traffic = |adopted: &AdoptedWorkload| TrafficRecord {
        service: adopted.service.clone(),
        revision: Some(found.revision.clone()),
        pods: adopted.pods,
        pods_before: None,
        switched_at: Some(now.clone()),
        settled_at: Some(now.clone()),
    };
    record.traffic = found.workloads.iter().map(traffic).collect();
    record.active = Some(ActiveRevision {
        attempt: BEFORE_THE_FIRST,
        content: Some(frozen.uid.clone()),
        ..active(&found, now.clone())
    });
    record.adoption = Some(*found);
    Plan::stay(record, told).into()
}

fn active(adoption: &AdoptionRecord, since: MicroTime) -> ActiveRevision {
    ActiveRevision {
        revision: adoption.revision.clone(),
        version: adoption.version.clone(),
        attempt: BEFORE_THE_FIRST,
        generation: 0,
        since,
        content: None,
        approved_by: vec![],
    }
}

/// Returns what will be remembered once it is taken over: the plan speaks of that.
pub(super) fn expected(record: &Record, now: jiff::Timestamp) -> Record {
    let mut record = record.clone();
    if let Some(adoption) = record.adoption.as_ref().filter(|_| record.active.is_none()) {
        record.active = Some(active(adoption, MicroTime(now)));
    }
    record
}

/// Ends an attempt whose plan spoke of something else than what runs now.
fn changed(seen: &Observed, record: Record) -> Move {
    let message = "What was to be taken over is not what the approved plan speaks of: it changed meanwhile. Nothing was \
                   released; the plan is made anew.";
    let why = Why { reason: Reason::ApprovalStale, message: message.to_owned(), outcome: Outcome::Superseded };
    ending::turn_back(record, seen.now, why)
}

/// What is recorded as taken over and does not say so yet: its workload, kind, name and UID.
type Open<'a> = (&'a AdoptedWorkload, Kind, &'a str, &'a str);

fn open<'a>(seen: &Observed, adoption: &'a AdoptionRecord) -> Vec<Open<'a>> {
    let of = |adopted: &'a AdoptedWorkload| {
        let deployment = seen.deployment(&adopted.workload, &adoption.revision).is_none();
        let deployment =
            deployment.then_some((adopted, Kind::Deployment, &*adopted.deployment, &*adopted.deployment_uid));
        let service = seen.service(&adopted.service).is_none();
        let service = service.then_some((adopted, Kind::Service, &*adopted.service, &*adopted.service_uid));
        deployment.into_iter().chain(service)
    };
    adoption.workloads.iter().flat_map(of).collect()
}

fn waiting(seen: &Observed, open: &[Open<'_>]) -> Situation {
    let names: Vec<String> = open.iter().map(|(_, kind, name, _)| format!("{} {name}", kind.as_str())).collect();
    let cannot = open.iter().find_map(|open| match seen.answer(&Ask::Running(open.1, open.2.to_owned())) {
        Some(Answer::Running(Some(live))) if is_it(live, open) => found::may_take(seen, (open.1, open.2), live).err(),
        _ => None,
    });
    let told = cannot.map_or_else(
        || format!("Taking over {}: labels and owners are added, nothing moves.", names.join(", ")),
        |(_, message)| message,
    );
    Situation::Working(Reason::Preflight, told)
}

fn is_it(live: &RunningSeen, (_, _, _, uid): &Open<'_>) -> bool {
    live.uid == *uid && !live.deleting
}

/// Takes over what is recorded as that and does not say so yet: also when somebody has taken the labels off. Returns whether
/// anything is left; what is gone is made again like everything that serves.
pub(super) fn keep(seen: &Observed, plan: &mut Plan) -> bool {
    let active = plan.record.active.as_ref().filter(|active| seen.record().active.as_ref() == Some(active));
    let adoption = active.and_then(|active| plan.record.adopted(active.revision.digits()));
    let Some(adoption) = adoption.filter(|_| seen.record().adoption == plan.record.adoption).cloned() else {
        return false;
    };
    let open = open(seen, &adoption);
    let asks: Vec<Ask> = open.iter().map(|(_, kind, name, _)| Ask::Running(*kind, (*name).to_owned())).collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        plan.asks.extend(asks);
        return true;
    }
    let mut left = false;
    for (open, ask) in open.iter().zip(&asks) {
        let Some(Answer::Running(Some(live))) = seen.answer(ask) else { continue };
        if !is_it(live, open) {
            continue;
        }
        left = true;
        match found::may_take(seen, (open.1, open.2), live) {
            Ok(()) => plan.upkeep.push(take_over(seen, &adoption, open, live)),
            Err(_) => plan.look_again_at(later(seen.now, AGAIN)),
        }
    }
    left
}

fn take_over(seen: &Observed, adoption: &AdoptionRecord, (adopted, kind, ..): &Open<'_>, live: &RunningSeen) -> Action {
    let attempt = seen.record().active.as_ref().map_or(BEFORE_THE_FIRST, |active| active.attempt);
    let owner = if *kind == Kind::Service { seen.anchor() } else { seen.attempt(attempt) };
    let it = TakeOver {
        uid: &live.uid,
        resource_version: &live.resource_version,
        digits: adoption.revision.digits(),
        selector: live.spec.get("selector"),
        owner,
    };
    let manifest = if *kind == Kind::Service {
        manifests::service_taken_over(&seen.release, adopted, it)
    } else {
        manifests::deployment_taken_over(&seen.release, adopted, it)
    };
    Action::TakeOver(Box::new(manifest))
}
