//! ReleasePolicies: the strictest value of all that match holds, and none of them stands in the way back.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};
use switchback::{
    api::{
        Approval, ChangedBy, DecisionKind, Empty, Gate, Mode, ProofLevel, Record, ReleasePolicySpec, Rollback,
        RunningRelease, StampRecord, Step,
    },
    release::{
        observed::{Guard, PolicySeen, SourceSeen, Standing, artefacts},
        plan::{self, Plan},
    },
};

use crate::world::{World, spec};

pub fn policy(name: &str, spec: Value) -> PolicySeen {
    let spec: ReleasePolicySpec = serde_json::from_value(spec).unwrap();
    PolicySeen {
        name: name.into(),
        uid: format!("uid-{name}"),
        generation: 1,
        resource_version: "1".into(),
        running: vec![],
        spec: Some(Arc::new(spec)),
    }
}

/// A world in which 1.0.0 serves and the plan for 2.0.0 waits under some policies.
fn waiting(policies: &[(&str, Value)]) -> World {
    let mut world = World::serving();
    world.policies = policies.iter().map(|(name, spec)| policy(name, spec.clone())).collect();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world
}

fn looked(world: &mut World) -> Plan {
    while world.look(usize::MAX) {}
    world.plan().1
}

fn unmet(world: &World) -> Vec<&str> {
    world.record().plan.iter().flat_map(|plan| &plan.unmet).map(String::as_str).collect()
}

fn expedite(world: &mut World) -> String {
    world.decide(DecisionKind::Expedite(Empty {}), "carl")
}

#[test]
fn as_many_people_approve_as_the_strictest_policy_asks_for() {
    let mut world = waiting(&[
        ("one", json!({ "approval": { "required": 1 } })),
        ("two", json!({ "approval": { "required": 2 } })),
    ]);
    assert!(unmet(&world)[0].starts_with("2 approvals by different people"), "{:?}", unmet(&world));
    let first = world.approve("anna");
    // The same person twice is one person.
    world.approve("anna");
    looked(&mut world);
    assert_eq!((world.step(), world.became(&first)), (Step::Approve, Some(("Accepted", "Waiting"))));
    assert!(
        unmet(&world)[0]
            .contains("1 more of 2 approvals: kubectl switchback approve shop -n prod, by somebody else than anna"),
        "{:?}",
        unmet(&world)
    );
    assert!(world.message("Ready").contains("1 of 2 approvals are given, by anna"), "{}", world.message("Ready"));
    let second = world.approve("ben");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    assert_eq!((world.became(&first), world.became(&second)), (Some(("Used", "Used")), Some(("Used", "Used"))));
    let people: Vec<&str> = world.record().decisions.iter().rev().take(2).map(|used| used.actor.as_str()).collect();
    assert_eq!(people, ["ben", "anna"]);
}

#[test]
fn a_rejection_counts_more_than_any_number_of_approvals() {
    let mut world = waiting(&[("two", json!({ "approval": { "required": 2 } }))]);
    world.approve("anna");
    world.approve("ben");
    world.reject();
    world.run_to_rest();
    assert_eq!((world.active(), world.condition("Ready")), (Some("1.0.0"), Some(("False", "Rejected"))));
}

