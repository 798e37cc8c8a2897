//! What the controller tells Prometheus: by result, kind and reason, never by the name of an object, so that a cluster of any size has
//! the same few series. [`NAMES`] is the list; the documentation, the alerts and the dashboard are checked against it.

use std::sync::Arc;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{readiness::Readiness, store::Store, work::Work};

/// Every metric, and what it says. (A counter is served with `_total` at its end, a histogram with `_bucket`, `_sum` and `_count`.)
pub const NAMES: [(&str, &str); 9] = [
    ("logsidecar_leader", "Whether this controller works (1) or waits for the one that does (0)"),
    ("logsidecar_synced", "Whether the first lists of everything that is watched are complete"),
    ("logsidecar_logsidecars", "LogSidecars that are known"),
    ("logsidecar_targets", "Targets of LogSidecars by the reason in their status"),
    ("logsidecar_queue_depth", "What waits to be looked at, by queue"),
    ("logsidecar_writes", "Patches of workloads by result: written, conflict, gone, refused, failed"),
    ("logsidecar_watch_interruptions", "Watches that broke off, by kind"),
    ("logsidecar_reconcile_seconds", "How long a look at a workload takes, with the patch if there is one"),
    ("logsidecar_rollout_seconds", "From the patch of a workload to its verdict, by result: succeeded, failed"),
];

#[derive(Clone, Debug, Default, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Clone, Debug, Default, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByReason {
    reason: String,
}

#[derive(Clone, Debug, Default, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByQueue {
    queue: &'static str,
}

#[derive(Clone, Debug, Default, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByKind {
    kind: String,
}

/// Counters and histograms. Gauges are read when `/metrics` is requested.
pub(super) struct Metrics {
    writes: Family<ByResult, Counter>,
    watch_interruptions: Family<ByKind, Counter>,
    reconcile: Histogram,
    rollout: Family<ByResult, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let writes: Family<ByResult, Counter> = Family::default();
        let rollout: Family<ByResult, Histogram> =
            Family::new_with_constructor(|| Histogram::new([1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0]));
        // What has not happened yet is there as zero, or the first time would look like no change.
        for result in ["written", "conflict", "gone", "refused", "failed"] {
            drop(writes.get_or_create(&ByResult { result }));
        }
        for result in ["succeeded", "failed"] {
            drop(rollout.get_or_create(&ByResult { result }));
        }
        let reconcile = Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0]);
        Self { writes, watch_interruptions: Family::default(), reconcile, rollout }
    }
}

impl Metrics {
    /// A patch of a workload has been answered.
    pub fn wrote(&self, result: &'static str) {
        self.writes.get_or_create(&ByResult { result }).inc();
    }

    /// A watch begins.
    pub fn watches(&self, kind: &str) {
        drop(self.watch_interruptions.get_or_create(&ByKind { kind: kind.to_owned() }));
    }

    /// A watch broke off.
    pub fn interrupted(&self, kind: &str) {
        self.watch_interruptions.get_or_create(&ByKind { kind: kind.to_owned() }).inc();
    }

    /// A workload has been reconciled.
    pub fn reconciled(&self, seconds: f64) {
        self.reconcile.observe(seconds);
    }

    /// A rollout has ended.
    pub fn rolled_out(&self, succeeded: bool, seconds: f64) {
        let result = if succeeded { "succeeded" } else { "failed" };
        self.rollout.get_or_create(&ByResult { result }).observe(seconds);
    }
}

/// What `/metrics` is made of.
#[derive(Clone)]
pub(super) struct MetricsEndpoint {
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
    pub store: Arc<Store>,
    pub work: Arc<Work>,
}

impl MetricsEndpoint {
    /// Everything in the format of `OpenMetrics`.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let Metrics { writes, watch_interruptions, reconcile, rollout } = &*self.metrics;
        let mut registry = Registry::with_prefix("logsidecar");
        let help = |name: &str| {
            let found =
                NAMES.iter().find(|(known, _)| known.strip_prefix("logsidecar_").is_some_and(|known| known.starts_with(name)));
            found.map_or("", |(_, help)| *help).to_owned()
        };
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let gauge = |value: usize| {
            let gauge: Gauge = Gauge::default();
            gauge.set(number(value));
            gauge
        };
        registry.register("leader", help("leader"), gauge(self.readiness.leads().into()));
        registry.register("synced", help("synced"), gauge(self.readiness.is_synced().into()));
        registry.register("logsidecars", help("logsidecars"), gauge(self.store.count_log_sidecars()));
        let targets: Family<ByReason, Gauge> = Family::default();
        for (reason, count) in self.work.outcomes.by_reason() {
            targets.get_or_create(&ByReason { reason }).set(number(count));
        }
        registry.register("targets", help("targets"), targets);
        let depth: Family<ByQueue, Gauge> = Family::default();
        for (queue, length) in [("workloads", self.work.workloads.depth()), ("logsidecars", self.work.log_sidecars.depth())] {
            depth.get_or_create(&ByQueue { queue }).set(number(length));
        }
        registry.register("queue_depth", help("queue_depth"), depth);
        registry.register("writes", help("writes"), writes.clone());
        registry.register("watch_interruptions", help("watch_interruptions"), watch_interruptions.clone());
        registry.register_with_unit("reconcile", help("reconcile"), Unit::Seconds, reconcile.clone());
        registry.register_with_unit("rollout", help("rollout"), Unit::Seconds, rollout.clone());
        let mut text = String::new();
        encode(&mut text, &registry).map(|()| text)
    }
}
