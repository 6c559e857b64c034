//! Slots: of how many Releases at once policies let something be under way; pure.
//!
//! A slot is an entry in the status of a policy, taken with its resourceVersion: of two Releases that take the last one
//! the API server refuses one. Releases that wait hold none, and a way back takes none.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::observed::{Answer, Ask, Observed, PolicySeen},
    Action, Plan, Situation, contract, restore_data,
};
use crate::api::{Reason, Record, RunningRelease, Step, clamp};

/// How a Release stands with the slots of its policies.
pub(super) enum Slots {
    /// It holds all that are asked for.
    Held,
    /// It does not: what it waits for, in words that stay the same until it goes on.
    Waits(Waits),
}

/// What a Release does while it waits for a slot.
pub(super) struct Waits {
    pub asks: Vec<Ask>,
    pub actions: Vec<Action>,
    pub message: String,
}

/// Returns how a Release stands with the slots of its policies.
pub(super) fn look(seen: &Observed) -> Slots {
    let limits: Vec<(&PolicySeen, usize)> = limits(seen).collect();
    if limits.iter().all(|(policy, _)| holds(seen, policy)) {
        return Slots::Held;
    }
    let asks: Vec<Ask> =
        limits.iter().flat_map(|(policy, _)| &policy.running).filter(|one| !is_seen(seen, one)).map(live).collect();
    let names: Vec<&str> = limits.iter().map(|(policy, _)| policy.name.as_str()).collect();
    let message = waits_for(&names);
    // Once that is told: acting and telling in one look would act again on what is outdated by then.
    let is_told = seen.release.status.conditions.iter().any(|told| told.message.starts_with(clamp(&message)));
    let actions = if is_told { changes(seen, &limits) } else { vec![] };
    Slots::Waits(Waits { asks, actions, message })
}

/// Says what would be waited for, when not all places that are asked for are free.
pub(super) fn full(seen: &Observed) -> Option<String> {
    let taken = |(policy, limit): &(&PolicySeen, usize)| !holds(seen, policy) && alive(seen, policy).count() >= *limit;
    let names: Vec<&str> = limits(seen).filter(taken).map(|(policy, _)| policy.name.as_str()).collect();
    (!names.is_empty()).then(|| waits_for(&names))
}

fn waits_for(policies: &[&str]) -> String {
    format!(
        "Waits for its place: ReleasePolicy {} limits of how many Releases at once something is under way, and its status says \
         of which. What is approved by then begins by itself.",
        policies.join(" and ")
    )
}

/// Returns what to write: all slots when they are free, else none that is held already.
fn changes(seen: &Observed, limits: &[(&PolicySeen, usize)]) -> Vec<Action> {
    let missing = || limits.iter().filter(|(policy, _)| !holds(seen, policy));
    if missing().any(|(policy, limit)| alive(seen, policy).count() >= *limit) {
        return limits
            .iter()
            .filter(|(policy, _)| holds(seen, policy))
            .map(|(policy, _)| without(seen, policy))
            .collect();
    }
    let takes = missing().map(|(policy, _)| {
        let mut running: Vec<RunningRelease> = alive(seen, policy).cloned().collect();
        running.push(RunningRelease {
            name: seen.release.name.clone(),
            uid: seen.release.uid.clone(),
            since: MicroTime(seen.now),
        });
        set(policy, running)
    });
    takes.collect()
}

/// Gives back what a Release holds and needs no longer.
pub(super) fn give_back(seen: &Observed, plan: &mut Plan) {
    // A way back takes no place either.
    let goes_on = |record: &Record| {
        record.candidate.is_some() && record.step >= Step::Preflight && !restore_data::is_waiting(record)
    };
    let waits = matches!(plan.situation, Situation::WaitingForApproval(Reason::WaitingForSlot, _))
        || contract::waits_for(&plan.record, Reason::WaitingForSlot);
    // What is read back is what others see, and what was written a moment ago no watch may have shown yet.
    if plan.act_first || waits || goes_on(&plan.record) || plan.record != *seen.record() {
        return;
    }
    let held = seen.policies.iter().chain(&seen.former_policies).filter(|policy| holds(seen, policy));
    let given: Vec<Action> = held.map(|policy| without(seen, policy)).collect();
    plan.actions.extend(given);
}

/// Puts what is written of slots behind everything else: what serves is not kept waiting for a policy that cannot be
/// written.
pub(super) fn last(plan: &mut Plan) {
    plan.actions.sort_by_key(|action| matches!(action, Action::SetRunning { .. }));
}

/// Returns the policies that limit how many are under way.
fn limits(seen: &Observed) -> impl Iterator<Item = (&PolicySeen, usize)> {
    let limited = seen.policies.iter().filter_map(|policy| Some((policy, policy.spec.as_ref()?.concurrency)));
    limited.filter(|(_, limit)| *limit > 0).map(|(policy, limit)| (policy, usize::from(limit)))
}

fn holds(seen: &Observed, policy: &PolicySeen) -> bool {
    policy.running.iter().any(|running| running.uid == seen.release.uid)
}

/// Returns the holders of slots, but for those that a live read has shown to be gone.
fn alive<'a>(seen: &Observed, policy: &'a PolicySeen) -> impl Iterator<Item = &'a RunningRelease> {
    policy.running.iter().filter(|running| !matches!(seen.answer(&live(running)), Some(Answer::Exists(false))))
}

/// Returns whether the watch shows a holder: only one that it does not show is asked for.
fn is_seen(seen: &Observed, running: &RunningRelease) -> bool {
    let same = |uid: &str| uid == running.uid;
    same(&seen.release.uid)
        || seen.sources.iter().any(|source| source.standing.as_ref().is_some_and(|standing| same(&standing.uid)))
}

fn live(running: &RunningRelease) -> Ask {
    Ask::LiveRelease { name: running.name.clone(), uid: running.uid.clone() }
}

fn without(seen: &Observed, policy: &PolicySeen) -> Action {
    let others = policy.running.iter().filter(|running| running.uid != seen.release.uid);
    set(policy, others.cloned().collect())
}

fn set(policy: &PolicySeen, running: Vec<RunningRelease>) -> Action {
    Action::SetRunning {
        policy: policy.name.clone(),
        uid: policy.uid.clone(),
        resource_version: policy.resource_version.clone(),
        running,
    }
}
