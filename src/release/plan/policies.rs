//! Policies: what the ReleasePolicies of a namespace ask of a Release; pure.
//!
//! In: the policies that match. Out: the strictest value of each field. One that cannot be read or evaluated keeps
//! everything from beginning: a guard rail that nobody understands is not a missing one. Going back never asks here.

use croner::Cron;
use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZoneDatabase};
use serde_json::{Value, json};

use super::super::observed::PolicySeen;
use crate::api::{
    Automatic, DecisionKind, Freeze, Mode, ProofLevel, Reason, RehearsalReach, ReleasePolicySpec, ReleaseSpec,
    is_semantic,
};

/// How long a Decision counts after it was made, where no policy says less.
const EXPIRES: SignedDuration = SignedDuration::from_hours(24);

/// The policies that match a Release.
#[derive(Clone, Copy)]
pub(super) struct Policies<'a>(pub(super) &'a [PolicySeen]);

/// A freeze that holds now.
pub(super) struct Frozen<'a> {
    pub until: Timestamp,
    pub policy: &'a str,
    pub why: Option<&'a str>,
}

impl<'a> Policies<'a> {
    fn specs(self) -> impl Iterator<Item = (&'a str, &'a ReleasePolicySpec)> {
        self.0.iter().filter_map(|policy| Some((policy.name.as_str(), policy.spec.as_deref()?)))
    }

    /// Returns whether a release begins by itself, as it says or as the policies have it.
    pub(super) fn mode(self, asked: Option<Mode>, is_first: bool) -> Mode {
        if self.0.is_empty() {
            return asked.unwrap_or_default();
        }
        // Each policy with its own defaults; all of them must let it.
        let all = self.specs().all(|(_, policy)| mode_by(policy, asked, is_first) == Mode::Automatic);
        if all { Mode::Automatic } else { Mode::Manual }
    }

