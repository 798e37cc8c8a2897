//! The controller. Everything that talks to a cluster is in this module; everything that decides is in [`crate::plan`] and
//! [`crate::status`].
//!
//! ```text
//! observe ── workloads ──→ cache ──→ queue of workloads ──→ reconcile: plan, apply ──→ outcomes ─┐
//!         └─ LogSidecars ─→       └→ queue of LogSidecars → sidecar: finalizer, status ←─────────┘
//! ```

mod apply;
mod cache;
mod events;
mod health;
mod observe;
mod outcomes;
mod queue;
mod reconcile;
mod sidecar;
mod workload;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use futures::FutureExt;
use kube::{Api, Client, api::PartialObjectMeta};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use self::{
    cache::{Cache, Sidecar, SidecarKey},
    events::Events,
    outcomes::Outcomes,
    queue::{Next, Queue},
    reconcile::{Memories, Memory},
    workload::{Workload, WorkloadKey},
};
use crate::{
    api::{LogSidecar, Reason},
    cli::ImageOptions,
    kind::Kind,
    plan::claim::{Labelled, matches},
    shipper::Images,
    status::Outcome,
    telemetry::{self, LogFormat},
};

/// How long outcomes gather before the status of a `LogSidecar` is written.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// How long work in progress may take after SIGTERM; a pod has 30 s by default.
const GRACE: Duration = Duration::from_secs(20);

/// The options of `logsidecar run`.
#[derive(Args, Debug)]
pub struct Options {
    /// How many workloads are worked on at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..))]
    concurrency: u8,
    /// Where /livez and /readyz are served.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    health_address: SocketAddr,
    /// The form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, or a filter as `RUST_LOG` takes it.
    #[arg(long, default_value = "info")]
    log_level: String,
    #[command(flatten)]
    images: ImageOptions,
}

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process could not start its threads or listen for signals.
    #[error("cannot start")]
    Start(#[source] std::io::Error),
    /// No kubeconfig, and not in a cluster.
    #[error("no cluster to connect to: set KUBECONFIG, or run in a pod")]
    Config(#[source] kube::Error),
    /// The address of the health endpoints cannot be used.
    #[error("cannot serve health on {0}")]
    Health(SocketAddr, #[source] std::io::Error),
    /// A part of the controller ended although nobody asked it to.
    #[error("a part of the controller ended unexpectedly")]
    Ended,
}

/// Runs the controller until SIGTERM or SIGINT.
pub fn run(options: Options) -> Result<(), Error> {
    telemetry::start(options.log_format, &options.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Error::Start)?;
    runtime.block_on(start(options))
}

async fn start(options: Options) -> Result<(), Error> {
    let Options { concurrency, health_address, log_format: _, log_level: _, images } = options;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Start)?;
    let client = Client::try_default().await.map_err(Error::Config)?;
    let asked_to_stop = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    let mut asked_to_stop = std::pin::pin!(asked_to_stop);
    let native_sidecars = tokio::select! {
        () = &mut asked_to_stop => return Ok(()),
        native = has_native_sidecars(&client) => native,
    };
    let context = Arc::new(Context::new(client, images.into(), native_sidecars));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), native_sidecars, "started");

    let mut watches = JoinSet::new();
    for kind in Kind::IN_CLUSTER {
        let context = context.clone();
        watches.spawn(async move { observe::workloads(&context, kind).await });
    }
    let watching = context.clone();
    watches.spawn(async move { observe::sidecars(&watching).await });
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        workers.spawn(work_on_workloads(context.clone()));
    }
    workers.spawn(work_on_sidecars(context.clone()));
    let result = tokio::select! {
        () = &mut asked_to_stop => Ok(()),
        result = health::serve(context.clone(), health_address) => Err(match result {
            Err(error) => Error::Health(health_address, error),
            Ok(()) => Error::Ended,
        }),
        _ = watches.join_next() => Err(Error::Ended),
        _ = workers.join_next() => Err(Error::Ended),
    };
    // Nothing new is begun; what has been begun is finished, so that no answer of the API server goes unheard.
    context.workloads.close();
    context.sidecars.close();
    let finish = async { tokio::join!(context.workloads.quiesce(), context.sidecars.quiesce()) };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        tracing::warn!("some requests were still under way");
    }
    tracing::info!("stopped");
    result
}

/// Asks until there is an answer: nothing can be planned before.
async fn has_native_sidecars(client: &Client) -> bool {
    loop {
        match client.apiserver_version().await {
            Ok(version) => {
                let number =
                    |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap_or_default();
                return (number(&version.major), number(&version.minor)) >= (1, 29);
            }
            Err(error) => {
                tracing::warn!("the API server does not answer: {error}");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    }
}

async fn work_on_workloads(context: Arc<Context>) {
    context.until_synced().await;
    loop {
        let key = context.workloads.next().await;
        let next = guarded(&key, reconcile::reconcile(&context, &key)).await;
        context.workloads.done(key, next);
        if context.workloads.is_idle() {
            context.seen_all.store(true, Ordering::Relaxed);
        }
    }
}

async fn work_on_sidecars(context: Arc<Context>) {
    context.until_synced().await;
    loop {
        // Deleting one can take long; the others need not wait for it.
        let key = context.sidecars.next().await;
        let context = context.clone();
        tokio::spawn(async move {
            let next = guarded(&key, sidecar::reconcile(&context, &key)).await;
            context.sidecars.done(key, next);
        });
    }
}

/// A bug that shows with one object must not end the work on all others.
async fn guarded(key: &impl std::fmt::Display, work: impl Future<Output = Next>) -> Next {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(%key, "a bug in logsidecar: the work on this object panicked");
        Next::Backoff
    })
}

