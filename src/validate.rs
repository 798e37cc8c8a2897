//! What an API server would say about an object, without one.
//!
//! A `LogSidecar` is held against the very schema and CEL rules of the CRD, with unknown fields refused as
//! `kubectl apply` refuses them. Of a workload, the parts that planning reads are held against Kubernetes' own types; its
//! unknown fields are nobody's business here. Pure.

mod explain;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use kube::core::cel;
use serde_json::{Map, Value, json};

use self::{
    explain::{check, wrong_type},
    schema::{LOG_SIDECAR, METADATA, POD_TEMPLATE},
};
use crate::workload::{key::list, kind::Kind};

/// Something wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field, as a JSON pointer from the root of the object.
    pub pointer: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Problem {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    /// The field as people write it: `spec.logs[0].directory`.
    #[must_use]
    pub fn field(&self) -> String {
        let mut field = String::new();
        for step in self.pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")) {
            if step.bytes().all(|byte| byte.is_ascii_digit()) || step.contains(['.', '/']) {
                field.push_str(&format!("[{step}]"));
            } else {
                field.push_str(if field.is_empty() { "" } else { "." });
                field.push_str(&step);
            }
        }
        field
    }
}

/// Everything wrong with a `LogSidecar`. Empty: an API server would take it.
#[must_use]
pub fn log_sidecar(object: &Value) -> Vec<Problem> {
    let object = without_nulls(object);
    let mut problems = check(&LOG_SIDECAR.0, &object, "");
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    problems.extend(name_problem(metadata, &["name"]));
    problems.extend(duplicates(list(object.get("spec").unwrap_or(&Value::Null), "logs"), "name", "/spec/logs"));
    if !problems.is_empty() {
        return keep_most_specific(problems);
    }
    // As on an API server, rules are for objects of the right shape.
    let broken = cel::Validator::new().validate(&LOG_SIDECAR.1, &object, None).err();
    let broken = broken.into_iter().flat_map(cel::ValidationErrors::into_vec);
    let mut problems: Vec<Problem> = broken.map(|error| rule_problem(&error.field_path, error.message)).collect();
    problems.sort();
    problems
}

/// Everything wrong with the parts of a workload that planning reads.
#[must_use]
pub fn workload(kind: Kind, object: &Value) -> Vec<Problem> {
    let at = kind.template();
    let object = without_nulls(object);
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let mut problems = check(&METADATA, &metadata, "/metadata");
    problems.extend(name_problem(&metadata, &["name", "generateName"]));
    match object.pointer(at) {
        Some(template) => problems.extend(template_problems(template, at)),
        None => problems.push(missing_template(kind, &object)),
    }
    keep_most_specific(problems)
}

/// An object as an API server sees it: a field that is `null` is absent.
#[must_use]
pub fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect::<Map<_, _>>())
        }
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn template_problems(template: &Value, at: &str) -> Vec<Problem> {
    let mut pod = template.clone();
    if let Some(pod) = pod.as_object_mut() {
        // A Pod is its own template, and more.
        pod.retain(|field, _| field == "metadata" || field == "spec");
    }
    let mut problems = check(&POD_TEMPLATE, &pod, at);
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    if spec.is_null() {
        problems.push(Problem::new(format!("{at}/spec"), "required: the spec of the pods"));
    }
    if !problems.is_empty() {
        return problems;
    }
    if list(spec, "containers").next().is_none() {
        problems.push(Problem::new(format!("{at}/spec/containers"), "must have at least 1 entry"));
    }
    problems.extend(duplicates(list(spec, "volumes"), "name", &format!("{at}/spec/volumes")));
    for field in ["containers", "initContainers"] {
        let at = format!("{at}/spec/{field}");
        problems.extend(duplicates(list(spec, field), "name", &at));
        for (index, container) in list(spec, field).enumerate() {
            let is_init = field == "initContainers";
            problems.extend(container_name_problem(spec, container, is_init, &format!("{at}/{index}/name")));
            problems.extend(duplicates(list(container, "volumeMounts"), "mountPath", &format!("{at}/{index}/volumeMounts")));
        }
    }
    problems
}

