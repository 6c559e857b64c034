//! A release on a real node: the controller as a process of its own with its own account, an application that
//! answers, and a load generator that counts every request.

use std::{
    cell::RefCell,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::{admissionregistration::v1::ValidatingAdmissionPolicy, core::v1::Service};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::{Value, json};
use switchback::{
    api::{Decision, Release, Step, labels},
    clock,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    account,
    support::{self, Namespace},
};

/// How long a whole release may take; the demo application needs seconds.
const RELEASE: Duration = Duration::from_secs(150);
/// How long after the last write of the policies approvals count for certain: ten seconds, counted in whole ones.
const GUARD_DELAY: Duration = Duration::from_secs(12);
/// Bounds on the load of one test, whatever becomes of the test: no test may come near them, and none does unnoticed.
const LOAD_LIMIT: [&str; 4] = ["--for", "15m", "--max", "400000"];

/// One application in a namespace of its own, with its own controller.
pub struct Scene<'a> {
    pub namespace: &'a Namespace,
    /// Name of the Release, and of the Service that users use.
    pub name: String,
    /// Pods of each version.
    pub replicas: i32,
    kubeconfig: PathBuf,
    controller: RefCell<Option<Child>>,
    log: PathBuf,
}

impl<'a> Scene<'a> {
    /// Gives the controller's account its rights here, by the chart's own Roles, and starts a controller.
    pub async fn new(namespace: &'a Namespace) -> Scene<'a> {
        let scene = Self::without_controller(namespace).await;
        scene.start();
        scene
    }

    /// The same without a controller.
    pub async fn without_controller(namespace: &'a Namespace) -> Scene<'a> {
        account::give_rights(&namespace.name).await;
        until_guarded(namespace).await;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&namespace.name);
        std::fs::create_dir_all(&folder).unwrap();
        let kubeconfig = folder.join("kubeconfig");
        account::write_kubeconfig(&kubeconfig).await;
        let log = folder.join("controller.log");
        let (name, controller) = ("shop".to_owned(), RefCell::new(None));
        Self { namespace, name, replicas: 2, kubeconfig, controller, log }
    }

    /// Another application beside this one, with one pod, under the same controller.
    pub fn another(&self, name: &str) -> Scene<'a> {
        Scene {
            namespace: self.namespace,
            name: name.to_owned(),
            replicas: 1,
            kubeconfig: self.kubeconfig.clone(),
            controller: RefCell::new(None),
            log: self.log.clone(),
        }
    }

    /// Starts the controller.
    pub fn start(&self) {
        *self.controller.borrow_mut() = Some(self.start_as("controller", &self.kubeconfig, &[]));
    }

    /// Starts a controller of this name.
    pub fn start_as(&self, name: &str, kubeconfig: &Path, more: &[&str]) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        Command::new(env!("CARGO_BIN_EXE_switchback"))
            .args(["run", "--namespaces", &self.namespace.name, "--listen", "127.0.0.1:0", "--log-level", "debug"])
            .args(["--agent-image", "localhost/switchback-agent:dev", "--log-format", "text"])
            .args(more)
            .env("KUBECONFIG", kubeconfig)
            .env("HOSTNAME", name)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Returns where the controllers of this scene have their files.
    pub fn folder(&self) -> &Path {
        self.kubeconfig.parent().unwrap()
    }

