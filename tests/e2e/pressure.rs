//! A destination that is down and an application that writes fast: the pod stays ready, and the sidecar stays small.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    cluster::{Namespace, tell, within},
    lines::{apply, command_line, in_app, loki, pod, shippers, sidecar, without_loki},
};

/// `bufferSize` here, in MiB.
const BUFFER: u64 = 16;

/// What the state volume may have, in MiB, as `docs/delivery.md` says: the buffer and as much again, as files of a database are not
/// given back at once, and what takes no more than that.
const DISK: u64 = 2 * BUFFER + 8;

/// Two hundred megabytes in lines of two hundred bytes, some twenty megabytes a second.
const FAST: &str = "line=$(printf '%0199d' 0); for i in $(seq 100); do yes $line | head -c 2000000 >> /logs/app.log; sleep 0.1; done; touch /truth/done; sleep 100000";

/// What was the most.
#[derive(Debug, Default)]
struct Peak {
    memory: u64,
    disk: u64,
}

/// How much memory the sidecar has, and how much is on its state volume, in MiB, as another container of the pod sees it.
fn look(namespace: &Namespace, shipper: &str) -> Option<(u64, u64)> {
    let script = format!(
        "for p in /proc/[0-9]*; do grep -q '{}' $p/cmdline 2>/dev/null || continue; \
           grep VmRSS $p/status | tr -dc '0-9\\n'; du -sk $p/root/logsidecar/state | cut -f1; exit; done",
        command_line(shipper)
    );
    let answer = in_app(namespace, &script);
    let mut numbers = answer.lines().map_while(|line| line.trim().parse::<u64>().ok());
    Some((numbers.next()? >> 10, numbers.next()? >> 10))
}

fn the_pod(namespace: &Namespace) -> Value {
    namespace.json(&["get", "pods", "-l", "app=app"])["items"][0].clone()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// The limit of memory that stands in the pod, in MiB.
fn limit(pod: &Value) -> u64 {
    let containers = pod["spec"]["initContainers"].as_array().expect("a sidecar");
    let limit = containers[0]["resources"]["limits"]["memory"].as_str().expect("a limit");
    limit.strip_suffix("Mi").and_then(|limit| limit.parse().ok()).expect("MiB")
}

#[test]
fn a_destination_that_is_down_costs_no_more_than_stated() {
    for shipper in shippers() {
        let namespace = Namespace::new("pressure");
        let url = loki(&namespace);
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": {
            "selector": {"matchLabels": {"app": "app"}}, "template": pod(&namespace, FAST, "Always")}});
        let mut ship = sidecar(shipper, &url, &json!({"name": "app"}), &json!({}), false);
        ship["spec"]["sidecar"][shipper]["bufferSize"] = format!("{BUFFER}Mi").into();
        let peak = without_loki(&namespace, || {
            apply(&namespace, &ship, &deployment);
            namespace.kubectl(&["rollout", "status", "deployment/app", "--timeout=180s"]);
            let mut peak = Peak::default();
            let mut written = None::<Instant>;
            within(Duration::from_secs(300), "half a minute after the last line", || {
                let (memory, disk) = look(&namespace, shipper)?;
                (peak.memory, peak.disk) = (peak.memory.max(memory), peak.disk.max(disk));
                assert!(is_ready(&the_pod(&namespace)), "{shipper}: the pod is not ready: {peak:?}");
                if written.is_none() && in_app(&namespace, "ls /truth").contains("done") {
                    written = Some(Instant::now());
                }
                written.filter(|written| written.elapsed() > Duration::from_secs(30)).map(drop)
            });
            peak
        });
        let pod = the_pod(&namespace);
        let limit = limit(&pod);
        tell(&format!(
            "{shipper}, 200 MB written in ten seconds while Loki does not answer, bufferSize {BUFFER}Mi: at most {} MiB of memory \
             (of {limit}), {} MiB of disk (of {DISK}); the pod was ready throughout",
            peak.memory, peak.disk
        ));
        assert_eq!(pod["status"]["initContainerStatuses"][0]["restartCount"], 0, "{shipper}: restarted, {peak:?}");
        assert!(peak.memory < limit && peak.disk <= DISK, "{shipper}: {peak:?}");
    }
}
