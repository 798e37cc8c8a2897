//! Kubernetes Events, few of them: each one costs the API server as much as a patch.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::{
    api::{MANAGER, Reason},
    cluster::request::bounded,
    workload::snapshot::Workload,
};

/// How many Events may come in a burst, and how many a second in the long run.
const BURST: f64 = 50.0;
const PER_SECOND: f64 = 1.0;

/// The time from one Event to the next: patches come first, and each Event costs as much as one of them.
const SPACING: Duration = Duration::from_millis(250);

/// Emits Events as long as the budget lasts; what exceeds it is in the log and in status anyway.
pub(super) struct Events {
    recorder: Recorder,
    budget: Mutex<Budget>,
    /// What is being sent: a shutdown waits for it.
    tasks: TaskTracker,
}

/// What may still be published.
struct Budget {
    left: f64,
    at: Instant,
    /// When the last Event is sent that has been allowed.
    last: Instant,
    is_closed: bool,
}

impl Budget {
    fn new() -> Self {
        Self { left: BURST, at: Instant::now(), last: Instant::now(), is_closed: false }
    }

    /// When the next Event may go out; `None` if there are too many of them.
    fn next(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.left = now.duration_since(self.at).as_secs_f64().mul_add(PER_SECOND, self.left).min(BURST);
        self.at = now;
        if self.left < 1.0 || self.is_closed {
            return None;
        }
        self.left -= 1.0;
        self.last = now.max(self.last + SPACING);
        Some(self.last)
    }
}

impl Events {
    pub fn new(client: Client) -> Self {
        let instance = std::env::var("POD_NAME").ok();
        let recorder = Recorder::new(client, Reporter { controller: MANAGER.to_owned(), instance });
        Self { recorder, budget: Mutex::new(Budget::new()), tasks: TaskTracker::new() }
    }

    /// Emits an Event about a workload in the background; `sidecar` is the name of the `LogSidecar`, empty if it is about none.
    pub fn emit(&self, workload: &Workload, sidecar: &str, reason: Reason, note: String) {
        let next = self.budget.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(next) = next else {
            tracing::debug!(workload = %workload.key, %reason, "no Event: too many of them");
            return;
        };
        let (event, regarding) = (event(workload, sidecar, reason, note), regarding(workload));
        let (recorder, key) = (self.recorder.clone(), workload.key.clone());
        self.tasks.spawn(async move {
            tokio::time::sleep_until(next).await;
            if let Err(error) = bounded(recorder.publish(&event, &regarding)).await {
                tracing::debug!(workload = %key, %reason, "no Event: {error}");
            }
        });
    }

    /// Sends no further Events, and waits until those that are being sent are.
    pub async fn close(&self) {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn event(workload: &Workload, sidecar: &str, reason: Reason, note: String) -> Event {
    let related = (!sidecar.is_empty()).then(|| ObjectReference {
        api_version: Some("logsidecar.dev/v1alpha1".to_owned()),
        kind: Some("LogSidecar".to_owned()),
        name: Some(sidecar.to_owned()),
        namespace: Some(workload.key.namespace.clone()),
        ..ObjectReference::default()
    });
    Event {
        type_: EventType::Normal,
        reason: reason.as_str().to_owned(),
        note: Some(if note.is_empty() { format!("{reason} by LogSidecar {sidecar}") } else { note }),
        action: "Patch".to_owned(),
        secondary: related,
    }
}

fn regarding(workload: &Workload) -> ObjectReference {
    let id = &workload.key.id;
    ObjectReference {
        api_version: Some(id.kind.api_version().to_owned()),
        kind: Some(id.kind.name().to_owned()),
        name: Some(id.name.to_string()),
        namespace: Some(workload.key.namespace.clone()),
        uid: Some(workload.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_come_one_after_the_other_and_not_without_end() {
        let mut budget = Budget::new();
        tokio::time::advance(SPACING).await;
        let start = Instant::now();
        let times: Vec<_> = std::iter::from_fn(|| budget.next()).map(|at| (at - start).as_millis()).collect();
        assert_eq!((times.len(), &times[..3]), (50, &[0, 250, 500][..]));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(std::iter::from_fn(|| budget.next()).count(), 2);
    }
}
