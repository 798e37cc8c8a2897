//! What the controllers tell Prometheus, as it is scraped.

use logsidecar::operator::metrics::NAMES;
use serde_json::Value;

use crate::{
    cluster::{eventually, kubectl, try_kubectl},
    uninstall::injected,
};

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
    let (namespace, _) = injected("metrics");
    // Another case restarts the controllers: then there may be none for a moment.
    let leads = |text: &&String| text.contains("\nlogsidecar_leader 1\n");
    let all = eventually("one leader that knows of targets", || {
        let all = scraped();
        let knows_targets = all.iter().any(|text| text.contains("\nlogsidecar_targets{reason="));
        (all.iter().filter(leads).count() == 1 && knows_targets).then_some(all)
    });
    for (text, (name, help)) in all.iter().filter(leads).flat_map(|text| NAMES.map(|metric| (text, metric))) {
        assert!(text.contains(&format!("# HELP {name} {help}")), "{name} in {text}");
    }
    for text in &all {
        assert!(!text.contains(&namespace.name) && text.ends_with("# EOF\n"), "{text}");
    }
}
