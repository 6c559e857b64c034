//! What applying a file would do: validated by the API server's own dry run, foretold by the same pure code that
//! the controller plans with.
//!
//! What only the controller can know is said to be unknown: the digest, and what its inspection of the cluster
//! (quota, Pod Security, admission) would refuse.

use std::{io::Read as _, path::Path, sync::Arc};

use http::{Method, Request, Response, header};
use kube::{Resource as _, ResourceExt as _, client::Body};
use serde::Deserialize as _;
use serde_json::Value;

use super::{
    circumstances::{self, Circumstances},
    connection::{Cluster, Flags, connect},
    harmless, look,
    problem::{Exit, Problem},
    view::PlanView,
};
use crate::{
    api::{ChangedBy, GROUP, Record, Release, VERSION, labels::CHANGED_BY},
    clock,
    release::{
        observed::{Observed, ReleaseSeen},
        plan::{expect, forecast as foretell},
    },
};

/// What this plugin's writes and dry runs are known by.
pub(super) const FIELD_MANAGER: &str = "kubectl-switchback";

/// What applying a file would do.
pub(super) struct Forecast {
    /// The plan.
    pub view: PlanView,
    /// What the API server and we have to say about it.
    pub warnings: Vec<String>,
}

/// Foretells what applying a file would do.
///
/// # Errors
/// When the file holds no Release, or the API server refuses it.
pub(super) async fn forecast(flags: &Flags, path: &Path, offline: bool) -> Result<Forecast, Problem> {
    let body = one_release(path)?;
    if offline {
        let mut release = typed(&body, path)?;
        release.metadata.namespace = release.metadata.namespace.or_else(|| flags.namespace.clone());
        let mut told = told((release, None), Circumstances::default());
        told.warnings.push("the file was not validated: no cluster was asked".to_owned());
        return Ok(told);
    }
    let mut cluster = connect(flags).await?;
    if let Some(namespace) = body.pointer("/metadata/namespace").and_then(Value::as_str) {
        if flags.namespace.as_deref().is_some_and(|asked| asked != namespace) {
            let why = format!("the file says namespace {namespace}, and the command line another one");
            return Err(Problem::new(Exit::Usage, format!("cannot plan {}", path.display()), why));
        }
        cluster.namespace = namespace.to_owned();
    }
    let name = typed(&body, path)?.name_any();
    let existing = match look::release(&cluster, &name).await {
        Ok(release) => Some(release),
        Err(problem) if problem.exit == Exit::NotFoundOrForbidden && problem.why.contains("not found") => None,
        Err(problem) => return Err(problem),
    };
    let (release, mut warnings) = dry_run(&cluster, body, existing.as_ref()).await.map_err(|problem| {
        let forbidden = problem.exit == Exit::NotFoundOrForbidden && problem.why.contains("forbidden");
        let offline = format!("kubectl switchback plan -f {} --offline, which validates nothing", path.display());
        if forbidden { problem.next(offline) } else { problem }
    })?;
    let circumstances = circumstances::look(&cluster, &release).await;
    let mut told = told((release, existing), circumstances);
    warnings.append(&mut told.warnings);
    Ok(Forecast { warnings, ..told })
}

fn told((release, existing): (Release, Option<Release>), circumstances: Circumstances) -> Forecast {
    let record = existing.as_ref().and_then(|release| release.status.clone()).map(|status| status.record);
    // What was seen of the database was seen for another spec.
    let mut record = Record { database: None, ..record.unwrap_or_default() };
    let wanted = release.spec.revision();
    let changed_by = release.annotations().get(CHANGED_BY).and_then(|stamp| ChangedBy::parse(stamp));
    let release = harmless::object(release);
    let seen = ReleaseSeen {
        name: release.name_any(),
        namespace: release.namespace().unwrap_or_default(),
        uid: release.uid().unwrap_or_default(),
        generation: release.metadata.generation.unwrap_or(0),
        deleting: false,
        deleted_at: None,
        resource_version: String::new(),
        finalizers: vec![],
        finalizer: true,
        spec: Arc::new(release.spec.clone()),
        created: release.creation_timestamp().map_or_else(clock::now, |created| created.0),
        changed_by,
        wanted: wanted.clone(),
        status: Arc::default(),
    };
    let Circumstances { policies, sources, mut warnings } = circumstances;
    if let Some(active) = record.active.as_ref().filter(|active| active.revision == wanted) {
        let version = &active.version;
        warnings.push(format!("nothing would be released: this is the content of {version}, which is active"));
    }
    if let Some(failure) = record.failure.as_ref().filter(|failure| failure.revision == wanted) {
        let outcome: &str = failure.outcome.into();
        warnings.push(format!("this revision ended {outcome} and is not tried again by itself: {}", failure.message));
    }
    if let Some(candidate) = record.candidate.as_ref().filter(|candidate| candidate.revision != wanted) {
        let (name, namespace) = (&seen.name, &seen.namespace);
        let version = &candidate.version;
        warnings.push(format!("{version} is on its way; see it with kubectl switchback get {name} -n {namespace}"));
    }
    let mut seen = Observed { policies, sources, ..Observed::of_release(seen, clock::now()) };
    circumstances::add_authors(&mut seen, &mut record, existing.as_ref());
    let plan = expect(foretell(&seen, &record), &record.history);
    Forecast { view: PlanView::forecast(&release, harmless::object(plan)), warnings }
}

