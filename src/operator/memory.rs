//! What decisions have left behind, by the uid of the workload.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    decide::{
        decision::MemoryChange,
        memory::{ConflictHistory, Remembered},
    },
    workload::snapshot::Writer,
};

/// What decisions have left behind.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    remembered: HashMap<String, Remembered>,
    conflicts: HashMap<String, ConflictHistory>,
}

impl Memory {
    fn content(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a workload.
    pub fn of(&self, workload: &str) -> (Option<Remembered>, Option<ConflictHistory>) {
        let content = self.content();
        (content.remembered.get(workload).cloned(), content.conflicts.get(workload).cloned())
    }

    /// Applies what a decision says about it.
    pub fn apply(&self, workload: &str, change: MemoryChange) {
        let mut content = self.content();
        match change {
            MemoryChange::Keep => {}
            MemoryChange::Set(remembered) => drop(content.remembered.insert(workload.to_owned(), remembered)),
            MemoryChange::Forget => drop(content.remembered.remove(workload)),
        }
    }

    /// Notes a write, and the last writer before it.
    pub fn record_write(&self, workload: &str, conflict_key: &str, before: Option<Writer>, now: Instant) {
        self.content().conflicts.entry(workload.to_owned()).or_default().record_write(conflict_key, before, now);
    }

    /// Notes that an Event about a conflict has been emitted.
    pub fn mark_conflict_reported(&self, workload: &str) {
        if let Some(history) = self.content().conflicts.get_mut(workload) {
            history.mark_reported();
        }
    }

    /// Forgets a workload that is gone.
    pub fn forget(&self, workload: &str) {
        let mut content = self.content();
        content.remembered.remove(workload);
        content.conflicts.remove(workload);
    }
}
