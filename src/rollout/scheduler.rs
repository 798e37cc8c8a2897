//! The scheduler: which workload may be changed next. One for all LogSidecars, so that however many workers ask, and however far
//! the cache lags behind, no more workloads are in flight than each `LogSidecar` allows.
//!
//! Pure: it knows neither clients nor clocks. `S` addresses LogSidecars, `W` workloads.

mod state;

use std::collections::{BTreeMap, BTreeSet};

pub use self::state::{Halt, RecordedRollout, TurnRequest, Wait};
use self::state::{RolloutPhase, RolloutState};
use super::{
    canary::{CanaryCandidates, CanaryFitness},
    in_flight::InFlight,
};
use crate::api::Stage;

/// The rollouts of all LogSidecars.
#[derive(Debug)]
pub struct RolloutScheduler<S, W> {
    rollouts: BTreeMap<S, RolloutState<W>>,
    /// The rollouts in which a workload takes part, so that no question about a workload visits all LogSidecars of the cluster.
    by_workload: BTreeMap<W, BTreeSet<S>>,
    /// The rollouts that changed since the last [`Self::wake`]: only they can have a free place.
    changed: BTreeSet<S>,
}

/// How far a rollout has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutProgress {
    /// The uid of the `LogSidecar`.
    pub owner: String,
    /// The revision that is rolled out.
    pub revision: String,
    /// The `metadata.generation` that it is about.
    pub generation: i64,
    /// The stage.
    pub stage: Stage,
    /// How many workloads replace their pods for it.
    pub in_flight: usize,
}

/// The rollouts in which one workload takes part, at one moment.
#[derive(Clone, Debug)]
pub struct RolloutView<S, W> {
    /// The LogSidecars whose rollout has failed at this workload.
    pub halts: Vec<(S, Halt<W>)>,
    /// The LogSidecars for which it is in flight.
    pub in_flight: BTreeSet<S>,
}

impl<S, W> Default for RolloutView<S, W> {
    fn default() -> Self {
        Self { halts: Vec::new(), in_flight: BTreeSet::new() }
    }
}

impl<S, W> Default for RolloutScheduler<S, W> {
    fn default() -> Self {
        Self { rollouts: BTreeMap::new(), by_workload: BTreeMap::new(), changed: BTreeSet::new() }
    }
}

impl<S: Clone + Ord, W: Clone + Ord> RolloutScheduler<S, W> {
    /// Makes the rollout of a `LogSidecar` with this uid be about its current spec. Another revision begins with canaries; so does
    /// any change of the spec of one that was halted. `recorded` is what its status says, for a rollout that is not known yet.
    pub fn revise(&mut self, sidecar: &S, owner: &str, spec: (&str, i64), recorded: impl FnOnce() -> RecordedRollout<W>) {
        if !self.rollouts.contains_key(sidecar) {
            let state = RolloutState::from_recorded(owner, recorded());
            for workload in state.failed_at() {
                self.by_workload.entry(workload.clone()).or_default().insert(sidecar.clone());
            }
            self.rollouts.insert(sidecar.clone(), state);
        }
        if let Some(members) = self.rollouts.get_mut(sidecar).and_then(|rollout| rollout.revise(owner, spec)) {
            self.changed.insert(sidecar.clone());
            members.iter().for_each(|workload| self.unindex(sidecar, workload));
        }
    }

    /// Sets how many workloads may be in flight. A limit that rises makes room for those that wait.
    pub fn set_limit(&mut self, sidecar: &S, limit: usize) {
        if let Some(rollout) = self.rollouts.get_mut(sidecar)
            && std::mem::replace(&mut rollout.limit, limit) < limit
        {
            self.changed.insert(sidecar.clone());
        }
    }

