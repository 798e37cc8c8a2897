//! The status of a `LogSidecar` as a pure function of what was observed. The same input gives the same status, so nothing is
//! written while nothing changes.
//!
//! * `readiness`: the conditions `Ready`, `Reconciling` and `Stalled`

mod readiness;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use self::readiness::ReadyConditions;
use crate::{
    api::{LogSidecarStatus, Reason, ReasonClass, RolloutStatus, TargetStatus, condition},
    workload::id::WorkloadId,
};

/// How many targets are listed in status; the counters count them all.
const LISTED: usize = 20;

/// The last observation of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetOutcome {
    /// The reason, in one word.
    pub reason: Reason,
    /// A sentence; empty where the word says it all.
    pub message: String,
    /// Whether the template holds something of the `LogSidecar`.
    pub injected: bool,
}

impl TargetOutcome {
    /// Returns an outcome without a message.
    #[must_use]
    pub fn new(reason: Reason, injected: bool) -> Self {
        Self { reason, message: String::new(), injected }
    }
}

/// The last observation of every target.
pub type TargetOutcomes = BTreeMap<WorkloadId, TargetOutcome>;

/// The facts about a `LogSidecar` that its status depends on.
#[derive(Clone, Copy, Debug)]
pub struct LogSidecarFacts<'a> {
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec.target.kind`.
    pub kind: &'a str,
    /// Whether the controller acts on that kind.
    pub is_supported: bool,
    /// The state of its rollout.
    pub rollout: &'a RolloutStatus,
    /// What queued targets wait for.
    pub turn: &'a str,
    /// `spec.target.name`.
    pub target: Option<&'a str>,
    /// `spec.suspend`.
    pub suspended: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Why this controller cannot read it.
    pub unreadable: Option<&'a str>,
}

/// Summarizes the outcomes of all targets.
///
/// Guarantees: the same input gives the same status, byte for byte; a condition keeps its `lastTransitionTime` while its
/// `status` stays; `now` is used for those that change and nothing else.
#[must_use]
pub fn status(
    facts: LogSidecarFacts<'_>,
    outcomes: &TargetOutcomes,
    previous: &LogSidecarStatus,
    now: &Time,
) -> LogSidecarStatus {
    let count = |is_counted: &dyn Fn(&TargetOutcome) -> bool| {
        u32::try_from(outcomes.values().filter(|outcome| is_counted(outcome)).count()).unwrap_or(u32::MAX)
    };
    let mut worst: Vec<(&WorkloadId, &TargetOutcome)> = outcomes.iter().collect();
    // Stable: of one class, by kind and name.
    worst.sort_by_key(|(_, outcome)| outcome.reason.class());
    LogSidecarStatus {
        observed_generation: facts.generation,
        conditions: conditions(facts, &ReadyConditions::of(facts, outcomes), previous, now),
        matched: count(&|_| true),
        injected: count(&|outcome| outcome.injected),
        available: count(&|outcome| outcome.reason == Reason::Available),
        refused: count(&|outcome| outcome.reason.class() == ReasonClass::Refused),
        pending: count(&|outcome| matches!(outcome.reason.class(), ReasonClass::Pending | ReasonClass::Failing)),
        halted: count(&|outcome| outcome.reason.class() == ReasonClass::Halted),
        rollout: facts.rollout.clone(),
        targets: worst.into_iter().take(LISTED).map(|(target, outcome)| listed(target, outcome, facts.turn)).collect(),
    }
}

fn conditions(
    facts: LogSidecarFacts<'_>,
    readiness: &ReadyConditions,
    previous: &LogSidecarStatus,
    now: &Time,
) -> Vec<Condition> {
    let set = |kind: &str, holds: bool, (reason, message): &(Reason, String)| {
        let status = if holds { "True" } else { "False" };
        let kept = previous.conditions.iter().find(|old| old.type_ == kind && old.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.clone(),
            observed_generation: Some(facts.generation),
            last_transition_time: kept.map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
        }
    };
    let accepted = if facts.unreadable.is_none() && facts.is_supported {
        (Reason::Accepted, String::new())
    } else {
        readiness.why.clone()
    };
    vec![
        set(condition::READY, readiness.ready, &readiness.why),
        set(condition::RECONCILING, readiness.reconciling, &readiness.why),
        set(condition::STALLED, readiness.stalled, &readiness.why),
        set(condition::ACCEPTED, accepted.0 == Reason::Accepted, &accepted),
    ]
}

fn listed(target: &WorkloadId, outcome: &TargetOutcome, turn: &str) -> TargetStatus {
    let message = if outcome.reason == Reason::Queued && outcome.message.is_empty() { turn } else { &outcome.message };
    TargetStatus {
        kind: target.kind.name().to_owned(),
        name: target.name.to_string(),
        reason: outcome.reason.as_str().to_owned(),
        message: shortened(message),
    }
}

/// Returns a message of at most 500 characters.
fn shortened(message: &str) -> String {
    if message.chars().count() <= 500 {
        return message.to_owned();
    }
    message.chars().take(499).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
