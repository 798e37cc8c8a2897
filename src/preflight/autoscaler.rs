//! `HorizontalPodAutoscalers` by utilisation: they divide by requests, and give up on a pod of which one container has none.
//! <https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/controller/podautoscaler/replica_calculator.go>

use serde_json::Value;

use super::{
    Change, Finding, name,
    pod::{Pod, Resources},
};
use crate::workload::key::list;

/// Whom an autoscaler of this workload would wait for in vain.
pub(super) fn unmet(change: &Change<'_>, pod: &Pod<'_>, autoscalers: &[Value]) -> Vec<Finding> {
    // Requests of the pod as a whole come before those of its containers.
    if !Resources::of(pod.spec).requests.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for autoscaler in autoscalers.iter().filter(|autoscaler| scales(autoscaler, change)) {
        for resource in list(&autoscaler["spec"], "metrics").filter_map(utilisation) {
            let lacks = |resources: &Resources| !resources.requests.contains_key(resource);
            let lacking = pod.containers.iter().filter(|container| container.stays() && lacks(&container.resources));
            // Without the name of the container: where one lacks it already, the autoscaler does not work anyway.
            findings.extend(lacking.map(|container| Finding {
                key: format!("autoscaler {} {resource}", name(autoscaler)),
                subject: format!(
                    "HorizontalPodAutoscaler {} scales by the utilisation of {resource} and stops where a container has no request, as {} has none",
                    name(autoscaler),
                    container.name
                ),
                advice: format!("write resources.requests.{resource} in sidecar.container"),
            }));
        }
    }
    findings
}

fn scales(autoscaler: &Value, change: &Change<'_>) -> bool {
    let target = &autoscaler["spec"]["scaleTargetRef"];
    target["kind"] == change.kind.name() && target["name"] == change.name
}

/// The resource of a metric that needs the requests of all containers.
fn utilisation(metric: &Value) -> Option<&str> {
    let resource = metric
        .get("resource")
        .filter(|resource| metric["type"] == "Resource" && resource["target"]["type"] == "Utilization")?;
    resource["name"].as_str()
}

#[cfg(test)]
mod tests {
    use crate::preflight::tests::{Case, app, messages, resources, sidecar};
    use serde_json::{Value, json};

    fn autoscaler(kind: &str, target: &str) -> Value {
        let resource =
            |name: &str, target: &str| json!({"type": "Resource", "resource": {"name": name, "target": {"type": target}}});
        json!({"metadata": {"name": "busy"}, "spec": {
            "scaleTargetRef": {"kind": kind, "name": target},
            "metrics": [resource("cpu", "Utilization"), resource("memory", "AverageValue"), {"type": "External"},
                {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "app", "target": {"type": "Utilization"}}}],
        }})
    }

    #[test]
    fn a_sidecar_without_a_request_stops_the_autoscaler_of_its_workload() {
        let stops = "HorizontalPodAutoscaler busy scales by the utilisation of cpu and stops where a container has no request, as ship has none: write resources.requests.cpu in sidecar.container";
        let ours = autoscaler("Deployment", "web");
        let table = [
            (resources("1", "1Gi"), json!({}), &ours, vec![stops]),
            (resources("1", "1Gi"), json!({"requests": {"cpu": "5m"}}), &ours, vec![]),
            // It did not work before.
            (json!({}), json!({}), &ours, vec![]),
            (resources("1", "1Gi"), json!({}), &autoscaler("Deployment", "other"), vec![]),
            (resources("1", "1Gi"), json!({}), &autoscaler("StatefulSet", "web"), vec![]),
        ];
        for (owner, sidecars, autoscaler, expected) in table {
            let case = Case::puts_in(&app(owner.clone()), &sidecar(sidecars.clone())).autoscaler(autoscaler);
            assert_eq!(messages(&case), expected, "{owner} {sidecars}");
        }
        // One that has ended does not count.
        let mut prepared = app(resources("1", "1Gi"));
        prepared["spec"]["initContainers"] = json!([{"name": "prepare"}]);
        let mut after = prepared.clone();
        after["spec"]["containers"].as_array_mut().expect("a list").push(sidecar(json!({})));
        assert_eq!(messages(&Case::replaces_all(&prepared, &after).autoscaler(&ours)), [stops]);
        let defaults = json!({"spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "1m"}}]}});
        let case = Case::puts_in(&app(resources("1", "1Gi")), &sidecar(json!({}))).autoscaler(&ours);
        assert_eq!(messages(&case.limit_range(&defaults)), [""; 0]);
    }
}
