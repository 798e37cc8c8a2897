//! What is reported of a decision: an outcome for each `LogSidecar`, which becomes its status, and a notice for what was done.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Observation,
    decision::{Action, Decision, Next, Notice, Report, RolloutChange},
    log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
    memory::ConflictHistory,
};
use crate::{
    api::{LEDGER_ANNOTATION, OPT_OUT_LABEL, Reason},
    plan::{ClaimResult, Effect, Plan, Refusal, Warning, claim::Lifecycle},
    preflight::{Change, Pods},
    status::TargetOutcome,
    workload::{key::Key, ledger::Ledger, snapshot::Workload},
};

/// What the reports of a decision are made of.
pub struct Reporter<'a> {
    /// The observation.
    pub observation: &'a Observation<'a>,
    /// What is reported for a `LogSidecar` instead of the state of the pods.
    pub messages: &'a BTreeMap<&'a str, Refusal>,
    /// The LogSidecars for which the workload is in flight.
    pub in_flight: BTreeSet<&'a LogSidecarKey>,
}

impl Reporter<'_> {
    /// The outcome for every `LogSidecar` of the namespace. `stopped`: why the plan could not be carried out. `is_done`: the plan
    /// has been carried out, on what is now `workload`.
    #[must_use]
    pub fn reports(&self, plan: &Plan, workload: &Workload, stopped: Option<&Refusal>, is_done: bool) -> Vec<Report> {
        let report = |sidecar: &ValidatedLogSidecar| Report {
            uid: sidecar.uid.clone(),
            outcome: self.outcome(sidecar, plan, workload, stopped, is_done),
        };
        self.observation.log_sidecars.iter().map(|sidecar| report(sidecar)).collect()
    }

    fn outcome(
        &self,
        sidecar: &ValidatedLogSidecar,
        plan: &Plan,
        workload: &Workload,
        stopped: Option<&Refusal>,
        is_done: bool,
    ) -> Option<TargetOutcome> {
        let result = plan.results.iter().find(|result| result.uid.as_deref() == Some(sidecar.uid.as_str()))?;
        let entry =
            |ledger: Option<&Ledger>| ledger.and_then(|ledger| ledger.entry(&sidecar.key.name, Some(&sidecar.uid)).cloned());
        let before = entry(self.observation.ledger.as_ref());
        let after = entry(plan.ledger.as_ref());
        let injected = if is_done && stopped.is_none() { after.is_some() } else { before.is_some() };
        // A patch that is refused for what one LogSidecar asks for says nothing about another that has what it asks for already.
        let is_untouched = injected && before == after;
        let stopped = stopped.filter(|refusal| refusal.reason != Reason::Rejected || !is_untouched);
        let message = self.messages.get(sidecar.key.name.as_str());
        let view = View { workload, injected, is_in_flight: self.in_flight.contains(&sidecar.key), message };
        outcome(result, &view, stopped)
    }
}

/// A workload as one `LogSidecar` sees it.
struct View<'a> {
    workload: &'a Workload,
    injected: bool,
    is_in_flight: bool,
    message: Option<&'a Refusal>,
}

fn outcome(result: &ClaimResult, view: &View<'_>, stopped: Option<&Refusal>) -> Option<TargetOutcome> {
    let View { workload, injected, is_in_flight, message } = *view;
    let of = |refusal: &Refusal| TargetOutcome { reason: refusal.reason, message: refusal.message.clone(), injected };
    match (&result.result, stopped, message) {
        (Err(refusal), _, _) | (Ok(Effect::Applied(_)), Some(refusal), _) => Some(of(refusal)),
        (Ok(Effect::Kept(Reason::ManagedByController)), _, _) => {
            let owner = workload.controller.as_deref().unwrap_or("another controller");
            let message = format!("{owner} renders this workload and would revert the change: configure the sidecar there");
            Some(TargetOutcome { reason: Reason::ManagedByController, message, injected })
        }
        (Ok(Effect::Applied(_) | Effect::Kept(_)), _, Some(message)) => Some(of(message)),
        (Ok(Effect::Applied(warnings)), None, None) => Some(health(workload, warnings, injected, is_in_flight)),
        (Ok(Effect::Kept(reason)), _, None) => Some(TargetOutcome::new(*reason, injected)),
        (Ok(Effect::Removed), Some(refusal), _) if injected => Some(of(refusal)),
        (Ok(Effect::Removed), None, Some(message)) if injected || message.reason == Reason::RolledBack => Some(of(message)),
        (Ok(Effect::Removed | Effect::Orphaned), _, _) => None,
    }
}

/// The state of the pods of a workload that has what is asked for.
fn health(workload: &Workload, warnings: &[Warning], injected: bool, is_in_flight: bool) -> TargetOutcome {
    let reason = match workload.status.reason() {
        Reason::Available if is_in_flight && workload.status.pods > 0 => Reason::Soaking,
        reason => reason,
    };
    let progress = Some(workload.status.message()).filter(|message| !message.is_empty());
    let messages: Vec<String> = progress.into_iter().chain(warnings.iter().map(Warning::to_string)).collect();
    TargetOutcome { reason, message: messages.join("; "), injected }
}

