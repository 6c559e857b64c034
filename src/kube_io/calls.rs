//! Calls to the API server, each with a deadline of its own and an error that names operation and object.

use std::{fmt::Debug, future::Future, time::Duration};

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions},
    core::{ApiResource, ObjectList, PartialObjectMeta},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    api::labels::{FENCE, FIELD_MANAGER},
    error::Error,
};

/// How long one call may take. kube has no read timeout of its own: a server that vanished would hold a
/// reconcile for ever.
const LIMIT: Duration = Duration::from_secs(5);
/// Size of the pages in which lists are read.
const PAGE: u32 = 500;
/// The same for whole objects, of which each may have many kilobytes.
const WHOLE_PAGE: u32 = 50;

/// Runs one call under its deadline.
///
/// # Errors
/// [`Error::Timeout`] past the deadline, [`Error::Api`] for everything that kube reports.
pub async fn call<T>(
    doing: &'static str,
    object: &str,
    answer: impl Future<Output = Result<T, kube::Error>> + Send,
) -> Result<T, Error> {
    match tokio::time::timeout(LIMIT, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Api { doing, object: object.to_owned(), source: Box::new(source) }),
        Err(_) => Err(Error::Timeout { doing, object: object.to_owned(), limit: LIMIT }),
    }
}

/// An object by kind, namespace and name, for calls that do not need its type.
#[derive(Debug, Clone)]
pub struct Place {
    resource: ApiResource,
    namespace: String,
    name: String,
}

impl Place {
    /// Names an object.
    #[must_use]
    pub fn new<K>(namespace: &str, name: &str) -> Self
    where
        K: Resource<DynamicType = ()>,
    {
        Self { resource: ApiResource::erase::<K>(&()), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), &self.namespace, &self.resource)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.resource.kind, self.namespace, self.name)
    }
}

/// Creates an object; returns it. One of that name that `is_ours` takes for ours is a success; any other is
/// [`Error::NameTaken`].
///
/// # Errors
/// As [`call`], and [`Error::NameTaken`].
pub async fn create(
    client: &Client,
    place: &Place,
    body: &Value,
    is_ours: impl Fn(&DynamicObject) -> bool + Send,
) -> Result<DynamicObject, Error> {
    match post(client, place, body, "").await {
        Err(error) if error.is_already_exists() => {
            let found = call("read", &place.to_string(), place.api(client).get(&place.name)).await?;
            if is_ours(&found) {
                return Ok(found);
            }
            let controller = controller(&found).map(|(_, words)| words);
            Err(Error::NameTaken { object: place.to_string(), controller })
        }
        other => other,
    }
}

/// Asks whether an object would be created, with strict validation; nothing is stored.
///
/// # Errors
/// As [`call`]; a refusal is [`Error::Api`].
pub async fn dry_run(client: &Client, place: &Place, body: &Value) -> Result<(), Error> {
    // kube's PostParams knows no field validation, and without it unknown fields are dropped silently.
    post(client, place, body, "&dryRun=All&fieldValidation=Strict").await.map(|_| ())
}

async fn post(client: &Client, place: &Place, body: &Value, query: &str) -> Result<DynamicObject, Error> {
    let doing = if query.is_empty() { "create" } else { "try to create" };
    let api = place.api(client);
    let uri = format!("{}?fieldManager={FIELD_MANAGER}{query}", api.resource_url());
    let request = http::Request::post(uri)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes());
    let request = request.map_err(|source| Error::Api {
        doing,
        object: place.to_string(),
        source: Box::new(kube::Error::HttpError(source)),
    })?;
    call(doing, &place.to_string(), client.request::<DynamicObject>(request)).await
}

/// Writes a merge patch.
///
/// # Errors
/// As [`call`].
pub async fn merge<K>(client: &Client, place: &Place, patch: &Value, status: bool) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(client.clone(), &place.namespace);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(patch);
    if status {
        call("write the status of", &place.to_string(), api.patch_status(&place.name, &params, &patch)).await
    } else {
        call("patch", &place.to_string(), api.patch(&place.name, &params, &patch)).await
    }
}

/// Writes a merge patch of an object's metadata, for what `doing` says; returns the object.
///
/// # Errors
/// As [`call`]; a conflict when it changed since the version in the patch.
pub async fn touch(client: &Client, place: &Place, doing: &'static str, patch: &Value) -> Result<DynamicObject, Error> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    call(doing, &place.to_string(), place.api(client).patch(&place.name, &params, &Patch::Merge(patch))).await
}

/// Replaces the finalizers of one version of an object; returns it. One that is gone needs none.
///
/// # Errors
/// As [`call`]; a conflict when it changed since.
pub async fn set_finalizers<K>(
    client: &Client,
    place: &Place,
    (uid, resource_version): (&str, &str),
    finalizers: &[&str],
) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let metadata = json!({ "uid": uid, "resourceVersion": resource_version, "finalizers": finalizers });
    if_there(merge(client, place, &json!({ "metadata": metadata }), false).await)
}

/// Takes owners off an object with this UID, and our fence: who takes it over next counts its attempts anew. One that is gone,
/// or is another one by now, is a success.
///
/// # Errors
/// As [`call`].
pub async fn disown(client: &Client, place: &Place, uid: &str, owners: &[String]) -> Result<(), Error> {
    let owners: Vec<Value> = owners.iter().map(|owner| json!({ "$patch": "delete", "uid": owner })).collect();
    let annotations = json!({ FENCE: null });
    let patch = json!({ "metadata": { "uid": uid, "ownerReferences": owners, "annotations": annotations } });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let (api, patch) = (place.api(client), Patch::Strategic(&patch));
    let patched = api.patch_metadata(&place.name, &params, &patch);
    match call("take the owners off", &place.to_string(), patched).await {
        Err(error) if error.is_not_found() || error.class() == crate::error::Class::Conflict => Ok(()),
        other => other.map(|_| ()),
    }
}

