//! What a careful engineer would want to know of a change before it is made.

use serde_json::Value;

use super::{super::cache::Sidecar, listed::Listed, look::Seen};
use crate::{
    api::{Reason, RolloutMode},
    plan::Effect,
    rollout::settings::Settings,
    workload::key::Key,
};

pub(super) fn warnings(listed: &Listed, seen: &Seen, sidecars: &[Sidecar], answer: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let standing = &listed.workload.standing;
    if *answer != seen.template {
        if standing.recreates && standing.pods > 0 {
            warnings.push("its strategy is Recreate: all of its pods stop before new ones start".to_owned());
        }
        warnings.extend(listed.hold.map(held).map(str::to_owned));
    }
    for verdict in &seen.plan.verdicts {
        if let Ok(Effect::Applied(said)) = &verdict.result
            && seen.movers.contains(&verdict.name)
        {
            warnings.extend(said.iter().map(ToString::to_string));
        }
    }
    warnings.extend(unlimited(seen, answer));
    let has = |name: &str| seen.ledger.as_ref().is_some_and(|ledger| ledger.entry(name, None).is_some());
    let newcomers: Vec<&str> = seen.movers.iter().map(String::as_str).filter(|name| !has(name)).collect();
    if newcomers.len() > 1 {
        let names = newcomers.join(", ");
        warnings.push(format!(
            "of {names}, the one that the controller sees first comes first, and the pods may be replaced once for each"
        ));
    }
    if !seen.plan.handed_over.is_empty() {
        let keys: Vec<String> = seen.plan.handed_over.iter().map(Key::to_string).collect();
        warnings.push(format!("left in the template, as somebody else has changed or uses it: {}", keys.join(", ")));
    }
    for sidecar in sidecars.iter().filter(|sidecar| seen.movers.contains(&sidecar.key.name)) {
        let rollout = sidecar.spec.as_ref().ok().and_then(|spec| spec.rollout.as_ref());
        if Settings::of(rollout).mode == RolloutMode::Plan {
            let name = &sidecar.key.name;
            warnings.push(format!(
                "spec.rollout.mode of LogSidecar {name} is Plan: the controller changes nothing until it is Apply"
            ));
        }
    }
    warnings
}

fn held(why: Reason) -> &'static str {
    match why {
        Reason::Paused => "it is paused: its pods are replaced when it is resumed",
        Reason::OnDelete => "its update strategy is OnDelete: each pod gets the sidecar when you delete the old one",
        _ => "its update strategy has a partition: the pods below it get the sidecar when you lower it",
    }
}

/// Volumes that come without a limit.
fn unlimited(seen: &Seen, answer: &Value) -> Vec<String> {
    let entries = seen.plan.ledger.iter().flat_map(|ledger| &ledger.sidecars);
    let volumes = entries.flat_map(|entry| entry.items.keys()).filter(|key| matches!(key, Key::Volume(_)));
    let mut names: Vec<String> = volumes
        .filter(|key| key.get(&seen.template).is_none())
        .filter(|key| {
            let directory = key.get(answer).and_then(|volume| volume.get("emptyDir"));
            directory.is_some_and(|directory| directory.get("sizeLimit").is_none())
        })
        .map(|key| match key {
            Key::Volume(name) => name.clone(),
            other => other.to_string(),
        })
        .collect();
    names.sort();
    names.dedup();
    let told = |name| {
        format!("volume {name} has no sizeLimit: an application that never rotates its files fills the disk of the node")
    };
    names.into_iter().map(told).collect()
}
