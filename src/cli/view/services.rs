//! Services, and where each points; pure.

use super::{
    super::{look::Kind, seen::Seen},
    RevisionView, ServiceView, State,
};
use crate::{
    api::labels::{NO_REVISION, Role},
    release::observed::{EndpointSeen, ServiceSeen},
};

/// Returns the Services, those that carry users' traffic first.
pub(super) fn of(seen: &Seen, revisions: &[RevisionView]) -> Vec<ServiceView> {
    let mut services: Vec<ServiceView> = seen.services.iter().map(|it| service(seen, it, revisions)).collect();
    services.sort_by(|a, b| (!a.active, &a.name).cmp(&(!b.active, &b.name)));
    services
}

fn service(seen: &Seen, service: &ServiceSeen, revisions: &[RevisionView]) -> ServiceView {
    let active = service.role == Some(Role::Active);
    let selected = service.selected().filter(|digits| *digits != NO_REVISION);
    let ready_ones: Vec<&EndpointSeen> = seen
        .slices
        .iter()
        .filter(|slice| slice.service == service.name)
        .flat_map(|slice| &slice.endpoints)
        .filter(|endpoint| endpoint.ready)
        .collect();
    // Whose pod it is cannot be told without the pods; then each counts as the selected revision's.
    let is_other = |endpoint: &&&EndpointSeen| {
        let pod = seen.pods.iter().find(|pod| pod.seen.name == endpoint.pod);
        pod.is_some_and(|pod| Some(pod.seen.revision.as_str()) != selected)
    };
    let others = ready_ones.iter().filter(is_other).count();
    let ready = ready_ones.len().saturating_sub(others);
    let known = revisions.iter().find(|known| selected.is_some_and(|digits| known.revision.ends_with(digits)));
    let version = known.and_then(|known| known.version.clone());
    let (state, says) = match selected {
        None => (State::Off, "points at no revision yet".to_owned()),
        Some(_) if seen.unseen.contains_key(&Kind::EndpointSlice) => (State::Unknown, "cannot tell".to_owned()),
        Some(digits) => points_at(version.as_deref().unwrap_or(digits), (ready, others), active),
    };
    let record = seen.release.status.as_ref().map(|status| &status.record.traffic);
    let traffic = record.into_iter().flatten().find(|traffic| traffic.service == service.name);
    ServiceView {
        name: service.name.clone(),
        active,
        revision: known.map(|known| known.revision.clone()).or_else(|| selected.map(str::to_owned)),
        version,
        ready,
        others,
        state: if service.deleting { State::Moving } else { state },
        says,
        switched_at: traffic.and_then(|traffic| traffic.switched_at.as_ref()).map(|time| time.0),
        settled_at: traffic.and_then(|traffic| traffic.settled_at.as_ref()).map(|time| time.0),
    }
}

fn points_at(version: &str, (ready, others): (usize, usize), active: bool) -> (State, String) {
    let state = match (ready, others) {
        (0, 0) if active => State::Bad,
        (0, 0) => State::Off,
        (_, 0) => State::Well,
        (_, _) => State::Moving,
    };
    let rest = if others == 0 { String::new() } else { format!(", {others} of another revision") };
    (state, format!("points at {version}: {ready} ready{rest}"))
}
