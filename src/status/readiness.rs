//! The conditions `Ready`, `Reconciling` and `Stalled`: whether a `LogSidecar` is ready, and whether waiting helps.

use super::{LogSidecarFacts, TargetOutcome, TargetOutcomes, shortened};
use crate::{
    api::{Reason, ReasonClass, Stage},
    workload::id::WorkloadId,
};

/// Whether a `LogSidecar` is ready, and whether waiting helps.
pub(super) struct ReadyConditions {
    pub ready: bool,
    pub reconciling: bool,
    pub stalled: bool,
    /// The reason and message of all three conditions.
    pub why: (Reason, String),
}

impl ReadyConditions {
    fn ready(reason: Reason, message: impl Into<String>) -> Self {
        Self { ready: true, reconciling: false, stalled: false, why: (reason, message.into()) }
    }

    fn reconciling(reason: Reason, message: impl Into<String>) -> Self {
        Self { ready: false, reconciling: true, stalled: false, why: (reason, message.into()) }
    }

    fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self { ready: false, reconciling: false, stalled: true, why: (reason, message.into()) }
    }

    /// Summarizes the outcomes of all targets.
    pub fn of(facts: LogSidecarFacts<'_>, outcomes: &TargetOutcomes) -> Self {
        of_log_sidecar(facts, outcomes).or_else(|| of_halted(facts, outcomes)).unwrap_or_else(|| of_targets(facts, outcomes))
    }
}

/// The readiness that follows from the `LogSidecar` itself, whatever its targets are.
fn of_log_sidecar(facts: LogSidecarFacts<'_>, outcomes: &TargetOutcomes) -> Option<ReadyConditions> {
    if let Some(error) = facts.unreadable.filter(|_| !facts.deleting) {
        let message = format!("this controller cannot read the object, which may be newer than it: {}", shortened(error));
        return Some(ReadyConditions::stalled(Reason::Unreadable, message));
    }
    if !facts.is_supported {
        let message = format!(
            "the controller does not act on kind {}: put the sidecar in with `logsidecar inject`, or set the controller up for it with --workload-kind",
            facts.kind
        );
        return Some(ReadyConditions::stalled(Reason::KindNotSupported, message));
    }
    if facts.deleting {
        let message = format!("{} still to be cleaned{}", workloads(outcomes.len()), example(outcomes.iter().next()));
        return Some(ReadyConditions::reconciling(Reason::Removing, message));
    }
    if facts.suspended {
        return Some(ReadyConditions::ready(Reason::Suspended, "spec.suspend is true: everything is left as it is"));
    }
    None
}

/// The readiness of a `LogSidecar` whose rollout is halted.
fn of_halted(facts: LogSidecarFacts<'_>, outcomes: &TargetOutcomes) -> Option<ReadyConditions> {
    let halted = facts.rollout.halted_at.as_ref().filter(|_| facts.rollout.stage == Stage::Halted)?;
    let waiting = outcomes.values().filter(|outcome| outcome.reason == Reason::Halted).count();
    let message = format!(
        "halted at {} {}: {}; {} left as they are: correct the LogSidecar, any change of its spec is another try",
        halted.kind,
        halted.name,
        shortened(&halted.cause),
        workloads(waiting),
    );
    Some(ReadyConditions::stalled(Reason::Halted, message))
}

/// The readiness that follows from the targets: the worst outcome decides.
fn of_targets(facts: LogSidecarFacts<'_>, outcomes: &TargetOutcomes) -> ReadyConditions {
    let worst = outcomes.iter().min_by_key(|(target, outcome)| (outcome.reason.class(), *target));
    let Some((target, outcome)) = worst else {
        return match facts.target {
            Some(name) => {
                ReadyConditions::reconciling(Reason::TargetNotFound, format!("there is no {} {name} yet", facts.kind))
            }
            None => ReadyConditions::ready(Reason::NoTargets, format!("no {} has these labels", facts.kind)),
        };
    };
    let class = outcome.reason.class();
    let alike = outcomes.values().filter(|outcome| outcome.reason.class() == class).count();
    let message = format!("{alike} of {}{}", workloads(outcomes.len()), example(Some((target, outcome))));
    match class {
        // Others may still be in progress, but waiting cannot make this one ready.
        ReasonClass::Refused if outcomes.len() == 1 => ReadyConditions::stalled(outcome.reason, message),
        ReasonClass::Refused => ReadyConditions::stalled(Reason::Refused, message),
        ReasonClass::Failing => ReadyConditions::reconciling(outcome.reason, message),
        ReasonClass::Halted => ReadyConditions::stalled(Reason::Halted, message),
        ReasonClass::Pending => ReadyConditions::reconciling(Reason::Progressing, message),
        ReasonClass::Planned => {
            let message = format!("nothing is changed, as spec.rollout.mode is Plan: it would be for {message}");
            ReadyConditions::ready(Reason::Planned, message)
        }
        ReasonClass::LeftAlone | ReasonClass::Done => {
            let available = outcomes.values().filter(|outcome| outcome.reason == Reason::Available).count();
            let reason = if available == 0 { outcome.reason } else { Reason::Available };
            ReadyConditions::ready(reason, format!("{available} of {} available", workloads(outcomes.len())))
        }
    }
}

fn workloads(count: usize) -> String {
    if count == 1 { "1 workload".to_owned() } else { format!("{count} workloads") }
}

fn example(of: Option<(&WorkloadId, &TargetOutcome)>) -> String {
    of.map(|(target, outcome)| {
        let message = if outcome.message.is_empty() { String::new() } else { format!(": {}", shortened(&outcome.message)) };
        format!(", such as {} {} ({}{message})", target.kind, target.name, outcome.reason)
    })
    .unwrap_or_default()
}
