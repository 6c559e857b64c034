//! Rule 15 without a cluster: the real reconcile against an API server in memory whose watches show nothing, so that each
//! look is older than every write of ours.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response};
use jiff::Timestamp;
use kube::{Client, Resource, client::Body, core::DeserializeGuard, runtime::watcher::Event};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use switchback::{
    api::{DatabaseBackup, Decision, Release, ReleasePolicy, Step},
    clock::Stopwatch,
    kube_io::{
        backoff::Backoff, index::Index, leadership::Leadership, lists, news::Announcer, turns::Turns, written::Written,
    },
    release::{
        Arrivals, Context,
        contests::Contests,
        observe::Cache,
        observed::{Guard, Settings},
        reconcile,
        sources::Sources,
        watched::{self, Entry},
    },
};
use tokio::sync::watch;

use crate::world;

/// A request, and what was answered.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    verb: &'static str,
    /// The object, or the collection.
    path: String,
    code: u16,
}

/// An API server, as far as a Release meets it before its pods come up.
#[derive(Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    version: u64,
    asked: Vec<Asked>,
}

impl Server {
    /// Answers a request.
    fn answer(&mut self, (method, path, query): (&Method, &str, &str), body: &Value) -> (u16, Value) {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        // The collection ends with the resource, two places after `namespaces`.
        let place = parts.iter().position(|part| *part == "namespaces").unwrap() + 3;
        let collection = parts[..place].join("/");
        let name = parts.get(place).map_or_else(|| text(&body["metadata"]["name"]), |name| (*name).to_owned());
        let object = format!("{collection}/{name}");
        let (verb, (code, answer)) = match *method {
            Method::GET if name.is_empty() => ("list", (200, self.list(&collection))),
            Method::GET => ("get", self.objects.get(&object).map_or((404, refused(404)), |found| (200, found.clone()))),
            Method::POST if self.objects.contains_key(&object) => ("create", (409, refused(409))),
            Method::POST if query.contains("dryRun=All") => ("try", (201, body.clone())),
            Method::POST => ("create", (201, self.create(&object, body.clone()))),
            Method::PATCH => ("patch", self.patch(&object, body)),
            Method::DELETE => ("delete", self.delete(&object, body)),
            _ => panic!("{method} {path}"),
        };
        self.asked.push(Asked { verb, path: object, code });
        (code, answer)
    }

    fn list(&self, collection: &str) -> Value {
        let inside = format!("{collection}/");
        let items: Vec<&Value> =
            self.objects.iter().filter(|(path, _)| path.starts_with(&inside)).map(|(_, object)| object).collect();
        json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items })
    }

    fn create(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.insert("uid".into(), format!("uid-{}", self.version).into());
        metadata.insert("namespace".into(), "prod".into());
        metadata.insert("generation".into(), 1.into());
        metadata.insert("creationTimestamp".into(), "2026-11-21T12:00:00Z".into());
        metadata.insert("resourceVersion".into(), self.version.to_string().into());
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn patch(&mut self, path: &str, patch: &Value) -> (u16, Value) {
        let Some(object) = self.objects.get_mut(path) else { return (404, refused(404)) };
        let asked = &patch["metadata"]["resourceVersion"];
        if !asked.is_null() && *asked != object["metadata"]["resourceVersion"] {
            return (409, refused(409));
        }
        merge(object, patch);
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        (200, object.clone())
    }

    fn delete(&mut self, path: &str, options: &Value) -> (u16, Value) {
        let asked = &options["preconditions"]["uid"];
        match self.objects.get(path).map(|object| asked.is_null() || *asked == object["metadata"]["uid"]) {
            None => (404, refused(404)),
            Some(false) => (409, refused(409)),
            Some(true) => {
                self.objects.remove(path);
                (200, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
            }
        }
    }

    /// What was done so often, of one verb, without events.
    fn count(&self, verb: &str) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for asked in self.asked.iter().filter(|asked| asked.verb == verb && !asked.path.contains("/events/")) {
            *counts.entry(asked.path.as_str()).or_default() += 1;
        }
        counts
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn refused(code: u16) -> Value {
    let reason = if code == 404 { "NotFound" } else { "AlreadyExists" };
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": "no", "code": code })
}

/// RFC 7396.
fn merge(object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

fn client(server: &Arc<Mutex<Server>>) -> Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let asked = (&head.method, head.uri.path(), head.uri.query().unwrap_or_default());
            let (code, answer) = server.lock().unwrap().answer(asked, &body);
            let answer = Body::from(answer.to_string().into_bytes());
            Ok::<_, tower::BoxError>(Response::builder().status(code).body(answer).unwrap())
        }
    });
    Client::new(service, "prod")
}

