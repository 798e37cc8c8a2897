//! One workload: observe, decide, carry out, record. What to do is decided in [`crate::decide`].

mod ask;
mod carry_out;
mod track;

use std::sync::Arc;

use kube::Client;
use tokio::time::Instant;

use super::{
    configs::Configs,
    events::Events,
    memory::Memory,
    metrics::Metrics,
    revisions::Revisions,
    rollouts::Rollouts,
    scope::Scope,
    store::{LogSidecars, Store},
    work::Work,
};
use crate::{
    api::Reason,
    cluster::namespace::NamespaceCache,
    decide::{
        Answers, Decision, Observation, decide,
        decision::{Action, Next, Notice},
        observation::Knowledge,
        question::WriteError,
        record,
    },
    workload::{id::WorkloadKey, snapshot::Workload},
};

/// What reconciling a workload needs.
pub(super) struct WorkloadReconciler {
    pub client: Client,
    pub scope: Arc<Scope>,
    pub store: Arc<Store>,
    pub work: Arc<Work>,
    pub memory: Arc<Memory>,
    pub rollouts: Arc<Rollouts>,
    pub configs: Arc<Configs>,
    pub revisions: Arc<Revisions>,
    pub namespaces: NamespaceCache,
    pub events: Arc<Events>,
    pub metrics: Arc<Metrics>,
}

/// The maximum number of decisions in one reconciliation: after a refused write, the next one leaves out the refused LogSidecars.
const ATTEMPTS: usize = 3;

impl WorkloadReconciler {
    /// Brings one workload to what its LogSidecars ask for, as far as it is its turn.
    pub async fn reconcile(&self, key: &WorkloadKey) -> Next {
        let next = self.converge(key).await;
        self.rollouts.scheduler().end_turn(key);
        self.work.wake();
        next
    }

    async fn converge(&self, key: &WorkloadKey) -> Next {
        let log_sidecars = self.store.log_sidecars_in(&key.namespace);
        let Some(workload) = self.store.workload(key) else {
            log_sidecars.iter().for_each(|sidecar| self.work.record(sidecar, key, None));
            return Next::Await;
        };
        self.rollouts.revise(&log_sidecars, |uid| self.work.outcomes.count(uid));
        let again = self.track(&workload, &log_sidecars).await;
        let mut next = Next::Await;
        for _ in 0..ATTEMPTS {
            let (decided, is_final) = self.attempt(&workload, &log_sidecars).await;
            next = decided;
            if is_final {
                break;
            }
        }
        next.within(again)
    }

    /// One decision, carried out. Returns when to reconcile again, and whether that was the last decision.
    async fn attempt(&self, workload: &Arc<Workload>, log_sidecars: &LogSidecars) -> (Next, bool) {
        let observation = observe(workload, log_sidecars, &self.rollouts, &self.memory);
        let mut answers = Answers::default();
        loop {
            let decision = decide(&observation, &answers);
            let write = match decision.action {
                Action::Ask(question) => {
                    let answer = self.answer(&observation, log_sidecars, &question).await;
                    answers.add(question, answer);
                    continue;
                }
                Action::Write(ref write) => write,
                Action::Nothing | Action::Wait => return (self.record(workload, workload, log_sidecars, decision), true),
            };
            return match self.carry_out(&observation, log_sidecars, write).await {
                Ok(answer) => {
                    let (writer, now) = (workload.last_writer.clone(), Instant::now().into_std());
                    self.memory.record_write(&answer.uid, &write.conflict_key, writer, now);
                    let recorded = record::written(&observation, &answers, write, &answer, now);
                    let next = self.record(workload, &answer, log_sidecars, recorded);
                    let uid = answer.uid.clone();
                    if !self.store.keep_answer(answer) {
                        self.memory.forget(&uid);
                    }
                    // What the write could not bring about has to be tried again.
                    (next.and(decision.next), true)
                }
                Err(error) => {
                    let is_final = !matches!(error, WriteError::Refused(_));
                    let is_stored = |stored: Arc<Workload>| stored.uid == workload.uid;
                    if error == WriteError::Gone && self.store.workload(&workload.key).is_none_or(is_stored) {
                        self.work.workload_gone(&workload.key);
                    }
                    let recorded = record::write_failed(&observation, write, &error, Instant::now().into_std());
                    (self.record(workload, workload, log_sidecars, recorded), is_final)
                }
            };
        }
    }

    /// Records a decision about `before`, which is `after` now.
    fn record(&self, before: &Arc<Workload>, after: &Workload, log_sidecars: &LogSidecars, decision: Decision) -> Next {
        let Decision { action: _, reports, rollout, memory, notices, next, plan: _ } = decision;
        self.rollouts.apply(before, log_sidecars, &rollout);
        self.memory.apply(&after.uid, memory);
        notices.into_iter().for_each(|notice| self.emit(before, notice));
        for report in reports {
            if let Some(sidecar) = log_sidecars.iter().find(|sidecar| sidecar.uid == report.uid) {
                self.work.record(sidecar, &after.key, report.outcome);
            }
        }
        next.within(self.poll(after))
    }

    /// Logs a notice, and emits it as an Event in the background.
    fn emit(&self, workload: &Arc<Workload>, notice: Notice) {
        let Notice { log_sidecar, reason, message, is_warning, is_event } = notice;
        let (key, sidecar) = (&workload.key, log_sidecar.as_deref().unwrap_or_default());
        if is_warning {
            tracing::warn!(workload = %key, sidecar, %reason, "{message}");
        } else {
            tracing::info!(workload = %key, sidecar, %reason, message, "patched");
        }
        if reason == Reason::Contested {
            self.memory.mark_conflict_reported(&workload.uid);
        }
        if is_event {
            self.events.emit(workload, sidecar, reason, message);
        }
    }
}

/// What is known of a workload now.
fn observe<'a>(workload: &'a Workload, log_sidecars: &'a LogSidecars, rollouts: &Rollouts, memory: &Memory) -> Observation<'a> {
    let (remembered, conflicts) = memory.of(&workload.uid);
    let rollout = rollouts.scheduler().view(&workload.key);
    let now = Instant::now().into_std();
    Observation::new(workload, log_sidecars, Knowledge { rollout, remembered, conflicts, now })
}

#[cfg(test)]
mod tests;