/// The problem with the name of a container, whose field is at `at`.
fn container_name_problem(spec: &Value, container: &Value, is_init: bool, at: &str) -> Option<Problem> {
    let name = &container["name"];
    if name == "" {
        return Some(Problem::new(at, "must not be empty"));
    }
    // A name with a colon could not be told from the path of its mount in the ledger.
    if !name.as_str().is_some_and(is_label) {
        return Some(Problem::new(at, format!("must be at most 63 lower-case letters, digits and '-', not {name}")));
    }
    let is_taken = is_init && list(spec, "containers").any(|other| other["name"] == *name);
    is_taken.then(|| Problem::new(at, format!("{name} is the name of another container of the pod")))
}

/// Whether an API server takes it for the name of a container.
fn is_label(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63 && name.chars().all(is_inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// The way to the template ends where something that is no object stands in it.
fn missing_template(kind: Kind, object: &Value) -> Problem {
    let mut at = String::new();
    for step in kind.template().split('/').skip(1) {
        let here = format!("{at}/{step}");
        match object.pointer(&here) {
            Some(value) if !value.is_object() => return Problem::new(here, wrong_type("object", value)),
            Some(_) => at = here,
            None => break,
        }
    }
    Problem::new(kind.template(), format!("required: a {kind} has its pod template here"))
}

/// One mistake, one line: of several things that are said of one field the most telling one, and nothing of what is inside a
/// field that is of a wrong type.
fn keep_most_specific(mut problems: Vec<Problem>) -> Vec<Problem> {
    let rank = |problem: &Problem| match problem.message.as_str() {
        "must not be empty" => 0,
        message if message.starts_with("must be \"") => 1,
        message if message.starts_with("must be ") => 2,
        _ => 3,
    };
    problems.sort_by(|a, b| (&a.pointer, rank(a)).cmp(&(&b.pointer, rank(b))));
    problems.dedup_by(|a, b| a.pointer == b.pointer);
    let wrong: Vec<String> =
        problems.iter().filter(|problem| rank(problem) == 2).map(|problem| format!("{}/", problem.pointer)).collect();
    problems.retain(|problem| !wrong.iter().any(|above| problem.pointer.starts_with(above)));
    problems
}

/// An object needs a name, in one of these fields.
fn name_problem(metadata: &Value, fields: &[&str]) -> Option<Problem> {
    match fields.iter().find_map(|field| metadata.get(field)) {
        None => Some(Problem::new("/metadata/name", "required, but missing")),
        Some(Value::String(name)) if name.is_empty() => Some(Problem::new("/metadata/name", "must not be empty")),
        Some(_) => None,
    }
}

/// A rule about the object's own name stands at the root of the schema, where alone it can see it.
fn rule_problem(path: &str, message: String) -> Problem {
    match message.strip_prefix("metadata.name ") {
        Some(message) if path.is_empty() => Problem::new("/metadata/name", message),
        _ => Problem::new(pointer(path), message),
    }
}

/// Entries of a list that is a map by `key` for the API server.
fn duplicates<'a>(items: impl Iterator<Item = &'a Value>, key: &str, at: &str) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let mut problems = BTreeMap::new();
    for item in items.filter_map(|item| item.get(key)?.as_str()) {
        if !seen.insert(item) {
            problems.insert(item, Problem::new(at, format!("two entries have the {key} \"{item}\"")));
        }
    }
    problems.into_values().collect()
}

/// From CEL's `spec.logs[0].directory` to a JSON pointer.
fn pointer(path: &str) -> String {
    let steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty());
    steps.map(|step| format!("/{step}")).collect()
}

#[cfg(test)]
mod tests;
