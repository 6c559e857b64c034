//! Adoption: what runs without the operator becomes what serves, without a packet moved.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};
use switchback::{
    api::{Adoption, DecisionKind, DeletionPolicy, Empty, PodTemplate, ReleaseSpec, Rollback, Step, labels},
    release::{
        manifests::{Kind, Manifest},
        observed::{DeploymentSeen, EndpointSeen, RunningSeen, SelectingSeen, ServiceSeen},
    },
};

use crate::world::{Shape, World, spec};

/// What runs without the operator, or ran before it.
#[derive(Clone, Debug, Default)]
pub struct Running {
    pub objects: BTreeMap<(&'static str, String), RunningSeen>,
    /// Labels of the pods of each Deployment, by its name.
    labels: BTreeMap<String, BTreeMap<String, String>>,
}

fn text_map(value: Option<&Value>) -> BTreeMap<String, String> {
    value.map(|value| serde_json::from_value(value.clone()).unwrap()).unwrap_or_default()
}

impl Running {
    /// Remembers what the pods of a Deployment look like.
    pub fn note(&mut self, deployment: &str, template: &PodTemplate) {
        self.labels.insert(deployment.to_owned(), text_map(template.0.pointer("/metadata/labels")));
    }

    /// Somebody made an object.
    pub fn make(&mut self, kind: Kind, name: &str, spec: Value) {
        if kind == Kind::Deployment {
            self.note(name, &PodTemplate(spec["template"].clone()));
        }
        let made = RunningSeen {
            uid: format!("uid-{}-{name}", kind.as_str()),
            resource_version: "1".into(),
            offered_to: Some("shop".into()),
            controller: None,
            release: None,
            annotations: BTreeMap::new(),
            ready: i32::try_from(spec["replicas"].as_i64().unwrap_or(0)).unwrap(),
            spec,
            rolled_out: true,
            deleting: false,
        };
        self.objects.insert((kind.as_str(), name.to_owned()), made);
    }

    /// Labels of the pods of a Deployment.
    pub fn labels_of(&self, deployment: &str) -> Option<&BTreeMap<String, String>> {
        self.labels.get(deployment)
    }

    fn at(&mut self, kind: Kind, name: &str) -> &mut RunningSeen {
        self.objects.get_mut(&(kind.as_str(), name.to_owned())).unwrap()
    }
}

impl World {
    /// Somebody's object as it is now, whether or not it was taken over.
    pub fn running(&self, kind: Kind, name: &str) -> Option<RunningSeen> {
        let found = self.running.objects.get(&(kind.as_str(), name.to_owned()))?.clone();
        let version = match kind {
            Kind::Deployment => self.deployments.get(name).map(|taken| taken.resource_version.clone()),
            _ => self.services.get(name).map(|taken| taken.resource_version.clone()),
        };
        let ours = found.release.as_deref() == Some(crate::world::UID);
        match version {
            Some(resource_version) if ours => Some(RunningSeen { resource_version, ..found }),
            None if ours => None,
            _ => Some(found),
        }
    }

    pub fn known_services(&self) -> Vec<ServiceSeen> {
        self.services.values().map(|service| service.clone().known_by(self.record())).collect()
    }

