//! A kind of workload that is not Kubernetes' own, by configuration of the controller: only the shape of Argo's `Rollout` is here,
//! and nobody who serves it.

use serde_json::{Value, json};

use crate::{
    kubernetes::{eventually, kubectl, try_kubectl},
    stage::Stage,
};

fn crd() -> String {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": {"plural": "rollouts", "singular": "rollout", "kind": "Rollout"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
    .to_string()
}

const ROLES: &str = "
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: logsidecar-rollouts}, rules: [{apiGroups: [argoproj.io], resources: [rollouts], verbs: [get, list, watch, patch]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: logsidecar-rollouts}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: logsidecar-rollouts}, subjects: [{kind: ServiceAccount, name: logsidecar, namespace: logsidecar-system}]}
";

fn sidecar(target: &Value, image: &str) -> String {
    json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": target, "logs": [{"name": "app", "directory": "/logs"}], "sidecar": {"container": {"image": image}}}})
    .to_string()
}

#[test]
fn a_custom_resource_is_injected_changed_and_taken_out() {
    kubectl(&["apply", "-f", "-"], ROLES);
    let stage = Stage::new("argo");
    let controller = stage.controller_with(&["--workload-kind=argoproj.io/v1alpha1/Rollout=/spec/template"]);
    // Nobody serves it yet, and all others are served all the same.
    drop(try_kubectl(&["delete", "crd", "rollouts.argoproj.io"], ""));
    controller.start();
    stage.namespace.apply(crate::stage::WORKLOAD);
    stage.inject(crate::stage::SIDECAR);
    stage.uninject();
    kubectl(&["apply", "-f", "-"], &crd());
    kubectl(&["wait", "crd/rollouts.argoproj.io", "--for=condition=Established", "--timeout=180s"], "");
    let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"}, "spec": {
        "replicas": 1, "strategy": {"canary": {}}, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}}});
    // It takes a moment until it is served everywhere.
    eventually("the custom resource", || {
        try_kubectl(&["-n", &stage.namespace.name, "apply", "-f", "-"], &rollout.to_string()).ok()
    });
    let spec = || stage.namespace.json(&["get", "rollout", "web"])["spec"].clone();
    let before = spec();
    let target = json!({"apiGroup": "argoproj.io", "kind": "Rollout", "name": "web"});
    for image in ["ship:1", "ship:2"] {
        stage.namespace.apply(&sidecar(&target, image));
        eventually("the sidecar", || (spec()["template"]["spec"]["containers"][1]["image"] == image).then_some(()));
        stage.namespace.wait_ready("ship");
    }
    assert_eq!(spec()["strategy"], before["strategy"]);
    stage.uninject();
    assert_eq!(spec(), before);
    // Whoever is not set up for it says so.
    let other = Stage::new("argo-not");
    let controller = other.controller();
    controller.start();
    other.namespace.apply(&sidecar(&target, "ship:1"));
    let condition = other.namespace.settled("ship", |status| status == "False");
    assert_eq!(condition["reason"], "KindNotSupported");
    assert!(condition["message"].as_str().is_some_and(|said| said.contains("--workload-kind")), "{condition}");
}
