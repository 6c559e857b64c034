//! A release is interrupted at each of its steps, by another spec or by its deletion: what serves goes on serving, and
//! nothing is left half done.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{join, join_all},
};
use k8s_openapi::api::core::v1::Service;
use kube::{ResourceExt as _, api::DeleteParams};
use serde_json::{Value, json};
use strum::VariantArray as _;
use switchback::{
    api::{DatabaseInstance, HistoryEntry, Outcome, Release, Step},
    clock::Stopwatch,
};

use crate::{
    database_scene::{ORDERS, SLOT, backups, bring_up, by_sql, held, make_sql, psql, report, until_it_migrates},
    harness::{Scene, active, condition, merge, names_of, names_of_release, observed, proof, record},
    support::{SOON, in_namespace, in_time, within},
};

/// Every step of a release with a migration, in its order.
pub fn steps() -> impl Iterator<Item = Step> {
    Step::VARIANTS.iter().copied().filter(|step| (Step::Inspect..=Step::Retire).contains(step))
}

/// The steps at which a second version is deleted while the first one serves: those that have nothing to do with a
/// database and last. `SwitchBack` is met after an abort.
const WITHOUT_DATABASE: [Step; 7] =
    [Step::Approve, Step::Deploy, Step::Verify, Step::Switch, Step::Watch, Step::Retire, Step::SwitchBack];
const WITH_DATABASE: [Step; 5] = [Step::Inspect, Step::Preflight, Step::Backup, Step::Rehearse, Step::Migrate];
/// How long any step may take to come.
const STEP: Duration = Duration::from_secs(60);
/// How long a deletion may take: the garbage collector of a new cluster needs 40 s to learn of our kinds.
const GONE: Duration = Duration::from_secs(90);
/// Requests per second on each of several applications at once.
const FEW: u32 = 30;
/// How long they are sent, at the least.
const USED: Duration = Duration::from_secs(8);
/// What belongs to a Release and goes with it.
const CHILDREN: [(&str, &str); 7] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "ControllerRevision"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
];

/// A change of the spec, and where it met the release.
struct Change {
    /// The step that was seen.
    seen: Step,
    /// The step that status showed when the API server took the change.
    met: Step,
    /// The attempt that it met; that of the active revision when none was under way any more.
    attempt: i64,
}

impl Change {
    fn of(seen: Step, changed: &Release) -> Self {
        let record = record(changed);
        let candidate = record.candidate.map(|candidate| candidate.attempt);
        let attempt = candidate.or(record.active.map(|active| active.attempt)).unwrap();
        Self { seen, met: record.step, attempt }
    }

    /// Returns how the attempt may have ended; `None`: nothing is remembered of it.
    fn outcomes(&self) -> &'static [Option<Outcome>] {
        match self.met {
            // Nothing has happened yet.
            Step::Inspect | Step::Approve => &[None],
            // Its content may have been frozen or not.
            Step::Preflight => &[None, Some(Outcome::Superseded)],
            Step::Backup | Step::Rehearse | Step::Migrate | Step::Deploy | Step::Verify => &[Some(Outcome::Superseded)],
            // Traffic may have moved or not.
            Step::Switch => &[Some(Outcome::Superseded), Some(Outcome::Succeeded)],
            Step::Watch | Step::Retire | Step::Idle => &[Some(Outcome::Succeeded)],
            Step::Contract | Step::SwitchBack | Step::RestoreData | Step::CleanUp => {
                panic!("nothing went back, or was contracted: it stood at {:?}", self.met)
            }
        }
    }
}

