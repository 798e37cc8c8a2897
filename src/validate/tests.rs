//! The problems of tables of objects.

use super::*;

fn sidecar(spec: &Value) -> Value {
    json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "web"}, "spec": spec})
}

fn messages(object: &Value) -> Vec<String> {
    log_sidecar(object).into_iter().map(|problem| format!("{}: {}", problem.field(), problem.message)).collect()
}

#[test]
fn a_good_one_passes() {
    let spec = json!({
        "target": {"selector": {"matchLabels": {"app": "web"}}},
        "logs": [{"name": "a", "directory": "/var/log/app", "volume": {"emptyDir": {"sizeLimit": "1Gi"}}}],
        "sidecar": {"container": {"image": "x", "resources": {"requests": {"cpu": 1}}, "env": null}},
    });
    assert_eq!(messages(&sidecar(&spec)), Vec::<String>::new());
}

#[test]
fn each_mistake_is_named_with_its_field() {
    let logs = json!([{"name": "a", "directory": "/var/log/app"}]);
    let table = [
        (json!({"target": {"name": "web"}, "logs": logs, "sidecars": {}}), "spec.sidecars: unknown field"),
        (json!({"target": {"name": true}, "logs": logs}), "spec.target.name: must be a string, not true: put it in quotes"),
        (
            json!({"target": {"name": "a", "selector": {"matchLabels": {"a": "b"}}}, "logs": logs}),
            "spec.target: write exactly one of name and selector",
        ),
        (
            json!({"target": {"kind": "Rollout", "name": "a"}, "logs": logs}),
            "spec.target.kind: kind must be one of Deployment, StatefulSet, DaemonSet, CronJob, ReplicaSet, ReplicationController, Job, Pod, PodTemplate; for any other write its apiGroup, too",
        ),
        (json!({"target": {"name": "a"}, "logs": []}), "spec.logs: must have at least 1 entry"),
        (json!({"target": {"name": "a"}}), "spec.logs: required, but missing"),
        (
            json!({"target": {"name": "a"}, "logs": [{"name": "a", "directory": "var/log"}]}),
            "spec.logs[0].directory: write an absolute path without '..', '//' or a trailing '/', such as /var/log/app",
        ),
        (
            json!({"target": {"name": "a"}, "logs": logs, "sidecar": {"container": {"imag": "x"}, "tail": {}}}),
            "spec.sidecar.container.imag: unknown field",
        ),
    ];
    for (spec, expected) in table {
        assert_eq!(messages(&sidecar(&spec)), [expected], "{spec}");
    }
}

#[test]
fn a_workload_is_checked_where_planning_reads_it() {
    let deployment = |containers: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"x": 1, "template": {"spec": {"containers": containers}}}});
    let messages = |object: &Value| -> Vec<String> {
        workload(Kind::Deployment, object)
            .into_iter()
            .map(|problem| format!("{}: {}", problem.field(), problem.message))
            .collect()
    };
    assert_eq!(
        messages(&deployment(json!([{"name": "a", "unknown": 1, "resources": {"limits": {"cpu": 0.5}}}]))),
        Vec::<String>::new()
    );
    assert_eq!(messages(&deployment(json!({"name": "a"}))), ["spec.template.spec.containers: must be an array, not an object"]);
    assert_eq!(
        messages(&deployment(json!([{"name": "a"}, {"name": "a"}]))),
        ["spec.template.spec.containers: two entries have the name \"a\""]
    );
    assert_eq!(
        messages(&deployment(json!([{"name": "a:/b"}]))),
        ["spec.template.spec.containers[0].name: must be at most 63 lower-case letters, digits and '-', not \"a:/b\""]
    );
    assert_eq!(
        messages(&json!({"metadata": {"name": 5}})),
        [
            "metadata.name: must be a string, not 5: put it in quotes",
            "spec.template: required: a Deployment has its pod template here"
        ]
    );
}
