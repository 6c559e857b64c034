//! What the candidate's pods run is what its first pods ran, as long as the release is under way.

use switchback::api::{Outcome, Step};

use crate::world::{World, spec};

#[test]
fn forgery_input_07_a_tag_that_is_moved_after_the_approval() {
    for step in [Step::Deploy, Step::Verify, Step::Switch, Step::Watch] {
        let mut world = World::at(step);
        if step == Step::Deploy {
            // The node has pulled one image for the first pods and another for the last.
            world.look(usize::MAX);
        }
        let digits = World::digits("2.0.0");
        let name = world.deployments.values().find(|deployment| deployment.revision == digits).unwrap().name.clone();
        let name = format!("{name}-2");
        world.moved.push(name.clone());
        world.settle();
        world.run_to_rest();
        let last = world.record().history.last().unwrap();
        let outcome = if step == Step::Watch { Outcome::RolledBack } else { Outcome::Failed };
        assert_eq!((last.outcome, last.reason.as_str()), (outcome, "ApprovalStale"), "{step:?}");
        let says = format!("shop:2.0.0 was moved: pod {name} runs sha256:other");
        assert!(last.message.starts_with(&says), "{}", last.message);
        assert_eq!(world.active(), Some("1.0.0"), "{step:?}");
    }
}

#[test]
fn an_image_that_is_named_by_its_digest_is_what_it_is() {
    let mut world = World::serving();
    let mut asked = spec("2.0.0");
    asked.workloads[0].template.0["spec"]["containers"][0]["image"] = format!("shop@sha256:{}", "ab".repeat(32)).into();
    world.change(asked);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    // Runtimes write the same image in more than one way.
    let digits = world.spec.revision().digits().to_owned();
    let of_it = world.pods.values().filter(|pod| pod.revision == digits).map(|pod| pod.name.clone());
    world.moved = of_it.take(1).collect();
    assert_eq!(world.moved.len(), 1);
    world.settle();
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}
