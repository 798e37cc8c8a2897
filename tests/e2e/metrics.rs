//! What the controllers tell Prometheus, as it is scraped.

use serde_json::{Value, json};

use crate::cluster::{Namespace, eventually, kubectl, try_kubectl};
use logsidecar::controller::metrics::NAMES;

/// What each controller says.
fn scraped() -> Vec<String> {
    let pods = ["-n", "logsidecar-system", "get", "pods", "-l", "app.kubernetes.io/name=logsidecar", "-o", "json"];
    let pods: Value = serde_json::from_str(&kubectl(&pods, "")).expect("JSON");
    let names = pods["items"].as_array().expect("pods").iter().filter_map(|pod| pod["metadata"]["name"].as_str());
    let path = |pod: &str| format!("/api/v1/namespaces/logsidecar-system/pods/{pod}:8080/proxy/metrics");
    names.filter_map(|pod| try_kubectl(&["get", "--raw", &path(pod)], "").ok()).collect()
}

#[test]
fn metrics_say_what_happens_and_name_no_object() {
    let namespace = Namespace::new("metrics");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 0,
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app", "image": "x"}]}}}});
    namespace.apply(&deployment.to_string());
    let sidecar = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"name": "web"}, "logs": [{"name": "l", "directory": "/l"}]}});
    namespace.apply(&sidecar.to_string());
    namespace.wait_ready("ship");
    // Another case restarts the controllers: then there may be none for a moment.
    let all = eventually("one leader that has written", || {
        let all = scraped();
        let leads = all.iter().filter(|text| text.contains("\nlogsidecar_leader 1\n")).count();
        let has_written = all.iter().any(|text| text.contains("\nlogsidecar_targets{reason="));
        (leads == 1 && has_written).then_some(all)
    });
    for text in &all {
        for (name, help) in NAMES.iter().filter(|_| text.contains("\nlogsidecar_leader 1\n")) {
            assert!(text.contains(&format!("# HELP {name} {help}")), "{name} in {text}");
        }
        assert!(!text.contains(&namespace.name) && text.ends_with("# EOF\n"), "{text}");
    }
}