    /// Returns the policy that lets nothing begin by itself.
    pub(super) fn forbids_automatic(self) -> Option<&'a str> {
        self.specs().find(|(_, policy)| policy.automatic == Automatic::Forbidden).map(|(name, _)| name)
    }

    /// Returns how many people must approve.
    pub(super) fn required(self) -> usize {
        self.specs().map(|(_, policy)| usize::from(policy.approval.required)).max().unwrap_or(1)
    }

    /// Returns how many people must approve a Contract migration.
    pub(super) fn contract_required(self) -> usize {
        let asked = |policy: &ReleasePolicySpec| policy.approval.contract_required.unwrap_or(policy.approval.required);
        self.specs().map(|(_, policy)| usize::from(asked(policy))).max().unwrap_or(1)
    }

    /// Returns the policy that takes no approval of an author.
    pub(super) fn not_author(self) -> Option<&'a str> {
        self.specs().find(|(_, policy)| policy.approval.not_author).map(|(name, _)| name)
    }

    /// Returns how long an approval counts.
    pub(super) fn approvals_expire(self) -> SignedDuration {
        let all = self.specs().map(|(_, policy)| policy.approval.expires);
        all.map(|limit| limit.map_or(EXPIRES, |limit| limit.as_signed())).min().unwrap_or(EXPIRES)
    }

    /// Returns how long a Decision counts. What stops, goes back or lets go on expires by no policy.
    pub(super) fn expires(self, kind: &DecisionKind) -> SignedDuration {
        let begins = match kind {
            DecisionKind::Approve(_) | DecisionKind::Retry(_) | DecisionKind::Expedite(_) => true,
            DecisionKind::Reject(_)
            | DecisionKind::Abort(_)
            | DecisionKind::Rollback(_)
            | DecisionKind::Suspend(_)
            | DecisionKind::Resume(_)
            | DecisionKind::Promote(_) => false,
        };
        if begins { self.approvals_expire() } else { EXPIRES }
    }

    /// Returns the sentences one of which each approval must say; none when none is asked for.
    pub(super) fn statements(self) -> Vec<&'a str> {
        let mut lists = self.specs().map(|(_, policy)| &policy.approval.statements).filter(|list| !list.is_empty());
        let Some(first) = lists.next() else { return vec![] };
        let rest: Vec<&Vec<String>> = lists.collect();
        let in_all = first.iter().filter(|sentence| rest.iter().all(|list| list.contains(sentence)));
        in_all.map(String::as_str).collect()
    }

    /// Returns whether an approval that says this says what is asked for.
    pub(super) fn accepts(self, statement: Option<&str>) -> bool {
        let asks = self.specs().any(|(_, policy)| !policy.approval.statements.is_empty());
        !asks || statement.is_some_and(|said| self.statements().contains(&said))
    }

    /// Returns how far the backup of a release must be proven at least.
    pub(super) fn proof(self) -> Option<ProofLevel> {
        self.specs().filter_map(|(_, policy)| policy.database.proof).max()
    }

    /// Returns the policy that lets no rehearsal reach production.
    pub(super) fn isolates_rehearsals(self) -> Option<&'a str> {
        let forbids =
            |policy: &ReleasePolicySpec| policy.database.rehearsal_reaches_production == RehearsalReach::Forbidden;
        self.specs().find(|(_, policy)| forbids(policy)).map(|(name, _)| name)
    }

    /// Returns the freeze that holds now and ends last.
    pub(super) fn frozen(self, now: Timestamp) -> Option<Frozen<'a>> {
        let all = self.specs().flat_map(|(name, policy)| policy.freeze.iter().map(move |freeze| (name, freeze)));
        let held = all.filter_map(|(policy, freeze)| {
            let until = latest(freeze, now).ok()?.checked_add(freeze.lasts.as_signed()).unwrap_or(Timestamp::MAX);
            (until > now).then_some(Frozen { until, policy, why: freeze.reason.as_deref() })
        });
        held.max_by_key(|frozen| frozen.until)
    }

    /// Returns why nothing begins until spec or policies change.
    pub(super) fn refuses(self, spec: &ReleaseSpec, now: Timestamp) -> Option<(Reason, String)> {
        self.unusable(now).or_else(|| self.specs().find_map(|(name, policy)| refused(name, policy, spec)))
    }

    /// Returns why the policies cannot be evaluated.
    fn unusable(self, now: Timestamp) -> Option<(Reason, String)> {
        let told = |name: &str, why: String| {
            (Reason::PolicyUnusable, format!("ReleasePolicy {name} {why}. Nothing begins until an admin mends it."))
        };
        if let Some(policy) = self.0.iter().find(|policy| policy.spec.is_none()) {
            return Some(told(&policy.name, "does not fit this version's schema".to_owned()));
        }
        for (name, policy) in self.specs() {
            if let Some((freeze, why)) =
                policy.freeze.iter().find_map(|freeze| Some((freeze, latest(freeze, now).err()?)))
            {
                return Some(told(name, format!("has a freeze {:?} that cannot be used: {why}", freeze.schedule)));
            }
        }
        let asks = self.specs().any(|(_, policy)| !policy.approval.statements.is_empty());
        if asks && self.statements().is_empty() {
            let names: Vec<&str> = self.specs().map(|(name, _)| name).collect();
            return Some(told(
                &names.join(" and "),
                "ask for different statements, and an approval has one".to_owned(),
            ));
        }
        None
    }

    /// Returns what an approval covers of them.
    pub(super) fn covered(self) -> Value {
        let mut all: Vec<(&str, i64)> = self.0.iter().map(|policy| (policy.uid.as_str(), policy.generation)).collect();
        all.sort_unstable();
        json!(all)
    }
}

/// Returns who begins as one policy has it.
fn mode_by(policy: &ReleasePolicySpec, asked: Option<Mode>, is_first: bool) -> Mode {
    if let Some(first) = policy.first_release.filter(|_| is_first) {
        return first;
    }
    match policy.automatic {
        Automatic::Forbidden => Mode::Manual,
        Automatic::Allowed => asked.or(policy.default_mode).unwrap_or_default(),
    }
}

