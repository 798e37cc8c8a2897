//! What is recorded when a write was answered: reports, memory, and when to reconcile again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    Observation,
    attempt::{is_complete, state},
    decision::{Action, Decision, MemoryChange, Next, Notice, OwnedClaim, OwnedIntent, RolloutChange, Write},
    memory::{PlanState, REFUSED_FOR, RefusedPlan, Remembered},
    observation::input,
    outcome::Reporter,
    question::{Answers, WriteError},
};
use crate::{
    api::Reason,
    plan::{self, Claim, Intent, Plan, Refusal},
    workload::{ledger::StoredLedger, snapshot::Workload},
};

/// What a plan whose items do not arrive is refused with.
const DROPPED: &str =
    "the API server, or an admission plugin in it, takes out a part of what is put in: see who changes the template on the way";

/// Records a write that succeeded. `answer` is the workload as the API server has it now, `now` is when the answer came.
#[must_use]
pub fn written(observation: &Observation<'_>, answers: &Answers, write: &Write, answer: &Workload, now: Instant) -> Decision {
    let template = answer.template();
    let ledger = answer.ledger.as_ref().map(StoredLedger::parse).and_then(Result::ok);
    let claims: Vec<Claim<'_>> = write.claims.iter().map(OwnedClaim::claim).collect();
    let again = plan::plan(&input(answer, &template, ledger.as_ref()), &claims);
    let refusal = dropped(&write.plan, &template);
    let memory = match &refusal {
        Some(refusal) => {
            let refused = RefusedPlan::new(state(&template, &again), refusal.clone(), now);
            MemoryChange::Set(Remembered::with_refused(observation.knowledge.remembered.as_ref(), refused, now))
        }
        None if again.template == template => MemoryChange::Forget,
        // An admission plugin rewrites what was put in, and would again.
        None => MemoryChange::Set(Remembered::Settled(state(&template, &again))),
    };
    let granted: BTreeSet<_> = answers.granted().chain(&observation.knowledge.rollout.in_flight).collect();
    let messages = write.message_map();
    let reporter = Reporter { observation, messages: &messages, in_flight: granted };
    let mut notices = write.notices.clone();
    notices.extend(refusal.as_ref().map(warning));
    Decision {
        action: Action::Nothing,
        reports: reporter.reports(&write.plan, answer, refusal.as_ref(), true),
        rollout: vec![RolloutChange::MarkWritten],
        memory,
        notices,
        next: if refusal.is_some() { Next::After(REFUSED_FOR) } else { Next::Await },
        plan: Some(write.plan.clone()),
    }
}

/// Why a template does not hold what a plan has put in, if it does not.
#[must_use]
pub fn dropped(plan: &Plan, template: &serde_json::Value) -> Option<Refusal> {
    (!is_complete(plan.ledger.as_ref(), template)).then(|| Refusal::new(Reason::Rejected, DROPPED))
}

/// Records a write that failed. `now` is when that was known.
#[must_use]
pub fn write_failed(observation: &Observation<'_>, write: &Write, error: &WriteError, now: Instant) -> Decision {
    let messages = write.message_map();
    let in_flight = observation.knowledge.rollout.in_flight.iter().collect();
    let reporter = Reporter { observation, messages: &messages, in_flight };
    failed(&reporter, &write.plan, error, write.state.clone(), now)
}

/// Records a write, or the dry run of one, that failed.
pub(super) fn failed(reporter: &Reporter<'_>, plan: &Plan, error: &WriteError, state: PlanState, now: Instant) -> Decision {
    let observation = reporter.observation;
    let report = |refusal: &Refusal| reporter.reports(plan, observation.workload, Some(refusal), false);
    match error {
        // The watch brings the newer version; the pause is for when it already has.
        WriteError::Conflict => Decision::of(Action::Wait, Next::Backoff),
        WriteError::Gone => Decision::of(Action::Wait, Next::Await),
        WriteError::Refused(refusal) => {
            let refused = RefusedPlan::new(state, refusal.clone(), now);
            let pause = refused.until.saturating_duration_since(now);
            let remembered = Remembered::with_refused(observation.knowledge.remembered.as_ref(), refused, now);
            Decision {
                reports: report(refusal),
                rollout: vec![RolloutChange::AbandonUnwritten, RolloutChange::ExcludeFromCanaries],
                memory: MemoryChange::Set(remembered),
                notices: vec![warning(refusal)],
                ..Decision::of(Action::Wait, Next::After(pause))
            }
        }
        WriteError::Timeout(_) | WriteError::Failed(_) => {
            let refusal = Refusal::new(Reason::Retrying, error.to_string());
            Decision {
                reports: report(&refusal),
                notices: vec![warning(&refusal)],
                ..Decision::of(Action::Wait, Next::Backoff)
            }
        }
    }
}

/// A line of the log about the workload as a whole.
fn warning(refusal: &Refusal) -> Notice {
    Notice { log_sidecar: None, reason: refusal.reason, message: refusal.message.clone(), is_warning: true, is_event: false }
}

impl Write {
    fn message_map(&self) -> BTreeMap<&str, Refusal> {
        self.messages.iter().map(|(name, refusal)| (name.as_str(), refusal.clone())).collect()
    }
}

impl OwnedClaim {
    fn claim(&self) -> Claim<'_> {
        let intent = match &self.intent {
            OwnedIntent::Apply(spec) => Intent::Apply(spec),
            OwnedIntent::Keep(reason) => Intent::Keep(*reason),
            OwnedIntent::Remove(evidence) => Intent::Remove(*evidence),
            OwnedIntent::Orphan => Intent::Orphan,
        };
        Claim { name: &self.name, uid: self.uid.as_deref(), revision: self.revision.as_deref(), intent }
    }
}
