//! Observes workloads with the rights of the caller, and answers the questions of a decision. What only the controller knows (budget, earlier
//! refusals, conflicts) is unknown here.

use std::{sync::Arc, time::Instant};

use kube::api::DynamicObject;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::connection::Connection;
use crate::{
    api::Reason,
    cluster::{
        kept, namespace,
        patch::{Mode, apply},
    },
    decide::{
        Answers, Decision, Observation, decide,
        decision::{Action, Write},
        log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
        memory::Remembered,
        observation::Knowledge,
        question::{Answer, DryRun, KeptSpec, Question, Turn, WriteError},
    },
    plan::{ClaimResult, Plan, ResolvedSpec, target::WorkloadLabels},
    preflight::NamespaceConstraints,
    rollout::scheduler::{RolloutScheduler, RolloutView, TurnRequest, Wait},
    shipper::Images,
    status::TargetOutcome,
    workload::{
        id::WorkloadKey,
        kind::{Kind, Kinds},
        snapshot::Workload,
    },
};

/// A workload of a list, and what of it only matters to users.
pub(super) struct ListedWorkload {
    pub workload: Workload,
    /// Why its pods are not replaced by themselves.
    pub hold: Option<Reason>,
}

/// Reads a cluster for a command.
pub(super) struct Inspector {
    pub connection: Connection,
    pub images: Images,
    pub kinds: Kinds,
}

/// What new pods of a namespace have to meet: read at most once, and only if a decision asks for it.
#[derive(Default)]
pub(super) struct LazyConstraints {
    is_skipped: bool,
    read: OnceCell<Result<Arc<NamespaceConstraints>, namespace::Error>>,
}

/// Whether dry runs are made to answer a decision. Without one, what is injected counts as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DryRuns {
    Make,
    Skip,
}

/// A workload with what the controller would decide about it.
pub(super) struct Inspected<'a> {
    pub observation: Observation<'a>,
    pub decision: Decision,
}

impl ListedWorkload {
    pub fn observe(kind: Kind, object: &DynamicObject) -> Option<Self> {
        let spec = |pointer: &str| object.data.pointer(pointer);
        let hold = if spec("/spec/paused") == Some(&Value::Bool(true)) {
            Some(Reason::Paused)
        } else if spec("/spec/updateStrategy/type").is_some_and(|strategy| strategy == "OnDelete") {
            Some(Reason::OnDelete)
        } else if spec("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64).is_some_and(|kept| kept > 0) {
            Some(Reason::Partitioned)
        } else {
            None
        };
        Some(Self { workload: Workload::observe(kind, object)?, hold })
    }

    /// Whether a `LogSidecar` targets the workload.
    pub fn is_target(&self, spec: &ResolvedSpec) -> bool {
        let id = &self.workload.key.id;
        spec.matches(WorkloadLabels { kind: id.kind, name: &id.name, labels: &self.workload.labels() })
    }
}

impl LazyConstraints {
    /// Never read: preflight is left out.
    pub fn skip() -> Self {
        Self { is_skipped: true, ..Self::default() }
    }

    async fn read(&self, connection: &Connection, namespace: &str) -> Option<Arc<NamespaceConstraints>> {
        if self.is_skipped {
            return None;
        }
        let read = || async { namespace::fetch(&connection.client, namespace).await.map(Arc::new) };
        self.read.get_or_init(read).await.as_ref().ok().cloned()
    }

    /// Why they could not be read, if they were needed.
    pub fn error(&self) -> Option<&namespace::Error> {
        self.read.get()?.as_ref().err()
    }
}

