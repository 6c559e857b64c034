//! Selectors that somebody else writes: put back from what is recorded, at a bounded rate, for ever; pure.
//!
//! How often it was put back lately, and who else writes it, is remembered by the process and not in status: it changes
//! by itself, and after a restart one write more does no harm.

use super::{
    super::{
        manifests,
        observed::{Answer, Ask, Observed},
    },
    Action, Plan, active_content, candidate_content, later,
};
use crate::api::{Duration, Record, RevisionId, Step, labels};

/// How long at least between two writes of one Service: whoever fights for it may write as often as he likes.
pub(super) const BETWEEN: Duration = Duration::from_secs(1);
/// How long a selector must have been left alone before it counts as not contested any more.
pub(super) const QUIET: Duration = Duration::from_secs(60);

/// Puts selectors back, and says who else writes them.
pub(super) fn put_back(seen: &Observed, plan: &mut Plan) {
    let lately = |service: &str| seen.contests.iter().find(|contest| contest.service == service);
    for traffic in &plan.record.traffic.clone() {
        let Some(revision) = &traffic.revision else { continue };
        let Some(service) = seen.service(&traffic.service).filter(|service| !service.deleting) else { continue };
        // Moved a moment ago, and not noted yet.
        let candidate = plan.record.candidate.as_ref().filter(|_| plan.record.step == Step::Switch);
        if candidate.is_some_and(|green| service.selects(&green.revision) && green.revision != *revision) {
            continue;
        }
        let Some(workload) = workload_of(seen, &plan.record, (&traffic.service, revision)) else { continue };
        let last = lately(&service.name);
        if let Some(last) = last.filter(|last| later(last.at, QUIET) > seen.now) {
            plan.contested = Some(told(&service.name, last.by.as_deref(), &revision.to_string()));
            plan.look_again_at(later(last.at, QUIET));
        }
        if service.selector == manifests::service_selector(&seen.release, &service.name, (&workload, revision.digits()))
        {
            continue;
        }
        if let Some(next) = last.map(|last| later(last.at, BETWEEN)).filter(|next| *next > seen.now) {
            plan.look_again_at(next);
            continue;
        }
        let target = manifests::Target {
            workload: &workload,
            digits: revision.digits(),
            service: None,
            before: None,
            fence: None,
        };
        let patch = manifests::service_patch(&seen.release, service, target);
        // Of a first release that ended half way: nobody has pointed it anywhere yet.
        let is_new = traffic.switched_at.is_none() && service.selected() == Some(labels::NO_REVISION);
        if is_new && plan.record.step != Step::Switch {
            plan.upkeep.push(Action::Point { service: service.name.clone(), patch, otherwise: None });
            continue;
        }
        let ask = Ask::SelectorManager(service.name.clone());
        let Some(Answer::Manager(by)) = seen.answer(&ask) else {
            plan.asks.push(ask);
            continue;
        };
        plan.contested = Some(told(&service.name, by.as_deref(), &revision.to_string()));
        plan.upkeep.push(Action::PutBack { service: service.name.clone(), patch, by: by.clone() });
    }
}

fn told(service: &str, by: Option<&str>, revision: &str) -> String {
    let who = by.map_or_else(|| "Somebody else".to_owned(), |by| format!("Field manager {by:?}"));
    format!(
        "{who} writes the selector of Service {service}; it is put back to {revision} each time. Meanwhile users may \
         meet another version, or nothing. Next: make it leave spec.selector alone."
    )
}

/// Returns the workload that a Service has behind it in a revision: by the content of that revision, or else by the selector's
/// own word where that workload has pods of it. Another revision may have given it another one.
pub(super) fn workload_of(
    seen: &Observed,
    record: &Record,
    (service, revision): (&str, &RevisionId),
) -> Option<String> {
    let candidate = record.candidate.as_ref().filter(|candidate| candidate.revision == *revision);
    let active = record.active.as_ref().filter(|active| active.revision == *revision);
    let contents = [
        candidate.and_then(|_| candidate_content(seen, record)),
        active.and_then(|_| active_content(seen, record)),
        Some(&seen.release.spec).filter(|_| seen.release.wanted == *revision),
    ];
    let of_content = || {
        let mut all = contents.into_iter().flatten().filter_map(|content| content.service(service));
        all.next().map(|(workload, _)| workload.name.clone())
    };
    let of_adopted = || Some(record.adopted(revision.digits())?.behind(service)?.workload.clone());
    let of_selector = || {
        let workload = seen.service(service)?.workload()?;
        seen.deployment(workload, revision).map(|_| workload.to_owned())
    };
    of_adopted().or_else(of_content).or_else(of_selector)
}
