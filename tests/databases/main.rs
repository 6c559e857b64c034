//! What databases, storages and backups do in every situation, as tables that read like documentation, and the Jobs
//! that they make.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod backup;
mod database;
mod jobs;
mod storage;

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};
use switchback::{
    agent_job::seen::{AgentJobSeen, JobEnd},
    api::{Condition, Probing},
    databases::{Action, Plan},
    protocol::{Answer, BackupResult, DatabaseFacts, Done, InspectResult, MigrateResult, Word, read},
};

/// The present time.
pub fn now() -> Timestamp {
    at("12:00:00")
}

pub fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().unwrap()
}

/// A look of generation 2 with number 5.
pub fn look(verb: &str, change: impl Fn(&mut Probing)) -> Probing {
    let mut look = Probing { number: 5, generation: 2, verb: verb.to_owned(), job: None, failures: 0, ended_at: None };
    change(&mut look);
    look
}

pub fn ended(look: &mut Probing, time: &str, failures: i32) {
    look.ended_at = Some(MicroTime(at(time)));
    look.failures = failures;
}

/// A Job of an object, that runs.
pub fn job(name: &str, verb: &str, owner: &str) -> AgentJobSeen {
    AgentJobSeen {
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        verb: verb.to_owned(),
        owner: Some(owner.to_owned()),
        created: Some(at("11:58:30")),
        suspended: false,
        ended: None,
        deleting: false,
        message: None,
        problem: None,
    }
}

/// The Job after its end a minute ago.
pub fn done(job: AgentJobSeen, message: &Value) -> AgentJobSeen {
    assert_form(&job.verb, message);
    let ended = Some(JobEnd { at: at("11:59:00"), failure: None });
    AgentJobSeen { ended, message: Some(message.to_string()), ..job }
}

/// The Job after a bad end a minute ago, with what the agent said if it said something.
pub fn failed(job: AgentJobSeen, message: Option<&Value>) -> AgentJobSeen {
    if let Some(message) = message {
        assert_form(&job.verb, message);
    }
    let failure = Some("BackoffLimitExceeded: Job has reached the specified backoff limit".to_owned());
    AgentJobSeen { ended: Some(JobEnd { at: at("11:59:00"), failure }), message: message.map(Value::to_string), ..job }
}

/// A word that no agent would leave teaches nothing, in a test neither.
fn assert_form(verb: &str, message: &Value) {
    let message = message.to_string();
    let is_a_word = match verb {
        InspectResult::VERB => read::<InspectResult>(&message).is_some(),
        DatabaseFacts::VERB => read::<Answer<DatabaseFacts>>(&message).is_some(),
        BackupResult::VERB => read::<Answer<BackupResult>>(&message).is_some(),
        MigrateResult::VERB => read::<Answer<MigrateResult>>(&message).is_some(),
        _ => false,
    };
    assert!(is_a_word, "no agent says this of {verb}: {message}");
}

pub fn refused(reason: &str, message: &str) -> Value {
    json!({ "refused": { "reason": reason, "message": message } })
}

/// Says what a plan is: what is done, how the object stands, what is remembered.
pub fn told<S: serde::Serialize>(plan: &Plan<S>, remembered: &[&str]) -> String {
    let mut text = String::new();
    for action in &plan.actions {
        match action {
            Action::Create { name, .. } => writeln!(text, "    create  {name}").unwrap(),
            Action::Resume { name, uid } => writeln!(text, "    resume  {name} ({uid})").unwrap(),
            Action::LetGoOf { release_uid } => writeln!(text, "    let go  unless {release_uid} exists").unwrap(),
            Action::Delete { name, uid } => writeln!(text, "    delete  {name} ({uid})").unwrap(),
        }
    }
    let status = serde_json::to_value(&plan.status).unwrap();
    let conditions: Vec<Condition> = serde_json::from_value(status["conditions"].clone()).unwrap();
    for Condition { type_, status, reason, message, .. } in conditions {
        writeln!(text, "    {type_}={status} {reason}: {message}").unwrap();
    }
    for key in remembered {
        if !status[*key].is_null() && status[*key] != json!("") {
            writeln!(text, "    {key}: {}", status[*key]).unwrap();
        }
    }
    if let Some(recheck) = plan.recheck {
        writeln!(text, "    look again at {}", recheck.strftime("%H:%M:%S")).unwrap();
    }
    text
}
