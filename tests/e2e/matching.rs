//! Which workloads are meant, and what is said about those that cannot be served.

use serde_json::{Value, json};

use crate::cluster::{Namespace, eventually};

fn deployment(namespace: &Namespace, name: &str, change: impl FnOnce(&mut Value)) {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "busybox:1.36"}]}}},
    });
    change(&mut object);
    namespace.apply(&object.to_string());
}

fn sidecar(namespace: &Namespace, name: &str, target: &Value) {
    let object = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": name}, "spec": {
        "target": target, "logs": [{"name": "logs", "directory": "/l"}], "sidecar": {"container": {"image": "busybox:1.36"}}}});
    namespace.apply(&object.to_string());
}

/// The reason of the condition, once every target has been looked at.
fn reason(namespace: &Namespace, name: &str, ready: &str) -> Value {
    eventually("a verdict", || {
        let reason = namespace.settled(name, |status| status == ready)["reason"].clone();
        (reason != "Progressing").then_some(reason)
    })
}

#[test]
fn a_workload_may_come_later_and_come_again() {
    let namespace = Namespace::new("later");
    sidecar(&namespace, "ship", &json!({"name": "web"}));
    assert_eq!(reason(&namespace, "ship", "False"), "TargetNotFound");
    for _ in 0..2 {
        deployment(&namespace, "web", |_| {});
        namespace.wait_ready("ship");
        assert_eq!(namespace.template("web")["spec"]["containers"][1]["name"], "ship");
        namespace.kubectl(&["delete", "deployment/web"]);
        eventually("the target to be missed", || (reason(&namespace, "ship", "False") == "TargetNotFound").then_some(()));
    }
}

#[test]
fn a_selector_that_matches_nothing_is_no_failure() {
    let namespace = Namespace::new("none");
    sidecar(&namespace, "ship", &json!({"selector": {"matchLabels": {"none": "such"}}}));
    assert_eq!(reason(&namespace, "ship", "True"), "NoTargets");
}

#[test]
fn another_namespace_is_never_touched() {
    let (here, there) = (Namespace::new("here"), Namespace::new("there"));
    deployment(&there, "web", |_| {});
    let before = there.template("web");
    sidecar(&here, "ship", &json!({"name": "web"}));
    assert_eq!(reason(&here, "ship", "False"), "TargetNotFound");
    deployment(&here, "web", |_| {});
    here.wait_ready("ship");
    assert_eq!(there.template("web"), before);
}

#[test]
fn what_cannot_be_served_is_said_and_left_alone() {
    let namespace = Namespace::new("refused");
    deployment(&namespace, "web", |object| {
        object["spec"]["template"]["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]);
    });
    let before = namespace.template("web");
    sidecar(&namespace, "ship", &json!({"name": "web"}));
    assert_eq!(reason(&namespace, "ship", "False"), "ContainerAmbiguous");
    let status = namespace.json(&["get", "logsidecar", "ship"])["status"].clone();
    assert_eq!(status["targets"][0]["message"], "the pod has several containers: write one of a, b in logs[logs].container");
    let stalled = status["conditions"].as_array().expect("conditions").iter().find(|condition| condition["type"] == "Stalled");
    assert_eq!(stalled.expect("Stalled")["status"], "True");
    assert_eq!(namespace.template("web"), before);
}

#[test]
fn the_workload_of_another_controller_is_left_to_it() {
    let namespace = Namespace::new("owned");
    deployment(&namespace, "web", |object| {
        object["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "controller": true,
            "uid": owner(&namespace)}]);
    });
    let before = namespace.template("web");
    sidecar(&namespace, "ship", &json!({"name": "web"}));
    assert_eq!(reason(&namespace, "ship", "False"), "ManagedByController");
    assert_eq!(namespace.template("web"), before);
}

fn owner(namespace: &Namespace) -> String {
    namespace.kubectl(&["create", "configmap", "owner"]);
    namespace.json(&["get", "configmap", "owner"])["metadata"]["uid"].as_str().expect("a uid").to_owned()
}

