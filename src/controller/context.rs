//! What all parts of the controller share, and how a change that one of them sees reaches the others.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube::{Api, Client, api::PartialObjectMeta};

use super::{
    apply::TIMEOUT,
    cache::{Before, Cache, Sidecar, SidecarKey},
    configs::Configs,
    events::Events,
    memory::{Contest, Contests, Memories, Memory},
    metrics::Metrics,
    outcomes::Outcomes,
    queue::Queue,
    revisions::Revisions,
    rollout::Rollouts,
    surroundings::Neighbourhood,
    workload::{Workload, WorkloadKey},
};
use crate::{
    api::{LogSidecar, Reason},
    plan::{
        Setting,
        claim::{Labelled, matches},
    },
    shipper::Images,
    status::Outcome,
    workload::kind::{Kind, Kinds},
};

/// How long outcomes gather before the status of a `LogSidecar` is written.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// The same while many workloads are waiting, whose patches come first.
const DEBOUNCE_AT_WORK: Duration = Duration::from_millis(1500);

/// What all parts of the controller share.
pub(super) struct Context {
    pub client: Client,
    /// The one namespace to work in; all of them if there is none.
    pub namespace: Option<String>,
    pub kinds: Kinds,
    pub images: Images,
    pub native_sidecars: bool,
    pub cache: Cache,
    pub workloads: Queue<WorkloadKey>,
    pub sidecars: Queue<SidecarKey>,
    pub outcomes: Outcomes,
    pub memories: Memories,
    pub contests: Contests,
    pub rollouts: Rollouts,
    pub revisions: Revisions,
    pub configs: Configs,
    pub neighbourhood: Neighbourhood,
    pub events: Events,
    pub metrics: Metrics,
    /// The kinds whose first list is complete.
    pub complete: Mutex<BTreeSet<String>>,
    pub is_complete: tokio::sync::watch::Sender<bool>,
    /// Whether this controller works, and does not wait for another one to end.
    pub leads: AtomicBool,
    /// Whether the queue has been empty once since the start.
    pub seen_all: AtomicBool,
}

