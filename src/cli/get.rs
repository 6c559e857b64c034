//! `kubectl switchback get`: one Release as a tree, or all of a namespace as a table.

use std::collections::BTreeMap;

use clap::Args as ClapArgs;
use futures::StreamExt as _;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
    core::ApiResource,
    runtime::{WatchStreamExt as _, watcher},
};

use super::{
    connection::Cluster,
    follow::{self, Form, News},
    harmless,
    look::{self, Change, Objects},
    problem::{Exit, Problem},
    show::{Output, Page, print},
    style::Style,
    view::{ListView, ReleaseView, Summary, unreadable},
};
use crate::{api::Release, clock};

/// Shows one Release with everything that belongs to it, or all Releases of a namespace.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Name of the Release; without it all of the namespace are listed
    pub name: Option<String>,
    /// List the Releases of all namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    pub all_namespaces: bool,
    /// Show every change until interrupted
    #[arg(short, long)]
    pub watch: bool,
    /// Form of the output
    #[arg(short, long, value_name = "FORM")]
    pub output: Option<Output>,
}

/// Runs the command.
///
/// # Errors
/// When something cannot be read or written.
pub async fn run(cluster: &Cluster, args: &Args) -> Result<Exit, Problem> {
    let form = Form { output: args.output, style: Style::of_stdout() };
    match (&args.name, args.watch) {
        (Some(name), false) => one(cluster, name, form).await?,
        (Some(name), true) => watch_one(cluster, name, form).await?,
        (None, false) => many(cluster, args.all_namespaces, form).await?,
        (None, true) => watch_many(cluster, args.all_namespaces, form).await?,
    }
    Ok(Exit::Reached)
}

async fn one(cluster: &Cluster, name: &str, form: Form) -> Result<(), Problem> {
    let release = look::release(cluster, name).await?;
    let objects = match form.output {
        Some(Output::Name) => Objects::default(),
        _ => look::objects(cluster, &release.uid().unwrap_or_default()).await,
    };
    let page = Page::One(Box::new(ReleaseView::of(&objects.seen(release, clock::now()))));
    print(&page.formatted(form.output, form.style)?)
}

async fn watch_one(cluster: &Cluster, name: &str, form: Form) -> Result<(), Problem> {
    loop {
        let first = look::release(cluster, name).await?;
        let uid = first.uid().unwrap_or_default();
        let mut release = first;
        let mut objects = Objects::default();
        let mut replaced = false;
        let changes = look::changes(cluster, name, &uid);
        follow::follow(changes, form, |change| {
            match change {
                Some(Change::Release(None)) => {
                    return News::End(format!("Release {}/{name} is gone.", cluster.namespace));
                }
                Some(Change::Release(Some(next))) if next.uid().as_deref() != Some(uid.as_str()) => {
                    replaced = true;
                    return News::End(format!("Release {}/{name} was made anew.", cluster.namespace));
                }
                Some(Change::Release(Some(next))) => release = *next,
                Some(change) => objects.take(change),
                None => {}
            }
            let whole = objects.is_whole();
            News::Page(
                whole.then(|| Page::One(Box::new(ReleaseView::of(&objects.seen(release.clone(), clock::now()))))),
            )
        })
        .await?;
        if !replaced {
            return Ok(());
        }
    }
}

fn releases(cluster: &Cluster, all: bool) -> (Api<DynamicObject>, String) {
    let resource = ApiResource::erase::<Release>(&());
    if all {
        (Api::all_with(cluster.client.clone(), &resource), "Releases of all namespaces".to_owned())
    } else {
        let api = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
        (api, format!("Releases of namespace {}", cluster.namespace))
    }
}

/// One that this version cannot read must not hide the others.
fn summary(object: &DynamicObject) -> Summary {
    let object = harmless::object(object.clone());
    match serde_json::to_value(&object).and_then(serde_json::from_value::<Release>) {
        Ok(release) => Summary::of(&release, clock::now()),
        Err(problem) => unreadable(&object, &problem.to_string()),
    }
}

fn page<'a>(objects: impl Iterator<Item = &'a DynamicObject>, all: bool) -> Page {
    Page::Many(ListView::of(objects.map(summary).collect(), all, clock::now()))
}

async fn many(cluster: &Cluster, all: bool, form: Form) -> Result<(), Problem> {
    let (api, what) = releases(cluster, all);
    let list = cluster.ask("list", &what, api.list(&ListParams::default())).await?;
    if list.items.is_empty() && matches!(form.output, None | Some(Output::Wide)) {
        // Where kubectl says it: standard output stays empty for scripts.
        eprintln!("There are no {what}.");
        return Ok(());
    }
    print(&page(list.items.iter(), all).formatted(form.output, form.style)?)
}

async fn watch_many(cluster: &Cluster, all: bool, form: Form) -> Result<(), Problem> {
    let (api, what) = releases(cluster, all);
    // Once by hand: a watch would try again for ever where a person should be told.
    cluster.ask("list", &what, api.list(&ListParams::default().limit(1))).await?;
    let mut known: BTreeMap<(Option<String>, String), DynamicObject> = BTreeMap::new();
    let mut anew = BTreeMap::new();
    let mut whole = false;
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let changes = events.filter_map(|event| async { event.ok() }).boxed();
    follow::follow(changes, form, |event| {
        match event {
            Some(watcher::Event::InitApply(object)) => {
                anew.insert((object.namespace(), object.name_any()), object);
            }
            Some(watcher::Event::Apply(object)) => {
                known.insert((object.namespace(), object.name_any()), object);
            }
            Some(watcher::Event::Delete(object)) => {
                known.remove(&(object.namespace(), object.name_any()));
            }
            Some(watcher::Event::Init) => anew.clear(),
            Some(watcher::Event::InitDone) => {
                known = std::mem::take(&mut anew);
                whole = true;
            }
            None => {}
        }
        News::Page(whole.then(|| page(known.values(), all)))
    })
    .await
}
