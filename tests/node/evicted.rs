//! Pods of the version under watch that the cluster evicts, as when a node is drained.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, EvictParams, ListParams},
};
use serde_json::json;
use switchback::api::{Outcome, Step, labels};

use crate::{
    harness::{Scene, active, record},
    support::in_namespace,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_02_a_pod_that_is_evicted_takes_no_traffic_back_and_one_that_somebody_deletes_does() {
    in_namespace("evicted", async |namespace| {
        let scene = Scene::new(namespace).await;
        scene.serve_first(json!({})).await;
        let pods: Api<Pod> = namespace.api(&namespace.cluster.admin);
        let load = scene.load().await;
        // Whoever misses one pod goes back at once.
        let strict = json!({ "watch": { "for": "10s", "tolerate": "0s", "readyPercent": 100, "immediateBelow": 100 } });
        for (version, evicted) in [("2.0.0", true), ("3.0.0", false)] {
            scene.ask_for(version, &[], strict.clone()).await;
            scene.approve().await;
            let watched = scene.until_step(Step::Watch).await;
            let digits = record(&watched).candidate.unwrap().revision.digits().to_owned();
            let of_it = ListParams::default().labels(&format!("{}={digits}", labels::REVISION));
            let pod = pods.list(&of_it).await.unwrap().items.swap_remove(0).name_any();
            if evicted {
                pods.evict(&pod, &EvictParams::default()).await.unwrap();
            } else {
                pods.delete(&pod, &DeleteParams::default()).await.unwrap();
            }
            let over = scene.until_over().await;
            let outcome = if evicted { Outcome::Succeeded } else { Outcome::RolledBack };
            assert_eq!(record(&over).outcome, Some(outcome), "{}", scene.report().await);
            assert_eq!(active(&over), Some("2.0.0"));
        }
        load.end("evicted").await;
    })
    .await;
}
