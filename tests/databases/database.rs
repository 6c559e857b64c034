//! The plan of a DatabaseInstance.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};
use switchback::{
    agent_job::seen::AgentJobSeen,
    api::{DatabaseIdentity, Reason, Standing, set_standing},
    database::plan::{Observed, ProvenSeen, plan},
    databases::Action,
    protocol::{Answer, MigrateResult},
    release::observed::Settings,
};

use crate::{at, done, ended, failed, job, look, now, refused, told};

const UUID: &str = "11111111-2222-3333-4444-555555555555";

fn seen(change: impl FnOnce(&mut Observed)) -> Observed {
    let spec = json!({ "environment": "Production", "postgres": { "secret": "shop-db" } });
    let mut seen = Observed {
        now: now(),
        name: "shop".into(),
        namespace: "shop".into(),
        uid: "database".into(),
        generation: 2,
        deleting: false,
        spec: serde_json::from_value(spec).unwrap(),
        status: Default::default(),
        jobs: vec![],
        proven: vec![],
        settings: Settings { agent_image: "agent:1".into(), ..Settings::default() },
    };
    change(&mut seen);
    seen
}

/// What the agent says of the database, with the epoch of its marker when it has one.
pub fn facts(system: &str, epoch: Option<i64>) -> Value {
    let marker = epoch.map(|epoch| json!({ "uuid": UUID, "environment": "Production", "epoch": epoch }));
    json!({
        "identity": { "systemIdentifier": system, "oid": 16384, "name": "shop", "marker": marker },
        "endpoint": "db:5432", "serverVersion": "15.18", "sizeBytes": 1_000_000,
    })
}

/// What status holds of it.
pub fn identity(epoch: Option<i64>) -> DatabaseIdentity {
    let marker = epoch.map(|epoch| json!({ "uuid": UUID, "environment": "Production", "epoch": epoch }));
    serde_json::from_value(json!({
        "systemIdentifier": "7000", "oid": 16384, "name": "shop", "marker": marker,
        "endpoint": "db:5432", "serverVersion": "15.18", "sizeBytes": 1_000_000,
    }))
    .unwrap()
}

fn inspect() -> AgentJobSeen {
    job("shop-inspect-5", "inspect", "database")
}

fn inspected(seen: &mut Observed, answer: Value) {
    seen.status.probing = Some(look("inspect", |_| {}));
    seen.jobs = vec![done(inspect(), &json!({ "database": answer }))];
}

fn well(seen: &mut Observed, epoch: Option<i64>) {
    seen.status.identity = Some(identity(epoch));
    seen.status.identity_seen_at = Some(MicroTime(at("11:00:00")));
    seen.status.probing = Some(look("inspect", |look| ended(look, "11:00:00", 0)));
    set_standing(&mut seen.status.conditions, &Standing::Well(Reason::Reachable, "…".into()), (2, now()));
}

fn adopt(seen: &mut Observed, word: &str, counted: bool) {
    seen.spec.adopt_identity = Some(word.into());
    seen.status.adopted = counted.then(|| word.into());
}

fn mark_job() -> AgentJobSeen {
    job("shop-mark-5", "mark", "database")
}

