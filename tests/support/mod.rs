//! What tests against a real API server share: the cluster made ready once, people, namespaces, waiting. And real
//! database and storage servers as plain processes: [`postgres`], [`s3`].
//!
//! `KUBECONFIG` names the cluster and an administrator of it: `lab/in cargo test --test api`. The servers need none.
#![allow(dead_code, unused_imports, reason = "each test target uses its own part")]

use std::{fmt::Debug, future::Future, time::Duration};

use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::ServiceAccount,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use serde::{Deserialize as _, Serialize, de::DeserializeOwned};
use serde_json::Value;
use switchback::api::{Release, labels::CHANGED_BY};
use tokio::sync::OnceCell;

mod namespace;
pub mod objects;
pub mod postgres;
pub mod process;
pub mod s3;

pub use namespace::{Namespace, in_namespace};

/// How long anything may take that a cluster does by itself.
pub const SOON: Duration = Duration::from_secs(30);
/// In whose name tests write what they share.
const MANAGER: &str = "switchback-tests";
/// The controller's account, as the policies name it unless an install says otherwise.
pub const CONTROLLER: &str = "system:serviceaccount:switchback-system:switchback";

/// A cluster with the CRDs and the admission policies of this version, and an administrator's rights on it.
#[derive(Clone)]
pub struct Cluster {
    config: Config,
    /// The administrator.
    pub admin: Client,
}

impl Cluster {
    /// Connects; the first test of a process also brings CRDs and policies in.
    pub async fn ready() -> Self {
        // A client lives in the runtime it was made in, and each test has a runtime of its own: only the work is
        // done once.
        static PREPARED: OnceCell<()> = OnceCell::const_new();
        let cluster = Self::connect().await;
        PREPARED.get_or_init(|| cluster.prepare()).await;
        cluster
    }

    /// Connects and changes nothing.
    pub async fn connect() -> Self {
        let config = Config::infer().await.expect("no cluster: run this as `lab/in cargo test …`");
        let admin = client(config.clone());
        Self { config, admin }
    }

    async fn prepare(&self) {
        for crd in switchback::api::crds() {
            apply(&self.admin, &crd).await;
        }
        for (_, document) in policies() {
            self.apply_policy(&document).await;
        }
        soon("CRDs are served", async || {
            let api: Api<CustomResourceDefinition> = Api::all(self.admin.clone());
            let all = api.list(&ListParams::default()).await.ok()?;
            let served = |crd: &&CustomResourceDefinition| {
                let conditions = crd.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
                conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
            };
            let ours = all.iter().filter(|crd| crd.spec.group == "switchback.dev").filter(served).count();
            (ours == switchback::api::crds().len()).then_some(())
        })
        .await;
        // The API server takes all policies up together, so one that refuses speaks for the others. Deleting a CRD
        // is what an administrator may otherwise do.
        soon("policies are active", async || {
            let api: Api<CustomResourceDefinition> = Api::all(self.admin.clone());
            let trial = DeleteParams { dry_run: true, ..DeleteParams::default() };
            api.delete("releases.switchback.dev", &trial).await.err().map(|_| ())
        })
        .await;
        // Those that write are taken up by themselves.
        soon("changes are stamped", async || {
            let api: Api<Release> = Api::namespaced(self.admin.clone(), "default");
            let trial = PostParams { dry_run: true, ..PostParams::default() };
            let release: Release = serde_json::from_value(objects::release("trial")).unwrap();
            let made = api.create(&trial, &release).await.ok()?;
            made.annotations().contains_key(CHANGED_BY).then_some(())
        })
        .await;
    }

