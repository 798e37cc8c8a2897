//! Starts the controller, and stops it only after requests in flight have been answered.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use kube::Client;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::Instant,
};
use tokio_util::task::TaskTracker;

use super::{
    Error, OperatorOptions,
    configs::{Configs, sweep::Sweeper},
    events::Events,
    http,
    lease::{Candidate, Leadership},
    log_sidecar::LogSidecarReconciler,
    memory::Memory,
    metrics::{Metrics, MetricsEndpoint},
    readiness::Readiness,
    reconcile::WorkloadReconciler,
    revisions::Revisions,
    rollouts::Rollouts,
    scope::Scope,
    store::Store,
    watch::Watcher,
    work::Work,
};
use crate::{
    cluster::{namespace::NamespaceCache, request::TIMEOUT},
    decide::decision::Next,
};

/// How long work in progress may take after SIGTERM. A pod has 30 s by default, of which this leaves some for the lease.
const GRACE: Duration = Duration::from_secs(25);

/// A request that is in flight at SIGTERM may take longer than the grace period: then the lease is not given back, and runs out instead.
const _: () = assert!(GRACE.as_secs() < TIMEOUT.as_secs());

/// The parts of the operator.
struct Operator {
    watcher: Watcher,
    workloads: Arc<WorkloadReconciler>,
    log_sidecars: Arc<LogSidecarReconciler>,
    sweeper: Sweeper,
    metrics_endpoint: MetricsEndpoint,
    /// What is in progress beside the workers, such as the reconciliations of LogSidecars: a shutdown waits for it.
    tracker: TaskTracker,
}

/// Runs until SIGTERM or SIGINT.
pub(super) async fn start(options: OperatorOptions) -> Result<(), Error> {
    let OperatorOptions { concurrency, namespace, health_address, sweep, images, kinds, .. } = options;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Start)?;
    let client = Client::try_default().await.map_err(Error::Config)?;
    let stop = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    let mut stop = std::pin::pin!(stop);
    let lease_in = options.leader_elect_namespace.filter(|_| options.leader_elect);
    let candidate = lease_in.map(|namespace| Candidate::new(client.clone(), &namespace, options.leader_elect_name));
    let operator = Operator::new(client, Scope { namespace, kinds: kinds.into(), images: images.into() });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
    let health = async {
        match http::serve(operator.watcher.readiness.clone(), operator.metrics_endpoint.clone(), health_address).await {
            Err(error) => Error::Health(health_address, error),
            Ok(()) => Error::Ended,
        }
    };
    let mut health = std::pin::pin!(health);

    let mut leadership = tokio::select! {
        () = &mut stop => return Ok(()),
        error = &mut health => return Err(error),
        leadership = lead(candidate) => leadership,
    };
    operator.watcher.readiness.lead();
    let mut tasks = operator.begin(concurrency, sweep);
    let result = tokio::select! {
        () = &mut stop => Ok(()),
        error = &mut health => Err(error),
        _ = tasks.join_next() => Err(Error::Ended),
        () = hold(leadership.as_mut()) => return Err(Error::Lost),
    };
    let is_quiet = tokio::select! {
        is_quiet = within(GRACE, operator.finish()) => is_quiet,
        () = hold(leadership.as_mut()) => return Err(Error::Lost),
    };
    tasks.shutdown().await;
    match leadership {
        // The next leader must not write beside a request of ours.
        Some(leadership) if is_quiet => leadership.release().await,
        _ => {}
    }
    tracing::info!("stopped");
    result
}

/// Without an election, the only process leads.
async fn lead(candidate: Option<Candidate>) -> Option<Leadership> {
    match candidate {
        Some(candidate) => Some(candidate.lead().await),
        None => None,
    }
}

/// Returns when the lease is lost.
async fn hold(leadership: Option<&mut Leadership>) {
    match leadership {
        Some(leadership) => leadership.hold().await,
        None => std::future::pending().await,
    }
}

/// Whether some work ends within a time.
async fn within(limit: Duration, work: impl Future<Output = ()>) -> bool {
    let is_quiet = tokio::time::timeout(limit, work).await.is_ok();
    if !is_quiet {
        tracing::warn!("some requests are still in flight: the lease is not given back, and runs out");
    }
    is_quiet
}