fn rows() -> Vec<(&'static str, Observed)> {
    let known = json!({ "done": facts("7000", Some(3)) });
    let bare = json!({ "done": facts("7000", None) });
    vec![
        ("new", seen(|_| {})),
        ("a look is remembered", seen(|seen| seen.status.probing = Some(look("inspect", |_| {})))),
        (
            "it does not answer",
            seen(|seen| inspected(seen, refused("DatabaseUnreachable", "db:5432: connection refused"))),
        ),
        (
            "its Job is lost",
            seen(|seen| {
                seen.status.probing = Some(look("inspect", |_| {}));
                seen.jobs = vec![failed(inspect(), None)];
            }),
        ),
        ("seen for the first time, marked", seen(|seen| inspected(seen, known.clone()))),
        ("seen for the first time, not marked", seen(|seen| inspected(seen, bare.clone()))),
        (
            "as it was",
            seen(|seen| {
                well(seen, Some(3));
                inspected(seen, known.clone());
            }),
        ),
        (
            "it is another one",
            seen(|seen| {
                well(seen, Some(3));
                inspected(seen, json!({ "done": facts("8000", None) }));
            }),
        ),
        (
            "it is another one, and the word for it has counted before",
            seen(|seen| {
                well(seen, Some(3));
                inspected(seen, json!({ "done": facts("8000", None) }));
                adopt(seen, "8000/16384/shop/none", true);
            }),
        ),
        (
            "it is another one, accepted by an administrator",
            seen(|seen| {
                well(seen, Some(3));
                let proven =
                    json!({ "name": "nightly", "uid": "u", "at": "2026-11-21T11:30:00.000000Z", "level": "Restored" });
                seen.status.last_proven = Some(serde_json::from_value(proven).unwrap());
                inspected(seen, json!({ "done": facts("8000", None) }));
                adopt(seen, "8000/16384/shop/none", false);
            }),
        ),
        (
            "an older copy of it",
            seen(|seen| {
                well(seen, Some(4));
                inspected(seen, known.clone());
            }),
        ),
        (
            "it is marked for another environment",
            seen(|seen| {
                inspected(seen, known.clone());
                seen.spec.environment = switchback::api::Environment::Staging;
            }),
        ),
        (
            "accepted without marker by an administrator: it is to be marked",
            seen(|seen| {
                well(seen, None);
                adopt(seen, "7000/16384/shop/none", true);
            }),
        ),
        (
            "the Job that marks it waits",
            seen(|seen| {
                well(seen, None);
                seen.status.probing = Some(look("mark", |_| {}));
                seen.jobs = vec![AgentJobSeen { suspended: true, ..mark_job() }];
            }),
        ),
        (
            "the Job that marks it waits and is remembered",
            seen(|seen| {
                well(seen, None);
                seen.status.probing = Some(look("mark", |look| look.job = Some("uid-of-shop-mark-5".into())));
                seen.jobs = vec![AgentJobSeen { suspended: true, ..mark_job() }];
            }),
        ),
        (
            "it is marked",
            seen(|seen| {
                well(seen, None);
                seen.status.probing = Some(look("mark", |look| look.job = Some("uid-of-shop-mark-5".into())));
                seen.jobs = vec![done(mark_job(), &json!({ "done": facts("7000", Some(1)) }))];
            }),
        ),
        (
            "a Release marks it: what is said of it changes",
            seen(|seen| {
                well(seen, None);
                seen.jobs = vec![done(mark_job(), &json!({ "done": facts("7000", Some(1)) }))];
            }),
        ),
        (
            "the word is taken away: it may be given again",
            seen(|seen| {
                well(seen, Some(3));
                seen.status.adopted = Some("8000/16384/shop/none".into());
            }),
        ),
        ("all is well, idle", seen(|seen| well(seen, Some(3)))),
        (
            "a backup raised the epoch and is proven",
            seen(|seen| {
                well(seen, Some(3));
                let result = json!({ "done": {
                "database": facts("7000", Some(4)), "copies": [], "sizeBytes": 1, "tables": 1, "rows": 1,
                "position": "0/1", "takenAt": at("11:30:00"), "completedAt": at("11:31:00"),
                "proof": { "level": "Restored", "at": at("11:32:00") },
            } });
                seen.jobs = vec![done(job("nightly-1", "backup", "backup"), &result)];
                let proven =
                    json!({ "name": "nightly", "uid": "u", "at": "2026-11-21T11:30:00.000000Z", "level": "Restored" });
                seen.proven =
                    vec![ProvenSeen { proven: serde_json::from_value(proven).unwrap(), marker: Some(UUID.into()) }];
            }),
        ),
        (
            "a migration of a Release raised the epoch",
            seen(|seen| {
                well(seen, Some(3));
                let result = json!({ "state": "Applied", "database": facts("7000", Some(5)) });
                let result: MigrateResult = serde_json::from_value(result).unwrap();
                let result = serde_json::to_value(Answer::Done(result)).unwrap();
                seen.jobs = vec![done(job("shop-3-migrate", "migrate", "release"), &result)];
            }),
        ),
        (
            "a backup was refused for who the database is: it is looked at again",
            seen(|seen| {
                well(seen, Some(3));
                let refusal = refused("IdentityUncertain", "marker differs");
                seen.jobs = vec![failed(job("nightly-1", "backup", "backup"), Some(&refusal))];
            }),
        ),
        (
            "accepted without marker, after a backup of the marked one: that teaches nothing",
            seen(|seen| {
                well(seen, None);
                seen.status.identity_seen_at = Some(MicroTime(at("11:59:30")));
                seen.jobs = vec![done(
                    job("shop-3-migrate", "migrate", "release"),
                    &json!({ "done": { "state": "Applied", "database": facts("7000", Some(5)) } }),
                )];
            }),
        ),
        (
            "a look that a migration overtook: it is looked at once more",
            seen(|seen| {
                well(seen, Some(5));
                inspected(seen, json!({ "done": facts("7000", Some(3)) }));
                seen.jobs.push(done(
                    job("shop-3-migrate", "migrate", "release"),
                    &json!({ "done": { "state": "Applied", "database": facts("7000", Some(5)) } }),
                ));
            }),
        ),
        (
            "its spec changes",
            seen(|seen| {
                well(seen, Some(3));
                seen.generation = 3;
            }),
        ),
    ]
}

