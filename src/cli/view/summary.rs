//! How a Release is, from its conditions; pure.

use jiff::{SignedDuration, Timestamp};
use kube::{ResourceExt as _, api::DynamicObject};

use super::{ReleaseView, RevisionView, State, StepView, Summary};
use crate::{
    api::{Condition, ConditionType, ContractRecord, Gate, Reason, Record, Release, Step},
    release::words,
};

/// How long a controller may need to take a new Release in before its absence is the likelier cause.
const PATIENCE: SignedDuration = SignedDuration::from_secs(15);

impl Summary {
    /// Makes the summary of a Release.
    #[must_use]
    pub fn of(release: &Release, now: Timestamp) -> Self {
        let status = release.status.clone().unwrap_or_default();
        let record = &status.record;
        let created = release.creation_timestamp().map(|time| time.0);
        let (state, reason, message) = told(release, &status.conditions);
        let mut summary = Self {
            name: release.name_any(),
            namespace: release.namespace().unwrap_or_default(),
            uid: release.uid().unwrap_or_default(),
            created,
            version: release.spec.version.clone(),
            mode: release.spec.mode,
            active: record.active.as_ref().map(|active| active.version.clone()),
            candidate: record.candidate.as_ref().map(|candidate| candidate.version.clone()),
            state,
            reason,
            message,
            notes: notes(release),
            step: StepView {
                name: record.step.as_str().to_owned(),
                since: record.step_since.as_ref().map(|time| time.0),
                deadline: record.deadline(),
            },
            outcome: record.outcome,
            approved_by: approved_by(record),
            digest: record.plan.as_ref().map(|plan| plan.digest.clone()),
            next: vec![],
        };
        let is_new = created.is_none_or(|created| now.duration_since(created) < PATIENCE);
        summary.next = next(&summary, record, is_new);
        summary
    }

    /// Returns a command of the plugin about this Release.
    fn command(&self, verb: &str) -> String {
        format!("kubectl switchback {verb} {} -n {}", self.name, self.namespace)
    }
}

/// Returns what can be said of a Release that this version cannot read.
#[must_use]
pub fn unreadable(object: &DynamicObject, problem: &str) -> Summary {
    let text =
        |pointer| object.data.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    Summary {
        name: object.name_any(),
        namespace: object.namespace().unwrap_or_default(),
        uid: object.uid().unwrap_or_default(),
        created: object.creation_timestamp().map(|time| time.0),
        version: text("/spec/version"),
        mode: None,
        active: None,
        candidate: None,
        state: State::Unknown,
        reason: Reason::InvalidStoredObject.as_str().to_owned(),
        message: format!("This version of the plugin cannot read it: {problem}"),
        notes: vec![],
        step: StepView { name: text("/status/step"), since: None, deadline: None },
        outcome: None,
        approved_by: None,
        digest: None,
        next: vec!["kubectl switchback version".to_owned()],
    }
}

fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

