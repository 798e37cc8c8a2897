//! The command line refuses what the API server would, with the same words, and no rule goes untested.

use serde_json::{Value, json};

use crate::{logsidecar::run, rules};

fn refusal(name: &str, spec: &Value) -> String {
    let object =
        json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": name}, "spec": spec});
    run(&["validate", "-f", "-"], object.to_string().as_bytes()).stderr
}

#[test]
fn every_rule_refuses_its_bad_object_offline() {
    for (message, spec) in rules::broken() {
        let said = refusal("web", &spec);
        assert!(said.trim_end().ends_with(&format!(": {message}")) && said.lines().count() == 1, "{spec}: {said}");
    }
    let (message, name) = rules::NAME;
    let said = refusal(name, &json!({"target": {"name": "web"}, "logs": [{"name": "a", "directory": "/l"}]}));
    let (field, rule) = message.split_once(' ').expect("it begins with the field");
    assert_eq!(said, format!("error: -:1: LogSidecar default/{name}: {field}: {rule}\n"));
}

#[test]
fn every_rule_has_its_bad_object() {
    let crd = serde_json::to_value(logsidecar::api::definition()).expect("JSON");
    let mut tested: Vec<&str> = rules::broken().into_iter().map(|(message, _)| message).chain([rules::NAME.0]).collect();
    tested.sort_unstable();
    tested.dedup();
    assert_eq!(messages(&crd), tested);
}

/// The messages of all rules of the CRD.
fn messages(crd: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(crd, &mut found);
    found.sort();
    found.dedup();
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(rules)) = map.get("x-kubernetes-validations") {
                found.extend(rules.iter().filter_map(|rule| rule["message"].as_str().map(str::to_owned)));
            }
            map.values().for_each(|value| collect(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