impl Context {
    /// The surroundings of workloads of that kind.
    pub fn setting(&self, kind: Kind) -> Setting<'_> {
        Setting { kind, images: &self.images, native_sidecars: self.native_sidecars }
    }

    pub fn new(client: Client, namespace: Option<String>, kinds: Kinds, images: Images, native_sidecars: bool) -> Self {
        Self {
            events: Events::new(client.clone()),
            client,
            namespace,
            kinds,
            images,
            native_sidecars,
            cache: Cache::default(),
            workloads: Queue::new(),
            sidecars: Queue::new(),
            outcomes: Outcomes::default(),
            memories: Memories::default(),
            contests: Contests::default(),
            rollouts: Rollouts::default(),
            revisions: Revisions::default(),
            configs: Configs::default(),
            neighbourhood: Neighbourhood::default(),
            metrics: Metrics::default(),
            complete: Mutex::default(),
            is_complete: tokio::sync::watch::channel(false).0,
            leads: AtomicBool::new(false),
            seen_all: AtomicBool::new(false),
        }
    }

    pub fn memories(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn synced(&self, kind: impl std::fmt::Display) {
        let kind = kind.to_string();
        let mut complete = self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        if complete.insert(kind.clone()) {
            tracing::info!(kind, "watching");
        }
        if complete.len() == self.kinds.in_cluster().count() + 1
            && !self.is_complete.send_replace(true)
            && self.workloads.is_idle()
        {
            self.seen_all.store(true, Ordering::Relaxed);
        }
    }

    pub fn is_synced(&self) -> bool {
        *self.is_complete.borrow()
    }

    pub async fn until_synced(&self) {
        // The sender lives as long as the context.
        drop(self.is_complete.subscribe().wait_for(|complete| *complete).await);
    }

    /// Whether every workload has been looked at since the start.
    pub fn has_seen_all(&self) -> bool {
        self.seen_all.load(Ordering::Relaxed)
    }

    pub fn workload_changed(&self, workload: Workload) {
        let key = workload.key.clone();
        let concerns_us = workload.ledger.is_some() || !self.cache.sidecars_in(&key.namespace).is_empty();
        self.cache.keep_workload(workload);
        if concerns_us {
            self.workloads.add(key);
        }
    }

    pub fn workload_gone(&self, key: &WorkloadKey) {
        if let Some(gone) = self.cache.drop_workload(key) {
            self.memories().remove(&gone.uid);
            self.contests().remove(&gone.uid);
        }
        self.rollouts.waves().gone(key);
        self.workloads.add(key.clone());
    }

    pub fn sidecar_changed(&self, sidecar: Sidecar) {
        let key = sidecar.key.clone();
        let now = (sidecar.uid.clone(), sidecar.generation, sidecar.phase);
        let spec = sidecar.spec.clone().ok();
        let Some(Before(before)) = self.cache.keep_sidecar(sidecar) else { return };
        let is_news = before.is_none_or(|before| (before.uid.clone(), before.generation, before.phase) != now);
        if is_news {
            let outcomes = self.outcomes.of(&now.0);
            for workload in self.cache.workloads_in(&key.namespace) {
                let target = &workload.key.target;
                let labelled = Labelled { kind: target.kind, name: &target.name, labels: &workload.labels() };
                let matched = spec.as_ref().is_some_and(|spec| matches(&spec.target, labelled));
                let known = outcomes.get(target);
                if matched || known.is_some() {
                    // What was found for the spec before says nothing about this one.
                    let injected = known.is_some_and(|known| known.injected);
                    let pending = Outcome::new(Reason::Pending, injected);
                    self.outcomes.set(&now.0, target, Some(pending));
                }
                if matched || workload.ledger.is_some() || known.is_some() {
                    self.workloads.add(workload.key.clone());
                }
            }
        }
        if is_news {
            self.sidecars.add(key);
        } else {
            // Most likely the echo of a status that we wrote: to answer it at once would be to write one status after the other.
            self.sidecars.add_after(key, self.debounce());
        }
    }

    pub fn sidecar_gone(&self, key: &SidecarKey) {
        if let Some(sidecar) = self.cache.drop_sidecar(key) {
            self.outcomes.forget(&sidecar.uid);
        }
        self.rollouts.waves().forget(key);
        for workload in self.cache.workloads_in(&key.namespace) {
            if workload.ledger.is_some() {
                self.workloads.add(workload.key.clone());
            }
        }
    }

    pub fn contests(&self) -> MutexGuard<'_, HashMap<String, Contest>> {
        self.contests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a look at a workload found for a `LogSidecar`; its status follows. What was found for another version of it
    /// is out of date: the change has put the workload into the queue again.
    pub fn note(&self, sidecar: &Sidecar, workload: &WorkloadKey, outcome: Option<Outcome>) {
        let current = self.cache.sidecar(&sidecar.key);
        if current.is_none_or(|current| (&current.uid, current.generation) != (&sidecar.uid, sidecar.generation)) {
            return;
        }
        if self.outcomes.set(&sidecar.uid, &workload.target, outcome).0 {
            self.sidecars.add_after(sidecar.key.clone(), self.debounce());
        }
    }

    fn debounce(&self) -> Duration {
        if self.workloads.has_more() { DEBOUNCE_AT_WORK } else { DEBOUNCE }
    }

    /// Publishes an Event in the background: nobody waits for it.
    pub fn tell(self: &Arc<Self>, workload: &Arc<Workload>, sidecar: &str, reason: Reason, note: String) {
        let (context, workload) = (self.clone(), workload.clone());
        let sidecar = SidecarKey { namespace: workload.key.namespace.clone(), name: sidecar.to_owned() };
        tokio::spawn(async move { context.events.publish(&workload, &sidecar, reason, note).await });
    }

    /// Whether the API server has just the version of a `LogSidecar` that the cache has.
    pub async fn is_current(&self, namespace: &str, name: &str) -> bool {
        let key = SidecarKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let Some(cached) = self.cache.sidecar(&key) else { return false };
        matches!(self.ask(namespace, name).await, Some(Ok(live)) if live.metadata.resource_version.as_deref() == Some(&cached.version))
    }

    /// Whether the API server has no `LogSidecar` of that name and uid.
    pub async fn is_gone(&self, namespace: &str, name: &str, uid: Option<&str>) -> bool {
        match self.ask(namespace, name).await {
            Some(Ok(live)) => uid.is_some() && live.metadata.uid.as_deref() != uid,
            // A 404 that does not name the kind says that the CRD is not served, and nothing about the object.
            Some(Err(kube::Error::Api(status))) => {
                status.code == 404 && status.details.as_ref().is_some_and(|details| details.kind == "logsidecars")
            }
            Some(Err(_)) | None => false,
        }
    }

    /// Reads a `LogSidecar` from the API server; no answer in time is an answer that proves nothing.
    async fn ask(&self, namespace: &str, name: &str) -> Option<kube::Result<PartialObjectMeta<LogSidecar>>> {
        let api: Api<LogSidecar> = Api::namespaced(self.client.clone(), namespace);
        tokio::time::timeout(TIMEOUT, api.get_metadata(name)).await.ok()
    }
}
