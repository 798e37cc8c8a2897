//! The built-in shipper is a good citizen of its pod.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::{Namespace, eventually, logsidecar, try_kubectl};

/// A pod whose application runs that script, with `tail` on /logs; returns when it runs.
fn pod(namespace: &Namespace, script: &str, change: impl FnOnce(&mut Value)) {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"}, "spec": {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 10,
        "containers": [{"name": "app", "image": "busybox:1.36", "command": ["sh", "-c", script]}]}});
    change(&mut pod);
    let sidecar = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"kind": "Pod", "name": "app"}, "logs": [{"name": "l", "directory": "/logs"}]}});
    let injected = logsidecar(&["inject", "-f", "-", "--tail-image=busybox:1.36"], &format!("{sidecar}\n---\n{pod}\n"));
    namespace.apply(&injected);
}

fn printed(namespace: &Namespace) -> Vec<String> {
    let text = try_kubectl(&["-n", &namespace.name, "logs", "app", "-c", "ship"], "").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn late_and_rotated_files_are_read_and_the_last_line_gets_out() {
    let namespace = Namespace::new("tail");
    // Numbered lines into a file that is rotated by name every 500, and one into a file that comes late, at the very end.
    let script = "cd /logs; i=0; while [ $i -lt 2000 ]; do echo line $i >> a.log; i=$((i+1)); \
                  if [ $((i % 500)) = 0 ]; then sleep 2; mv a.log a.log.$i; fi; done; echo the last > late.log";
    pod(&namespace, script, |_| {});
    namespace.wait("pod/app", "jsonpath={.status.phase}=Succeeded");
    let lines = printed(&namespace);
    let numbers: BTreeSet<usize> = lines.iter().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    assert_eq!((numbers.len(), lines.len()), (2000, 2001), "lines that are lost, or printed twice");
    assert!(lines.iter().any(|line| line == "the last"));
}

#[test]
fn it_ends_soon_and_well_when_it_is_told_to() {
    let namespace = Namespace::new("tail-end");
    pod(&namespace, "echo line > /logs/a.log", |_| {});
    namespace.wait("pod/app", "jsonpath={.status.phase}=Succeeded");
    let status = namespace.json(&["get", "pod", "app"])["status"].clone();
    let ended = |status: &Value| status[0]["state"]["terminated"].clone();
    let (app, ship) = (ended(&status["containerStatuses"]), ended(&status["initContainerStatuses"]));
    assert_eq!(ship["exitCode"], 0);
    let seconds = |time: &Value| time.as_str().and_then(|time| time[17..19].parse::<i64>().ok()).expect("a time");
    // To the second: at most two, and what the kubelet needs to see that the application has ended and to send the signal.
    let took = (seconds(&ship["finishedAt"]) - seconds(&app["finishedAt"])).rem_euclid(60);
    assert!(took <= 4, "{took} s");
}

#[test]
fn it_says_so_if_it_cannot_read_a_file() {
    let namespace = Namespace::new("tail-unreadable");
    // The container's own user is not the one that the sidecar can know of.
    let script = "umask 777; echo secret > /logs/a.log; sleep 3600";
    pod(&namespace, script, |pod| pod["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsNonRoot": true}));
    let expected = "logsidecar: cannot read /logs/a.log as user 1000, group 0: set runAsUser in sidecar.container.securityContext to the owner of the file";
    eventually("what the sidecar says", || printed(&namespace).iter().any(|line| line == expected).then_some(()));
    assert_eq!(printed(&namespace), [expected]);
}

#[test]
fn it_runs_under_the_strictest_policy_and_reads_the_applications_private_files() {
    let namespace = Namespace::new("tail-restricted");
    namespace.kubectl(&["label", "namespace", &namespace.name, "pod-security.kubernetes.io/enforce=restricted"]);
    pod(&namespace, "umask 077; echo private > /logs/a.log; sleep 3600", |pod| {
        pod["spec"]["securityContext"] =
            json!({"runAsNonRoot": true, "runAsUser": 1234, "seccompProfile": {"type": "RuntimeDefault"}});
        pod["spec"]["containers"][0]["securityContext"] =
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    });
    eventually("the private line", || (printed(&namespace) == ["private"]).then_some(()));
}