    /// What the API server does when an object is taken over; returns whether it does.
    pub fn take_over(&mut self, manifest: &Manifest) -> bool {
        let (name, body) = (manifest.name.clone(), &manifest.body);
        let Some(live) = self.running(manifest.kind, &name) else { return false };
        if body["metadata"]["uid"] != *live.uid || body["metadata"]["resourceVersion"] != *live.resource_version {
            return false;
        }
        // I9: nothing is written but labels, owners, and the selector as it is.
        let label = |key: &str| body["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
        let owners = body["metadata"]["ownerReferences"].as_array().unwrap().len();
        assert_eq!((label(labels::RELEASE_UID).as_str(), owners), (crate::world::UID, 2), "{body}");
        if manifest.kind == Kind::Deployment {
            assert!(body.get("spec").is_none(), "{body}");
            assert_eq!(label(labels::ROLE), "adopted");
            let replicas = i32::try_from(live.spec["replicas"].as_i64().unwrap()).unwrap();
            let taken = DeploymentSeen {
                name: name.clone(),
                uid: live.uid,
                resource_version: "2".into(),
                fence: None,
                ours: true,
                revision: label(labels::REVISION),
                workload: label(labels::WORKLOAD),
                replicas,
                existing: replicas,
                ready: replicas,
                available: replicas,
                adopted: true,
                observed: true,
                problem: None,
                deleting: false,
            };
            self.deployments.insert(name.clone(), taken);
        } else {
            assert_eq!(body["spec"], json!({ "selector": live.spec["selector"] }));
            let taken = ServiceSeen {
                name: name.clone(),
                uid: live.uid,
                resource_version: "2".into(),
                ours: true,
                controller: Some((crate::world::UID.into(), "Release shop".into())),
                labelled: true,
                role: labels::Role::parse(&label(labels::ROLE)),
                mislabelled: false,
                selector: text_map(live.spec.get("selector")),
                adopted: None,
                fence: None,
                written_at: None,
                deleting: false,
            };
            self.services.insert(name.clone(), taken);
            self.served = true;
        }
        let found = self.running.at(manifest.kind, &name);
        (found.release, found.controller) = (Some(crate::world::UID.into()), Some("Release shop".into()));
        self.follow();
        true
    }

    /// Endpoints of a Service that selects by somebody's labels: pods that nobody sees, and pods of revisions that carry
    /// these labels as well.
    pub fn endpoints_by_labels(&self, service: &ServiceSeen) -> Vec<EndpointSeen> {
        if service.selector.contains_key(labels::REVISION) {
            return vec![];
        }
        let selected = |name: &String| {
            let labels = self.running.labels.get(name);
            labels.is_some_and(|labels| service.selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
        };
        let of = |name: &String, replicas: i32, ready: i32| {
            (0..replicas)
                .map(|number| EndpointSeen { pod: format!("{name}-{number}"), ready: number < ready })
                .collect::<Vec<_>>()
        };
        let ours = self.deployments.values().filter(|seen| selected(&seen.name));
        let ours = ours.flat_map(|seen| {
            let pods = (0..seen.replicas).filter_map(|number| self.pods.get(&format!("{}-{number}", seen.name)));
            let known: Vec<EndpointSeen> =
                pods.map(|pod| EndpointSeen { pod: pod.name.clone(), ready: pod.ready }).collect();
            if seen.adopted { of(&seen.name, seen.replicas, seen.ready) } else { known }
        });
        let theirs = self.running.objects.iter().filter(|((kind, name), found)| {
            *kind == "Deployment" && found.release.is_none() && selected(name) && !self.deployments.contains_key(name)
        });
        let theirs = theirs.flat_map(|((_, name), found)| of(name, found.ready, found.ready));
        ours.chain(theirs).collect()
    }

    /// How many pods of which sort are behind the Service: those taken over, and those of revisions.
    fn behind(&self) -> (usize, usize) {
        let endpoints = self.slices.iter().filter(|slice| slice.service == "shop").flat_map(|slice| &slice.endpoints);
        let ready: Vec<&EndpointSeen> = endpoints.filter(|endpoint| endpoint.ready).collect();
        let adopted = ready.iter().filter(|endpoint| endpoint.pod.starts_with("old-")).count();
        (adopted, ready.len() - adopted)
    }

    /// Writes to what people made, in words.
    fn writes_to(&self, name: &str) -> Vec<&str> {
        self.writes.iter().filter(|write| write.split(' ').any(|word| word == name)).map(String::as_str).collect()
    }
}

/// A Release that takes over Deployment `old` and Service `shop`.
pub fn adopting(spec: &mut ReleaseSpec) {
    spec.workloads[0].adopt = Some(Adoption { deployment: "old".into(), service: "shop".into(), key: None });
    spec.workloads[0].template.0["metadata"] = json!({ "labels": { "app": "shop", "tier": "web" } });
    spec.deletion_policy = DeletionPolicy::Orphan;
}

fn old(image: &str) -> Value {
    json!({
        "replicas": 4,
        "selector": { "matchLabels": { "app": "shop" } },
        "template": {
            "metadata": { "labels": { "app": "shop", "tier": "web" }, "creationTimestamp": null },
            "spec": { "containers": [{ "name": "web", "image": image }] },
        },
    })
}

fn in_front(selector: Value) -> Value {
    json!({
        "type": "ClusterIP", "clusterIP": "10.96.0.7", "sessionAffinity": "None",
        "ports": [{ "port": 80, "targetPort": 8080, "protocol": "TCP" }], "selector": selector,
    })
}

/// A world in which something serves that the operator has not made.
fn before() -> World {
    beside(World::new(), adopting)
}

/// The same of another world, where specs may have more besides.
pub fn beside(mut world: World, shape: Shape) -> World {
    world.shape = shape;
    world.spec = world.spec_of("1.0.0");
    world.running.make(Kind::Deployment, "old", old("registry.example.com/shop:0.9.3"));
    world.running.make(Kind::Service, "shop", in_front(json!({ "app": "shop" })));
    world.elsewhere = vec![
        selecting(Kind::Service, "shop", &[("app", "shop")]),
        selecting(Kind::Deployment, "old", &[("app", "shop")]),
    ];
    world
}

fn selecting(kind: Kind, name: &str, labels: &[(&str, &str)]) -> SelectingSeen {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    SelectingSeen {
        kind,
        name: name.into(),
        of_release: false,
        selector: Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
        scales: None,
    }
}

/// A world that has come to a step of the first release, which takes `old` over.
fn adopted_at(step: Step) -> World {
    let mut world = before();
    world.run_to(Step::Approve);
    if step > Step::Approve {
        world.approve("anna");
        world.run_to(step);
    }
    world
}

fn plan_words(world: &World) -> String {
    let plan = world.record().plan.clone().unwrap();
    let steps = plan.steps.iter().map(|step| step.does.clone());
    let back = plan.way_back.iter().map(|point| format!("{:?} {:?} {}", point.after, point.scope, point.loses));
    steps.chain(plan.risks.clone()).chain(plan.unmet.clone()).chain(back).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_plan_says_what_is_taken_over_and_what_differs_and_nothing_is_written_before() {
    let world = adopted_at(Step::Approve);
    let plan = plan_words(&world);
    for words in [
        "Takes over Deployment old with Service shop as adopted-0.9.3: adds labels and owners, and claims the selector as it \
         is. No pod is touched and no traffic moves.",
        &format!(
            "carry app=shop-{} instead of shop, so that Service shop does not select them",
            world.digits_of("1.0.0")
        ),
        "must leave spec.selector of the Service alone",
        "beside adopted-0.9.3, at its live size if that is larger",
        "traffic goes back to adopted-0.9.3 at once below",
        "adopted-0.9.3 drains and is scaled to zero",
        "Switch Full nothing of ours",
    ] {
        assert!(plan.contains(words), "{words:?} is not in {plan}");
    }
    assert_eq!(world.writes, ["add finalizer"]);
    // It serves production: a policy for first releases on an empty cluster is not meant.
    assert!(!world.record().is_first());
}

#[test]
fn what_runs_is_recorded_taken_over_released_beside_and_retired() {
    let mut world = adopted_at(Step::Watch);
    assert_eq!(world.active(), Some("adopted-0.9.3"));
    assert_eq!(world.behind(), (0, 4), "as large as what serves");
    assert_eq!(world.deployments["old"].replicas, 4);
    assert_eq!(world.writes_to("old"), ["take over Deployment old"], "untouched until it has nothing to do");
    world.run_to(Step::Retire);
    world.run_to_rest();
    assert_eq!((world.active(), world.behind()), (Some("1.0.0"), (0, 3)));
    assert_eq!(world.condition("Ready"), Some(("True", "Released")));
    assert_eq!(world.deployments.get("old"), None, "like each former version, when keepPrevious was over");
    assert!(world.writes_to("old").contains(&"scale old to 0"), "{:?}", world.writes);
    assert_eq!(world.record().adoption, None);
    // Its content goes with it.
    assert!(!world.contents.contains_key("shop-attempt-0"), "{:?}", world.contents.keys());
}

/// The user's Service would send them traffic before they are verified.
#[test]
fn pods_of_the_first_release_do_not_match_what_the_service_selects_until_it_is_ours() {
    let mut world = adopted_at(Step::Verify);
    let green = world.running.labels[&format!("shop-web-{}", world.digits_of("1.0.0"))].clone();
    assert_eq!(
        (green["app"].as_str(), green["tier"].as_str()),
        (&*format!("shop-{}", world.digits_of("1.0.0")), "web")
    );
    assert_eq!(world.behind(), (4, 0));
    world.run_to_rest();
    // Labels do not match from the next release on either, but they are the user's again.
    world.elsewhere.clear();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    let next = &world.running.labels[&format!("shop-web-{}", world.digits_of("2.0.0"))];
    assert_eq!((world.active(), next["app"].as_str()), (Some("2.0.0"), "shop"));
}

#[test]
fn the_first_release_goes_back_to_what_was_taken_over_with_its_own_selector() {
    let mut world = adopted_at(Step::Watch);
    world.set_ready("1.0.0", 0);
    world.run_to(Step::SwitchBack);
    world.follow();
    assert_eq!((world.behind(), world.selected()), ((4, 0), None));
    let shop = &world.services["shop"].selector;
    assert_eq!(shop.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(), ["app=shop"]);
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "RolledBack")));
    assert!(world.message("Ready").contains("Rolled back to adopted-0.9.3"), "{}", world.message("Ready"));
    assert_eq!(world.condition("Serving"), Some(("True", "Released")));
    assert_eq!(world.deployments.keys().collect::<Vec<_>>(), ["old"]);
    assert_eq!(world.writes_to("old"), ["take over Deployment old"]);
    // A fix is beside it again, kept apart again.
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    assert!(plan_words(&world).contains(&format!("app=shop-{}", world.digits_of("2.0.0"))), "{}", plan_words(&world));
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), world.behind()), (Some("2.0.0"), (0, 3)));
}

