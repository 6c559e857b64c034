//! Whether the admission policies guard, and since when; pure.
//!
//! In: the policies as shipped, and what the watches have shown of those in the cluster. Out: a [`Guard`].
//! Never here: a client, a clock. Invariant: whatever was written while the policies were absent, weaker or not yet
//! active lies before [`Guard::Since`].

use std::collections::BTreeMap;

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use serde_json::Value;

use crate::release::observed::Guard;

/// How long after its last change a policy counts as active. Measured: API servers read policies anew every second
/// and need another to compile them; several servers do so each at its own time.
const ACTIVE_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// Kinds of objects that guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `ValidatingAdmissionPolicy`: what is refused.
    Policy,
    /// `ValidatingAdmissionPolicyBinding`: without one, nothing is.
    Binding,
    /// `MutatingAdmissionPolicy`: what is stamped.
    Stamp,
    /// `MutatingAdmissionPolicyBinding`: without one, nothing is.
    StampBinding,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Policy, Self::Binding, Self::Stamp, Self::StampBinding];

    /// Returns the kind as Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "ValidatingAdmissionPolicy",
            Self::Binding => "ValidatingAdmissionPolicyBinding",
            Self::Stamp => "MutatingAdmissionPolicy",
            Self::StampBinding => "MutatingAdmissionPolicyBinding",
        }
    }
}

/// An object that must be in the cluster exactly as shipped.
#[derive(Debug, Clone, PartialEq)]
pub struct Shipped {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its spec; every field that a server would fill in is written out.
    pub spec: Value,
}

impl Shipped {
    fn key(&self) -> (Kind, String) {
        (self.kind, self.name.clone())
    }
}

/// Such an object as the API server holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its UID: one that was deleted and made again is another one.
    pub uid: String,
    /// Its generation: the API server counts every change of the spec.
    pub generation: i64,
    /// Its spec, whole, also with fields that this version does not know.
    pub spec: Value,
    /// When its spec was last written, by the API server's clock; `None` where the object does not say: whoever may write it
    /// may take that out of it.
    pub written: Option<Timestamp>,
}

/// What the last look at one object has shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// There is none.
    Absent,
    /// There is one.
    Held(Held),
    /// It cannot be looked at, for this reason.
    Failed(String),
}

/// What the watches have shown since the controller started.
#[derive(Debug, Default)]
pub struct Seen {
    looks: BTreeMap<(Kind, String), Look>,
    /// What was last known of each object, also while it cannot be looked at.
    known: BTreeMap<(Kind, String), Option<Held>>,
    /// When a change was last noticed.
    changed: Option<Timestamp>,
}

impl Seen {
    /// Takes one look in. A change counts from when it is noticed: what the objects say of themselves does not tell
    /// how long they were otherwise, and times in metadata can be written by whoever may write the object.
    pub fn take(&mut self, object: &Shipped, look: Look, now: Timestamp) {
        let known = match &look {
            Look::Absent => Some(None),
            Look::Held(held) => Some(Some(held.clone())),
            Look::Failed(_) => None,
        };
        self.looks.insert(object.key(), look);
        // Not being able to look is no change: UID and generation will tell what happened meanwhile.
        if let Some(known) = known {
            let says_nothing = known.as_ref().is_some_and(|held| held.written.is_none());
            let before = self.known.insert(object.key(), known.clone());
            if before.map_or(says_nothing, |before| before != known) {
                self.changed = self.changed.max(Some(now));
            }
        }
    }
}

/// Returns what a controller knows that has not looked at every object yet.
#[must_use]
pub fn not_looked_yet() -> Guard {
    Guard::Missing("the admission policies were not looked at yet".to_owned())
}

/// Judges whether everything is in the cluster as shipped, and since when.
#[must_use]
pub fn judge(shipped: &[Shipped], seen: &Seen) -> Guard {
    let looks: Option<Vec<_>> = shipped.iter().map(|object| Some((object, seen.looks.get(&object.key())?))).collect();
    let Some(looks) = looks else { return not_looked_yet() };
    let mut since = seen.changed.unwrap_or(Timestamp::MIN);
    for (object, look) in looks {
        match check(object, look) {
            Ok(written) => since = since.max(written),
            Err(why) => return Guard::Missing(format!("{} {} {why}", object.kind.as_str(), object.name)),
        }
    }
    Guard::Since(whole_second(since.saturating_add(ACTIVE_AFTER).unwrap_or(Timestamp::MAX)))
}

/// Returns the next whole second: when something was created the API server says in whole seconds, rounded down.
fn whole_second(time: Timestamp) -> Timestamp {
    time.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil)).unwrap_or(time)
}

/// Returns when an object was last written, or what is wrong with it.
fn check(object: &Shipped, look: &Look) -> Result<Timestamp, String> {
    match look {
        Look::Absent => Err("does not exist".to_owned()),
        Look::Failed(problem) => Err(format!("cannot be watched: {problem}")),
        Look::Held(held) => match difference(&object.spec, &held.spec) {
            Some(place) => Err(format!("is not as shipped: spec{place} differs")),
            None => Ok(held.written.unwrap_or(Timestamp::MIN)),
        },
    }
}

