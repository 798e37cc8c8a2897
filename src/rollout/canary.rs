//! Canaries: which workloads get a new revision first. Pure: the caller says which workloads exist.

use std::collections::BTreeSet;

/// A workload that may become a canary, with what decides its place in the order.
#[allow(clippy::struct_excessive_bools, reason = "each states a different fact, and no two exclude each other")]
#[derive(Clone, Debug)]
pub struct CanaryCandidate<W> {
    /// Its address.
    pub workload: W,
    /// Whether it has the revision already, and pods: it was a canary before this program started, and may have been harmed by it.
    pub has_revision: bool,
    /// Whether its health says something about the sidecar: it has pods, and they are available or starting.
    pub is_conclusive: bool,
    /// Whether its pods are available now. Others come after it.
    pub is_ready: bool,
    /// Whether all of its pods stop before a new one starts. Others come before it.
    pub recreates: bool,
    /// Whether `spec.rollout.canary.selector` selects it.
    pub is_selected: bool,
}

/// The candidates, and how many canaries to choose if no selector applies.
#[derive(Clone, Debug)]
pub struct CanaryCandidates<W> {
    /// The workloads that the `LogSidecar` targets.
    pub candidates: Vec<CanaryCandidate<W>>,
    /// The number of canaries.
    pub count: usize,
}

impl<W> Default for CanaryCandidates<W> {
    fn default() -> Self {
        Self { candidates: Vec::new(), count: 0 }
    }
}

impl<W: Clone + Ord> CanaryCandidates<W> {
    /// Chooses the canaries: those that the selector selects, else the first `count` in the order of usefulness. The workload
    /// at which the previous attempt failed is always among them. `unfit` workloads never are.
    #[must_use]
    pub fn choose(self, unfit: &BTreeSet<W>, failed: Option<&W>) -> BTreeSet<W> {
        let Self { mut candidates, count } = self;
        let is_failed = |workload: &W| failed == Some(workload);
        candidates.retain(|one| {
            !unfit.contains(&one.workload) && (one.is_conclusive || one.has_revision || is_failed(&one.workload))
        });
        candidates.sort_by_key(|one| {
            (!is_failed(&one.workload), !one.has_revision, !one.is_ready, one.recreates, one.workload.clone())
        });
        let selected = candidates.iter().filter(|one| one.is_selected);
        let mut chosen: BTreeSet<W> = selected.map(|one| one.workload.clone()).collect();
        if chosen.is_empty() {
            // No selector, or it selects no candidate.
            chosen = candidates.iter().take(count).map(|one| one.workload.clone()).collect();
        }
        chosen.extend(candidates.into_iter().map(|one| one.workload).filter(is_failed));
        chosen
    }
}

/// What a decision about a workload means for it as a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryFitness {
    /// It cannot be served, or its health would say nothing: another canary is chosen.
    Unfit,
    /// It has the revision already: it is judged like one that was just changed.
    HasRevision(crate::workload::ledger::Before),
    /// It is still to be changed.
    Fit,
}
