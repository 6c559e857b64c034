//! What the candidate's pods run is what its first pods ran, as long as the release is under way.

use switchback::api::{DatabaseRollback, DecisionKind, Empty, HistoryEntry, Outcome, ReleaseSpec, Step};

use crate::{
    database::with_down,
    world::{World, spec},
};

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

/// A version whose migration is a command in the image of its workload, and stays.
fn by_command(version: &str) -> ReleaseSpec {
    let mut spec = with_down(version);
    spec.rollback.database = DatabaseRollback::Keep;
    spec
}

/// Returns the attempt that has ended because something else ran than had run before.
fn stale<'a>(world: &'a World, moved: &str) -> &'a HistoryEntry {
    let last = world.record().history.last().unwrap();
    let how = (last.outcome, last.reason.as_str());
    assert_eq!(how, (Outcome::Failed, "ApprovalStale"), "{moved}: {}", last.message);
    assert!(last.message.contains("was moved: pod "), "{}", last.message);
    last
}

/// What was rehearsed is what migrates, and what migrated is what serves, although no pod of the candidate is there yet.
#[test]
fn forgery_input_07_a_tag_that_is_moved_between_two_jobs_of_a_migration_and_the_pods() {
    // Which Job runs another image than the other one.
    for jobs in ["-migrate-", "-rehearse"] {
        let mut world = World::serving_with_database();
        let before: u32 = world.database.ran.values().sum();
        world.change(by_command("2.0.0"));
        world.moved.push(jobs.into());
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to_rest();
        let last = stale(&world, jobs);
        assert!(last.steps.iter().all(|time| time.step != Step::Deploy), "{jobs}: {:?}", last.steps);
        let ran: u32 = world.database.ran.values().sum();
        assert_eq!((world.active(), ran), (Some("1.0.0"), before + 1), "{jobs}");
        assert!(last.message.ends_with("The migration is applied."), "{}", last.message);
    }
    // The pods come up with another one than both Jobs ran.
    let mut world = World::serving_with_database();
    world.change(by_command("2.0.0"));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Deploy);
    let candidate = world.record().candidate.clone().unwrap();
    assert_eq!(candidate.images.len(), 1, "{:?}", candidate.images);
    world.look(usize::MAX);
    world.moved = world.deployments.keys().flat_map(|name| (0..9).map(move |pod| format!("{name}-{pod}"))).collect();
    world.settle();
    world.run_to_rest();
    stale(&world, "pods");
    assert_eq!(world.active(), Some("1.0.0"));
}

/// What a Job has run stays known while its step is held, however long that is.
#[test]
fn forgery_input_07_a_tag_that_is_moved_while_a_migration_is_suspended() {
    for step in [Step::Rehearse, Step::Migrate] {
        let mut world = World::serving_with_database();
        world.change(by_command("2.0.0"));
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to(step);
        world.decide(DecisionKind::Suspend(Empty {}), "carl");
        for _ in 0..6 {
            world.look(usize::MAX);
            world.settle();
        }
        assert_eq!((world.step(), world.condition("Ready")), (step, Some(("Unknown", "Suspended"))));
        let candidate = world.record().candidate.as_ref().unwrap();
        assert_eq!((candidate.images.len(), candidate.backup.is_some()), (1, true), "{step:?}");
        world.moved.push("-migrate-".into());
        let pods = (0..9).map(|pod| format!("shop-web-{}-{pod}", world.spec.revision().digits()));
        world.moved.extend(pods);
        world.decide(DecisionKind::Resume(Empty {}), "carl");
        world.run_to_rest();
        stale(&world, step.as_str());
        assert_eq!(world.active(), Some("1.0.0"));
    }
}

/// Under a Contract migration its version serves already: what that runs is what was approved.
#[test]
fn forgery_input_07_a_tag_that_is_moved_before_a_contract_runs() {
    let mut world = World::serving_with_database();
    world.shape = |spec| {
        *spec = by_command(&spec.version);
        crate::contract::contract(spec);
    };
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Idle);
    crate::contract::settled(&mut world);
    let before: u32 = world.database.ran.values().sum();
    world.moved.push("-rehearse".into());
    world.approve_contract("anna");
    world.run_to_rest();
    assert!(stale(&world, "-rehearse").contract);
    assert_eq!(world.database.ran.values().sum::<u32>(), before, "nothing ran on the database");
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