#[test]
fn an_approval_says_the_sentence_that_is_asked_for() {
    let sentence = "Begin automated deployment";
    let mut world = waiting(&[
        ("a", json!({ "approval": { "statements": [sentence, "Go"] } })),
        ("b", json!({ "approval": { "statements": [sentence] } })),
    ]);
    assert_eq!(world.record().plan.as_ref().unwrap().statements, [sentence]);
    for said in [None, Some("Go"), Some("begin automated deployment")] {
        world.statement = said.map(str::to_owned);
        let silent = world.approve("anna");
        looked(&mut world);
        assert_eq!((world.step(), world.became(&silent)), (Step::Approve, Some(("Refused", "StatementMissing"))));
    }
    world.statement = Some(sentence.to_owned());
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn policies_that_no_approval_can_meet_together_say_so() {
    let mut world = waiting(&[
        ("a", json!({ "approval": { "statements": ["Go"] } })),
        ("b", json!({ "approval": { "statements": ["Begin"] } })),
    ]);
    looked(&mut world);
    assert_eq!(world.condition("Ready"), Some(("False", "PolicyUnusable")));
    assert!(world.message("Ready").contains("a and b ask for different statements"), "{}", world.message("Ready"));
}

#[test]
fn a_policy_says_how_long_an_approval_counts() {
    let mut world = waiting(&[("short", json!({ "approval": { "expires": "1h", "required": 2 } }))]);
    let first = world.approve("anna");
    looked(&mut world);
    world.wait(3601);
    world.approve("ben");
    looked(&mut world);
    assert_eq!((world.step(), world.became(&first)), (Step::Approve, Some(("Expired", "Expired"))));
}

#[test]
fn a_changed_policy_voids_approvals_visibly() {
    let mut world = waiting(&[("two", json!({ "approval": { "required": 2 } }))]);
    let digest = world.record().plan.as_ref().unwrap().digest.clone();
    let approval = world.approve("anna");
    looked(&mut world);
    world.policies = vec![PolicySeen { generation: 2, ..policy("two", json!({})) }];
    looked(&mut world);
    assert_ne!(world.record().plan.as_ref().unwrap().digest, digest);
    assert_eq!((world.step(), world.became(&approval)), (Step::Approve, Some(("Refused", "OtherDigest"))));
    // What was approved before is of no use for what is asked for now.
    world.decide(DecisionKind::Approve(Approval { digest, gate: Gate::Release }), "ben");
    looked(&mut world);
    assert_eq!(world.step(), Step::Approve);
}

#[test]
fn who_begins_is_the_strictest_word_of_spec_and_policies() {
    let automatic = || Some(Mode::Automatic);
    let manual = || Some(Mode::Manual);
    let allowed = json!({ "automatic": "Allowed" });
    let default = json!({ "automatic": "Allowed", "defaultMode": "Automatic" });
    let table: [(&str, Vec<Value>, Option<Mode>, bool); 10] = [
        ("one of two has no default", vec![default.clone(), allowed.clone()], None, false),
        ("no policy, automatic", vec![], automatic(), true),
        ("no policy, nothing said", vec![], None, false),
        ("a policy forbids by default", vec![json!({})], automatic(), false),
        ("a policy allows", vec![allowed.clone()], automatic(), true),
        ("one of two forbids", vec![allowed.clone(), json!({})], automatic(), false),
        ("the default of a policy", vec![default.clone()], None, true),
        ("what is said counts more than a default", vec![default.clone()], manual(), false),
        (
            "one of two defaults is manual",
            vec![default.clone(), json!({ "automatic": "Allowed", "defaultMode": "Manual" })],
            None,
            false,
        ),
        ("allowed is no default", vec![allowed], None, false),
    ];
    for (what, policies, mode, begins) in table {
        let mut world = World::serving();
        world.policies =
            policies.into_iter().enumerate().map(|(number, spec)| policy(&format!("p{number}"), spec)).collect();
        let mut asked = spec("2.0.0");
        asked.mode = mode;
        world.change(asked);
        world.run_to_rest();
        assert_eq!(world.active() == Some("2.0.0"), begins, "{what}");
    }
}

#[test]
fn a_first_release_begins_as_the_policies_say() {
    for (first, begins) in [("Automatic", true), ("Manual", false)] {
        let mut world = World::new();
        world.policies = vec![policy("first", json!({ "firstRelease": first }))];
        world.spec.mode = Some(Mode::Automatic);
        world.run_to_rest();
        assert_eq!(world.active().is_some(), begins, "{first}");
        if begins {
            // Only the first: from then on the policy forbids what it does not allow.
            world.ask_for("2.0.0");
            world.run_to_rest();
            assert_eq!((world.active(), world.step()), (Some("1.0.0"), Step::Approve));
        }
    }
}

#[test]
fn a_first_release_under_a_policy_that_says_nothing_of_it_is_as_that_policy_has_it() {
    let mut world = World::new();
    let critical = policy("critical", json!({ "approval": { "required": 3 } }));
    world.policies = vec![policy("first", json!({ "firstRelease": "Automatic" })), critical];
    world.run_to_rest();
    assert_eq!((world.active(), world.step()), (None, Step::Approve));
}

#[test]
fn rule_01_no_policy_says_how_long_a_way_back_counts() {
    let mut world = World::at(Step::Watch);
    world.policies = vec![policy("short", json!({ "approval": { "expires": "5m" } }))];
    world.set_ready("1.0.0", 0);
    let abort = world.abort();
    world.look(usize::MAX);
    world.wait(600);
    world.look(usize::MAX);
    world.set_ready("1.0.0", 3);
    world.run_to_rest();
    assert_eq!((world.active(), world.became(&abort)), (Some("1.0.0"), Some(("Used", "Used"))));
}

#[test]
fn a_policy_that_comes_after_the_content_was_frozen_voids_the_approval_visibly() {
    let mut world = World::at(Step::Preflight);
    world.decide(DecisionKind::Suspend(Empty {}), "anna");
    looked(&mut world);
    assert!(!world.contents.is_empty() && world.step() == Step::Preflight);
    world.policies = vec![policy("two", json!({ "approval": { "required": 2 } }))];
    world.wait(5);
    world.decide(DecisionKind::Resume(Empty {}), "anna");
    world.run_to(Step::Approve);
    let last = world.record().history.last().unwrap();
    assert_eq!((last.outcome, last.reason.as_str()), (switchback::api::Outcome::Superseded, "ApprovalStale"));
    assert!(world.record().failure.is_none());
    world.approve("anna");
    world.approve("ben");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn a_word_on_one_plan_is_none_on_the_next() {
    let closed = [("closed", json!({ "freeze": [{ "schedule": "0 0 * * *", "for": "24h" }] }))];
    let mut world = waiting(&closed);
    let hastened = expedite(&mut world);
    looked(&mut world);
    assert!(unmet(&world).iter().all(|line| !line.contains("lets nothing begin")), "{:?}", unmet(&world));
    world.wait(10);
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    looked(&mut world);
    assert_eq!(world.became(&hastened), Some(("Refused", "TooEarly")));
    assert_eq!((world.step(), world.condition("Ready")), (Step::Approve, Some(("Unknown", "Frozen"))));
    // The controller is away while a plan is rejected and another one is asked for.
    let mut world = waiting(&[]);
    let rejected = world.reject();
    world.wait(60);
    world.ask_for("3.0.0");
    looked(&mut world);
    assert_eq!(world.became(&rejected), Some(("Refused", "TooEarly")));
    assert!(world.record().failure.is_none());
}

#[test]
fn more_approvals_than_are_needed_do_no_harm() {
    let mut world = waiting(&[("closed", json!({ "freeze": [{ "schedule": "0 0 * * *", "for": "24h" }] }))]);
    for number in 0..12 {
        world.approve(&format!("person-{number:02}-{}", "x".repeat(200)));
    }
    expedite(&mut world);
    world.run_to(Step::Deploy);
    assert_eq!(world.record().candidate.as_ref().unwrap().approved_by.len(), 1);
}

#[test]
fn what_is_told_fits_where_it_is_told() {
    let sentences: Vec<String> = (0..8).map(|number| format!("{number}{}", "ä".repeat(255))).collect();
    let mut world = waiting(&[("long", json!({ "approval": { "statements": sentences, "required": 8 } }))]);
    world.statement = Some(sentences[0].clone());
    for number in 0..7 {
        world.approve(&format!("{number}{}", "ä".repeat(200)));
    }
    world.statement = None;
    world.approve("anna");
    let plan = looked(&mut world);
    assert!(unmet(&world).iter().all(|line| line.len() <= 512), "{:?}", unmet(&world));
    assert!(plan.record.plan.is_some());
    assert!(world.told.values().all(|message| message.len() <= 1024), "{:?}", world.told);
}

#[test]
fn a_plan_that_nobody_approved_forgets_a_freeze_that_is_over() {
    let weekend = json!({ "freeze": [{ "schedule": "0 16 * * FRI", "for": "64h", "timezone": "Europe/Berlin" }] });
    let mut world = waiting(&[("weekend", weekend)]);
    let plan = looked(&mut world);
    let end = "2026-11-23T07:00:00Z".parse().unwrap();
    assert_eq!(plan.recheck, Some(end));
    world.now = end;
    looked(&mut world);
    assert!(unmet(&world).iter().all(|line| !line.contains("lets nothing begin")), "{:?}", unmet(&world));
}

#[test]
fn a_freeze_holds_approved_and_automatic_releases_until_it_is_over() {
    // The world begins on a Saturday at noon.
    let weekend = json!({
        "automatic": "Allowed",
        "freeze": [{ "schedule": "0 16 * * FRI", "for": "64h", "timezone": "Europe/Berlin", "reason": "weekend" }],
    });
    for mode in [Mode::Manual, Mode::Automatic] {
        let mut world = World::serving();
        world.policies = vec![policy("weekend", weekend.clone())];
        let mut asked = spec("2.0.0");
        asked.mode = Some(mode);
        world.change(asked);
        world.run_to(Step::Approve);
        if mode == Mode::Manual {
            world.approve("anna");
        }
        let plan = looked(&mut world);
        assert_eq!(world.condition("Ready"), Some(("Unknown", "Frozen")));
        let told = world.message("Ready").to_owned();
        assert!(told.contains("until Mon 2026-11-23 07:00 UTC (weekend)"), "{told}");
        assert!(
            unmet(&world).iter().any(|line| line.contains("kubectl switchback expedite shop")),
            "{:?}",
            unmet(&world)
        );
        let end = "2026-11-23T07:00:00Z".parse().unwrap();
        assert!(plan.recheck.is_some_and(|at| at <= end), "{:?}", plan.recheck);
        // An approval does not outlive its own day; a new one is used at once when the freeze is over.
        world.now = end;
        if mode == Mode::Manual {
            world.now = end - SignedDuration::from_secs(60);
            world.approve("anna");
            looked(&mut world);
            assert_eq!(world.step(), Step::Approve);
            world.now = end;
        }
        world.run_to_rest();
        assert_eq!(world.active(), Some("2.0.0"), "{mode:?}");
    }
}

#[test]
fn whoever_may_expedite_need_not_wait_for_a_freeze_but_for_approvals() {
    let mut world = waiting(&[("closed", json!({ "freeze": [{ "schedule": "0 0 * * *", "for": "24h" }] }))]);
    let hastened = expedite(&mut world);
    looked(&mut world);
    assert_eq!((world.step(), world.became(&hastened)), (Step::Approve, Some(("Accepted", "Waiting"))));
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), world.became(&hastened)), (Some("2.0.0"), Some(("Used", "Used"))));
    let late = expedite(&mut world);
    looked(&mut world);
    assert_eq!(world.became(&late), Some(("Refused", "TooLate")));
}