/// Rule 2: whether going back helps is known though none of these pods has a label of ours.
#[test]
fn rule_02_traffic_does_not_go_back_to_what_was_taken_over_when_that_is_unwell() {
    let mut world = adopted_at(Step::Watch);
    for old in world.deployments.values_mut().filter(|seen| seen.adopted) {
        (old.ready, old.available) = (0, 0);
    }
    world.set_ready("1.0.0", 1);
    world.look(usize::MAX);
    world.wait(60);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "BothUnhealthy"))));
    let old = world.deployments.get_mut("old").unwrap();
    (old.ready, old.available) = (4, 4);
    world.look(usize::MAX);
    assert_eq!(world.step(), Step::SwitchBack);
}

/// I7: whoever is killed wherever, the same comes of it.
#[test]
fn killed_anywhere_it_ends_the_same() {
    for well in [true, false] {
        let end = |kill_after: usize| {
            let mut world = adopted_at(Step::Approve);
            world.approve("anna");
            for _ in 0..4_000 {
                if well || world.step() != Step::Watch {
                    world.settle();
                } else {
                    world.set_ready("1.0.0", 0);
                }
                let wrote = world.look(kill_after);
                world.follow();
                // I4: somebody is there at every moment.
                assert!(world.services.is_empty() || world.behind() != (0, 0), "{:?}", world.writes);
                if !wrote && world.step() == Step::Idle {
                    break;
                }
                world.wait(1);
            }
            let mut selector = world.services["shop"].selector.clone();
            selector.remove(labels::RELEASE_UID);
            let sizes = world.deployments.values().map(|seen| (seen.name.clone(), seen.replicas));
            (world.active().map(str::to_owned), selector, sizes.collect::<Vec<_>>(), world.record().outcome)
        };
        let undisturbed = end(usize::MAX);
        assert_eq!(undisturbed.0.as_deref(), Some(if well { "1.0.0" } else { "adopted-0.9.3" }));
        for kill_after in [1, 2, 3] {
            assert_eq!(end(kill_after), undisturbed, "killed after {kill_after}");
        }
    }
}

