//! More endpoints than one EndpointSlice holds. The pods are played, on a node that is there by name only: what is real are
//! the API server, the controllers of Kubernetes that make pods and slices of Deployments and Services, and ours.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::Either, stream};
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use switchback::{
    api::{Outcome, Step, labels},
    clock,
};

use crate::{
    harness::{Scene, active, message, record},
    support::in_namespace,
};

/// Pods of each version; a slice holds a hundred.
const PODS: usize = 120;
/// How often pods that are new or told to end are looked for.
const LOOK: Duration = Duration::from_millis(200);
/// How many pods are written at once.
const AT_ONCE: usize = 16;

/// A node that nobody runs.
struct Played {
    nodes: Api<Node>,
    pods: Api<Pod>,
    name: String,
}

impl Played {
    async fn new(scene: &Scene<'_>) -> Self {
        let admin = &scene.namespace.cluster.admin;
        let name = format!("played-{}", scene.namespace.name);
        let nodes: Api<Node> = Api::all(admin.clone());
        // Nothing but what names it runs there.
        let taint = json!({ "key": "switchback.dev/played", "effect": "NoSchedule" });
        let node = json!({ "metadata": { "name": name }, "spec": { "taints": [taint] } });
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        Self { nodes, pods: scene.namespace.api(admin), name }
    }

    /// Plays the node for as long as somebody waits for it.
    async fn play(&self) {
        for turn in 0_u64.. {
            if turn % 20 == 0 {
                self.beat().await;
            }
            let all = self.pods.list(&ListParams::default()).await.unwrap();
            stream::iter(all.items).for_each_concurrent(AT_ONCE, |pod| self.play_pod(pod)).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn beat(&self) {
        let now = clock::now().to_string();
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "Played", "message": "", "lastHeartbeatTime": now, "lastTransitionTime": now,
        });
        let status = json!({ "status": { "conditions": [ready], "allocatable": { "pods": "500", "cpu": "500", "memory": "500Gi" } } });
        self.nodes.patch_status(&self.name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    async fn play_pod(&self, pod: Pod) {
        let name = pod.name_any();
        let status = pod.status.clone().unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = self.pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
        } else if status.pod_ip.is_none() {
            // Somebody may have deleted it meanwhile.
            let _ = self.write(&name, true, Some(address(&name))).await;
        }
    }

    /// Says of a pod that it is ready, or that it is not.
    async fn write(&self, name: &str, ready: bool, address: Option<String>) -> Result<Pod, kube::Error> {
        let now = clock::now().to_string();
        let condition =
            json!({ "type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": now });
        let mut status = json!({ "phase": "Running", "conditions": [condition] });
        if let Some(address) = address {
            status["podIP"] = address.as_str().into();
            status["podIPs"] = json!([{ "ip": address }]);
        }
        self.pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(json!({ "status": status }))).await
    }

    async fn pods_of(&self, digits: &str) -> Vec<String> {
        let selector = format!("{}={digits}", labels::REVISION);
        self.pods.list(&ListParams::default().labels(&selector)).await.unwrap().iter().map(Pod::name_any).collect()
    }
}

/// An address of its own for a pod, where nobody answers.
fn address(name: &str) -> String {
    let hash = name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    let [_, a, b, c] = hash.to_be_bytes();
    format!("10.{}.{b}.{}", 210 + a % 40, c.clamp(1, 254))
}

/// What a Release says of pods on that node.
fn many(node: &str, version: &str) -> Value {
    json!({ "watch": { "for": "5s", "tolerate": "0s" }, "workloads": [{
        "name": "web",
        "replicas": PODS,
        "services": [{ "name": "shop", "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
        "template": { "spec": {
            "nodeName": node,
            "containers": [{
                "name": "web", "image": "localhost/demo-app:dev", "env": [{ "name": "VERSION", "value": version }],
                "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 } },
            }],
        } },
    }] })
}

/// Returns the pods behind the Service that take traffic, by slice.
async fn behind(scene: &Scene<'_>) -> Vec<BTreeSet<String>> {
    let slices: Api<EndpointSlice> = scene.namespace.api(&scene.namespace.cluster.admin);
    let all = slices.list(&ListParams::default().labels("kubernetes.io/service-name=shop")).await.unwrap();
    let of = |slice: &EndpointSlice| {
        let ready =
            slice.endpoints.iter().filter(|one| one.conditions.as_ref().is_some_and(|told| told.ready == Some(true)));
        ready.filter_map(|one| one.target_ref.as_ref()?.name.clone()).collect::<BTreeSet<_>>()
    };
    all.iter().map(of).filter(|slice| !slice.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_02_a_version_of_more_pods_than_a_slice_holds_is_switched_to_counted_and_left() {
    in_namespace("slices", async |namespace| {
        let scene = Scene::new(namespace).await;
        let played = Arc::new(Played::new(&scene).await);
        let released = std::pin::pin!(release_and_leave(&scene, &played));
        let playing = std::pin::pin!(played.play());
        match futures::future::select(released, playing).await {
            Either::Left(_) => {}
            Either::Right(_) => panic!("nobody plays any more"),
        }
        played.nodes.delete(&played.name, &DeleteParams::default()).await.unwrap();
    })
    .await;
}

async fn release_and_leave(scene: &Scene<'_>, played: &Played) {
    scene.ask_for("1.0.0", &[], many(&played.name, "1.0.0")).await;
    scene.approve().await;
    let over = scene.until_over().await;
    assert_eq!(active(&over), Some("1.0.0"), "{}", scene.report().await);
    let mut more = many(&played.name, "2.0.0");
    more["watch"] = json!({ "for": "10m", "tolerate": "0s", "readyPercent": 90, "immediateBelow": 50 });
    scene.ask_for("2.0.0", &[], more).await;
    scene.approve().await;
    let watched = scene.until_step(Step::Watch).await;
    // It is watched when every slice leads to it and none to the former version.
    let green: BTreeSet<String> =
        played.pods_of(record(&watched).candidate.unwrap().revision.digits()).await.into_iter().collect();
    let slices = behind(scene).await;
    assert!(slices.len() > 1, "one slice holds them all: {slices:?}");
    let reached: BTreeSet<String> = slices.into_iter().flatten().collect();
    assert_eq!((reached.len(), &reached), (PODS, &green));
    // One more than half of them lose their readiness, over all slices.
    let lost = green.iter().take(PODS / 2 + 1);
    stream::iter(lost)
        .for_each_concurrent(AT_ONCE, async |name| drop(played.write(name, false, None).await.unwrap()))
        .await;
    let over = scene.until_over().await;
    assert_eq!(
        (active(&over), record(&over).outcome),
        (Some("1.0.0"), Some(Outcome::RolledBack)),
        "{}",
        scene.report().await
    );
    assert!(message(&over, "Ready").contains(&format!("of {PODS} pods")), "{}", message(&over, "Ready"));
    let blue: BTreeSet<String> = behind(scene).await.into_iter().flatten().collect();
    assert_eq!((blue.len(), blue.is_disjoint(&green)), (PODS, true));
}
