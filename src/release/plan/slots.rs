//! Slots: of how many Releases at once policies let something be under way; pure.
//!
//! A slot is an entry in the status of a policy, taken with its resourceVersion: of two Releases that take the last one
//! the API server refuses one. Releases that wait hold none, and a way back takes none.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::observed::{Answer, Ask, Observed, PolicySeen},
    Action, Plan,
};
use crate::api::{Record, RunningRelease, Step};

/// How a Release stands with the slots of its policies.
pub(super) enum Slots {
    /// It holds all that are asked for.
    Held,
    /// They are free.
    Free { takes: Vec<Action>, message: String },
    /// One policy has none left; those who hold them may be gone.
    Full { asks: Vec<Ask>, message: String },
}

/// Returns how a Release stands with the slots of its policies.
pub(super) fn look(seen: &Observed) -> Slots {
    let missing: Vec<(&PolicySeen, usize)> = limits(seen).filter(|(policy, _)| !holds(seen, policy)).collect();
    let mut takes = vec![];
    for (policy, limit) in &missing {
        let asks: Vec<Ask> = policy.running.iter().map(live).collect();
        let gone = |running: &RunningRelease| matches!(seen.answer(&live(running)), Some(Answer::Exists(false)));
        let alive: Vec<&RunningRelease> = policy.running.iter().filter(|running| !gone(running)).collect();
        if alive.len() >= *limit {
            let names: Vec<&str> = alive.iter().map(|running| running.name.as_str()).collect();
            let message = format!(
                "ReleasePolicy {} lets {limit} at once, and {} is under way. What is approved by then begins by itself.",
                policy.name,
                names.join(", ")
            );
            return Slots::Full { asks, message };
        }
        let mut running: Vec<RunningRelease> = alive.into_iter().cloned().collect();
        running.push(RunningRelease {
            name: seen.release.name.clone(),
            uid: seen.release.uid.clone(),
            since: MicroTime(seen.now),
        });
        takes.push(set(policy, running));
    }
    if takes.is_empty() {
        return Slots::Held;
    }
    let names: Vec<&str> = missing.iter().map(|(policy, _)| policy.name.as_str()).collect();
    Slots::Free {
        takes,
        message: format!("Taking its place among those that ReleasePolicy {} lets at once.", names.join(" and ")),
    }
}

/// Gives back what a Release holds and needs no longer.
pub(super) fn give_back(seen: &Observed, plan: &mut Plan) {
    let goes_on = |record: &Record| record.candidate.is_some() && record.step >= Step::Preflight;
    // What is read back is what others see: a Release that is remembered as under way still holds its slot.
    if plan.act_first || goes_on(&plan.record) || goes_on(seen.record()) {
        return;
    }
    let taking = |policy: &PolicySeen| {
        plan.actions.iter().any(|action| matches!(action, Action::SetRunning { uid, .. } if *uid == policy.uid))
    };
    let held: Vec<&PolicySeen> = seen.policies.iter().filter(|policy| holds(seen, policy) && !taking(policy)).collect();
    let given = held.into_iter().map(|policy| {
        let others = policy.running.iter().filter(|running| running.uid != seen.release.uid);
        set(policy, others.cloned().collect())
    });
    let given: Vec<Action> = given.collect();
    plan.actions.extend(given);
}

/// Returns the policies that limit how many are under way.
fn limits(seen: &Observed) -> impl Iterator<Item = (&PolicySeen, usize)> {
    let limited = seen.policies.iter().filter_map(|policy| Some((policy, policy.spec.as_ref()?.concurrency)));
    limited.filter(|(_, limit)| *limit > 0).map(|(policy, limit)| (policy, usize::from(limit)))
}

fn holds(seen: &Observed, policy: &PolicySeen) -> bool {
    policy.running.iter().any(|running| running.uid == seen.release.uid)
}

fn live(running: &RunningRelease) -> Ask {
    Ask::LiveRelease { name: running.name.clone(), uid: running.uid.clone() }
}

fn set(policy: &PolicySeen, running: Vec<RunningRelease>) -> Action {
    Action::SetRunning {
        policy: policy.name.clone(),
        uid: policy.uid.clone(),
        resource_version: policy.resource_version.clone(),
        running,
    }
}
