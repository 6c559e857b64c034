//! Whose logs are shown; pure.
//!
//! In: a Release and the pods that carry its UID, or that of its backups. Out: containers that have said something, and
//! which pods have not.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use crate::{
    api::{
        DataLoss, Record, Release, RevisionId, Step,
        labels::{REVISION, ROLE, Role, VERB},
    },
    cli::problem::{Exit, Problem},
    protocol::{
        BackupResult, DatabaseFacts, Done as _, InspectResult, MigrateResult, PendingResult, RehearseResult,
        RestoreDataResult, Word as _,
    },
    release::{manifests::child_name, words},
};

/// Steps in which something runs that has a log.
pub(super) const STEPS: [Step; 12] = [
    Step::Inspect,
    Step::Preflight,
    Step::Backup,
    Step::Rehearse,
    Step::Migrate,
    Step::Deploy,
    Step::Verify,
    Step::Switch,
    Step::Watch,
    Step::Retire,
    Step::SwitchBack,
    Step::RestoreData,
];

/// What the name of a Job with preflight checks ends with.
const PREFLIGHT: &str = "-checks";

/// Whose logs are asked for.
#[derive(Debug)]
pub(super) enum Wanted<'a> {
    /// Of what runs or has failed; of what serves when nothing does.
    UnderWay,
    /// Of what a step runs.
    Step(Step),
    /// Of one Job.
    Job(&'a str),
    /// Of the active version.
    Active,
    /// Of the candidate.
    Candidate,
}

/// One container that has a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub pod: String,
    pub container: String,
    /// Whether it is that of its run before: it waits to be started again.
    pub previous: bool,
}

/// What is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub sources: Vec<Source>,
    /// Pods of which no container was ever started, and why.
    pub silent: Vec<String>,
    /// What that is, in words.
    pub says: String,
}

/// Chooses the containers whose logs are shown.
pub(super) fn choose(release: &Release, pods: &[Pod], wanted: &Wanted<'_>) -> Result<Chosen, Problem> {
    let record = release.status.as_ref().map(|status| status.record.clone()).unwrap_or_default();
    let name = release.name_any();
    let of = |revision: Option<&RevisionId>| of_revision(pods, revision);
    let active = record.active.as_ref();
    let candidate = record.candidate.as_ref().filter(|candidate| !candidate.contract);
    let serves = words::serves(active.map(|active| active.version.as_str()));
    let (found, says) = match wanted {
        Wanted::Active => (of(active.map(|active| &active.revision)), format!("{serves}.")),
        Wanted::Candidate => {
            let version = candidate.map_or("no version", |candidate| &candidate.version);
            (of(candidate.map(|candidate| &candidate.revision)), format!("On its way: {version}."))
        }
        Wanted::Job(job) => (pods.iter().filter(|pod| job_of(pod) == Some(job)).collect(), format!("Job {job}.")),
        Wanted::Step(step) => {
            let runs = pods.iter().filter(|pod| runs_in(*step, (&name, &record), pod)).collect();
            (runs, format!("What runs in {}.", step.as_str()))
        }
        Wanted::UnderWay => {
            let under_way: Vec<&Pod> = pods.iter().filter(|pod| is_under_way(&record, pod)).collect();
            if under_way.is_empty() {
                let says = format!("Nothing is under way, and of nothing that failed is a pod left. {serves}.");
                (of(active.map(|active| &active.revision)), says)
            } else {
                (under_way, format!("What is under way or has failed; the step is {}.", record.step.as_str()))
            }
        }
    };
    if found.is_empty() {
        let namespace = release.namespace().unwrap_or_default();
        let what = format!("cannot show logs of Release {namespace}/{name}");
        let why = format!("there is no pod of what was asked for ({})", says.trim_end_matches('.'));
        return Err(Problem::new(Exit::NotFoundOrForbidden, what, why)
            .next(format!("kubectl switchback get {name} -n {namespace}, which shows what there is")));
    }
    Ok(told(found, says))
}

