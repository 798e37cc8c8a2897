//! A kubelet that runs nothing: in a control plane without nodes it says of every pod what a node would say, at once. So a rollout
//! takes a second, a sidecar crashes when a case wants it to, and a controller can be killed at every single request of it. (What a
//! real kubelet says to the same is in the end-to-end suite.)
//!
//! A container whose image contains `crashes` ends with code 3, again and again; one with `crashes-later` after three seconds.

use std::{
    collections::HashMap,
    pin::pin,
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use logsidecar::workload::kind::Kind;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::proxy::runtime;

/// How long a sidecar that crashes later runs.
pub const LATER: Duration = Duration::from_secs(3);

pub struct Kubelet(JoinHandle<()>);

impl Kubelet {
    /// Serves the pods of a namespace.
    pub fn of(client: &Client, namespace: &str) -> Self {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &Kind::Pod.resource());
        Self(runtime().spawn(async move {
            let events = watcher(api.clone(), watcher::Config::default());
            let mut pods = pin!(events.default_backoff().applied_objects());
            let (mut first_seen, mut later) = (HashMap::new(), JoinSet::new());
            while let Some(event) = pods.next().await {
                // A watch that has failed is begun again.
                let Ok(pod) = event else { continue };
                let uid = pod.uid().unwrap_or_default();
                let is_new = !first_seen.contains_key(&uid);
                let seen = *first_seen.entry(uid).or_insert_with(Instant::now);
                report(&api, &pod, seen.elapsed()).await;
                let spec = &pod.data["spec"];
                if is_new && status(spec, LATER) != status(spec, Duration::ZERO) {
                    let api = api.clone();
                    later.spawn(async move {
                        tokio::time::sleep(LATER).await;
                        report(&api, &pod, LATER).await;
                    });
                }
            }
        }))
    }
}

/// Writes the status of a pod of that age, unless it is the same already.
async fn report(api: &Api<DynamicObject>, pod: &DynamicObject, age: Duration) {
    let status = status(&pod.data["spec"], age);
    if ["containerStatuses", "initContainerStatuses"].iter().any(|list| pod.data["status"][list] != status[list]) {
        let patch = Patch::Merge(json!({"status": status}));
        // It may have been deleted meanwhile.
        drop(api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await);
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn status(spec: &Value, age: Duration) -> Value {
    let statuses = |list: &str| -> Vec<Value> {
        let containers = spec[list].as_array().into_iter().flatten();
        containers.map(|container| container_status(container, list == "initContainers", age)).collect()
    };
    let (init, app) = (statuses("initContainers"), statuses("containers"));
    let is_ready = init.iter().chain(&app).all(|status| status["ready"] == true);
    let condition = |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    json!({
        "phase": "Running",
        "conditions": [condition("Ready", is_ready), condition("ContainersReady", is_ready)],
        "initContainerStatuses": init,
        "containerStatuses": app,
    })
}

fn container_status(container: &Value, is_init: bool, age: Duration) -> Value {
    let image = container["image"].as_str().unwrap_or_default();
    let mut status = json!({"name": container["name"], "image": image, "imageID": "", "restartCount": 0, "ready": true, "started": true, "state": {"running": {}}, "lastState": {}});
    if is_init && container["restartPolicy"] != "Always" {
        status["state"] = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    } else if image.contains("crashes") && (!image.contains("crashes-later") || age >= LATER) {
        status["ready"] = false.into();
        status["started"] = false.into();
        status["restartCount"] = 2.into();
        status["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        status["lastState"] = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
    }
    status
}