/// Reads the one Release of a file.
fn one_release(path: &Path) -> Result<Value, Problem> {
    let unusable = |why: String| Problem::new(Exit::Usage, format!("cannot read {}", path.display()), why);
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(|error| unusable(error.to_string()))?;
    } else {
        text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    }
    let group = format!("{GROUP}/");
    let mut found = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let value = Value::deserialize(document).map_err(|error| unusable(error.to_string()))?;
        let of = |key| value.get(key).and_then(Value::as_str).unwrap_or_default();
        if of("kind") == "Release" && of("apiVersion").starts_with(&group) {
            found.push(value);
        }
    }
    match (found.pop(), found.len()) {
        (Some(release), 0) => Ok(release),
        (Some(_), more) => Err(unusable(format!("it holds {} Releases; plan one at a time", more + 1))),
        (None, _) => Err(unusable(format!("it holds no Release of {GROUP}/{VERSION}"))),
    }
}

fn typed(body: &Value, path: &Path) -> Result<Release, Problem> {
    serde_json::from_value(body.clone()).map_err(|error| {
        Problem::new(Exit::Failed, format!("cannot read the Release in {}", path.display()), error.to_string())
            .next("kubectl explain release.spec")
    })
}

/// Asks the API server what it would store, with strict validation; nothing is stored.
async fn dry_run(
    cluster: &Cluster,
    mut body: Value,
    existing: Option<&Release>,
) -> Result<(Release, Vec<String>), Problem> {
    let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let object = format!("Release {}/{name}", cluster.namespace);
    let mut uri = Release::url_path(&(), Some(&cluster.namespace));
    let mut method = Method::POST;
    if let Some(existing) = existing {
        uri = format!("{uri}/{name}");
        method = Method::PUT;
        let metadata = body.get_mut("metadata").and_then(Value::as_object_mut);
        if let (Some(metadata), Some(version)) = (metadata, existing.resource_version()) {
            metadata.insert("resourceVersion".to_owned(), version.into());
        }
    }
    let uri = format!("{uri}?dryRun=All&fieldValidation=Strict&fieldManager={FIELD_MANAGER}");
    let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, "application/json");
    let request = request
        .body(Body::from(body.to_string().into_bytes()))
        .map_err(|error| Problem::new(Exit::Failed, format!("cannot ask about {object}"), error.to_string()))?;
    cluster
        .ask("validate", &object, async {
            let response = cluster.client.send(request).await?;
            let warnings = warnings(&response);
            let status = response.status();
            let bytes = response.into_body().collect_bytes().await?;
            if !status.is_success() {
                return Err(refusal(status.as_u16(), &bytes));
            }
            let release = serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)?;
            Ok((release, warnings))
        })
        .await
}

fn refusal(code: u16, bytes: &[u8]) -> kube::Error {
    let status = serde_json::from_slice::<kube::core::Status>(bytes)
        .unwrap_or_else(|_| kube::core::Status::failure(&String::from_utf8_lossy(bytes), "").with_code(code));
    kube::Error::Api(Box::new(status))
}

/// Returns the texts of `Warning` headers (RFC 9111 5.5): `299 - "text"`.
fn warnings(response: &Response<Body>) -> Vec<String> {
    let headers = response.headers().get_all(header::WARNING).iter();
    headers
        .filter_map(|value| value.to_str().ok())
        .filter_map(|value| value.split_once('"')?.1.rsplit_once('"'))
        .map(|(text, _)| text.replace("\\\"", "\""))
        .collect()
}