/// What all parts of the controller share.
struct Context {
    client: Client,
    images: Images,
    native_sidecars: bool,
    cache: Cache,
    workloads: Queue<WorkloadKey>,
    sidecars: Queue<SidecarKey>,
    outcomes: Outcomes,
    memories: Memories,
    events: Events,
    /// The kinds whose first list is complete.
    complete: Mutex<BTreeSet<String>>,
    is_complete: tokio::sync::watch::Sender<bool>,
    /// Whether the queue has been empty once since the start.
    seen_all: AtomicBool,
}

impl Context {
    fn new(client: Client, images: Images, native_sidecars: bool) -> Self {
        Self {
            events: Events::new(client.clone()),
            client,
            images,
            native_sidecars,
            cache: Cache::default(),
            workloads: Queue::new(),
            sidecars: Queue::new(),
            outcomes: Outcomes::default(),
            memories: Memories::default(),
            complete: Mutex::default(),
            is_complete: tokio::sync::watch::channel(false).0,
            seen_all: AtomicBool::new(false),
        }
    }

    fn memories(&self) -> MutexGuard<'_, std::collections::HashMap<String, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn synced(&self, kind: &str) {
        let mut complete = self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        if complete.insert(kind.to_owned()) {
            tracing::info!(kind, "watching");
        }
        if complete.len() == Kind::IN_CLUSTER.len() + 1 && !self.is_complete.send_replace(true) && self.workloads.is_idle() {
            self.seen_all.store(true, Ordering::Relaxed);
        }
    }

    fn is_synced(&self) -> bool {
        *self.is_complete.borrow()
    }

    async fn until_synced(&self) {
        // The sender lives as long as the context.
        drop(self.is_complete.subscribe().wait_for(|complete| *complete).await);
    }

    /// Whether every workload has been looked at since the start.
    fn has_seen_all(&self) -> bool {
        self.seen_all.load(Ordering::Relaxed)
    }

    fn workload_changed(&self, workload: Workload) {
        let key = workload.key.clone();
        let concerns_us = workload.ledger.is_some() || !self.cache.sidecars_in(&key.namespace).is_empty();
        self.cache.keep_workload(workload);
        if concerns_us {
            self.workloads.add(key);
        }
    }

    fn workload_gone(&self, key: &WorkloadKey) {
        self.cache.drop_workload(key);
        self.workloads.add(key.clone());
    }

    fn sidecar_changed(&self, sidecar: Sidecar) {
        let key = sidecar.key.clone();
        let now = (sidecar.uid.clone(), sidecar.generation, sidecar.phase);
        let spec = sidecar.spec.clone().ok();
        let before = self.cache.keep_sidecar(sidecar);
        if before.is_none_or(|before| (before.uid.clone(), before.generation, before.phase) != now) {
            let outcomes = self.outcomes.of(&now.0);
            for workload in self.cache.workloads_in(&key.namespace) {
                let labelled =
                    Labelled { kind: workload.key.target.kind, name: &workload.key.target.name, labels: &workload.labels };
                let matched = spec.as_ref().is_some_and(|spec| matches(&spec.target, labelled));
                if matched {
                    self.outcomes.set_first(&now.0, &workload.key.target, Outcome::new(Reason::Pending, false));
                }
                if matched || workload.ledger.is_some() || outcomes.contains_key(&workload.key.target) {
                    self.workloads.add(workload.key.clone());
                }
            }
        }
        self.sidecars.add(key);
    }

    fn sidecar_gone(&self, key: &SidecarKey) {
        if let Some(sidecar) = self.cache.drop_sidecar(key) {
            self.outcomes.forget(&sidecar.uid);
        }
        for workload in self.cache.workloads_in(&key.namespace) {
            if workload.ledger.is_some() {
                self.workloads.add(workload.key.clone());
            }
        }
    }

    /// Notes what a look at a workload found for a `LogSidecar`; its status follows.
    fn note(&self, sidecar: &Sidecar, workload: &WorkloadKey, outcome: Option<Outcome>) {
        if self.outcomes.set(&sidecar.uid, &workload.target, outcome).0 {
            self.sidecars.add_after(sidecar.key.clone(), DEBOUNCE);
        }
    }

    /// Publishes an Event in the background: nobody waits for it.
    fn tell(self: &Arc<Self>, workload: &Arc<Workload>, sidecar: &str, reason: Reason, note: String) {
        let (context, workload) = (self.clone(), workload.clone());
        let sidecar = SidecarKey { namespace: workload.key.namespace.clone(), name: sidecar.to_owned() };
        tokio::spawn(async move { context.events.publish(&workload, &sidecar, reason, note).await });
    }

    /// Whether the API server has just the version of a `LogSidecar` that the cache has.
    async fn is_current(&self, namespace: &str, name: &str) -> bool {
        let key = SidecarKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let Some(cached) = self.cache.sidecar(&key) else { return false };
        matches!(self.ask(namespace, name).await, Ok(live) if live.metadata.resource_version.as_deref() == Some(&cached.version))
    }

    /// Whether the API server has no `LogSidecar` of that name and uid.
    async fn is_gone(&self, namespace: &str, name: &str, uid: Option<&str>) -> bool {
        match self.ask(namespace, name).await {
            Ok(live) => uid.is_some() && live.metadata.uid.as_deref() != uid,
            // A 404 that does not name the kind says that the CRD is not served, and nothing about the object.
            Err(kube::Error::Api(status)) => {
                status.code == 404 && status.details.as_ref().is_some_and(|details| details.kind == "logsidecars")
            }
            Err(_) => false,
        }
    }

    async fn ask(&self, namespace: &str, name: &str) -> kube::Result<PartialObjectMeta<LogSidecar>> {
        let api: Api<LogSidecar> = Api::namespaced(self.client.clone(), namespace);
        api.get_metadata(name).await
    }
}
