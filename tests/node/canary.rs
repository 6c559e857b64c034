//! Secrets stand in their Secrets and nowhere else: what passes through a namespace is kept while a test runs, and all of it
//! is searched at the end.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, future::join};
use k8s_openapi::{
    ByteString,
    api::{
        batch::v1::Job,
        core::v1::{ConfigMap, Pod, Secret},
    },
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams},
    core::ApiResource,
    discovery::{Discovery, Scope, verbs},
    runtime::watcher::{self, Event},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    harness::Scene,
    support::{SOON, in_namespace, within},
};

/// How often new logs are looked for; their pods stay for longer than that.
const LOOK: Duration = Duration::from_millis(100);
/// Keys of Secrets whose values are looked for.
const KEYS: [&str; 3] = ["password", "secretAccessKey", "token"];
/// A shorter word may stand somewhere by chance.
const LENGTH: usize = 12;

/// Keeps what passes through a namespace.
pub struct Witness<'a> {
    scene: &'a Scene<'a>,
    kept: Arc<Mutex<Kept>>,
    looking: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    /// What comes and goes, in each of its versions: where it was, and what it said.
    objects: Vec<(String, String)>,
    /// Logs of containers; one that is open can be read when its pod is gone.
    logs: BTreeMap<PathBuf, File>,
}

impl<'a> Witness<'a> {
    /// Begins to look.
    pub fn of(scene: &'a Scene<'a>) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let objects = join(follow::<Pod>(scene, Arc::clone(&kept)), follow::<Job>(scene, Arc::clone(&kept)));
        let logs = keep_logs(scene.namespace.name.clone(), Arc::clone(&kept));
        let looking = tokio::spawn(async move {
            join(objects, logs).await;
        });
        Self { scene, kept, looking }
    }

    /// Returns where secrets of the namespace stand that should stand in their Secrets alone, and how many places were
    /// searched.
    pub async fn found(&self) -> (Vec<String>, usize) {
        let secrets = secrets(self.scene).await;
        let mut places = self.scene.said().await;
        places.extend(objects(self.scene).await);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        places.extend(kept.objects.iter().cloned());
        places.extend(kept.logs.iter_mut().map(|(path, log)| (path.display().to_string(), read(log))));
        let holds = |text: &str, forms: &[String; 2]| forms.iter().any(|form| text.contains(form.as_str()));
        let mut found: Vec<String> = places
            .iter()
            .flat_map(|(place, text)| {
                let held = secrets.iter().filter(|(_, forms)| holds(text, forms));
                held.map(move |(secret, _)| format!("{place} tells {secret}"))
            })
            .collect();
        found.sort();
        found.dedup();
        (found, places.len())
    }
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// Keeps every version of the objects of a kind.
fn follow<K>(scene: &Scene<'_>, kept: Arc<Mutex<Kept>>) -> impl Future<Output = ()> + use<K>
where
    K: kube::Resource<DynamicType = ()>,
{
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(scene.namespace.cluster.admin.clone(), &scene.namespace.name, &resource);
    watcher::watcher(api, watcher::Config::default()).for_each(move |event| {
        if let Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) = event {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.objects.push(as_text(&resource.kind, &object));
        }
        std::future::ready(())
    })
}

/// Opens the log of every container as soon as it is there.
async fn keep_logs(namespace: String, kept: Arc<Mutex<Kept>>) {
    let folder = PathBuf::from(std::env::var("LAB_DIR").expect("the lab says where it is")).join("podlogs");
    loop {
        let pods = below(&folder).filter(|pod| name_of(pod).starts_with(&format!("{namespace}_")));
        let logs = pods.flat_map(|pod| below(&pod)).flat_map(|container| below(&container));
        kept.lock().unwrap_or_else(PoisonError::into_inner).open(logs);
        tokio::time::sleep(LOOK).await;
    }
}

impl Kept {
    fn open(&mut self, logs: impl Iterator<Item = PathBuf>) {
        for log in logs {
            if !self.logs.contains_key(&log)
                && let Ok(file) = File::open(&log)
            {
                self.logs.insert(log, file);
            }
        }
    }
}

