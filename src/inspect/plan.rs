//! `logsidecar plan`: each decided change is sent as the very patch that the controller would send, as a server-side dry run. So what is
//! shown is what the API server, its defaults and its admission plugins would make of it. Nothing is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::{
    Inspection, NamespaceObjects,
    connection::{InspectError, InspectRequest},
    observe::{DryRuns, Inspected, Inspector, LazyConstraints, ListedWorkload, is_about_the_caller},
    warnings::{mode_warning, warnings},
};
use crate::{
    api::{Reason, RolloutMode},
    decide::{
        decision::Write,
        log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
        memory::{RefusedPlan, Remembered},
        outcome::change_of,
        question::WriteError,
        record::dropped,
    },
    plan::{ClaimResult, Effect, Plan, Refusal},
    preflight::{Cost, cost},
    report::{
        WorkloadRef,
        plan::{PlanReport, PlanResult, Refused, WorkloadPlan},
    },
    workload::{kind::Kind, ledger::Ledger},
};

/// How many dry runs are in flight at once: as many as the controller has.
const CONCURRENCY: usize = 8;

/// How often a workload is read again because it has changed meanwhile.
const ATTEMPTS: usize = 5;

impl Inspection {
    /// What would change for these LogSidecars, or for all; with it, what the user should know about the answer itself.
    ///
    /// # Errors
    /// What a request fails with.
    pub async fn plan(&self, about: Option<&BTreeSet<LogSidecarKey>>) -> Result<(PlanReport, Vec<String>), InspectError> {
        let (mut report, mut notes) = (PlanReport::default(), Vec::new());
        for content in self.namespaces.values() {
            let (planned, note) = self.plan_namespace(content, about).await?;
            report.workloads.extend(planned);
            notes.extend(note);
        }
        let changing: BTreeSet<LogSidecarKey> = report
            .workloads
            .iter()
            .filter(|planned| planned.result == PlanResult::Change)
            .flat_map(|planned| planned.sidecars.iter().map(|name| (planned.workload.namespace.clone(), name.clone())))
            .filter_map(|(namespace, name)| Some(LogSidecarKey { namespace, name: name.parse().ok()? }))
            .collect();
        report.rollouts = changing.iter().filter_map(|key| self.rollout_plan(key)).collect();
        Ok((report, notes))
    }

    async fn plan_namespace(
        &self,
        content: &NamespaceObjects,
        about: Option<&BTreeSet<LogSidecarKey>>,
    ) -> Result<(Vec<WorkloadPlan>, Option<String>), InspectError> {
        let log_sidecars: Vec<Arc<ValidatedLogSidecar>> = content.log_sidecars.iter().map(applied).collect();
        let modes = content.log_sidecars.iter().map(|sidecar| (sidecar.key.name.to_string(), sidecar.settings.mode)).collect();
        let constraints = LazyConstraints::default();
        let planner =
            Planner { inspector: &self.inspector, log_sidecars: &log_sidecars, constraints: &constraints, about, modes };
        let planned = stream::iter(&content.workloads).map(|listed| planner.plan(listed));
        let mut planned: Vec<WorkloadPlan> =
            planned.buffered(CONCURRENCY).try_filter_map(|planned| async { Ok(planned) }).try_collect().await?;
        planned.sort_by(|one, other| one.workload.cmp(&other.workload));
        let note = constraints.error().map(|error| format!("{error}: what quotas, limits and policies say is not in the plan"));
        Ok((planned, note))
    }
}

/// A `LogSidecar` in `mode: Plan` as if it were to be applied: showing what that would do is what the command is for.
fn applied(sidecar: &Arc<ValidatedLogSidecar>) -> Arc<ValidatedLogSidecar> {
    let mut sidecar = sidecar.clone();
    if sidecar.settings.mode == RolloutMode::Plan {
        Arc::make_mut(&mut sidecar).settings.mode = RolloutMode::Apply;
    }
    sidecar
}

/// Plans the workloads of a namespace.
struct Planner<'a> {
    inspector: &'a Inspector,
    log_sidecars: &'a [Arc<ValidatedLogSidecar>],
    constraints: &'a LazyConstraints,
    about: Option<&'a BTreeSet<LogSidecarKey>>,
    /// `spec.rollout.mode` as it is written.
    modes: BTreeMap<String, RolloutMode>,
}

