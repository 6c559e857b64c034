//! Found: what runs without us and a spec wants to take over: whether that can be done, and what it looks like as a
//! revision; pure.

mod standing;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub(super) use self::standing::{asks, risks, worst};

use super::super::{
    manifests::{self, Kind},
    observed::{Answer, Ask, Observed, RunningSeen, SelectingSeen},
};
use crate::api::{
    AdoptedWorkload, Adoption, AdoptionRecord, PodTemplate, Reason, Record, ReleaseSpec, ServiceMetadata,
    ServiceTemplate, Workload, WorkloadService, labels::ADOPT,
};

/// What there is to take over.
pub(super) enum Found {
    /// Nothing is asked for, or something of the Release serves already.
    Nothing,
    /// This must be known first.
    Asking(Vec<Ask>),
    /// It cannot be taken over.
    Refused(Reason, String),
    /// It can: what is remembered of it, and its content as a revision.
    Here(Box<AdoptionRecord>, Box<ReleaseSpec>),
}

type Refusal = (Reason, String);

/// Looks for what the spec wants to take over.
pub(super) fn look(seen: &Observed, record: &Record) -> Found {
    let spec = &seen.release.spec;
    let adopting: Vec<(&Workload, &Adoption)> =
        spec.workloads.iter().filter_map(|workload| Some((workload, workload.adopt.as_ref()?))).collect();
    if record.active.is_some() || adopting.is_empty() {
        return Found::Nothing;
    }
    let objects = adopting.iter().flat_map(|(_, adopt)| {
        [Ask::Running(Kind::Deployment, adopt.deployment.clone()), Ask::Running(Kind::Service, adopt.service.clone())]
    });
    let kinds = [Kind::Deployment, Kind::HorizontalPodAutoscaler].map(Ask::Selecting);
    let asks: Vec<Ask> = objects.chain(kinds).collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Found::Asking(asks);
    }
    let found: Result<Vec<_>, Refusal> =
        adopting.into_iter().map(|(workload, adopt)| of_workload(seen, workload, adopt)).collect();
    let found = match found {
        Ok(found) => found,
        Err((reason, message)) => return Found::Refused(reason, format!("{message} Nothing was changed.")),
    };
    let (workloads, contents): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let content = ReleaseSpec {
        version: version(&contents),
        notes: None,
        source: None,
        workloads: contents,
        config: vec![],
        database: None,
        checks: vec![],
        hooks: vec![],
        ..spec.as_ref().clone()
    };
    let adoption = AdoptionRecord { revision: content.revision(), version: content.version.clone(), workloads };
    Found::Here(Box::new(adoption), Box::new(content))
}

/// Returns what a revision is called that nobody has given a version: by the tag of its image, where it has one.
fn version(workloads: &[Workload]) -> String {
    let image = workloads.iter().flat_map(|workload| workload.template.images()).next().map(|(_, image)| image);
    let name = image.filter(|image| !image.contains('@')).and_then(|image| image.rsplit('/').next());
    let tag = name.and_then(|name| name.split_once(':')).map(|(_, tag)| tag).filter(|tag| tag.len() <= 48);
    tag.map_or_else(|| "adopted".to_owned(), |tag| format!("adopted-{tag}"))
}

fn of_workload(seen: &Observed, workload: &Workload, adopt: &Adoption) -> Result<(AdoptedWorkload, Workload), Refusal> {
    let deployment = running(seen, (Kind::Deployment, &adopt.deployment))?;
    let service = running(seen, (Kind::Service, &adopt.service))?;
    scaled(seen, &adopt.deployment)?;
    let selector = selector(seen, adopt, (deployment, service))?;
    let key = key(seen, (workload, adopt), (deployment, &selector))?;
    let content = content(workload, adopt, (deployment, service));
    let adopted = AdoptedWorkload {
        workload: workload.name.clone(),
        deployment: adopt.deployment.clone(),
        deployment_uid: deployment.uid.clone(),
        pods: content.size(),
        service: adopt.service.clone(),
        service_uid: service.uid.clone(),
        selector,
        key,
    };
    Ok((adopted, content))
}

