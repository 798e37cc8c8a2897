//! The controller. Everything that talks to a cluster is in this module; everything that decides is in [`crate::plan`] and
//! [`crate::status`].
//!
//! ```text
//! observe ── workloads ──→ cache ──→ queue of workloads ──→ reconcile: plan, apply ──→ outcomes ─┐
//!         └─ LogSidecars ─→       └→ queue of LogSidecars → sidecar: finalizer, status ←─────────┘
//! ```

mod account;
mod admission;
mod apply;
mod cache;
mod canary;
mod configs;
pub(crate) mod connection;
mod context;
mod events;
mod follow;
mod health;
mod leader;
mod look;
mod memory;
pub mod metrics;
mod observe;
mod outcomes;
mod own_config;
mod packed;
mod queue;
mod reconcile;
mod recovery;
mod revisions;
mod rollout;
mod sidecar;
mod surroundings;
pub(crate) mod survey;
mod workload;

use std::{
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use clap::Args;
use futures::FutureExt;
use k8s_openapi::{apimachinery::pkg::version::Info, jiff::SignedDuration};
use kube::Client;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use self::{
    context::Context,
    leader::{Candidate, Leadership},
    queue::Next,
};
use crate::{
    options::{ImageOptions, KindOptions},
    telemetry::{self, LogFormat},
};

/// How long work in progress may take after SIGTERM; a pod has 30 s by default.
const GRACE: Duration = Duration::from_secs(20);

/// The options of `logsidecar run`.
#[derive(Args, Debug)]
pub struct Options {
    /// How many workloads are worked on at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..))]
    concurrency: u8,
    /// Work in this namespace only; a Role there is all that is needed then. Default: every namespace.
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    health_address: SocketAddr,
    /// Several controllers may run, and the one works that holds a Lease.
    #[arg(long, requires = "leader_elect_namespace")]
    leader_elect: bool,
    /// The namespace of that Lease.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    leader_elect_namespace: Option<String>,
    /// The name of that Lease.
    #[arg(long, default_value = "logsidecar", value_name = "NAME")]
    leader_elect_name: String,
    /// How often ConfigMaps of shippers are looked for that nothing refers to any more.
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = duration)]
    sweep: Duration,
    /// The form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, or a filter as `RUST_LOG` takes it.
    #[arg(long, default_value = "info")]
    log_level: String,
    #[command(flatten)]
    images: ImageOptions,
    #[command(flatten)]
    kinds: KindOptions,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().map_err(|error| error.to_string())?;
    let parsed = Duration::try_from(parsed).ok().filter(|duration| !duration.is_zero());
    parsed.ok_or_else(|| "write a duration such as 10m".to_owned())
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
    /// The Lease could not be renewed, or is another one's: whatever was not done yet is done by its new holder.
    #[error("no longer the leader")]
    Lost,
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
    let Options { concurrency, namespace, health_address, sweep, log_format: _, log_level: _, images, kinds, .. } = options;
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
    let lease_in = options.leader_elect_namespace.filter(|_| options.leader_elect);
    let candidate = lease_in.map(|namespace| Candidate::new(client.clone(), &namespace, options.leader_elect_name));
    let context = Arc::new(Context::new(client, namespace, kinds.into(), images.into(), native_sidecars));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), native_sidecars, "started");
    let health = async {
        match health::serve(context.clone(), health_address).await {
            Err(error) => Error::Health(health_address, error),
            Ok(()) => Error::Ended,
        }
    };
    let mut health = std::pin::pin!(health);

    let mut leadership = tokio::select! {
        () = &mut asked_to_stop => return Ok(()),
        error = &mut health => return Err(error),
        leadership = lead(candidate) => leadership,
    };
    context.leads.store(true, Ordering::Relaxed);
    let mut tasks = begin(&context, concurrency, sweep);
    let result = tokio::select! {
        () = &mut asked_to_stop => Ok(()),
        error = &mut health => Err(error),
        _ = tasks.join_next() => Err(Error::Ended),
        () = hold(leadership.as_mut()) => return Err(Error::Lost),
    };
    tokio::select! {
        () = finish(&context) => {}
        () = hold(leadership.as_mut()) => return Err(Error::Lost),
    }
    tasks.shutdown().await;
    if let Some(leadership) = leadership {
        leadership.release().await;
    }
    result
}

/// Without an election the only one leads.
async fn lead(candidate: Option<Candidate>) -> Option<Leadership> {
    match candidate {
        Some(candidate) => Some(candidate.lead().await),
        None => None,
    }
}

/// Until the lease is lost.
async fn hold(leadership: Option<&mut Leadership>) {
    match leadership {
        Some(leadership) => leadership.hold().await,
        None => std::future::pending().await,
    }
}

/// Starts what runs until the end.
fn begin(context: &Arc<Context>, concurrency: u8, sweep: Duration) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for kind in context.kinds.in_cluster() {
        let context = context.clone();
        tasks.spawn(async move { observe::workloads(&context, kind).await });
    }
    let watching = context.clone();
    tasks.spawn(async move { observe::sidecars(&watching).await });
    for _ in 0..concurrency {
        tasks.spawn(work_on_workloads(context.clone()));
    }
    tasks.spawn(work_on_sidecars(context.clone()));
    let sweeping = context.clone();
    tasks.spawn(async move { configs::sweep_for_ever(&sweeping, sweep).await });
    tasks
}

/// Nothing new is begun; what has been begun is finished, so that no answer of the API server goes unheard.
async fn finish(context: &Context) {
    context.workloads.close();
    context.sidecars.close();
    let quiet = async { tokio::join!(context.workloads.quiesce(), context.sidecars.quiesce()) };
    if tokio::time::timeout(GRACE, quiet).await.is_err() {
        tracing::warn!("some requests were still under way");
    }
    tracing::info!("stopped");
}

/// Asks until there is an answer: nothing can be planned before.
async fn has_native_sidecars(client: &Client) -> bool {
    loop {
        match client.apiserver_version().await {
            Ok(version) => return knows_native_sidecars(&version),
            Err(error) => {
                tracing::warn!("the API server does not answer: {error}");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    }
}

fn knows_native_sidecars(version: &Info) -> bool {
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap_or_default();
    (number(&version.major), number(&version.minor)) >= (1, 29)
}

async fn work_on_workloads(context: Arc<Context>) {
    context.until_synced().await;
    rollout::find_all(&context);
    loop {
        let key = context.workloads.next().await;
        let start = tokio::time::Instant::now();
        let next = guarded(&key, Box::pin(reconcile::reconcile(&context, &key))).await;
        context.metrics.looked(start.elapsed().as_secs_f64());
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
