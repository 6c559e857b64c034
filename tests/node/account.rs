//! The controller's account as an install makes it: the chart's own rights, and nothing but a token.

use std::{path::Path, process::Stdio};

use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::{CONTROLLER, SOON, within};

/// Kinds of the chart that say who may do what.
const KINDS: [&str; 5] = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];

/// Gives the account its rights in a namespace.
pub async fn give_rights(namespace: &str) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/switchback");
    let namespaces = format!("namespaces={{{namespace}}}");
    let text = run(
        "helm",
        &["template", "switchback", chart, "-n", "switchback-system", "--set", "mode=Namespaced", "--set", &namespaces],
        "",
    )
    .await;
    let system = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "switchback-system" } });
    let rights = serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| object["kind"].as_str().is_some_and(|kind| KINDS.contains(&kind)));
    let documents: Vec<String> = [system].into_iter().chain(rights).map(|object| object.to_string()).collect();
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager", "tests", "-f", "-"];
    run("kubectl", &apply, &documents.join("\n---\n")).await;
    within(SOON, "the controller's rights are known", async || {
        let question = ["auth", "can-i", "watch", "releases.switchback.dev", "-n", namespace, "--as", CONTROLLER];
        (output("kubectl", &question, "").await.0).then_some(())
    })
    .await;
}

/// Lets the account take part in an election in a namespace, by the chart's own Role.
pub async fn give_lease(namespace: &str) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/switchback");
    let only = ["--show-only", "templates/lease-role.yaml"];
    let text = run("helm", &["template", "switchback", chart, "-n", namespace, only[0], only[1]], "").await;
    let documents = serde_yaml::Deserializer::from_str(&text).map(|document| {
        let mut object = Value::deserialize(document).unwrap();
        for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
            subject["namespace"] = "switchback-system".into();
        }
        object.to_string()
    });
    let documents: Vec<String> = documents.collect();
    run("kubectl", &["apply", "--server-side", "-f", "-"], &documents.join("\n---\n")).await;
    within(SOON, "the right to lead is known", async || {
        let question = ["auth", "can-i", "update", "leases/switchback", "-n", namespace, "--as", CONTROLLER];
        (output("kubectl", &question, "").await.0).then_some(())
    })
    .await;
}

/// Writes a kubeconfig with a token of the account and nothing else of the administrator's.
pub async fn write_kubeconfig(path: &Path) {
    write_kubeconfig_in(path, "default", None).await;
}

/// The same for one that runs in a namespace, and sees the API server under this address when one is given.
pub async fn write_kubeconfig_in(path: &Path, namespace: &str, server: Option<&str>) {
    let token =
        run("kubectl", &["create", "token", "switchback", "-n", "switchback-system", "--duration", "2h"], "").await;
    let text = std::fs::read_to_string(std::env::var("KUBECONFIG").unwrap()).unwrap();
    let mut config: Value = serde_yaml::from_str(&text).unwrap();
    config["users"] = json!([{ "name": "controller", "user": { "token": token.trim() } }]);
    for context in config["contexts"].as_array_mut().unwrap() {
        context["context"]["user"] = "controller".into();
        context["context"]["namespace"] = namespace.into();
    }
    if let Some(server) = server {
        for cluster in config["clusters"].as_array_mut().unwrap() {
            cluster["cluster"] = json!({ "server": server });
        }
    }
    std::fs::write(path, config.to_string()).unwrap();
}

/// Runs a program that must succeed; returns what it printed.
async fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let (success, printed, complaint) = output(program, arguments, input).await;
    assert!(success, "{program} {arguments:?}: {complaint}");
    printed
}

async fn output(program: &str, arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}, which the lab has on its PATH: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}
