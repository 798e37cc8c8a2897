//! Every kind that the controller acts on: injected, changed, taken out; with real pods where that shows something.

use serde_json::{Value, json};

use crate::cluster::{Namespace, eventually, try_kubectl};

/// Writes a line a second, and ends at once when it is asked to.
const APP: &str = "trap 'exit 0' TERM; mkdir -p /logs; while :; do date >> /logs/app.log; sleep 1; done";

fn pod(labels: &Value, command: &str) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1,
        "containers": [{"name": "app", "image": "busybox:1.36", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", command]}]}})
}

fn workload(kind: &str, name: &str, spec: &Value) -> Value {
    let labels = json!({"app": name});
    let version = if kind == "CronJob" { "batch/v1" } else { "apps/v1" };
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec});
    if kind == "CronJob" {
        let mut pod = pod(&labels, "mkdir -p /logs; date >> /logs/app.log; echo the last line >> /logs/app.log");
        pod["spec"]["restartPolicy"] = "Never".into();
        object["spec"]["schedule"] = "0 0 1 1 *".into();
        object["spec"]["jobTemplate"] = json!({"spec": {"backoffLimit": 0, "template": pod}});
    } else {
        object["spec"]["selector"] = json!({"matchLabels": labels});
        object["spec"]["template"] = pod(&labels, APP);
    }
    object
}

fn sidecar(kind: &str, name: &str, extra: &Value) -> Value {
    let mut object = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"kind": kind, "name": name}, "logs": [{"name": "app", "directory": "/logs"}],
        "sidecar": {"container": {"image": "busybox:1.36", "imagePullPolicy": "IfNotPresent"}, "tail": {}},
        "rollout": {"soak": "1s"}}});
    for (field, value) in extra.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

fn template(namespace: &Namespace, kind: &str, name: &str) -> Value {
    let spec = namespace.json(&["get", kind, name])["spec"].clone();
    if kind == "CronJob" { spec["jobTemplate"]["spec"]["template"].clone() } else { spec["template"].clone() }
}

/// Injected, changed and taken out, as a person would see it.
fn comes_and_goes(kind: &str, spec: &Value) -> Namespace {
    let namespace = Namespace::new(&format!("kind-{}", kind.to_lowercase()));
    namespace.apply(&workload(kind, "web", spec).to_string());
    let before = template(&namespace, kind, "web");
    namespace.apply(&sidecar(kind, "web", &json!({})).to_string());
    namespace.wait_ready("ship");
    let native = &template(&namespace, kind, "web")["spec"]["initContainers"][0];
    assert_eq!((&native["name"], &native["restartPolicy"]), (&"ship".into(), &"Always".into()));
    if kind != "CronJob" {
        let of = format!("{}/web", kind.to_lowercase());
        eventually("the application's lines", || {
            let lines = try_kubectl(&["-n", &namespace.name, "logs", &of, "-c", "ship"], "").unwrap_or_default();
            lines.contains("UTC").then_some(())
        });
    }
    namespace.apply(
        &sidecar(kind, "web", &json!({"logs": [{"name": "app", "directory": "/logs", "files": ["*.txt"]}]})).to_string(),
    );
    namespace.wait_ready("ship");
    assert_eq!(template(&namespace, kind, "web")["spec"]["initContainers"][0]["args"], json!(["/logs/*.txt"]));
    namespace.kubectl(&["delete", "logsidecar/ship", "--timeout=180s"]);
    assert_eq!(template(&namespace, kind, "web"), before);
    namespace
}

#[test]
fn a_deployment() {
    comes_and_goes("Deployment", &json!({"replicas": 2}));
}

#[test]
fn a_daemon_set() {
    comes_and_goes("DaemonSet", &json!({}));
}

#[test]
fn a_stateful_set() {
    comes_and_goes("StatefulSet", &json!({"replicas": 2, "serviceName": "web"}));
}

#[test]
fn the_volume_of_a_claim_template_is_used() {
    let namespace = Namespace::new("claim-template");
    let mut object = workload("StatefulSet", "web", &json!({"replicas": 0, "serviceName": "web"}));
    object["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}]);
    object["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/logs"}]);
    namespace.apply(&object.to_string());
    namespace.apply(&sidecar("StatefulSet", "web", &json!({})).to_string());
    namespace.wait_ready("ship");
    let spec = template(&namespace, "StatefulSet", "web")["spec"].clone();
    let mount = &spec["initContainers"][0]["volumeMounts"][0];
    assert_eq!((&mount["name"], &mount["mountPath"]), (&"data".into(), &"/logs".into()));
    assert_eq!(spec["volumes"], Value::Null);
}

#[test]
fn a_cron_job_whose_next_job_has_it_and_completes() {
    let namespace = comes_and_goes("CronJob", &json!({}));
    namespace.apply(&sidecar("CronJob", "web", &json!({})).to_string());
    namespace.wait_ready("ship");
    namespace.kubectl(&["create", "job", "now", "--from=cronjob/web"]);
    namespace.wait("job/now", "condition=Complete");
    let logs = namespace.kubectl(&["logs", "job/now", "-c", "ship"]);
    assert!(logs.contains("the last line"), "{logs}");
}

fn reason(namespace: &Namespace) -> String {
    let targets = namespace.json(&["get", "logsidecar", "ship"])["status"]["targets"].clone();
    targets[0]["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_its_owner_holds_back_gets_the_template_and_waits_for_him() {
    for (kind, spec, expected) in [
        ("StatefulSet", json!({"replicas": 2, "serviceName": "web", "updateStrategy": {"type": "OnDelete"}}), "OnDelete"),
        (
            "StatefulSet",
            json!({"replicas": 2, "serviceName": "web", "updateStrategy": {"rollingUpdate": {"partition": 1}}}),
            "Partitioned",
        ),
        ("DaemonSet", json!({"updateStrategy": {"type": "OnDelete"}}), "OnDelete"),
        ("Deployment", json!({"paused": true}), "Paused"),
    ] {
        let namespace = Namespace::new("held");
        namespace.apply(&workload(kind, "web", &spec).to_string());
        if kind != "Deployment" {
            eventually("its pods", || {
                let pods = namespace.json(&["get", "pods"])["items"].as_array()?.clone();
                let ready = |pod: &Value| pod["status"]["phase"] == "Running";
                (!pods.is_empty() && pods.len() as u64 >= spec["replicas"].as_u64().unwrap_or(1) && pods.iter().all(ready))
                    .then_some(())
            });
        }
        namespace.apply(&sidecar(kind, "web", &json!({})).to_string());
        eventually(&format!("{kind}: {expected}, not {}", reason(&namespace)), || {
            (reason(&namespace) == expected).then_some(())
        });
        namespace.wait_ready("ship");
        assert_eq!(template(&namespace, kind, "web")["spec"]["initContainers"][0]["name"], "ship");
    }
}
