//! Who may be changed next: one allocator for all LogSidecars, so that however many workers ask, and however far the cache is
//! behind, no more workloads are under way than each `LogSidecar` allows.
//!
//! A *wave* is the rollout of one `LogSidecar`. A workload that is being changed for it is a *flight*: from the moment that the
//! change is allowed, before it is written, until all pods have it and their sidecars have run for a while. `S` names
//! LogSidecars, `W` workloads.

use std::collections::{BTreeMap, BTreeSet};

use crate::{api::Stage, workload::ledger::Before};

/// All waves.
#[derive(Debug)]
pub struct Waves<S, W>(BTreeMap<S, Wave<W>>);

#[derive(Debug)]
struct Wave<W> {
    /// The uid of the `LogSidecar`: one that is made anew has the same name.
    owner: String,
    revision: String,
    generation: i64,
    limit: usize,
    phase: Phase<W>,
    flights: BTreeMap<W, Flight>,
    /// Those that have been told to wait: something is to be put into these, and taken out of those.
    waiting: BTreeSet<W>,
    leaving: BTreeSet<W>,
    /// Those of them that have been told to ask again.
    woken: BTreeSet<W>,
    /// At which the try before failed, and why: what mends the sidecar has to reach it, and nobody else, first.
    failed: Option<(W, String)>,
    /// When nobody was found who could be tried first.
    none_at: Option<u64>,
}

/// How many may be under way for a `LogSidecar` of which nothing else is known, as it is gone.
const UNKNOWN: usize = 5;

/// How long nobody who could be tried first is looked for again, in milliseconds.
const NOBODY: u64 = 1000;

#[derive(Debug)]
enum Phase<W> {
    /// `chosen` is empty before the first has asked.
    Canary {
        chosen: BTreeSet<W>,
        passed: BTreeSet<W>,
        unfit: BTreeSet<W>,
    },
    Rolling,
    Halted(Halt<W>),
}

impl<W> Phase<W> {
    const fn new() -> Self {
        Self::Canary { chosen: BTreeSet::new(), passed: BTreeSet::new(), unfit: BTreeSet::new() }
    }
}

/// What has halted a wave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt<W> {
    /// Where.
    pub at: W,
    /// Why.
    pub cause: String,
    /// What was under way then and failed later.
    pub also: BTreeSet<W>,
    /// Whether that has been written down: nothing is to be restored before.
    pub recorded: bool,
}

/// A workload on its way.
#[allow(clippy::struct_excessive_bools, reason = "each says something else, and no two exclude each other")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// For which revision.
    pub revision: String,
    /// Whether something is taken out. That never fails.
    pub removing: bool,
    /// Whether its pods are being replaced: those of a paused Deployment are not.
    pub counts: bool,
    /// Whether the change has been written.
    pub written: bool,
    /// How the workload did before.
    pub before: Before,
    /// When it began, or last made progress.
    pub since: u64,
    /// The most pods that were new, and available with them.
    pub step: (u32, u32),
    /// When it began, in seconds since 1970: what had failed before says nothing about it.
    pub began: i64,
    /// Since when all sidecars run.
    pub healthy: Option<u64>,
    /// When the pods were last looked at.
    pub probed: Option<u64>,
}

/// What somebody wants to do to a workload for one `LogSidecar`.
#[derive(Clone, Debug)]
pub struct Request<S> {
    /// For whom.
    pub sidecar: S,
    /// Whether it is taken out.
    pub removing: bool,
    /// Whether it does not have to wait for others: what is taken out of a workload that does badly anyway.
    pub at_once: bool,
}

/// What is known of a workload that may go first.
#[allow(clippy::struct_excessive_bools, reason = "each says something else, and no two exclude each other")]
#[derive(Clone, Debug)]
pub struct Candidate<W> {
    /// Which one.
    pub workload: W,
    /// Whether it has the revision already, and pods: it was first before this program started, and may have been harmed by it.
    pub has_it: bool,
    /// Whether what becomes of it says anything: it has pods, and they are available or on their way.
    pub is_telling: bool,
    /// Whether they are available now: others are tried after it.
    pub is_ready: bool,
    /// Whether it stops completely when it is changed: others are tried before it.
    pub recreates: bool,
    /// Whether the selector of canaries means it.
    pub is_selected: bool,
}

/// Why a workload has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait<W> {
    /// The rollout has been halted.
    Halted(Halt<W>),
    /// These go first.
    Canary(Vec<W>),
    /// So many are under way already.
    Full(usize),
}

