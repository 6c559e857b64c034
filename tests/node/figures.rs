//! Rule 15: what a release costs the API server, counted in its audit log.

use serde_json::{Value, json};

use crate::{
    audited::{Spent, mark, requests_since, until_settled},
    database_scene::{ORDERS, SLOT, bring_up, by_sql, make_sql, report, until_recorded},
    harness::{Scene, active, merge, proof},
    support::in_namespace,
};

/// What a release may cost without database and check Jobs. One list each of Services, Deployments, autoscalers, budgets
/// and quotas while the plan is made, and of budgets once more before one is made. A database adds one of NetworkPolicies, and
/// where there are any one of its pods.
const WITHOUT_JOBS: Spent = Spent { writes: 22, events: 8, dry_runs: 8, reads: 6, lists: 6 };
/// How much one may write with a database and all Jobs: those of the release, and of the backup that it asks for.
const WRITES_WITH_JOBS: usize = 45;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_15_a_release_without_jobs_costs_few_requests() {
    in_namespace("figures", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let (spent, by) = release(&scene, "requests-of-a-release", json!({})).await;
        assert!(spent.within(&WITHOUT_JOBS), "{spent:?}, where {WITHOUT_JOBS:?} is allowed:\n{by:#}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_15_a_release_with_a_database_and_all_jobs_writes_little() {
    in_namespace("figures-jobs", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        make_sql(&scene, "shop-1", &[("001-orders.sql", ORDERS)]).await;
        scene.serve_first(by_sql("shop-1")).await;
        until_recorded(&scene).await;
        make_sql(&scene, "shop-2", &[("001-orders.sql", ORDERS), ("002-slot.sql", SLOT)]).await;
        let mut more = by_sql("shop-2");
        merge(&mut more, jobs(&format!("shop.{}.svc", namespace.name)));
        let (spent, by) = release(&scene, "requests-of-a-release-with-jobs", more).await;
        assert!(spent.writes <= WRITES_WITH_JOBS, "{spent:?}, where {WRITES_WITH_JOBS} writes are allowed:\n{by:#}");
    })
    .await;
}

/// Checks of each phase, by the agent and by a Job of the user's.
fn jobs(host: &str) -> Value {
    let job = json!({ "template": { "spec": { "containers": [{
        "name": "job", "image": "localhost/demo-app:dev", "args": ["pause-exit", "--after", "0.1", "--code", "0"],
    }]}}});
    json!({
        "checks": [
            { "name": "domain", "phase": "Preflight", "dns": { "host": host } },
            { "name": "page", "phase": "Verify", "http": { "service": "shop", "path": "/smoke" } },
            { "name": "smoke", "phase": "Verify", "job": job },
            { "name": "still-there", "phase": "Watch", "dns": { "host": host, "every": "1s" } },
        ],
    })
}

/// Releases version 2.0.0; returns what that has cost once everything about it is said.
async fn release(scene: &Scene<'_>, name: &str, more: Value) -> (Spent, Value) {
    until_settled(scene.namespace, mark()).await;
    let from = mark();
    scene.ask_for("2.0.0", &[], more).await;
    scene.approve().await;
    let over = scene.until_over().await;
    assert_eq!(active(&over), Some("2.0.0"), "{}", report(scene).await);
    until_settled(scene.namespace, from).await;
    let requests = requests_since(scene.namespace, from);
    let (spent, by) = (Spent::of(&requests), json!(Spent::table(&requests)));
    let figures = json!({
        "writes": spent.writes, "events": spent.events, "dryRuns": spent.dry_runs,
        "reads": spent.reads, "lists": spent.lists, "by": by,
    });
    proof(name, &figures.to_string());
    (spent, by)
}