#[test]
fn rule_01_no_policy_stands_in_the_way_back() {
    let closed = json!({
        "freeze": [{ "schedule": "0 0 * * *", "for": "24h" }], "approval": { "required": 8 },
        "images": { "digestRequired": true }, "semver": true,
    });
    let mut world = World::at(Step::Watch);
    world.policies = vec![policy("closed", closed.clone())];
    world.set_ready("2.0.0", 0);
    let (_, plan) = world.plan();
    assert!(plan.act_first);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    // Nor in that of a person.
    let mut world = World::at(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    world.policies = vec![policy("closed", closed)];
    world.roll_back(None);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn input_05_images_without_digest_and_versions_that_are_none_are_refused_before_anything_begins() {
    let mut world = waiting(&[("digests", json!({ "images": { "digestRequired": true } }))]);
    world.approve("anna");
    looked(&mut world);
    assert_eq!((world.step(), world.condition("Stalled")), (Step::Approve, Some(("True", "DigestRequired"))));
    assert!(
        world.message("Ready").contains("shop:2.0.0 of container web is none: a tag can be moved"),
        "{}",
        world.message("Ready")
    );
    assert_eq!(world.deployments.len(), 1, "nothing was made");
    let mut asked = serde_json::to_value(spec("2.0.0")).unwrap();
    let image = |name: &str| json!(format!("{name}@sha256:{}", "0".repeat(64)));
    asked["workloads"][0]["template"]["spec"]["containers"][0]["image"] = image("shop");
    asked["checks"][1]["job"]["template"]["spec"]["containers"][0]["image"] = image("smoke");
    world.change(serde_json::from_value(asked).unwrap());
    world.run_to(Step::Approve);
    assert_eq!(world.condition("Stalled"), None);
    world.approve("anna");
    world.run_to(Step::Deploy);

    let mut world = waiting(&[("versions", json!({ "semver": true }))]);
    assert_eq!(world.condition("Stalled"), None);
    world.spec.version = "2.0".to_owned();
    world.generation += 1;
    looked(&mut world);
    assert_eq!(world.condition("Ready"), Some(("False", "VersionNotSemantic")));
    // The version is no part of the revision: correcting it alone is enough.
    world.spec.version = "2.0.1".to_owned();
    world.generation += 1;
    looked(&mut world);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.condition("Ready"), world.active()), (Some(("True", "Released")), Some("2.0.1")));
}

