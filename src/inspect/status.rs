//! `logsidecar status`: what the cluster shows, and of what only the controller knows (whose turn it is, what soaks), what it has written
//! into the status of the `LogSidecar`.

use std::sync::Arc;

use super::{
    Inspection, NamespaceObjects,
    observe::{DryRuns, Inspected, LazyConstraints},
};
use crate::{
    api::{Reason, RolloutMode, Stage, TargetStatus},
    decide::{
        log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
        question::WriteError,
    },
    plan::claim::Lifecycle,
    report::status::{ConditionRow, LogSidecarRow, StatusReport, TargetRow},
    status::TargetOutcome,
    workload::snapshot::Workload,
};

/// What is found at a workload for a `LogSidecar`; `None` if it does not concern it.
pub(super) fn outcome(sidecar: &ValidatedLogSidecar, inspected: &Inspected<'_>) -> Option<TargetOutcome> {
    let (observation, name) = (&inspected.observation, sidecar.key.name.as_str());
    let ledger = observation.ledger.as_ref();
    let injected = ledger.is_some_and(|ledger| ledger.entry(name, Some(&sidecar.uid)).is_some());
    let recorded = recorded(sidecar, observation.workload);
    let is_waiting = inspected.write().is_some_and(|write| write.movers.contains(name));
    let result = inspected.results().iter().find(|result| result.uid.as_deref() == Some(sidecar.uid.as_str()));
    if is_waiting && result.is_some_and(|result| result.result.is_ok()) {
        return Some(waiting(sidecar, recorded, injected));
    }
    let live = inspected.outcome(sidecar)?.clone();
    let recorded = recorded.filter(|(reason, _)| match reason {
        Reason::Soaking => live.reason == Reason::Available,
        Reason::RolledBack | Reason::RolloutFailed | Reason::Contested | Reason::Rejected | Reason::Halted => {
            matches!(live.reason, Reason::Available | Reason::RollingOut | Reason::RolloutFailed)
        }
        _ => false,
    });
    Some(recorded.map_or(live, |(reason, target)| TargetOutcome { reason, message: target.message.clone(), injected }))
}

/// What the controller has recorded about a workload and nothing else shows, if it is about the current spec.
fn recorded<'a>(sidecar: &'a ValidatedLogSidecar, workload: &Workload) -> Option<(Reason, &'a TargetStatus)> {
    let status = &sidecar.status;
    let id = &workload.key.id;
    let is_it = |target: &&TargetStatus| target.kind == id.kind.name() && id.name == target.name;
    let target = status.targets.iter().find(is_it).filter(|_| status.observed_generation == sidecar.generation)?;
    let reason = target.reason.parse::<Reason>().ok().filter(|reason| reason.is_known_only_to_controller())?;
    Some((reason, target))
}

/// A workload that is still to be changed.
fn waiting(sidecar: &ValidatedLogSidecar, recorded: Option<(Reason, &TargetStatus)>, injected: bool) -> TargetOutcome {
    if sidecar.lifecycle == Lifecycle::Deleting {
        return TargetOutcome::new(Reason::Removing, injected);
    }
    if let Some((reason, target)) = recorded.filter(|(reason, _)| *reason != Reason::Soaking) {
        return TargetOutcome { reason, message: target.message.clone(), injected };
    }
    if sidecar.settings.mode == RolloutMode::Plan {
        return TargetOutcome { message: "it would be changed".to_owned(), ..TargetOutcome::new(Reason::Planned, injected) };
    }
    TargetOutcome { message: "still to be changed".to_owned(), ..TargetOutcome::new(Reason::Pending, injected) }
}

impl Inspection {
    /// The state of one `LogSidecar`, or of all.
    pub async fn status(&self, about: Option<&LogSidecarKey>) -> StatusReport {
        let mut report = StatusReport::default();
        let mut rows: Vec<(Reason, TargetRow)> = Vec::new();
        for content in self.namespaces.values() {
            let found = self.targets(content).await;
            let is_asked = |sidecar: &ValidatedLogSidecar| about.is_none_or(|about| *about == sidecar.key);
            let heads = heads(content, &found);
            report.sidecars.extend(heads.filter(|(sidecar, _)| is_asked(sidecar)).map(|(_, head)| head));
            let asked = found.into_iter().filter(|(sidecar, ..)| is_asked(sidecar));
            rows.extend(asked.map(|(_, reason, row)| (reason, row)));
        }
        rows.sort_by(|(one, a), (other, b)| {
            let address = |row: &TargetRow| (row.namespace.clone(), row.sidecar.clone(), row.kind.clone(), row.name.clone());
            one.class().cmp(&other.class()).then_with(|| address(a).cmp(&address(b)))
        });
        report.targets = rows.into_iter().map(|(_, row)| row).collect();
        report
    }

