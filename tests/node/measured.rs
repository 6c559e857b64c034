//! Certificates and figures that decide about a release: the agent's Jobs ask the API server's own certificate, and a real
//! Prometheus that scrapes a figure which the test says.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{Router, routing::get};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, api::ListParams};
use serde_json::json;
use switchback::api::{Outcome, Step};

use crate::{
    harness::{Scene, active, condition, message, page, record},
    support::{
        in_namespace,
        process::{Running, free_port},
        soon,
    },
};

/// A Prometheus on the node, which scrapes one figure every second.
struct Prometheus {
    /// As pods find it.
    address: String,
    figure: Arc<AtomicU32>,
    _process: Running,
}

impl Prometheus {
    async fn start(scene: &Scene<'_>) -> Self {
        let figure = Arc::<AtomicU32>::default();
        let shown = Arc::clone(&figure);
        let show = move || async move { format!("failed_orders {}\n", shown.load(Ordering::SeqCst)) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let router = Router::new().route("/metrics", get(show));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
            "scrape_configs": [{ "job_name": "shop", "static_configs": [{ "targets": [target] }] }],
        });
        let file = scene.folder().join("prometheus.yml");
        std::fs::write(&file, settings.to_string()).unwrap();
        let listens = SocketAddr::new(node_address(scene).await.parse().unwrap(), free_port());
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", scene.folder().join("prometheus").display()),
            format!("--web.listen-address={listens}"),
            "--storage.tsdb.wal-segment-size=10MB".to_owned(),
        ];
        // The lab has it on its PATH.
        let log = scene.folder().join("prometheus.log");
        let process = Running::start(Path::new("prometheus"), &arguments, None, &log);
        soon("Prometheus has a figure", async || {
            let answer = page(&listens.to_string(), "/api/v1/query?query=failed_orders").await.ok()?;
            answer.contains("\"value\"").then_some(())
        })
        .await;
        Self { address: format!("http://{listens}"), figure, _process: process }
    }
}

async fn node_address(scene: &Scene<'_>) -> String {
    let nodes: Api<Node> = Api::all(scene.namespace.cluster.admin.clone());
    let node = nodes.list(&ListParams::default()).await.unwrap().items.remove(0);
    let addresses = node.status.unwrap().addresses.unwrap();
    addresses.into_iter().find(|address| address.type_ == "InternalIP").unwrap().address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_stops_a_release_and_a_figure_of_prometheus_takes_one_back() {
    in_namespace("measured", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let prometheus = Prometheus::start(&scene).await;
        let load = scene.load().await;
        // Every namespace has the cluster's authority.
        let certificate = |name: &str, phase: &str, of: &str| {
            let ca = json!({ "configMap": "kube-root-ca.crt" });
            let tls = json!({ "host": "kubernetes.default.svc", "name": of, "ca": ca });
            json!({ "name": name, "phase": phase, "tls": tls })
        };
        let asked = |name: &str, phase: &str| {
            let query = json!({ "address": prometheus.address, "query": "failed_orders", "max": "5", "every": "1s" });
            json!({ "name": name, "phase": phase, "prometheus": query })
        };

        let stranger = json!({ "checks": [certificate("certificate", "Preflight", "shop.example.com")] });
        scene.ask_for("2.0.0", &[], stranger).await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Failed)));
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "ChecksFailed".into()));
        let told = message(&over, "Ready");
        assert!(told.contains("certificate: kubernetes.default.svc:443: "), "{told}");

        let checks = [
            certificate("certificate", "Verify", "kubernetes.default.svc"),
            asked("before", "Verify"),
            certificate("still", "Watch", "kubernetes.default.svc"),
            asked("orders", "Watch"),
        ];
        scene.ask_for("2.1.0", &[], json!({ "checks": checks, "watch": { "for": "90s", "tolerate": "0s" } })).await;
        scene.approve().await;
        let watched = scene.until_step(Step::Watch).await;
        assert_eq!(active(&watched), Some("1.0.0"));
        prometheus.figure.store(7, Ordering::SeqCst);
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        let told = message(&over, "Ready");
        assert!(told.contains("orders: ") && told.contains('7'), "{told}");
        let counted = load.end("measured").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0", "2.1.0"]);
    })
    .await;
}