/// Returns what runs under a name and may be taken over.
fn running<'a>(seen: &'a Observed, (kind, name): (Kind, &str)) -> Result<&'a RunningSeen, Refusal> {
    let (word, namespace) = (kind.as_str(), &seen.release.namespace);
    let Some(Answer::Running(Some(live))) = seen.answer(&Ask::Running(kind, name.to_owned())) else {
        let message =
            format!("There is no {word} {name} in namespace {namespace} that could be adopted. Correct spec.");
        return Err((Reason::TargetNotFound, message));
    };
    if live.deleting {
        let message = format!("{word} {name}, which is to be adopted, is being deleted.");
        return Err((Reason::TargetTerminating, message));
    }
    may_take(seen, (kind, name), live)?;
    Ok(live)
}

/// Says why something that runs may not be taken over.
pub(super) fn may_take(seen: &Observed, (kind, name): (Kind, &str), live: &RunningSeen) -> Result<(), Refusal> {
    let (word, release) = (kind.as_str(), &seen.release);
    if live.release.as_ref() == Some(&release.uid) {
        return Ok(());
    }
    if let Some(controller) = &live.controller {
        let reason = if live.release.is_some() { Reason::ServiceClaimed } else { Reason::TargetOwned };
        let message = format!("{word} {name} belongs to {controller}, which would go on writing it.");
        return Err((reason, message));
    }
    if live.offered_to.as_ref() == Some(&release.name) {
        return Ok(());
    }
    // Who may write a Release may not be who may write this.
    let message = format!(
        "{word} {name} is not offered to this Release. Whoever may change it says so: kubectl annotate {} {name} -n {} \
         {ADOPT}={} (and in Git, beside Prune=false); then: {}.",
        word.to_lowercase(),
        release.namespace,
        release.name,
        release.command("retry")
    );
    Err((Reason::AdoptionNotOffered, message))
}

fn all(seen: &Observed, kind: Kind) -> &[SelectingSeen] {
    match seen.answer(&Ask::Selecting(kind)) {
        Some(Answer::Selecting(all)) => all,
        _ => &[],
    }
}

/// What grows and shrinks by itself could be gone when traffic has to go back there.
fn scaled(seen: &Observed, deployment: &str) -> Result<(), Refusal> {
    let scales = |found: &&SelectingSeen| found.scales.as_deref() == Some(deployment);
    let found = all(seen, Kind::HorizontalPodAutoscaler).iter().find(scales);
    found.map_or(Ok(()), |found| {
        let message = format!(
            "HorizontalPodAutoscaler {} scales Deployment {deployment}, which is to be adopted: without load it would \
             shrink what traffic may have to go back to. Delete it for the time of this release.",
            found.name
        );
        Err((Reason::ReplicasOwnedByAutoscaler, message))
    })
}

