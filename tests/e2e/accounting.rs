//! Every line is counted: a writer numbers its lines, something goes wrong, and what has arrived is compared with what was written.
//!
//! `make accounting` runs everything and prints the table of `docs/delivery.md`; the short suite has Jobs only.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use logsidecar::manifest;
use serde_json::{Value, json};

use crate::cluster::{Namespace, eventually, has_image, left_out, logsidecar, tell, try_kubectl, within};

/// How many lines a writer writes, about a thousand a second.
const LINES: usize = 15_000;

/// What becomes of a full log file.
const RENAME: &str = "mv /logs/app.log /logs/app.log.$i";
const REPLACE: &str = "rm /logs/app.log; : > /logs/app.log";
const TRUNCATE: &str = "cp /logs/app.log /logs/app.log.1; : > /logs/app.log";
const KEEP: &str = ":";

/// A writer that says what it has written on a disk that outlives it. A line is written there after it is in the log, so what is
/// there was to be delivered. (The kubelet makes one dollar sign of two.)
fn writer(rotation: &str, end: &str) -> String {
    format!(
        "echo $$$$ > /truth/pid; run=$(date +%s)-$$$$; i=0; trap 'stop=1' TERM
         while [ $i -lt {LINES} ] && [ -z \"$stop\" ]; do
           echo \"line $run $i\" >> /logs/app.log; echo \"line $run $i\" >> /truth/all; i=$((i+1))
           [ $((i % 100)) != 0 ] || sleep 0.08
           [ $((i % 3000)) != 0 ] || {{ {rotation}; }}
         done
         echo \"line $run last\" >> /logs/app.log; echo \"line $run last\" >> /truth/all; touch /truth/done; {end}"
    )
}

fn pod(namespace: &Namespace, script: &str, restart: &str) -> Value {
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
fn loki(namespace: &Namespace) -> String {
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
fn shippers() -> Vec<&'static str> {
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

fn sidecar(shipper: &str, url: &str, target: &Value, durable: bool) -> Value {
    let mut log = json!({"name": "app", "directory": "/logs"});
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
fn apply(namespace: &Namespace, sidecar: &Value, workload: &Value) {
    let text = format!("{sidecar}\n---\n{workload}\n");
    namespace.apply(&logsidecar(&["inject", "-f", "-", "--tail-image=busybox:1.36", "-n", &namespace.name], &text));
}

/// What was written, and how often each line of it has arrived.
#[derive(Debug, PartialEq)]
struct Account {
    written: usize,
    lost: usize,
    duplicated: usize,
}

fn account(truth: &str, arrived: &[String]) -> Account {
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
fn arrived(namespace: &Namespace, shipper: &str) -> Vec<String> {
    if shipper != "tail" {
        return in_loki(namespace);
    }
    let logs =
        |options: &[&str]| try_kubectl(&[&["-n", &namespace.name, "logs", "deploy/app", "-c", "ship"], options].concat(), "");
    let all = [logs(&["--previous"]), logs(&[])].into_iter().flatten();
    all.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn in_loki(namespace: &Namespace) -> Vec<String> {
    let path = format!(
        "/api/v1/namespaces/{}/services/loki:3100/proxy/loki/api/v1/query_range?query=%7Bservice_name%3D~%22.%2B%22%7D&limit=1000000&start=0&end=4000000000000000000",
        namespace.name
    );
    let Ok(text) = try_kubectl(&["get", "--raw", &path], "") else { return Vec::new() };
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let streams = answer["data"]["result"].as_array().expect("streams").iter();
    let values = streams.flat_map(|stream| stream["values"].as_array().expect("values"));
    values.map(|value| line_of(value[1].as_str().expect("a line"))).collect()
}

/// Fluent Bit sends an object, the collector the line itself.
fn line_of(text: &str) -> String {
    let object: Option<Value> = serde_json::from_str(text).ok();
    object.and_then(|object| object["log"].as_str().map(str::to_owned)).unwrap_or_else(|| text.to_owned())
}

fn in_app(namespace: &Namespace, script: &str) -> String {
    try_kubectl(&["-n", &namespace.name, "exec", "deploy/app", "-c", "app", "--", "sh", "-c", script], "").unwrap_or_default()
}

/// What was written, from a pod of its own, as that of the writer may be gone.
fn truth(namespace: &Namespace) -> String {
    let mut reader = pod(namespace, "sleep 1000", "Never");
    (reader["apiVersion"], reader["kind"]) = ("v1".into(), "Pod".into());
    reader["metadata"] = json!({"name": "reader"});
    reader["spec"]["terminationGracePeriodSeconds"] = 0.into();
    namespace.apply(&reader.to_string());
    namespace.wait("pod/reader", "condition=Ready");
    namespace.kubectl(&["exec", "reader", "--", "cat", "/truth/all"])
}

fn until_written(namespace: &Namespace, lines: usize) {
    within(Duration::from_secs(180), "the writer", || {
        in_app(namespace, "cat /truth/all | wc -l").trim().parse::<usize>().ok().filter(|written| *written >= lines)
    });
}

/// Waits until nothing is lost, or nothing new has come for long.
fn settle(namespace: &Namespace, shipper: &str) -> Account {
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

/// Loki answers nobody while something is done.
fn without_loki(namespace: &Namespace, meanwhile: impl FnOnce()) {
    let hand =
        |signal: &str| namespace.kubectl(&["exec", "loki", "-c", "hand", "--", "sh", "-c", &kill(signal, "usr/bin/lok[i]")]);
    hand("-STOP");
    meanwhile();
    hand("-CONT");
}

fn hold_up(namespace: &Namespace, seconds: u64) {
    without_loki(namespace, || thread::sleep(Duration::from_secs(seconds)));
}

/// Sends a signal to the process whose command line has these words, which must not be these words themselves.
fn kill(signal: &str, words: &str) -> String {
    format!("for p in /proc/[0-9]*; do grep -q '{words}' $p/cmdline 2>/dev/null && kill {signal} ${{p#/proc/}}; done; true")
}

fn kill_sidecar(namespace: &Namespace, shipper: &str) {
    let words = match shipper {
        "otelCollector" => "/otelcol-contri[b]",
        "fluentBit" => "bin/fluent-bi[t]",
        // By its script.
        _ => "[f]ollowed= live",
    };
    in_app(namespace, &kill("-9", words));
}

fn kill_app(namespace: &Namespace) {
    in_app(namespace, "kill -9 $(cat /truth/pid)");
}

fn delete_pods(namespace: &Namespace) {
    namespace.kubectl(&["delete", "pods", "-l", "app=app", "--wait"]);
}

fn kill_sidecar_again_and_again(namespace: &Namespace, shipper: &str) {
    // Kubernetes keeps what the one before has printed, and not what those before it have.
    for _ in 0..if shipper == "tail" { 1 } else { 3 } {
        kill_sidecar(namespace, shipper);
        thread::sleep(Duration::from_secs(3));
    }
}

/// Something that goes wrong while lines are written.
type Fault = fn(&Namespace, &str);

struct Case {
    name: &'static str,
    rotation: &'static str,
    fault: Fault,
    /// On a claim that outlives the pod.
    durable: bool,
    /// What may be lost.
    loses: bool,
}

const QUIET: Fault = |_, _| {};
const ALL_AT_ONCE: Case = Case {
    name: "all at once",
    rotation: RENAME,
    durable: false,
    // What is rotated while nobody reads is not found again under its new name.
    loses: true,
    fault: |namespace, shipper| {
        kill_sidecar(namespace, shipper);
        kill_app(namespace);
        hold_up(namespace, 20);
        kill_sidecar(namespace, shipper);
    },
};
const CASES: &[Case] = &[
    Case { name: "nothing", rotation: KEEP, durable: false, loses: false, fault: QUIET },
    Case {
        name: "sidecar: kill -9 (tail: once, else three times)",
        rotation: KEEP,
        durable: false,
        loses: false,
        fault: kill_sidecar_again_and_again,
    },
    Case {
        name: "application: kill -9",
        rotation: KEEP,
        durable: false,
        loses: false,
        fault: |namespace, _| kill_app(namespace),
    },
    Case { name: "rotation by rename", rotation: RENAME, durable: false, loses: false, fault: QUIET },
    Case { name: "rotation by delete and create", rotation: REPLACE, durable: false, loses: true, fault: QUIET },
    Case { name: "rotation by copy and truncate", rotation: TRUNCATE, durable: false, loses: true, fault: QUIET },
    Case {
        name: "Loki does not answer for a minute",
        rotation: KEEP,
        durable: false,
        loses: false,
        fault: |namespace, _| hold_up(namespace, 60),
    },
    ALL_AT_ONCE,
    Case { name: "pod deleted", rotation: KEEP, durable: false, loses: false, fault: |namespace, _| delete_pods(namespace) },
    Case {
        name: "pod deleted while Loki does not answer, emptyDir",
        rotation: KEEP,
        durable: false,
        loses: true,
        fault: deleted_in_an_outage,
    },
    Case {
        name: "pod deleted while Loki does not answer, claim",
        rotation: KEEP,
        durable: true,
        loses: false,
        fault: deleted_in_an_outage,
    },
];

fn deleted_in_an_outage(namespace: &Namespace, _: &str) {
    without_loki(namespace, || {
        thread::sleep(Duration::from_secs(3));
        delete_pods(namespace);
        thread::sleep(Duration::from_secs(5));
    });
}

fn provide_claim(namespace: &Namespace) {
    namespace.provide_volume("kept", "64Mi");
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}});
    namespace.apply(&claim.to_string());
}

fn run(case: &Case, shipper: &str) -> Account {
    let namespace = Namespace::new("account");
    let url = if shipper == "tail" { String::new() } else { loki(&namespace) };
    if case.durable {
        provide_claim(&namespace);
    }
    let template = pod(&namespace, &writer(case.rotation, "while [ -z \"$stop\" ]; do sleep 0.2; done"), "Always");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": {
        "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": "app"}}, "template": template}});
    apply(&namespace, &sidecar(shipper, &url, &json!({"name": "app"}), case.durable), &deployment);
    namespace.kubectl(&["rollout", "status", "deployment/app", "--timeout=120s"]);
    until_written(&namespace, LINES / 3);
    (case.fault)(&namespace, shipper);
    eventually("the application again", || in_app(&namespace, "echo up").contains("up").then_some(()));
    within(Duration::from_secs(180), "the end of the writer", || {
        in_app(&namespace, "[ -e /truth/done ] && tail -n 1 /truth/all").contains("last").then_some(())
    });
    settle(&namespace, shipper)
}

