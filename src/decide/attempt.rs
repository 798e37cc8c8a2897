//! One decision in the making: the claims are planned, and a claim that cannot be met now is kept back until the rest can be carried out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Answers, Observation, Step,
    admission::Admission,
    claims::confirm,
    decision::{Action, Decision, MemoryChange, Next, RolloutChange},
    log_sidecar::LogSidecarKey,
    memory::{ConflictHistory, PlanState, REFUSED_FOR, Remembered},
    outcome::{Reporter, conflict_notices, conflict_refusal},
    question::{DryRun, Question},
    record::failed,
    recovery::{RecoveryAction, recover},
};
use crate::{
    api::Reason,
    plan::{Claim, Intent, Plan, Refusal},
    workload::{key::Key, ledger::Ledger, normal::fingerprint},
};
use serde_json::Value;

/// One decision in the making.
pub(super) struct Attempt<'a> {
    pub observation: &'a Observation<'a>,
    pub answers: &'a Answers,
    pub claims: Vec<Claim<'a>>,
    /// The LogSidecars that get back what was here before their failed rollout.
    pub restoring: BTreeSet<&'a str>,
    /// What is reported for a `LogSidecar` instead of the state of the pods.
    pub messages: BTreeMap<&'a str, Refusal>,
    /// Whether everything could be confirmed and recorded; otherwise the workload is reconciled again.
    is_complete: bool,
    /// When a refused write may be sent again.
    retry: Option<Duration>,
}

impl<'a> Attempt<'a> {
    /// Confirms the claims, and changes those whose rollout has failed here.
    pub fn begin(observation: &'a Observation<'a>, answers: &'a Answers) -> Step<Self> {
        let confirmed = confirm(observation, answers)?;
        let mut attempt = Self {
            observation,
            answers,
            claims: confirmed.claims,
            restoring: BTreeSet::new(),
            messages: BTreeMap::new(),
            is_complete: confirmed.is_complete,
            retry: None,
        };
        for index in 0..attempt.claims.len() {
            let name = attempt.claims[index].name;
            let Some((action, report)) = recover(observation, answers, &mut attempt.claims[index])? else { continue };
            attempt.is_complete &= action != RecoveryAction::Postpone;
            if action.restores() {
                attempt.restoring.insert(name);
            }
            attempt.messages.insert(name, report);
        }
        Ok(attempt)
    }

    /// Plans, and decides whether the plan may be carried out. Each iteration keeps back at least one more claim.
    pub fn run(mut self) -> Step<Box<Decision>> {
        for _ in 0..=2 * self.claims.len() {
            let plan = self.observation.plan(&self.claims);
            if !self.changes(&plan) {
                return Ok(self.settled(&plan, MemoryChange::Keep));
            }
            let state = state(&self.observation.template, &plan);
            match self.recall(&plan, &state) {
                Recall::Nothing => {}
                Recall::Settled => return Ok(self.settled(&plan, MemoryChange::Keep)),
                Recall::Refused(refusal, pause) => return Ok(self.refused(&plan, &refusal, pause)),
                Recall::HeldBack => continue,
            }
            if let Some(decision) = self.compare_by_dry_run(&plan, &state)? {
                return Ok(decision);
            }
            let key = conflict_key(&plan);
            let conflicts = self.observation.knowledge.conflicts.as_ref();
            if let Some(history) = conflicts
                && let Some(pause) = history.pause(&key, self.observation.knowledge.now)
            {
                return Ok(self.conflict(&plan, history, pause));
            }
            match self.admit(&plan)? {
                Admission::Write => return Ok(self.write(&plan, state, key)),
                Admission::HeldBack => {}
                Admission::Stale => return Ok(Box::new(Decision::of(Action::Wait, Next::Backoff))),
                Admission::Wait => return Ok(self.wait(&plan)),
            }
        }
        Ok(Box::new(Decision::of(Action::Wait, Next::Backoff)))
    }

    /// Whether carrying out a plan would write anything.
    fn changes(&self, plan: &Plan) -> bool {
        plan.template != self.observation.template || !self.has_same_ledger(plan)
    }