/// What is recorded comes first: a leftover of ours would be removed.
#[test]
fn nothing_is_taken_over_before_it_is_recorded_as_what_serves() {
    let mut world = adopted_at(Step::Approve);
    world.approve("anna");
    for _ in 0..200 {
        world.look(1);
        let taken = world.deployments.contains_key("old") || world.services.contains_key("shop");
        assert!(!taken || world.active() == Some("adopted-0.9.3"), "{:?}", world.writes);
        world.settle();
        world.wait(1);
        if world.step() == Step::Watch {
            return;
        }
    }
    panic!("{:?}", world.writes);
}

#[test]
fn an_attempt_that_ends_while_it_takes_over_leaves_what_serves_alone() {
    let mut world = adopted_at(Step::Approve);
    world.approve("anna");
    while world.active().is_none() {
        world.look(1);
    }
    assert!(!world.deployments.contains_key("old"));
    world.abort();
    world.run_to_rest();
    assert_eq!((world.active(), world.step()), (Some("adopted-0.9.3"), Step::Idle));
    assert_eq!((world.behind(), world.deployments["old"].replicas), ((4, 0), 4), "{:?}", world.writes);
}

#[test]
fn what_changes_between_approval_and_release_is_not_what_was_approved() {
    let mut world = adopted_at(Step::Approve);
    world.approve("anna");
    world.running.make(Kind::Deployment, "old", old("registry.example.com/shop:0.9.4"));
    world.run_to_rest();
    assert_eq!((world.active(), world.step()), (None, Step::Approve), "{:?}", world.writes);
    assert!(plan_words(&world).contains("adopted-0.9.4"), "{}", plan_words(&world));
    // How many there are is nobody's approval.
    world.approve("anna");
    world.running.at(Kind::Deployment, "old").spec["replicas"] = 6.into();
    world.run_to(Step::Watch);
    assert_eq!(world.behind(), (0, 6));
}

