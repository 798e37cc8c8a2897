//! What a careful engineer would want to know of a change before it is made.

use std::collections::BTreeSet;

use serde_json::Value;

use super::observe::{Inspected, ListedWorkload};
use crate::{
    api::{Reason, RolloutMode},
    decide::decision::Write,
    plan::{Effect, Plan},
    workload::key::Key,
};

/// The warnings about a write, given the template that the API server answers.
pub(super) fn warnings(
    listed: &ListedWorkload,
    inspected: &Inspected<'_>,
    write: &Write,
    movers: &BTreeSet<String>,
    answer: &Value,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let (status, observation) = (&listed.workload.status, &inspected.observation);
    if *answer != observation.template {
        if status.recreates && status.pods > 0 {
            warnings.push("its strategy is Recreate: all of its pods stop before new ones start".to_owned());
        }
        warnings.extend(listed.hold.map(hold_message).map(str::to_owned));
    }
    for result in &write.plan.results {
        if let Ok(Effect::Applied(said)) = &result.result
            && movers.contains(&result.name)
        {
            warnings.extend(said.iter().map(ToString::to_string));
        }
    }
    warnings.extend(unlimited(&observation.template, &write.plan, answer));
    warnings.extend(several_newcomers(inspected, movers));
    if !write.plan.handed_over.is_empty() {
        let keys: Vec<String> = write.plan.handed_over.iter().map(Key::to_string).collect();
        warnings.push(format!("left in the template, as somebody else has changed or uses it: {}", keys.join(", ")));
    }
    warnings
}

/// The warning about a `LogSidecar` in `mode: Plan` whose change is shown.
pub(super) fn mode_warning(name: &str, mode: RolloutMode) -> Option<String> {
    (mode == RolloutMode::Plan)
        .then(|| format!("spec.rollout.mode of LogSidecar {name} is Plan: the controller changes nothing until it is Apply"))
}

fn hold_message(why: Reason) -> &'static str {
    match why {
        Reason::Paused => "it is paused: its pods are replaced when it is resumed",
        Reason::OnDelete => "its update strategy is OnDelete: each pod gets the sidecar when you delete the old one",
        _ => "its update strategy has a partition: the pods below it get the sidecar when you lower it",
    }
}

fn several_newcomers(inspected: &Inspected<'_>, movers: &BTreeSet<String>) -> Option<String> {
    let ledger = inspected.observation.ledger.as_ref();
    let is_in = |name: &str| ledger.is_some_and(|ledger| ledger.entry(name, None).is_some());
    let newcomers: Vec<&str> = movers.iter().map(String::as_str).filter(|name| !is_in(name)).collect();
    (newcomers.len() > 1).then(|| {
        let names = newcomers.join(", ");
        format!("of {names}, the one that the controller sees first comes first, and the pods may be replaced once for each")
    })
}

/// Volumes that come without a limit.
fn unlimited(before: &Value, plan: &Plan, answer: &Value) -> Vec<String> {
    let entries = plan.ledger.iter().flat_map(|ledger| &ledger.sidecars);
    let is_unlimited = |key: &&Key| {
        let directory = key.get(answer).and_then(|volume| volume.get("emptyDir"));
        directory.is_some_and(|directory| directory.get("sizeLimit").is_none())
    };
    let volumes = entries.flat_map(|entry| entry.items.keys()).filter(|key| key.get(before).is_none()).filter(is_unlimited);
    let names: BTreeSet<&String> = volumes
        .filter_map(|key| match key {
            Key::Volume(name) => Some(name),
            Key::InitContainer(_) | Key::Container(_) | Key::Mount { .. } => None,
        })
        .collect();
    let warning = |name| {
        format!("volume {name} has no sizeLimit: an application that never rotates its files fills the disk of the node")
    };
    names.into_iter().map(warning).collect()
}