#[test]
fn a_copy_of_a_workload_is_left_alone_and_holds_nothing_up() {
    let namespace = Namespace::new("copy");
    deployment(&namespace, "web", |_| {});
    sidecar(&namespace, "ship", &json!({"name": "web"}));
    namespace.wait_ready("ship");
    let live = namespace.kubectl(&["get", "deployment", "web", "-o", "json"]);
    namespace.apply(&live.replace("\"web\"", "\"copy\""));
    let copied = namespace.template("copy");
    assert_eq!(copied["spec"]["containers"][1]["name"], "ship");
    namespace.kubectl(&["delete", "logsidecar/ship", "--timeout=180s"]);
    assert_eq!(namespace.template("web")["spec"]["containers"].as_array().map(Vec::len), Some(1));
    assert_eq!(namespace.template("copy"), copied);
}

#[test]
fn a_workload_made_anew_from_its_own_yaml_is_cleaned_like_any_other() {
    let namespace = Namespace::new("anew");
    deployment(&namespace, "web", |_| {});
    let before = namespace.template("web");
    sidecar(&namespace, "ship", &json!({"name": "web"}));
    namespace.wait_ready("ship");
    let live = namespace.kubectl(&["get", "deployment", "web", "-o", "yaml"]);
    namespace.kubectl(&["delete", "deployment/web"]);
    namespace.apply(&live);
    let uid = |object: &Value| object["metadata"]["uid"].as_str().map(str::to_owned).unwrap_or_default();
    eventually("the ledger to be the new workload's", || {
        let object = namespace.json(&["get", "deployment", "web"]);
        let ledger = object["metadata"]["annotations"]["logsidecar.dev/injected"].as_str()?.to_owned();
        ledger.contains(&uid(&object)).then_some(())
    });
    namespace.kubectl(&["delete", "logsidecar/ship", "--timeout=180s"]);
    assert_eq!(namespace.template("web"), before);
}

#[test]
fn one_that_is_refused_holds_no_other_up() {
    let namespace = Namespace::new("hostage");
    deployment(&namespace, "web", |_| {});
    let before = namespace.template("web");
    sidecar(&namespace, "ship", &json!({"name": "web"}));
    namespace.wait_ready("ship");
    let bad = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "bad"}, "spec": {
        "target": {"name": "web"}, "logs": [{"name": "logs", "directory": "/l"}],
        "sidecar": {"container": {"image": "x", "ports": [{"containerPort": 99_999_999}]}}}});
    namespace.apply(&bad.to_string());
    eventually("the refusal", || (reason(&namespace, "bad", "False") == "Rejected").then_some(()));
    namespace.wait_ready("ship");
    namespace.kubectl(&["delete", "logsidecar/ship", "--timeout=180s"]);
    assert_eq!(namespace.template("web"), before);
}

#[test]
fn a_kind_that_cannot_change_is_for_files() {
    let namespace = Namespace::new("kind");
    sidecar(&namespace, "ship", &json!({"kind": "Pod", "name": "web"}));
    assert_eq!(reason(&namespace, "ship", "False"), "KindNotSupported");
    namespace.kubectl(&["delete", "logsidecar/ship", "--timeout=180s"]);
}

#[test]
fn what_the_api_server_refuses_is_said_and_not_sent_again_and_again() {
    let namespace = Namespace::new("rejected");
    deployment(&namespace, "web", |_| {});
    let object = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"name": "web"}, "logs": [{"name": "logs", "directory": "/l"}],
        "sidecar": {"container": {"image": "x", "env": [{"name": "SECRET", "value": "hunter2", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}}}});
    namespace.apply(&object.to_string());
    eventually("the refusal", || (reason(&namespace, "ship", "False") == "Rejected").then_some(()));
    namespace.kubectl(&["annotate", "deployment/web", "a=b"]);
    namespace.kubectl(&["annotate", "deployment/web", "c=d"]);
    assert_eq!(reason(&namespace, "ship", "False"), "Rejected");
    if let Some(refused) = namespace.answered(422) {
        assert_eq!(refused, 1);
    }
    let said = namespace.json(&["get", "logsidecar", "ship"])["status"].to_string();
    assert!(!said.contains("hunter2"), "{said}");
}
