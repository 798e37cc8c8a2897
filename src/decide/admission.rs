//! Whether a plan may be carried out now. Not if preflight finds a blocker, if the mode is `Plan`, or if it is not the workload's turn.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{
    Step,
    attempt::Attempt,
    claims::key_of,
    decision::{Action, Decision, Next, OwnedClaim, OwnedIntent, Prerequisite, RolloutChange, Write},
    log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
    memory::PlanState,
    outcome::{change_of, notices, summary},
    question::{Constraints, KeptSpec, Question, Turn},
};
use crate::{
    api::{OnFailure, Reason, RolloutMode},
    plan::{Claim, Effect, Intent, Plan, Refusal, ResolvedSpec, claim::Evidence},
    preflight::{self, NamespaceConstraints},
    rollout::{
        canary::CanaryFitness,
        scheduler::{TurnRequest, Wait},
    },
    workload::{
        id::WorkloadKey,
        ledger::{Before, Ledger},
        status::Progress,
    },
};

/// Whether a plan may be carried out now.
pub(super) enum Admission {
    /// Now.
    Write,
    /// Not as it is: some claims are kept back, and there has to be another plan.
    HeldBack,
    /// It is not the workload's turn.
    Wait,
    /// The plan was made for a spec that has changed meanwhile.
    Stale,
}

