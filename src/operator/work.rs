//! The work to be done: two queues, and how a change that one part of the operator sees reaches the others.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    memory::Memory,
    outcomes::Outcomes,
    queue::Queue,
    rollouts::Rollouts,
    store::{Replaced, Store},
};
use crate::{
    api::Reason,
    decide::log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
    plan::target::WorkloadLabels,
    status::TargetOutcome,
    workload::{id::WorkloadKey, snapshot::Workload},
};

/// How long outcomes gather before the status of a `LogSidecar` is written.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// The same while many workloads are waiting, whose patches come first.
const DEBOUNCE_AT_WORK: Duration = Duration::from_millis(1500);

/// The queues, and what a change puts into them.
pub(super) struct Work {
    pub workloads: Queue<WorkloadKey>,
    pub log_sidecars: Queue<LogSidecarKey>,
    pub outcomes: Outcomes,
    store: Arc<Store>,
    memory: Arc<Memory>,
    rollouts: Arc<Rollouts>,
    first_pass: FirstPass,
}

impl Work {
    pub fn new(store: Arc<Store>, memory: Arc<Memory>, rollouts: Arc<Rollouts>) -> Self {
        Self {
            workloads: Queue::new(),
            log_sidecars: Queue::new(),
            outcomes: Outcomes::default(),
            store,
            memory,
            rollouts,
            first_pass: FirstPass::default(),
        }
    }

    /// A watch has shown a workload.
    pub fn workload_changed(&self, workload: Workload) {
        let key = workload.key.clone();
        let concerns_us = workload.ledger.is_some() || !self.store.log_sidecars_in(&key.namespace).is_empty();
        self.store.keep_workload(workload);
        if concerns_us {
            self.workloads.add(key);
        }
    }

    /// A workload is gone.
    pub fn workload_gone(&self, key: &WorkloadKey) {
        if let Some(gone) = self.store.remove_workload(key) {
            self.memory.forget(&gone.uid);
        }
        self.rollouts.scheduler().remove_workload(key);
        self.workloads.add(key.clone());
    }

    /// A watch, or the answer to a write, has shown a `LogSidecar`.
    pub fn log_sidecar_changed(&self, sidecar: &ValidatedLogSidecar) {
        let key = sidecar.key.clone();
        let Some(Replaced(before)) = self.store.keep_log_sidecar(sidecar.clone()) else { return };
        let identity = |sidecar: &ValidatedLogSidecar| (sidecar.uid.clone(), sidecar.generation, sidecar.lifecycle);
        if let Some(earlier) = before.as_ref().filter(|before| before.uid != sidecar.uid) {
            self.outcomes.forget(&earlier.uid);
        }
        if before.is_some_and(|before| identity(&before) == identity(sidecar)) {
            // Most likely the echo of a status that we wrote: to answer it at once would be to write one status after the other.
            self.log_sidecars.add_after(key, self.debounce());
            return;
        }
        self.queue_targets(sidecar);
        self.log_sidecars.add(key);
    }

    /// Queues every workload that a new version of a `LogSidecar` may concern. What was found for the version before says nothing about
    /// this one.
    fn queue_targets(&self, sidecar: &ValidatedLogSidecar) {
        let outcomes = self.outcomes.of(&sidecar.uid);
        for workload in self.store.workloads_in(&sidecar.key.namespace) {
            let id = &workload.key.id;
            let labels = workload.labels();
            let labelled = WorkloadLabels { kind: id.kind, name: &id.name, labels: &labels };
            let is_matched = sidecar.spec.as_ref().is_ok_and(|spec| spec.matches(labelled));
            let known = outcomes.get(id);
            if is_matched || known.is_some() {
                let injected = known.is_some_and(|known| known.injected);
                self.outcomes.set(&sidecar.uid, id, Some(TargetOutcome::new(Reason::Pending, injected)));
            }
            if is_matched || workload.ledger.is_some() || known.is_some() {
                self.workloads.add(workload.key.clone());
            }
        }
    }

    /// A `LogSidecar` is gone.
    pub fn log_sidecar_gone(&self, key: &LogSidecarKey) {
        if let Some(sidecar) = self.store.remove_log_sidecar(key) {
            self.outcomes.forget(&sidecar.uid);
        }
        self.rollouts.scheduler().forget(key);
        self.log_sidecars.add(key.clone());
        for workload in self.store.workloads_in(&key.namespace) {
            if workload.ledger.is_some() {
                self.workloads.add(workload.key.clone());
            }
        }
    }

    /// Records what a decision about a workload found for a `LogSidecar`; its status follows. What was found for another version of it is
    /// out of date: the change has queued the workload again.
    pub fn record(&self, sidecar: &ValidatedLogSidecar, workload: &WorkloadKey, outcome: Option<TargetOutcome>) {
        let current = self.store.log_sidecar(&sidecar.key);
        if current.is_none_or(|current| (&current.uid, current.generation) != (&sidecar.uid, sidecar.generation)) {
            return;
        }
        let before = self.outcomes.count(&sidecar.uid);
        if self.outcomes.set(&sidecar.uid, &workload.id, outcome).0 {
            self.log_sidecars.add_after(sidecar.key.clone(), self.debounce());
        }
        let targets = self.outcomes.count(&sidecar.uid);
        if targets != before {
            // A percentage of more targets is a larger budget: those that wait for a place are woken.
            self.rollouts.scheduler().set_limit(&sidecar.key, sidecar.settings.limit(targets));
        }
    }

    /// Queues the workloads whose turn has come.
    pub fn wake(&self) {
        let woken = self.rollouts.scheduler().wake();
        woken.into_iter().for_each(|key| self.workloads.add(key));
    }

    /// Everything has been listed once: what is queued now is the first pass over the cluster.
    pub fn begin_first_pass(&self) {
        self.first_pass.begin(self.workloads.pending());
    }

    /// A workload has been reconciled.
    pub fn reconciled(&self, key: &WorkloadKey) {
        self.first_pass.done(key);
    }

    /// Whether every workload has been reconciled since the start: before that, half of the outcomes would make a wrong status.
    pub fn has_seen_all(&self) -> bool {
        self.first_pass.is_over()
    }

    fn debounce(&self) -> Duration {
        if self.workloads.has_more() { DEBOUNCE_AT_WORK } else { DEBOUNCE }
    }
}

/// The workloads that were queued when everything had been listed, and have not been reconciled since. It ends however many events arrive
/// meanwhile.
#[derive(Debug, Default)]
struct FirstPass(Mutex<Option<HashSet<WorkloadKey>>>);

impl FirstPass {
    fn begin(&self, keys: impl IntoIterator<Item = WorkloadKey>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys.into_iter().collect());
    }

    fn done(&self, key: &WorkloadKey) {
        if let Some(keys) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            keys.remove(key);
        }
    }

    fn is_over(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(HashSet::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{id::WorkloadId, kind::Kind};

    #[test]
    fn first_pass_ends_under_steady_events() {
        let key =
            |name: &str| WorkloadKey { namespace: "shop".into(), id: WorkloadId { kind: Kind::Deployment, name: name.into() } };
        let pass = FirstPass::default();
        assert!(!pass.is_over());
        pass.begin([key("a"), key("b")]);
        // Another event for what was reconciled already, and for what was created since.
        ["a", "a", "c", "b"].iter().for_each(|name| {
            assert!(!pass.is_over());
            pass.done(&key(name));
        });
        assert!(pass.is_over());
        let empty = FirstPass::default();
        empty.begin([]);
        assert!(empty.is_over());
    }
}
