//! The watches: from events to the store and to the queues.
//!
//! Objects in a list are stored at once. Objects missing from it leave the store when the list is complete. Leaving the store alone
//! removes nothing from a workload: absence has to be confirmed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use kube::{
    Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt, utils::Backoff, watcher},
};
use tokio::time::Instant;

use super::{metrics::Metrics, readiness::Readiness, scope::Scope, store::Store, work::Work};
use crate::{
    api::LogSidecar,
    cluster::request::{PAGE, objects},
    decide::log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
    workload::{kind::Kind, snapshot::Workload},
};

/// What the watches feed.
#[derive(Clone)]
pub(super) struct Watcher {
    pub client: Client,
    pub scope: Arc<Scope>,
    pub store: Arc<Store>,
    pub work: Arc<Work>,
    pub readiness: Arc<Readiness>,
    pub metrics: Arc<Metrics>,
}

impl Watcher {
    /// Watches the workloads of one kind until the task is dropped.
    pub async fn workloads(&self, kind: Kind) {
        let mut seen = BTreeSet::new();
        let mut events = std::pin::pin!(self.watch(&kind.resource()));
        while let Some(event) = events.next().await {
            match event {
                // The custom resource may come later, or never: the work on all other kinds does not wait for it.
                None if matches!(kind, Kind::Custom(_)) => self.listed(&kind.to_string()),
                None => {}
                Some(watcher::Event::Init) => seen.clear(),
                Some(watcher::Event::InitApply(object)) => {
                    if let Some(workload) = Workload::observe(kind, &object) {
                        seen.insert(workload.key.clone());
                        self.work.workload_changed(workload);
                    }
                }
                Some(watcher::Event::Apply(object)) => {
                    // The answer to a patch of ours has most often shown it already, and has been reconciled.
                    if !self.store.has(kind, &object)
                        && let Some(workload) = Workload::observe(kind, &object)
                    {
                        self.work.workload_changed(workload);
                    }
                }
                Some(watcher::Event::Delete(object)) => {
                    if let Some(workload) = Workload::observe(kind, &object) {
                        self.work.workload_gone(&workload.key);
                    }
                }
                Some(watcher::Event::InitDone) => {
                    self.store.workloads_not_in(kind, &seen).iter().for_each(|key| self.work.workload_gone(key));
                    seen.clear();
                    self.listed(&kind.to_string());
                }
            }
        }
    }

    /// Watches the LogSidecars until the task is dropped.
    pub async fn log_sidecars(&self) {
        let observe = |object: &DynamicObject| self.observe(object);
        let mut seen = BTreeSet::new();
        let mut events = std::pin::pin!(self.watch(&ApiResource::erase::<LogSidecar>(&())));
        while let Some(event) = events.next().await {
            match event {
                None => {}
                Some(watcher::Event::Init) => seen.clear(),
                Some(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                    if let Some(sidecar) = observe(&object) {
                        seen.insert(sidecar.key.clone());
                        self.work.log_sidecar_changed(&sidecar);
                    }
                }
                Some(watcher::Event::Delete(object)) => {
                    if let Some(sidecar) = observe(&object) {
                        self.store.remember_deleted(&sidecar.uid);
                        // After a list that lags behind, it may be one whose successor is known already.
                        if self.store.log_sidecar(&sidecar.key).is_none_or(|stored| stored.uid == sidecar.uid) {
                            self.work.log_sidecar_gone(&sidecar.key);
                        }
                    }
                }
                Some(watcher::Event::InitDone) => {
                    self.store.log_sidecars_not_in(&seen).iter().for_each(|key| self.work.log_sidecar_gone(key));
                    seen.clear();
                    self.listed("LogSidecar");
                }
            }
        }
    }

    /// Reads a `LogSidecar`. Every status that is written comes back by the watch: its spec is not resolved again.
    fn observe(&self, object: &DynamicObject) -> Option<ValidatedLogSidecar> {
        let key = LogSidecarKey { namespace: object.namespace()?, name: object.metadata.name.as_deref()?.parse().ok()? };
        let before = self.store.log_sidecar(&key);
        ValidatedLogSidecar::observe_after(object, &self.scope.images, before.as_deref())
    }

    /// The first list of a kind is complete.
    fn listed(&self, kind: &str) {
        if self.readiness.listed(kind) {
            self.work.begin_first_pass();
            self.readiness.synced();
        }
    }

    /// Events for ever: an error is logged and the watch started again, with growing pauses. `None` instead of an event says that the API
    /// server does not know the resource.
    fn watch<'a>(&'a self, resource: &ApiResource) -> impl Stream<Item = Option<watcher::Event<DynamicObject>>> + use<'a> {
        let api = objects(&self.client, self.scope.namespace.as_deref(), resource);
        let kind = resource.kind.clone();
        self.metrics.watches(&kind);
        let watchers = stream::iter(0u32..).then(move |number| {
            let (api, kind) = (api.clone(), kind.clone());
            async move {
                if number > 0 {
                    tracing::warn!(kind, "watch expired: listing anew");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                let events = watcher(api, watcher::Config::default().page_size(PAGE)).backoff(Pauses::default());
                events.take_while(|event| futures::future::ready(!is_expired(event))).filter_map(move |event| {
                    let seen = match event {
                        Ok(event) => Some(Some(event)),
                        Err(error) => {
                            tracing::warn!(kind, "watch interrupted: {}", cause(&kind, &error));
                            self.metrics.interrupted(&kind);
                            is_not_served(&error).then_some(None)
                        }
                    };
                    futures::future::ready(seen)
                })
            }
        });
        watchers.flatten()
    }
}

/// Whether a watch was answered with 410 instead of being begun: a watcher would ask for the same version for ever.
fn is_expired(event: &watcher::Result<watcher::Event<DynamicObject>>) -> bool {
    matches!(event, Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.code == 410)
}

fn is_not_served(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

/// Describes an error for the log, with a remedy for the most likely one, a missing CRD.
fn cause(kind: &str, error: &watcher::Error) -> String {
    let (watcher::Error::InitialListFailed(inner) | watcher::Error::WatchStartFailed(inner)) = error else {
        return error.to_string();
    };
    match inner {
        kube::Error::Api(status) if status.code == 404 && kind == "LogSidecar" => {
            "not served: apply crds/logsidecar.yaml".to_owned()
        }
        kube::Error::Api(status) if status.code == 404 => "not served: is its CustomResourceDefinition there?".to_owned(),
        inner => inner.to_string(),
    }
}

/// Pauses that double from 1 s to 15 s, and start over after a minute without an error.
///
/// `kube`'s own start over with every event, and a watcher begins every attempt with one.
#[derive(Debug, Default)]
struct Pauses {
    failures: u32,
    last: Option<Instant>,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let recent = self.last.is_some_and(|last| last.elapsed() < Duration::from_secs(60));
        self.failures = if recent { self.failures + 1 } else { 0 };
        self.last = Some(Instant::now());
        Some(Duration::from_secs(1 << self.failures.min(4)).min(Duration::from_secs(15)))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_start_over_after_a_quiet_minute() {
        let mut pauses = Pauses::default();
        let mut seconds: Vec<u64> = pauses.by_ref().take(6).map(|pause| pause.as_secs()).collect();
        tokio::time::advance(Duration::from_secs(61)).await;
        seconds.extend(pauses.next().map(|pause| pause.as_secs()));
        assert_eq!(seconds, [1, 2, 4, 8, 15, 15, 1]);
    }
}