    /// Kills the controller as the kernel would: nothing is finished.
    pub fn kill(&self) {
        if let Some(mut child) = self.controller.borrow_mut().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Returns what the kernel says of the controller's memory under this name, in KiB.
    pub fn memory(&self, name: &str) -> u64 {
        let pid = self.controller.borrow().as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn releases(&self) -> Api<Release> {
        self.namespace.api(&self.namespace.cluster.admin)
    }

    /// Asks for a version: the application's environment, and what else of the spec is special. Returns the Release as
    /// it stood at that moment.
    pub async fn ask_for(&self, version: &str, env: &[(&str, &str)], more: Value) -> Release {
        let body = self.asking_for(version, env, more);
        let params = PatchParams::apply("tests").force();
        self.releases().patch(&self.name, &params, &Patch::Apply(&body)).await.unwrap()
    }

    /// Returns the Release that asks for a version.
    fn asking_for(&self, version: &str, env: &[(&str, &str)], more: Value) -> Value {
        let mut body = release((&self.name, self.replicas), version, env);
        merge(&mut body["spec"], more);
        body
    }

    /// Returns what the plugin foretells of a version that nobody has asked for yet, as one line of words.
    pub async fn foretold(&self, version: &str, more: Value) -> String {
        let file = self.folder().join("foretold.json");
        std::fs::write(&file, self.asking_for(version, &[], more).to_string()).unwrap();
        let (code, told) = self.plugin(&["plan", "-f", &file.display().to_string()]).await;
        assert_eq!(code, Some(0), "{told}");
        told
    }

    /// Runs the plugin; returns its exit code and what it said, as one line of words.
    pub async fn plugin(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut plugin = tokio::process::Command::new(env!("CARGO_BIN_EXE_kubectl-switchback"));
        let output = plugin.args(args).args(["-n", &self.namespace.name]).output().await.unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.code(), said.join("\n").split_whitespace().collect::<Vec<_>>().join(" "))
    }

    pub async fn read(&self) -> Release {
        self.releases().get(&self.name).await.unwrap()
    }

    /// Waits until something holds; fails with everything that could tell why it does not.
    pub async fn until(&self, what: &str, holds: impl Fn(&Release) -> bool) -> Release {
        let waited = tokio::time::timeout(RELEASE, async {
            loop {
                let release = self.releases().get(&self.name).await;
                match release {
                    Ok(release) if holds(&release) => return release,
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        match waited.await {
            Ok(release) => release,
            Err(_) => panic!("not within {RELEASE:?}: {what}\n{}", self.report().await),
        }
    }

    /// Waits for a step of the attempt for the present generation.
    pub async fn until_step(&self, step: Step) -> Release {
        self.until(step.as_str(), |release| record(release).step == step && observed(release)).await
    }

    /// Waits until the attempt for the present generation has ended.
    pub async fn until_over(&self) -> Release {
        self.until("the attempt is over", |release| {
            observed(release) && record(release).step == Step::Idle && condition(release, "Finished").0 == "True"
        })
        .await
    }

    /// Approves the plan that waits, as somebody who may.
    pub async fn approve(&self) -> Decision {
        let release = self.until_step(Step::Approve).await;
        let digest = record(&release).plan.as_ref().unwrap().digest.clone();
        self.decide(&release, json!({ "approve": { "digest": digest } })).await.unwrap()
    }

    /// Decides as somebody who may.
    pub async fn decide(&self, release: &Release, decision: Value) -> Result<Decision, kube::Error> {
        let actor = "anna";
        self.namespace
            .allow(
                actor,
                &[
                    "approve,reject,abort,retry,rollback,suspend,resume,promote,expedite switchback.dev/releases",
                    "create switchback.dev/decisions",
                ],
            )
            .await;
        self.decide_as(actor, release, decision).await
    }

    /// Decides as somebody.
    pub async fn decide_as(&self, actor: &str, release: &Release, decision: Value) -> Result<Decision, kube::Error> {
        let mut spec = json!({
            "target": { "kind": "Release", "name": self.name, "uid": release.uid() },
            "actor": actor,
        });
        merge(&mut spec, decision);
        let body = json!({ "metadata": { "generateName": format!("{}-", self.name) }, "spec": spec });
        let made = self.namespace.make::<Decision>(&self.namespace.cluster.user(actor), &body).await?;
        Ok(made.try_parse().unwrap())
    }

    /// Waits for what becomes of a Decision.
    pub async fn became(&self, decision: &Decision) -> (String, String) {
        let api: Api<Decision> = self.namespace.api(&self.namespace.cluster.admin);
        let name = decision.name_any();
        support::soon("the Decision is settled", async || {
            let status = api.get(&name).await.unwrap().status?;
            Some((status.state, status.reason))
        })
        .await
    }

    /// Brings version 1.0.0 to production.
    pub async fn serve_first(&self, more: Value) -> Release {
        self.ask_for("1.0.0", &[], more).await;
        self.approve().await;
        let release = self.until_over().await;
        assert_eq!(active(&release), Some("1.0.0"), "{}", self.report().await);
        release
    }

    /// Starts the load on the Service that users use.
    pub async fn load(&self) -> Load {
        self.load_of(200).await
    }

    /// The same with that many requests per second.
    pub async fn load_of(&self, rate: u32) -> Load {
        let service = self.namespace.api::<Service>(&self.namespace.cluster.admin).get(&self.name).await.unwrap();
        let address = service.spec.unwrap().cluster_ip.unwrap();
        Load::start(&format!("http://{address}/"), rate)
    }

    /// Returns what the controllers have written and what the one that runs shows on its page, with where that is.
    pub async fn said(&self) -> Vec<(String, String)> {
        let mut said = vec![("the log".to_owned(), std::fs::read_to_string(&self.log).unwrap_or_default())];
        let pid = self.controller.borrow().as_ref().map(Child::id);
        if let Some(pid) = pid {
            said.push(("/metrics".to_owned(), metrics(pid).await));
        }
        said
    }

    /// Tells everything there is to tell.
    pub async fn report(&self) -> String {
        let release = self.releases().get(&self.name).await.ok();
        let status = release.and_then(|release| serde_json::to_string_pretty(&release.status).ok());
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        format!("status: {}\ncontroller:\n{}", status.unwrap_or_default(), tail.join("\n"))
    }
}

/// Returns the figures of a controller, which listens where there was room.
async fn metrics(pid: u32) -> String {
    let listening = Command::new("ss").args(["-Hltnp"]).output().unwrap();
    let listening = String::from_utf8(listening.stdout).unwrap();
    let line = listening.lines().find(|line| line.contains(&format!("pid={pid},"))).expect("it listens");
    let address = line.split_whitespace().nth(3).unwrap();
    let answer = page(address, "/metrics").await.unwrap();
    assert!(answer.contains("switchback_"), "no figures: {answer}");
    answer
}

/// Gets a page over HTTP, with everything that was answered.
pub async fn page(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Waits until nodes know of endpoints that have become ready a moment ago where nothing answered before: they learn once
/// a second.
pub async fn nodes_learn() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// Waits until the admission policies guard: for a while after they were written no approval counts.
async fn until_guarded(namespace: &Namespace) {
    let api: Api<ValidatingAdmissionPolicy> = Api::all(namespace.cluster.admin.clone());
    let policies = api.list(&ListParams::default()).await.unwrap();
    let writes = policies.iter().flat_map(|policy| policy.managed_fields().iter());
    let last = writes.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max().expect("policies are there");
    let left = GUARD_DELAY.saturating_sub(clock::now().duration_since(last).unsigned_abs());
    tokio::time::sleep(left).await;
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.controller.borrow_mut().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The demo application as a Release with short waits.
fn release((name, replicas): (&str, i32), version: &str, env: &[(&str, &str)]) -> Value {
    let mut env: Vec<Value> = env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    env.push(json!({ "name": "VERSION", "value": version }));
    env.push(json!({ "name": "DRAIN_SECONDS", "value": "3" }));
    json!({
        "apiVersion": "switchback.dev/v1alpha1",
        "kind": "Release",
        "metadata": { "name": name },
        "spec": {
            "version": version,
            "workloads": [{
                "name": "web",
                "replicas": replicas,
                "services": [{ "name": name, "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
                "template": { "spec": {
                    "terminationGracePeriodSeconds": 40,
                    "containers": [{
                        "name": "web",
                        "image": "localhost/demo-app:dev",
                        "env": env,
                        "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 1 },
                    }],
                }},
            }],
            "switch": { "settle": "1s" },
            "watch": { "for": "8s", "tolerate": "0s" },
        },
    })
}

/// Puts every key of `more` into an object, over what was there.
pub fn merge(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}

pub fn record(release: &Release) -> switchback::api::Record {
    release.status.clone().unwrap_or_default().record
}

pub fn active(release: &Release) -> Option<&str> {
    release.status.as_ref()?.record.active.as_ref().map(|active| active.version.as_str())
}

pub fn observed(release: &Release) -> bool {
    release.status.as_ref().map(|status| status.observed_generation) == release.metadata.generation
}

/// Returns status and reason of a condition.
pub fn condition(release: &Release, type_: &str) -> (String, String) {
    let conditions = release.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .map(|condition| (condition.status.clone(), condition.reason.clone()))
        .unwrap_or_default()
}

pub fn message(release: &Release, type_: &str) -> String {
    let conditions = release.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().find(|condition| condition.type_ == type_).map(|found| found.message.clone()).unwrap_or_default()
}

/// A running load generator.
pub struct Load {
    child: Child,
}

/// What a load generator counted.
#[derive(Debug, Deserialize)]
pub struct Counted {
    pub sent: u64,
    pub lost: u64,
    unfinished: u64,
    ended_by: String,
    pub by_version: std::collections::BTreeMap<String, Value>,
}

impl Load {
    fn start(url: &str, rate: u32) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_switchback")).with_file_name("load");
        let child = Command::new(&program)
            .args(["--url", url, "--rate", &rate.to_string(), "--until-stdin-closes"])
            .args(LOAD_LIMIT)
            .args(["--long", "/slow?ms=8000", "--long-in-flight", "4"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; build it: cargo build -p lab-tools", program.display()));
        Self { child }
    }

    /// Ends the load and writes its figures to `target/proof/`; fails when a request was lost.
    pub async fn end(self, name: &str) -> Counted {
        let (counted, report) = self.stop(name).await;
        assert_eq!(counted.lost, 0, "requests were lost: {report}");
        assert!(counted.sent > 500, "too few requests to tell anything: {report}");
        counted
    }

    /// Ends the load and writes its figures to `target/proof/`; returns them, and as they were written.
    pub async fn stop(mut self, name: &str) -> (Counted, String) {
        drop(self.child.stdin.take());
        let output = tokio::task::spawn_blocking(move || self.child.wait_with_output()).await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let report = text.lines().last().unwrap_or_default().to_owned();
        proof(name, &report);
        let counted: Counted = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {text}"));
        // A load that ended before would have seen nothing of what came after it.
        assert_eq!((counted.ended_by.as_str(), counted.unfinished), ("stdin", 0), "the load ended early: {report}");
        (counted, report)
    }
}

/// Keeps a figure in `target/proof/`.
pub fn proof(name: &str, json: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/proof");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::File::create(folder.join(format!("{name}.json"))).unwrap().write_all(json.as_bytes()).unwrap();
}

/// Returns the names of all objects of a kind.
pub async fn names_of(scene: &Scene<'_>, api_version: &str, kind: &str) -> Vec<String> {
    list(scene, (api_version, kind), &ListParams::default()).await
}

/// Returns the names of the objects of a kind that carry the label of a Release.
pub async fn names_of_release(scene: &Scene<'_>, (api_version, kind): (&str, &str), uid: &str) -> Vec<String> {
    let selector = format!("{}={uid}", labels::RELEASE_UID);
    list(scene, (api_version, kind), &ListParams::default().labels(&selector)).await
}

async fn list(scene: &Scene<'_>, (api_version, kind): (&str, &str), which: &ListParams) -> Vec<String> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> =
        Api::namespaced_with(scene.namespace.cluster.admin.clone(), &scene.namespace.name, &resource);
    api.list(which).await.unwrap().iter().filter(|found| !goes_by_itself(found)).map(ResourceExt::name_any).collect()
}

/// Jobs that have ended and that Kubernetes removes an hour later are as good as gone, and so are their pods.
fn goes_by_itself(found: &DynamicObject) -> bool {
    let conditions = found.data.pointer("/status/conditions").and_then(Value::as_array);
    let ended =
        |told: &Value| told["status"] == "True" && ["Complete", "Failed"].iter().any(|end| told["type"] == *end);
    let is_job = found.data.pointer("/spec/ttlSecondsAfterFinished").is_some();
    let of_job = found.owner_references().iter().any(|owner| owner.kind == "Job");
    let phase = found.data.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    (is_job && conditions.is_some_and(|conditions| conditions.iter().any(ended)))
        || (of_job && ["Succeeded", "Failed"].contains(&phase))
}