/// What a deletion has left.
#[derive(Debug)]
pub enum Left {
    /// No object of that UID.
    Nothing,
    /// The object, which waits for its finalizers.
    Ending(Box<DynamicObject>),
    /// Perhaps the object: it has changed since it was read, or is another one by now.
    Unknown,
}

/// Deletes an object with this UID, and of this version when one is given, and what it owns after it. One that is gone,
/// or is another one by now, is a success.
///
/// # Errors
/// As [`call`].
pub async fn delete(client: &Client, place: &Place, (uid, version): (&str, Option<&str>)) -> Result<Left, Error> {
    let resource_version = version.map(str::to_owned);
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version }),
        ..DeleteParams::background()
    };
    match call("delete", &place.to_string(), place.api(client).delete(&place.name, &params)).await {
        Err(error) if error.is_not_found() => Ok(Left::Nothing),
        Err(error) if error.class() == crate::error::Class::Conflict => Ok(Left::Unknown),
        Err(error) => Err(error),
        // Some kinds are returned as they were last.
        Ok(answer) => match answer.left().filter(|object| !object.finalizers().is_empty()) {
            Some(object) => Ok(Left::Ending(Box::new(object))),
            None => Ok(Left::Nothing),
        },
    }
}

fn if_there<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads an object; `None` when there is none.
///
/// # Errors
/// As [`call`].
pub async fn read<K>(client: &Client, place: &Place) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), &place.namespace);
    if_there(call("read", &place.to_string(), api.get(&place.name)).await)
}

/// Reads an object of any kind; `None` when there is none.
///
/// # Errors
/// As [`call`].
pub async fn read_whole(client: &Client, place: &Place) -> Result<Option<DynamicObject>, Error> {
    if_there(call("read", &place.to_string(), place.api(client).get(&place.name)).await)
}

/// Takes an object over by server-side apply. With UID and resourceVersion in the body nothing is made, and one that has
/// changed since it was read is refused. So forcing takes only what the body says otherwise than it was read: labels of
/// ours that another Release has left behind. Returns it.
///
/// # Errors
/// As [`call`]; a conflict when it changed since, or is gone.
pub async fn take_over(client: &Client, place: &Place, body: &Value) -> Result<DynamicObject, Error> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    call("take over", &place.to_string(), place.api(client).patch(&place.name, &params, &Patch::Apply(body))).await
}

/// Reads the metadata of an object of any kind; `None` when there is none.
///
/// # Errors
/// As [`call`].
pub async fn read_meta(client: &Client, place: &Place) -> Result<Option<PartialObjectMeta<DynamicObject>>, Error> {
    if_there(call("read", &place.to_string(), place.api(client).get_metadata(&place.name)).await)
}

/// Lists the metadata of the objects of a namespace, or of those with these labels, from the API server, not from a watch.
///
/// # Errors
/// As [`call`].
pub async fn list_metadata<K>(
    client: &Client,
    namespace: &str,
    labels: Option<&str>,
) -> Result<Vec<PartialObjectMeta<K>>, Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    pages(&those::<K>(namespace, labels), labels, |page| {
        let api = api.clone();
        async move { api.list_metadata(&page).await }
    })
    .await
}

/// Lists the objects of a namespace, or those with these labels, from the API server, not from a watch.
///
/// # Errors
/// As [`call`].
pub async fn list<K>(client: &Client, namespace: &str, labels: Option<&str>) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    pages(&those::<K>(namespace, labels), labels, |page| {
        let api = api.clone();
        async move { api.list(&page).await }
    })
    .await
}

fn those<K: Resource<DynamicType = ()>>(namespace: &str, labels: Option<&str>) -> String {
    let which = labels.map(|labels| format!(" with {labels}")).unwrap_or_default();
    format!("{} of {namespace}{which}", K::plural(&()))
}

/// Reads a list page by page.
async fn pages<T: Clone, F>(those: &str, labels: Option<&str>, fetch: impl Fn(ListParams) -> F) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<ObjectList<T>, kube::Error>> + Send,
{
    let mut page = ListParams { label_selector: labels.map(str::to_owned), limit: Some(PAGE), ..ListParams::default() };
    let mut all = vec![];
    loop {
        let found = call("list", those, fetch(page.clone())).await?;
        all.extend(found.items);
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

/// Lists the objects of a namespace that are of the kind of `place`, or those with these labels, each reduced as it comes: they
/// may be large.
///
/// # Errors
/// As [`call`].
pub async fn list_whole<S>(
    client: &Client,
    (place, labels): (&Place, Option<&str>),
    read: impl Fn(DynamicObject) -> S + Send,
) -> Result<Vec<S>, Error> {
    let those = format!("{} of {}", place.resource.plural, place.namespace);
    let api = place.api(client);
    let label_selector = labels.map(str::to_owned);
    let mut page = ListParams { label_selector, limit: Some(WHOLE_PAGE), ..ListParams::default() };
    let mut all = vec![];
    loop {
        let found = call("list", &those, api.list(&page)).await?;
        all.extend(found.items.into_iter().map(&read));
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

/// Returns what controls an object: its UID, and its kind and name in words.
#[must_use]
pub fn controller(object: &impl ResourceExt) -> Option<(String, String)> {
    let controller = object.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    Some((controller.uid.clone(), format!("{} {}", controller.kind, controller.name)))
}

/// Returns whether an object is controlled by an owner with this UID.
#[must_use]
pub fn is_controlled_by(object: &impl ResourceExt, uid: &str) -> bool {
    object.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}
