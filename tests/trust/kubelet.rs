//! A kubelet that runs nothing: in a control plane without nodes it says of every pod what a node would say, at once. So a rollout
//! takes a second, a sidecar crashes when a case wants it to, and a controller can be killed at every single request of it. (What a
//! real kubelet says to the same is in the end-to-end suite.)
//!
//! A container whose image contains `crashes` ends with code 3, again and again; one with `crashes-later` after three seconds.

use std::time::{Duration, Instant};

use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use logsidecar::workload::kind::Kind;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::proxy::runtime;

/// How long a sidecar that crashes later runs.
pub const LATER: Duration = Duration::from_secs(3);

pub struct Kubelet(JoinHandle<()>);

impl Kubelet {
    /// Serves the pods of a namespace.
    pub fn of(client: &Client, namespace: &str) -> Self {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &Kind::Pod.resource());
        let start = Instant::now();
        let mut first_seen = std::collections::HashMap::new();
        Self(runtime().spawn(async move {
            loop {
                let pods = api.list(&ListParams::default()).await.map(|pods| pods.items).unwrap_or_default();
                for pod in pods {
                    let name = pod.metadata.name.clone().unwrap_or_default();
                    let seen = *first_seen.entry(name.clone()).or_insert_with(|| start.elapsed());
                    let status = status(&pod.data["spec"], start.elapsed().saturating_sub(seen));
                    if pod.data["status"]["containerStatuses"] != status["containerStatuses"]
                        || pod.data["status"]["initContainerStatuses"] != status["initContainerStatuses"]
                    {
                        let patch = Patch::Merge(json!({"status": status}));
                        drop(api.patch_status(&name, &PatchParams::default(), &patch).await);
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }))
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
    } else if image.contains("crashes") && (!image.contains("crashes-later") || age > LATER) {
        status["ready"] = false.into();
        status["started"] = false.into();
        status["restartCount"] = 2.into();
        status["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        status["lastState"] = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
    }
    status
}
