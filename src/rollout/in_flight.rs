//! A workload whose template is being changed for one `LogSidecar`, from the moment that the change is allowed until it has succeeded
//! or failed. Holds facts only: [`super::verdict`] judges them.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use crate::workload::{
    ledger::Before,
    status::{PodCounts, WorkloadStatus},
};

/// A workload that is being changed for one `LogSidecar`.
#[allow(clippy::struct_excessive_bools, reason = "each states a different fact, and no two exclude each other")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The revision of the `LogSidecar` that is put in.
    pub revision: String,
    /// Whether items are removed. A removal never fails.
    pub removing: bool,
    /// Whether it uses the budget (`maxConcurrent`). Not while the workload is paused: no pods are replaced.
    pub counts: bool,
    /// Whether the change has been written.
    pub written: bool,
    /// The health of the workload before the change.
    pub before: Before,
    /// When the last progress was seen.
    pub progressed: Instant,
    /// The most new and available pods seen so far.
    pub best: PodCounts,
    /// When the change began, by the wall clock: a container that ended earlier says nothing about it.
    pub began: Timestamp,
    /// Since when all sidecars run.
    pub healthy_since: Option<Instant>,
    /// When the pods were last listed.
    pub probed: Option<Instant>,
}

impl InFlight {
    /// A change that begins now.
    #[must_use]
    pub fn begin(status: &WorkloadStatus, replaces_pods: bool, now: Instant, began: Timestamp) -> Self {
        Self {
            revision: String::new(),
            removing: false,
            counts: replaces_pods,
            written: false,
            before: status.before(),
            progressed: now,
            best: status.counts(),
            began,
            healthy_since: None,
            probed: None,
        }
    }

    /// Notes the current pod counts. Only a new maximum is progress: a pod that comes and goes is none.
    pub fn note_progress(&mut self, counts: PodCounts, now: Instant) {
        if self.best < counts {
            (self.best, self.progressed) = (counts, now);
        }
    }

    /// Whether nothing has progressed for longer than the deadline of the workload.
    #[must_use]
    pub fn is_late(&self, deadline: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.progressed) > deadline
    }
}