#[test]
fn input_05_only_a_whole_digest_is_one_and_every_image_counts() {
    let whole = format!("shop@sha256:{}", "0".repeat(64));
    let table = [
        (whole.clone(), Value::Null, true),
        ("shop@sha256:0123".to_owned(), Value::Null, false),
        (format!("shop@sha256:{}", "G".repeat(64)), Value::Null, false),
        (whole.clone(), json!([{ "name": "site", "image": { "reference": "site:1" } }]), false),
        (whole.clone(), json!([{ "name": "site", "image": { "reference": whole } }]), true),
    ];
    for (image, volumes, accepted) in table {
        let mut asked = serde_json::to_value(spec("2.0.0")).unwrap();
        asked["checks"] = json!([]);
        asked["workloads"][0]["template"]["spec"]["containers"][0]["image"] = image.clone().into();
        asked["workloads"][0]["template"]["spec"]["volumes"] = volumes.clone();
        let mut world = World::serving();
        world.policies = vec![policy("digests", json!({ "images": { "digestRequired": true } }))];
        world.change(serde_json::from_value(asked).unwrap());
        world.run_to(Step::Approve);
        assert_eq!(world.condition("Stalled").is_none(), accepted, "{image} {volumes}");
    }
    for (version, accepted) in
        [("1.2.3", true), ("1.2.3-rc.1+build", true), ("1.2.3-", false), ("1.2.3-01", false), ("v1.2.3", false)]
    {
        assert_eq!(switchback::api::is_semantic(version), accepted, "{version}");
    }
}