/// Takes the containers of pods that have a log; the pods in the order of their names.
fn told(mut pods: Vec<&Pod>, says: String) -> Chosen {
    pods.sort_by_key(|pod| pod.name_any());
    let (mut sources, mut silent) = (Vec::new(), Vec::new());
    for pod in pods {
        let before = sources.len();
        sources.extend(statuses(pod).filter_map(|status| source(pod, status)));
        if sources.len() == before {
            let waiting = statuses(pod).filter_map(|status| status.state.as_ref()?.waiting.as_ref());
            let why = waiting.filter_map(|waiting| waiting.reason.clone()).next();
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            silent.push(format!("Pod {} has no log yet: no container of it was started{why}.", pod.name_any()));
        }
    }
    Chosen { sources, silent, says }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses).flatten())
}

fn source(pod: &Pod, status: &ContainerStatus) -> Option<Source> {
    let started =
        |state: &k8s_openapi::api::core::v1::ContainerState| state.running.is_some() || state.terminated.is_some();
    let now = status.state.as_ref().is_some_and(started);
    let before = status.last_state.as_ref().is_some_and(started);
    (now || before).then(|| Source { pod: pod.name_any(), container: status.name.clone(), previous: !now })
}

fn of_revision<'a>(pods: &'a [Pod], revision: Option<&RevisionId>) -> Vec<&'a Pod> {
    let digits = revision.map(RevisionId::digits);
    pods.iter().filter(|pod| role(pod) == Some(Role::Workload) && label(pod, REVISION) == digits).collect()
}

fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.labels().get(key).map(String::as_str)
}

fn role(pod: &Pod) -> Option<Role> {
    label(pod, ROLE).and_then(Role::parse)
}

fn job_of(pod: &Pod) -> Option<&str> {
    pod.owner_references().iter().find(|owner| owner.kind == "Job").map(|owner| owner.name.as_str())
}

/// Returns whether a pod does something for an attempt now, or shows how it failed.
fn is_under_way(record: &Record, pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let of_job = job_of(pod).is_some() && matches!(phase, "Pending" | "Running");
    let candidate = record.candidate.as_ref().filter(|candidate| !candidate.contract);
    let is_candidate = role(pod) == Some(Role::Workload)
        && candidate.is_some_and(|it| label(pod, REVISION) == Some(it.revision.digits()));
    of_job || is_candidate || phase == "Failed" || statuses(pod).any(is_failing)
}

/// Returns whether a container ended badly, or waits to be started again after it ended.
fn is_failing(status: &ContainerStatus) -> bool {
    let Some(state) = &status.state else { return false };
    let ended = state.terminated.as_ref().is_some_and(|terminated| terminated.exit_code != 0);
    let waits = state.waiting.as_ref().is_some_and(|waiting| {
        !matches!(waiting.reason.as_deref(), None | Some("ContainerCreating" | "PodInitializing"))
    });
    ended || waits
}