fn below(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    // One that has just gone holds nothing.
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(log: &mut File) -> String {
    let mut bytes = vec![];
    log.rewind().unwrap();
    log.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn as_text(kind: &str, object: &DynamicObject) -> (String, String) {
    (format!("{kind} {}", object.name_any()), serde_json::to_string(object).unwrap())
}

/// Lists what is secret: its name, and how it is written.
async fn secrets(scene: &Scene<'_>) -> Vec<(String, [String; 2])> {
    let api: Api<Secret> = scene.namespace.api(&scene.namespace.cluster.admin);
    let mut all = vec![];
    for secret in api.list(&ListParams::default()).await.unwrap() {
        let name = secret.name_any();
        for (key, value) in secret.data.unwrap_or_default().into_iter().filter(|(key, _)| KEYS.contains(&key.as_str()))
        {
            let text = String::from_utf8(value.0.clone()).unwrap();
            assert!(text.len() >= LENGTH, "{name}/{key} is too short to be looked for");
            let encoded = serde_json::to_value(ByteString(value.0)).unwrap().as_str().unwrap().to_owned();
            all.push((format!("{name}/{key}"), [text, encoded]));
        }
    }
    assert!(!all.is_empty(), "nothing is secret here");
    all
}

/// Lists everything in the namespace but its Secrets, of every kind that the API server has.
async fn objects(scene: &Scene<'_>) -> Vec<(String, String)> {
    let admin = &scene.namespace.cluster.admin;
    let discovery = Discovery::new(admin.clone()).run().await.unwrap();
    let mut all = vec![];
    for (resource, served) in discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources) {
        let is_listed = served.scope == Scope::Namespaced && served.supports_operation(verbs::LIST);
        if !is_listed || (resource.group.is_empty() && resource.kind == "Secret") {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(admin.clone(), &scene.namespace.name, &resource);
        all.extend(
            api.list(&ListParams::default()).await.unwrap().iter().map(|object| as_text(&resource.kind, object)),
        );
    }
    all
}

/// Whoever searches and finds nothing must be able to find something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_t19_a_secret_that_is_told_somewhere_is_found_there() {
    in_namespace("canary", async |namespace| {
        let scene = Scene::without_controller(namespace).await;
        let witness = Witness::of(&scene);
        let admin = &namespace.cluster.admin;
        let mark = format!("correct-horse-{}", namespace.name);
        let secret = json!({ "metadata": { "name": "login" }, "stringData": { "password": mark } });
        namespace.make::<Secret>(admin, &secret).await.unwrap();
        assert_eq!(witness.found().await.0, Vec::<String>::new());

        // In an object that stays, as it is and encoded; in a pod that is gone; in what a pod said that is gone.
        let plain = json!({ "metadata": { "name": "plain" }, "data": { "url": format!("postgres://shop:{mark}@db") } });
        let encoded = serde_json::to_value(ByteString(mark.clone().into_bytes())).unwrap();
        let encoded = json!({ "metadata": { "name": "encoded", "annotations": { "example.com/login": encoded } } });
        for body in [plain, encoded] {
            namespace.make::<ConfigMap>(admin, &body).await.unwrap();
        }
        let pods: Api<Pod> = namespace.api(admin);
        let from_secret =
            json!([{ "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "login", "key": "password" } } }]);
        for (name, env) in [("shows", json!([{ "name": "TOKEN", "value": mark }])), ("says", from_secret)] {
            let says: &[&str] = if name == "says" { &["--say", "$(TOKEN)"] } else { &[] };
            namespace.make::<Pod>(admin, &careless(name, says, &env)).await.unwrap();
            within(SOON, "the pod is at its end", async || {
                (pods.get(name).await.unwrap().status?.phase? == "Succeeded").then_some(())
            })
            .await;
            pods.delete(name, &DeleteParams::default()).await.unwrap();
            within(SOON, "the pod is gone", async || pods.get_opt(name).await.unwrap().is_none().then_some(())).await;
        }
        let (found, _) = witness.found().await;
        let logs = found.iter().filter(|place| place.contains("_says_") && place.contains(".log tells login/password"));
        assert_eq!(logs.count(), 1, "{found:?}");
        let objects: Vec<&String> = found.iter().filter(|place| !place.contains(".log ")).collect();
        let tells = |what: &str| format!("{what} tells login/password");
        assert_eq!(objects, [&tells("ConfigMap encoded"), &tells("ConfigMap plain"), &tells("Pod shows")]);
    })
    .await;
}

/// A pod that tells more than it should.
fn careless(name: &str, says: &[&str], env: &Value) -> Value {
    let arguments: Vec<&str> = ["pause-exit"].into_iter().chain(says.iter().copied()).collect();
    json!({ "metadata": { "name": name }, "spec": { "restartPolicy": "Never", "containers": [{
        "name": "app", "image": "localhost/demo-app:dev", "args": arguments, "env": env,
    }]}})
}
