//! The API server refuses what the schema refuses, with a message that helps.

use serde_json::{Value, json};

use crate::{
    cluster::{Namespace, try_kubectl},
    rules,
};

fn refusal(namespace: &Namespace, name: &str, spec: &Value) -> String {
    let object =
        json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": name}, "spec": spec});
    try_kubectl(&["-n", &namespace.name, "apply", "--dry-run=server", "-f", "-"], &object.to_string())
        .expect_err("the API server refuses it")
}

fn good() -> Value {
    json!({"target": {"name": "web"}, "logs": [{"name": "a", "directory": "/l"}]})
}

#[test]
fn every_rule_refuses_its_bad_object() {
    let namespace = Namespace::new("schema");
    for (message, spec) in rules::broken() {
        let said = refusal(&namespace, "web", &spec);
        assert!(said.contains(message), "{spec}: {said}");
    }
    let (message, name) = rules::NAME;
    let said = refusal(&namespace, name, &good());
    assert!(said.contains(message), "{said}");
}

#[test]
fn a_misspelt_field_is_refused_and_not_trimmed() {
    let namespace = Namespace::new("misspelt");
    for (pointer, field) in [("", "taget"), ("/target", "nmae"), ("/logs/0", "direktory"), ("/sidecar/container", "imagee")] {
        let mut spec = good();
        spec["sidecar"] = json!({"container": {"image": "x"}});
        spec.pointer_mut(pointer).expect("a place")[field] = "x".into();
        let said = refusal(&namespace, "web", &spec);
        assert!(said.contains("unknown field") && said.contains(field), "{said}");
    }
}

#[test]
fn a_new_object_has_a_status_that_nobody_takes_for_done() {
    let namespace = Namespace::new("status");
    let object =
        json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "web"}, "spec": good()});
    let text = crate::cluster::kubectl(
        &["-n", &namespace.name, "create", "--dry-run=server", "-o", "json", "-f", "-"],
        &object.to_string(),
    );
    let created: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(created["status"]["observedGeneration"], json!(-1));
}