impl Inspector {
    /// Decides about a workload as the controller would. `refused` is what a dry run of an earlier decision was refused with.
    ///
    /// # Errors
    /// If a dry run fails for a reason that is no answer: a conflict, a workload that is gone, a caller without the right to patch.
    pub async fn decide<'a>(
        &self,
        workload: &'a Workload,
        log_sidecars: &'a [Arc<ValidatedLogSidecar>],
        refused: Option<Remembered>,
        constraints: &LazyConstraints,
        dry_runs: DryRuns,
    ) -> Result<Inspected<'a>, WriteError> {
        let scheduler = scheduler(log_sidecars, &self.kinds);
        let observation = observe(workload, log_sidecars, scheduler.view(&workload.key), refused);
        let mut answers = Answers::default();
        loop {
            let decision = decide(&observation, &answers);
            let Action::Ask(question) = decision.action else { return Ok(Inspected { observation, decision }) };
            let answer = match &question {
                // The LogSidecars have just been read, and a halt is known from their status.
                Question::IsCurrent(_) | Question::IsGone(..) | Question::RecordHalt(_) => Answer::Confirmed(true),
                Question::KeptSpec(key, revision) => Answer::KeptSpec(self.kept_spec(log_sidecars, key, revision).await),
                Question::Constraints => Answer::Constraints(constraints.read(&self.connection, &workload.key.namespace).await),
                Question::DryRun(plan, _) => Answer::DryRun(self.dry_run(&observation, plan, dry_runs).await?),
                Question::Turn(requests) => Answer::Turn(turn(&scheduler, requests)),
            };
            answers.add(question, answer);
        }
    }

    async fn kept_spec(&self, log_sidecars: &[Arc<ValidatedLogSidecar>], key: &LogSidecarKey, revision: &str) -> KeptSpec {
        let Some(sidecar) = log_sidecars.iter().find(|sidecar| sidecar.key == *key) else { return KeptSpec::Unknown };
        match kept::read(&self.connection.client, sidecar, revision).await {
            Ok(Some(spec)) => KeptSpec::Found(Arc::new(ResolvedSpec::new(&key.name, spec, &self.images))),
            Ok(None) => KeptSpec::Unknown,
            Err(_) => KeptSpec::Unavailable,
        }
    }

    async fn dry_run(&self, observation: &Observation<'_>, plan: &Plan, dry_runs: DryRuns) -> Result<DryRun, WriteError> {
        if dry_runs == DryRuns::Skip {
            return Ok(DryRun::Unknown);
        }
        match self.send(observation, plan).await {
            Ok(answer) if answer.template() == observation.template => Ok(DryRun::Unchanged),
            Ok(_) => Ok(DryRun::Changed),
            Err(WriteError::Refused(refusal)) if !is_about_the_caller(&refusal) => {
                Ok(DryRun::Failed(WriteError::Refused(refusal)))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a dry run of a plan.
    pub async fn send(&self, observation: &Observation<'_>, plan: &Plan) -> Result<Workload, WriteError> {
        apply(&self.connection.client, observation.workload, (plan, observation.patch(plan)), Mode::DryRun).await
    }
}

impl Inspected<'_> {
    /// What would be written.
    pub fn write(&self) -> Option<&Write> {
        match &self.decision.action {
            Action::Write(write) => Some(write),
            Action::Nothing | Action::Ask(_) | Action::Wait => None,
        }
    }

    /// What was planned for each `LogSidecar` that concerns the workload.
    pub fn results(&self) -> &[ClaimResult] {
        self.decision.plan.as_ref().map_or(&[], |plan| plan.results.as_slice())
    }

    /// What is found for a `LogSidecar`; `None` if it does not concern the workload.
    pub fn outcome(&self, sidecar: &ValidatedLogSidecar) -> Option<&TargetOutcome> {
        self.decision.reports.iter().find(|report| report.uid == sidecar.uid)?.outcome.as_ref()
    }

    /// Whether a `LogSidecar` concerns the workload.
    pub fn concerns(&self, sidecar: &ValidatedLogSidecar) -> bool {
        self.results().iter().any(|result| result.uid.as_deref() == Some(sidecar.uid.as_str()))
            || self.outcome(sidecar).is_some()
    }
}

/// The observation of a command.
pub(super) fn observe<'a>(
    workload: &'a Workload,
    log_sidecars: &'a [Arc<ValidatedLogSidecar>],
    rollout: RolloutView<LogSidecarKey, WorkloadKey>,
    remembered: Option<Remembered>,
) -> Observation<'a> {
    let knowledge = Knowledge { rollout, remembered, conflicts: None, now: Instant::now() };
    Observation::new(workload, log_sidecars, knowledge)
}

/// The rollouts as far as the status of the LogSidecars tells.
pub(super) fn scheduler(
    log_sidecars: &[Arc<ValidatedLogSidecar>],
    kinds: &Kinds,
) -> RolloutScheduler<LogSidecarKey, WorkloadKey> {
    let mut scheduler = RolloutScheduler::default();
    for sidecar in log_sidecars.iter().filter(|sidecar| sidecar.spec.is_ok()) {
        let spec = (sidecar.revision(), sidecar.generation);
        scheduler.revise(&sidecar.key, &sidecar.uid, spec, || sidecar.recorded_rollout(kinds));
    }
    scheduler
}

/// Whether the controller would ever change the workload: a halt is recorded, whose turn it is is not.
pub(super) fn turn(scheduler: &RolloutScheduler<LogSidecarKey, WorkloadKey>, requests: &[TurnRequest<LogSidecarKey>]) -> Turn {
    let halted = requests.iter().filter(|request| !request.removing).filter_map(|request| {
        let halt = scheduler.halt(&request.sidecar)?;
        Some((request.sidecar.clone(), Wait::Halted(halt.clone())))
    });
    let waits: Vec<_> = halted.collect();
    if waits.is_empty() { Turn::Granted } else { Turn::Denied { waits, is_canary: false } }
}

/// Whether it is the caller who may not patch, and not the patch that is refused: that says nothing about the controller.
pub(super) fn is_about_the_caller(refusal: &crate::plan::Refusal) -> bool {
    refusal.reason == Reason::Forbidden && refusal.message.contains("cannot patch resource")
}