#[test]
fn a_person_goes_back_to_what_was_taken_over_while_it_is_kept() {
    let mut world = adopted_at(Step::Retire);
    while world.step() != Step::Idle {
        world.turn();
    }
    assert_eq!((world.active(), world.deployments["old"].replicas), (Some("1.0.0"), 0));
    let to = world.record().previous.as_ref().unwrap().revision.clone();
    let decision = world.decide(DecisionKind::Rollback(Rollback { to: Some(to) }), "anna");
    world.run_to(Step::Watch);
    assert_eq!((world.became(&decision), world.behind()), (Some(("Used", "Used")), (4, 0)), "{:?}", world.writes);
    world.run_to_rest();
    assert_eq!(world.active(), Some("adopted-0.9.3"));
    assert_eq!(world.condition("Serving"), Some(("True", "Released")));
}

#[test]
fn rule_11_an_orphaned_release_leaves_what_serves_and_another_takes_it_over() {
    for step in [Step::Watch, Step::Idle] {
        let mut world = adopted_at(step);
        if step == Step::Idle {
            world = adopted_at(Step::Watch);
            world.set_ready("1.0.0", 0);
            world.run_to_rest();
        }
        let behind = world.behind();
        world.deleting = true;
        world.deleted_at = Some(world.now);
        while !world.gone {
            world.look(usize::MAX);
            world.wait(1);
            world.settle();
            assert_eq!(world.behind(), behind, "{step:?}: {:?}", world.writes);
        }
        assert_eq!((world.deployments.len(), world.services.len()), (1, 1), "{step:?}");
    }
}

