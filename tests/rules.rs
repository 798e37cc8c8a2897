//! One bad object for each rule of the CRD, for both who enforce them: the API server (tests/e2e) and the command line
//! (tests/it).

use logsidecar::api::ShipperName;
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
    let output = |output: Value| {
        let mut output = output;
        output["name"] = "a".into();
        json!({"target": {"name": "web"}, "logs": [{"name": "a", "directory": "/l"}], "outputs": [output], "sidecar": {"fluentBit": {}}})
    };
    let parsed = |log: Value| {
        let mut log = log;
        (log["name"], log["directory"]) = ("a".into(), "/l".into());
        json!({"target": {"name": "web"}, "logs": [log], "sidecar": {"fluentBit": {}}})
    };
    let shipped = |shipper: &str, output: Value| json!({"target": {"name": "web"}, "logs": [{"name": "a", "directory": "/l"}], "outputs": [output], "sidecar": {shipper: {}}});
    let secret = json!({"name": "s", "key": "k"});
    let mut all = vec![
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
            "two entries of logs have the same container and directory and begin with the same of files: write one entry with all of them, or no file in two",
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
    ];
    let cannot = "tail prints on standard output and a container of your own goes its own ways: for outputs write sidecar.fluentBit, sidecar.fluentd or sidecar.otelCollector";
    let mut own = output(json!({"stdout": {}}));
    own["sidecar"] = json!({"container": {"image": "a"}});
    let mut as_it_is = parsed(json!({"parser": {"format": "json"}}));
    as_it_is["sidecar"] = json!({"tail": {}});
    let mut nowhere = parsed(json!({}));
    nowhere["sidecar"] = json!({"otelCollector": {}});
    let mut twice = output(json!({"stdout": {}}));
    twice["sidecar"] = json!({"fluentBit": {"config": "a"}});
    all.extend([
        (cannot, shipped("tail", json!({"name": "a", "loki": {"url": "http://l"}}))),
        (cannot, own),
        (
            "tail passes lines on as they are: for parser and multiline write sidecar.fluentBit, sidecar.fluentd or sidecar.otelCollector",
            as_it_is,
        ),
        ("the collector has no output of its own: write outputs, such as otlp", nowhere),
        (ShipperName::OtelCollector.features().lacks_because, shipped("otelCollector", json!({"name": "a", "stdout": {}}))),
        (ShipperName::OtelCollector.features().lacks_because, shipped("otelCollector", json!({"name": "a", "http": {"url": "http://l"}}))),
        (ShipperName::OtelCollector.features().lacks_because, shipped("otelCollector", json!({"name": "a", "forward": {"host": "l"}}))),
        (ShipperName::Fluentd.features().lacks_because, shipped("fluentd", json!({"name": "a", "loki": {"url": "http://l"}}))),
        (ShipperName::Fluentd.features().lacks_because, shipped("fluentd", json!({"name": "a", "otlp": {"url": "http://l"}}))),
        ("a config of your own takes the place of outputs, parser and multiline: leave them out", twice),
        (
            "write exactly one of stdout, loki, otlp, http, elasticsearch, openSearch, s3, forward and kafka",
            output(json!({"stdout": {}, "http": {"url": "http://l"}})),
        ),
        ("write exactly one of stdout, loki, otlp, http, elasticsearch, openSearch, s3, forward and kafka", output(json!({}))),
        (
            "write a URL such as https://host:port/path, without user, query and fragment; credentials go into auth",
            output(json!({"loki": {"url": "http://user@l"}})),
        ),
        (
            "write a URL such as https://host:port/path, without user, query and fragment; credentials go into auth",
            output(json!({"otlp": {"url": "l:4318"}})),
        ),
        (
            "write a URL such as https://host:port/path, without user, query and fragment; credentials go into auth",
            output(json!({"elasticsearch": {"url": "http://l?q", "index": "a"}})),
        ),
        (
            "write a URL such as https://host:port/path?query, without user and fragment; credentials go into auth",
            output(json!({"http": {"url": "http://l/#a"}})),
        ),
        ("write a URL such as https://host:port", output(json!({"s3": {"bucket": "aaa", "region": "a", "endpoint": "http://l/a"}}))),
        (
            "a label is made of letters, digits and '_', and is not one of namespace, pod, container, node and file, which every line has",
            output(json!({"loki": {"url": "http://l", "labels": {"pod": "a"}}})),
        ),
        (
            "an index is made of lower-case letters, digits and . _ -, and starts with a letter or digit",
            output(json!({"openSearch": {"url": "http://l", "index": "A"}})),
        ),
        (
            "a user name cannot contain control characters",
            output(json!({"kafka": {"brokers": ["l:1"], "topic": "a", "sasl": {"mechanism": "PLAIN", "username": "a\n", "password": secret}}})),
        ),
        (
            "a user name cannot contain ':' and control characters",
            output(json!({"http": {"url": "http://l", "auth": {"basic": {"username": "a:b", "password": secret}}}})),
        ),
        (
            "write exactly one of basic, bearer and apiKey",
            output(json!({"http": {"url": "http://l", "auth": {}}})),
        ),
        (
            "write exactly one of value and secretKeyRef",
            output(json!({"http": {"url": "http://l", "headers": [{"name": "a"}]}})),
        ),
        (
            "this header has a field of its own (auth, tenantID), or is made by the shipper",
            output(json!({"http": {"url": "http://l", "headers": [{"name": "Authorization", "value": "a"}]}})),
        ),
        (
            "the value of a header cannot contain control characters, nor begin or end with a space",
            output(json!({"http": {"url": "http://l", "headers": [{"name": "a", "value": "a "}]}})),
        ),
        (
            "certificate and privateKey go together: write both, or none",
            output(json!({"http": {"url": "https://l", "tls": {"certificate": secret}}})),
        ),
        ("write regex for format: regex, and for no other", parsed(json!({"parser": {"format": "regex"}}))),
        ("write control characters as \\n, \\t or \\xHH", parsed(json!({"parser": {"format": "regex", "regex": "a\n"}}))),
        ("write control characters as \\t or \\xHH", parsed(json!({"multiline": {"firstLine": "a\n"}}))),
        ("timeFormat says how the field timeKey is to be read: write timeKey, too", parsed(json!({"parser": {"format": "json", "timeFormat": "%Y"}}))),
        ("timeKey needs a timeFormat such as %Y-%m-%dT%H:%M:%S.%L%z", parsed(json!({"parser": {"format": "json", "timeKey": "a"}}))),
        (
            "nginx and apache have a time of their own: leave timeKey out",
            parsed(json!({"parser": {"format": "nginx", "timeKey": "a", "timeFormat": "%Y"}})),
        ),
        (
            "a time format is made of %Y %m %d %e %H %I %M %S %L %z %b %B %y %p, letters, digits, spaces and : . , / _ + -",
            parsed(json!({"parser": {"format": "json", "timeKey": "a", "timeFormat": "%s"}})),
        ),
        ("write exactly one of language and firstLine", parsed(json!({"multiline": {}}))),
        ("write at most one of tail, fluentBit, fluentd and otelCollector", sidecar(json!({"tail": {}, "fluentBit": {}}))),
        (
            "write at most one of config and configMapRef",
            sidecar(json!({"fluentBit": {"config": "a", "configMapRef": {"name": "a", "key": "b"}}})),
        ),
        (
            "a config of your own says itself how much is buffered: leave bufferSize and maxLineSize out",
            sidecar(json!({"fluentBit": {"config": "a", "bufferSize": "1Mi"}})),
        ),
    ]);
    all
}

/// The rule about the object's own name, and a name that it refuses.
pub const NAME: (&str, &str) = (
    "metadata.name must be at most 57 lower-case letters, digits and '-', starting with a letter: the sidecar container is named after it",
    "1.web",
);