/// Returns whether a pod is of what a step runs. Deployments of the candidate come up in `Deploy` and serve in `Watch`.
fn runs_in(step: Step, (release, record): (&str, &Record), pod: &Pod) -> bool {
    let verb = label(pod, VERB).unwrap_or_default();
    let revision = record.candidate.as_ref().filter(|it| !it.contract).map(|candidate| &candidate.revision);
    let revision = revision.or(record.active.as_ref().map(|active| &active.revision));
    let comes_up = role(pod) == Some(Role::Workload) && label(pod, REVISION) == revision.map(RevisionId::digits);
    let checks = role(pod) == Some(Role::Check);
    let job = job_of(pod).unwrap_or_default();
    let watches = checks && job == child_name(&[release, &record.attempts.to_string(), "watch"]);
    let looks = [InspectResult::VERB, PendingResult::VERB, DatabaseFacts::VERB];
    match step {
        Step::Inspect | Step::Preflight => looks.contains(&verb) || (checks && job.ends_with(PREFLIGHT)),
        Step::Backup => verb == BackupResult::VERB,
        Step::Rehearse => verb == RehearseResult::VERB,
        Step::Migrate => verb == MigrateResult::VERB,
        Step::Deploy => comes_up,
        Step::Verify => checks && !watches && !job.ends_with(PREFLIGHT),
        Step::Watch => comes_up || watches,
        Step::Switch | Step::Retire | Step::SwitchBack => role(pod) == Some(Role::Hook),
        // `down` is run by what migrates.
        Step::RestoreData => [DataLoss::VERB, RestoreDataResult::VERB, MigrateResult::VERB].contains(&verb),
        Step::Idle | Step::Approve | Step::Contract | Step::CleanUp => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod: its name, role, digits of its revision, its Job and verb, and its phase.
    fn pod((name, role, digits): (&str, &str, &str), (job, verb): (&str, &str), status: Value) -> Pod {
        let owners = if job.is_empty() {
            json!([])
        } else {
            json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": job }])
        };
        let mut labels = json!({ ROLE: role, REVISION: digits, VERB: verb });
        labels.as_object_mut().unwrap().retain(|_, value| value != "");
        serde_json::from_value(json!({
            "metadata": { "name": name, "labels": labels, "ownerReferences": owners }, "status": status,
        }))
        .unwrap()
    }

    fn running(containers: &[&str]) -> Value {
        let state = |name: &&str| json!({ "name": name, "state": { "running": {} }, "image": "", "imageID": "", "ready": true, "restartCount": 0 });
        json!({ "phase": "Running", "containerStatuses": containers.iter().map(state).collect::<Vec<_>>() })
    }

    fn container(name: &str, state: Value, last: Value) -> Value {
        json!({ "name": name, "state": state, "lastState": last, "image": "", "imageID": "", "ready": false, "restartCount": 1 })
    }

    fn pods() -> Vec<Pod> {
        let ended = json!({ "terminated": { "exitCode": 1 } });
        let done = json!({ "terminated": { "exitCode": 0 } });
        let crash = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        let starts = json!({ "waiting": { "reason": "ContainerCreating" } });
        let one = |phase: &str, container: Value| json!({ "phase": phase, "containerStatuses": [container] });
        let backup = json!({
            "phase": "Running",
            "initContainerStatuses": [container("copy", done.clone(), json!({}))],
            "containerStatuses": [container("agent", json!({ "running": {} }), json!({}))],
        });
        vec![
            pod(("web-a-2", "workload", "aaaaaaaaaa"), ("", ""), running(&["web", "proxy"])),
            pod(("web-a-1", "workload", "aaaaaaaaaa"), ("", ""), running(&["web"])),
            pod(
                ("web-b-1", "workload", "bbbbbbbbbb"),
                ("", ""),
                one("Running", container("web", crash, ended.clone())),
            ),
            pod(("web-b-2", "workload", "bbbbbbbbbb"), ("", ""), one("Pending", container("web", starts, json!({})))),
            pod(
                ("look", "database", ""),
                ("shop-2-look", "inspect"),
                one("Succeeded", container("agent", done.clone(), json!({}))),
            ),
            pod(
                ("asked", "check", ""),
                ("shop-2-look-checks", ""),
                one("Succeeded", container("agent", done.clone(), json!({}))),
            ),
            pod(
                ("smoke", "check", ""),
                ("shop-2-verify-smoke", ""),
                one("Failed", container("smoke", ended, json!({}))),
            ),
            pod(("watch", "check", ""), ("shop-2-watch", ""), running(&["agent"])),
            pod(("flag", "hook", ""), ("shop-2-hook-flag", ""), one("Succeeded", container("flag", done, json!({})))),
            pod(("backup", "", ""), ("shop-backup", "backup"), backup),
        ]
    }

    fn release(step: &str, candidate: bool) -> Release {
        let revision = |digits: &str, version: &str| json!({ "revision": format!("v1-{digits}"), "version": version, "attempt": 2, "generation": 2, "since": "2026-11-21T12:00:00.000000Z" });
        let mut status =
            json!({ "observedGeneration": 2, "attempts": 2, "step": step, "active": revision("aaaaaaaaaa", "2.3.0") });
        if candidate {
            status["candidate"] = revision("bbbbbbbbbb", "2.4.0");
        }
        serde_json::from_value(json!({
            "apiVersion": "switchback.dev/v1alpha1", "kind": "Release",
            "metadata": { "name": "shop", "namespace": "prod" },
            "spec": { "version": "2.4.0", "workloads": [{ "name": "web", "template": { "spec": { "containers": [{ "name": "web", "image": "shop:1" }] } } }] },
            "status": status,
        }))
        .unwrap()
    }

    fn shown(release: &Release, pods: &[Pod], wanted: &Wanted<'_>) -> String {
        match choose(release, pods, wanted) {
            Ok(chosen) => {
                let previous = |source: &Source| if source.previous { " before" } else { "" };
                let line = |source: &Source| format!("{}/{}{}", source.pod, source.container, previous(source));
                let silent =
                    if chosen.silent.is_empty() { String::new() } else { format!(" | {}", chosen.silent.join(" ")) };
                format!("{}{silent}", chosen.sources.iter().map(line).collect::<Vec<_>>().join(" "))
            }
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn what_is_under_way_or_failed_is_shown_and_else_what_serves() {
        let silent = "Pod web-b-2 has no log yet: no container of it was started (ContainerCreating).";
        let under_way = shown(&release("Watch", true), &pods(), &Wanted::UnderWay);
        assert_eq!(
            under_way,
            format!("backup/copy backup/agent smoke/smoke watch/agent web-b-1/web before | {silent}")
        );
        // At rest what is broken stands out all the same.
        let at_rest = shown(&release("Idle", false), &pods(), &Wanted::UnderWay);
        assert_eq!(at_rest, "backup/copy backup/agent smoke/smoke watch/agent web-b-1/web before");
        let serves = "web-a-1/web web-a-2/web web-a-2/proxy";
        assert_eq!(shown(&release("Idle", false), &pods()[..2], &Wanted::UnderWay), serves);
        assert_eq!(shown(&release("Watch", true), &pods(), &Wanted::Active), serves);
        assert_eq!(
            shown(&release("Watch", true), &pods(), &Wanted::Candidate),
            format!("web-b-1/web before | {silent}")
        );
        assert_eq!(shown(&release("Watch", true), &pods(), &Wanted::Job("shop-2-watch")), "watch/agent");
    }

    #[test]
    fn each_step_shows_what_it_runs() {
        let release = release("Watch", true);
        let silent = "Pod web-b-2 has no log yet: no container of it was started (ContainerCreating).";
        let table = [
            (Step::Inspect, "asked/agent look/agent".to_owned()),
            (Step::Backup, "backup/copy backup/agent".to_owned()),
            (Step::Deploy, format!("web-b-1/web before | {silent}")),
            (Step::Verify, "smoke/smoke".to_owned()),
            (Step::Switch, "flag/flag".to_owned()),
            (Step::Watch, format!("watch/agent web-b-1/web before | {silent}")),
        ];
        for (step, expected) in table {
            assert_eq!(shown(&release, &pods(), &Wanted::Step(step)), expected, "{step:?}");
        }
        let none = shown(&release, &pods(), &Wanted::Step(Step::Migrate));
        let words = "error: cannot show logs of Release prod/shop: there is no pod of what was asked for (What runs in Migrate)\n\
                     next: kubectl switchback get shop -n prod, which shows what there is";
        assert_eq!(none, words);
    }
}
