//! What is told of a database: what happened, what is safe, the next command; pure.

use super::plan::Observed;
use crate::{
    agent_job::targets::fingerprint,
    api::{DatabaseIdentity, Environment},
};

/// Says what was seen.
pub(super) fn words(identity: &DatabaseIdentity) -> String {
    let DatabaseIdentity { name, endpoint, server_version, .. } = identity;
    format!("PostgreSQL {server_version}, {name} at {endpoint}.")
}

/// Says that all is well, and how a database without marker gets one.
pub(super) fn well(seen: &Observed, facts: &DatabaseIdentity, words: &str) -> String {
    match &facts.marker {
        Some(marker) => {
            let environment: &str = marker.environment.into();
            format!("{words} Marked {environment}.")
        }
        None => format!(
            "{words} Not marked yet: the first approved release marks it, and until then it can have no backup. To mark it now: {}",
            adopt(seen, facts)
        ),
    }
}

/// Says why the database cannot be worked on.
pub(super) fn unwell(seen: &Observed, message: &str) -> String {
    let (name, namespace) = (&seen.name, &seen.namespace);
    let message = message.trim_end_matches('.');
    format!(
        "{message}. Nothing is done with it; it is looked at again by itself, and at once when the spec changes. Next: kubectl describe databaseinstance {name} -n {namespace}"
    )
}

/// Says that it is another database, with both values side by side.
pub(super) fn another(seen: &Observed, facts: &DatabaseIdentity, differences: &[String]) -> String {
    let again = match &seen.status.adopted {
        Some(adopted) if *adopted == fingerprint(facts) => {
            " This word has counted before: take adoptIdentity away first."
        }
        _ => "",
    };
    format!(
        "This is not the database that was accepted: {}. Nothing that writes is done with it. If it is the right one: {}.{again}",
        differences.join("; "),
        adopt(seen, facts)
    )
}

/// Says that the database is marked for something else.
pub(super) fn misdeclared(seen: &Observed, facts: &DatabaseIdentity, marked: Environment) -> String {
    let (declared, marked): (&str, &str) = (seen.spec.environment.into(), marked.into());
    format!(
        "{} is marked {marked} and declared {declared}. Nothing that writes is done with it. Next: mend spec.environment, or let the Secret {} name another database",
        fingerprint(facts),
        seen.spec.postgres.secret
    )
}

/// Says how an administrator accepts what was seen. A name that a shell would read otherwise is not put into a command.
fn adopt(seen: &Observed, facts: &DatabaseIdentity) -> String {
    let (name, namespace, word) = (&seen.name, &seen.namespace, fingerprint(facts));
    if facts.name.chars().any(|letter| !(letter.is_ascii_alphanumeric() || "-_.".contains(letter))) {
        return format!("set spec.adoptIdentity of DatabaseInstance {name} to {word:?}");
    }
    format!(
        "kubectl patch databaseinstance {name} -n {namespace} --type merge -p '{{\"spec\":{{\"adoptIdentity\":\"{word}\"}}}}'"
    )
}