    async fn targets(&self, content: &NamespaceObjects) -> Vec<(Arc<ValidatedLogSidecar>, Reason, TargetRow)> {
        let mut rows = Vec::new();
        for listed in &content.workloads {
            // Quotas and dry runs would be one request and more for each workload: `plan` and `explain` have them.
            let constraints = LazyConstraints::skip();
            let decided =
                self.inspector.decide(&listed.workload, &content.log_sidecars, None, &constraints, DryRuns::Skip).await;
            let inspected = match decided {
                Ok(inspected) => inspected,
                Err(
                    WriteError::Conflict
                    | WriteError::Gone
                    | WriteError::Refused(_)
                    | WriteError::Timeout(_)
                    | WriteError::Failed(_),
                ) => continue,
            };
            for sidecar in &content.log_sidecars {
                if let Some(outcome) = outcome(sidecar, &inspected) {
                    rows.push((sidecar.clone(), outcome.reason, row(sidecar, &listed.workload, outcome)));
                }
            }
        }
        rows
    }
}

fn row(sidecar: &ValidatedLogSidecar, workload: &Workload, outcome: TargetOutcome) -> TargetRow {
    let key = &workload.key;
    let entry = workload.ledger.as_ref().and_then(|ledger| ledger.entry(&sidecar.key.name, &sidecar.uid));
    TargetRow {
        namespace: key.namespace.clone(),
        sidecar: sidecar.key.name.to_string(),
        kind: key.id.kind.name().to_owned(),
        name: key.id.name.to_string(),
        reason: outcome.reason.to_string(),
        injected: outcome.injected,
        available: workload.status.available,
        pods: workload.status.pods,
        revision: entry.and_then(|entry| entry.revision.as_deref()).unwrap_or_default().to_owned(),
        message: outcome.message,
    }
}

fn heads<'a>(
    content: &'a NamespaceObjects,
    rows: &[(Arc<ValidatedLogSidecar>, Reason, TargetRow)],
) -> impl Iterator<Item = (&'a Arc<ValidatedLogSidecar>, LogSidecarRow)> {
    let mut sidecars: Vec<&Arc<ValidatedLogSidecar>> = content.log_sidecars.iter().collect();
    sidecars.sort_by(|one, other| one.key.cmp(&other.key));
    sidecars
        .into_iter()
        .map(|sidecar| {
            let of = || rows.iter().filter(|(of, ..)| of.key == sidecar.key);
            let conditions = sidecar.status.conditions.iter().map(|condition| ConditionRow {
                kind: condition.type_.clone(),
                status: condition.status.clone(),
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            });
            let halted = sidecar.recorded_halt().map(|halt| format!("{} {}: {}", halt.kind, halt.name, halt.cause));
            let head = LogSidecarRow {
                namespace: sidecar.key.namespace.clone(),
                name: sidecar.key.name.to_string(),
                conditions: conditions.collect(),
                observed: sidecar.status.observed_generation == sidecar.generation,
                matched: of().count(),
                injected: of().filter(|(_, _, row)| row.injected).count(),
                available: of().filter(|(_, reason, _)| *reason == Reason::Available).count(),
                stage: stage(sidecar).to_owned(),
                halted: halted.unwrap_or_default(),
            };
            (sidecar, head)
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn stage(sidecar: &ValidatedLogSidecar) -> &'static str {
    match sidecar.status.rollout.stage {
        // No status has been written yet.
        Stage::Canary if sidecar.status.conditions.is_empty() => "not begun",
        Stage::Canary => "Canary",
        Stage::Rolling => "Rolling",
        Stage::Halted => "Halted",
    }
}
