//! Two controllers, one of which leads: the other takes over, however the first one ends, and one that was only stopped
//! harms nobody when it goes on.

use std::{path::PathBuf, process::Child, time::Duration};

use axum::http::Method;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;
use switchback::{
    api::{Outcome, Step},
    clock::Stopwatch,
};

use crate::{
    account,
    harness::{Scene, active, names_of, proof, record},
    proxy::Proxy,
    support::{Namespace, in_namespace, within},
};

/// How long a lease lasts here; Kubernetes' own 15 s would only make the tests longer.
const LEASE: Duration = Duration::from_secs(3);
const ELECTION: [&str; 7] =
    ["--leader-elect", "--lease-duration", "3s", "--lease-renew-deadline", "2s", "--lease-retry-period", "500ms"];

/// Two candidates for one lease in a namespace.
struct Candidates<'a> {
    scene: &'a Scene<'a>,
}

/// One of them.
struct Candidate {
    child: Child,
}

impl Drop for Candidate {
    fn drop(&mut self) {
        // One that is stopped ends all the same; one that has ended needs nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Candidate {
    fn signal(&self, signal: &str) {
        let told =
            std::process::Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(told.unwrap().success());
    }

    async fn ends(&mut self) -> bool {
        let exit = within(Duration::from_secs(30), "it ends", async || self.child.try_wait().unwrap()).await;
        exit.success()
    }
}

impl Candidates<'_> {
    async fn start(&self, name: &str, server: Option<&str>) -> Candidate {
        let kubeconfig = self.kubeconfig(name, server).await;
        Candidate { child: self.scene.start_as(name, &kubeconfig, &ELECTION) }
    }

    async fn kubeconfig(&self, name: &str, server: Option<&str>) -> PathBuf {
        let path = self.scene.folder().join(format!("kubeconfig-{name}"));
        account::write_kubeconfig_in(&path, &self.scene.namespace.name, server).await;
        path
    }

    /// Waits until one leads; returns how long that took.
    async fn until_leads(&self, name: &str) -> Duration {
        let watch = Stopwatch::start();
        let leases = self.scene.namespace.api::<Lease>(&self.scene.namespace.cluster.admin);
        let prefix = format!("{name}_");
        within(LEASE * 5, &format!("{name} leads"), async || {
            let holder = leases.get_opt("switchback").await.unwrap()?.spec?.holder_identity?;
            holder.starts_with(&prefix).then_some(())
        })
        .await;
        watch.elapsed()
    }
}

async fn scene(namespace: &Namespace) -> Scene<'_> {
    let scene = Scene::without_controller(namespace).await;
    account::give_lease(&namespace.name).await;
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_a_leader_that_was_stopped_before_it_moved_traffic_moves_none_when_it_goes_on() {
    in_namespace("stopped", async |namespace| {
        let scene = scene(namespace).await;
        let candidates = Candidates { scene: &scene };
        let proxy = Proxy::start().await;
        let first = candidates.start("a", Some(&format!("http://{}", proxy.address))).await;
        candidates.until_leads("a").await;
        let second = candidates.start("b", None).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        proxy.hold(Method::PATCH, "/services/shop");
        scene.ask_for("2.0.0", &[], json!({})).await;
        scene.approve().await;
        within(Duration::from_secs(60), "the forward patch has left", async || {
            tokio::time::timeout(Duration::from_secs(1), proxy.held()).await.ok()
        })
        .await;
        first.signal("STOP");
        // The other one finds the switch recorded and a person who wants none of it any more.
        let release = scene.read().await;
        assert_eq!(record(&release).step, Step::Switch);
        scene.decide(&release, json!({ "abort": {} })).await.unwrap();
        candidates.until_leads("b").await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Aborted)));
        let before = proxy.writes().len();
        let answers = proxy.release().await;
        first.signal("CONT");
        assert_eq!(answers, [409], "the patch that was on its way is refused");
        // It learns that it does not lead; until then it may ask, but writes nothing.
        tokio::time::sleep(LEASE * 2).await;
        let late = proxy.writes().split_off(before);
        assert_eq!(late.len(), 1, "nothing but that patch: {late:?}");
        let counted = load.end("stopped-leader").await;
        assert_eq!(counted.by_version.len(), 1, "users have seen 1.0.0 only");
        assert_eq!(names_of(&scene, "apps/v1", "Deployment").await.len(), 1);
        // And it follows: when the other one ends, it works again.
        drop(second);
        candidates.until_leads("a").await;
        scene.ask_for("3.0.0", &[], json!({})).await;
        scene.approve().await;
        assert_eq!(active(&scene.until_over().await), Some("3.0.0"), "{}", scene.report().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b9_another_leader_goes_on_when_one_is_killed_and_at_once_when_one_is_told_to_end() {
    in_namespace("leaders", async |namespace| {
        let scene = scene(namespace).await;
        let candidates = Candidates { scene: &scene };
        let first = candidates.start("a", None).await;
        candidates.until_leads("a").await;
        let mut second = candidates.start("b", None).await;
        scene.serve_first(json!({})).await;
        let load = scene.load().await;
        // Killed in the middle of a release.
        scene.ask_for("2.0.0", &[], json!({})).await;
        scene.approve().await;
        scene.until_step(Step::Deploy).await;
        drop(first);
        let killed = candidates.until_leads("b").await;
        assert_eq!(active(&scene.until_over().await), Some("2.0.0"), "{}", scene.report().await);
        // Told to end in the middle of a watch window, with another one beside it.
        let third = candidates.start("c", None).await;
        scene
            .ask_for("3.0.0", &[("UNREADY_WHEN_SERVING", "6")], json!({ "watch": { "for": "60s", "tolerate": "0s" } }))
            .await;
        scene.approve().await;
        scene.until_step(Step::Watch).await;
        second.signal("TERM");
        let told = candidates.until_leads("c").await;
        assert!(second.ends().await, "it ends well");
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("2.0.0"), Some(Outcome::RolledBack)));
        load.end("leaders").await;
        let seconds =
            json!({ "killed": killed.as_secs_f64(), "toldToEnd": told.as_secs_f64(), "lease": LEASE.as_secs() });
        proof("leaders", &seconds.to_string());
        assert!(killed <= LEASE * 2 && told <= Duration::from_secs(2), "{seconds}");
        drop(third);
    })
    .await;
}