#[test]
fn input_62_a_policy_that_cannot_be_read_or_used_lets_nothing_begin() {
    let unreadable = PolicySeen { spec: None, ..policy("newer", json!({})) };
    let never = policy("never", json!({ "freeze": [{ "schedule": "0 0 30 2 *", "for": "1h" }] }));
    for broken in [unreadable, never] {
        let mut world = World::serving();
        world.policies = vec![broken];
        let mut asked = spec("2.0.0");
        asked.mode = Some(Mode::Automatic);
        world.change(asked);
        world.run_to(Step::Approve);
        world.approve("anna");
        looked(&mut world);
        assert_eq!((world.step(), world.condition("Ready")), (Step::Approve, Some(("False", "PolicyUnusable"))));
        // What serves is kept.
        world.services.clear();
        looked(&mut world);
        assert!(world.selected().is_some());
        world.policies.clear();
        world.run_to_rest();
        assert_eq!(world.active(), Some("2.0.0"));
    }
}

#[test]
fn a_policy_may_ask_for_more_proof_than_a_release() {
    let mut world = World::serving_with_database();
    world.policies = vec![policy("proven", json!({ "database": { "proof": "Restored" } }))];
    let mut asked = crate::database::spec("2.0.0");
    let database = asked.database.as_mut().unwrap();
    database.backup.proof = Some(ProofLevel::Stored);
    // A rehearsal would restore it anyway.
    database.migration.as_mut().unwrap().rehearse.enabled = false;
    world.change(asked);
    world.run_to(Step::Approve);
    let plan = world.record().plan.clone().unwrap();
    let backup = plan.steps.iter().find(|planned| planned.step == Step::Backup).unwrap();
    assert!(backup.does.contains("restores it into a scratch server"), "{}", backup.does);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    assert_eq!(world.record().backup.as_ref().unwrap().proof, ProofLevel::Restored);
}

/// A world in which 1.0.0 serves and `user` asks for 2.0.0 under a policy that takes no approval of an author.
fn changed_by(stamp: Option<&str>) -> World {
    let mut world = World::serving();
    world.policies = vec![policy("others", json!({ "approval": { "notAuthor": true } }))];
    world.ask_for("2.0.0");
    assert_eq!((world.generation, world.record().active.as_ref().unwrap().generation), (2, 1));
    world.changed_by = stamp.and_then(ChangedBy::parse);
    world.run_to(Step::Approve);
    world
}

