//! Completion by kubectl itself: for `kubectl switchback … TAB` it runs a program `kubectl_complete-switchback`, which is
//! this one under another name.
//!
//! In: the words so far, the last of them unfinished. Out: one choice per line and, last, what the shell shall do
//! besides. Whatever goes wrong, nothing is offered: a person who types wants no error.

use std::{collections::BTreeMap, time::Duration};

use clap::{Arg, Command};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};

use super::connection::{Flags, connect};
use crate::api::Release;

/// What kubectl calls the program that completes for a plugin begins so.
pub const PREFIX: &str = "kubectl_complete-";
/// How long a person may wait for names.
const PATIENCE: Duration = Duration::from_secs(2);
/// The shell offers nothing of its own (`ShellCompDirectiveNoFileComp`).
const NOTHING_ELSE: &str = ":4";
/// The shell offers files.
const FILES: &str = ":0";

/// What can stand where the unfinished word is.
#[derive(Debug, PartialEq, Eq)]
enum Choices {
    /// One of these, with what each means.
    These(Vec<(String, String)>),
    /// The name of a Release.
    Names,
    /// A file.
    Files,
}

/// Prints what can stand where the last word is.
pub async fn run(command: Command, words: &[String]) -> String {
    let (choices, given) = choices(command, words);
    let unfinished = words.last().map_or("", String::as_str);
    let (found, besides) = match choices {
        Choices::These(found) => (found, NOTHING_ELSE),
        Choices::Names => (names(given).await, NOTHING_ELSE),
        Choices::Files => (vec![], FILES),
    };
    let fitting = found.into_iter().filter(|(choice, _)| choice.starts_with(unfinished));
    let line = |(choice, says): (String, String)| {
        if says.is_empty() { format!("{choice}\n") } else { format!("{choice}\t{says}\n") }
    };
    fitting.map(line).chain([format!("{besides}\n")]).collect()
}

/// Returns what can stand where the last word is, and the values of the flags before it.
fn choices(mut command: Command, words: &[String]) -> (Choices, BTreeMap<String, String>) {
    command.build();
    let mut given = BTreeMap::new();
    let mut here = &command;
    let mut positionals = 0;
    let (unfinished, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    let mut before = before.iter();
    while let Some(word) = before.next() {
        if word.starts_with('-') {
            let (flag, value) = word.split_once('=').map_or((word.as_str(), None), |(flag, value)| (flag, Some(value)));
            let Some(arg) = flag_of(here, flag).filter(|arg| arg.get_action().takes_values()) else { continue };
            let Some(value) = value.map(str::to_owned).or_else(|| before.next().cloned()) else {
                return (values_of(arg), given);
            };
            given.insert(arg.get_id().to_string(), value);
        } else if let Some(sub) = here.find_subcommand(word) {
            here = sub;
        } else {
            positionals += 1;
        }
    }
    let found = if unfinished.starts_with('-') {
        let flags = here.get_arguments().filter(|arg| !arg.is_hide_set());
        Choices::These(flags.filter_map(|arg| Some((format!("--{}", arg.get_long()?), said(arg.get_help())))).collect())
    } else if here.has_subcommands() {
        let subs = here.get_subcommands().filter(|sub| !sub.is_hide_set());
        Choices::These(subs.map(|sub| (sub.get_name().to_owned(), said(sub.get_about()))).collect())
    } else {
        here.get_positionals().nth(positionals).map_or(Choices::These(vec![]), values_of)
    };
    (found, given)
}

fn flag_of<'a>(command: &'a Command, flag: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| {
        let short = arg.get_short().map(|short| format!("-{short}"));
        let long = arg.get_long().map(|long| format!("--{long}"));
        [short, long].iter().flatten().any(|name| name == flag)
    })
}

fn values_of(arg: &Arg) -> Choices {
    let values = arg.get_possible_values();
    if !values.is_empty() {
        return Choices::These(
            values.iter().map(|value| (value.get_name().to_owned(), said(value.get_help()))).collect(),
        );
    }
    match arg.get_id().as_str() {
        "name" => Choices::Names,
        "file" | "kubeconfig" => Choices::Files,
        _ => Choices::These(vec![]),
    }
}

fn said(help: Option<&clap::builder::StyledStr>) -> String {
    help.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// Returns the names of the Releases in the namespace that is meant.
async fn names(mut given: BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut take = |id: &str| given.remove(id);
    let flags = Flags {
        namespace: take("namespace"),
        context: take("context"),
        cluster: take("cluster"),
        user: take("user"),
        kubeconfig: take("kubeconfig").map(Into::into),
        server: take("server"),
        impersonate: take("impersonate"),
        request_timeout: PATIENCE,
        ..Flags::default()
    };
    let Ok(cluster) = connect(&flags).await else { return vec![] };
    let resource = ApiResource::erase::<Release>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let releases = cluster.ask("list", "Releases", api.list(&ListParams::default())).await;
    let version = |release: &DynamicObject| {
        let version = release.data.pointer("/spec/version").and_then(serde_json::Value::as_str);
        version.unwrap_or_default().to_owned()
    };
    releases.map(|list| list.items.iter().map(|it| (it.name_any(), version(it))).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn offered(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        match choices(super::super::Cli::command(), &words).0 {
            Choices::These(found) => found.into_iter().map(|(choice, _)| choice).collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn what_can_stand_there_is_offered() {
        assert!(offered(&[""]).contains(&"approve".to_owned()));
        assert_eq!(offered(&["get", ""]), ["Names"]);
        assert_eq!(offered(&["get", "shop", ""]), Vec::<String>::new());
        assert_eq!(offered(&["-n", "prod", "approve", "s"]), ["Names"]);
        assert_eq!(offered(&["plan", "-f", ""]), ["Files"]);
        assert_eq!(offered(&["get", "shop", "-o", ""]), ["wide", "json", "yaml", "name"]);
        assert!(offered(&["get", "shop", "--w"]).contains(&"--watch".to_owned()));
        assert!(offered(&["completion", ""]).contains(&"bash".to_owned()));
        assert_eq!(offered(&["get", "--context", ""]), Vec::<String>::new());
    }

    #[test]
    fn flags_before_lead_to_the_cluster() {
        let words = ["--context=x", "get", "-n", "prod", ""].map(str::to_owned);
        let (_, given) = choices(super::super::Cli::command(), &words);
        assert_eq!(given.get("context").map(String::as_str), Some("x"));
        assert_eq!(given.get("namespace").map(String::as_str), Some("prod"));
    }
}
