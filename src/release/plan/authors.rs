//! Authors: who changed the spec since what serves was asked for, where a policy asks that none of them approves; pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::observed::{Guard, Observed},
    policies::Policies,
};
use crate::api::{Reason, Record, StampRecord, stamped};

/// What the API server's account of a person's work begins with when it is no person.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Who must not approve.
pub(super) enum Authors<'a> {
    /// No policy asks.
    Anybody,
    /// These, as a policy asks.
    Known { policy: &'a str, names: Vec<&'a str> },
    /// A policy asks and it cannot be told, so no approval counts.
    Unknown(Reason, String),
}

impl Authors<'_> {
    /// Returns the policy by which somebody must not approve.
    pub(super) fn forbid(&self, actor: &str) -> Option<&str> {
        match self {
            Self::Known { policy, names } => names.contains(&stamped(actor).as_str()).then_some(policy),
            Self::Anybody | Self::Unknown(..) => None,
        }
    }

    /// Returns whether nobody's approval counts.
    pub(super) fn are_unknown(&self) -> bool {
        matches!(self, Self::Unknown(..))
    }

    /// Says what of it is unmet while this many approvals are missing.
    pub(super) fn unmet(&self, missing: usize) -> Option<String> {
        match self {
            Self::Known { policy, names } if missing > 0 => Some(format!(
                "By somebody else than who changed the spec since what serves was asked for ({}), as ReleasePolicy \
                 {policy} asks.",
                names.join(", ")
            )),
            Self::Known { .. } | Self::Anybody => None,
            Self::Unknown(_, message) => Some(message.clone()),
        }
    }
}

/// Remembers from which change on the stamp is to be believed: what was written while the policies were not in force,
/// anybody may have written.
pub(super) fn note(seen: &Observed, record: &mut Record) {
    let Some(since) = in_force(seen).filter(|since| *since <= seen.now) else { return };
    let known = record.stamped.as_ref().is_some_and(|stamped| stamped.since.0 == since);
    if !known && Policies(&seen.policies).not_author().is_some() {
        let generation = if seen.release.created >= since { 0 } else { seen.release.generation };
        record.stamped = Some(StampRecord { since: MicroTime(since), generation });
    }
}

/// Returns since when both who approves and who changes is guarded; for the ten seconds after that was mended it lies
/// ahead.
pub(super) fn in_force(seen: &Observed) -> Option<Timestamp> {
    match (&seen.guard, &seen.stamp) {
        (Guard::Since(guard), Guard::Since(stamp)) => Some(*guard.max(stamp)),
        (Guard::Since(_) | Guard::Missing(_), Guard::Since(_) | Guard::Missing(_)) => None,
    }
}

/// Returns who must not approve the spec as it is now.
pub(super) fn of<'a>(seen: &'a Observed, record: &Record) -> Authors<'a> {
    since(seen, record, record.active.as_ref().map_or(0, |active| active.generation))
}

/// Returns who must not approve what came of the spec's changes after a generation.
pub(super) fn since<'a>(seen: &'a Observed, record: &Record, after: i64) -> Authors<'a> {
    let Some(policy) = Policies(&seen.policies).not_author() else { return Authors::Anybody };
    let asks = format!("ReleasePolicy {policy} asks that nobody approves a change of their own");
    if let Guard::Missing(why) = &seen.stamp {
        let message = format!(
            "{asks}, and the API server does not stamp who changed what: {why}. No approval counts until it does \
             (MutatingAdmissionPolicy; Kubernetes 1.36 has it, 1.34 and 1.35 behind a feature gate)."
        );
        return Authors::Unknown(Reason::ApprovalPolicyMissing, message);
    }
    let until = seen.release.generation;
    let since = in_force(seen);
    let holds = |stamped: &&StampRecord| Some(stamped.since.0) == since && stamped.generation <= after;
    let certain = record.stamped.as_ref().filter(holds).is_some();
    let stamp = seen.release.changed_by.as_ref().filter(|_| certain);
    let Some(names) = stamp.and_then(|stamp| stamp.between(after, until)) else {
        let message = format!(
            "{asks}, and who made each change of the spec after generation {after} is not certain: one was not stamped, or \
             was made before the admission policies were in force. No approval counts until an admin lifts notAuthor for \
             this Release; once a version serves, later changes are known."
        );
        return Authors::Unknown(Reason::ApprovalPolicyMissing, message);
    };
    if let Some(account) = names.iter().find(|name| name.starts_with(SERVICE_ACCOUNT)) {
        let message = format!(
            "{asks}, and {account} changed the spec for somebody whom nobody here knows. No approval counts until an admin \
             lifts notAuthor for this Release."
        );
        return Authors::Unknown(Reason::AuthorIsAutomation, message);
    }
    Authors::Known { policy, names }
}