#[test]
fn forgery_approving_ones_own_change() {
    let mut world = changed_by(Some("1\n2 dave\n1 anna"));
    let own = world.approve("dave");
    looked(&mut world);
    assert_eq!((world.step(), world.became(&own)), (Step::Approve, Some(("Refused", "AuthorMayNotApprove"))));
    let line = unmet(&world).into_iter().find(|line| line.contains("(dave), as ReleasePolicy others asks"));
    assert!(line.is_some(), "{:?}", unmet(&world));
    // Anna asked for what serves now: that is another change.
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn everybody_is_an_author_who_changed_anything_since_what_serves_was_asked_for() {
    let mut world = changed_by(Some("1\n2 dave\n1 anna"));
    let approval = world.approve("anna");
    // Before it is used Anna writes a note, which no digest covers.
    world.spec.notes = Some("Reviewed.".into());
    world.change(world.spec.clone());
    world.changed_by = ChangedBy::parse("1\n3 anna\n2 dave");
    looked(&mut world);
    assert_eq!(world.became(&approval), Some(("Refused", "AuthorMayNotApprove")));
    assert!(unmet(&world).iter().any(|line| line.contains("(anna, dave)")), "{:?}", unmet(&world));
    world.approve("ben");
    world.run_to_rest();
    assert_eq!((world.active(), world.record().active.as_ref().unwrap().generation), (Some("2.0.0"), 3));
}

#[test]
fn whoever_approved_and_then_changed_it_has_not_approved() {
    let mut world = changed_by(Some("1\n2 dave\n1 anna"));
    world.approve("anna");
    // The first write uses the approval up and goes on to Preflight; the change comes before anything is frozen.
    let frozen = world.contents.len();
    world.look(1);
    assert_eq!((world.step(), world.contents.len()), (Step::Preflight, frozen));
    world.spec.notes = Some("Reviewed.".into());
    world.change(world.spec.clone());
    world.changed_by = ChangedBy::parse("1\n3 anna\n2 dave");
    world.run_to_rest();
    assert_eq!((world.active(), world.step()), (Some("1.0.0"), Step::Approve));
}

#[test]
fn a_way_back_makes_authors_of_all_who_came_after_what_serves_then() {
    let mut world = changed_by(Some("1\n2 dave\n1 anna"));
    world.approve("ben");
    world.run_to_rest();
    let first = world.record().history[0].revision.clone();
    world.wait(5);
    world.decide(DecisionKind::Rollback(Rollback { to: Some(first) }), "ben");
    world.run_to_rest();
    assert_eq!((world.active(), world.record().active.as_ref().unwrap().generation), (Some("1.0.0"), 1));
    world.wait(5);
    world.decide(DecisionKind::Retry(Empty {}), "ben");
    world.run_to(Step::Approve);
    let own = world.approve("dave");
    looked(&mut world);
    assert_eq!(world.became(&own), Some(("Refused", "AuthorMayNotApprove")));
}

#[test]
fn an_author_who_cannot_be_known_lets_no_approval_count() {
    let table = [
        // A change that was not stamped, one that was stamped with a gap, and none at all.
        (Some("1\n1 anna"), None, "ApprovalPolicyMissing", "after generation 1 is not certain"),
        (Some("3\n3 anna"), None, "ApprovalPolicyMissing", "after generation 1 is not certain"),
        (None, None, "ApprovalPolicyMissing", "after generation 1 is not certain"),
        (
            Some("1\n2 system:serviceaccount:argocd:application-controller"),
            None,
            "AuthorIsAutomation",
            "system:serviceaccount:argocd:application-controller changed the spec for somebody",
        ),
        (
            Some("1\n2 dave\n1 anna"),
            Some(Guard::Missing("MutatingAdmissionPolicy switchback-authors does not exist".into())),
            "ApprovalPolicyMissing",
            "MutatingAdmissionPolicy switchback-authors does not exist",
        ),
    ];
    for (stamp, guard, reason, says) in table {
        let mut world = changed_by(stamp);
        world.stamp = guard.unwrap_or(world.stamp);
        let approval = world.approve("ben");
        looked(&mut world);
        assert_eq!((world.step(), world.condition("Ready")), (Step::Approve, Some(("Unknown", reason))), "{stamp:?}");
        assert!(world.message("Ready").contains(says), "{}", world.message("Ready"));
        assert!(unmet(&world).iter().any(|line| line.contains("asks that nobody approves")), "{:?}", unmet(&world));
        // Whether it counts is not said, and it does once that is mended.
        assert_eq!(world.became(&approval), None, "{stamp:?}");
        world.stamp = Guard::Since(jiff::Timestamp::MIN);
        world.changed_by = ChangedBy::parse("1\n2 dave\n1 anna");
        world.run_to_rest();
        assert_eq!(world.active(), Some("2.0.0"), "{stamp:?}");
    }
}

#[test]
fn forgery_a_stamp_from_before_the_policies_were_in_force() {
    let mut world = World::serving();
    // The Release is older than the policies, and so is its last change: anybody may have written that stamp.
    world.created = "2026-11-20T00:00:00Z".parse().unwrap();
    world.guard = Guard::Since("2026-11-21T11:00:00Z".parse().unwrap());
    let others = || vec![policy("others", json!({ "approval": { "notAuthor": true } }))];
    world.policies = others();
    world.ask_for("2.0.0");
    world.changed_by = ChangedBy::parse("1\n2 ben\n1 anna");
    world.run_to(Step::Approve);
    world.approve("mallory");
    looked(&mut world);
    assert_eq!((world.step(), world.condition("Ready")), (Step::Approve, Some(("Unknown", "ApprovalPolicyMissing"))));
    // The way out: an admin lifts the policy until that version serves. What is changed later is known.
    world.policies.clear();
    looked(&mut world);
    world.approve("mallory");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    world.policies = others();
    world.ask_for("3.0.0");
    world.changed_by = ChangedBy::parse("1\n3 mallory\n2 ben\n1 anna");
    world.run_to(Step::Approve);
    let own = world.approve("mallory");
    looked(&mut world);
    assert_eq!(world.became(&own), Some(("Refused", "AuthorMayNotApprove")));
    // A gap makes what is pending uncertain again.
    world.guard = Guard::Since(world.now);
    looked(&mut world);
    assert_eq!((world.step(), world.condition("Ready")), (Step::Approve, Some(("Unknown", "ApprovalPolicyMissing"))));
}

#[test]
fn who_changed_it_is_asked_of_nothing_that_begins_by_itself_and_of_no_way_back() {
    let mut world = World::serving();
    let asks = json!({ "automatic": "Allowed", "approval": { "notAuthor": true } });
    world.policies = vec![policy("others", asks)];
    world.stamp = Guard::Missing("not served".into());
    let mut asked = spec("2.0.0");
    asked.mode = Some(Mode::Automatic);
    world.change(asked);
    world.run_to(Step::Watch);
    world.abort();
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn jobs_get_what_the_release_says_and_then_what_its_policies_and_last_what_the_chart_says() {
    let mut world = World::serving();
    world.settings.jobs = serde_json::from_value(json!({
        "serviceAccountName": "anybody", "nodeSelector": { "pool": "any" }, "tolerations": [{ "operator": "Exists" }],
        "annotations": { "owner": "chart", "chart": "yes" },
    }))
    .unwrap();
    let jobs = |jobs: Value| json!({ "automatic": "Allowed", "jobs": jobs });
    world.policies = vec![
        policy("a", jobs(json!({ "serviceAccountName": "checks", "nodeSelector": { "pool": "jobs" } }))),
        policy("b", jobs(json!({ "serviceAccountName": "others", "annotations": { "mesh": "off", "owner": "b" } }))),
    ];
    let mut asked = spec("2.0.0");
    asked.mode = Some(Mode::Automatic);
    asked.jobs = serde_json::from_value(json!({
        "annotations": { "owner": "shop" }, "labels": { "team": "shop" }, "resources": { "limits": { "memory": "1Gi" } },
    }))
    .unwrap();
    world.change(asked);
    world.templates.clear();
    world.run_to_rest();
    let made = &world.templates;
    assert_eq!(made.len(), 3, "{:?}", made.keys());
    for (name, template) in made {
        let (pod, metadata) = (&template["spec"], &template["metadata"]);
        assert_eq!((&pod["serviceAccountName"], &pod["nodeSelector"]), (&json!("checks"), &json!({ "pool": "jobs" })));
        assert_eq!(pod["tolerations"], json!([{ "operator": "Exists" }]), "{name}");
        assert_eq!(metadata["annotations"], json!({ "mesh": "off", "owner": "shop", "chart": "yes" }), "{name}");
        assert_eq!(metadata["labels"]["team"], "shop", "{name}");
        let resources = &pod["containers"][0]["resources"];
        // A user's own container has its own.
        let expected = if name.ends_with("smoke") { Value::Null } else { json!({ "limits": { "memory": "1Gi" } }) };
        assert_eq!(*resources, expected, "{name}");
    }
}

#[test]
fn threat_t01_what_jobs_get_is_part_of_what_is_approved() {
    let mut world = waiting(&[]);
    let digest = world.record().plan.as_ref().unwrap().digest.clone();
    world.spec.jobs.service_account_name = Some("powerful".into());
    world.change(world.spec.clone());
    looked(&mut world);
    let by_release = world.record().plan.as_ref().unwrap().digest.clone();
    assert_ne!(by_release, digest);
    // Where the Release says it, what the chart says changes nothing.
    world.settings.jobs.service_account_name = Some("another".into());
    looked(&mut world);
    assert_eq!(world.record().plan.as_ref().unwrap().digest, by_release);
    world.settings.jobs.annotations.insert("mesh".into(), "off".into());
    looked(&mut world);
    assert_ne!(world.record().plan.as_ref().unwrap().digest, by_release);
}

/// A Release from which another one is promoted, as it serves.
pub fn source(place: (&str, &str), version: Option<&str>, images: &[&str], since: &str) -> SourceSeen {
    let standing = Standing {
        uid: format!("uid-{}", place.1),
        version: version.map(str::to_owned),
        artefacts: images.iter().map(|image| (*image).to_owned()).collect(),
        since: since.parse().unwrap(),
        contract: None,
    };
    SourceSeen { namespace: place.0.into(), release: place.1.into(), standing: Some(standing) }
}

/// 2.0.0, approved, under a policy that promotes it from `staging`; the world begins at noon.
fn promoted(promotion: Value, sources: Vec<SourceSeen>) -> World {
    let mut world = World::serving();
    world.policies = vec![policy("staged", json!({ "promotion": promotion }))];
    world.sources = sources;
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    looked(&mut world);
    world
}

#[test]
fn what_is_promoted_serves_elsewhere_first() {
    let staging = json!({ "from": [{ "namespace": "staging" }] });
    let two = json!({ "from": [{ "namespace": "staging" }, { "namespace": "qa", "release": "store" }] });
    let place = ("staging", "shop");
    let long_ago = "2026-11-01T00:00:00Z";
    let table = [
        ("nothing there", &staging, vec![], "Release staging/shop, and there is none"),
        (
            "nothing serves",
            &staging,
            vec![source(place, None, &["shop:2.0.0"], long_ago)],
            "staging/shop, where no version serves and is well now",
        ),
        (
            "another one serves",
            &staging,
            vec![source(place, Some("1.9.0"), &["shop:1.9.0"], long_ago)],
            "staging/shop, where 1.9.0 serves, and shop:2.0.0 does not run",
        ),
        (
            "one of two",
            &two,
            vec![source(place, Some("2.0.0"), &["shop:2.0.0"], long_ago)],
            "Release qa/store, and there is none",
        ),
    ];
    for (what, promotion, sources, says) in table {
        let mut world = promoted(promotion.clone(), sources);
        assert_eq!(
            (world.step(), world.condition("Ready")),
            (Step::Approve, Some(("Unknown", "NotPromoted"))),
            "{what}"
        );
        assert!(world.message("Ready").contains(says), "{what}: {}", world.message("Ready"));
        assert!(unmet(&world).iter().any(|line| line.contains(says)), "{what}: {:?}", unmet(&world));
        // Nobody hastens that.
        expedite(&mut world);
        looked(&mut world);
        assert_eq!(world.step(), Step::Approve, "{what}");
        let images = ["shop:2.0.0", "mailer:7"];
        world.sources = vec![
            source(place, Some("2.0.0"), &images, long_ago),
            source(("qa", "store"), Some("2"), &images, long_ago),
        ];
        world.run_to_rest();
        assert_eq!(world.active(), Some("2.0.0"), "{what}");
    }
}

#[test]
fn what_is_promoted_has_served_for_long_enough_or_is_hastened() {
    let promotion = json!({ "from": [{ "namespace": "staging" }], "soak": "1h" });
    let serves = || vec![source(("staging", "shop"), Some("2.0.0"), &["shop:2.0.0"], "2026-11-21T11:30:00Z")];
    let mut world = promoted(promotion.clone(), serves());
    assert_eq!((world.step(), world.condition("Ready")), (Step::Approve, Some(("Unknown", "NotPromoted"))));
    assert!(
        world.message("Ready").contains("for 1h, which is so at Sat 2026-11-21 12:30:00 UTC"),
        "{}",
        world.message("Ready")
    );
    let end = "2026-11-21T12:30:00Z".parse().unwrap();
    assert_eq!(world.plan().1.recheck, Some(end));
    world.now = end;
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));

    let mut world = promoted(promotion, serves());
    let hastened = expedite(&mut world);
    world.run_to_rest();
    assert_eq!((world.active(), world.became(&hastened)), (Some("2.0.0"), Some(("Used", "Used"))));
}