impl Planner<'_> {
    /// `None` if the workload is gone, or has nothing to do with the LogSidecars that are asked about.
    async fn plan(&self, listed: &ListedWorkload) -> Result<Option<WorkloadPlan>, InspectError> {
        let (kind, key) = (listed.workload.key.id.kind, &listed.workload.key);
        let request = |verb: &'static str| InspectRequest {
            verb,
            resource: kind.resource().plural,
            namespace: Some(key.namespace.clone()),
            name: Some(key.id.name.to_string()),
        };
        let mut result = self.attempt(listed).await;
        for _ in 0..ATTEMPTS {
            match result {
                Ok(planned) => return Ok(planned),
                Err(WriteError::Gone) => return Ok(None),
                Err(WriteError::Conflict) => {}
                Err(WriteError::Timeout(_)) => return Err(InspectError::Timeout(request("patch"))),
                Err(WriteError::Refused(_)) => return Err(InspectError::Forbidden(request("patch"))),
                Err(WriteError::Failed(why)) => return Err(InspectError::Failed(request("patch"), why)),
            }
            let object = self.inspector.connection.get(&kind.resource(), &key.namespace, &key.id.name).await;
            let object = match object {
                Err(InspectError::NotFound(_)) => return Ok(None),
                object => object?,
            };
            let Some(listed) = ListedWorkload::observe(kind, &object) else { return Ok(None) };
            result = self.attempt(&listed).await;
        }
        Err(InspectError::Failed(request("patch"), "somebody else changes it all the time".to_owned()))
    }

    async fn attempt(&self, listed: &ListedWorkload) -> Result<Option<WorkloadPlan>, WriteError> {
        let workload = &listed.workload;
        let (mut refused, mut remembered) = (Vec::new(), None);
        // A refused dry run is decided about once more: without the LogSidecars whose items were refused.
        for _ in 0..2 {
            let decided =
                self.inspector.decide(workload, self.log_sidecars, remembered.take(), self.constraints, DryRuns::Make);
            let inspected = decided.await?;
            if !self.is_asked_about(&inspected) {
                return Ok(None);
            }
            if refused.is_empty() {
                refused = refusals(&inspected);
            }
            let Some(write) = inspected.write() else { return Ok(Some(unchanged(listed, &inspected, refused))) };
            match self.inspector.send(&inspected.observation, &write.plan).await {
                Ok(answer) => return Ok(Some(self.changed(listed, &inspected, write, &answer.template(), refused))),
                Err(WriteError::Refused(refusal)) if !is_about_the_caller(&refusal) => {
                    refused.push(refused_by_server(&inspected, write, &refusal));
                    let now = Instant::now();
                    let plan = RefusedPlan::new(write.state.clone(), refusal, now);
                    let before = inspected.observation.knowledge.remembered.as_ref();
                    remembered = Some(Remembered::with_refused(before, plan, now));
                }
                Err(error) => return Err(error),
            }
        }
        let decided = self.inspector.decide(workload, self.log_sidecars, remembered, self.constraints, DryRuns::Make);
        Ok(Some(unchanged(listed, &decided.await?, refused)))
    }

    fn is_asked_about(&self, inspected: &Inspected<'_>) -> bool {
        let is_asked = |sidecar: &ValidatedLogSidecar| self.about.is_none_or(|about| about.contains(&sidecar.key));
        let concerned = self.log_sidecars.iter().any(|sidecar| is_asked(sidecar) && inspected.concerns(sidecar));
        // What is removed for a LogSidecar that is gone shows where all are asked about.
        concerned || (self.about.is_none() && !inspected.results().is_empty())
    }

    fn mode_warnings(&self, movers: &BTreeSet<String>) -> Vec<String> {
        let moving = self.log_sidecars.iter().filter(|sidecar| movers.contains(sidecar.key.name.as_str()));
        moving
            .filter_map(|sidecar| mode_warning(&sidecar.key.name, self.modes.get(sidecar.key.name.as_str()).copied()?))
            .collect()
    }

    /// What the API server would keep.
    fn changed(
        &self,
        listed: &ListedWorkload,
        inspected: &Inspected<'_>,
        write: &Write,
        answer: &Value,
        mut refused: Vec<Refused>,
    ) -> WorkloadPlan {
        let (workload, observation) = (&listed.workload, &inspected.observation);
        let movers = changed_names(&write.plan, inspected);
        if let Some(refusal) = dropped(&write.plan, answer) {
            refused.push(refused_for(&movers, &refusal));
        }
        let words: Vec<(&String, Reason)> = movers.iter().map(|name| (name, word(&write.plan, inspected, name))).collect();
        let messages: Vec<String> = words.iter().map(|(name, word)| format!("{name}: {word}")).collect();
        WorkloadPlan {
            sidecars: if movers.is_empty() { names(inspected) } else { movers.iter().cloned().collect() },
            result: PlanResult::Change,
            reason: words.first().map_or(Reason::Updated, |(_, word)| *word).to_string(),
            message: if words.len() > 1 { messages.join(", ") } else { String::new() },
            warnings: warnings(listed, inspected, write, &movers, answer)
                .into_iter()
                .chain(self.mode_warnings(&movers))
                .collect(),
            rolls: *answer != observation.template && workload.key.id.kind != Kind::CronJob,
            cost: cost(&change_of(workload, &observation.template, answer)),
            template: answer.clone(),
            patch: serde_json::to_value(&write.patch).expect("a patch is JSON"),
            ..unchanged(listed, inspected, refused)
        }
    }
}

