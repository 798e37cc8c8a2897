//! `logsidecar inject` and `uninject`: the planner on files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Failure,
    configs::Configs,
    files::{Input, Place},
    warn,
};
use crate::{
    api::{LEDGER_ANNOTATION, Reason},
    manifest,
    plan::{
        self, Claim, ConfigMap, Effect, Evidence, Intent, Plan, PlanInput, ResolvedSpec,
        claim::{Lifecycle, LogSidecarView, claims},
        object::{embed, ledger_text},
        target::WorkloadLabels,
    },
    shipper::Images,
    workload::{
        kind::Kind,
        ledger::{Before, Ledger, Origin, ParseLedgerError},
        owned::Owned,
    },
};

/// Puts every `LogSidecar` into the workloads that it matches. All or nothing: one refusal, and nothing is printed.
pub(super) fn inject(mut input: Input, images: &Images) -> Result<String, Failure> {
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    let (mut changed, mut configs) = (Changed::default(), Configs::default());
    let resolved = input.resolve(images);
    for (place, kind) in &input.workloads {
        match injected(&input, place, *kind, &resolved, &mut used) {
            Ok((object, needed)) => {
                configs.need(place, &object, &needed);
                changed.note(&input, place, object);
            }
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Input(problems));
    }
    if input.sidecars.is_empty() {
        warn("no LogSidecar in these files: nothing to inject");
    }
    for (place, _) in &input.sidecars {
        if !used.contains(&place.pointer_key()) {
            warn(&format!("{} matches no workload in these files", input.title(place, "")));
        }
    }
    let sidecars = input.sidecars.iter().map(|(place, _)| place.clone());
    let left_out: Vec<Place> = sidecars.chain(configs.outdated(&input)).collect();
    changed.carry_out(&mut input);
    configs.leave_out_present(&input);
    Ok(output(&mut input, &changed, &configs, &left_out))
}

/// Takes out everything that the ledgers name.
pub(super) fn uninject(mut input: Input) -> Result<String, Failure> {
    let mut problems = Vec::new();
    let mut changed = Changed::default();
    for (place, kind) in &input.workloads {
        match ledger(&input, place) {
            Ok(Some(ledger)) => {
                let intent = Intent::Remove(Evidence::Deleting);
                let (by_policy, entries): (Vec<_>, Vec<_>) =
                    ledger.sidecars.iter().partition(|entry| entry.origin == Origin::Policy);
                for entry in by_policy {
                    warn(&format!(
                        "{}: LogSidecar {}: a policy put it in, and only the LogSidecar itself says what that is: put it in once more with `logsidecar inject`, which finds nothing to change but the annotation, and take that out",
                        input.title(place, ""),
                        entry.name
                    ));
                }
                let entries = entries.into_iter();
                let claims: Vec<Claim<'_>> =
                    entries.map(|entry| Claim { name: &entry.name, uid: None, revision: None, intent }).collect();
                let plan = planned(&input, place, *kind, Some(&ledger), &claims);
                for key in &plan.handed_over {
                    warn(&format!(
                        "{}: {key} has been changed since it was put in, or is used elsewhere, and is left",
                        input.title(place, "")
                    ));
                }
                let mut object = input.object(place).clone();
                embed(&mut object, *kind, plan);
                changed.note(&input, place, object);
            }
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Input(problems));
    }
    changed.carry_out(&mut input);
    let workloads: Vec<String> = input.workloads.iter().map(|(place, _)| input.object(place).to_string()).collect();
    let is_needed = |place: &&Place| {
        let name = input.object(place)["metadata"]["name"].to_string();
        workloads.iter().any(|workload| workload.contains(&name))
    };
    let left_out: Vec<Place> = input.configs.iter().filter(|place| !is_needed(place)).cloned().collect();
    Ok(output(&mut input, &changed, &Configs::default(), &left_out))
}

