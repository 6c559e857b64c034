//! What somebody with few rights in a namespace may try, by the threats' numbers.

use serde_json::json;
use switchback::{
    api::Step,
    release::observed::{EndpointSeen, PodSeen, SliceSeen},
};

use crate::world::{World, pod, spec};

/// Somebody runs as many pods as a version has, with the labels of its pods.
fn strangers(world: &mut World, version: &str) {
    let digits = World::digits(version);
    for number in 0..3 {
        let name = format!("stranger-{number}");
        let stranger = PodSeen { deployment: None, ..pod(name.clone(), &digits, "web", true) };
        world.pods.insert(name, stranger);
    }
    world.follow();
}

#[test]
fn threat_t11_pods_of_somebody_else_with_our_labels_do_not_make_a_version_ready() {
    let mut world = World::serving();
    let digits = World::digits("2.0.0");
    world.unready.push(digits.clone());
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Deploy);
    world.settle();
    // Not even with the Deployment's own word for it.
    for deployment in world.deployments.values_mut().filter(|deployment| deployment.revision == digits) {
        (deployment.available, deployment.ready) = (3, 3);
    }
    strangers(&mut world, "2.0.0");
    assert_eq!(world.observed().ready_endpoints("shop-preview", &spec("2.0.0").revision()), 0);
    while world.look(usize::MAX) {}
    assert_eq!((world.step(), world.selected()), (Step::Deploy, Some(World::digits("1.0.0").as_str())));
}

#[test]
fn threat_t11_pods_of_somebody_else_with_our_labels_keep_no_traffic_on_a_version_that_dies() {
    let mut world = World::at(Step::Watch);
    world.set_ready("2.0.0", 0);
    strangers(&mut world, "2.0.0");
    world.look(usize::MAX);
    assert_eq!((world.step(), world.selected()), (Step::SwitchBack, Some(World::digits("1.0.0").as_str())));
    // Nor do they let traffic go back to where nobody is.
    let mut world = World::at(Step::Watch);
    world.set_ready("1.0.0", 0);
    strangers(&mut world, "1.0.0");
    world.abort();
    world.look(usize::MAX);
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "BothUnhealthy"))));
}

#[test]
fn rule_02_a_switch_is_over_when_all_slices_have_followed() {
    let mut world = World::at(Step::Switch);
    while world.selected() != Some(World::digits("2.0.0").as_str()) {
        assert!(world.look(usize::MAX), "it never moves: {}", world.message("Ready"));
    }
    // Of more than a hundred endpoints each hundred has a slice of its own, and they are written one after the other.
    let slice = |world: &World, versions: &[&str]| {
        let of = |version: &&str| {
            let digits = World::digits(version);
            let its = world.pods.values().filter(move |pod| pod.revision == digits && pod.job.is_none());
            its.map(|pod| EndpointSeen { pod: pod.name.clone(), ready: true }).collect::<Vec<_>>()
        };
        SliceSeen { service: "shop".into(), endpoints: versions.iter().flat_map(of).collect() }
    };
    world.slices = vec![slice(&world, &["2.0.0"]), slice(&world, &["1.0.0"])];
    while world.look(usize::MAX) {}
    world.wait(30);
    while world.look(usize::MAX) {}
    assert_eq!(world.step(), Step::Switch, "one of two slices still leads to the former version");
    assert!(world.record().traffic[0].settled_at.is_none());
    world.slices = vec![slice(&world, &["2.0.0"]), slice(&world, &[])];
    while world.look(usize::MAX) {}
    world.wait(10);
    while world.look(usize::MAX) {}
    assert_eq!(world.step(), Step::Watch);
}

#[test]
fn threat_t18_no_pod_of_a_job_of_ours_has_a_token_that_could_be_sent_away() {
    for database in [false, true] {
        let mut world = if database { World::with_database() } else { World::new() };
        world.settings.jobs.service_account_name = Some("powerful".into());
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to_rest();
        assert_eq!(world.active(), Some("1.0.0"));
        assert!(world.templates.len() > 2, "{:?}", world.templates.keys());
        for (name, template) in &world.templates {
            let pod = &template["spec"];
            // The user's own included, who asked for none: somebody else has named the account.
            assert_eq!(
                (&pod["serviceAccountName"], &pod["automountServiceAccountToken"]),
                (&json!("powerful"), &json!(false)),
                "{name}"
            );
            assert!(!template.to_string().contains("serviceAccountToken\""), "{name} mounts a token: {template:#}");
        }
    }
}