/// A workload to which nothing would be done.
fn unchanged(listed: &ListedWorkload, inspected: &Inspected<'_>, refused: Vec<Refused>) -> WorkloadPlan {
    let workload = &listed.workload;
    let key = &workload.key;
    let results = inspected.results();
    let all_kept = !results.is_empty() && results.iter().all(|result| matches!(result.result, Ok(Effect::Kept(_))));
    let (result, reason, message) = if let Some(Refused { sidecar: _, reason, message }) = refused.first() {
        (PlanResult::Blocked, reason.clone(), message.clone())
    } else if all_kept {
        let outcome = inspected.decision.reports.iter().find_map(|report| report.outcome.clone());
        let (reason, message) = outcome.map(|outcome| (outcome.reason.to_string(), outcome.message)).unwrap_or_default();
        (PlanResult::LeftAlone, reason, message)
    } else {
        (PlanResult::Unchanged, workload.status.reason().to_string(), workload.status.message())
    };
    let template = &inspected.observation.template;
    WorkloadPlan {
        workload: WorkloadRef::new(key.id.kind, &key.namespace, &key.id.name),
        sidecars: if result == PlanResult::Blocked {
            refused.iter().map(|refused| refused.sidecar.clone()).collect()
        } else {
            names(inspected)
        },
        result,
        reason,
        message,
        warnings: Vec::new(),
        refused,
        pods: workload.status.pods,
        rolls: false,
        cost: Cost::default(),
        before: template.clone(),
        template: template.clone(),
        patch: Value::Array(Vec::new()),
    }
}

fn names(inspected: &Inspected<'_>) -> Vec<String> {
    inspected.results().iter().map(|result| result.name.clone()).collect()
}

/// What cannot be met; what is blocked is so by what is around the workload, and not by its template.
fn refusals(inspected: &Inspected<'_>) -> Vec<Refused> {
    if inspected.observation.unreadable.is_some() {
        let outcomes = inspected.decision.reports.iter().zip(inspected.observation.log_sidecars);
        let unreadable = outcomes.filter(|(_, sidecar)| inspected.concerns(sidecar));
        return unreadable
            .map(|(report, sidecar)| Refused {
                sidecar: sidecar.key.name.to_string(),
                reason: Reason::LedgerUnreadable.to_string(),
                message: report.outcome.as_ref().map(|outcome| outcome.message.clone()).unwrap_or_default(),
            })
            .collect();
    }
    let refusal = |result: &ClaimResult| match &result.result {
        Err(refusal) => Some(refusal.clone()),
        Ok(Effect::Kept(Reason::Blocked)) => {
            let report = inspected.decision.reports.iter().find(|report| Some(&report.uid) == result.uid.as_ref())?;
            let outcome = report.outcome.as_ref()?;
            Some(Refusal::new(outcome.reason, outcome.message.clone()))
        }
        Ok(Effect::Kept(_) | Effect::Applied(_) | Effect::Removed | Effect::Orphaned) => None,
    };
    let refused = |result: &ClaimResult| Some(refused_for(&BTreeSet::from([result.name.clone()]), &refusal(result)?));
    inspected.results().iter().filter_map(refused).collect()
}

/// What the API server refuses: for those that are not in the template yet, if there are any.
fn refused_by_server(inspected: &Inspected<'_>, write: &Write, refusal: &Refusal) -> Refused {
    let ledger = inspected.observation.ledger.as_ref();
    let is_in = |name: &String| ledger.is_some_and(|ledger| ledger.entry(name, None).is_some());
    let newcomers: BTreeSet<String> = write.movers.iter().filter(|name| !is_in(name)).cloned().collect();
    refused_for(if newcomers.is_empty() { &write.movers } else { &newcomers }, refusal)
}

fn refused_for(log_sidecars: &BTreeSet<String>, refusal: &Refusal) -> Refused {
    let sidecar = log_sidecars.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Refused { sidecar, reason: refusal.reason.to_string(), message: refusal.message.clone() }
}

/// The LogSidecars for which a plan changes something, those included that only leave their items behind.
pub(super) fn changed_names(plan: &Plan, inspected: &Inspected<'_>) -> BTreeSet<String> {
    let observation = &inspected.observation;
    let changes = |result: &&ClaimResult| {
        let items = |ledger: Option<&Ledger>| {
            let entry = ledger.and_then(|ledger| ledger.entry(&result.name, result.uid.as_deref()));
            entry.map(|entry| entry.items.clone())
        };
        let (before, after) = (items(observation.ledger.as_ref()), items(plan.ledger.as_ref()));
        let drifts = |key: &crate::workload::key::Key| key.get(&observation.template) != key.get(&plan.template);
        let is_kept = matches!(result.result, Ok(Effect::Kept(_)) | Err(_));
        !is_kept && (before != after || after.iter().flatten().any(|(key, _)| drifts(key)))
    };
    plan.results.iter().filter(changes).map(|result| result.name.clone()).collect()
}

/// What would be done for a `LogSidecar`: the reason that its Event would have.
fn word(plan: &Plan, inspected: &Inspected<'_>, name: &str) -> Reason {
    let has = |ledger: Option<&Ledger>| ledger.is_some_and(|ledger| ledger.entry(name, None).is_some());
    match (has(inspected.observation.ledger.as_ref()), has(plan.ledger.as_ref())) {
        (false, _) => Reason::Injected,
        (true, true) => Reason::Updated,
        (true, false) if plan.template == inspected.observation.template => Reason::HandedOver,
        (true, false) => Reason::Removed,
    }
}
