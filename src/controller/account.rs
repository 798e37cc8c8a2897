//! What is told of a look at a workload: an outcome for each `LogSidecar`, which becomes its status, and an Event and a line of log for
//! what was done.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{look::Look, workload::Workload};
use crate::{
    api::Reason,
    plan::{Effect, Plan, Refusal, Verdict, Warning},
    status::Outcome,
    workload::{key::Key, ledger::Ledger},
};

impl Look<'_> {
    /// Notes the outcome for every `LogSidecar` of the namespace; `stopped` if the plan could not be carried out.
    pub fn note_all(&self, plan: &Plan, workload: &Workload, stopped: Option<&Refusal>, is_done: bool) {
        for sidecar in self.known {
            let verdict = plan.verdicts.iter().find(|verdict| verdict.uid.as_deref() == Some(sidecar.uid.as_str()));
            let ledger = if is_done && stopped.is_none() { plan.ledger.as_ref() } else { self.ledger };
            let injected = ledger.is_some_and(|ledger| ledger.entry(&sidecar.key.name, Some(&sidecar.uid)).is_some());
            // A patch that is refused for what one asks for says nothing about another that has what it asks for already.
            let entry = |ledger: Option<&Ledger>| {
                ledger.and_then(|ledger| ledger.entry(&sidecar.key.name, Some(&sidecar.uid)).cloned())
            };
            let untouched = injected && entry(self.ledger) == entry(plan.ledger.as_ref());
            let stopped = stopped.filter(|refusal| refusal.reason != Reason::Rejected || !untouched);
            let is_soaking = self.context.rollouts.waves().flights(&workload.key).any(|(key, _)| *key == sidecar.key);
            let view = View { workload, injected, is_soaking, told: self.told.get(sidecar.key.name.as_str()) };
            let outcome = verdict.and_then(|verdict| outcome(verdict, &view, stopped));
            self.context.note(sidecar, &workload.key, outcome);
        }
    }

    /// One Event and one line of log for each `LogSidecar` whose items changed.
    pub fn tell(&self, plan: &Plan) {
        if self.written.is_some() && self.written != self.ledger {
            tracing::info!(workload = %self.workload.key, "took over what a policy has put in");
        }
        let items = |ledger: Option<&Ledger>, verdict: &Verdict| {
            ledger.and_then(|ledger| ledger.entry(&verdict.name, verdict.uid.as_deref())).map(|entry| entry.items.clone())
        };
        let template = self.workload.template();
        for verdict in &plan.verdicts {
            let restored = self.told.get(verdict.name.as_str()).filter(|_| self.restoring.contains(verdict.name.as_str()));
            let (reason, note) = match (items(self.ledger, verdict), items(plan.ledger.as_ref(), verdict)) {
                (None, Some(_)) => (Reason::Injected, String::new()),
                (Some(_), None) if matches!(verdict.result, Ok(Effect::Removed)) => (Reason::Removed, String::new()),
                (Some(_), None) => (Reason::HandedOver, String::new()),
                (Some(before), Some(after)) if before != after => (Reason::Updated, String::new()),
                (Some(_), Some(items)) => {
                    let drifted = items.keys().filter(|key| key.get(&template) != key.get(&plan.template));
                    let drifted: Vec<String> = drifted.map(Key::to_string).collect();
                    if drifted.is_empty() {
                        continue;
                    }
                    (Reason::Updated, format!("somebody had changed or removed it, put back: {}", drifted.join(", ")))
                }
                (None, None) => continue,
            };
            let (reason, note) = restored.map_or((reason, note), |told| (told.reason, told.message.clone()));
            tracing::info!(workload = %self.workload.key, sidecar = verdict.name, %reason, note, "patched");
            self.context.tell(&self.workload, &verdict.name, reason, note);
        }
        if !plan.handed_over.is_empty() {
            let keys: Vec<String> = plan.handed_over.iter().map(Key::to_string).collect();
            let note = format!("left in the template, as somebody else has changed or uses it: {}", keys.join(", "));
            tracing::info!(workload = %self.workload.key, reason = %Reason::HandedOver, "{note}");
            self.context.tell(&self.workload, "", Reason::HandedOver, note);
        }
    }
}

/// What a workload looks like to one `LogSidecar`.
pub(super) struct View<'a> {
    pub workload: &'a Workload,
    pub injected: bool,
    /// Whether it is under way.
    pub is_soaking: bool,
    /// What there is to tell instead of how the pods are doing.
    pub told: Option<&'a Refusal>,
}

pub(super) fn outcome(verdict: &Verdict, view: &View<'_>, stopped: Option<&Refusal>) -> Option<Outcome> {
    let View { workload, injected, is_soaking, told } = *view;
    let tell = |refusal: &Refusal| Outcome { reason: refusal.reason, message: refusal.message.clone(), injected };
    match (&verdict.result, stopped, told) {
        (Err(refusal), _, _) | (Ok(Effect::Applied(_)), Some(refusal), _) => Some(tell(refusal)),
        (Ok(Effect::Kept(Reason::ManagedByController)), _, _) => {
            let owner = workload.controller.as_deref().unwrap_or("another controller");
            let message = format!("{owner} renders this workload and would revert the change: configure the sidecar there");
            Some(Outcome { reason: Reason::ManagedByController, message, injected })
        }
        (Ok(Effect::Applied(_) | Effect::Kept(_)), _, Some(told)) => Some(tell(told)),
        (Ok(Effect::Applied(warnings)), None, None) => {
            let reason = match workload.standing.reason() {
                Reason::Available if is_soaking && workload.standing.pods > 0 => Reason::Soaking,
                reason => reason,
            };
            let told = Some(workload.standing.told()).filter(|told| !told.is_empty());
            let messages: Vec<String> = told.into_iter().chain(warnings.iter().map(Warning::to_string)).collect();
            Some(Outcome { reason, message: messages.join("; "), injected })
        }
        (Ok(Effect::Kept(reason)), _, None) => Some(Outcome::new(*reason, injected)),
        (Ok(Effect::Removed), Some(refusal), _) if injected => Some(tell(refusal)),
        (Ok(Effect::Removed), None, Some(told)) if injected || told.reason == Reason::RolledBack => Some(tell(told)),
        (Ok(Effect::Removed | Effect::Orphaned), _, _) => None,
    }
}

/// What a plan would change, for people.
pub(super) fn summary(template: &Value, plan: &Plan) -> String {
    let keys = |ledger: Option<&Ledger>| -> BTreeSet<Key> {
        ledger.into_iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys().cloned()).collect()
    };
    let after = keys(plan.ledger.as_ref());
    let told = after.iter().filter_map(|key| match (key.get(template), key.get(&plan.template)) {
        (None, Some(_)) => Some(format!("+{key}")),
        (Some(before), Some(after)) if before != after => Some(format!("~{key}")),
        _ => None,
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "it would be taken out".to_owned() } else { format!("would be changed: {}", told.join(", ")) }
}