/// What was known before this program started.
#[derive(Clone, Debug)]
pub struct Memory<W> {
    /// The revision that it is about.
    pub revision: String,
    /// The generation that it is about.
    pub generation: i64,
    /// How far it had come.
    pub stage: Stage,
    /// At which it, or the try before, failed, and why.
    pub failed: Option<(W, String)>,
}

impl<W: Ord> Halt<W> {
    /// Whether a workload is among those at which the rollout has failed.
    pub fn is_at(&self, workload: &W) -> bool {
        self.at == *workload || self.also.contains(workload)
    }
}

impl<S, W> Default for Waves<S, W> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S: Clone + Ord, W: Clone + Ord> Waves<S, W> {
    /// Makes sure that the wave of a `LogSidecar` with this uid is about its current spec. Another revision begins with canaries; of
    /// one that was halted, so does any change of the spec.
    pub fn revise(&mut self, sidecar: &S, owner: &str, spec: (&str, i64), memory: impl FnOnce() -> Memory<W>) {
        let (revision, generation) = spec;
        let wave = self.0.entry(sidecar.clone()).or_insert_with(|| Wave::remembered(owner, memory()));
        if wave.owner == owner && generation < wave.generation {
            // Whoever says so is behind.
            return;
        }
        let is_halted = matches!(wave.phase, Phase::Halted(_));
        if let Phase::Canary { unfit, .. } = &mut wave.phase
            && wave.generation != generation
        {
            unfit.clear();
        }
        if wave.owner == owner && wave.revision == revision && (!is_halted || wave.generation == generation) {
            wave.generation = generation;
            return;
        }
        wave.failed = match &wave.phase {
            Phase::Halted(halt) if wave.owner == owner => Some((halt.at.clone(), halt.cause.clone())),
            _ => wave.failed.take().filter(|_| wave.owner == owner),
        };
        owner.clone_into(&mut wave.owner);
        (wave.revision, wave.generation) = (revision.to_owned(), generation);
        wave.phase = Phase::new();
        wave.none_at = None;
        wave.waiting.clear();
        wave.woken.clear();
    }

    /// Sets how many may be under way.
    pub fn allow(&mut self, sidecar: &S, limit: usize) {
        if let Some(wave) = self.0.get_mut(sidecar) {
            wave.limit = limit;
        }
    }

    /// Asks for a workload to be changed, for all of these at once: either all allow it, and it is under way from now on, or nothing
    /// happens. `candidates` is asked when canaries are to be chosen.
    ///
    /// # Errors
    /// For each that does not allow it, why.
    pub fn ask(
        &mut self,
        workload: &W,
        requests: &[Request<S>],
        flight: &Flight,
        mut candidates: impl FnMut(&S) -> (Vec<Candidate<W>>, usize),
    ) -> Result<(), Vec<(S, Wait<W>)>> {
        let mut waits = Vec::new();
        for request in requests {
            let wave = self.0.entry(request.sidecar.clone()).or_insert_with(Wave::of_nobody);
            if !request.removing {
                wave.choose(flight.since, || candidates(&request.sidecar));
            }
            if let Some(wait) = wave.objection(workload, request.removing, request.at_once || !flight.counts) {
                wave.woken.remove(workload);
                let (to, from) = if request.removing {
                    (&mut wave.leaving, &mut wave.waiting)
                } else {
                    (&mut wave.waiting, &mut wave.leaving)
                };
                from.remove(workload);
                to.insert(workload.clone());
                waits.push((request.sidecar.clone(), wait));
            }
        }
        if !waits.is_empty() {
            return Err(waits);
        }
        for request in requests {
            let Some(wave) = self.0.get_mut(&request.sidecar) else { continue };
            let (revision, removing) = (wave.revision.clone(), request.removing);
            wave.begin(workload, Flight { revision, removing, ..flight.clone() });
        }
        Ok(())
    }

    /// Notes that a workload is under way although nobody asked: it was when this program started, or is a canary that has what is
    /// asked for already.
    pub fn find(&mut self, sidecar: &S, workload: &W, flight: &Flight) {
        if let Some(wave) = self.0.get_mut(sidecar)
            && !wave.flights.contains_key(workload)
        {
            let revision = if flight.revision.is_empty() { wave.revision.clone() } else { flight.revision.clone() };
            wave.begin(workload, Flight { revision, ..flight.clone() });
        }
    }