#[test]
fn plan_of_a_database() {
    let remembered = ["probing", "adopted", "identity", "lastProven"];
    let text: Vec<String> =
        rows().iter().map(|(name, seen)| format!("{name}\n{}", told(&plan(seen), &remembered))).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn no_plan_touches_a_claim() {
    let claim = json!({ "releaseUid": "r", "release": "shop" });
    for (name, mut seen) in rows() {
        seen.status.claim = Some(serde_json::from_value(claim.clone()).unwrap());
        assert_eq!(serde_json::to_value(&plan(&seen).status.claim).unwrap(), claim, "{name}");
    }
}

#[test]
fn no_job_that_writes_begins_before_its_uid_stands_in_status() {
    for (name, seen) in rows() {
        let noted = seen.status.probing.as_ref().and_then(|look| look.job.clone());
        for action in plan(&seen).actions {
            match action {
                switchback::databases::Action::Resume { uid, .. } => assert_eq!(Some(uid), noted, "{name}"),
                switchback::databases::Action::Create { body, .. } => {
                    let writes = body["metadata"]["labels"]["switchback.dev/verb"] != "inspect";
                    assert_eq!(body["spec"]["suspend"], writes, "{name}");
                }
                switchback::databases::Action::Delete { .. } => {}
                other @ switchback::databases::Action::LetGoOf { .. } => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn jobs_get_what_the_database_says_and_then_what_the_chart_says() {
    let mut seen = seen(|seen| {
        let of_chart = json!({ "serviceAccountName": "anybody", "nodeSelector": { "pool": "any" } });
        let of_database = json!({ "nodeSelector": { "pool": "databases" } });
        seen.settings.jobs = serde_json::from_value(of_chart).unwrap();
        seen.spec.jobs = serde_json::from_value(of_database).unwrap();
    });
    seen.status = plan(&seen).status;
    let actions = plan(&seen).actions;
    let Some(Action::Create { body, .. }) = actions.first() else { panic!("no Job: {actions:?}") };
    let pod = &body["spec"]["template"]["spec"];
    assert_eq!(
        (&pod["serviceAccountName"], &pod["nodeSelector"]),
        (&json!("anybody"), &json!({ "pool": "databases" }))
    );
}