fn injected(
    input: &Input,
    place: &Place,
    kind: Kind,
    resolved: &[(&Place, ResolvedSpec)],
    used: &mut BTreeSet<(usize, String)>,
) -> Result<(Value, Vec<ConfigMap>), Vec<String>> {
    let object = input.object(place);
    let labels = labels(object);
    let name = object.pointer("/metadata/name").or_else(|| object.pointer("/metadata/generateName"));
    let workload = WorkloadLabels { kind, name: name.and_then(Value::as_str).unwrap_or_default(), labels: &labels };
    let ledger = ledger(input, place).map_err(|problem| vec![problem])?;
    let near: Vec<_> = resolved.iter().filter(|(at, _)| input.namespace(input.object(at)) == input.namespace(object)).collect();
    used.extend(near.iter().filter(|(_, spec)| spec.matches(workload)).map(|(at, _)| at.pointer_key()));
    let known: Vec<LogSidecarView<'_>> = near
        .iter()
        .map(|(_, spec)| LogSidecarView {
            name: spec.name(),
            uid: None,
            created: None,
            revision: None,
            spec: Some(spec),
            deletion: spec.spec().deletion_policy,
            lifecycle: Lifecycle::Live,
        })
        .collect();
    let mut claims = claims(workload, &known, ledger.as_ref());
    for claim in &mut claims {
        // A LogSidecar that is not in these files may well be in others.
        if matches!(claim.intent, Intent::Remove(Evidence::Missing)) {
            claim.intent = Intent::Keep(Reason::Pending);
        }
    }
    let plan = planned(input, place, kind, ledger.as_ref(), &claims);
    let (mut problems, mut needed) = (Vec::new(), Vec::new());
    for (verdict, claim) in plan.results.iter().zip(&claims) {
        match &verdict.result {
            Ok(Effect::Applied(warnings)) => {
                if let Intent::Apply(spec) = claim.intent {
                    needed.extend(spec.config_map().cloned());
                }
                for warning in warnings {
                    warn(&format!("{}: LogSidecar {}: {warning}", input.title(place, kind.template()), verdict.name));
                }
            }
            Ok(Effect::Kept(_) | Effect::Removed | Effect::Orphaned) => {}
            Err(refusal) => problems.push(format!(
                "{}: LogSidecar {}: {}: {refusal}",
                input.title(place, kind.template()),
                verdict.name,
                refusal.reason
            )),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut object = object.clone();
    embed(&mut object, kind, plan);
    Ok((object, needed))
}

fn planned(input: &Input, place: &Place, kind: Kind, ledger: Option<&Ledger>, claims: &[Claim<'_>]) -> Plan {
    let template = input.object(place).pointer(kind.template()).unwrap_or(&Value::Null);
    plan::plan(&PlanInput { uid: None, template, ledger, owned: &Owned::default(), before: Before::Well, kind }, claims)
}

fn ledger(input: &Input, place: &Place) -> Result<Option<Ledger>, String> {
    let Some(text) = ledger_text(input.object(place)) else { return Ok(None) };
    Ledger::parse(text).map(Some).map_err(|error| {
        let at = format!("/metadata/annotations/{}", LEDGER_ANNOTATION.replace('/', "~1"));
        let remedy = match error {
            ParseLedgerError::Shape(_) => "correct it, or take out by hand what was put in",
            ParseLedgerError::Version(_) => "use a newer logsidecar",
        };
        format!("{}: {error}: {remedy}", input.title(place, &at))
    })
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Objects that are not what they were.
#[derive(Default)]
struct Changed(Vec<(Place, Value)>);

impl Changed {
    fn note(&mut self, input: &Input, place: &Place, object: Value) {
        if *input.object(place) != object {
            self.0.push((place.clone(), object));
        }
    }

    fn carry_out(&self, input: &mut Input) {
        for (place, object) in &self.0 {
            if let Some(at) = input.documents[place.document].value.pointer_mut(&place.pointer) {
                at.clone_from(object);
            }
        }
    }
}

impl Place {
    fn pointer_key(&self) -> (usize, String) {
        (self.document, self.pointer.clone())
    }
}

/// All documents in their order: those that did not change as they were written, comments and all.
fn output(input: &mut Input, changed: &Changed, configs: &Configs, removed: &[Place]) -> String {
    let mut out = String::new();
    for (index, document) in input.documents.iter_mut().enumerate() {
        for config in configs.before(index) {
            out.push_str(if out.is_empty() || out.ends_with('\n') { "" } else { "\n" });
            out.push_str(if out.is_empty() { "" } else { "---\n" });
            out.push_str(&manifest::write(config));
        }
        let removed = removed.iter().filter(|place| place.document == index);
        let removed: BTreeSet<&str> = removed.map(|place| place.pointer.as_str()).collect();
        if removed.contains("") {
            continue;
        }
        if !out.is_empty() {
            out.push_str(if out.ends_with('\n') { "" } else { "\n" });
            // Directives belong before the marker of their document.
            out.push_str(if document.text.starts_with('%') { "...\n" } else { "---\n" });
        }
        if removed.is_empty() && !changed.0.iter().any(|(place, _)| place.document == index) {
            out.push_str(&document.text);
            continue;
        }
        remove_items(&mut document.value, "", &removed);
        out.push_str(&manifest::write(&document.value));
    }
    out
}

/// Removes items from a `List` and the lists in it, each named by its JSON pointer in the document as it was read. One pass, so
/// no removal shifts the items that later pointers name.
fn remove_items(list: &mut Value, at: &str, removed: &BTreeSet<&str>) {
    let Some(items) = list.get_mut("items").and_then(Value::as_array_mut).filter(|_| !removed.is_empty()) else { return };
    let mut index = 0;
    items.retain_mut(|item| {
        let pointer = format!("{at}/items/{index}");
        index += 1;
        if removed.contains(pointer.as_str()) {
            return false;
        }
        remove_items(item, &pointer, removed);
        true
    });
}
