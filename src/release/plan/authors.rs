//! Authors: who changed the spec since what serves was asked for, where a policy asks that none of them approves; pure.

use super::{
    super::observed::{Guard, Observed},
    policies::Policies,
};
use crate::api::{Reason, Record, stamped};

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

/// Returns who must not approve the spec as it is now.
pub(super) fn of<'a>(seen: &'a Observed, record: &Record) -> Authors<'a> {
    let Some(policy) = Policies(&seen.policies).not_author() else { return Authors::Anybody };
    let asks = format!("ReleasePolicy {policy} asks that nobody approves a change of their own");
    if let Guard::Missing(why) = &seen.stamp {
        let message = format!(
            "{asks}, and the API server does not stamp who changed what: {why}. Nothing begins until it does \
             (MutatingAdmissionPolicy; Kubernetes 1.36 has it, 1.34 and 1.35 behind a feature gate)."
        );
        return Authors::Unknown(Reason::ApprovalPolicyMissing, message);
    }
    let (after, until) = (record.active.as_ref().map_or(0, |active| active.generation), seen.release.generation);
    let Some(names) = seen.release.changed_by.as_ref().and_then(|stamp| stamp.between(after, until)) else {
        let message = format!(
            "{asks}, and of the changes after generation {after}, which serves, not each one is stamped with who made it. \
             Nothing begins until notAuthor is lifted for this Release."
        );
        return Authors::Unknown(Reason::ApprovalPolicyMissing, message);
    };
    if let Some(account) = names.iter().find(|name| name.starts_with(SERVICE_ACCOUNT)) {
        let message = format!(
            "{asks}, and {account} changed the spec for somebody whom nobody here knows. Nothing begins until notAuthor \
             is lifted for this Release."
        );
        return Authors::Unknown(Reason::AuthorIsAutomation, message);
    }
    Authors::Known { policy, names }
}
