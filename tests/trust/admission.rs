//! An admission plugin that rewrites what we put in: what the API server makes of it is as good as it gets, and is written once.

use serde_json::json;

use crate::{
    controller::Controller,
    kubernetes::{eventually, kubectl},
    proxy::Request,
    stage::{SIDECAR, Stage},
};

/// A `MutatingAdmissionPolicy` of one stage; its mutations are those of Deployments.
struct Policy(String);

impl Policy {
    fn new(stage: &Stage, mutation: &str) -> Self {
        let name = stage.namespace.name.clone();
        kubectl(&["label", "namespace", &name, &format!("stage={name}")], "");
        let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1beta1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": name}, "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"stage": name}},
                "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}],
            },
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": mutation}}],
        }});
        let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1beta1", "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": {"policyName": name}});
        kubectl(&["apply", "-f", "-"], &format!("{policy}\n---\n{binding}"));
        Self(name)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        kubectl(&["delete", "mutatingadmissionpolicybindings,mutatingadmissionpolicies", &self.0], "");
    }
}

/// Images from a mirror, as companies without access to public registries have it.
const MIRROR: &str = "[0, 1, 2].filter(i, i < size(object.spec.template.spec.?initContainers.orValue([])) && !object.spec.template.spec.initContainers[i].image.startsWith('mirror/'))
    .map(i, JSONPatch{op: 'replace', path: '/spec/template/spec/initContainers/' + string(i) + '/image', value: 'mirror/' + object.spec.template.spec.initContainers[i].image})";

/// Defaults for whatever has none.
const DEFAULTS: &str = "[0, 1, 2].filter(i, i < size(object.spec.template.spec.?initContainers.orValue([])))
    .map(i, JSONPatch{op: 'add', path: '/spec/template/spec/initContainers/' + string(i) + '/imagePullPolicy', value: 'Always'})";

fn written(controller: &Controller) -> usize {
    controller.proxy.count(Request::writes_workload)
}

fn dry_runs(controller: &Controller) -> usize {
    controller.proxy.count(|request| request.resource == "deployments" && request.dry_run)
}

/// Waits until the controller has looked at everything that happened before: a Deployment that is made now is injected after it.
fn fence(stage: &Stage, number: usize) {
    let name = format!("fence-{number}");
    let manifest =
        |text: &str| text.replace("name: web", &format!("name: {name}")).replace("app: web", &format!("app: {name}"));
    std::fs::write(stage.folder().join("fence.yaml"), manifest(crate::stage::WORKLOAD)).expect("written");
    stage.run("kubectl apply -f fence.yaml");
    stage.namespace.apply(&manifest(SIDECAR).replace("name: ship", &format!("name: ship-{number}")));
    stage.namespace.wait_ready(&format!("ship-{number}"));
}

fn settles(case: &str, mutation: &str, pointer: &str, rewritten: &str) {
    let stage = Stage::new(case);
    let _policy = Policy::new(&stage, mutation);
    eventually("the policy to be in force", || {
        stage.run("kubectl delete deployment web --ignore-not-found; kubectl apply -f web.yaml");
        (stage.template().pointer(pointer).and_then(serde_json::Value::as_str) == Some(&rewritten.replace("1.37.0", "1.36")))
            .then_some(())
    });
    let before = stage.template();
    let templates = stage.templates();
    let controller = stage.controller();
    controller.start();
    stage.namespace.apply(SIDECAR);
    stage.namespace.wait_ready("ship");
    assert_eq!(stage.template().pointer(&pointer.replace("/0/", "/1/")).and_then(serde_json::Value::as_str), Some(rewritten));
    stage.run("kubectl annotate deployment/web look=here; kubectl scale deployment/web --replicas=1");
    fence(&stage, 1);
    // One for the target and one for the fence.
    assert_eq!((written(&controller), dry_runs(&controller)), (2, 0), "at rest");

    controller.proxy.kill();
    controller.start();
    fence(&stage, 2);
    assert_eq!(written(&controller), 3, "after a restart");
    assert!(dry_runs(&controller) <= 2, "{} dry-runs for two targets", dry_runs(&controller));
    stage.run("kubectl annotate --overwrite deployment/web look=again");
    fence(&stage, 3);
    assert_eq!(written(&controller), 4, "at rest");
    assert!(dry_runs(&controller) <= 3, "{} dry-runs for three targets", dry_runs(&controller));
    assert_eq!(stage.templates(), templates + 1);
    stage.uninject();
    assert_eq!(stage.template(), before);
}

#[test]
fn images_from_a_mirror() {
    settles("admission-mirror", MIRROR, "/spec/initContainers/0/image", "mirror/busybox:1.37.0");
}

#[test]
fn defaults_that_are_not_ours() {
    settles("admission-defaults", DEFAULTS, "/spec/initContainers/0/imagePullPolicy", "Always");
}