    /// What a workload is under way for.
    pub fn flights<'a>(&'a self, workload: &W) -> impl Iterator<Item = (&'a S, &'a Flight)> + use<'a, S, W> {
        let workload = workload.clone();
        self.0.iter().filter_map(move |(sidecar, wave)| Some((sidecar, wave.flights.get(&workload)?)))
    }

    /// Changes what is known of a flight.
    pub fn update(&mut self, sidecar: &S, workload: &W, change: impl FnOnce(&mut Flight)) {
        if let Some(flight) = self.0.get_mut(sidecar).and_then(|wave| wave.flights.get_mut(workload)) {
            change(flight);
        }
    }

    /// The same for whatever a workload is under way for.
    pub fn update_all(&mut self, workload: &W, change: impl FnMut(&mut Flight)) {
        self.0.values_mut().filter_map(|wave| wave.flights.get_mut(workload)).for_each(change);
    }

    /// A flight has ended well.
    pub fn finish(&mut self, sidecar: &S, workload: &W) {
        let Some(wave) = self.0.get_mut(sidecar) else { return };
        let Some(flight) = wave.flights.remove(workload) else { return };
        if flight.removing || flight.revision != wave.revision {
            return;
        }
        wave.failed.take_if(|(failed, _)| failed == workload);
        if let Phase::Canary { chosen, passed, .. } = &mut wave.phase
            && chosen.contains(workload)
        {
            passed.insert(workload.clone());
        }
        wave.promote();
    }

    /// A flight has ended badly. Says whether that halts the wave: what is taken out, and what was put in for another revision, does
    /// not; nor does another failure of one that is halted.
    pub fn fail(&mut self, sidecar: &S, workload: &W, cause: &str) -> bool {
        let Some(wave) = self.0.get_mut(sidecar) else { return false };
        let Some(flight) = wave.flights.remove(workload) else { return false };
        if flight.removing || flight.revision != wave.revision {
            return false;
        }
        if let Phase::Halted(halt) = &mut wave.phase {
            halt.also.insert(workload.clone());
            return false;
        }
        let (at, cause) = (workload.clone(), cause.to_owned());
        wave.phase = Phase::Halted(Halt { at, cause, also: BTreeSet::new(), recorded: false });
        true
    }

    /// What is followed proves nothing.
    pub fn abandon(&mut self, sidecar: &S, workload: &W) {
        if let Some(wave) = self.0.get_mut(sidecar) {
            wave.flights.remove(workload);
        }
    }

    /// What was allowed for a workload was not done.
    pub fn abandon_unwritten(&mut self, workload: &W) {
        for wave in self.0.values_mut() {
            if wave.flights.get(workload).is_some_and(|flight| !flight.written) {
                wave.flights.remove(workload);
            }
        }
    }

    /// A workload cannot be a canary: it is refused, or not meant any more.
    pub fn pass_over(&mut self, sidecar: &S, workload: &W) {
        let Some(wave) = self.0.get_mut(sidecar) else { return };
        wave.failed.take_if(|(failed, _)| failed == workload);
        if let Phase::Canary { chosen, unfit, .. } = &mut wave.phase {
            if chosen.remove(workload) {
                unfit.insert(workload.clone());
            }
            if chosen.is_empty() {
                // Whoever asks next is chosen from those that are left.
                wave.woken.clear();
            }
            wave.promote();
        }
    }

    /// A workload is gone.
    pub fn gone(&mut self, workload: &W) {
        let all: Vec<S> = self.0.keys().cloned().collect();
        for sidecar in all {
            self.pass_over(&sidecar, workload);
            if let Some(wave) = self.0.get_mut(&sidecar) {
                wave.flights.remove(workload);
                wave.waiting.remove(workload);
                wave.leaving.remove(workload);
                wave.woken.remove(workload);
            }
        }
    }

    /// A workload has been looked at: if it was told to ask again and did not take its turn, that is the next one's.
    pub fn looked_at(&mut self, workload: &W) {
        for wave in self.0.values_mut() {
            wave.woken.remove(workload);
        }
    }

    /// Whether a workload is to be tried first, and has not been yet.
    #[must_use]
    pub fn is_due_canary(&self, sidecar: &S, workload: &W) -> bool {
        self.0.get(sidecar).is_some_and(|wave| match &wave.phase {
            Phase::Canary { chosen, passed, .. } => chosen.contains(workload) && !passed.contains(workload),
            Phase::Rolling | Phase::Halted(_) => false,
        })
    }

    /// What has halted a wave.
    #[must_use]
    pub fn halt(&self, sidecar: &S) -> Option<&Halt<W>> {
        match &self.0.get(sidecar)?.phase {
            Phase::Halted(halt) => Some(halt),
            Phase::Canary { .. } | Phase::Rolling => None,
        }
    }

    /// Where and why a wave was halted, or the try before: what those who start after us have to know.
    #[must_use]
    pub fn failure(&self, sidecar: &S) -> Option<(&W, &str)> {
        let wave = self.0.get(sidecar)?;
        match &wave.phase {
            Phase::Halted(halt) => Some((&halt.at, &halt.cause)),
            Phase::Canary { .. } | Phase::Rolling => wave.failed.as_ref().map(|(at, cause)| (at, cause.as_str())),
        }
    }

    /// That a wave has been halted is written down.
    pub fn recorded(&mut self, sidecar: &S, revision: &str) {
        if let Some(wave) = self.0.get_mut(sidecar)
            && wave.revision == revision
            && let Phase::Halted(halt) = &mut wave.phase
        {
            halt.recorded = true;
        }
    }

    /// What whoever waits for his turn waits for.
    #[must_use]
    pub fn turn(&self, sidecar: &S) -> Option<Wait<W>> {
        let wave = self.0.get(sidecar)?;
        Some(match &wave.phase {
            Phase::Canary { chosen, .. } if !chosen.is_empty() => Wait::Canary(wave.tried_first(chosen)),
            Phase::Rolling | Phase::Canary { .. } => Wait::Full(wave.limit),
            Phase::Halted(halt) => Wait::Halted(halt.clone()),
        })
    }

    /// How far a wave has come, for those who start after us: revision, generation, stage, how many are under way.
    #[must_use]
    pub fn state(&self, sidecar: &S) -> Option<(&str, i64, Stage, usize)> {
        let wave = self.0.get(sidecar)?;
        let stage = match wave.phase {
            Phase::Canary { .. } => Stage::Canary,
            Phase::Rolling => Stage::Rolling,
            Phase::Halted(_) => Stage::Halted,
        };
        Some((&wave.revision, wave.generation, stage, wave.under_way()))
    }

    /// Who waits for his turn, or has been told that it has come.
    #[must_use]
    pub fn waiting(&self, sidecar: &S) -> BTreeSet<W> {
        let wave = self.0.get(sidecar);
        wave.into_iter().flat_map(|wave| wave.waiting.iter().chain(&wave.leaving).chain(&wave.woken)).cloned().collect()
    }

    /// How many workloads are under way, for all LogSidecars.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.0.values().map(|wave| wave.flights.len()).sum()
    }

    /// Who may ask again now. Each is named once, and has to be looked at.
    pub fn wake(&mut self) -> Vec<W> {
        self.0.values_mut().flat_map(Wave::wake).collect()
    }

    /// A `LogSidecar` is gone; what is under way for it still is.
    pub fn forget(&mut self, sidecar: &S) {
        if self.0.get(sidecar).is_some_and(|wave| wave.flights.is_empty()) {
            self.0.remove(sidecar);
        }
    }
}

