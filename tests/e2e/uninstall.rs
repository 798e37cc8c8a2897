//! The order of uninstalling, and the way out for whoever did it in another order. Takes the controller away from under all
//! other cases, so it runs after them.

use serde_json::{Value, json};

use crate::cluster::{Namespace, eventually, kubectl, left_out, requests, try_kubectl};

/// A workload without pods that has its sidecar, and the template that it had before.
pub fn injected(case: &str) -> (Namespace, Value) {
    let namespace = Namespace::new(case);
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 0,
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app", "image": "x"}]}}}});
    namespace.apply(&deployment.to_string());
    let before = namespace.template("web");
    let sidecar = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"name": "web"}, "logs": [{"name": "l", "directory": "/l"}]}});
    namespace.apply(&sidecar.to_string());
    namespace.wait_ready("ship");
    (namespace, before)
}

fn controller(replicas: &str) {
    kubectl(&["-n", "logsidecar-system", "scale", "deployment/logsidecar", &format!("--replicas={replicas}")], "");
    kubectl(&["-n", "logsidecar-system", "rollout", "status", "deployment/logsidecar", "--timeout=180s"], "");
    if replicas == "0" {
        kubectl(&["-n", "logsidecar-system", "wait", "pods", "--all", "--for=delete", "--timeout=180s"], "");
    }
}

#[test]
fn whatever_all_cases_asked_for_the_shipped_roles_allowed() {
    match requests() {
        None => left_out("whatever_all_cases_asked_for_the_shipped_roles_allowed", "this cluster's audit log cannot be read"),
        Some(requests) => {
            // A 403 alone may also say that the namespace is being deleted.
            let is_denied = |event: &Value| event["annotations"]["authorization.k8s.io/decision"] == "forbid";
            let denied: Vec<_> = requests.into_iter().filter(is_denied).collect();
            assert!(denied.is_empty(), "{denied:#?}");
        }
    }
}

#[test]
fn uninstall_in_the_right_order_and_in_the_wrong_one() {
    // The controller ends by itself when it is asked to.
    let all = ["-n", "logsidecar-system", "logs", "-f", "--tail=-1", "-l", "app.kubernetes.io/name=logsidecar"];
    let follow = std::thread::spawn(move || try_kubectl(&all, ""));

    // Right: the LogSidecars first. Everything is clean, and nothing hangs.
    let (namespace, before) = injected("uninstall");
    namespace.kubectl(&["delete", "logsidecars", "--all", "--timeout=180s"]);
    assert_eq!(namespace.template("web"), before);

    // Wrong: the controller first. The LogSidecar waits for somebody to release its workloads …
    let (namespace, _) = injected("uninstall-wrong");
    controller("0");
    let log = follow.join().expect("followed").expect("the log");
    assert!(log.contains(r#""message":"stopped"}"#), "{log}");
    namespace.kubectl(&["delete", "logsidecar/ship", "--wait=false"]);
    let object = namespace.json(&["get", "logsidecar", "ship"]);
    assert!(object["metadata"]["deletionTimestamp"].is_string());
    // … either the controller, when it comes back …
    controller("2");
    eventually("released", || try_kubectl(&["-n", &namespace.name, "get", "logsidecar", "ship"], "").is_err().then_some(()));
    assert_eq!(namespace.template("web")["spec"]["containers"].as_array().map(Vec::len), Some(1));

    // … or a person, who takes the finalizer away and cleans the workloads with the command line.
    let (namespace, before) = injected("uninstall-by-hand");
    controller("0");
    namespace.kubectl(&["delete", "logsidecar/ship", "--wait=false"]);
    namespace.kubectl(&["patch", "logsidecar/ship", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    let live = namespace.kubectl(&["get", "deployment", "web", "-o", "yaml"]);
    let cleaned = crate::cluster::logsidecar(&["uninject", "-f", "-"], &live);
    kubectl(&["-n", &namespace.name, "replace", "-f", "-"], &cleaned);
    assert_eq!(namespace.template("web"), before);
    controller("2");
}
