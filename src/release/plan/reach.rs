//! Reach: whether a NetworkPolicy says who may reach the database, or that this cannot be told; pure.
//!
//! Where the database is, is known from where it answered: no Secret is read for it. What is asked is asked while a plan is
//! made: nobody watches NetworkPolicies, and what they say decides about no step.

use super::{
    super::{
        manifests::Kind,
        observed::{Answer, Ask, Observed, SelectingSeen},
    },
    inspect::Inspection,
};
use crate::api::{DatabaseRecord, Record};

/// Who may reach the database.
enum Reach<'a> {
    /// This must be known first.
    Asking(Vec<Ask>),
    /// It cannot be told, and why.
    Unknown(String),
    /// No NetworkPolicy covers a pod behind this Service; its name, where that is known.
    Anybody(&'a SelectingSeen, Option<&'a str>),
    /// The NetworkPolicy of this name lets everybody in.
    LetIn(&'a SelectingSeen, &'a str),
    /// Whom NetworkPolicies name.
    Some,
}

/// Asks for what is not known yet.
pub(super) fn look(seen: &Observed, record: &Record) -> Inspection {
    let asks = asks(seen, record);
    if asks.is_empty() { Inspection::Fine } else { Inspection::Asking(asks) }
}

/// Returns what must be asked for before it can be told.
pub(super) fn asks(seen: &Observed, record: &Record) -> Vec<Ask> {
    match record.database.as_ref().map(|looked| reach(seen, looked)) {
        Some(Reach::Asking(asks)) => asks,
        Some(Reach::Unknown(_) | Reach::Anybody(..) | Reach::LetIn(..) | Reach::Some) | None => vec![],
    }
}

/// Says that anybody may reach the database, or that it cannot be told, as far as this look has asked for it.
pub(super) fn risk(seen: &Observed, record: &Record) -> Option<String> {
    let looked = record.database.as_ref()?;
    let (name, endpoint) = (&looked.name, &looked.endpoint);
    match reach(seen, looked) {
        Reach::Asking(_) | Reach::Some => None,
        Reach::Unknown(why) => Some(format!(
            "Database {name}: it cannot be told whether a NetworkPolicy says who may reach it at {endpoint}: {why}. See to it \
             where it runs."
        )),
        Reach::Anybody(service, pod) => {
            let what = pod.map_or_else(|| "its pods".to_owned(), |pod| format!("its pod {pod}"));
            Some(format!(
                "Database {name}: no NetworkPolicy covers {what} behind Service {}, so that any pod of the cluster may reach \
                 it. Make one of type Ingress that selects {} and lets in what needs the database, the Jobs of this Release \
                 included.",
                service.name,
                service.by()
            ))
        }
        Reach::LetIn(service, policy) => Some(format!(
            "Database {name}: NetworkPolicy {policy} lets everybody in to its pods behind Service {}. Name in it what needs the \
             database.",
            service.name
        )),
    }
}

/// Returns who may reach a database.
fn reach<'a>(seen: &'a Observed, looked: &DatabaseRecord) -> Reach<'a> {
    let (host, port) = looked.endpoint.rsplit_once(':').unwrap_or((&looked.endpoint, ""));
    let nobody_here = || Reach::Unknown(format!("{host} is no Service of this namespace, or one of a Release"));
    let names = services(host, &seen.release.namespace);
    if names.is_empty() {
        return nobody_here();
    }
    let asks = (Ask::Selecting(Kind::Service), Ask::NetworkPolicies);
    let answers = (seen.answer(&asks.0), seen.answer(&asks.1));
    let (Some(Answer::Selecting(all)), Some(Answer::NetworkPolicies(policies))) = answers else {
        return Reach::Asking(vec![asks.0, asks.1]);
    };
    let Some(service) = names.iter().find_map(|name| all.iter().find(|found| found.name == *name)) else {
        return nobody_here();
    };
    let Some(policies) = policies else {
        return Reach::Unknown("the controller has no right to list NetworkPolicies".to_owned());
    };
    if service.selector.is_none() {
        return Reach::Unknown(format!("Service {} selects no pods", service.name));
    }
    if policies.is_empty() {
        return Reach::Anybody(service, None);
    }
    // By the pods' own labels: a policy may select by others than the Service does.
    let ask = Ask::PodsOf(service.by());
    let Some(Answer::Pods(pods)) = seen.answer(&ask) else { return Reach::Asking(vec![ask]) };
    if pods.is_empty() {
        return Reach::Unknown(format!("there is no pod behind Service {}", service.name));
    }
    let bare = pods.iter().find(|(_, labels)| !policies.iter().any(|policy| policy.covers(labels)));
    if let Some((pod, _)) = bare {
        return Reach::Anybody(service, Some(pod));
    }
    let open = port.parse().ok().and_then(|port| {
        let covering = policies.iter().filter(|policy| pods.iter().any(|(_, labels)| policy.covers(labels)));
        covering.into_iter().find(|policy| policy.is_open_at(port))
    });
    open.map_or(Reach::Some, |policy| Reach::LetIn(service, &policy.name))
}

/// Returns the Services of a namespace that a host may be, as DNS in that namespace resolves it: by its own name, or by a
/// pod's behind it.
fn services<'a>(host: &'a str, namespace: &str) -> Vec<&'a str> {
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    match *labels.as_slice() {
        [service] if !host.contains(':') => vec![service],
        [service, beside] if beside == namespace => vec![service, beside],
        [_, service] => vec![service],
        [service, beside, "svc", ..] | [_, service, beside] | [_, service, beside, "svc", ..]
            if beside == namespace =>
        {
            vec![service]
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_service_of_the_namespace_by_every_name_that_it_has_there() {
        let hosts = ["db", "db.prod", "db.prod.svc", "db.prod.svc.cluster.local", "db.prod.svc.cluster.local."];
        for host in hosts.into_iter().chain(["db-0.db", "db-0.db.prod", "db-0.db.prod.svc.cluster.local"]) {
            assert!(services(host, "prod").contains(&"db"), "{host}");
        }
        let others = ["db.dev.svc", "db-0.db.dev.svc.cluster.local", "db.example.com", "10.0.0.7", "[fd00::7]", ""];
        for host in others {
            assert!(!services(host, "prod").contains(&"db"), "{host}");
        }
        assert_eq!((services("10.0.0.7", "prod"), services("[fd00::7]", "prod")), (vec![], vec![]));
    }
}