impl Operator {
    fn new(client: Client, scope: Scope) -> Self {
        let scope = Arc::new(scope);
        let (store, memory) = (Arc::new(Store::default()), Arc::new(Memory::default()));
        let rollouts = Arc::new(Rollouts::new(scope.kinds.clone()));
        let work = Arc::new(Work::new(store.clone(), memory.clone(), rollouts.clone()));
        let configs = Arc::new(Configs::new(client.clone(), scope.clone()));
        let revisions = Arc::new(Revisions::new(client.clone(), scope.images.clone()));
        let (metrics, tracker) = (Arc::new(Metrics::default()), TaskTracker::new());
        // One for each kind of workload, and one for LogSidecars.
        let readiness = Arc::new(Readiness::new(scope.kinds.in_cluster().count() + 1));
        Self {
            watcher: Watcher {
                client: client.clone(),
                scope: scope.clone(),
                store: store.clone(),
                work: work.clone(),
                readiness: readiness.clone(),
                metrics: metrics.clone(),
            },
            workloads: Arc::new(WorkloadReconciler {
                client: client.clone(),
                scope: scope.clone(),
                store: store.clone(),
                work: work.clone(),
                memory,
                rollouts: rollouts.clone(),
                configs: configs.clone(),
                revisions: revisions.clone(),
                namespaces: NamespaceCache::default(),
                events: Arc::new(Events::new(client.clone())),
                metrics: metrics.clone(),
            }),
            log_sidecars: Arc::new(LogSidecarReconciler {
                client: client.clone(),
                scope: scope.clone(),
                store: store.clone(),
                work: work.clone(),
                rollouts,
                configs: configs.clone(),
                revisions,
            }),
            sweeper: Sweeper { client, scope, store: store.clone(), configs, tracker: tracker.clone() },
            metrics_endpoint: MetricsEndpoint { metrics, readiness, store, work },
            tracker,
        }
    }

    /// Starts what runs until the end.
    fn begin(&self, concurrency: u8, sweep: Duration) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for kind in self.watcher.scope.kinds.in_cluster() {
            let watcher = self.watcher.clone();
            tasks.spawn(async move { watcher.workloads(kind).await });
        }
        let watcher = self.watcher.clone();
        tasks.spawn(async move { watcher.log_sidecars().await });
        let readiness = self.watcher.readiness.clone();
        let (workloads, log_sidecars) = (self.workloads.clone(), self.log_sidecars.clone());
        let (tracker, sweeper) = (self.tracker.clone(), self.sweeper.clone());
        tasks.spawn(async move {
            readiness.until_synced().await;
            workloads.rollouts.resume(&workloads.store, |uid| workloads.work.outcomes.count(uid));
            let mut workers = JoinSet::new();
            for _ in 0..concurrency {
                workers.spawn(reconcile_workloads(workloads.clone()));
            }
            workers.spawn(reconcile_log_sidecars(log_sidecars, tracker));
            workers.spawn(async move { sweeper.run(sweep).await });
            workers.join_next().await;
        });
        tasks
    }

    /// Begins nothing new, and finishes what has begun.
    async fn finish(&self) {
        let work = &self.workloads.work;
        work.workloads.close();
        work.log_sidecars.close();
        self.tracker.close();
        tokio::join!(work.workloads.quiesce(), work.log_sidecars.quiesce(), self.tracker.wait(), self.workloads.events.close());
    }
}

async fn reconcile_workloads(reconciler: Arc<WorkloadReconciler>) {
    let work = &reconciler.work;
    loop {
        let key = work.workloads.next().await;
        let start = Instant::now();
        let next = guarded(&key, Box::pin(reconciler.reconcile(&key))).await;
        reconciler.metrics.reconciled(start.elapsed().as_secs_f64());
        work.reconciled(&key);
        work.workloads.done(key, next);
    }
}

async fn reconcile_log_sidecars(reconciler: Arc<LogSidecarReconciler>, tracker: TaskTracker) {
    loop {
        // Deleting one can take long; the others need not wait for it.
        let key = reconciler.work.log_sidecars.next().await;
        let reconciler = reconciler.clone();
        tracker.spawn(async move {
            let next = guarded(&key, reconciler.reconcile(&key)).await;
            reconciler.work.log_sidecars.done(key, next);
        });
    }
}

/// A bug that shows with one object must not end the work on all others.
async fn guarded(key: &impl std::fmt::Display, work: impl Future<Output = Next>) -> Next {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(%key, "a bug in logsidecar: reconciling this object panicked");
        Next::Backoff
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shutdown_is_quiet_only_if_everything_has_ended() {
        assert!(within(GRACE, tokio::time::sleep(GRACE / 2)).await);
        // A request that takes as long as it may: the lease must not be given back beside it.
        assert!(!within(GRACE, tokio::time::sleep(TIMEOUT)).await);
    }
}