/// Refuses everything for a workload whose ledger cannot be read.
pub(super) fn refuse_unreadable(observation: &Observation<'_>, error: &str) -> Decision {
    let message = format!("{error}: correct it, or remove it and what was put in");
    let claims = observation.claims();
    let report = |sidecar: &ValidatedLogSidecar| {
        // One that is being deleted waits for every ledger that names it.
        let is_named = || observation.workload.ledger.as_ref().is_some_and(|ledger| ledger.mentions(&sidecar.uid));
        let is_claimed = claims.iter().any(|claim| claim.uid == Some(sidecar.uid.as_str()))
            || (sidecar.lifecycle == Lifecycle::Deleting && is_named());
        let outcome = TargetOutcome { reason: Reason::LedgerUnreadable, message: message.clone(), injected: false };
        Report { uid: sidecar.uid.clone(), outcome: is_claimed.then_some(outcome) }
    };
    let reports = observation.log_sidecars.iter().map(|sidecar| report(sidecar)).collect();
    // What was allowed before the ledger was damaged has its place until it is done.
    let rollout = vec![RolloutChange::ExcludeFromCanaries, RolloutChange::StopJudging];
    Decision { reports, rollout, ..Decision::of(Action::Wait, Next::Await) }
}

/// One notice for each `LogSidecar` whose items a plan changes.
pub(super) fn notices(
    observation: &Observation<'_>,
    plan: &Plan,
    messages: &BTreeMap<&str, Refusal>,
    restoring: &BTreeSet<&str>,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    if observation.written.is_some() && observation.written != observation.ledger {
        notices.push(Notice {
            log_sidecar: None,
            reason: Reason::Updated,
            message: "took over what a policy has put in".to_owned(),
            is_warning: false,
            is_event: false,
        });
    }
    for result in &plan.results {
        let Some((reason, message)) = change(observation, plan, result) else { continue };
        let restored = messages.get(result.name.as_str()).filter(|_| restoring.contains(result.name.as_str()));
        let (reason, message) = restored.map_or((reason, message), |restored| (restored.reason, restored.message.clone()));
        notices.push(Notice { log_sidecar: Some(result.name.clone()), reason, message, is_warning: false, is_event: true });
    }
    if !plan.handed_over.is_empty() {
        let keys: Vec<String> = plan.handed_over.iter().map(Key::to_string).collect();
        let message = format!("left in the template, as somebody else has changed or uses it: {}", keys.join(", "));
        notices.push(Notice { log_sidecar: None, reason: Reason::HandedOver, message, is_warning: false, is_event: true });
    }
    notices
}

/// What a plan changes for one `LogSidecar`; nothing if its items stay.
fn change(observation: &Observation<'_>, plan: &Plan, result: &ClaimResult) -> Option<(Reason, String)> {
    let items = |ledger: Option<&Ledger>| {
        ledger.and_then(|ledger| ledger.entry(&result.name, result.uid.as_deref())).map(|entry| entry.items.clone())
    };
    let template = &observation.template;
    match (items(observation.ledger.as_ref()), items(plan.ledger.as_ref())) {
        (None, Some(_)) => Some((Reason::Injected, String::new())),
        (Some(_), None) if matches!(result.result, Ok(Effect::Removed)) => Some((Reason::Removed, String::new())),
        (Some(_), None) => Some((Reason::HandedOver, String::new())),
        (Some(before), Some(after)) if before != after => Some((Reason::Updated, String::new())),
        (Some(_), Some(items)) => {
            let drifted = items.keys().filter(|key| key.get(template) != key.get(&plan.template));
            let drifted: Vec<String> = drifted.map(Key::to_string).collect();
            let message = format!("somebody had changed or removed it, put back: {}", drifted.join(", "));
            (!drifted.is_empty()).then_some((Reason::Updated, message))
        }
        (None, None) => None,
    }
}

/// Names the manager that reverts what is put in.
pub(super) fn conflict_refusal(workload: &Workload, history: &ConflictHistory) -> Refusal {
    let opponent = history.opponent(workload.last_writer.as_ref());
    let who = opponent.map_or_else(
        || "somebody who does not show in managedFields".to_owned(),
        |manager| format!("the field manager {manager}"),
    );
    let message = format!(
        "{who} takes back what is put in, again and again: make it leave alone what the annotation {LEDGER_ANNOTATION} names, or label the workload {OPT_OUT_LABEL}=false"
    );
    Refusal::new(Reason::Contested, message)
}

/// A warning for each `LogSidecar` whose items are reverted.
pub(super) fn conflict_notices(plan: &Plan, refusal: &Refusal) -> Vec<Notice> {
    let notice = |name: &String| Notice {
        log_sidecar: Some(name.clone()),
        reason: refusal.reason,
        message: refusal.message.clone(),
        is_warning: true,
        is_event: true,
    };
    plan.results.iter().map(|result| notice(&result.name)).collect()
}

/// What a plan would change, for users.
#[must_use]
pub fn summary(template: &Value, plan: &Plan) -> String {
    let entries = plan.ledger.iter().flat_map(|ledger| &ledger.sidecars);
    let after: BTreeSet<&Key> = entries.flat_map(|entry| entry.items.keys()).collect();
    let changes = after.into_iter().filter_map(|key| match (key.get(template), key.get(&plan.template)) {
        (None, Some(_)) => Some(format!("+{key}")),
        (Some(before), Some(after)) if before != after => Some(format!("~{key}")),
        _ => None,
    });
    let changes: Vec<String> = changes.collect();
    if changes.is_empty() { "it would be taken out".to_owned() } else { format!("would be changed: {}", changes.join(", ")) }
}

/// A change of the template of a workload, as preflight sees it.
#[must_use]
pub fn change_of<'a>(workload: &'a Workload, before: &'a Value, after: &'a Value) -> Change<'a> {
    let pods = Pods { wanted: workload.status.pods.into(), surges: workload.status.surges };
    Change { kind: workload.key.id.kind, name: &workload.key.id.name, before, after, pods }
}