impl<W: Clone + Ord> Wave<W> {
    /// That of a `LogSidecar` that is gone, or was never seen: there is something left to be taken out.
    fn of_nobody() -> Self {
        let memory = Memory { revision: String::new(), generation: 0, stage: Stage::Rolling, failed: None };
        Self { limit: UNKNOWN, ..Self::remembered("", memory) }
    }

    fn remembered(owner: &str, memory: Memory<W>) -> Self {
        let (phase, failed) = match (memory.stage, memory.failed) {
            (Stage::Halted, Some((at, cause))) => {
                (Phase::Halted(Halt { at, cause, also: BTreeSet::new(), recorded: true }), None)
            }
            (Stage::Rolling, failed) => (Phase::Rolling, failed),
            (Stage::Canary | Stage::Halted, failed) => (Phase::new(), failed),
        };
        Self {
            owner: owner.to_owned(),
            revision: memory.revision,
            generation: memory.generation,
            limit: 1,
            phase,
            flights: BTreeMap::new(),
            waiting: BTreeSet::new(),
            leaving: BTreeSet::new(),
            woken: BTreeSet::new(),
            failed,
            none_at: None,
        }
    }

    fn under_way(&self) -> usize {
        self.flights.values().filter(|flight| flight.counts).count()
    }

    fn begin(&mut self, workload: &W, flight: Flight) {
        self.waiting.remove(workload);
        self.leaving.remove(workload);
        self.woken.remove(workload);
        self.flights.insert(workload.clone(), flight);
    }

