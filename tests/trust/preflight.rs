//! What would stop the new pods is known before the first write: blocked, with the reason, and nothing written. On a real API server,
//! whose own controllers count what a quota has used.

use serde_json::{Value, json};

use crate::{kubernetes::eventually, proxy::Request, stage::Stage};

/// What stands in the way, and what is said about it.
struct Case {
    name: &'static str,
    /// Objects of the namespace.
    around: Value,
    /// Laid over the only container of the Deployment.
    app: Value,
    /// Laid over the sidecar, which is the user's own container where that has an image.
    sidecar: Value,
    /// Laid over `logs[0]`.
    log: Value,
    reason: &'static str,
    message: &'static str,
}

fn object(version: &str, kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": "limits"}, "spec": spec})
}

fn overlay(base: &mut Value, over: &Value) {
    for (field, value) in over.as_object().into_iter().flatten() {
        base[field] = value.clone();
    }
}

fn cases() -> Vec<Case> {
    let none = || json!([]);
    let requests =
        json!({"resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}}});
    let case = |name, around, reason, message| Case {
        name,
        around,
        app: json!({}),
        sidecar: json!({}),
        log: json!({}),
        reason,
        message,
    };
    let hpa = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]});
    vec![
        Case {
            app: requests.clone(),
            ..case(
                "quota-used-up",
                json!([object("v1", "ResourceQuota", &json!({"hard": {"requests.memory": "50Mi"}}))]),
                "Blocked",
                "ResourceQuota limits",
            )
        },
        Case {
            app: requests.clone(),
            ..case(
                "quota-demands-limits",
                json!([object("v1", "ResourceQuota", &json!({"hard": {"limits.cpu": "10"}}))]),
                "Blocked",
                "limits.cpu",
            )
        },
        case(
            "limit-range",
            json!([object("v1", "LimitRange", &json!({"limits": [{"type": "Container", "max": {"memory": "32Mi"}}]}))]),
            "Blocked",
            "LimitRange limits",
        ),
        Case {
            app: json!({"securityContext": {"runAsUser": 7, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}}),
            sidecar: json!({"image": "ship:1"}),
            ..case("pod-security", json!("restricted"), "Blocked", "restricted")
        },
        Case {
            app: requests.clone(),
            sidecar: json!({"image": "ship:1"}),
            ..case(
                "autoscaler",
                json!([object("autoscaling/v2", "HorizontalPodAutoscaler", &hpa)]),
                "Blocked",
                "HorizontalPodAutoscaler limits",
            )
        },
        Case { sidecar: json!({"name": "app"}), ..case("name", none(), "ContainerNameTaken", "container app") },
        Case {
            app: json!({"ports": [{"containerPort": 2020}]}),
            sidecar: json!({"ports": [{"containerPort": 2020}]}),
            ..case("port", none(), "PortTaken", "2020")
        },
        Case {
            app: json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]}),
            log: json!({"volume": {"name": "data"}}),
            ..case("volume-name", none(), "VolumeNameTaken", "data")
        },
        Case {
            app: json!({"volumeMounts": [{"name": "data", "mountPath": "/logs"}]}),
            log: json!({"volume": {"persistentVolumeClaim": {"claimName": "other"}}}),
            ..case("mount", none(), "DirectoryMounted", "data")
        },
    ]
}

#[test]
fn what_would_stop_the_pods_is_said_and_nothing_is_written() {
    let cases = cases();
    std::thread::scope(|scope| {
        for case in &cases {
            scope.spawn(|| is_blocked(case));
        }
    });
}

fn is_blocked(case: &Case) {
    let stage = Stage::new(&format!("preflight-{}", case.name));
    if let Some(level) = case.around.as_str() {
        let label = format!("pod-security.kubernetes.io/enforce={level}");
        crate::kubernetes::kubectl(&["label", "namespace", &stage.namespace.name, &label], "");
    } else if case.around.as_array().is_some_and(|objects| !objects.is_empty()) {
        stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": case.around}).to_string());
    }
    let mut app = json!({"name": "app", "image": "app:1"});
    overlay(&mut app, &case.app);
    let mut spec = json!({"containers": [app]});
    if case.app["volumeMounts"].is_array() {
        spec["volumes"] = json!([{"name": "data", "emptyDir": {"medium": "Memory"}}]);
    }
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec}}});
    stage.namespace.apply(&deployment.to_string());
    eventually("its pods", || {
        let pods = stage.namespace.json(&["get", "pods"])["items"].as_array().map(Vec::len);
        (pods == Some(3)).then_some(())
    });
    if let Some(quota) = case.around[0]["kind"].as_str().filter(|kind| *kind == "ResourceQuota") {
        eventually("the quota to be counted", || {
            let quota = stage.namespace.json(&["get", quota, "limits"]);
            quota["status"]["used"].as_object().filter(|used| used.values().any(|used| *used != "0")).map(|_| ())
        });
    }
    let before = stage.template();
    let mut log = json!({"name": "app", "directory": "/logs"});
    overlay(&mut log, &case.log);
    let mut sidecar = json!({"container": case.sidecar});
    if case.sidecar["image"].is_null() {
        sidecar["tail"] = json!({});
    }
    let controller = stage.controller();
    controller.start();
    let object = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"name": "web"}, "logs": [log], "sidecar": sidecar}});
    stage.namespace.apply(&object.to_string());
    let target = eventually(&format!("{}: a verdict", case.name), || {
        let status = stage.namespace.json(&["get", "logsidecar", "ship"])["status"].clone();
        let target = status["targets"].as_array()?.first()?.clone();
        (target["reason"] != "Pending").then_some(target)
    });
    let said = target["message"].as_str().unwrap_or_default();
    assert_eq!(target["reason"], case.reason, "{}: {target}", case.name);
    assert!(said.contains(case.message), "{}: {said}", case.name);
    assert_eq!(stage.template(), before, "{}", case.name);
    assert_eq!(controller.proxy.count(Request::writes_workload), 0, "{}", case.name);
    if case.name == "limit-range" {
        // Once there is nothing in the way any more, it goes on by itself.
        stage.namespace.kubectl(&["delete", "limitrange", "limits"]);
        eventually("the sidecar", || (stage.template() != before).then_some(()));
    }
}