/// Waits until a release stands at a step, or is over; approves what has to be approved before.
pub async fn comes_to(scene: &Scene<'_>, step: Step, look: impl Fn(&Release)) {
    let what = format!("{} comes to {}", scene.name, step.as_str());
    in_time(STEP, &what, async {
        loop {
            let release = scene.read().await;
            look(&release);
            let now = record(&release);
            let over = now.step == Step::Idle && condition(&release, "Finished").0 == "True";
            // An attempt for an earlier spec goes on only when traffic has moved.
            let version = now.candidate.as_ref().map(|candidate| candidate.version.as_str());
            let current = now.step >= Step::Switch || version == Some(release.spec.version.as_str());
            if !observed(&release) || !(current || over) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            } else if now.step == step || over {
                return;
            } else if now.step == Step::Approve {
                scene.approve().await;
                scene.until("the approval counts", |release| record(release).step != Step::Approve).await;
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    })
    .await;
}

/// What is special in the spec of the version that is to come to a step. One that is to come to `Verify` or later has no
/// database: nothing is different there with one, and each Job on it takes seconds.
pub fn spec_for(step: Step) -> Value {
    let mut more = if step <= Step::Deploy { by_sql("shop-1") } else { json!({}) };
    merge(&mut more, json!({ "checks": [{ "name": "home", "phase": "Verify", "http": { "service": "shop" } }] }));
    merge(&mut more, json!({ "watch": { "for": "3s", "tolerate": "2s" } }));
    more
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_06_input_57_a_spec_changed_at_every_step_ends_with_the_last_one_and_loses_no_request() {
    in_namespace("changed", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        // Each file leaves rows, so that one that ran twice would show.
        let orders = format!("SELECT pg_sleep(3); {ORDERS}");
        let slot = format!("{SLOT} INSERT INTO orders (address) VALUES ('of the second file');");
        let files = [("001-orders.sql", orders.as_str()), ("002-slot.sql", slot.as_str())];
        make_sql(&scene, "shop-1", &files[..1]).await;
        make_sql(&scene, "shop-2", &files).await;
        scene.serve_first(json!({ "watch": { "for": "1s" } })).await;
        let load = scene.load().await;
        let changes = changed_at_every_step(&scene).await;
        let mut last = spec_for(Step::Inspect);
        merge(&mut last, by_sql("shop-2"));
        scene.ask_for("3.0.0", &[], last).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("3.0.0"), "{}", report(&scene).await);
        let counted = load.end("changed-at-every-step").await;
        let history = record(&over).history;
        what_became(&changes, &history);
        // Users have seen what passed its checks, and nothing else.
        let proven = history.iter().filter(|ended| ended.outcome == Outcome::Succeeded);
        let proven: BTreeSet<&str> = proven.map(|ended| ended.version.as_str()).collect();
        assert_eq!(counted.by_version.keys().map(String::as_str).collect::<BTreeSet<_>>(), proven);
        only_what_is_kept(&scene, &over).await;
        the_ledger_is_truthful(&scene, &over).await;
    })
    .await;
}

/// Asks for one version after the other: each as soon as the one before, or what goes on of it, stands at the next step.
async fn changed_at_every_step(scene: &Scene<'_>) -> Vec<Change> {
    let mut changes = vec![];
    scene.ask_for("2.0.0", &[], spec_for(Step::Inspect)).await;
    for (number, step) in steps().enumerate() {
        comes_to(scene, step, serves).await;
        if step == Step::Migrate {
            until_it_migrates(scene).await;
        }
        let next = steps().find(|next| *next > step).unwrap_or(step);
        let changed = scene.ask_for(&format!("2.{}.0", number + 1), &[], spec_for(next)).await;
        changes.push(Change::of(step, &changed));
    }
    changes
}

/// Fails unless status says that users are served. While traffic moves it tells what the endpoints show, which follow.
pub fn serves(release: &Release) {
    let serving = condition(release, "Serving");
    let step = record(release).step;
    assert!(step == Step::Switch || serving.0 == "True", "at {}: {serving:?}", step.as_str());
}