    fn choose(&mut self, now: u64, candidates: impl FnOnce() -> (Vec<Candidate<W>>, usize)) {
        let Phase::Canary { chosen, unfit, .. } = &mut self.phase else { return };
        if !chosen.is_empty() || self.none_at.is_some_and(|at| now < at + NOBODY) {
            return;
        }
        let (mut all, count) = candidates();
        let failed = self.failed.as_ref().map(|(at, _)| at);
        all.retain(|one| !unfit.contains(&one.workload) && (one.is_telling || one.has_it || failed == Some(&one.workload)));
        all.sort_by_key(|one| (failed != Some(&one.workload), !one.has_it, !one.is_ready, one.recreates, one.workload.clone()));
        let selected = all.iter().filter(|one| one.is_selected);
        let mut first: BTreeSet<W> = selected.map(|one| one.workload.clone()).collect();
        if first.is_empty() {
            // No selector, or it means nobody.
            first = all.iter().take(count).map(|one| one.workload.clone()).collect();
        }
        first.extend(failed.filter(|failed| all.iter().any(|one| one.workload == **failed)).cloned());
        if first.is_empty() {
            // Those that can tell nothing need not wait for nobody; but the first that can is a canary still.
            self.none_at = Some(now);
            if count == 0 {
                self.phase = Phase::Rolling;
            }
        } else {
            self.waiting.extend(first.iter().cloned());
            *chosen = first;
        }
    }

    /// Whoever is under way already keeps his place, but waits for the canaries like all others if it is for another revision.
    fn objection(&self, workload: &W, removing: bool, needs_no_place: bool) -> Option<Wait<W>> {
        if !removing {
            match &self.phase {
                Phase::Halted(halt) => return Some(Wait::Halted(halt.clone())),
                Phase::Canary { chosen, .. } if !chosen.is_empty() && !self.may_be_tried(chosen, workload) => {
                    return Some(Wait::Canary(self.tried_first(chosen)));
                }
                Phase::Canary { .. } | Phase::Rolling => {}
            }
        }
        // Right after a start there can be more than allowed, most of them moved by somebody else: those have a place, but no
        // leave to be changed as well.
        let has_place = self.flights.get(workload).is_some_and(|flight| flight.counts);
        let others = self.under_way() - usize::from(has_place);
        (!needs_no_place && others >= self.limit).then_some(Wait::Full(self.limit))
    }

    /// Whether one of those that were chosen may be tried now: where the last try failed, that comes alone.
    fn may_be_tried(&self, chosen: &BTreeSet<W>, workload: &W) -> bool {
        match &self.failed {
            Some((failed, _)) if chosen.contains(failed) => failed == workload,
            _ => chosen.contains(workload),
        }
    }

    fn tried_first(&self, chosen: &BTreeSet<W>) -> Vec<W> {
        chosen.iter().filter(|workload| self.may_be_tried(chosen, workload)).cloned().collect()
    }

    /// Ends the time of the canaries, when all have succeeded.
    fn promote(&mut self) {
        if let Phase::Canary { chosen, passed, .. } = &self.phase
            && !chosen.is_empty()
            && chosen.is_subset(passed)
        {
            self.failed = None;
            self.phase = Phase::Rolling;
        }
    }

    fn wake(&mut self) -> Vec<W> {
        let free = self.limit.saturating_sub(self.under_way() + self.woken.len());
        // Of ten thousand that wait for a canary, or for a halt to end, none is looked at here.
        let waiting: Box<dyn Iterator<Item = &W>> = match &self.phase {
            Phase::Rolling => Box::new(self.waiting.iter()),
            Phase::Canary { chosen, .. } if chosen.is_empty() => Box::new(self.waiting.iter()),
            Phase::Canary { chosen, .. } => {
                let due = |workload: &&W| self.waiting.contains(*workload) && self.may_be_tried(chosen, workload);
                Box::new(chosen.iter().filter(due))
            }
            Phase::Halted(_) => Box::new(std::iter::empty()),
        };
        let next: Vec<W> = self.leaving.iter().chain(waiting).take(free).cloned().collect();
        for workload in &next {
            self.waiting.remove(workload);
            self.leaving.remove(workload);
            self.woken.insert(workload.clone());
        }
        next
    }
}

#[cfg(test)]
mod tests;
