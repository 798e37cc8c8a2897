//! How far this process is: whether it leads, and whether the first list of everything that it watches is complete.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

/// How far this process is.
#[derive(Debug)]
pub(super) struct Readiness {
    leads: AtomicBool,
    /// How many watches there are.
    watches: usize,
    /// The kinds whose first list is complete.
    listed: Mutex<BTreeSet<String>>,
    is_synced: watch::Sender<bool>,
}

impl Readiness {
    /// Creates the readiness of a process with this number of watches.
    pub fn new(watches: usize) -> Self {
        Self { leads: AtomicBool::new(false), watches, listed: Mutex::default(), is_synced: watch::channel(false).0 }
    }

    /// This process works from now on.
    pub fn lead(&self) {
        self.leads.store(true, Ordering::Relaxed);
    }

    /// Whether this process works, and does not wait for another one to end.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// The first list of a kind is complete. Returns whether it was the last that was missing.
    pub fn listed(&self, kind: &str) -> bool {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.insert(kind.to_owned()) {
            tracing::info!(kind, "watching");
        }
        listed.len() == self.watches && !self.is_synced()
    }

    /// Everything is listed, and the work begins.
    pub fn synced(&self) {
        self.is_synced.send_replace(true);
    }

    /// Whether the first list of everything is complete.
    pub fn is_synced(&self) -> bool {
        *self.is_synced.borrow()
    }

    /// Waits until the first list of everything is complete.
    pub async fn until_synced(&self) {
        // The sender lives as long as this value.
        drop(self.is_synced.subscribe().wait_for(|synced| *synced).await);
    }
}