    fn has_same_ledger(&self, plan: &Plan) -> bool {
        plan.ledger == self.observation.written
    }

    /// What an earlier attempt says about this plan.
    fn recall(&mut self, plan: &Plan, state: &PlanState) -> Recall {
        match &self.observation.knowledge.remembered {
            Some(Remembered::Settled(settled)) if self.has_same_ledger(plan) && settled == state => Recall::Settled,
            Some(Remembered::Refused(plans)) => {
                let Some(refused) = plans.iter().find(|refused| refused.state == *state) else { return Recall::Nothing };
                let pause = refused.until.saturating_duration_since(self.observation.knowledge.now);
                if pause.is_zero() {
                    return Recall::Nothing;
                }
                self.hold_back_newcomers(plan, &refused.refusal, pause)
            }
            Some(Remembered::Settled(_)) | None => Recall::Nothing,
        }
    }

    /// A write is refused. What the LogSidecars that are in the template already ask for, above all to be removed, does not wait
    /// for those that are not.
    fn hold_back_newcomers(&mut self, plan: &Plan, refusal: &Refusal, pause: Duration) -> Recall {
        let ledger = self.observation.ledger.as_ref();
        let is_in = |claim: &Claim<'_>| ledger.is_some_and(|ledger| ledger.entry(claim.name, claim.uid).is_some());
        let is_newcomer = |claim: &Claim<'_>| matches!(claim.intent, Intent::Apply(_)) && !is_in(claim);
        let newcomers: Vec<usize> = (0..self.claims.len()).filter(|index| is_newcomer(&self.claims[*index])).collect();
        if newcomers.is_empty() || !self.claims.iter().any(is_in) {
            return Recall::Refused(refusal.clone(), pause);
        }
        let mut rest = self.claims.clone();
        newcomers.iter().for_each(|index| rest[*index].intent = Intent::Keep(refusal.reason));
        let rest_plan = self.observation.plan(&rest);
        if !self.changes(&rest_plan) || *rest_plan == *plan {
            return Recall::Refused(refusal.clone(), pause);
        }
        newcomers.into_iter().for_each(|index| self.hold_back(index, refusal.clone()));
        self.retry = Some(self.retry.map_or(pause, |earlier| earlier.min(pause)));
        Recall::HeldBack
    }

    /// The ledger is current, but items differ from what was injected: they were changed since, or an admission plugin rewrites them.
    /// A dry run shows which.
    fn compare_by_dry_run(&self, plan: &Arc<Plan>, state: &PlanState) -> Step<Option<Box<Decision>>> {
        let is_rewritten =
            self.has_same_ledger(plan) && is_complete(self.observation.ledger.as_ref(), &self.observation.template);
        if !is_rewritten {
            return Ok(None);
        }
        match self.answers.dry_run(state) {
            None => Err(Box::new(Decision::ask(Question::DryRun(plan.clone(), state.clone())))),
            Some(DryRun::Unchanged) => Ok(Some(self.settled(plan, MemoryChange::Set(Remembered::Settled(state.clone()))))),
            Some(DryRun::Unknown) => Ok(Some(self.settled(plan, MemoryChange::Keep))),
            Some(DryRun::Changed) => Ok(None),
            Some(DryRun::Failed(error)) => {
                let now = self.observation.knowledge.now;
                Ok(Some(self.finish(plan, failed(&self.reporter(), plan, error, state.clone(), now))))
            }
        }
    }

    /// Keeps a claim back, and reports why.
    pub fn hold_back(&mut self, index: usize, refusal: Refusal) {
        let claim = &mut self.claims[index];
        claim.intent = Intent::Keep(refusal.reason);
        self.messages.insert(claim.name, refusal);
    }