impl Attempt<'_> {
    /// Whether a plan may be carried out now. A write of the ledger alone replaces no pods and needs no turn.
    pub fn admit(&mut self, plan: &Plan) -> Step<Admission> {
        if plan.template == self.observation.template {
            return Ok(Admission::Write);
        }
        let movers = self.movers(plan);
        if let Some((index, refusal)) = self.blocked(&movers, plan)? {
            self.hold_back(index, refusal);
            return Ok(Admission::HeldBack);
        }
        if self.hold_back_planned(&movers, plan) {
            return Ok(Admission::HeldBack);
        }
        self.take_turn(&movers)
    }

    /// The indices of the claims for which a plan changes something.
    pub fn movers(&self, plan: &Plan) -> Vec<usize> {
        let items = |ledger: Option<&Ledger>, claim: &Claim<'_>| {
            ledger.and_then(|ledger| ledger.entry(claim.name, claim.uid)).map(|entry| entry.items.clone()).unwrap_or_default()
        };
        let template = &self.observation.template;
        let moves = |claim: &Claim<'_>| {
            let (before, after) = (items(self.observation.ledger.as_ref(), claim), items(plan.ledger.as_ref(), claim));
            before != after || after.keys().any(|key| key.get(template) != key.get(&plan.template))
        };
        let is_active = |claim: &Claim<'_>| matches!(claim.intent, Intent::Apply(_) | Intent::Remove(_));
        let active: Vec<usize> = (0..self.claims.len()).filter(|index| is_active(&self.claims[*index])).collect();
        let moving: Vec<usize> = active.iter().copied().filter(|index| moves(&self.claims[*index])).collect();
        if moving.is_empty() { active } else { moving }
    }

    /// The claim that would keep the new pods from starting, and why. A rollback is not checked: its items were there before.
    fn blocked(&self, movers: &[usize], plan: &Plan) -> Step<Option<(usize, Refusal)>> {
        let applies = |index: &&usize| {
            let claim = &self.claims[**index];
            matches!(claim.intent, Intent::Apply(_)) && !self.restoring.contains(claim.name)
        };
        let applying: Vec<usize> = movers.iter().filter(applies).copied().collect();
        let Some(last) = applying.last().copied() else { return Ok(None) };
        let constraints = match self.answers.constraints() {
            Constraints::NotAsked => return Err(Box::new(Decision::ask(Question::Constraints))),
            // Preflight is advice; the API server has the last word.
            Constraints::Unreadable => return Ok(None),
            Constraints::Read(constraints) => constraints,
        };
        let Some(all) = self.blocker(&plan.template, constraints) else { return Ok(None) };
        // Of several, the first that would be blocked alone. If only their sum is too much, the newest.
        let alone = |index: usize| {
            let mut claims = self.claims.clone();
            for other in applying.iter().filter(|other| **other != index) {
                claims[*other].intent = Intent::Keep(Reason::Pending);
            }
            self.blocker(&self.observation.plan(&claims).template, constraints)
        };
        let single = applying.iter().find_map(|index| Some((*index, alone(*index)?)));
        Ok(Some(single.unwrap_or((last, all))))
    }

    fn blocker(&self, after: &Value, constraints: &NamespaceConstraints) -> Option<Refusal> {
        let change = change_of(self.observation.workload, &self.observation.template, after);
        preflight::blockers(&change, constraints).into_iter().next()
    }

    /// Keeps back the LogSidecars in `mode: Plan`.
    fn hold_back_planned(&mut self, movers: &[usize], plan: &Plan) -> bool {
        let mut any = false;
        for index in movers {
            let claim = self.claims[*index];
            let sidecar = self.observation.log_sidecar(claim.uid);
            let only_plans = sidecar.is_some_and(|sidecar| sidecar.spec.is_ok() && sidecar.settings.mode == RolloutMode::Plan);
            // A deletion removes what was put in, whatever else was asked for.
            if only_plans && !matches!(claim.intent, Intent::Remove(Evidence::Deleting)) {
                self.hold_back(*index, Refusal::new(Reason::Planned, summary(&self.observation.template, plan)));
                any = true;
            }
        }
        any
    }

    fn take_turn(&mut self, movers: &[usize]) -> Step<Admission> {
        let requests: Vec<TurnRequest<LogSidecarKey>> = movers.iter().map(|index| self.request(&self.claims[*index])).collect();
        match self.answers.turn(&requests) {
            None => Err(Box::new(Decision::ask(Question::Turn(requests)))),
            Some(Turn::Granted) => Ok(Admission::Write),
            Some(Turn::Stale) => Ok(Admission::Stale),
            Some(Turn::Denied { waits, is_canary }) => Ok(self.denied(movers, &requests, waits, *is_canary)),
        }
    }

    fn request(&self, claim: &Claim<'_>) -> TurnRequest<LogSidecarKey> {
        let status = &self.observation.workload.status;
        let is_unhealthy = matches!(status.progress, Progress::Stuck(_) | Progress::Degraded | Progress::Held(_));
        let restoring = self.restoring.contains(claim.name);
        let removing = restoring || matches!(claim.intent, Intent::Remove(_));
        TurnRequest {
            sidecar: key_of(self.observation.workload, claim.name),
            removing,
            at_once: removing && (restoring || is_unhealthy),
        }
    }

    /// Keeps back those that have to wait, if the others can go on without them.
    fn denied(
        &mut self,
        movers: &[usize],
        requests: &[TurnRequest<LogSidecarKey>],
        waits: &[(LogSidecarKey, Wait<WorkloadKey>)],
        is_canary: bool,
    ) -> Admission {
        let wait_of = |request: &TurnRequest<LogSidecarKey>| {
            waits.iter().find(|(sidecar, _)| *sidecar == request.sidecar).map(|(_, wait)| wait)
        };
        let removes_now = requests.iter().any(|request| request.removing && wait_of(request).is_none());
        let is_halted = waits.iter().any(|(_, wait)| matches!(wait, Wait::Halted(_)));
        // A canary does not wait for the canary of another LogSidecar: that one may wait for this one (deadlock).
        let goes_alone = is_canary && waits.iter().all(|(_, wait)| matches!(wait, Wait::Canary(_) | Wait::Halted(_)));
        let mut is_less = false;
        for (request, index) in requests.iter().zip(movers.iter().copied()) {
            match wait_of(request) {
                Some(Wait::Halted(halt)) => {
                    let message = format!("left as it is: the rollout was halted at {}: {}", halt.at.id, halt.cause);
                    self.hold_back(index, Refusal::new(Reason::Halted, message));
                    is_less = true;
                }
                // A removal does not wait for the others, nor does a canary. The status adds what they wait for.
                Some(_) if (removes_now || goes_alone) && !request.removing => {
                    self.hold_back(index, Refusal::new(Reason::Queued, ""));
                    is_less = true;
                }
                Some(_) => drop(self.messages.insert(self.claims[index].name, Refusal::new(Reason::Queued, ""))),
                None if is_halted || removes_now || goes_alone => {}
                None => {
                    let message = "waits for its turn with another LogSidecar, so that its pods are replaced only once";
                    self.messages.insert(self.claims[index].name, Refusal::new(Reason::Queued, message));
                }
            }
        }
        // HeldBack plans again with fewer claims, so this ends.
        if is_less { Admission::HeldBack } else { Admission::Wait }
    }

    /// The write that carries out a plan.
    pub fn write(&self, plan: &Arc<Plan>, state: PlanState, conflict_key: String) -> Box<Decision> {
        let movers = self.movers(plan).into_iter().map(|index| self.claims[index].name.to_owned()).collect::<BTreeSet<_>>();
        let write = Write {
            patch: self.observation.patch(plan),
            claims: self.claims.iter().map(|claim| self.owned(claim)).collect(),
            prerequisites: self.prerequisites(plan),
            conflict_key,
            state,
            notices: notices(self.observation, plan, &self.messages, &self.restoring),
            movers,
            messages: self.messages.iter().map(|(name, refusal)| ((*name).to_owned(), refusal.clone())).collect(),
            plan: plan.clone(),
        };
        // How the workload is until it has been written.
        let reports = self.reporter().reports(plan, self.observation.workload, None, false);
        self.finish(plan, Decision { reports, ..Decision::of(Action::Write(Box::new(write)), Next::Await) })
    }

    fn prerequisites(&self, plan: &Plan) -> Vec<Prerequisite> {
        let only_ledger = plan.template == self.observation.template;
        let movers: BTreeSet<usize> =
            if only_ledger { (0..self.claims.len()).collect() } else { self.movers(plan).into_iter().collect() };
        let mut prerequisites = Vec::new();
        for (index, (claim, result)) in self.claims.iter().zip(&plan.results).enumerate() {
            let (Intent::Apply(spec), Some(sidecar)) = (claim.intent, self.observation.log_sidecar(claim.uid)) else {
                continue;
            };
            // What is put back was kept when it was written.
            if movers.contains(&index) && !self.restoring.contains(claim.name) {
                prerequisites.push(revision_of(sidecar));
            }
            if !matches!(result.result, Ok(Effect::Applied(_))) {
                continue;
            }
            if let Some(config) = spec.config_map() {
                prerequisites.push(Prerequisite::Config(sidecar.key.clone(), config.clone()));
            }
            if let (Some(_), OwnedIntent::Apply(spec)) = (spec.config_reference(), self.owned(claim).intent) {
                prerequisites.push(Prerequisite::Reference(sidecar.key.clone(), spec));
            }
        }
        prerequisites
    }

    fn owned(&self, claim: &Claim<'_>) -> OwnedClaim {
        let intent = match claim.intent {
            Intent::Apply(spec) => self.shared(claim, spec).map_or(OwnedIntent::Keep(Reason::Pending), OwnedIntent::Apply),
            Intent::Keep(reason) => OwnedIntent::Keep(reason),
            Intent::Remove(evidence) => OwnedIntent::Remove(evidence),
            Intent::Orphan => OwnedIntent::Orphan,
        };
        OwnedClaim {
            name: claim.name.to_owned(),
            uid: claim.uid.map(str::to_owned),
            revision: claim.revision.map(str::to_owned),
            intent,
        }
    }

    /// The shared spec of a claim: the current one of its `LogSidecar`, or the one that is put back.
    fn shared(&self, claim: &Claim<'_>, spec: &ResolvedSpec) -> Option<Arc<ResolvedSpec>> {
        let sidecar = self.observation.log_sidecar(claim.uid)?;
        if let Ok(current) = &sidecar.spec
            && std::ptr::eq(&raw const **current, spec)
        {
            return Some(current.clone());
        }
        match self.answers.kept_spec(&sidecar.key, claim.revision?)? {
            KeptSpec::Found(kept) => Some(kept.clone()),
            KeptSpec::Unknown | KeptSpec::Unavailable => None,
        }
    }

    /// The fitness of the workload as a canary, for each `LogSidecar`. A workload that has the revision already is judged like one that
    /// was just changed. One that is refused or inconclusive is excluded.
    pub fn judge_canaries(&self, plan: &Plan) -> Vec<RolloutChange> {
        let status = &self.observation.workload.status;
        let is_conclusive = status.pods > 0 && !matches!(status.progress, Progress::Held(_));
        let fitness = |sidecar: &ValidatedLogSidecar| {
            let result = plan.results.iter().find(|result| result.uid.as_deref() == Some(sidecar.uid.as_str()));
            let is_served = result.is_some_and(|result| matches!(result.result, Ok(Effect::Applied(_))));
            if !is_served || !is_conclusive {
                return CanaryFitness::Unfit;
            }
            if !self.is_untouched(plan, sidecar) {
                return CanaryFitness::Fit;
            }
            let stored = self.observation.workload.ledger.as_ref();
            let entry = stored.and_then(|ledger| ledger.entry(&sidecar.key.name, &sidecar.uid));
            CanaryFitness::HasRevision(entry.map_or(Before::Well, |entry| entry.before))
        };
        let sidecars = self.observation.log_sidecars.iter();
        sidecars.map(|sidecar| RolloutChange::JudgeCanary(sidecar.key.clone(), fitness(sidecar))).collect()
    }

    /// Whether a plan changes nothing for a `LogSidecar`, though it may for another.
    fn is_untouched(&self, plan: &Plan, sidecar: &ValidatedLogSidecar) -> bool {
        let entry =
            |ledger: Option<&Ledger>| ledger.and_then(|ledger| ledger.entry(&sidecar.key.name, Some(&sidecar.uid)).cloned());
        let before = entry(self.observation.ledger.as_ref());
        before.is_some() && before == entry(plan.ledger.as_ref())
    }
}

/// The prerequisite that the current revision is kept; required if `onFailure` is `Rollback`.
fn revision_of(sidecar: &ValidatedLogSidecar) -> Prerequisite {
    let is_required = sidecar.settings.on_failure == OnFailure::Rollback;
    Prerequisite::Revision { log_sidecar: sidecar.key.clone(), is_required }
}
