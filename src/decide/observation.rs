//! Everything known about one workload at one moment, parsed: the input of a decision.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use json_patch::PatchOperation;
use serde_json::Value;

use super::{
    log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
    memory::{ConflictHistory, Remembered},
};
use crate::{
    plan::{
        self, Claim, Intent, Plan, PlanInput,
        claim::{LogSidecarView, claims},
        target::WorkloadLabels,
    },
    rollout::scheduler::RolloutView,
    workload::{
        id::WorkloadKey,
        ledger::{Ledger, Origin},
        snapshot::Workload,
    },
};

/// State of the controller that is not in the cluster. A restart loses it, and a command does not have it.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// The rollouts in which the workload takes part.
    pub rollout: RolloutView<LogSidecarKey, WorkloadKey>,
    /// The result of an earlier plan.
    pub remembered: Option<Remembered>,
    /// The history of writes of the same plan.
    pub conflicts: Option<ConflictHistory>,
    /// The current time.
    pub now: Instant,
}

/// Everything known about one workload at one moment.
#[derive(Debug)]
pub struct Observation<'a> {
    /// The workload.
    pub workload: &'a Workload,
    /// The LogSidecars of its namespace.
    pub log_sidecars: &'a [Arc<ValidatedLogSidecar>],
    /// State that is not in the cluster.
    pub knowledge: Knowledge,
    /// The pod template of the workload.
    pub template: Value,
    /// The ledger in the annotation.
    pub written: Option<Ledger>,
    /// The effective ledger: `written` with items of policies adopted, or recovered if the annotation was lost.
    pub ledger: Option<Ledger>,
    /// Why the ledger annotation cannot be read.
    pub unreadable: Option<String>,
    /// `ledger` as it applies to this workload, which may be a copy of another.
    seen: Option<Ledger>,
    /// A cache of plans by claims: a decision that resumes after an answer does not plan again.
    plans: Mutex<Vec<(String, Arc<Plan>)>>,
}

impl<'a> Observation<'a> {
    /// Parses what is known of a workload.
    #[must_use]
    pub fn new(workload: &'a Workload, log_sidecars: &'a [Arc<ValidatedLogSidecar>], knowledge: Knowledge) -> Self {
        let template = workload.template();
        let views: Vec<LogSidecarView<'_>> = log_sidecars.iter().map(|sidecar| sidecar.view()).collect();
        let (written, unreadable) = match workload.ledger.as_ref().map(crate::workload::ledger::StoredLedger::parse).transpose()
        {
            Ok(ledger) => (ledger, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let ledger = match &written {
            Some(written) => adopt_admitted(workload, &template, written, &views),
            None if unreadable.is_none() => recover(workload, &template, &views),
            None => None,
        };
        let seen = ledger.as_ref().map(|ledger| ledger.seen_from(Some(&workload.uid)));
        Self { workload, log_sidecars, knowledge, template, written, ledger, unreadable, seen, plans: Mutex::default() }
    }

    /// What each `LogSidecar` intends with the workload.
    pub(super) fn claims(&self) -> Vec<Claim<'_>> {
        let views: Vec<LogSidecarView<'_>> = self.log_sidecars.iter().map(|sidecar| sidecar.view()).collect();
        let id = &self.workload.key.id;
        let labels = self.workload.labels();
        claims(WorkloadLabels { kind: id.kind, name: &id.name, labels: &labels }, &views, self.seen.as_ref())
    }

    /// The plan for these claims.
    pub(super) fn plan(&self, claims: &[Claim<'_>]) -> Arc<Plan> {
        let key = signature(claims);
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plan)) = plans.iter().find(|(known, _)| *known == key) {
            return plan.clone();
        }
        let plan = Arc::new(plan::plan(&input(self.workload, &self.template, self.ledger.as_ref()), claims));
        plans.push((key, plan.clone()));
        plan
    }

    /// The guarded JSON patch that carries out a plan.
    #[must_use]
    pub fn patch(&self, plan: &Plan) -> Vec<PatchOperation> {
        plan::patch::operations(self.workload, &self.template, plan)
    }

    /// The `LogSidecar` of a claim.
    pub(super) fn log_sidecar(&self, uid: Option<&str>) -> Option<&'a Arc<ValidatedLogSidecar>> {
        self.log_sidecars.iter().find(|sidecar| uid == Some(sidecar.uid.as_str()))
    }
}

/// A workload as the planner sees it.
pub(super) fn input<'a>(workload: &'a Workload, template: &'a Value, ledger: Option<&'a Ledger>) -> PlanInput<'a> {
    PlanInput {
        uid: Some(&workload.uid),
        template,
        ledger,
        owned: &workload.owned,
        before: workload.status.before(),
        kind: workload.key.id.kind,
    }
}

/// The ledger that was on a workload, if its annotation is gone and items of ours are still there.
#[must_use]
pub fn recover(workload: &Workload, template: &Value, log_sidecars: &[LogSidecarView<'_>]) -> Option<Ledger> {
    let created = log_sidecars.iter().filter_map(|sidecar| sidecar.created);
    let was_ours = created.into_iter().any(|created| workload.owned.is_written_since(created));
    if was_ours { plan::recover(&workload.uid, template, &workload.owned, log_sidecars) } else { None }
}

/// The ledger that is on a workload, in which what policies have put in belongs to us.
#[must_use]
pub fn adopt_admitted(workload: &Workload, template: &Value, ledger: &Ledger, views: &[LogSidecarView<'_>]) -> Option<Ledger> {
    if ledger.sidecars.iter().all(|entry| entry.origin != Origin::Policy) {
        return Some(ledger.clone());
    }
    plan::adopt_admitted(&input(workload, template, Some(ledger)), views)
}

/// Returns the cache key of a list of claims.
fn signature(claims: &[Claim<'_>]) -> String {
    let intent = |claim: &Claim<'_>| match claim.intent {
        Intent::Apply(spec) => format!("apply {spec:p} {}", claim.revision.unwrap_or_default()),
        Intent::Keep(reason) => format!("keep {reason}"),
        Intent::Remove(evidence) => format!("remove {evidence:?}"),
        Intent::Orphan => "orphan".to_owned(),
    };
    claims.iter().map(intent).collect::<Vec<_>>().join(",")
}