/// Labels of a Release that is gone are on its pods and in its Service's selector.
#[test]
fn what_a_release_has_left_behind_is_taken_over_without_another_label() {
    let mut world = before();
    let selector = json!({
        labels::RELEASE_UID: "uid-gone", labels::WORKLOAD: "web", labels::REVISION: "0123456789",
    });
    let mut left = old("shop:1.0.0");
    left["selector"]["matchLabels"] = selector.clone();
    left["template"]["metadata"]["labels"] = selector.clone();
    left["template"]["metadata"]["labels"]["app"] = "shop".into();
    world.running.make(Kind::Deployment, "old", left);
    world.running.make(Kind::Service, "shop", in_front(selector));
    world.elsewhere.clear();
    world.run_to(Step::Approve);
    assert!(!plan_words(&world).contains("instead of"), "{}", plan_words(&world));
    world.approve("anna");
    world.run_to(Step::Watch);
    assert_eq!(world.behind(), (0, 4));
    world.set_ready("1.0.0", 0);
    world.run_to_rest();
    assert_eq!((world.active(), world.services["shop"].selected()), (Some("adopted-1.0.0"), Some("0123456789")));
}

/// Somebody takes our labels off what was taken over: no watch shows it any more.
#[test]
fn what_was_taken_over_is_taken_over_again_when_its_labels_are_gone() {
    let mut world = adopted_at(Step::Watch);
    world.deployments.remove("old");
    let found = world.running.at(Kind::Deployment, "old");
    (found.release, found.controller) = (None, None);
    world.look(usize::MAX);
    assert!(world.deployments["old"].adopted, "{:?}", world.writes);
    assert_eq!(world.deployments.len(), 2, "{:?}", world.deployments.keys());
}

/// Traffic has moved since it was taken over, and stays where it is.
#[test]
fn a_service_that_was_taken_over_keeps_its_selector_when_its_labels_are_put_back() {
    let mut world = adopted_at(Step::Watch);
    let service = world.services.remove("shop").unwrap();
    let found = world.running.at(Kind::Service, "shop");
    (found.release, found.controller) = (None, None);
    found.spec["selector"] = json!(service.selector);
    world.look(usize::MAX);
    assert_eq!(world.services["shop"].selector, service.selector, "{:?}", world.writes);
    assert!(world.condition("TrafficContested").is_none());
}

/// Somebody deletes it: traffic may have to go back there.
#[test]
fn what_was_taken_over_is_made_again_when_it_is_gone() {
    let mut world = adopted_at(Step::Watch);
    world.deployments.remove("old");
    world.settle();
    world.look(usize::MAX);
    world.settle();
    world.set_ready("1.0.0", 0);
    world.run_to(Step::SwitchBack);
    world.follow();
    assert_eq!(world.behind(), (0, 4), "its pods are ours to see now: {:?}", world.writes);
    world.run_to_rest();
    assert_eq!((world.active(), world.condition("Serving")), (Some("adopted-0.9.3"), Some(("True", "Released"))));
}

#[test]
fn rule_09_a_selector_that_somebody_applies_again_is_put_back_either_way() {
    let mut world = adopted_at(Step::Watch);
    let ours = world.services["shop"].selector.clone();
    world.services.get_mut("shop").unwrap().selector = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
    world.manager = Some("argocd-controller".into());
    world.look(usize::MAX);
    assert_eq!(world.services["shop"].selector, ours);
    assert_eq!(world.condition("TrafficContested"), Some(("True", "TrafficContested")));
    // While it serves what was taken over, the same write changes nothing.
    world.set_ready("1.0.0", 0);
    world.run_to_rest();
    let writes = world.writes.len();
    world.services.get_mut("shop").unwrap().selector = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
    world.look(usize::MAX);
    assert_eq!(world.writes.len(), writes);
}

type Harm = fn(&mut World);

/// Runs a world in which something is wrong, and returns what it says.
#[track_caller]
fn refused(harm: Harm) -> (String, String) {
    let mut world = before();
    harm(&mut world);
    world.run_to_rest();
    assert!(world.writes.iter().all(|write| write == "add finalizer"), "{:?}", world.writes);
    assert_eq!(world.step(), Step::Idle);
    let (status, reason) = world.condition("Stalled").expect("it is refused");
    assert_eq!(status, "True");
    (reason.to_owned(), world.message("Ready").to_owned())
}