    pub fn reporter(&self) -> Reporter<'_> {
        let in_flight: BTreeSet<&LogSidecarKey> =
            self.observation.knowledge.rollout.in_flight.iter().chain(self.answers.granted()).collect();
        Reporter { observation: self.observation, messages: &self.messages, in_flight }
    }

    /// Everything is as planned.
    fn settled(&self, plan: &Arc<Plan>, memory: MemoryChange) -> Box<Decision> {
        let mut rollout = vec![RolloutChange::MarkWritten];
        rollout.extend(self.judge_canaries(plan));
        let reports = self.reporter().reports(plan, self.observation.workload, None, true);
        self.finish(plan, Decision { reports, rollout, memory, ..Decision::of(Action::Nothing, self.rest()) })
    }

    /// It is not the workload's turn.
    fn wait(&self, plan: &Arc<Plan>) -> Box<Decision> {
        // What was allowed earlier may have been written although no answer came; if not, its pods are soon seen to be well, and the
        // place is given back.
        let mut rollout = vec![RolloutChange::MarkWritten];
        rollout.extend(self.judge_canaries(plan));
        let reports = self.reporter().reports(plan, self.observation.workload, None, false);
        self.finish(plan, Decision { reports, rollout, ..Decision::of(Action::Wait, self.rest()) })
    }

    /// A refusal of just this plan is remembered.
    fn refused(&self, plan: &Arc<Plan>, refusal: &Refusal, pause: Duration) -> Box<Decision> {
        let reports = self.reporter().reports(plan, self.observation.workload, Some(refusal), false);
        let rollout = vec![RolloutChange::ExcludeFromCanaries];
        self.finish(plan, Decision { reports, rollout, ..Decision::of(Action::Wait, Next::After(pause)) })
    }

    /// Another field manager reverts what is put in: it is named, and the write is backed off.
    fn conflict(&self, plan: &Arc<Plan>, history: &ConflictHistory, pause: Duration) -> Box<Decision> {
        let refusal = conflict_refusal(self.observation.workload, history);
        let notices = if history.is_reported() { Vec::new() } else { conflict_notices(plan, &refusal) };
        let reports = self.reporter().reports(plan, self.observation.workload, Some(&refusal), false);
        let rollout = vec![RolloutChange::ExcludeFromCanaries, RolloutChange::StopJudging];
        self.finish(plan, Decision { reports, rollout, notices, ..Decision::of(Action::Wait, Next::After(pause)) })
    }

    /// When to reconcile the workload again.
    fn rest(&self) -> Next {
        let is_blocked = self.messages.values().any(|message| message.reason == Reason::Blocked);
        // No watch tells when there is room in a quota.
        if is_blocked { Next::After(REFUSED_FOR) } else { Next::Await }
    }

    pub fn finish(&self, plan: &Arc<Plan>, decision: Decision) -> Box<Decision> {
        let next = if self.is_complete { decision.next.within(self.retry) } else { Next::Backoff };
        Box::new(Decision { next, plan: Some(plan.clone()), ..decision })
    }
}

/// What an earlier attempt says about a plan.
enum Recall {
    /// Nothing.
    Nothing,
    /// Writing it would not change the template.
    Settled,
    /// The API server refuses it.
    Refused(Refusal, Duration),
    /// Some claims are kept back: plan again.
    HeldBack,
}

/// By what a plan on a template is recognised.
pub(super) fn state(template: &Value, plan: &Plan) -> PlanState {
    PlanState(format!("{} {}", fingerprint(template), fingerprint(&plan.template)))
}

/// By what the same write is recognised if another manager reverts it.
fn conflict_key(plan: &Plan) -> String {
    plan.ledger.as_ref().and_then(Ledger::text).unwrap_or_default()
}

/// Whether everything that a ledger names is in a template, and native sidecars have what makes them so: an admission plugin that drops
/// `restartPolicy` leaves an init container that never ends.
pub(super) fn is_complete(ledger: Option<&Ledger>, template: &Value) -> bool {
    let mut items = ledger.into_iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys());
    items.all(|key| {
        let item = key.get(template);
        item.is_some_and(|item| !matches!(key, Key::InitContainer(_)) || item["restartPolicy"] == "Always")
    })
}
