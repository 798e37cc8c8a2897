//! The controller: watches, and reconciles every workload with its LogSidecars. [`crate::decide`] decides what to do; this module carries
//! it out.
//!
//! ```text
//! watch ── workloads ────→ store ─→ queue of workloads ──→ reconcile: observe, decide, carry out, record ─┐
//!       └─ LogSidecars ─→       └─→ queue of LogSidecars → log_sidecar: finalizer, status, deletion ←─────┘
//! ```
//!
//! * `run`: starts the parts, leads, ends; `lease`, `readiness`, `http`, [`metrics`]
//! * `watch`, `store`, `work`, `queue`: from events to objects that have to be reconciled
//! * `reconcile`, `log_sidecar`: the two reconcilers
//! * `rollouts`, `memory`, `outcomes`: what is known besides the cluster's objects
//! * `configs`, `revisions`, `once`, `events`: what is written besides workloads

mod configs;
mod events;
mod http;
mod lease;
mod log_sidecar;
mod memory;
pub mod metrics;
mod once;
mod outcomes;
mod queue;
mod readiness;
mod reconcile;
mod revisions;
mod rollouts;
mod run;
mod scope;
mod store;
mod watch;
mod work;

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use crate::{
    options::{ImageOptions, KindOptions},
    telemetry::{self, LogFormat},
};

/// The options of `logsidecar run`.
#[derive(Args, Debug)]
pub struct OperatorOptions {
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
    /// The Lease could not be renewed, or another replica holds it. That one continues the work.
    #[error("no longer the leader")]
    Lost,
    /// A task of the controller ended unexpectedly.
    #[error("a part of the controller ended unexpectedly")]
    Ended,
}

/// Runs the controller until SIGTERM or SIGINT.
pub fn run(options: OperatorOptions) -> Result<(), Error> {
    telemetry::start(options.log_format, &options.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Error::Start)?;
    runtime.block_on(run::start(options))
}

/// The current time to the second, as conditions keep it.
fn now() -> Time {
    Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default())
}
