//! What the last decision about each target found, for the status of its `LogSidecar`. Recomputed from the cluster, never stored.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{status::TargetOutcome, workload::id::WorkloadId};

/// Outcomes by the uid of the `LogSidecar`, and by target.
#[derive(Debug, Default)]
pub(super) struct Outcomes(Mutex<HashMap<String, BTreeMap<WorkloadId, TargetOutcome>>>);

impl Outcomes {
    fn all(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<WorkloadId, TargetOutcome>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All outcomes of a `LogSidecar`.
    pub fn of(&self, sidecar: &str) -> BTreeMap<WorkloadId, TargetOutcome> {
        self.all().get(sidecar).cloned().unwrap_or_default()
    }

    /// How many targets a `LogSidecar` has.
    pub fn count(&self, sidecar: &str) -> usize {
        self.all().get(sidecar).map_or(0, BTreeMap::len)
    }

    /// Sums up all outcomes of a `LogSidecar`, which can be too many to copy a few times a second.
    pub fn sum_up<T>(&self, sidecar: &str, sum_up: impl FnOnce(&BTreeMap<WorkloadId, TargetOutcome>) -> T) -> T {
        sum_up(self.all().get(sidecar).unwrap_or(&BTreeMap::new()))
    }

    /// How many targets of all LogSidecars there are for each reason.
    pub fn by_reason(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for outcome in self.all().values().flat_map(BTreeMap::values) {
            *counts.entry(outcome.reason.to_string()).or_default() += 1;
        }
        counts
    }

    /// Records or, with `None`, forgets one outcome.
    pub fn set(&self, sidecar: &str, target: &WorkloadId, outcome: Option<TargetOutcome>) -> Changed {
        let mut all = self.all();
        let before = all.get(sidecar).and_then(|outcomes| outcomes.get(target));
        let changed = before != outcome.as_ref();
        match outcome {
            Some(outcome) if changed => drop(all.entry(sidecar.to_owned()).or_default().insert(target.clone(), outcome)),
            Some(_) => {}
            None => drop(all.get_mut(sidecar).and_then(|outcomes| outcomes.remove(target))),
        }
        Changed(changed)
    }

    /// Forgets a `LogSidecar`.
    pub fn forget(&self, sidecar: &str) {
        self.all().remove(sidecar);
    }
}

/// Whether an outcome differs from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Changed(pub bool);
