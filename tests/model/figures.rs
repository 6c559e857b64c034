//! Rule 15 in the model: what the controller of a Release writes itself, of a release with a database and all Jobs. Those of
//! its database and its backup write besides; `tests/node/figures.rs` counts everything.

use serde_json::json;
use switchback::api::{ReleaseSpec, Step};

use crate::world::World;

/// How many times status is written: each step that is entered, what must be known of it, how it ended.
const STATUSES: usize = 14;
/// How much is written besides.
const OTHERS: usize = 24;

/// Checks of each phase, by the agent and by a Job of the user's.
fn checks(spec: &mut ReleaseSpec) {
    let job = json!({ "template": { "spec": { "containers": [{ "name": "smoke", "image": "smoke:1" }] } } });
    let checks = json!([
        { "name": "domain", "phase": "Preflight", "dns": { "host": "shop.prod.svc" } },
        { "name": "page", "phase": "Verify", "http": { "service": "shop", "path": "/smoke" } },
        { "name": "smoke", "phase": "Verify", "job": job },
        { "name": "still-there", "phase": "Watch", "dns": { "host": "shop.prod.svc" } },
    ]);
    spec.checks = serde_json::from_value(checks).unwrap();
}

#[test]
fn rule_15_a_release_with_a_database_and_all_jobs_writes_little() {
    let mut world = World::with_database();
    world.shape = checks;
    world.spec = world.spec_of("1.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    (world.writes, world.statuses) = (vec![], vec![]);
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    // What is kept of the version before goes a day later.
    while world.step() != Step::Idle || !world.record().reports.is_empty() {
        world.turn();
    }
    assert_eq!(world.active(), Some("2.0.0"));
    let written = (world.statuses.len(), world.writes.len());
    assert_eq!(written, (STATUSES, OTHERS), "{:#?}\n{:#?}", world.statuses, world.writes);
}