/// Lets a watch show that there is nothing, and then nothing more.
fn silent<K, S>(index: &Index<S>, read: fn(&K) -> Entry<S>)
where
    K: Resource + DeserializeOwned,
    S: Clone,
{
    index.take(&None, &Event::Init, read);
    index.take(&None, &Event::InitDone, read);
}

fn cache() -> Cache {
    let cache = Cache::new(Sources::new(vec![]));
    silent::<watched::ControllerRevision, _>(&cache.attempts, watched::attempt);
    silent::<watched::Deployment, _>(&cache.deployments, watched::deployment);
    silent::<watched::HorizontalPodAutoscaler, _>(&cache.autoscalers, watched::autoscaler);
    silent::<watched::Service, _>(&cache.services, watched::service);
    silent::<watched::Job, _>(&cache.jobs, watched::job);
    silent::<DeserializeGuard<DatabaseBackup>, _>(&cache.backups, watched::backup);
    silent::<DeserializeGuard<ReleasePolicy>, _>(&cache.policies, watched::policy);
    silent::<DeserializeGuard<Decision>, _>(&cache.decisions, watched::decision);
    cache
}

fn context(client: Client) -> Arc<Context> {
    let guarded = || watch::channel(Guard::Since(Timestamp::MIN)).1;
    Arc::new(Context {
        cache: cache(),
        announcer: Announcer::new(client.clone()),
        client,
        filled: lists::counted(&[None], 0).1,
        guard: guarded(),
        stamp: guarded(),
        leadership: Arc::new(Leadership::alone()),
        turns: Turns::new(1, 0),
        settings: Settings {
            agent_image: "agent:1".into(),
            tools_image: "tools-{major}:1".into(),
            ..Settings::default()
        },
        backoff: Backoff::default(),
        contests: Contests::default(),
        metrics: Arc::default(),
        arrivals: Arrivals::default(),
        written: Written::default(),
    })
}

const RELEASE: &str = "apis/switchback.dev/v1alpha1/namespaces/prod/releases/shop";

/// Makes a Release that begins by itself, and reconciles it as often as something may wake it; each time the watch shows it
/// as it was made.
async fn made(server: &Arc<Mutex<Server>>, context: &Arc<Context>) {
    let mut spec = world::spec("1.0.0");
    spec.mode = Some(switchback::api::Mode::Automatic);
    let release = json!({
        "apiVersion": "switchback.dev/v1alpha1", "kind": "Release", "metadata": { "name": "shop" }, "spec": spec,
    });
    let created = server.lock().unwrap().create(RELEASE, release);
    woken(&created, context).await;
}

async fn woken(shown: &Value, context: &Arc<Context>) {
    let shown: Release = serde_json::from_value(shown.clone()).unwrap();
    for _ in 0..6 {
        let shown = Arc::new(DeserializeGuard(Ok(shown.clone())));
        reconcile(shown, Arc::clone(context), Stopwatch::start()).await.unwrap();
    }
}

fn step(server: &Server) -> Step {
    let release: Release = serde_json::from_value(server.objects[RELEASE].clone()).unwrap();
    release.status.unwrap().record.step
}

#[tokio::test]
async fn rule_15_a_look_that_is_older_than_our_own_writes_makes_nothing_twice() {
    let server = Arc::new(Mutex::new(Server::default()));
    made(&server, &context(client(&server))).await;
    let server = server.lock().unwrap();
    assert_eq!(step(&server), Step::Deploy, "{:#?}", server.asked);
    let refused: Vec<&Asked> = server.asked.iter().filter(|asked| asked.code >= 400).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let made = server.count("create");
    assert!(made.len() >= 5 && made.values().all(|times| *times == 1), "{made:#?}");
    // What was frozen is known from the answer.
    assert_eq!(server.count("get"), BTreeMap::new());
}

/// A Release that another version has stored, in a form that this one cannot read.
fn of_another_version(name: &str) -> Value {
    let mut spec = json!(world::spec("1.0.0"));
    spec["mode"] = "Whenever".into();
    json!({ "apiVersion": "switchback.dev/v1alpha1", "kind": "Release", "metadata": { "name": name }, "spec": spec })
}