fn refused(name: &str, policy: &ReleasePolicySpec, spec: &ReleaseSpec) -> Option<(Reason, String)> {
    if policy.semver && !is_semantic(&spec.version) {
        let message = format!(
            "ReleasePolicy {name} asks for semantic versions, and {:?} is none (semver.org). Next: correct spec.version.",
            spec.version
        );
        return Some((Reason::VersionNotSemantic, message));
    }
    let moves = spec.all_images().find(|(_, image)| !is_by_digest(image)).filter(|_| policy.images.digest_required);
    moves.map(|(container, image)| {
        let message = format!(
            "ReleasePolicy {name} asks for images by digest, and {image} of container {container} is none: a tag can be \
             moved. Next: write it as NAME@sha256:..., with 64 hex digits"
        );
        (Reason::DigestRequired, message)
    })
}

/// Returns whether an image is named by what it is: nobody can move that.
fn is_by_digest(image: &str) -> bool {
    image.rsplit_once("@sha256:").is_some_and(|(_, digest)| {
        digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Returns when a freeze began last, or why that cannot be said.
fn latest(freeze: &Freeze, now: Timestamp) -> Result<Timestamp, String> {
    // Not the machine's own: what a zone means must not depend on where the controller runs.
    let zone = TimeZoneDatabase::bundled()
        .get(&freeze.timezone)
        .map_err(|_| format!("{:?} is no time zone of the IANA database", freeze.timezone))?;
    let schedule: Cron = freeze.schedule.parse().map_err(|error| format!("{error}"))?;
    let local: Zoned = now.to_zoned(zone);
    let began = schedule.find_previous_occurrence(&local, true).map_err(|_| "it never comes".to_owned())?;
    Ok(began.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freeze(schedule: &str, lasts: &str, timezone: &str) -> Freeze {
        serde_json::from_value(json!({ "schedule": schedule, "for": lasts, "timezone": timezone })).unwrap()
    }

    fn holds(freeze: &Freeze, at: &str) -> bool {
        let now: Timestamp = at.parse().unwrap();
        let spec = ReleasePolicySpec { freeze: vec![freeze.clone()], ..ReleasePolicySpec::default() };
        let policy = PolicySeen { name: "p".into(), spec: Some(spec.into()), ..PolicySeen::default() };
        Policies(&[policy]).frozen(now).is_some()
    }

    #[test]
    fn input_46_a_weekend_is_frozen_by_the_clock_of_its_own_zone_in_summer_and_winter() {
        let weekend = freeze("0 16 * * FRI", "64h", "Europe/Berlin");
        // Friday 16:00 in Berlin is 15:00 UTC in winter and 14:00 in summer; Monday 08:00 ends it.
        let table = [
            ("2026-11-20T14:59:59Z", false),
            ("2026-11-20T15:00:00Z", true),
            ("2026-11-23T06:59:59Z", true),
            ("2026-11-23T07:00:00Z", false),
            ("2026-07-17T13:59:59Z", false),
            ("2026-07-17T14:00:00Z", true),
            ("2026-07-20T05:59:59Z", true),
            ("2026-07-20T06:00:00Z", false),
            // The night in which the clock goes back lies within it.
            ("2026-10-25T01:30:00Z", true),
        ];
        for (at, expected) in table {
            assert_eq!(holds(&weekend, at), expected, "{at}");
        }
    }

    #[test]
    fn input_46_a_freeze_that_cannot_be_used_is_not_a_missing_one() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (schedule, zone, says) in [
            ("0 0 30 2 *", "UTC", "it never comes"),
            ("0 99 * * *", "UTC", ""),
            ("0 0 * * *", "Europe/Atlantis", "no time zone"),
        ] {
            let why = latest(&freeze(schedule, "1h", zone), now).unwrap_err();
            assert!(why.contains(says), "{schedule} {zone}: {why}");
        }
        assert!(latest(&freeze("30 2 29 2 *", "1h", "Europe/Berlin"), now).is_ok());
    }
}