fn labels(value: Option<&Value>) -> BTreeMap<String, String> {
    let labels = value.and_then(Value::as_object).into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Returns what the Service selects, when traffic can be told apart by it.
fn selector(
    seen: &Observed,
    adopt: &Adoption,
    (deployment, service): (&RunningSeen, &RunningSeen),
) -> Result<BTreeMap<String, String>, Refusal> {
    let name = &adopt.service;
    let refused =
        |why: String| Err((Reason::ServiceNotSwitchable, format!("Service {name} cannot be adopted: {why}.")));
    let selector = labels(service.spec.get("selector"));
    if service.spec.get("type").is_some_and(|kind| kind == "ExternalName") {
        return refused("it is an ExternalName, behind which there are no pods".to_owned());
    }
    if service.spec.get("clusterIP").is_some_and(|address| address == "None") {
        return refused(
            "it is headless: its clients keep the addresses of pods, and no switch would reach them".to_owned(),
        );
    }
    if selector.is_empty() {
        return refused("it has no selector: somebody else writes its endpoints".to_owned());
    }
    let pods = labels(deployment.spec.pointer("/template/metadata/labels"));
    if !selects(&selector, &pods) {
        return refused(format!("it does not select the pods of Deployment {}", adopt.deployment));
    }
    let other = all(seen, Kind::Deployment).iter().filter(|found| found.name != adopt.deployment).find(|found| {
        let theirs = found.selector.as_ref().and_then(|theirs| theirs.match_labels.as_ref());
        theirs.is_some_and(|theirs| selects(&selector, theirs))
    });
    other.map_or(Ok(selector), |other| {
        refused(format!("it selects the pods of Deployment {} as well, which would lose their traffic", other.name))
    })
}

/// Returns the key of the selector whose value differs on the candidate's pods; `None` where the Service would not select
/// them anyway.
fn key(
    seen: &Observed,
    (workload, adopt): (&Workload, &Adoption),
    (deployment, selector): (&RunningSeen, &BTreeMap<String, String>),
) -> Result<Option<String>, Refusal> {
    if let Some(key) = adopt.key.as_ref().filter(|key| !selector.contains_key(*key)) {
        let keys: Vec<&str> = selector.keys().map(String::as_str).collect();
        let message = format!(
            "adopt.key is {key}, and Service {} does not select by it; it selects by {}. Correct the spec.",
            adopt.service,
            keys.join(", ")
        );
        return Err((Reason::ServiceNotSwitchable, message));
    }
    if !selects(selector, &manifests::labels_as_written(&seen.release, workload)) {
        return Ok(None);
    }
    // By one that the Deployment selects by as well, both are kept from the candidate's pods.
    let theirs = labels(deployment.spec.pointer("/selector/matchLabels"));
    let both = selector.keys().rev().find(|key| theirs.contains_key(*key));
    Ok(adopt.key.as_ref().or(both).or_else(|| selector.keys().next_back()).cloned())
}

/// Returns what runs as the content of a revision. Of its Service it holds what the candidate changes, so that nothing else
/// of it is ever written.
fn content(workload: &Workload, adopt: &Adoption, (deployment, service): (&RunningSeen, &RunningSeen)) -> Workload {
    let number =
        |key: &str| deployment.spec.get(key).and_then(Value::as_i64).and_then(|value| i32::try_from(value).ok());
    let mut template = deployment.spec.get("template").cloned().unwrap_or_default();
    let annotations = template.pointer("/metadata/annotations").and_then(Value::as_object).cloned();
    let mut annotations = annotations.unwrap_or_default();
    // Whatever else it says, it is another revision than any that was asked for.
    annotations.insert(ADOPT.to_owned(), adopt.deployment.clone().into());
    let mut metadata = json!({ "annotations": annotations });
    if let (Some(labels), Some(metadata)) = (template.pointer("/metadata/labels"), metadata.as_object_mut()) {
        metadata.insert("labels".to_owned(), labels.clone());
    }
    if let Some(template) = template.as_object_mut() {
        template.insert("metadata".to_owned(), metadata);
    }
    let services = workload.services.iter().filter(|declared| declared.name == adopt.service);
    let services = services.map(|declared| WorkloadService {
        name: declared.name.clone(),
        metadata: ServiceMetadata { annotations: only(&declared.metadata.annotations, &service.annotations) },
        spec: ServiceTemplate(only_keys(&declared.spec.0, &service.spec)),
    });
    Workload {
        replicas: Some(number("replicas").unwrap_or(1)),
        autoscaling: None,
        services: services.collect(),
        adopt: None,
        handover: None,
        template: PodTemplate(template),
        min_ready_seconds: number("minReadySeconds").unwrap_or(0),
        ..workload.clone()
    }
}

fn only(asked: &BTreeMap<String, String>, there: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let kept = there.iter().filter(|(key, _)| asked.contains_key(*key));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn only_keys(asked: &Value, there: &Value) -> Value {
    let keys = asked.as_object().into_iter().flatten().map(|(key, _)| key);
    keys.filter_map(|key| Some((key.clone(), there.get(key)?.clone()))).collect::<serde_json::Map<_, _>>().into()
}