    /// Asks for a turn to change a workload, for all of these LogSidecars at once: either all allow it, and it is in flight from now
    /// on, or nothing happens. `candidates` is called when canaries have to be chosen.
    ///
    /// # Errors
    /// For each that does not allow it, why.
    pub fn request_turn(
        &mut self,
        workload: &W,
        requests: &[TurnRequest<S>],
        in_flight: &InFlight,
        mut candidates: impl FnMut(&S) -> CanaryCandidates<W>,
    ) -> Result<(), Vec<(S, Wait<W>)>> {
        let mut waits = Vec::new();
        for request in requests {
            let sidecar = &request.sidecar;
            let rollout = self.rollouts.entry(sidecar.clone()).or_insert_with(RolloutState::of_unknown);
            self.changed.insert(sidecar.clone());
            self.by_workload.entry(workload.clone()).or_default().insert(sidecar.clone());
            if !request.removing {
                for chosen in rollout.choose(in_flight.progressed, || candidates(sidecar)) {
                    self.by_workload.entry(chosen).or_default().insert(sidecar.clone());
                }
            }
            if let Some(wait) = rollout.wait_for(workload, request.removing, request.at_once || !in_flight.counts) {
                rollout.enqueue(workload, request.removing);
                waits.push((sidecar.clone(), wait));
            }
        }
        if !waits.is_empty() {
            requests.iter().for_each(|request| self.unindex(&request.sidecar, workload));
            return Err(waits);
        }
        for request in requests {
            let Some(rollout) = self.rollouts.get_mut(&request.sidecar) else { continue };
            let (revision, removing) = (rollout.revision.clone(), request.removing);
            rollout.begin(workload, InFlight { revision, removing, ..in_flight.clone() });
        }
        Ok(())
    }

    /// Tracks a workload that is in flight although it never asked: it was when this program started, or is a canary that has the
    /// revision already. An empty revision means the current one.
    pub fn track_existing(&mut self, sidecar: &S, workload: &W, in_flight: &InFlight) {
        if let Some(rollout) = self.rollouts.get_mut(sidecar)
            && !rollout.in_flight.contains_key(workload)
        {
            let revision = if in_flight.revision.is_empty() { rollout.revision.clone() } else { in_flight.revision.clone() };
            rollout.begin(workload, InFlight { revision, ..in_flight.clone() });
            self.by_workload.entry(workload.clone()).or_default().insert(sidecar.clone());
        }
    }

