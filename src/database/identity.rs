//! Whether a database is the one that was accepted; pure.

use crate::{
    agent_job::targets::fingerprint,
    api::{DatabaseIdentity, Environment},
};

/// What a look at a database means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is who it was, or nobody was accepted before.
    Accepted,
    /// It is another one, and an administrator's word accepts it.
    Adopted,
    /// It is another one: both values, side by side.
    Uncertain(Vec<String>),
    /// It is the same as before what was accepted was written: an older copy, or a look from before that.
    Older(String),
    /// Its marker says that it is for something else than it is declared to be. No word accepts that.
    Misdeclared(Environment),
}

/// Judges what was seen. `word` is an administrator's, if it has not counted yet.
pub(super) fn judge(
    (accepted, seen): (Option<&DatabaseIdentity>, &DatabaseIdentity),
    declared: Environment,
    word: Option<&str>,
) -> Judgement {
    if let Some(marker) = seen.marker.as_ref().filter(|marker| marker.environment != declared) {
        return Judgement::Misdeclared(marker.environment);
    }
    let named = word == Some(fingerprint(seen).as_str());
    let Some(accepted) = accepted else {
        return if named { Judgement::Adopted } else { Judgement::Accepted };
    };
    let mut differences = differences(accepted, seen);
    let older = older(accepted, seen);
    match (differences.is_empty(), named, older) {
        (_, true, _) => Judgement::Adopted,
        (true, false, None) => Judgement::Accepted,
        (true, false, Some(older)) => Judgement::Older(older),
        (false, false, older) => {
            differences.extend(older);
            Judgement::Uncertain(differences)
        }
    }
}

/// Returns what differs, in words; empty for the same database.
fn differences(accepted: &DatabaseIdentity, seen: &DatabaseIdentity) -> Vec<String> {
    let DatabaseIdentity {
        system_identifier,
        oid,
        name,
        marker,
        endpoint,
        certificate: _,
        server_version: _,
        size_bytes: _,
    } = accepted;
    let mut found = vec![];
    let mut compare = |what: &str, before: &str, now: &str| {
        if before != now {
            found.push(format!("{what} was {before}, is {now}"));
        }
    };
    compare("system identifier", system_identifier, &seen.system_identifier);
    compare("oid", &oid.to_string(), &seen.oid.to_string());
    compare("name", name, &seen.name);
    // A copy that was started elsewhere has everything else in common with the original.
    compare("endpoint", endpoint, &seen.endpoint);
    if let Some(before) = marker {
        compare("marker", &before.uuid, seen.marker.as_ref().map_or("none", |now| now.uuid.as_str()));
    }
    found
}

/// Says that the marker is of an earlier time than the one that was accepted.
fn older(accepted: &DatabaseIdentity, seen: &DatabaseIdentity) -> Option<String> {
    let (before, now) = (accepted.marker.as_ref()?, seen.marker.as_ref()?);
    (now.uuid == before.uuid && now.epoch < before.epoch)
        .then(|| format!("epoch was {}, is {}: an older copy", before.epoch, now.epoch))
}

/// Returns whether facts from another Job's result are newer facts about the accepted database.
pub(super) fn is_newer(accepted: &DatabaseIdentity, seen: &DatabaseIdentity) -> bool {
    let epoch = |identity: &DatabaseIdentity| identity.marker.as_ref().map_or(i64::MIN, |marker| marker.epoch);
    differences(accepted, seen).is_empty() && epoch(seen) > epoch(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DatabaseMarker;

    const UUID: &str = "11111111-2222-3333-4444-555555555555";

    fn identity(change: impl Fn(&mut DatabaseIdentity)) -> DatabaseIdentity {
        let mut identity = DatabaseIdentity {
            system_identifier: "7000".into(),
            oid: 16384,
            name: "shop".into(),
            marker: Some(marker(3)),
            endpoint: "db:5432".into(),
            certificate: None,
            server_version: "15.18".into(),
            size_bytes: 1,
        };
        change(&mut identity);
        identity
    }

    fn marker(epoch: i64) -> DatabaseMarker {
        DatabaseMarker { uuid: UUID.into(), environment: Environment::Production, epoch }
    }

    fn uncertain(text: &str) -> Judgement {
        Judgement::Uncertain(vec![text.to_owned()])
    }

    #[test]
    fn another_database_is_accepted_by_its_own_fingerprint_only() {
        let known = identity(|_| {});
        let none = "7000/16384/shop/none";
        let full = format!("7000/16384/shop/{UUID}");
        let other = || identity(|seen| seen.marker.as_mut().unwrap().uuid = "9".into());
        let copy = || identity(|seen| seen.endpoint = "copy:5432".into());
        let table: [(&str, DatabaseIdentity, Option<&str>, Judgement); 11] = [
            ("the same", identity(|_| {}), None, Judgement::Accepted),
            (
                "grown, renewed, upgraded",
                identity(|seen| {
                    (seen.size_bytes, seen.certificate, seen.server_version) = (9, Some("k".into()), "15.19".into());
                }),
                None,
                Judgement::Accepted,
            ),
            ("written meanwhile", identity(|seen| seen.marker = Some(marker(4))), None, Judgement::Accepted),
            (
                "an older copy",
                identity(|seen| seen.marker = Some(marker(2))),
                None,
                Judgement::Older("epoch was 3, is 2: an older copy".to_owned()),
            ),
            (
                "an older copy, accepted",
                identity(|seen| seen.marker = Some(marker(2))),
                Some(&full),
                Judgement::Adopted,
            ),
            (
                "without the marker",
                identity(|seen| seen.marker = None),
                None,
                uncertain(&format!("marker was {UUID}, is none")),
            ),
            ("without the marker, accepted", identity(|seen| seen.marker = None), Some(none), Judgement::Adopted),
            ("of another marker", other(), Some(&full), uncertain(&format!("marker was {UUID}, is 9"))),
            (
                "on another server",
                identity(|seen| seen.system_identifier = "8000".into()),
                None,
                uncertain("system identifier was 7000, is 8000"),
            ),
            ("elsewhere", copy(), None, uncertain("endpoint was db:5432, is copy:5432")),
            ("elsewhere, accepted", copy(), Some(&full), Judgement::Adopted),
        ];
        for (what, seen, word, expected) in table {
            assert_eq!(judge((Some(&known), &seen), Environment::Production, word), expected, "{what}");
        }
    }

    #[test]
    fn a_marker_of_another_environment_is_never_accepted() {
        let seen = identity(|_| {});
        let full = format!("7000/16384/shop/{UUID}");
        for accepted in [None, Some(&seen)] {
            let judged = judge((accepted, &seen), Environment::Development, Some(&full));
            assert_eq!(judged, Judgement::Misdeclared(Environment::Production));
        }
    }

    #[test]
    fn the_first_one_is_accepted_as_it_is_and_its_first_marker_is_no_difference() {
        let bare = identity(|seen| seen.marker = None);
        assert_eq!(judge((None, &bare), Environment::Production, None), Judgement::Accepted);
        assert_eq!(judge((Some(&bare), &identity(|_| {})), Environment::Production, None), Judgement::Accepted);
        assert!(is_newer(&bare, &identity(|_| {})));
        assert!(!is_newer(&identity(|_| {}), &bare));
    }
}
