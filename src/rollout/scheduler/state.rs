//! The rollout of one `LogSidecar`: its phase, its budget, and the workloads that take part. Decides nothing about other rollouts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    api::Stage,
    rollout::{canary::CanaryCandidates, in_flight::InFlight},
};

/// The budget of a `LogSidecar` of which nothing is known any more, as it is gone.
const UNKNOWN_LIMIT: usize = 5;

/// How long no canaries are chosen again after none was found.
const NO_CANDIDATE_RETRY: Duration = Duration::from_secs(1);

/// The rollout of one `LogSidecar`.
#[derive(Debug)]
pub(super) struct RolloutState<W> {
    /// The uid of the `LogSidecar`: one that is deleted and created again has the same name.
    pub owner: String,
    pub revision: String,
    pub generation: i64,
    pub limit: usize,
    pub phase: RolloutPhase<W>,
    pub in_flight: BTreeMap<W, InFlight>,
    /// Workloads that wait for a turn: for an injection, and for a removal.
    pub waiting: BTreeSet<W>,
    pub leaving: BTreeSet<W>,
    /// Workloads that have been queued to ask again.
    pub woken: BTreeSet<W>,
    /// Where and why the previous attempt failed: the correction has to succeed there first.
    pub failed: Option<(W, String)>,
    /// When no canary was found.
    no_candidate_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum RolloutPhase<W> {
    /// `chosen` is empty before the first workload has asked.
    Canary {
        chosen: BTreeSet<W>,
        passed: BTreeSet<W>,
        unfit: BTreeSet<W>,
    },
    Rolling,
    Halted(Halt<W>),
}

/// What has halted a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt<W> {
    /// The workload.
    pub at: W,
    /// The cause, for users.
    pub cause: String,
    /// The workloads that were in flight at that time and failed later.
    pub also: BTreeSet<W>,
    /// Whether the halt is recorded in the status of the `LogSidecar`: nothing is rolled back before.
    pub recorded: bool,
}

/// What a workload is to be changed for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TurnRequest<S> {
    /// The `LogSidecar`.
    pub sidecar: S,
    /// Whether its items are removed.
    pub removing: bool,
    /// Whether it needs no place of the budget: a removal from a workload that is unhealthy anyway.
    pub at_once: bool,
}

/// Why a workload has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait<W> {
    /// The rollout has been halted.
    Halted(Halt<W>),
    /// These canaries come first.
    Canary(Vec<W>),
    /// This many are in flight already.
    Full(usize),
}

/// What the status of a `LogSidecar` says about its rollout.
#[derive(Clone, Debug)]
pub struct RecordedRollout<W> {
    /// The revision that it is about.
    pub revision: String,
    /// The generation that it is about.
    pub generation: i64,
    /// The stage.
    pub stage: Stage,
    /// Where and why it, or the attempt before, failed.
    pub failed: Option<(W, String)>,
}

impl<W: Ord> Halt<W> {
    /// Whether the rollout has failed at a workload.
    pub fn is_at(&self, workload: &W) -> bool {
        self.at == *workload || self.also.contains(workload)
    }
}

impl<W> RolloutPhase<W> {
    const fn new() -> Self {
        Self::Canary { chosen: BTreeSet::new(), passed: BTreeSet::new(), unfit: BTreeSet::new() }
    }
}

impl<W: Clone + Ord> RolloutState<W> {
    /// That of a `LogSidecar` that is gone, or was never seen: only removals are left.
    pub fn of_unknown() -> Self {
        let recorded = RecordedRollout { revision: String::new(), generation: 0, stage: Stage::Rolling, failed: None };
        Self { limit: UNKNOWN_LIMIT, ..Self::from_recorded("", recorded) }
    }

    pub fn from_recorded(owner: &str, recorded: RecordedRollout<W>) -> Self {
        let (phase, failed) = match (recorded.stage, recorded.failed) {
            (Stage::Halted, Some((at, cause))) => {
                (RolloutPhase::Halted(Halt { at, cause, also: BTreeSet::new(), recorded: true }), None)
            }
            (Stage::Rolling, failed) => (RolloutPhase::Rolling, failed),
            (Stage::Canary | Stage::Halted, failed) => (RolloutPhase::new(), failed),
        };
        Self {
            owner: owner.to_owned(),
            revision: recorded.revision,
            generation: recorded.generation,
            limit: 1,
            phase,
            in_flight: BTreeMap::new(),
            waiting: BTreeSet::new(),
            leaving: BTreeSet::new(),
            woken: BTreeSet::new(),
            failed,
            no_candidate_at: None,
        }
    }