#[test]
fn an_artefact_is_known_by_its_digest_wherever_it_was_pushed() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let mut spec = spec("2.0.0");
    spec.workloads[0].template.0["spec"]["containers"][0]["image"] = format!("eu.example.com/shop@{digest}").into();
    assert_eq!(artefacts(&spec), [digest].into());
    // Where the text of the version is enough, images may differ.
    let by_version = json!({ "from": [{ "namespace": "staging" }], "sameImages": false });
    for (version, begins) in [("2.0.0", true), ("2.0.1", false)] {
        let there = source(("staging", "shop"), Some(version), &["other:1"], "2026-11-01T00:00:00Z");
        let mut world = promoted(by_version.clone(), vec![there]);
        world.run_to_rest();
        assert_eq!(world.active() == Some("2.0.0"), begins, "{version}");
    }
}

#[test]
fn rule_01_what_is_not_promoted_goes_back_all_the_same() {
    let mut world = World::at(Step::Watch);
    world.policies = vec![policy("staged", json!({ "promotion": { "from": [{ "namespace": "staging" }] } }))];
    world.abort();
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn a_forecast_says_what_the_plan_then_lists_as_unmet() {
    let source = json!({ "promotion": { "from": [{ "namespace": "staging" }], "soak": "1h" } });
    let policies = [
        ("authors", json!({ "approval": { "required": 2, "notAuthor": true, "statements": ["Begin"] } })),
        ("frozen", json!({ "freeze": [{ "schedule": "0 0 * * *", "for": "24h", "reason": "stocktaking" }] })),
        ("promoted", source),
        ("one", json!({ "concurrency": 1 })),
    ];
    let mut world = World::serving();
    world.policies = policies.iter().map(|(name, spec)| policy(name, spec.clone())).collect();
    world.policies[3].running =
        vec![RunningRelease { name: "search".into(), uid: "uid-search".into(), since: MicroTime(world.now) }];
    world.database.others.push("uid-search".into());
    world.changed_by = ChangedBy::parse("1\n2 carl\n1 anna");
    world.ask_for("2.0.0");
    // As the controller notes it when it sees such a policy.
    let stamped = Some(StampRecord { since: MicroTime(Timestamp::MIN), generation: 0 });
    let forecast = plan::forecast(&world.observed(), &Record { stamped, ..world.record().clone() });
    world.run_to(Step::Approve);
    let found = unmet(&world);
    for line in &found {
        assert!(forecast.unmet.iter().any(|told| told == line), "{line:?} is not in {:#?}", forecast.unmet);
    }
    let places: Vec<&String> = forecast.unmet.iter().filter(|line| !found.contains(&line.as_str())).collect();
    // What is waited for last is told by the plan only when everything else is met.
    assert!(places.len() == 1 && places[0].starts_with("Waits for its place: ReleasePolicy one"), "{places:?}");
    for words in [
        "2 approvals by different people",
        "word for word: \"Begin\"",
        "By somebody else than who changed the spec since what serves was asked for (carl), as ReleasePolicy authors asks",
        "ReleasePolicy frozen lets nothing begin until",
        "ReleasePolicy promoted promotes from Release staging/shop, and there is none",
    ] {
        assert!(forecast.unmet.iter().any(|line| line.contains(words)), "{words:?} is not in {:#?}", forecast.unmet);
    }
    assert_eq!(forecast.statements, ["Begin"]);
}
