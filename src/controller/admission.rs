//! Whether a plan may be carried out now: not if the new pods would be stopped, if its owner only wants to know, or if it is not the
//! workload's turn. A claim that has to wait is kept back, and the others are planned without it.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{
    account::summary,
    cache::{Sidecar, SidecarKey},
    canary::candidates,
    context::Context,
    look::Look,
    rollout::entry,
};
use crate::{
    api::{Reason, RolloutMode},
    plan::{Claim, Evidence, Plan, Refusal, Stance},
    preflight,
    rollout::waves::{Request, Wait},
    workload::{ledger::Ledger, status::Progress},
};

/// Whether a plan may be carried out.
pub(super) enum Admission {
    /// Now.
    Go,
    /// Not as it is: some claims are kept back, and there has to be another plan.
    Again,
    /// It is not its turn.
    Wait,
    /// Not this one: it was made for a spec that has changed meanwhile.
    Stale,
}

/// What workloads have, and what a failed rollout would give back to them.
fn revisions_in_use(context: &Context, sidecar: &Sidecar) -> BTreeSet<String> {
    let workloads = context.cache.workloads_in(&sidecar.key.namespace);
    let entries = workloads.iter().filter_map(|workload| entry(workload, sidecar));
    entries.flat_map(|entry| [entry.revision, entry.previous]).flatten().collect()
}

impl<'a> Look<'a> {
    /// Whether a plan may be carried out now. Whoever only gets another ledger does not replace his pods.
    pub async fn admit(&mut self, template: &Value, plan: &Plan) -> Admission {
        if plan.template == *template {
            // What a policy has put in becomes this revision's.
            self.keep_revisions(&(0..self.claims.len()).collect::<Vec<_>>()).await;
            return Admission::Go;
        }
        let movers = self.movers(template, plan);
        if let Some((index, refusal)) = self.blocked(&movers, template, plan).await {
            self.hold_back(index, refusal);
            return Admission::Again;
        }
        if self.only_plans(&movers, template, plan) {
            return Admission::Again;
        }
        self.keep_revisions(&movers).await;
        self.ask(&movers)
    }

    /// What these put in can be given back later.
    async fn keep_revisions(&self, of: &[usize]) {
        for index in of {
            if let (Stance::Apply(_), Some(sidecar)) = (self.claims[*index].stance, self.sidecar(&self.claims[*index])) {
                let named = || revisions_in_use(self.context, sidecar);
                self.context.revisions.keep(&self.context.client, sidecar, &self.context.images, named).await;
            }
        }
    }

