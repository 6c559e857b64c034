//! The table of the Release's plan: every step by what may be observed there, as one snapshot.

use std::{fmt::Write as _, sync::Arc};

use serde_json::json;
use strum::VariantArray as _;
use switchback::{
    api::{Approval, DecisionKind, Empty, Gate, Reason, Rejection, Step},
    protocol::Refusal,
    release::{manifests::Kind, observed::Guard, plan::Plan, plan::Situation, watched},
};

use crate::database::{MigrationEnd, RehearsalEnd, RestoreEnd, UndoEnd, with_down};
use crate::policies::policy;
use crate::quota::quota;
use crate::reach;
use crate::world::{JobEnd, World, spec, versions, words};

/// One observation: its name, and what it does to the world.
type Seen = (&'static str, fn(&mut World));

fn rows(step: Step) -> Vec<Seen> {
    let common: Vec<Seen> = vec![
        ("nothing new", |_| {}),
        ("the spec says 3.0.0", |world| world.ask_for("3.0.0")),
        ("the spec says 1.0.0 again", |world| world.ask_for("1.0.0")),
        ("anna aborts", |world| {
            world.abort();
        }),
        ("anna rolls back", |world| {
            world.roll_back(None);
        }),
        ("anna suspends", |world| {
            world.decide(DecisionKind::Suspend(Empty {}), "anna");
        }),
        ("the Release is deleted", |world| world.deleting = true),
    ];
    let own: Vec<Seen> = match step {
        Step::Idle => vec![
            ("a pod of the active version is not ready", |world| world.set_ready("1.0.0", 1)),
            ("somebody scaled the active version", |world| {
                world.deployments.values_mut().for_each(|deployment| deployment.replicas = 7);
            }),
            ("somebody pointed the Service elsewhere", |world| {
                let service = world.services.get_mut("shop").unwrap();
                service.selector.insert("app".into(), "else".into());
            }),
            ("somebody deleted the Service", |world| {
                world.services.remove("shop");
            }),
            ("somebody deleted the Deployment", |world| world.deployments.clear()),
            ("the number of replicas changes", |world| {
                let mut spec = spec("1.0.0");
                spec.workloads[0].replicas = Some(5);
                world.change(spec);
            }),
        ],
        Step::Approve => vec![
            ("anna approves", |world| {
                world.approve("anna");
            }),
            ("anna approves and ben rejects", |world| {
                world.approve("anna");
                world.reject();
            }),
            ("a check changes", |world| {
                let mut spec = spec("2.0.0");
                spec.checks.pop();
                world.change(spec);
            }),
            ("the admission policies are gone", |world| {
                world.approve("anna");
                world.guard = Guard::Missing("ValidatingAdmissionPolicy switchback-decisions is missing".into());
            }),
        ],
        Step::Inspect => inspected(),
        Step::Preflight => vec![],
        Step::Backup => vec![
            ("the backup is complete", |world| world.end_backups()),
            ("the backup fails", |world| {
                world.database.backup_fails = true;
                world.end_backups();
            }),
            ("the backup is not complete in time", |world| world.wait(6 * 3600 + 1)),
        ],
        Step::Rehearse => vec![
            ("the Job runs", |world| rehearse(world, RehearsalEnd::Hangs)),
            ("the Job says passed", |world| rehearse(world, RehearsalEnd::Passes)),
            ("it passed, and the Job that migrates stands there, suspended", |world| {
                rehearse(world, RehearsalEnd::Passes);
                world.look(usize::MAX);
            }),
            ("it passed, and the backup is deleted", |world| {
                rehearse(world, RehearsalEnd::Passes);
                world.look(usize::MAX);
                world.database.backups.clear();
            }),
            ("the Job says failed", |world| rehearse(world, RehearsalEnd::Fails)),
            ("the Job failed and its word was not seen yet", |world| rehearse(world, RehearsalEnd::PodLost)),
            ("the Job's pods are lost", |world| {
                rehearse(world, RehearsalEnd::PodLost);
                world.wait(11);
            }),
            ("the old version ends on the migrated copy", |world| rehearse(world, RehearsalEnd::ContractEnds)),
            ("it does not end in time", |world| {
                rehearse(world, RehearsalEnd::Hangs);
                world.wait(6 * 3600 + 1);
            }),
            ("the Job runs and the spec says 3.0.0", |world| {
                rehearse(world, RehearsalEnd::Hangs);
                world.ask_for("3.0.0");
            }),
            ("somebody deleted the running Job", |world| {
                rehearse(world, RehearsalEnd::Hangs);
                world.jobs.clear();
            }),
            ("the storage with the backup is gone", |world| world.database.storages.clear()),
        ],
        Step::Migrate => vec![
            ("the Job is resumed", |world| {
                world.look(usize::MAX);
            }),
            ("the backup is deleted before the Job is resumed", |world| world.database.backups.clear()),
            ("somebody deleted the Job before it was resumed", |world| world.jobs.clear()),
            ("the Job runs and the spec says 3.0.0", |world| {
                run_migration(world, MigrationEnd::Hangs);
                world.ask_for("3.0.0");
            }),
            ("the Job runs and anna aborts", |world| {
                run_migration(world, MigrationEnd::Hangs);
                world.abort();
            }),
            ("the Job runs and the Release is deleted", |world| {
                run_migration(world, MigrationEnd::Hangs);
                world.deleting = true;
            }),
            ("the Job says applied", |world| run_migration(world, MigrationEnd::Applied)),
            ("the Job says failed", |world| run_migration(world, MigrationEnd::Fails)),
            ("the Job failed and its word was not seen yet", |world| run_migration(world, MigrationEnd::PodLost)),
            ("the Job's pod is lost", |world| {
                run_migration(world, MigrationEnd::PodLost);
                world.wait(11);
            }),
            ("somebody deleted the running Job", |world| {
                run_migration(world, MigrationEnd::Hangs);
                world.jobs.clear();
            }),
        ],
        Step::Deploy => vec![
            ("all pods are ready", |world| world.settle()),
            ("no pod gets ready in time", |world| {
                world.unready.push(World::digits("2.0.0"));
                world.settle();
                world.wait(601);
            }),
            ("blue was scaled up meanwhile", |world| {
                let blue = World::digits("1.0.0");
                let scale = |deployment: &mut switchback::release::observed::DeploymentSeen| deployment.replicas = 5;
                world.deployments.values_mut().filter(|deployment| deployment.revision == blue).for_each(scale);
            }),
        ],
        Step::Verify => vec![
            ("all Jobs pass", |world| {
                world.wait(2);
                world.look(usize::MAX);
                world.settle();
            }),
            ("an http check fails", |world| fail(world, "verify", JobEnd::Fails)),
            ("the smoke Job fails", |world| fail(world, "smoke", JobEnd::Fails)),
            ("the agent leaves no result", |world| fail(world, "verify", JobEnd::LeavesNothing)),
            ("the Jobs hang", |world| {
                fail(world, "verify", JobEnd::Hangs);
                world.wait(601);
            }),
        ],
        Step::Switch => vec![
            ("a pod of the candidate is lost before the patch", |world| {
                world.set_ready("2.0.0", 2);
            }),
            ("the deadline passes before the patch", |world| {
                world.set_ready("2.0.0", 2);
                world.wait(61);
            }),
        ],
        Step::Watch => vec![
            ("anna promotes", |world| {
                world.decide(DecisionKind::Promote(Empty {}), "anna");
            }),
            ("one of three pods is lost", |world| world.set_ready("2.0.0", 2)),
            ("two of three pods are lost", |world| world.set_ready("2.0.0", 1)),
            ("all pods are lost", |world| world.set_ready("2.0.0", 0)),
            ("all pods of both versions are lost", |world| {
                world.set_ready("2.0.0", 0);
                world.set_ready("1.0.0", 0);
            }),
            ("the watch check fails", |world| fail(world, "watch", JobEnd::Fails)),
            ("the watch check cannot tell", |world| fail(world, "watch", JobEnd::LeavesNothing)),
            ("the watch check fails and blue has no ready pod", |world| {
                fail(world, "watch", JobEnd::Fails);
                world.set_ready("1.0.0", 0);
            }),
            ("the window is over", |world| {
                world.wait(901);
                world.settle();
            }),
            ("somebody deleted the Service", |world| {
                world.services.remove("shop");
            }),
            ("somebody deleted blue's Deployment", |world| {
                let blue = World::digits("1.0.0");
                world.deployments.retain(|_, deployment| deployment.revision != blue);
            }),
            ("somebody wiped the selector", |world| {
                world.services.get_mut("shop").unwrap().selector.clear();
            }),
            ("the frozen content was deleted", |world| {
                world.contents.retain(|_, (_, spec)| spec.version != "2.0.0");
            }),
        ],
        Step::RestoreData => vec![
            ("the Job stands there, suspended", |world| {
                world.look(usize::MAX);
            }),
            ("the Job is recorded", |world| {
                world.look(usize::MAX);
                world.look(usize::MAX);
            }),
            ("the Job runs", |world| undo(world, UndoEnd::Hangs)),
            ("the Job runs and the Release is deleted", |world| {
                undo(world, UndoEnd::Hangs);
                world.deleting = true;
            }),
            ("the Job says undone", |world| undo(world, UndoEnd::Undone)),
            ("the Job refuses to lose rows", |world| undo(world, UndoEnd::Loses)),
            ("the Job says failed", |world| undo(world, UndoEnd::Fails)),
            ("the Job's pod is lost", |world| {
                undo(world, UndoEnd::PodLost);
                world.wait(11);
            }),
        ],
        Step::Contract => vec![
            ("the database was looked at", |world| freeze_contract(world, 0)),
            ("the database is looked at and the SQL was edited", |world| {
                world.database.checksum = "bb".into();
                world.look(usize::MAX);
                world.settle();
            }),
            ("the database does not answer in time", |world| world.wait(301)),
            ("the content is frozen", |world| {
                freeze_contract(world, 1);
            }),
            ("what was kept is given up", |world| {
                freeze_contract(world, 2);
            }),
            ("a pod of the former version has not ended", |world| {
                freeze_contract(world, 3);
                let former = world.digits_of("1.0.0");
                let pod = crate::world::pod("shop-web-former".into(), &former, "web", false);
                world.pods.insert(pod.name.clone(), pod);
            }),
            ("nothing of the former version is left", |world| {
                freeze_contract(world, 3);
                world.settle();
            }),
        ],
        Step::Retire | Step::SwitchBack | Step::CleanUp => vec![("everything has followed", |world| {
            world.settle();
            world.wait(10);
        })],
    };
    common.into_iter().chain(own).collect()
}

/// What may be seen once the database has answered, and what the API server says then.
fn inspected() -> Vec<Seen> {
    vec![
        ("the database answers, and the API server takes everything", answered),
        ("no NetworkPolicy covers the database", |world| {
            world.elsewhere.push(reach::service(Some(&[("app", "db")])));
            answered(world);
        }),
        ("the database does not answer", |world| {
            let message = "db:5432: connection refused".into();
            world.database.refusal = Some(Refusal { reason: Reason::DatabaseUnreachable, message });
            answered(world);
        }),
        ("it is not known in time", |world| world.wait(301)),
        ("the DatabaseInstance is gone", |world| world.database.instances.clear()),
        ("the storage is not for this database", |world| {
            Arc::make_mut(&mut world.database.storages[0].spec).allowed_databases = vec!["billing".into()];
        }),
        ("Pod Security refuses a pod", |world| {
            let message = "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true";
            world.refusal = Some((Kind::Pod, 403, message.into()));
            answered(world);
        }),
        ("there is no such service account", |world| {
            let message = "error looking up service account prod/nobody: serviceaccount \"nobody\" not found";
            world.refusal = Some((Kind::Pod, 403, message.into()));
            answered(world);
        }),
        ("the API server does not know a field", |world| {
            world.refusal = Some((Kind::Deployment, 400, "unknown field \"spec.replica\"".into()));
            answered(world);
        }),
        ("somebody else has the Deployment's name", |world| {
            world.foreign.push((Kind::Deployment, format!("shop-web-{}", world.digits_of("2.0.0"))));
            answered(world);
        }),
        ("somebody else's Service selects the pods", |world| {
            world.elsewhere.push(reach::service(Some(&[("switchback.dev/workload", "web")])));
            answered(world);
        }),
        ("the quota has no room for both versions", |world| {
            world.quotas = [quota("pods", "5", "3")].iter().filter_map(watched::quota).collect();
            answered(world);
        }),
        ("what serves is broken", |world| {
            world.set_ready("1.0.0", 1);
            answered(world);
        }),
    ]
}

/// Lets the Job that looks at the database end.
fn answered(world: &mut World) {
    world.end_database_jobs();
}

fn fail(world: &mut World, job: &'static str, end: JobEnd) {
    world.wait(2);
    world.look(usize::MAX);
    world.job_end.insert(job, end);
    world.settle();
}

/// Lets the Job of the migration be made, recorded and resumed, and end.
fn run_migration(world: &mut World, end: MigrationEnd) {
    for _ in 0..4 {
        world.look(usize::MAX);
    }
    world.database.migration = end;
    world.end_database_jobs();
}

/// Lets the Job that takes the migration back be made, recorded and resumed, and end.
fn undo(world: &mut World, end: UndoEnd) {
    for _ in 0..4 {
        world.look(usize::MAX);
    }
    world.database.undo = end;
    world.end_database_jobs();
}

/// What may be seen while what would be lost waits for an approval.
fn waiting_restore() -> Vec<Seen> {
    vec![
        ("nothing new", |_| {}),
        ("anna approves", |world| {
            world.approve_data_loss("anna");
        }),
        ("anna approves and ben rejects", |world| {
            world.approve_data_loss("anna");
            world.decide(DecisionKind::Reject(Rejection { gate: Gate::DataLoss }), "ben");
        }),
        ("anna approves one of two", |world| {
            world.policies = vec![policy("two", json!({ "approval": { "required": 2 } }))];
            world.approve_data_loss("anna");
        }),
        ("nobody has said anything in time", |world| world.wait(24 * 3600)),
        ("the spec says 3.0.0", |world| world.ask_for("3.0.0")),
        ("the spec says 1.0.0 again", |world| world.ask_for("1.0.0")),
        ("anna suspends", |world| {
            world.decide(DecisionKind::Suspend(Empty {}), "anna");
        }),
        ("the admission policies are gone", |world| {
            world.guard = Guard::Missing("ValidatingAdmissionPolicy switchback-decisions is missing".into());
        }),
        ("the Release is deleted", |world| world.deleting = true),
        ("it is approved and the Job stands there, suspended", |world| restore(world, 2, RestoreEnd::Hangs)),
        ("the Job is recorded", |world| restore(world, 3, RestoreEnd::Hangs)),
        ("the Job runs", |world| restore(world, 5, RestoreEnd::Hangs)),
        ("the Job runs and the Release is deleted", |world| {
            restore(world, 5, RestoreEnd::Hangs);
            world.deleting = true;
        }),
        ("the Job says restored", |world| restore(world, 5, RestoreEnd::Restored)),
        ("the Job says restored, and the DatabaseInstance knows", |world| {
            restore(world, 5, RestoreEnd::Restored);
            world.look(usize::MAX);
        }),
        ("the Job refuses", |world| restore(world, 5, RestoreEnd::Refused)),
        ("the Job lost the server in the middle", |world| restore(world, 5, RestoreEnd::Uncertain)),
        ("the Job's pod is lost", |world| {
            restore(world, 5, RestoreEnd::PodLost);
            world.wait(11);
        }),
    ]
}

/// Approves what would be lost, looks so often, and lets the Job end if it runs.
fn restore(world: &mut World, looks: usize, end: RestoreEnd) {
    world.approve_data_loss("anna");
    for _ in 0..looks {
        world.look(usize::MAX);
    }
    world.database.restore = end;
    world.end_database_jobs();
}

/// Lets the Job of the rehearsal be made, and end.
fn rehearse(world: &mut World, end: RehearsalEnd) {
    world.look(usize::MAX);
    world.database.rehearsal = end;
    world.end_database_jobs();
}

/// Lets a Contract migration look at the database and freeze its content, and some looks after that.
fn freeze_contract(world: &mut World, looks: usize) {
    world.look(usize::MAX);
    world.settle();
    for _ in 0..looks {
        world.look(usize::MAX);
    }
}

/// What may be observed at rest while a Contract migration waits.
fn waiting_contract() -> Vec<Seen> {
    vec![
        ("nothing new", |_| {}),
        ("anna approves it", |world| {
            world.approve_contract("anna");
        }),
        ("anna approves it and ben rejects it", |world| {
            world.approve_contract("anna");
            world.reject_contract();
        }),
        ("anna approves the release's gate", |world| {
            let digest = world.record().contract.as_ref().unwrap().plan.as_ref().unwrap().digest.clone();
            world.decide(DecisionKind::Approve(Approval { digest, gate: Gate::Release }), "anna");
        }),
        ("anna approves it and a pod of what serves is not ready", |world| {
            world.approve_contract("anna");
            world.set_ready("2.0.0", 1);
        }),
        ("anna approves it while it is suspended", |world| {
            world.approve_contract("anna");
            world.spec.suspend = true;
        }),
        ("anna approves it and the spec says 3.0.0", |world| {
            world.approve_contract("anna");
            world.ask_for("3.0.0");
        }),
        ("anna goes back", |world| {
            world.roll_back(None);
        }),
        ("the Release is deleted", |world| world.deleting = true),
    ]
}

fn told(situation: &Situation) -> String {
    let (kind, message) = match situation {
        Situation::Working(reason, message) => (format!("working, {}", reason.as_str()), message.as_str()),
        Situation::WaitingForApproval(reason, message) => (format!("waiting, {}", reason.as_str()), message.as_str()),
        Situation::Served => ("served".to_owned(), ""),
        Situation::ActiveUnhealthy(message) => ("unwell".to_owned(), message.as_str()),
        Situation::Failed(reason, message) => (format!("failed, {}", reason.as_str()), message.as_str()),
        Situation::OnHold(reason, message) => (format!("on hold, {}", reason.as_str()), message.as_str()),
        Situation::Suspended(message) => ("suspended".to_owned(), message.as_str()),
    };
    versions(format!("{kind}: {message}").trim_end_matches(": "))
}

fn row(text: &mut String, name: &str, plan: &Plan) {
    let order = if plan.act_first { "  (acts first, then remembers)" } else { "" };
    writeln!(text, "  {name}\n    -> {}{order}", plan.record.step.as_str()).unwrap();
    writeln!(text, "       tells  {}", told(&plan.situation)).unwrap();
    for action in plan.everything() {
        writeln!(text, "       does   {}", words(action)).unwrap();
    }
    if let Some(contested) = &plan.contested {
        writeln!(text, "       warns  {}", versions(contested)).unwrap();
    }
}

/// Adds what the plan that people approve says of what stands around.
fn risks(text: &mut String, plan: &Plan) {
    let risks = plan.record.plan.iter().flat_map(|plan| &plan.risks);
    for risk in risks.filter(|risk| risk.starts_with("Database") || risk.contains("which serves")) {
        writeln!(text, "       risk   {}", versions(risk)).unwrap();
    }
}

#[test]
fn the_plan_of_every_step_by_what_is_observed() {
    let mut text = String::from("1.0.0 serves with three pods; an attempt for 2.0.0 stands at the step.\n");
    for &step in Step::VARIANTS {
        writeln!(text, "\n{}", step.as_str()).unwrap();
        let base = match step {
            Step::Idle => World::serving(),
            Step::Inspect => {
                let mut world = World::serving_with_database();
                world.ask_for("2.0.0");
                world.run_to(step);
                while world.look(usize::MAX) {}
                world
            }
            Step::SwitchBack | Step::CleanUp => {
                let mut world = World::at(Step::Watch);
                world.set_ready("2.0.0", 0);
                while world.step() != step {
                    world.look(usize::MAX);
                    world.follow();
                    world.wait(1);
                }
                world
            }
            // 2.0.0 serves there.
            Step::Contract => World::with_contract_at(step),
            Step::Retire => {
                let mut world = World::at(Step::Watch);
                world.run_to(Step::Retire);
                world
            }
            Step::RestoreData => {
                let mut world = World::serving_with_database();
                world.change(with_down("2.0.0"));
                world.run_to(Step::Approve);
                world.approve("anna");
                world.run_to(Step::Watch);
                world.look(usize::MAX);
                world.abort();
                world.run_to(Step::RestoreData);
                world
            }
            Step::Backup | Step::Deploy | Step::Watch => {
                let mut world = World::at(step);
                world.look(usize::MAX);
                world.end_jobs();
                world
            }
            _ => World::at(step),
        };
        for (name, happen) in rows(step) {
            let mut world = base.clone();
            happen(&mut world);
            let (_, plan) = world.plan();
            row(&mut text, name, &plan);
            if step == Step::Inspect {
                risks(&mut text, &plan);
            }
        }
    }
    writeln!(text, "\nIdle, while 2.0.0 serves and its Contract migration waits").unwrap();
    for (name, happen) in waiting_contract() {
        let mut world = World::with_contract();
        happen(&mut world);
        let (_, plan) = world.plan();
        row(&mut text, name, &plan);
        if let Some(contract) = &plan.record.contract {
            writeln!(text, "       of it  {:?}, {}: {}", contract.state, contract.reason, contract.message).unwrap();
        }
    }
    writeln!(text, "\nRestoreData, when the backup of 2.0.0 would come back and people are asked").unwrap();
    for (name, happen) in waiting_restore() {
        let mut world = crate::restored::waiting(RestoreEnd::Hangs);
        while world.look(usize::MAX) {}
        happen(&mut world);
        let (_, plan) = world.plan();
        row(&mut text, name, &plan);
    }
    insta::assert_snapshot!("plan_of_a_release", text);
}
