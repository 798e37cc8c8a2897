//! Every workload of this suite has a secret as a plain value in its environment, and every case looks for it in what the
//! controller says (see `controller`). These cases make the API server itself repeat the workload.

use serde_json::json;

use crate::{
    kubernetes::eventually,
    proxy::Fault,
    stage::{SECRET, SIDECAR, Stage},
};

/// Waits until a LogSidecar says that it was refused, and how.
fn refusal(stage: &Stage, reason: &str) -> String {
    eventually("the refusal", || {
        let target = stage.namespace.json(&["get", "logsidecar", "ship"])["status"]["targets"][0].clone();
        (target["reason"] == reason).then(|| target["message"].as_str().unwrap_or_default().to_owned())
    })
}

#[test]
fn a_refusal_names_the_field_and_repeats_no_value() {
    let stage = Stage::new("secrets-refused");
    stage.run("kubectl apply -f web.yaml");
    let controller = stage.controller();
    controller.start();
    let container = "sidecar: {container: {image: x, env: [{name: TOKEN, value: SECRET, valueFrom: {fieldRef: {fieldPath: metadata.name}}}], ports: [{containerPort: 99999999}]}}"
        .replace("SECRET", SECRET);
    stage.namespace.apply(&SIDECAR.replace("}]}}", &format!("}}], {container}}}}}")));
    let said = refusal(&stage, "Rejected");
    assert!(said.contains("spec.template.spec.containers[2].ports[0].containerPort"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
    // The object itself holds it, as its author wrote it there.
    stage.uninject();
}

#[test]
fn an_answer_that_repeats_the_whole_object_is_not_passed_on() {
    let stage = Stage::new("secrets-repeated");
    stage.run("kubectl apply -f web.yaml");
    let controller = stage.controller();
    // As the API server answers a patch that does not apply: with the object in the message. And other ways to say too much.
    for (code, reason) in [(422, "Invalid"), (400, "BadRequest"), (500, "InternalError"), (403, "Forbidden")] {
        controller.proxy.kill();
        controller.proxy.script(move |request| {
            let message = format!("the object {{\"env\":[{{\"name\":\"PASSWORD\",\"value\":\"{SECRET}\"}}]}} cannot be patched");
            let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code,
                "details": {"kind": "deployments", "causes": [{"reason": "FieldValueInvalid", "message": message, "field": "spec.template.spec.containers[0].env[0].value"}]}});
            if request.resource == "deployments" && request.verb == "patch" { Fault::Answer(code, body) } else { Fault::Pass }
        });
        controller.start();
        if code == 422 {
            stage.namespace.apply(SIDECAR);
        }
        let reason = match code {
            403 => "Forbidden",
            500 => "Retrying",
            _ => "Rejected",
        };
        let said = refusal(&stage, reason);
        assert!(!said.contains(SECRET), "{code}: {said}");
    }
    controller.proxy.script(|_| Fault::Pass);
    controller.proxy.kill();
    controller.start();
    stage.uninject();
}