    /// Follows a change of the spec. Returns the workloads that took part, if the rollout begins anew.
    pub fn revise(&mut self, owner: &str, (revision, generation): (&str, i64)) -> Option<BTreeSet<W>> {
        if self.owner == owner && generation < self.generation {
            // The cache is stale: ignore an older generation.
            return None;
        }
        let is_halted = matches!(self.phase, RolloutPhase::Halted(_));
        if let RolloutPhase::Canary { unfit, .. } = &mut self.phase
            && self.generation != generation
        {
            unfit.clear();
        }
        if self.owner == owner && self.revision == revision && (!is_halted || self.generation == generation) {
            self.generation = generation;
            return None;
        }
        let members = self.members();
        self.failed = match &self.phase {
            RolloutPhase::Halted(halt) if self.owner == owner => Some((halt.at.clone(), halt.cause.clone())),
            _ => self.failed.take().filter(|_| self.owner == owner),
        };
        owner.clone_into(&mut self.owner);
        (self.revision, self.generation) = (revision.to_owned(), generation);
        self.phase = RolloutPhase::new();
        self.no_candidate_at = None;
        self.waiting.clear();
        self.woken.clear();
        Some(members)
    }

    pub const fn stage(&self) -> Stage {
        match self.phase {
            RolloutPhase::Canary { .. } => Stage::Canary,
            RolloutPhase::Rolling => Stage::Rolling,
            RolloutPhase::Halted(_) => Stage::Halted,
        }
    }

    /// How many workloads occupy a place of the budget.
    pub fn active(&self) -> usize {
        self.in_flight.values().filter(|in_flight| in_flight.counts).count()
    }

    pub fn begin(&mut self, workload: &W, in_flight: InFlight) {
        self.waiting.remove(workload);
        self.leaving.remove(workload);
        self.woken.remove(workload);
        self.in_flight.insert(workload.clone(), in_flight);
    }

    pub fn enqueue(&mut self, workload: &W, removing: bool) {
        self.woken.remove(workload);
        let (to, from) = if removing { (&mut self.leaving, &mut self.waiting) } else { (&mut self.waiting, &mut self.leaving) };
        from.remove(workload);
        to.insert(workload.clone());
    }

    /// Chooses the canaries, if that is due. Returns those that were chosen just now.
    pub fn choose(&mut self, now: Instant, candidates: impl FnOnce() -> CanaryCandidates<W>) -> Vec<W> {
        let RolloutPhase::Canary { chosen, unfit, .. } = &mut self.phase else { return Vec::new() };
        let tried_lately = |at: Instant| now.saturating_duration_since(at) < NO_CANDIDATE_RETRY;
        if !chosen.is_empty() || self.no_candidate_at.is_some_and(tried_lately) {
            return Vec::new();
        }
        let candidates = candidates();
        let count = candidates.count;
        let first = candidates.choose(unfit, self.failed.as_ref().map(|(at, _)| at));
        if first.is_empty() {
            // Inconclusive workloads need not wait for a canary that does not exist; the first conclusive one still is a canary.
            self.no_candidate_at = Some(now);
            if count == 0 {
                self.phase = RolloutPhase::Rolling;
            }
            return Vec::new();
        }
        self.waiting.extend(first.iter().cloned());
        chosen.clone_from(&first);
        first.into_iter().collect()
    }

    /// Why a workload may not be changed now. One that is in flight keeps its place, but waits for the canaries like all others if it is
    /// for another revision.
    pub fn wait_for(&self, workload: &W, removing: bool, needs_no_place: bool) -> Option<Wait<W>> {
        if !removing {
            match &self.phase {
                RolloutPhase::Halted(halt) => return Some(Wait::Halted(halt.clone())),
                RolloutPhase::Canary { chosen, .. } if !chosen.is_empty() && !self.may_be_tried(chosen, workload) => {
                    return Some(Wait::Canary(self.tried_first(chosen)));
                }
                RolloutPhase::Canary { .. } | RolloutPhase::Rolling => {}
            }
        }
        // Right after a start more can be in flight than allowed, most of them changed by their owners: those have a place, but no
        // permission to be changed as well.
        let has_place = self.in_flight.get(workload).is_some_and(|in_flight| in_flight.counts);
        let others = self.active() - usize::from(has_place);
        (!needs_no_place && others >= self.limit).then_some(Wait::Full(self.limit))
    }

    pub fn wait(&self) -> Wait<W> {
        match &self.phase {
            RolloutPhase::Canary { chosen, .. } if !chosen.is_empty() => Wait::Canary(self.tried_first(chosen)),
            RolloutPhase::Rolling | RolloutPhase::Canary { .. } => Wait::Full(self.limit),
            RolloutPhase::Halted(halt) => Wait::Halted(halt.clone()),
        }
    }

    pub fn finish(&mut self, workload: &W) {
        let Some(in_flight) = self.in_flight.remove(workload) else { return };
        if in_flight.removing || in_flight.revision != self.revision {
            return;
        }
        self.failed.take_if(|(failed, _)| failed == workload);
        if let RolloutPhase::Canary { chosen, passed, .. } = &mut self.phase
            && chosen.contains(workload)
        {
            passed.insert(workload.clone());
        }
        self.promote();
    }

