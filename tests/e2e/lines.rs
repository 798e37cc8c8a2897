//! A writer that numbers its lines, a destination that can be held up, and what has arrived of them.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use logsidecar::manifest;
use serde_json::{Value, json};

use crate::cluster::{Namespace, has_image, left_out, logsidecar, tell, try_kubectl, within};

/// How many lines a writer writes, about a thousand a second.
pub const LINES: usize = 15_000;

/// What becomes of a full log file.
pub const RENAME: &str = "mv /logs/app.log /logs/app.log.$i";
pub const REPLACE: &str = "rm /logs/app.log; : > /logs/app.log";
pub const TRUNCATE: &str = "cp /logs/app.log /logs/app.log.1; : > /logs/app.log";
pub const KEEP: &str = ":";

/// How the lines of a stack trace begin.
const INDENT: &str = "    at ";

/// A writer that says what it has written on a disk that outlives it. A line is written there after it is in the log, so what is
/// there was to be delivered. (The kubelet makes one dollar sign of two.) With `traces`, three of four lines are indented.
pub fn writer(rotation: &str, traces: bool, end: &str) -> String {
    let indented = if traces { format!("[ $((i % 4)) = 0 ] || p='{INDENT}'") } else { KEEP.to_owned() };
    format!(
        "echo $$$$ > /truth/pid; run=$(date +%s)-$$$$; i=0; trap 'stop=1' TERM
         while [ $i -lt {LINES} ] && [ -z \"$stop\" ]; do
           p=; {indented}
           echo \"${{p}}line $run $i\" >> /logs/app.log; echo \"line $run $i\" >> /truth/all; i=$((i+1))
           [ $((i % 100)) != 0 ] || sleep 0.08
           [ $((i % 3000)) != 0 ] || {{ {rotation}; }}
         done
         echo \"line $run last\" >> /logs/app.log; echo \"line $run last\" >> /truth/all; touch /truth/done; {end}"
    )
}

pub fn pod(namespace: &Namespace, script: &str, restart: &str) -> Value {
    json!({"metadata": {"labels": {"app": "app"}}, "spec": {
        "restartPolicy": restart,
        // So that one container can kill another.
        "shareProcessNamespace": true,
        "terminationGracePeriodSeconds": 30,
        "containers": [{"name": "app", "image": "busybox:1.36", "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "truth", "mountPath": "/truth"}]}],
        "volumes": [{"name": "truth", "hostPath": {"path": format!("/run/{}-truth", namespace.name), "type": "DirectoryOrCreate"}}],
    }})
}

/// Loki, with somebody beside it who can hold it up.
pub fn loki(namespace: &Namespace) -> String {
    let mut objects: Vec<Value> = manifest::read("loki", include_bytes!("loki.yaml"))
        .expect("a manifest")
        .into_iter()
        .map(|document| document.value)
        .collect();
    let pod = objects.iter_mut().find(|object| object["kind"] == "Pod").expect("a pod");
    pod["spec"]["shareProcessNamespace"] = true.into();
    let hand = json!({"name": "hand", "image": "busybox:1.36", "command": ["sleep", "100000"]});
    pod["spec"]["containers"].as_array_mut().expect("a list").push(hand);
    let text: Vec<String> = objects.iter().map(Value::to_string).collect();
    namespace.apply(&text.join("\n---\n"));
    namespace.wait("pod/loki", "condition=Ready");
    let address = namespace.json(&["get", "service", "loki"])["spec"]["clusterIP"].as_str().expect("an address").to_owned();
    format!("http://{address}:3100")
}

/// The shippers that can be had here.
pub fn shippers() -> Vec<&'static str> {
    let mut all = vec!["otelCollector", "fluentBit"];
    if !has_image("fluent-bit") {
        left_out("accounting with Fluent Bit", "no image of it can be had here");
        all.pop();
    }
    if !has_image("loki") || !has_image("otelcol") {
        left_out("accounting", "no images of Loki and the collector can be had here");
        all.clear();
    }
    all
}

/// A LogSidecar for `/logs`, with more in its entry of `logs`, and on a claim called `kept` if it is to outlive the pod.
pub fn sidecar(shipper: &str, url: &str, target: &Value, more: &Value, durable: bool) -> Value {
    let mut log = json!({"name": "app", "directory": "/logs"});
    log.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let mut settings = json!({});
    if durable {
        let claim = json!({"claimName": "kept"});
        log["volume"] = json!({"name": "kept-logs", "subPath": "logs", "persistentVolumeClaim": claim});
        settings["state"] = json!({"name": "kept-state", "subPath": "state", "persistentVolumeClaim": claim});
    }
    let mut spec = json!({"target": target, "logs": [log], "sidecar": {shipper: settings}});
    if shipper != "tail" {
        spec["outputs"] = json!([{"name": "loki", "loki": {"url": url}}]);
    }
    json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": spec})
}

/// Applies a workload with its sidecar in it.
pub fn apply(namespace: &Namespace, sidecar: &Value, workload: &Value) {
    let text = format!("{sidecar}\n---\n{workload}\n");
    namespace.apply(&logsidecar(&["inject", "-f", "-", "--tail-image=busybox:1.36", "-n", &namespace.name], &text));
}

/// What was written, and how often each line of it has arrived.
#[derive(Debug, PartialEq)]
pub struct Account {
    pub written: usize,
    pub lost: usize,
    pub duplicated: usize,
}

pub fn account(truth: &str, arrived: &[String]) -> Account {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    arrived.iter().for_each(|line| *times.entry(line.as_str()).or_default() += 1);
    let written: Vec<&str> = truth.lines().filter(|line| line.starts_with("line ")).collect();
    let missing: Vec<&&str> = written.iter().filter(|line| !times.contains_key(**line)).collect();
    if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
        tell(&format!("missing so far: {} from `{first}` to `{last}`", missing.len()));
    }
    let lost = missing.len();
    let duplicated = times.values().map(|times| times - 1).sum();
    Account { written: written.len(), lost, duplicated }
}

/// What has arrived: in Loki, or on the sidecar's standard output.
pub fn arrived(namespace: &Namespace, shipper: &str) -> Vec<String> {
    if shipper != "tail" {
        return in_loki(namespace);
    }
    let logs =
        |options: &[&str]| try_kubectl(&[&["-n", &namespace.name, "logs", "deploy/app", "-c", "ship"], options].concat(), "");
    let all = [logs(&["--previous"]), logs(&[])].into_iter().flatten();
    all.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

pub fn in_loki(namespace: &Namespace) -> Vec<String> {
    let path = format!(
        "/api/v1/namespaces/{}/services/loki:3100/proxy/loki/api/v1/query_range?query=%7Bservice_name%3D~%22.%2B%22%7D&limit=1000000&start=0&end=4000000000000000000",
        namespace.name
    );
    let Ok(text) = try_kubectl(&["get", "--raw", &path], "") else { return Vec::new() };
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let streams = answer["data"]["result"].as_array().expect("streams").iter();
    let values = streams.flat_map(|stream| stream["values"].as_array().expect("values"));
    let entries = values.map(|value| line_of(value[1].as_str().expect("a line")));
    let lines = |entry: String| entry.lines().map(|line| line.trim_start_matches(INDENT).to_owned()).collect::<Vec<_>>();
    entries.flat_map(lines).collect()
}

/// Fluent Bit sends an object, the collector the line itself.
fn line_of(text: &str) -> String {
    let object: Option<Value> = serde_json::from_str(text).ok();
    object.and_then(|object| object["log"].as_str().map(str::to_owned)).unwrap_or_else(|| text.to_owned())
}

pub fn in_app(namespace: &Namespace, script: &str) -> String {
    try_kubectl(&["-n", &namespace.name, "exec", "deploy/app", "-c", "app", "--", "sh", "-c", script], "").unwrap_or_default()
}

/// What was written, from a pod of its own, as that of the writer may be gone.
pub fn truth(namespace: &Namespace) -> String {
    let mut reader = pod(namespace, "sleep 1000", "Never");
    (reader["apiVersion"], reader["kind"]) = ("v1".into(), "Pod".into());
    reader["metadata"] = json!({"name": "reader"});
    reader["spec"]["terminationGracePeriodSeconds"] = 0.into();
    namespace.apply(&reader.to_string());
    namespace.wait("pod/reader", "condition=Ready");
    namespace.kubectl(&["exec", "reader", "--", "cat", "/truth/all"])
}

pub fn until_written(namespace: &Namespace, lines: usize) {
    within(Duration::from_secs(180), "the writer", || {
        in_app(namespace, "cat /truth/all | wc -l").trim().parse::<usize>().ok().filter(|written| *written >= lines)
    });
}

/// Waits until nothing is lost, or nothing new has come for long.
pub fn settle(namespace: &Namespace, shipper: &str) -> Account {
    let truth = truth(namespace);
    let (mut last, mut since) = (usize::MAX, Instant::now());
    loop {
        let arrived = arrived(namespace, shipper);
        let account = account(&truth, &arrived);
        if account.lost != last {
            (last, since) = (account.lost, Instant::now());
        }
        if account.lost == 0 || since.elapsed() > Duration::from_secs(90) {
            return account;
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Sends a signal to the process whose command line has these words, which must not be these words themselves.
pub fn kill(signal: &str, words: &str) -> String {
    format!("for p in /proc/[0-9]*; do grep -q '{words}' $p/cmdline 2>/dev/null && kill {signal} ${{p#/proc/}}; done; true")
}

/// Loki answers nobody while something is done.
pub fn without_loki<T>(namespace: &Namespace, meanwhile: impl FnOnce() -> T) -> T {
    let hand =
        |signal: &str| namespace.kubectl(&["exec", "loki", "-c", "hand", "--", "sh", "-c", &kill(signal, "usr/bin/lok[i]")]);
    hand("-STOP");
    let result = meanwhile();
    hand("-CONT");
    result
}

/// What the command line of a sidecar has in it, so written that it is not in the command line of who looks for it.
pub fn command_line(shipper: &str) -> &'static str {
    match shipper {
        "otelCollector" => "/otelcol-contri[b]",
        "fluentBit" => "bin/fluent-bi[t]",
        // Its script.
        _ => "[f]ollowed= live",
    }
}