#[track_caller]
fn assert_refused(harm: Harm, reason: &str, words: &str) {
    let (why, message) = refused(harm);
    assert!(why == reason && message.contains(words), "{why}: {message}");
}

#[test]
fn input_08_what_is_to_be_adopted_is_missing_or_going() {
    let gone: Harm = |world| {
        world.running.objects.remove(&("Deployment", "old".into()));
    };
    assert_refused(gone, "TargetNotFound", "There is no Deployment old in namespace prod");
    let gone: Harm = |world| {
        world.running.objects.remove(&("Service", "shop".into()));
    };
    assert_refused(gone, "TargetNotFound", "There is no Service shop in namespace prod");
    assert_refused(
        |world| world.running.at(Kind::Service, "shop").deleting = true,
        "TargetTerminating",
        "Service shop",
    );
}

#[test]
fn input_09_a_service_whose_traffic_cannot_be_switched() {
    let cases: [(Harm, &str); 6] = [
        (|world| world.running.at(Kind::Service, "shop").spec["selector"] = json!({}), "it has no selector"),
        (|world| world.running.at(Kind::Service, "shop").spec["clusterIP"] = "None".into(), "it is headless"),
        (|world| world.running.at(Kind::Service, "shop").spec["type"] = "ExternalName".into(), "it is an ExternalName"),
        (
            |world| world.running.at(Kind::Service, "shop").spec["selector"] = json!({ "app": "other" }),
            "it does not select the pods of Deployment old",
        ),
        (
            |world| {
                world.elsewhere.push(selecting(Kind::Deployment, "canary", &[("app", "shop"), ("track", "canary")]))
            },
            "it selects the pods of Deployment canary as well",
        ),
        (
            |world| world.spec.workloads[0].adopt.as_mut().unwrap().key = Some("tier".into()),
            "adopt.key is tier, and Service shop does not select by it; it selects by app",
        ),
    ];
    for (harm, words) in cases {
        assert_refused(harm, "ServiceNotSwitchable", words);
    }
}

#[test]
fn input_10_what_belongs_to_somebody_else_stays_theirs() {
    let other: Harm = |world| {
        let found = world.running.at(Kind::Service, "shop");
        (found.release, found.controller) = (Some("uid-other".into()), Some("Release other".into()));
    };
    assert_refused(other, "ServiceClaimed", "Service shop belongs to Release other");
    let other: Harm = |world| world.running.at(Kind::Deployment, "old").controller = Some("Shop main".into());
    assert_refused(other, "TargetOwned", "Deployment old belongs to Shop main");
}

/// Who may write a Release may not be who may change that Deployment.
#[test]
fn threat_t22_what_is_not_offered_to_this_release_is_not_taken_over() {
    let cases: [Harm; 2] = [
        |world| world.running.at(Kind::Deployment, "old").offered_to = None,
        |world| world.running.at(Kind::Deployment, "old").offered_to = Some("other".into()),
    ];
    for harm in cases {
        let words = "kubectl annotate deployment old -n prod switchback.dev/adopt=shop";
        assert_refused(harm, "AdoptionNotOffered", words);
    }
    // Once it is, a person has it tried again.
    let mut world = before();
    world.running.at(Kind::Deployment, "old").offered_to = None;
    world.run_to_rest();
    world.running.at(Kind::Deployment, "old").offered_to = Some("shop".into());
    world.decide(DecisionKind::Retry(Empty {}), "anna");
    world.run_to(Step::Approve);
}

#[test]
fn input_12_what_is_adopted_unwell_is_told_and_does_not_block() {
    let mut world = before();
    let old = world.running.at(Kind::Deployment, "old");
    (old.ready, old.rolled_out) = (1, false);
    world.run_to(Step::Approve);
    let plan = plan_words(&world);
    assert!(plan.contains("which serves, is broken (1 of 4 pods of Deployment old are ready)"), "{plan}");
    assert!(plan.contains("Deployment old is in the middle of a rollout"), "{plan}");
}