    /// The claims that a plan changes something for, by their index.
    fn movers(&self, template: &Value, plan: &Plan) -> Vec<usize> {
        let items = |ledger: Option<&Ledger>, claim: &Claim<'_>| {
            ledger.and_then(|ledger| ledger.entry(claim.name, claim.uid)).map(|entry| entry.items.clone()).unwrap_or_default()
        };
        let moves = |claim: &Claim<'_>| {
            let (before, after) = (items(self.ledger, claim), items(plan.ledger.as_ref(), claim));
            before != after || after.keys().any(|key| key.get(template) != key.get(&plan.template))
        };
        let active = |claim: &Claim<'_>| matches!(claim.stance, Stance::Apply(_) | Stance::Remove(_));
        let all: Vec<usize> = (0..self.claims.len()).filter(|index| active(&self.claims[*index])).collect();
        let moving: Vec<usize> = all.iter().copied().filter(|index| moves(&self.claims[*index])).collect();
        if moving.is_empty() { all } else { moving }
    }

    fn sidecar(&self, claim: &Claim<'_>) -> Option<&'a Arc<Sidecar>> {
        self.known.iter().find(|sidecar| claim.uid == Some(sidecar.uid.as_str()))
    }

    /// Keeps a claim back, and says why.
    fn hold_back(&mut self, index: usize, refusal: Refusal) {
        let claim = &mut self.claims[index];
        claim.stance = Stance::Keep(refusal.reason);
        self.told.insert(claim.name, refusal);
    }

    /// Whose change the new pods would not survive, and why. What is given back after a failure was there before.
    async fn blocked(&self, movers: &[usize], template: &Value, plan: &Plan) -> Option<(usize, Refusal)> {
        let applies = |index: &&usize| {
            let claim = &self.claims[**index];
            matches!(claim.stance, Stance::Apply(_)) && !self.restoring.contains(claim.name)
        };
        let applying: Vec<usize> = movers.iter().filter(applies).copied().collect();
        let last = *applying.last()?;
        let surroundings = self.context.neighbourhood.of(&self.context.client, &self.workload.key.namespace).await.ok()?;
        let blockers = |after: &Value| preflight::blockers(&self.workload.change(template, after), &surroundings);
        let all = blockers(&plan.template).into_iter().next()?;
        // Of several, the one that would be blocked alone; if it is only too much together, the newest.
        let alone = |index: usize| {
            let mut claims = self.claims.clone();
            for other in applying.iter().filter(|other| **other != index) {
                claims[*other].stance = Stance::Keep(Reason::Pending);
            }
            blockers(&self.plan_for(&self.workload, template, self.ledger, &claims).template).into_iter().next()
        };
        let guilty = applying.iter().find_map(|index| Some((*index, alone(*index)?)));
        Some(guilty.unwrap_or((last, all)))
    }

    /// Keeps back whoever only wants to know what would be changed.
    fn only_plans(&mut self, movers: &[usize], template: &Value, plan: &Plan) -> bool {
        let mut any = false;
        for index in movers {
            let claim = self.claims[*index];
            let plans = |sidecar: &Arc<Sidecar>| sidecar.settings().is_some_and(|settings| settings.mode == RolloutMode::Plan);
            // A deletion takes out what was put in, whatever else was wanted.
            if !matches!(claim.stance, Stance::Remove(Evidence::Deleting)) && self.sidecar(&claim).is_some_and(plans) {
                let message = summary(template, plan);
                self.hold_back(*index, Refusal::new(Reason::Planned, message));
                any = true;
            }
        }
        any
    }

    fn ask(&mut self, movers: &[usize]) -> Admission {
        let key = &self.workload.key;
        let does_badly = matches!(self.workload.standing.progress, Progress::Stuck(_) | Progress::Degraded | Progress::Held(_));
        let requests: Vec<Request<SidecarKey>> = movers
            .iter()
            .map(|index| {
                let claim = &self.claims[*index];
                let restoring = self.restoring.contains(claim.name);
                let removing = restoring || matches!(claim.stance, Stance::Remove(_));
                Request {
                    sidecar: SidecarKey { namespace: key.namespace.clone(), name: claim.name.to_owned() },
                    removing,
                    at_once: removing && (restoring || does_badly),
                }
            })
            .collect();
        let flight = self.context.rollouts.flight(&self.workload);
        let candidates = |sidecar: &SidecarKey| {
            let sidecar = self.context.cache.sidecar(sidecar);
            sidecar.map(|sidecar| candidates(self.context, &sidecar)).unwrap_or_default()
        };
        let is_canary;
        let answer = {
            let mut waves = self.context.rollouts.waves();
            let is_stale = |sidecar: &Arc<Sidecar>| {
                waves
                    .state(&sidecar.key)
                    .is_some_and(|(revision, ..)| !sidecar.revision.is_empty() && revision != sidecar.revision)
            };
            if movers.iter().filter_map(|index| self.sidecar(&self.claims[*index])).any(is_stale) {
                return Admission::Stale;
            }
            let answer = waves.ask(key, &requests, &flight, candidates);
            is_canary = requests.iter().any(|request| waves.is_due_canary(&request.sidecar, key));
            answer
        };
        let Err(waits) = answer else { return Admission::Go };
        let is_taken_out =
            requests.iter().any(|request| request.removing && !waits.iter().any(|(who, _)| *who == request.sidecar));
        let is_halted = waits.iter().any(|(_, wait)| matches!(wait, Wait::Halted(_)));
        // A canary of one does not wait for that of another, which may wait for this one.
        let goes_alone = is_canary && waits.iter().all(|(_, wait)| matches!(wait, Wait::Canary(_) | Wait::Halted(_)));
        let mut is_less = false;
        for (at, request) in requests.iter().enumerate() {
            let index = movers[at];
            let wait = waits.iter().find(|(who, _)| *who == request.sidecar).map(|(_, wait)| wait);
            match wait {
                Some(Wait::Halted(halt)) => {
                    let message = format!("left as it is: the rollout was halted at {}: {}", halt.at.target, halt.cause);
                    self.hold_back(index, Refusal::new(Reason::Halted, message));
                    is_less = true;
                }
                // What is taken out, and what is not halted, does not wait for the rest. What it waits for changes with time: status
                // has the words.
                Some(_) if (is_taken_out || goes_alone) && !request.removing => {
                    self.hold_back(index, Refusal::new(Reason::Queued, ""));
                    is_less = true;
                }
                Some(_) => drop(self.told.insert(self.claims[index].name, Refusal::new(Reason::Queued, ""))),
                None if is_halted || is_taken_out || goes_alone => {}
                None => {
                    let message = "waits for its turn with another LogSidecar, so that its pods are replaced only once";
                    self.told.insert(self.claims[index].name, Refusal::new(Reason::Queued, message));
                }
            }
        }
        // Every time there is one claim less, or there is no other time.
        if is_less { Admission::Again } else { Admission::Wait }
    }
}
