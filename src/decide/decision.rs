//! The output of a decision: what to do, and what to report. The caller carries it out; a command prints it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use json_patch::PatchOperation;

use super::{
    log_sidecar::LogSidecarKey,
    memory::{PlanState, Remembered},
    question::Question,
};
use crate::{
    api::Reason,
    plan::{ConfigMap, Plan, Refusal, ResolvedSpec, claim::Evidence},
    rollout::canary::CanaryFitness,
    status::TargetOutcome,
};

/// What to do about a workload now, and what to report.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// What is found for each `LogSidecar` of the namespace; empty where there is nothing to report yet.
    pub reports: Vec<Report>,
    /// What it means for the rollouts in which the workload takes part.
    pub rollout: Vec<RolloutChange>,
    /// What is remembered of it.
    pub memory: MemoryChange,
    /// What is logged and emitted as Events.
    pub notices: Vec<Notice>,
    /// When to reconcile the workload again.
    pub next: Next,
    /// The plan that was decided about; none where nothing could be planned.
    pub plan: Option<Arc<Plan>>,
}

/// What to do about a workload now.
#[derive(Clone, Debug)]
pub enum Action {
    /// Everything is as planned.
    Nothing,
    /// Answer this, then decide again.
    Ask(Question),
    /// Write this, then record the result.
    Write(Box<Write>),
    /// Something is to be changed and cannot be changed now: the reports say why.
    Wait,
}

/// A change of a workload.
#[derive(Clone, Debug)]
pub struct Write {
    /// The plan that it carries out.
    pub plan: Arc<Plan>,
    /// The guarded JSON patch: one write, one rollout.
    pub patch: Vec<PatchOperation>,
    /// The claims that were planned.
    pub claims: Vec<OwnedClaim>,
    /// What has to be there before the patch is sent.
    pub prerequisites: Vec<Prerequisite>,
    /// The key of [`super::memory::ConflictHistory`]: identifies the injected items, not the whole template.
    pub conflict_key: String,
    /// The key under which a refusal is remembered.
    pub state: PlanState,
    /// The LogSidecars for which it changes something.
    pub movers: BTreeSet<String>,
    /// What is reported for a `LogSidecar`, by its name, instead of the state of the pods.
    pub messages: Vec<(String, Refusal)>,
    /// What is emitted when it has been written.
    pub notices: Vec<Notice>,
}

/// Something that has to be there before a patch is sent.
#[derive(Clone, Debug)]
pub enum Prerequisite {
    /// The config of a shipper that the new pods mount.
    Config(LogSidecarKey, ConfigMap),
    /// The ConfigMap of the author's own that the new pods mount.
    Reference(LogSidecarKey, Arc<ResolvedSpec>),
    /// The kept spec of this revision, which a later rollback needs. `is_required`: nothing is written without it.
    Revision {
        /// The `LogSidecar`.
        log_sidecar: LogSidecarKey,
        /// Whether nothing is written if it cannot be kept.
        is_required: bool,
    },
}

/// A claim that outlives the observation.
#[derive(Clone, Debug)]
pub struct OwnedClaim {
    /// The name of the `LogSidecar`.
    pub name: String,
    /// Its uid.
    pub uid: Option<String>,
    /// The revision of its spec.
    pub revision: Option<String>,
    /// What it intends.
    pub intent: OwnedIntent,
}

/// See [`crate::plan::Intent`].
#[derive(Clone, Debug)]
pub enum OwnedIntent {
    /// Its items are put in and kept up to date.
    Apply(Arc<ResolvedSpec>),
    /// Its items stay as they are.
    Keep(Reason),
    /// Its items are removed.
    Remove(Evidence),
    /// Its items stay and belong to no `LogSidecar` any more.
    Orphan,
}

/// What is found for one `LogSidecar`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The uid of the `LogSidecar`.
    pub uid: String,
    /// What is found; `None` if the workload is none of its targets.
    pub outcome: Option<TargetOutcome>,
}

/// What a decision means for the rollouts in which the workload takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutChange {
    /// What was allowed is in the workload, whether an answer has come or not.
    MarkWritten,
    /// What was allowed was not written.
    AbandonUnwritten,
    /// What is in flight keeps its place until it is done, and is not judged: another manager, or a damaged ledger, interferes.
    StopJudging,
    /// The workload can be no canary of any `LogSidecar`.
    ExcludeFromCanaries,
    /// What it is worth as the canary of a `LogSidecar`.
    JudgeCanary(LogSidecarKey, CanaryFitness),
}

/// What is remembered of a decision.
#[derive(Clone, Debug, PartialEq)]
pub enum MemoryChange {
    /// Leave it as it is.
    Keep,
    /// Remember this instead.
    Set(Remembered),
    /// Forget what was remembered.
    Forget,
}

/// A line of the log, and an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The name of the `LogSidecar`; `None` where it is about the workload as a whole.
    pub log_sidecar: Option<String>,
    /// Why.
    pub reason: Reason,
    /// A sentence; empty where the reason says it all.
    pub message: String,
    /// Whether it is a warning in the log.
    pub is_warning: bool,
    /// Whether it is emitted as an Event, too.
    pub is_event: bool,
}

/// When to reconcile an object again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    Await,
    /// After this time.
    After(Duration),
    /// After a pause that grows with every failure in a row.
    Backoff,
}

impl Next {
    /// What satisfies both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Backoff, _) | (_, Self::Backoff) => Self::Backoff,
            (Self::After(pause), next) | (next, Self::After(pause)) => next.within(Some(pause)),
            (Self::Await, Self::Await) => Self::Await,
        }
    }

    /// The same, but no later than after this time.
    #[must_use]
    pub fn within(self, limit: Option<Duration>) -> Self {
        match (self, limit) {
            (Self::Await, Some(limit)) => Self::After(limit),
            (Self::After(pause), Some(limit)) => Self::After(pause.min(limit)),
            (next, _) => next,
        }
    }
}

impl Decision {
    /// A decision that only asks.
    pub(super) const fn ask(question: Question) -> Self {
        Self::of(Action::Ask(question), Next::Await)
    }

    pub(super) const fn of(action: Action, next: Next) -> Self {
        Self {
            action,
            reports: Vec::new(),
            rollout: Vec::new(),
            memory: MemoryChange::Keep,
            notices: Vec::new(),
            next,
            plan: None,
        }
    }
}