    pub fn fail(&mut self, workload: &W, cause: &str) -> bool {
        let Some(in_flight) = self.in_flight.remove(workload) else { return false };
        if in_flight.removing || in_flight.revision != self.revision {
            return false;
        }
        if let RolloutPhase::Halted(halt) = &mut self.phase {
            halt.also.insert(workload.clone());
            return false;
        }
        let (at, cause) = (workload.clone(), cause.to_owned());
        self.phase = RolloutPhase::Halted(Halt { at, cause, also: BTreeSet::new(), recorded: false });
        true
    }

    pub fn exclude_canary(&mut self, workload: &W) {
        self.failed.take_if(|(failed, _)| failed == workload);
        if let RolloutPhase::Canary { chosen, unfit, .. } = &mut self.phase {
            if chosen.remove(workload) {
                unfit.insert(workload.clone());
            }
            if chosen.is_empty() {
                // The next workload that asks makes the scheduler choose from the others.
                self.woken.clear();
            }
            self.promote();
        }
    }

    pub fn remove_workload(&mut self, workload: &W) {
        self.exclude_canary(workload);
        self.in_flight.remove(workload);
        self.waiting.remove(workload);
        self.leaving.remove(workload);
        self.woken.remove(workload);
    }

    pub fn is_due_canary(&self, workload: &W) -> bool {
        match &self.phase {
            RolloutPhase::Canary { chosen, passed, .. } => chosen.contains(workload) && !passed.contains(workload),
            RolloutPhase::Rolling | RolloutPhase::Halted(_) => false,
        }
    }

    pub fn wake(&mut self) -> Vec<W> {
        let free = self.limit.saturating_sub(self.active() + self.woken.len());
        // Of ten thousand that wait for a canary, or for a halt to end, none is visited here.
        let waiting: Box<dyn Iterator<Item = &W>> = match &self.phase {
            RolloutPhase::Rolling => Box::new(self.waiting.iter()),
            RolloutPhase::Canary { chosen, .. } if chosen.is_empty() => Box::new(self.waiting.iter()),
            RolloutPhase::Canary { chosen, .. } => {
                let due = |workload: &&W| self.waiting.contains(*workload) && self.may_be_tried(chosen, workload);
                Box::new(chosen.iter().filter(due))
            }
            RolloutPhase::Halted(_) => Box::new(std::iter::empty()),
        };
        let next: Vec<W> = self.leaving.iter().chain(waiting).take(free).cloned().collect();
        for workload in &next {
            self.waiting.remove(workload);
            self.leaving.remove(workload);
            self.woken.insert(workload.clone());
        }
        next
    }

    /// The workloads at which this attempt, or the one before, has failed.
    pub fn failed_at(&self) -> BTreeSet<W> {
        let mut found: BTreeSet<W> = self.failed.iter().map(|(at, _)| at.clone()).collect();
        if let RolloutPhase::Halted(halt) = &self.phase {
            found.insert(halt.at.clone());
            found.extend(halt.also.iter().cloned());
        }
        found
    }

    /// Whether a workload takes part in the rollout.
    pub fn has_member(&self, workload: &W) -> bool {
        let is_chosen = match &self.phase {
            RolloutPhase::Canary { chosen, .. } => chosen.contains(workload),
            RolloutPhase::Halted(halt) => halt.is_at(workload),
            RolloutPhase::Rolling => false,
        };
        is_chosen
            || self.in_flight.contains_key(workload)
            || self.waiting.contains(workload)
            || self.leaving.contains(workload)
            || self.woken.contains(workload)
            || self.failed.as_ref().is_some_and(|(failed, _)| failed == workload)
    }

    /// All workloads that take part.
    pub fn members(&self) -> BTreeSet<W> {
        let mut members = self.failed_at();
        if let RolloutPhase::Canary { chosen, .. } = &self.phase {
            members.extend(chosen.iter().cloned());
        }
        members.extend(self.in_flight.keys().chain(&self.waiting).chain(&self.leaving).chain(&self.woken).cloned());
        members
    }

    /// Whether a canary may be tried now: where the last attempt failed, that workload comes alone.
    fn may_be_tried(&self, chosen: &BTreeSet<W>, workload: &W) -> bool {
        match &self.failed {
            Some((failed, _)) if chosen.contains(failed) => failed == workload,
            _ => chosen.contains(workload),
        }
    }

    fn tried_first(&self, chosen: &BTreeSet<W>) -> Vec<W> {
        chosen.iter().filter(|workload| self.may_be_tried(chosen, workload)).cloned().collect()
    }

    /// Ends the canary phase when all canaries have succeeded.
    fn promote(&mut self) {
        if let RolloutPhase::Canary { chosen, passed, .. } = &self.phase
            && !chosen.is_empty()
            && chosen.is_subset(passed)
        {
            self.failed = None;
            self.phase = RolloutPhase::Rolling;
        }
    }
}