fn holds(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// Returns whether the main message says that it is suspended.
fn is_suspended(conditions: &[Condition]) -> bool {
    find(conditions, ConditionType::Ready).is_some_and(|ready| ready.reason == Reason::Suspended.as_str())
}

/// Returns what the controller says of a Release.
fn told(release: &Release, conditions: &[Condition]) -> (State, String, String) {
    let Some(ready) = find(conditions, ConditionType::Ready) else {
        let message = "The controller has not looked at it yet.".to_owned();
        return (State::Unknown, "NotObserved".to_owned(), message);
    };
    let step = release.status.as_ref().map(|status| status.record.step).unwrap_or_default();
    let state = if holds(conditions, ConditionType::Stalled) {
        State::Bad
    } else if ready.status == "True" {
        State::Well
    } else if holds(conditions, ConditionType::Reconciling) {
        moving(Reason::parse(&ready.reason), step)
    } else if ready.status == "False" {
        State::Warning
    } else if is_suspended(conditions) {
        State::Waiting
    } else {
        State::Unknown
    };
    (state, ready.reason.clone(), ready.message.clone())
}

const fn moving(reason: Reason, step: Step) -> State {
    match (reason, step) {
        (Reason::WaitingForApproval | Reason::DataLossPending, _) => State::Waiting,
        (Reason::WatchOnHold | Reason::BothUnhealthy | Reason::ApprovalPolicyMissing | Reason::ApprovalStale, _)
        | (_, Step::SwitchBack | Step::RestoreData | Step::CleanUp) => State::Warning,
        _ => State::Moving,
    }
}

/// Returns what the main message does not say.
fn notes(release: &Release) -> Vec<String> {
    let Some(status) = &release.status else { return vec![] };
    let mut notes = Vec::new();
    let generation = release.metadata.generation.unwrap_or(0);
    if status.observed_generation >= 0 && status.observed_generation < generation {
        notes.push(format!(
            "The spec was changed (generation {generation}); what is shown is about generation {}.",
            status.observed_generation
        ));
    }
    if let Some(serving) = find(&status.conditions, ConditionType::Serving) {
        let said = find(&status.conditions, ConditionType::Ready).is_some_and(|ready| {
            ready.message.contains(&serving.message) || (ready.status == "True" && serving.status == "True")
        });
        if !said {
            notes.push(serving.message.clone());
        }
    }
    if let Some(contested) = find(&status.conditions, ConditionType::TrafficContested) {
        notes.push(format!("{}: {}", contested.type_, contested.message));
    }
    if let Some(contract) = find(&status.conditions, ConditionType::ContractPending) {
        notes.push(format!("{}: {}", contract.type_, contract.message));
    }
    if let Some(by) = status.record.suspended.as_ref().filter(|_| !is_suspended(&status.conditions)) {
        notes.push(format!("{}: no further step begins.", words::suspended(by)));
    }
    if release.spec.suspend && !is_suspended(&status.conditions) {
        notes.push("spec.suspend is true: no further step begins.".to_owned());
    }
    if let Some(ending) = &status.record.ending {
        let reason = &ending.reason;
        notes.push(format!("It turned back from {} ({reason}): {}", ending.from.as_str(), ending.message));
    }
    notes
}

/// An approval is of one plan: an earlier one says nothing about the plan that waits or runs now.
fn approved_by(record: &Record) -> Option<String> {
    let candidate = record.candidate.as_ref().map(|candidate| &candidate.approved_by);
    let people = candidate.or(record.active.as_ref().map(|active| &active.approved_by))?;
    (!people.is_empty()).then(|| people.join(", "))
}

/// Returns the commands that make sense now.
fn next(summary: &Summary, record: &Record, is_new: bool) -> Vec<String> {
    let watch = format!("{} -w", summary.command("get"));
    match record.step {
        _ if summary.reason == "NotObserved" && !is_new => {
            vec!["kubectl get deployments -A -l app.kubernetes.io/name=switchback".to_owned()]
        }
        _ if record.suspended.is_some() => vec![summary.command("resume")],
        Step::Approve if summary.reason == Reason::ApprovalPolicyMissing.as_str() => {
            vec![summary.command("plan"), "kubectl get validatingadmissionpolicies".to_owned()]
        }
        Step::Approve => ["plan", "approve", "reject"].map(|verb| summary.command(verb)).to_vec(),
        Step::Switch | Step::Watch if record.active.is_none() => vec![watch],
        Step::Watch => vec![watch, summary.command("rollback"), summary.command("promote")],
        Step::Preflight
        | Step::Backup
        | Step::Rehearse
        | Step::Migrate
        | Step::Deploy
        | Step::Verify
        | Step::Switch
        | Step::Contract => {
            vec![watch, summary.command("abort")]
        }
        Step::RestoreData if summary.reason == Reason::DataLossPending.as_str() => about(summary, Gate::DataLoss),
        Step::Inspect | Step::Retire | Step::SwitchBack | Step::RestoreData | Step::CleanUp => vec![watch],
        Step::Idle if summary.state == State::Bad => {
            vec![format!("kubectl switchback plan -f FILE -n {}", summary.namespace), summary.command("retry")]
        }
        Step::Idle if record.contract.as_ref().is_some_and(ContractRecord::is_open) => about(summary, Gate::Contract),
        Step::Idle => vec![],
    }
}

/// Returns the commands about a plan that waits for a word of its own.
fn about(summary: &Summary, gate: Gate) -> Vec<String> {
    let command = |verb| format!("{}{}", summary.command(verb), words::gate_option(gate));
    ["plan", "approve", "reject"].map(command).to_vec()
}

/// Returns the command that shows why the first sick pod is sick.
pub(super) fn look_at(view: &ReleaseView) -> Option<String> {
    let objects = view.revisions.iter().flat_map(RevisionView::objects);
    let mut pods = objects.chain(view.database_jobs()).flat_map(|object| &object.pods);
    let pod = pods.find(|pod| pod.state == State::Bad)?;
    let crashed = pod.problem.as_ref().is_some_and(|problem| problem.contains("exit code"));
    Some(if crashed {
        view.summary.command("logs")
    } else {
        format!("kubectl describe pod {} -n {}", pod.name, view.summary.namespace)
    })
}
