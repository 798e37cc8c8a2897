//! Kubernetes Events, few of them: each one costs the API server as much as a patch.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time::Instant;

use super::{cache::SidecarKey, workload::Workload};
use crate::api::{MANAGER, Reason};

/// How many Events may come in a burst, and how many a second in the long run.
const BURST: f64 = 50.0;
const PER_SECOND: f64 = 1.0;

/// Publishes Events as long as the budget lasts; what is over it is in the log and in status anyway.
pub(super) struct Events {
    recorder: Recorder,
    budget: Mutex<(f64, Instant)>,
}

impl Events {
    pub fn new(client: Client) -> Self {
        let instance = std::env::var("POD_NAME").ok();
        let recorder = Recorder::new(client, Reporter { controller: MANAGER.to_owned(), instance });
        Self { recorder, budget: Mutex::new((BURST, Instant::now())) }
    }

    /// Says on a workload what was done to it for which `LogSidecar`.
    pub async fn publish(&self, workload: &Workload, sidecar: &SidecarKey, reason: Reason, note: String) {
        if !self.may_publish() {
            tracing::debug!(workload = %workload.key, %reason, "no Event: too many of them");
            return;
        }
        let kind = workload.key.target.kind;
        let regarding = ObjectReference {
            api_version: Some(kind.api_version().to_owned()),
            kind: Some(kind.name().to_owned()),
            name: Some(workload.key.target.name.clone()),
            namespace: Some(workload.key.namespace.clone()),
            uid: Some(workload.uid.clone()),
            ..ObjectReference::default()
        };
        let related = (!sidecar.name.is_empty()).then(|| ObjectReference {
            api_version: Some("logsidecar.dev/v1alpha1".to_owned()),
            kind: Some("LogSidecar".to_owned()),
            name: Some(sidecar.name.clone()),
            namespace: Some(sidecar.namespace.clone()),
            ..ObjectReference::default()
        });
        let note = if note.is_empty() { format!("{reason} by LogSidecar {}", sidecar.name) } else { note };
        let event = Event {
            type_: EventType::Normal,
            reason: reason.as_str().to_owned(),
            note: Some(note),
            action: "Patch".to_owned(),
            secondary: related,
        };
        if let Err(error) = self.recorder.publish(&event, &regarding).await {
            tracing::debug!(workload = %workload.key, %reason, "no Event: {error}");
        }
    }

    fn may_publish(&self) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, at) = *budget;
        let left = at.elapsed().as_secs_f64().mul_add(PER_SECOND, left).min(BURST);
        let may = left >= 1.0;
        *budget = (if may { left - 1.0 } else { left }, Instant::now());
        may
    }
}