    /// The rollouts in which a workload is in flight.
    pub fn in_flight<'a>(&'a self, workload: &W) -> impl Iterator<Item = (&'a S, &'a InFlight)> + use<'a, S, W> {
        let workload = workload.clone();
        let sidecars = self.by_workload.get(&workload).into_iter().flatten();
        sidecars.filter_map(move |sidecar| Some((sidecar, self.rollouts.get(sidecar)?.in_flight.get(&workload)?)))
    }

    /// What decisions about a workload need to know of its rollouts.
    #[must_use]
    pub fn view(&self, workload: &W) -> RolloutView<S, W> {
        let sidecars = self.by_workload.get(workload).into_iter().flatten();
        let halts = sidecars.filter_map(|sidecar| {
            let halt = self.halt(sidecar).filter(|halt| halt.is_at(workload))?;
            Some((sidecar.clone(), halt.clone()))
        });
        let in_flight = self.in_flight(workload).map(|(sidecar, _)| sidecar.clone()).collect();
        RolloutView { halts: halts.collect(), in_flight }
    }

    /// Changes what is known of a workload in flight.
    pub fn update(&mut self, sidecar: &S, workload: &W, change: impl FnOnce(&mut InFlight)) {
        if let Some(in_flight) = self.rollouts.get_mut(sidecar).and_then(|rollout| rollout.in_flight.get_mut(workload)) {
            change(in_flight);
            self.changed.insert(sidecar.clone());
        }
    }

    /// The same in all of its rollouts.
    pub fn update_all(&mut self, workload: &W, mut change: impl FnMut(&mut InFlight)) {
        for sidecar in self.rollouts_of(workload) {
            self.update(&sidecar, workload, &mut change);
        }
    }

    /// The change of a workload has succeeded.
    pub fn finish(&mut self, sidecar: &S, workload: &W) {
        self.change(sidecar, workload, |rollout| rollout.finish(workload));
    }

    /// The change of a workload has failed. Returns whether that halts the rollout: a removal and another revision do not; nor
    /// does another failure of a halted one.
    pub fn fail(&mut self, sidecar: &S, workload: &W, cause: &str) -> bool {
        let mut halts = false;
        self.change(sidecar, workload, |rollout| halts = rollout.fail(workload, cause));
        halts
    }

    /// Stops tracking changes that were allowed and not written.
    pub fn abandon_unwritten(&mut self, workload: &W) {
        for sidecar in self.rollouts_of(workload) {
            self.change(&sidecar, workload, |rollout| {
                if rollout.in_flight.get(workload).is_some_and(|in_flight| !in_flight.written) {
                    rollout.in_flight.remove(workload);
                }
            });
        }
    }

    /// Stops tracking a change that has shown nothing. The workload is no canary of its revision.
    pub fn abandon_inconclusive(&mut self, sidecar: &S, workload: &W) {
        self.change(sidecar, workload, |rollout| {
            let in_flight = rollout.in_flight.remove(workload);
            if in_flight.is_some_and(|in_flight| in_flight.revision == rollout.revision) {
                rollout.exclude_canary(workload);
            }
        });
    }

    /// Excludes a workload from the canaries: it is refused, or no longer a target. `spec` is the uid and the generation that this
    /// was decided about; about another one it says nothing.
    pub fn exclude_canary(&mut self, sidecar: &S, spec: (&str, i64), workload: &W) {
        if self.is_about(sidecar, spec) {
            self.change(sidecar, workload, |rollout| rollout.exclude_canary(workload));
        }
    }

    /// Applies what a decision about this uid and generation has found, if the workload is a canary whose turn is due. `in_flight` is
    /// what a change that begins now would look like.
    pub fn judge_canary(
        &mut self,
        sidecar: &S,
        spec: (&str, i64),
        workload: &W,
        fitness: &CanaryFitness,
        in_flight: &InFlight,
    ) {
        if !self.is_about(sidecar, spec) || !self.is_due_canary(sidecar, workload) {
            return;
        }
        match fitness {
            CanaryFitness::Unfit => self.exclude_canary(sidecar, spec, workload),
            CanaryFitness::HasRevision(before) => {
                let in_flight = InFlight { written: true, before: *before, ..in_flight.clone() };
                self.track_existing(sidecar, workload, &in_flight);
            }
            CanaryFitness::Fit => {}
        }
    }

    /// Removes a workload that is gone from all rollouts. A halt at it stays: one of the same name may come.
    pub fn remove_workload(&mut self, workload: &W) {
        for sidecar in self.rollouts_of(workload) {
            self.change(&sidecar, workload, |rollout| rollout.remove_workload(workload));
        }
    }

    /// A workload that was woken has been reconciled: if it did not take its turn, that goes to the next one.
    pub fn end_turn(&mut self, workload: &W) {
        for sidecar in self.rollouts_of(workload) {
            self.change(&sidecar, workload, |rollout| {
                rollout.woken.remove(workload);
            });
        }
    }

    /// Whether a rollout is about this uid and generation. Another worker may have seen a newer spec.
    #[must_use]
    pub fn is_about(&self, sidecar: &S, (owner, generation): (&str, i64)) -> bool {
        self.rollouts.get(sidecar).is_some_and(|rollout| rollout.owner == owner && rollout.generation == generation)
    }

    /// Whether a workload is a canary that has not succeeded yet.
    #[must_use]
    pub fn is_due_canary(&self, sidecar: &S, workload: &W) -> bool {
        self.rollouts.get(sidecar).is_some_and(|rollout| rollout.is_due_canary(workload))
    }

    /// What has halted a rollout.
    #[must_use]
    pub fn halt(&self, sidecar: &S) -> Option<&Halt<W>> {
        match &self.rollouts.get(sidecar)?.phase {
            RolloutPhase::Halted(halt) => Some(halt),
            RolloutPhase::Canary { .. } | RolloutPhase::Rolling => None,
        }
    }

    /// Where and why a rollout was halted, or the attempt before: what a controller that starts later has to know.
    #[must_use]
    pub fn failure(&self, sidecar: &S) -> Option<(&W, &str)> {
        let rollout = self.rollouts.get(sidecar)?;
        match &rollout.phase {
            RolloutPhase::Halted(halt) => Some((&halt.at, &halt.cause)),
            RolloutPhase::Canary { .. } | RolloutPhase::Rolling => {
                rollout.failed.as_ref().map(|(at, cause)| (at, cause.as_str()))
            }
        }
    }

    /// The halt of a rollout has been recorded in the status of its `LogSidecar`.
    pub fn recorded(&mut self, sidecar: &S, revision: &str) {
        if let Some(rollout) = self.rollouts.get_mut(sidecar)
            && rollout.revision == revision
            && let RolloutPhase::Halted(halt) = &mut rollout.phase
        {
            halt.recorded = true;
        }
    }

    /// What the queued workloads of a rollout wait for.
    #[must_use]
    pub fn wait(&self, sidecar: &S) -> Option<Wait<W>> {
        self.rollouts.get(sidecar).map(RolloutState::wait)
    }

    /// How far a rollout has come.
    #[must_use]
    pub fn progress(&self, sidecar: &S) -> Option<RolloutProgress> {
        self.rollouts.get(sidecar).map(|rollout| RolloutProgress {
            owner: rollout.owner.clone(),
            revision: rollout.revision.clone(),
            generation: rollout.generation,
            stage: rollout.stage(),
            in_flight: rollout.active(),
        })
    }

    /// The revision that a rollout is about.
    #[must_use]
    pub fn revision(&self, sidecar: &S) -> Option<&str> {
        self.rollouts.get(sidecar).map(|rollout| rollout.revision.as_str())
    }

    /// The workloads that wait for their turn in a rollout, or were just woken for it.
    #[must_use]
    pub fn queued(&self, sidecar: &S) -> BTreeSet<W> {
        let rollout = self.rollouts.get(sidecar);
        let queued =
            rollout.into_iter().flat_map(|rollout| rollout.waiting.iter().chain(&rollout.leaving).chain(&rollout.woken));
        queued.cloned().collect()
    }

    /// How many workloads are in flight, for all LogSidecars.
    #[must_use]
    pub fn total_in_flight(&self) -> usize {
        self.rollouts.values().map(|rollout| rollout.in_flight.len()).sum()
    }

    /// The workloads that may ask for a turn now. Each is named once, and has to be reconciled.
    pub fn wake(&mut self) -> Vec<W> {
        let mut woken = Vec::new();
        for sidecar in std::mem::take(&mut self.changed) {
            if let Some(rollout) = self.rollouts.get_mut(&sidecar) {
                woken.extend(rollout.wake());
            }
        }
        woken
    }

    /// Removes the rollout of a `LogSidecar` that is gone, unless workloads are still in flight for it.
    pub fn forget(&mut self, sidecar: &S) {
        if self.rollouts.get(sidecar).is_some_and(|rollout| rollout.in_flight.is_empty())
            && let Some(rollout) = self.rollouts.remove(sidecar)
        {
            rollout.members().iter().for_each(|workload| self.unindex(sidecar, workload));
        }
    }

    /// The same, if no workload waits for it either.
    pub fn forget_finished(&mut self, sidecar: &S) {
        if self.queued(sidecar).is_empty() {
            self.forget(sidecar);
        }
    }

    fn rollouts_of(&self, workload: &W) -> Vec<S> {
        self.by_workload.get(workload).into_iter().flatten().cloned().collect()
    }

    fn change(&mut self, sidecar: &S, workload: &W, change: impl FnOnce(&mut RolloutState<W>)) {
        let Some(rollout) = self.rollouts.get_mut(sidecar) else { return };
        change(rollout);
        self.changed.insert(sidecar.clone());
        self.unindex(sidecar, workload);
    }

    fn unindex(&mut self, sidecar: &S, workload: &W) {
        if self.rollouts.get(sidecar).is_some_and(|rollout| rollout.has_member(workload)) {
            return;
        }
        if let Some(sidecars) = self.by_workload.get_mut(workload) {
            sidecars.remove(sidecar);
            if sidecars.is_empty() {
                self.by_workload.remove(workload);
            }
        }
    }
}

#[cfg(test)]
mod tests;
