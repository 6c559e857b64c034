//! The plan of a BackupStorage.

use serde_json::{Value, json};
use switchback::{
    agent_job::seen::AgentJobSeen,
    api::{Reason, Standing, set_standing},
    databases::Action,
    release::observed::Settings,
    storage::plan::{Observed, plan},
};

use crate::{done, ended, failed, job, look, now, told};

fn seen(change: impl FnOnce(&mut Observed)) -> Observed {
    let spec = json!({ "s3": { "bucket": "backups", "prefix": "shop", "endpoint": "http://s3:7070", "secret": "backup-store" } });
    let mut seen = Observed {
        now: now(),
        name: "offsite".into(),
        namespace: "shop".into(),
        uid: "storage".into(),
        generation: 2,
        deleting: false,
        spec: serde_json::from_value(spec).unwrap(),
        status: Default::default(),
        jobs: vec![],
        settings: Settings { agent_image: "agent:1".into(), ..Settings::default() },
    };
    change(&mut seen);
    seen
}

fn probe() -> AgentJobSeen {
    job("offsite-probe-5", "inspect", "storage")
}

fn said(problem: Option<Value>) -> Value {
    json!({ "storages": [{ "name": "offsite", "problem": problem }] })
}

fn stands(seen: &mut Observed, standing: Standing) {
    set_standing(&mut seen.status.conditions, &standing, (2, now()));
}

#[test]
fn plan_of_a_storage() {
    let denied = json!({ "reason": "DestinationNotWritable", "message": "s3:7070/backups: 403 AccessDenied" });
    let usable = || Standing::Well(Reason::Usable, "Takes an object once, keeps it and returns it.".into());
    let rows: Vec<(&str, Observed)> = vec![
        ("new", seen(|_| {})),
        ("a look is remembered", seen(|seen| seen.status.probing = Some(look("inspect", |_| {})))),
        (
            "its Job's pod cannot start",
            seen(|seen| {
                seen.status.probing = Some(look("inspect", |_| {}));
                seen.jobs = vec![AgentJobSeen {
                    problem: Some("container agent is in ErrImagePull: no such image".into()),
                    ..probe()
                }];
            }),
        ),
        (
            "it is usable",
            seen(|seen| {
                seen.status.probing = Some(look("inspect", |_| {}));
                seen.jobs = vec![done(probe(), &said(None)), job("offsite-probe-4", "inspect", "storage")];
            }),
        ),
        (
            "it is not writable",
            seen(|seen| {
                seen.status.probing = Some(look("inspect", |_| {}));
                seen.jobs = vec![failed(probe(), Some(&said(Some(denied.clone()))))];
            }),
        ),
        (
            "its Job is lost",
            seen(|seen| {
                seen.status.probing = Some(look("inspect", |_| {}));
                seen.jobs = vec![failed(probe(), None)];
            }),
        ),
        (
            "all is well, idle",
            seen(|seen| {
                seen.status.probing = Some(look("inspect", |look| ended(look, "11:00:00", 0)));
                stands(seen, usable());
            }),
        ),
        (
            "it was not writable three times, ten seconds ago",
            seen(|seen| {
                seen.status.probing = Some(look("inspect", |look| ended(look, "11:59:50", 3)));
                stands(seen, Standing::Stuck(Reason::DestinationNotWritable, "403".into()));
            }),
        ),
        (
            "it was not writable three times, a minute ago: what is known stands while it is tried again",
            seen(|seen| {
                seen.status.probing = Some(look("inspect", |look| ended(look, "11:59:00", 3)));
                stands(seen, Standing::Stuck(Reason::DestinationNotWritable, "403".into()));
            }),
        ),
        (
            "its spec changes",
            seen(|seen| {
                seen.status.probing = Some(look("inspect", |look| ended(look, "11:00:00", 0)));
                stands(seen, usable());
                seen.generation = 3;
            }),
        ),
        ("it is being deleted", seen(|seen| seen.deleting = true)),
    ];
    let text: Vec<String> =
        rows.iter().map(|(name, seen)| format!("{name}\n{}", told(&plan(seen), &["probing"]))).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn jobs_get_what_the_storage_says_and_then_what_the_chart_says() {
    let mut seen = seen(|seen| {
        seen.settings.jobs = serde_json::from_value(json!({ "serviceAccountName": "anybody" })).unwrap();
        seen.spec.jobs = serde_json::from_value(json!({ "annotations": { "mesh": "off" } })).unwrap();
    });
    seen.status = plan(&seen).status;
    let actions = plan(&seen).actions;
    let Some(Action::Create { body, .. }) = actions.first() else { panic!("no Job: {actions:?}") };
    let template = &body["spec"]["template"];
    assert_eq!(
        (&template["spec"]["serviceAccountName"], &template["metadata"]["annotations"]["mesh"]),
        (&json!("anybody"), &json!("off"))
    );
}