/// Holds what history says of each interrupted attempt against what the design says.
fn what_became(changes: &[Change], history: &[HistoryEntry]) {
    let outcome = |attempt| history.iter().find(|ended| ended.attempt == attempt).map(|ended| ended.outcome);
    let told: Vec<Value> = changes
        .iter()
        .map(|change| json!({ "seen": change.seen, "met": change.met, "outcome": outcome(change.attempt) }))
        .collect();
    proof("changed-at", &json!(told).to_string());
    for change in changes {
        assert!(change.outcomes().contains(&outcome(change.attempt)), "{told:?}");
    }
    let met: Vec<Step> = changes.iter().map(|change| change.met).collect();
    // `Retire` lasts as long as a few writes; all others wait for something that takes a second or more.
    let missed: Vec<Step> = steps().filter(|step| *step != Step::Retire && !met.contains(step)).collect();
    assert!(missed.is_empty(), "no change met {missed:?}: {told:?}");
    let unexpected: Vec<&HistoryEntry> =
        history.iter().filter(|ended| ![Outcome::Succeeded, Outcome::Superseded].contains(&ended.outcome)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

/// Fails when anything is left of an attempt that is not kept on purpose.
async fn only_what_is_kept(scene: &Scene<'_>, over: &Release) {
    let uid = over.uid().unwrap();
    let of = async |api_version, kind| names_of_release(scene, (api_version, kind), &uid).await;
    within(SOON, "the former version alone is kept, and no Job", async || {
        let (deployments, jobs) = (of("apps/v1", "Deployment").await, of("batch/v1", "Job").await);
        ((deployments.len(), jobs.len()) == (2, 0)).then_some(())
    })
    .await;
    within(SOON, "the pods of the last version alone are there", async || {
        (of("v1", "Pod").await.len() == 2).then_some(())
    })
    .await;
    assert_eq!(names_of(scene, "v1", "Service").await, ["postgres", "s3", "shop"]);
    let history = record(over).history;
    let mut kept: Vec<String> = history.iter().map(|ended| format!("shop-attempt-{}", ended.attempt)).collect();
    kept.push("shop-anchor".to_owned());
    kept.sort();
    assert_eq!(of("apps/v1", "ControllerRevision").await, kept);
}

/// Holds the ledger, the data and the backups against each other.
async fn the_ledger_is_truthful(scene: &Scene<'_>, over: &Release) {
    let files = "SELECT string_agg(name, ' ' ORDER BY name) FROM switchback.ledger_files";
    assert_eq!(psql(scene, files).await, "001-orders.sql 002-slot.sql");
    assert_eq!(psql(scene, "SELECT count(*) FROM orders").await, "501", "a file ran twice, or not at all");
    let rows = "SELECT count(*), count(DISTINCT revision), min(state), max(state) FROM switchback.ledger";
    assert_eq!(psql(scene, rows).await, "2|2|Applied|Applied");
    // I2: each names a backup that is there, whole.
    let all = backups(scene).await;
    assert_eq!(all.len(), 4, "those of Rehearse, Migrate, Deploy and the last; that of Backup was withdrawn");
    let unfinished = all.iter().filter(|backup| backup.status.as_ref().is_none_or(|told| told.phase != "Completed"));
    assert_eq!((unfinished.count(), held(scene).await), (0, vec![]), "{}", report(scene).await);
    let uids: Vec<String> = all.iter().map(|backup| format!("'{}'", backup.uid().unwrap())).collect();
    let named = format!("SELECT count(*) FROM switchback.ledger WHERE backup_uid IN ({})", uids.join(","));
    assert_eq!(psql(scene, &named).await, "2");
    let instances: kube::Api<DatabaseInstance> = scene.namespace.api(&scene.namespace.cluster.admin);
    let claim = instances.get("shop").await.unwrap().status.unwrap().claim.unwrap();
    assert_eq!(Some(claim.release_uid), over.uid());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_input_59_a_release_deleted_at_every_step_leaves_nothing_half_done() {
    in_namespace("deleted", async |namespace| {
        let scene = Scene::new(namespace).await;
        // All at once, and on the heap: what one of these remembers fills much of a stack.
        let plain = WITHOUT_DATABASE.map(|step| deleted_while_the_former_serves(&scene, step).boxed_local());
        let (plain, with_database) = join(join_all(plain), deleted_with_a_database(&scene).boxed_local()).await;
        let seconds: BTreeMap<&str, f64> =
            plain.into_iter().chain(with_database).map(|(step, took)| (step.as_str(), took.as_secs_f64())).collect();
        proof("deleted-at-every-step", &json!({ "secondsUntilGone": seconds }).to_string());
        // Nothing but the servers that were there before.
        for kind in ["Deployment", "Service"] {
            let version = if kind == "Service" { "v1" } else { "apps/v1" };
            assert_eq!(names_of(&scene, version, kind).await, ["postgres", "s3"], "{kind}");
        }
    })
    .await;
}

/// Deletes a Release with two versions while the second is at a step; then its name can be used again.
async fn deleted_while_the_former_serves(scene: &Scene<'_>, step: Step) -> (Step, Duration) {
    let app = scene.another(&format!("at-{}", step.as_str().to_lowercase()));
    app.serve_first(json!({ "watch": watch("1s") })).await;
    let more = second(step);
    second_comes_to(&app, step, &more).await;
    let took = delete(&app, step).await;
    // Strict dry runs say whether any name is still taken.
    app.ask_for("3.0.0", &[], more).await;
    app.until_step(Step::Approve).await;
    delete(&app, Step::Approve).await;
    (step, took)
}

/// Many start at once on a small machine: a probe that comes late is not what this is about.
fn watch(window: &str) -> Value {
    json!({ "for": window, "tolerate": "30s", "readyPercent": 1, "immediateBelow": 0 })
}

/// What is special in the spec of the version that is to come to a step.
fn second(step: Step) -> Value {
    let smoke = json!({ "spec": { "containers": [{
        "name": "smoke", "image": "localhost/demo-app:dev", "args": ["pause-exit", "--after", "1"],
    }]}});
    let window = if step == Step::Retire { "1s" } else { "60s" };
    json!({
        "checks": [{ "name": "smoke", "phase": "Verify", "job": { "template": smoke } }],
        "switch": { "settle": "3s" },
        "watch": watch(window),
    })
}

/// Asks for a second version, which comes to a step.
async fn second_comes_to(app: &Scene<'_>, step: Step, more: &Value) {
    app.ask_for("2.0.0", &[], more.clone()).await;
    if step == Step::SwitchBack {
        comes_to(app, Step::Watch, |_| ()).await;
        app.decide(&app.read().await, json!({ "abort": {} })).await.unwrap();
    }
    comes_to(app, step, |_| ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_11_a_release_orphaned_at_every_step_leaves_what_serves_and_loses_no_request() {
    in_namespace("orphaned", async |namespace| {
        let scene = Scene::new(namespace).await;
        let counted = join_all(WITHOUT_DATABASE.map(|step| orphaned(&scene, step).boxed_local())).await;
        proof("orphaned-at-every-step", &json!(counted).to_string());
        // Of each application what its users use, and no more.
        for kind in [("apps/v1", "Deployment"), ("v1", "Service")] {
            assert_eq!(names_of(&scene, kind.0, kind.1).await.len(), WITHOUT_DATABASE.len(), "{}", kind.1);
        }
        assert_eq!(names_of(&scene, "apps/v1", "ControllerRevision").await, Vec::<String>::new());
    })
    .await;
}

/// Lets a Release go while users are served and its second version is at a step; returns what was counted.
async fn orphaned(scene: &Scene<'_>, step: Step) -> Value {
    let app = scene.another(&format!("at-{}", step.as_str().to_lowercase()));
    let orphan = json!({ "deletionPolicy": "Orphan", "watch": watch("1s") });
    app.serve_first(orphan.clone()).await;
    let (load, users) = (app.load_of(FEW).await, Stopwatch::start());
    let mut more = orphan;
    merge(&mut more, second(step));
    second_comes_to(&app, step, &more).await;
    let uid = begin_to_delete(&app, step).await;
    within(GONE, "all but what serves is gone", async || {
        let release = app.releases().get_opt(&app.name).await.unwrap();
        let mut left = vec![];
        for (api_version, kind) in CHILDREN {
            left.extend(names_of_release(&app, (api_version, kind), &uid).await.iter().map(|_| kind));
        }
        let serves = ["Deployment", "ReplicaSet", "Pod", "Service", "EndpointSlice"];
        (release.is_none() && left == serves).then_some(())
    })
    .await;
    // The garbage collector has seen all of it, and users use what is left.
    tokio::time::sleep(USED.saturating_sub(users.elapsed()).max(Duration::from_secs(1))).await;
    let (counted, report) = load.stop(&format!("orphaned-at-{}", step.as_str())).await;
    assert!(counted.lost == 0 && counted.sent > u64::from(FEW) * 5, "at {}: {report}", step.as_str());
    let service = scene.namespace.api::<Service>(&scene.namespace.cluster.admin).get(&app.name).await.unwrap();
    assert!(service.owner_references().is_empty(), "{:?}", service.owner_references());
    json!({ "step": step, "sent": counted.sent, "lost": counted.lost, "versions": counted.by_version.keys().collect::<Vec<_>>() })
}

/// Deletes one Release after the other that works on the same database, each at another step.
async fn deleted_with_a_database(scene: &Scene<'_>) -> Vec<(Step, Duration)> {
    bring_up(scene).await;
    make_sql(scene, "shop-1", &[("001-orders.sql", ORDERS)]).await;
    let mut took = vec![];
    for step in WITH_DATABASE {
        let app = scene.another(&format!("at-{}", step.as_str().to_lowercase()));
        app.ask_for("1.0.0", &[], by_sql("shop-1")).await;
        comes_to(&app, step, |_| ()).await;
        if step == Step::Backup {
            within(SOON, "a backup is under way", async || (!backups(scene).await.is_empty()).then_some(())).await;
        }
        took.push((step, delete(&app, step).await));
    }
    // A backup that was begun comes to its end, and nothing holds it.
    within(SOON * 2, "every backup is whole", async || {
        let all = backups(scene).await;
        let whole = |phase: Option<&str>| phase == Some("Completed");
        let done = all.iter().all(|backup| whole(backup.status.as_ref().map(|told| told.phase.as_str())));
        (all.len() == 3 && done).then_some(())
    })
    .await;
    assert_eq!(held(scene).await, Vec::<String>::new());
    // A migration ran to its end or not at all.
    let ledger = psql(scene, "SELECT count(*) FILTER (WHERE state = 'Applied'), count(*) FROM switchback.ledger").await;
    let orders = psql(scene, "SELECT to_regclass('public.orders') IS NOT NULL").await;
    let consistent = [("0|0", "f"), ("1|1", "t")].contains(&(ledger.as_str(), orders.as_str()));
    assert!(consistent, "ledger {ledger}, table {orders}: {}", report(scene).await);
    // What people made stays.
    let ours = "switchback.dev/v1alpha1";
    assert_eq!(names_of(scene, ours, "DatabaseInstance").await, ["shop"]);
    assert_eq!(names_of(scene, ours, "BackupStorage").await, ["offsite"]);
    assert!(names_of(scene, "v1", "ConfigMap").await.contains(&"shop-1".to_owned()));
    took
}

/// Deletes a Release at a step and waits until nothing of it is left; returns how long that took.
async fn delete(app: &Scene<'_>, step: Step) -> Duration {
    let watch = Stopwatch::start();
    let uid = begin_to_delete(app, step).await;
    let gone = tokio::time::timeout(GONE, async {
        while !left_of(app, &uid).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    if gone.await.is_err() {
        panic!("deleted at {} it leaves {:?}\n{}", step.as_str(), left_of(app, &uid).await, app.report().await);
    }
    watch.elapsed()
}

/// Deletes a Release, which must stand at a step; returns its UID.
async fn begin_to_delete(app: &Scene<'_>, step: Step) -> String {
    let answer = app.releases().delete(&app.name, &DeleteParams::background()).await.unwrap();
    let deleted = answer.left().expect("our finalizer holds it");
    // `Retire` lasts as long as a few writes.
    let met = record(&deleted).step;
    assert!(met == step || step == Step::Retire, "it stood at {} and not at {}", met.as_str(), step.as_str());
    deleted.uid().unwrap()
}

/// Lists what is left of a Release.
async fn left_of(app: &Scene<'_>, uid: &str) -> Vec<String> {
    let mut left = vec![];
    for (api_version, kind) in CHILDREN {
        let names = names_of_release(app, (api_version, kind), uid).await;
        left.extend(names.iter().map(|name| format!("{kind} {name}")));
    }
    let release = app.releases().get_opt(&app.name).await.unwrap();
    left.extend(release.map(|release| format!("Release {}", release.name_any())));
    left
}