/// Lets pods of what is to be taken over become ready, or not.
fn ready(world: &mut World, pods: i32) {
    world.running.at(Kind::Deployment, "old").ready = pods;
    while world.look(usize::MAX) {}
}

fn digest(world: &World) -> String {
    world.record().plan.clone().unwrap().digest
}

#[test]
fn rule_08_who_approved_before_what_is_taken_over_broke_is_asked_once_more() {
    let mut world = adopted_at(Step::Approve);
    let shown = digest(&world);
    // What is only unwell voids nothing.
    ready(&mut world, 3);
    assert_eq!(digest(&world), shown);
    // Nobody watches it: it is looked at when somebody decides.
    world.running.at(Kind::Deployment, "old").ready = 1;
    let early = world.approve("anna");
    while world.look(usize::MAX) {}
    assert_eq!((world.step(), world.became(&early)), (Step::Approve, Some(("Refused", "OtherDigest"))));
    let plan = plan_words(&world);
    let said = "adopted-0.9.3, which serves, is broken (1 of 4 pods of Deployment old are ready): as long as it is, nobody \
                can go back to it. It does not keep this release from going on, which takes an approval that knows of it.";
    assert!(plan.contains(said), "{plan}");
    assert!(world.message("Ready").contains("adopted-0.9.3 serves and is broken"), "{}", world.message("Ready"));
    let broken = digest(&world);
    assert_ne!(broken, shown);
    // It stays said, though it comes and goes.
    ready(&mut world, 4);
    assert_eq!(digest(&world), broken);
    world.wait(5);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn rule_08_an_adoption_that_is_automatic_asks_a_person_while_what_serves_is_broken() {
    let automatic = || {
        let mut world = before();
        world.spec.mode = Some(switchback::api::Mode::Automatic);
        world.running.at(Kind::Deployment, "old").ready = 0;
        world.run_to(Step::Approve);
        world.run_to_rest();
        let told = world.message("Ready");
        assert!(told.contains("a person has to look at it: what serves is broken."), "{told}");
        assert_eq!((world.step(), world.active()), (Step::Approve, None), "it began though nobody was asked");
        world
    };
    let mut world = automatic();
    world.wait(5);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    // Or it is mended meanwhile.
    let mut world = automatic();
    ready(&mut world, 4);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn input_14_an_autoscaler_on_what_is_adopted() {
    let scaled: Harm = |world| {
        let scaler = selecting(Kind::HorizontalPodAutoscaler, "old", &[]);
        world.elsewhere.push(SelectingSeen { selector: None, scales: Some("old".into()), ..scaler });
    };
    assert_refused(scaled, "ReplicasOwnedByAutoscaler", "HorizontalPodAutoscaler old scales Deployment old");
}

/// A key by which only the Service selects keeps the Deployment's own selector on the candidate's pods.
#[test]
fn rule_10_a_key_that_leaves_the_candidates_pods_selected_elsewhere_is_refused() {
    let key: Harm = |world| {
        world.running.at(Kind::Service, "shop").spec["selector"] = json!({ "app": "shop", "tier": "web" });
        world.spec.workloads[0].adopt.as_mut().unwrap().key = Some("tier".into());
        world.elsewhere[0] = selecting(Kind::Service, "shop", &[("app", "shop"), ("tier", "web")]);
    };
    assert_refused(key, "SelectedElsewhere", "Deployment old selects the pods of workload web as well");
    // By default it is one by which both select.
    let mut world = before();
    world.running.at(Kind::Service, "shop").spec["selector"] = json!({ "app": "shop", "tier": "web" });
    world.elsewhere[0] = selecting(Kind::Service, "shop", &[("app", "shop"), ("tier", "web")]);
    world.run_to(Step::Approve);
    assert!(plan_words(&world).contains("carry app=shop-"), "{}", plan_words(&world));
}

/// Once something serves, what the spec says of adopting is history.
#[test]
fn adopt_is_ignored_once_something_serves() {
    let mut world = World::serving();
    let mut next = spec("2.0.0");
    adopting(&mut next);
    world.change(next);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), &world.record().adoption), (Some("2.0.0"), &None));
}