/// Returns the first place at which two values differ.
fn difference(shipped: &Value, held: &Value) -> Option<String> {
    match (shipped, held) {
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.keys().chain(theirs.keys()).find_map(|key| match (ours.get(key), theirs.get(key)) {
                (Some(one), Some(other)) => Some(format!(".{key}{}", difference(one, other)?)),
                _ => Some(format!(".{key}")),
            })
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => ours
            .iter()
            .zip(theirs)
            .enumerate()
            .find_map(|(at, (one, other))| Some(format!("[{at}]{}", difference(one, other)?))),
        _ => (shipped != held).then(String::new),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CREATED: &str = "2026-03-01T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn shipped() -> Vec<Shipped> {
        let spec = json!({ "failurePolicy": "Fail", "validations": [{ "expression": "a" }, { "expression": "b" }] });
        let binding = json!({ "policyName": "p", "validationActions": ["Deny"] });
        vec![
            Shipped { kind: Kind::Policy, name: "p".into(), spec },
            Shipped { kind: Kind::Binding, name: "p".into(), spec: binding },
        ]
    }

    fn held(object: &Shipped) -> Held {
        Held { uid: "u".into(), generation: 1, spec: object.spec.clone(), written: Some(at(CREATED)) }
    }

    fn looked(shipped: &[Shipped]) -> Seen {
        let mut seen = Seen::default();
        for object in shipped {
            seen.take(object, Look::Held(held(object)), at("2026-03-01T15:00:00Z"));
        }
        seen
    }

    fn why(guard: Guard) -> String {
        match guard {
            Guard::Missing(why) => why,
            Guard::Since(since) => panic!("guards since {since}"),
        }
    }

    #[test]
    fn a_controller_that_has_just_started_counts_from_what_the_objects_say() {
        let shipped = shipped();
        assert_eq!(judge(&shipped, &looked(&shipped)), Guard::Since(at("2026-03-01T12:00:10Z")));
    }

    #[test]
    fn an_object_that_does_not_say_when_it_was_written_counts_from_the_first_look() {
        let shipped = shipped();
        let mut seen = Seen::default();
        for object in &shipped {
            let silent = Held { written: None, ..held(object) };
            seen.take(object, Look::Held(silent.clone()), at("2026-03-01T15:00:00Z"));
            // It is looked at over and over.
            seen.take(object, Look::Held(silent), at("2026-03-01T16:00:00Z"));
        }
        assert_eq!(judge(&shipped, &seen), Guard::Since(at("2026-03-01T15:00:10Z")));
    }

    #[test]
    fn nothing_guards_before_everything_was_looked_at() {
        let shipped = shipped();
        let mut seen = Seen::default();
        assert_eq!(judge(&shipped, &seen), not_looked_yet());
        seen.take(&shipped[0], Look::Absent, at(CREATED));
        assert_eq!(judge(&shipped, &seen), not_looked_yet());
    }

    #[test]
    fn every_difference_is_named_by_its_place() {
        let shipped = shipped();
        let table = [
            (0, "/failurePolicy", json!("Ignore"), ".failurePolicy"),
            (0, "/validations/1/expression", json!("true"), ".validations[1].expression"),
            (0, "/validations", json!([{ "expression": "a" }]), ".validations"),
            (0, "", json!({ "failurePolicy": "Fail" }), ".validations"),
            (1, "/validationActions/0", json!("Audit"), ".validationActions[0]"),
        ];
        for (which, place, value, said) in table {
            let mut seen = looked(&shipped);
            let mut changed = held(&shipped[which]);
            *changed.spec.pointer_mut(place).unwrap() = value;
            seen.take(&shipped[which], Look::Held(changed), at(CREATED));
            let name = format!("{} p is not as shipped: spec{said} differs", shipped[which].kind.as_str());
            assert_eq!(why(judge(&shipped, &seen)), name);
        }
    }

    #[test]
    fn a_field_that_this_version_does_not_know_differs_too() {
        let shipped = shipped();
        let mut seen = looked(&shipped);
        let mut changed = held(&shipped[1]);
        changed.spec["matchResources"] = json!({ "excludeEverything": true });
        seen.take(&shipped[1], Look::Held(changed), at(CREATED));
        assert!(why(judge(&shipped, &seen)).ends_with("spec.matchResources differs"));
    }

    #[test]
    fn after_a_gap_it_guards_from_when_the_end_of_the_gap_was_noticed() {
        let shipped = shipped();
        let mut seen = looked(&shipped);
        seen.take(&shipped[0], Look::Absent, at("2026-03-01T16:00:00Z"));
        assert_eq!(why(judge(&shipped, &seen)), "ValidatingAdmissionPolicy p does not exist");
        // As it was before, to the letter, times included.
        seen.take(&shipped[0], Look::Held(held(&shipped[0])), at("2026-03-01T17:00:00.2Z"));
        assert_eq!(judge(&shipped, &seen), Guard::Since(at("2026-03-01T17:00:11Z")));
    }

    #[test]
    fn a_change_that_was_taken_back_unseen_is_betrayed_by_generation_or_uid() {
        let shipped = shipped();
        for change in [|held: &mut Held| held.generation = 3, |held: &mut Held| held.uid = "v".into()] {
            let mut seen = looked(&shipped);
            seen.take(&shipped[1], Look::Failed("no connection".into()), at("2026-03-01T16:00:00Z"));
            let mut later = held(&shipped[1]);
            change(&mut later);
            seen.take(&shipped[1], Look::Held(later), at("2026-03-01T17:00:00Z"));
            assert_eq!(judge(&shipped, &seen), Guard::Since(at("2026-03-01T17:00:10Z")));
        }
    }

    #[test]
    fn what_cannot_be_watched_does_not_guard_and_is_no_gap_when_nothing_changed() {
        let shipped = shipped();
        let mut seen = looked(&shipped);
        seen.take(&shipped[1], Look::Failed("forbidden".into()), at("2026-03-01T16:00:00Z"));
        assert_eq!(why(judge(&shipped, &seen)), "ValidatingAdmissionPolicyBinding p cannot be watched: forbidden");
        seen.take(&shipped[1], Look::Held(held(&shipped[1])), at("2026-03-01T17:00:00Z"));
        assert_eq!(judge(&shipped, &seen), Guard::Since(at("2026-03-01T12:00:10Z")));
    }
}