fn check(case: &Case, shipper: &str) {
    let account = run(case, shipper);
    let Account { written, lost, duplicated } = account;
    tell(&format!("| {} | {shipper} | {written} | {lost} | {duplicated} |", case.name));
    assert!(written > LINES / 3, "{account:?}");
    assert!(case.loses || lost == 0, "{}: {account:?}", case.name);
    // Each time that something ends in the middle of it, what was under way is sent again.
    assert!(duplicated <= written, "{}: {account:?}", case.name);
}

#[test]
fn every_line_is_accounted_for() {
    if std::env::var_os("ACCOUNTING").is_none() {
        left_out("accounting of every fault", "it takes ten minutes: `make accounting`");
        return;
    }
    tell("| what goes wrong | shipper | written | lost | duplicated |\n|---|---|---|---|---|");
    // What is on standard output goes with its pod, and has no destination that could be down.
    let of_tail = |case: &&Case| !case.name.contains("Loki") && !case.name.contains("pod") && case.name != ALL_AT_ONCE.name;
    let mut all: Vec<(&Case, &str)> = CASES.iter().filter(of_tail).map(|case| (case, "tail")).collect();
    all.extend(shippers().into_iter().flat_map(|shipper| CASES.iter().map(move |case| (case, shipper))));
    let failed: Vec<String> = all
        .chunks(4)
        .flat_map(|some| {
            thread::scope(|scope| {
                let running: Vec<_> = some.iter().map(|(case, shipper)| scope.spawn(move || check(case, shipper))).collect();
                let ended =
                    running.into_iter().zip(some).filter_map(|(one, (case, _))| one.join().err().map(|_| case.name.to_owned()));
                ended.collect::<Vec<_>>()
            })
        })
        .collect();
    assert_eq!(failed, Vec::<String>::new());
}

/// A Job, and one that a CronJob makes: they complete, and their last line has arrived.
#[test]
fn jobs_complete_and_their_last_line_arrives() {
    for shipper in shippers() {
        let namespace = Namespace::new("account-job");
        let url = loki(&namespace);
        let script = "for i in 1 2 3; do echo \"line $HOSTNAME $i\" >> /logs/app.log; done; echo \"line $HOSTNAME last\" >> /logs/app.log";
        let template = pod(&namespace, script, "Never");
        let job =
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}});
        apply(&namespace, &sidecar(shipper, &url, &json!({"kind": "Job", "name": "once"}), false), &job);
        let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron"}, "spec": {
            "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}});
        namespace.apply(&cron.to_string());
        namespace.apply(&sidecar(shipper, &url, &json!({"kind": "CronJob", "name": "cron"}), false).to_string());
        namespace.wait_ready("ship");
        namespace.kubectl(&["create", "job", "again", "--from=cronjob/cron"]);
        for job in ["once", "again"] {
            namespace.wait(&format!("job/{job}"), "condition=Complete");
        }
        eventually("the last lines", || {
            (in_loki(&namespace).iter().filter(|line| line.ends_with(" last")).count() >= 2).then_some(())
        });
    }
}