    /// Returns the administrator's user name.
    pub async fn me(&self) -> String {
        let request = http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("content-type", "application/json")
            .body(br#"{ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" }"#.to_vec())
            .unwrap();
        let answer: Value = self.admin.request(request).await.unwrap();
        answer["status"]["userInfo"]["username"].as_str().unwrap().to_owned()
    }

    /// Writes an admission policy or binding.
    pub async fn apply_policy(&self, document: &Value) {
        let api = self.policies(document["kind"].as_str().unwrap());
        let params = PatchParams::apply(MANAGER).force();
        api.patch(document["metadata"]["name"].as_str().unwrap(), &params, &Patch::Apply(document)).await.unwrap();
    }

    /// Returns the API of a kind of admission policies or bindings. Untyped: a type would hide what a newer server
    /// fills in.
    #[must_use]
    pub fn policies(&self, kind: &str) -> Api<DynamicObject> {
        let version = if kind.starts_with("Mutating") { "v1beta1" } else { "v1" };
        let plural = match kind.strip_suffix("Policy") {
            Some(_) => kind.to_lowercase().replace("policy", "policies"),
            None => format!("{}s", kind.to_lowercase()),
        };
        let group = "admissionregistration.k8s.io";
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: format!("{group}/{version}"),
            kind: kind.to_owned(),
            plural,
        };
        Api::all_with(self.admin.clone(), &resource)
    }

    /// Returns a client of a person of that name, who may do what [`Namespace::allow`] says.
    #[must_use]
    pub fn user(&self, name: &str) -> Client {
        self.user_in(name, &[])
    }

    /// Returns a client of a person in these groups; the API server adds those that everybody is in.
    #[must_use]
    pub fn user_in(&self, name: &str, groups: &[&str]) -> Client {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(name.to_owned());
        config.auth_info.impersonate_groups =
            (!groups.is_empty()).then(|| groups.iter().map(|group| (*group).to_owned()).collect());
        client(config)
    }

    /// Returns the administrator's client with more headers on every request.
    #[must_use]
    pub fn with_headers(&self, headers: &[(&'static str, &'static str)]) -> Client {
        let mut config = self.config.clone();
        config.headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
            .collect();
        client(config)
    }

    /// Returns a client that has nothing but a service account's token, as a pod would have.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Client {
        let api: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), namespace);
        let account = ServiceAccount { metadata: metadata(name), ..ServiceAccount::default() };
        api.create(&PostParams::default(), &account).await.unwrap();
        let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
        let answer = api.create_token_request(name, &PostParams::default(), &request).await.unwrap();
        let mut config = self.config.clone();
        config.auth_info = kube::config::AuthInfo {
            token: Some(answer.status.unwrap().token.into()),
            ..kube::config::AuthInfo::default()
        };
        client(config)
    }
}

fn client(mut config: Config) -> Client {
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// Returns the shipped admission policies and bindings with the names of their files.
#[must_use]
pub fn policies() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/switchback/policies");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut documents = vec![];
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        for document in serde_yaml::Deserializer::from_str(&text) {
            documents.push((name.clone(), Value::deserialize(document).unwrap()));
        }
    }
    documents
}

/// Writes an object by server-side apply.
pub async fn apply<K>(client: &Client, object: &K)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let api: Api<K> = Api::all(client.clone());
    let params = PatchParams::apply(MANAGER).force();
    api.patch(&object.name_any(), &params, &Patch::Apply(object)).await.unwrap();
}

fn metadata(name: &str) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta { name: Some(name.to_owned()), ..Default::default() }
}

/// Asks again and again until there is an answer, for at most [`SOON`].
pub async fn soon<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(SOON, what, ask).await
}

/// Asks again and again until there is an answer.
pub async fn within<T>(limit: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    in_time(limit, what, asking).await
}

/// Waits for something that ends by itself.
pub async fn in_time<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

/// Returns the words with which the API server refused.
#[track_caller]
pub fn refusal<T: Debug>(answer: Result<T, kube::Error>) -> String {
    match answer {
        Err(kube::Error::Api(status)) => status.message.clone(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Fails unless the API server refused with words that contain these.
#[track_caller]
pub fn assert_refused<T: Debug>(answer: Result<T, kube::Error>, words: &str) {
    let said = refusal(answer);
    assert!(said.contains(words), "expected {words:?}, it said: {said}");
}
