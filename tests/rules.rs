//! One bad object for each rule of the CRD, for both who enforce them: the API server (tests/e2e) and the command line
//! (tests/it).

use serde_json::{Value, json};

/// The message of a CEL rule, and the spec that it refuses.
pub fn broken() -> Vec<(&'static str, Value)> {
    let log = |log: Value| {
        let mut log = log;
        log["name"] = "a".into();
        json!({"target": {"name": "web"}, "logs": [log]})
    };
    let target = |target: Value| json!({"target": target, "logs": [{"name": "a", "directory": "/l"}]});
    let volume =
        |volume: Value| json!({"target": {"name": "web"}, "logs": [{"name": "a", "directory": "/l", "volume": volume}]});
    let sidecar =
        |sidecar: Value| json!({"target": {"name": "web"}, "logs": [{"name": "a", "directory": "/l"}], "sidecar": sidecar});
    let rollout =
        |rollout: Value| json!({"target": {"name": "web"}, "logs": [{"name": "a", "directory": "/l"}], "rollout": rollout});
    vec![
        (
            "kind must be one of Deployment, StatefulSet, DaemonSet, CronJob, ReplicaSet, ReplicationController, Job, Pod, PodTemplate; for any other write its apiGroup, too",
            target(json!({"kind": "Rollout", "name": "web"})),
        ),
        (
            "kind must be one of Deployment, StatefulSet, DaemonSet, CronJob, ReplicaSet, ReplicationController, Job, Pod, PodTemplate; for any other write its apiGroup, too",
            target(json!({"apiGroup": "apps", "kind": "Rollout", "name": "web"})),
        ),
        ("maxConcurrent must be a number from 1, or a percentage from 1% to 100%", rollout(json!({"maxConcurrent": 0}))),
        ("maxConcurrent must be a number from 1, or a percentage from 1% to 100%", rollout(json!({"maxConcurrent": "0%"}))),
        ("maxConcurrent must be a number from 1, or a percentage from 1% to 100%", rollout(json!({"maxConcurrent": "all"}))),
        ("soak must be at most 24h", rollout(json!({"soak": "25h"}))),
        ("write exactly one of count and selector", rollout(json!({"canary": {}}))),
        (
            "write exactly one of count and selector",
            rollout(json!({"canary": {"count": 1, "selector": {"matchLabels": {"a": "b"}}}})),
        ),
        (
            "an empty selector would make every workload a canary: write matchLabels or matchExpressions",
            rollout(json!({"canary": {"selector": {}}})),
        ),
        (
            "operator must be one of In, NotIn, Exists, DoesNotExist",
            rollout(json!({"canary": {"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}})),
        ),
        (
            "operators In and NotIn need values; Exists and DoesNotExist take none",
            rollout(
                json!({"canary": {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}}),
            ),
        ),
        (
            "two entries of logs have the same container and directory: write one entry with both in files",
            json!({"target": {"name": "web"}, "logs": [{"name": "a", "directory": "/l"}, {"name": "b", "directory": "/l"}]}),
        ),
        ("write exactly one of name and selector", target(json!({}))),
        ("write exactly one of name and selector", target(json!({"name": "web", "selector": {"matchLabels": {"a": "b"}}}))),
        ("apiGroup is not the group of this kind: leave apiGroup out", target(json!({"name": "web", "apiGroup": "batch"}))),
        (
            "an empty selector would match every workload: write matchLabels or matchExpressions",
            target(json!({"selector": {}})),
        ),
        (
            "operator must be one of In, NotIn, Exists, DoesNotExist",
            target(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}})),
        ),
        (
            "operators In and NotIn need values; Exists and DoesNotExist take none",
            target(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}})),
        ),
        (
            "write an absolute path without '..', '//' or a trailing '/', such as /var/log/app",
            log(json!({"directory": "/var/../log"})),
        ),
        (
            "a volume mounted here would hide what the container needs to run: let the application write to a directory of its own, such as /var/log/app",
            log(json!({"directory": "/lib64"})),
        ),
        ("a mount path cannot contain ':'", log(json!({"directory": "/a:b"}))),
        ("a mount path cannot contain line breaks and other control characters", log(json!({"directory": "/a\n"}))),
        (
            "files are patterns below directory, such as *.log or audit/*.json: '.' and '..' cannot be part of them",
            log(json!({"directory": "/l", "files": ["../*.log"]})),
        ),
        (
            "write an absolute path without '..', '//' or a trailing '/', such as /logs",
            log(json!({"directory": "/l", "sidecarDirectory": "logs"})),
        ),
        (
            "a volume mounted here would hide what the sidecar needs to run: choose a directory such as /logs",
            log(json!({"directory": "/l", "sidecarDirectory": "/proc/x"})),
        ),
        (
            "write at most one of emptyDir, persistentVolumeClaim and existing",
            volume(json!({"emptyDir": {}, "existing": {"name": "x"}})),
        ),
        (
            "an existing volume has its name already: leave volume.name out",
            volume(json!({"name": "x", "existing": {"name": "x"}})),
        ),
        ("write a relative path without '..', such as logs/app", volume(json!({"subPath": "/x"}))),
        ("medium must be \"\" or Memory", volume(json!({"emptyDir": {"medium": "Disk"}}))),
        ("write a shipper (tail: {}), or a container with an image", sidecar(json!({"container": {"name": "x"}}))),
        (
            "placement Native means restartPolicy: Always: leave restartPolicy out",
            sidecar(json!({"placement": "Native", "container": {"image": "x", "restartPolicy": "Never"}})),
        ),
    ]
}

/// The rule about the object's own name, and a name that it refuses.
pub const NAME: (&str, &str) = (
    "metadata.name must be at most 57 lower-case letters, digits and '-', starting with a letter: the sidecar container is named after it",
    "1.web",
);
