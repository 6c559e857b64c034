//! A namespace of one test, and what people may do in it.

use std::{
    fmt::Debug,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU32, Ordering},
};

use futures::FutureExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::Namespace as CoreNamespace,
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use switchback::api::Release;

use super::{Cluster, soon};

/// A namespace of one test.
pub struct Namespace {
    /// The cluster.
    pub cluster: Cluster,
    /// Its name.
    pub name: String,
    rights: AtomicU32,
}

/// Runs a test in a namespace of its own, which goes away with it however it ends.
pub async fn in_namespace(purpose: &str, test: impl AsyncFnOnce(&Namespace)) {
    let cluster = Cluster::ready().await;
    let api: Api<CoreNamespace> = Api::all(cluster.admin.clone());
    let metadata = ObjectMeta {
        generate_name: Some(format!("test-{purpose}-")),
        labels: Some([("switchback.dev/test".to_owned(), purpose.to_owned())].into()),
        ..Default::default()
    };
    let made = api.create(&PostParams::default(), &CoreNamespace { metadata, ..Default::default() }).await.unwrap();
    let namespace = Namespace { cluster, name: made.name_any(), rights: AtomicU32::new(0) };
    let ended = AssertUnwindSafe(test(&namespace)).catch_unwind().await;
    // One that a test has deleted already is as good.
    let _ = api.delete(&namespace.name, &DeleteParams::background()).await;
    // The controller of a test ends with it, and nobody else would take its finalizer off.
    let releases: Api<Release> = Api::namespaced(namespace.cluster.admin.clone(), &namespace.name);
    for release in releases.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        let _ = releases.patch(&release.name_any(), &PatchParams::default(), &patch).await;
    }
    if let Err(failure) = ended {
        std::panic::resume_unwind(failure);
    }
}

impl Namespace {
    /// Lets a user do something here: each right is `VERB,… GROUP/RESOURCE[:NAME]`, with nothing before the slash
    /// for the core group, and a subresource after another slash.
    pub async fn allow(&self, user: &str, rights: &[&str]) {
        let name = format!("rights-{}", self.rights.fetch_add(1, Ordering::SeqCst));
        let rules: Vec<Value> = rights.iter().map(|right| rule(right)).collect();
        let role = json!({ "metadata": { "name": name }, "rules": rules });
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        });
        let admin = &self.cluster.admin;
        self.make::<Role>(admin, &role).await.unwrap();
        self.make::<RoleBinding>(admin, &binding).await.unwrap();
        // Authorizers learn of it through a watch.
        self.until_allowed(user, rights.last().copied().unwrap_or_default()).await;
    }

    async fn until_allowed(&self, user: &str, right: &str) {
        let rule = rule(right);
        let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": user,
            "resourceAttributes": {
                "namespace": self.name, "verb": rule["verbs"][0], "group": rule["apiGroups"][0],
                "resource": rule["resources"][0].as_str().and_then(|resource| resource.split('/').next()),
                "subresource": rule["resources"][0].as_str().and_then(|resource| resource.split('/').nth(1)),
                "name": rule["resourceNames"][0],
            },
        }});
        soon("the right is known", async || {
            let request = http::Request::post("/apis/authorization.k8s.io/v1/subjectaccessreviews")
                .header("content-type", "application/json")
                .body(serde_json::to_vec(&review).unwrap())
                .unwrap();
            let answer: Value = self.cluster.admin.request(request).await.unwrap();
            (answer["status"]["allowed"] == true).then_some(())
        })
        .await;
    }

    /// Returns an API of this namespace for a client.
    #[must_use]
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(client.clone(), &self.name)
    }

    /// Creates an object as somebody, with strict validation.
    pub async fn make<K>(&self, client: &Client, body: &Value) -> Result<DynamicObject, kube::Error>
    where
        K: Resource<DynamicType = ()>,
    {
        self.post::<K>(client, body, "").await
    }

    /// Asks whether an object could be created; nothing is stored.
    pub async fn try_make<K>(&self, client: &Client, body: &Value) -> Result<DynamicObject, kube::Error>
    where
        K: Resource<DynamicType = ()>,
    {
        self.post::<K>(client, body, "&dryRun=All").await
    }

    async fn post<K>(&self, client: &Client, body: &Value, query: &str) -> Result<DynamicObject, kube::Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let resource = ApiResource::erase::<K>(&());
        let mut body = body.clone();
        body["apiVersion"] = resource.api_version.clone().into();
        body["kind"] = resource.kind.clone().into();
        let path = DynamicObject::url_path(&resource, Some(&self.name));
        let request = http::Request::post(format!("{path}?fieldValidation=Strict{query}"))
            .header("content-type", "application/json")
            .body(body.to_string().into_bytes())
            .unwrap();
        client.request(request).await
    }

    /// Writes a merge patch as somebody.
    pub async fn patch<K>(&self, client: &Client, name: &str, patch: Value) -> Result<K, kube::Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>(client).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }
}

fn rule(right: &str) -> Value {
    let (verbs, object) = right.split_once(' ').unwrap();
    let (group, resource) = object.split_once('/').unwrap();
    // A name stands after `:`, because a slash leads to a subresource.
    let (resource, names) = match resource.split_once(':') {
        Some((resource, name)) => (resource, vec![name]),
        None => (resource, vec![]),
    };
    let verbs: Vec<&str> = verbs.split(',').collect();
    json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs, "resourceNames": names })
}