#[tokio::test]
async fn input_62_a_stored_release_that_cannot_be_read_says_so_and_the_others_go_on() {
    let server = Arc::new(Mutex::new(Server::default()));
    let path = |name: &str| format!("apis/switchback.dev/v1alpha1/namespaces/prod/releases/{name}");
    let make = |name: &str, body| -> DeserializeGuard<Release> {
        serde_json::from_value(server.lock().unwrap().create(&path(name), body)).unwrap()
    };
    let strange = make("strange", of_another_version("strange"));
    assert!(strange.0.is_err());
    let mut spec = world::spec("1.0.0");
    spec.mode = Some(switchback::api::Mode::Automatic);
    let well = make(
        "shop",
        json!({ "apiVersion": "switchback.dev/v1alpha1", "kind": "Release", "metadata": { "name": "shop" }, "spec": spec }),
    );
    let (strange, well) = (Arc::new(strange), Arc::new(well));
    let context = context(client(&server));
    let mut told = vec![];
    for _ in 0..6 {
        for shown in [&strange, &well] {
            reconcile(Arc::clone(shown), Arc::clone(&context), Stopwatch::start()).await.unwrap();
        }
        told.push(server.lock().unwrap().objects[&path("strange")]["status"].clone());
    }
    // Repeated, it is the same to the letter: no write that wakes anybody.
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:#?}");
    let condition = |type_: &str| {
        let mut all = told[0]["conditions"].as_array().unwrap().iter();
        let found = all.find(|condition| condition["type"] == type_).unwrap();
        (text(&found["status"]), text(&found["reason"]), text(&found["message"]))
    };
    for (type_, status) in [("Ready", "False"), ("Stalled", "True")] {
        let (is, reason, message) = condition(type_);
        assert_eq!((is.as_str(), reason.as_str()), (status, "InvalidStoredObject"));
        let why = message.contains("Unknown variant Whenever. Expected one of Manual, Automatic.");
        assert!(why && message.ends_with("Next: kubectl edit releases strange -n prod"), "{message}");
    }
    let server = server.lock().unwrap();
    let touched: Vec<&Asked> =
        server.asked.iter().filter(|asked| asked.path.contains("strange") && asked.verb != "patch").collect();
    assert!(touched.is_empty(), "something was done with what cannot be read: {touched:#?}");
    let now: Release = serde_json::from_value(server.objects[&path("shop")].clone()).unwrap();
    assert_eq!(now.status.unwrap().record.step, Step::Deploy, "the other one does not go on");
}

#[tokio::test]
async fn rule_15_a_look_that_is_older_than_our_own_deletions_deletes_nothing_twice() {
    let server = Arc::new(Mutex::new(Server::default()));
    let context = context(client(&server));
    made(&server, &context).await;
    let changed = {
        let mut server = server.lock().unwrap();
        server.asked.clear();
        let spec = json!({ "mode": "Manual", "workloads": world::spec("2.0.0").workloads, "version": "2.0.0" });
        let changed = json!({ "metadata": { "generation": 2 }, "spec": spec });
        server.patch(RELEASE, &changed).1
    };
    woken(&changed, &context).await;
    let server = server.lock().unwrap();
    assert_eq!(step(&server), Step::Approve, "{:#?}", server.asked);
    let deleted = server.count("delete");
    assert!(deleted.len() >= 2 && deleted.values().all(|times| *times == 1), "{deleted:#?}");
    let refused: Vec<&Asked> =
        server.asked.iter().filter(|asked| asked.code >= 400 && !asked.path.contains("disruption")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[tokio::test]
async fn input_64_a_release_that_changes_all_the_time_costs_a_word_for_each_generation_at_most() {
    let server = Arc::new(Mutex::new(Server::default()));
    let context = context(client(&server));
    made(&server, &context).await;
    let change = |changed: Value| {
        let mut server = server.lock().unwrap();
        server.patch(RELEASE, &changed).1
    };
    let asked = |server: &Arc<Mutex<Server>>| std::mem::take(&mut server.lock().unwrap().asked);
    asked(&server);
    // What is none of our business is worth no request.
    for n in 0..100 {
        let changed = change(json!({ "metadata": { "annotations": { "somebody/else": n.to_string() } } }));
        woken(&changed, &context).await;
    }
    assert_eq!(asked(&server), vec![]);
    // What changes nothing of the attempt is noted once.
    for n in 0..100 {
        let changed = change(json!({ "metadata": { "generation": n + 2 }, "spec": { "notes": n.to_string() } }));
        woken(&changed, &context).await;
    }
    let all = asked(&server);
    let of_release = all.iter().filter(|asked| asked.verb == "patch" && asked.path == RELEASE).count();
    assert_eq!((of_release, all.len()), (100, 100), "{:#?}", &all[..all.len().min(20)]);
}
