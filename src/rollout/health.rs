//! How a sidecar is doing in the pods of a workload.
//!
//! A workload's own status is not enough: a native sidecar that crashes after 12 s has made its Deployment available after 3 s,
//! and one that cannot start shows in the workload only when its deadline has passed, ten minutes later.

use serde_json::Value;

use crate::workload::{key::list, kind::Kind};

/// The reasons by which the kubelet says that a container will not run as things are. (The first failure to pull, `ErrImagePull`,
/// may be an accident; it becomes `ImagePullBackOff`.)
const HOPELESS: [&str; 7] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// How far the clocks of a node and of ours may be apart, in seconds.
const SKEW: i64 = 5;

/// What the pods say about the sidecars in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// A sidecar fails.
    Failing {
        /// The name of its container.
        container: String,
        /// In which pod, and how.
        cause: String,
    },
    /// There is no such pod.
    Unseen,
    /// Some do not run yet.
    Starting,
    /// All run, and none has ever restarted.
    Running,
}

/// The workload whose pods are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// Judges the sidecars with these container names.
///
/// `pods` are all that the selector of the workload finds, which may be others', too. `since` is when the template was written, in
/// seconds since 1970 by the clock of the API server: older pods are of the template before, and say nothing. `None` where all
/// pods are known to be new. What ended before `began` does not count: there may have been another try, or its node was restarted.
#[must_use]
pub fn health(pods: &[Value], workload: Workload<'_>, containers: &[&str], since: Option<i64>, began: i64) -> Health {
    let new = |pod: &&Value| since.is_none_or(|since| created(pod).is_none_or(|created| created >= since));
    let (mut all_run, mut any) = (true, false);
    for pod in pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null() && is_of(pod, workload)).filter(new) {
        any = true;
        for name in containers {
            match status(pod, name).map(|status| failure(status, began)) {
                Some(Err(cause)) => {
                    let cause =
                        format!("container {name} in pod {} {cause}", pod["metadata"]["name"].as_str().unwrap_or_default());
                    return Health::Failing { container: (*name).to_owned(), cause };
                }
                Some(Ok(runs)) => all_run &= runs,
                None => all_run = false,
            }
        }
    }
    match (any, all_run) {
        (false, _) => Health::Unseen,
        (true, true) => Health::Running,
        (true, false) => Health::Starting,
    }
}

/// The pods of a Deployment are owned by a `ReplicaSet` that is called after it and the hash in their labels.
fn is_of(pod: &Value, workload: Workload<'_>) -> bool {
    let Some(owner) = list(&pod["metadata"], "ownerReferences").find(|owner| owner["controller"] == true) else { return false };
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    match workload.kind {
        Kind::StatefulSet | Kind::DaemonSet => text("uid") == workload.uid,
        Kind::Deployment => {
            let hash = pod.pointer("/metadata/labels/pod-template-hash").and_then(Value::as_str).unwrap_or_default();
            text("name").strip_suffix(hash).and_then(|name| name.strip_suffix('-')) == Some(workload.name)
        }
        // Whoever serves a custom resource makes pods as he likes.
        _ => text("uid") == workload.uid || text("name").starts_with(&format!("{}-", workload.name)),
    }
}

fn created(pod: &Value) -> Option<i64> {
    seconds(&pod["metadata"]["creationTimestamp"])
}

fn seconds(time: &Value) -> Option<i64> {
    let time: k8s_openapi::jiff::Timestamp = time.as_str()?.parse().ok()?;
    Some(time.as_second())
}

fn status<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    let statuses = ["initContainerStatuses", "containerStatuses"].into_iter().flat_map(|field| list(&pod["status"], field));
    statuses.into_iter().find(|status| status["name"] == container)
}

/// Whether a container runs; the error says how it fails.
fn failure(status: &Value, began: i64) -> Result<bool, String> {
    let waiting = status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
    let ended = [&status["state"]["terminated"], &status["lastState"]["terminated"]].into_iter().find(|end| end.is_object());
    if ended.and_then(|end| seconds(&end["finishedAt"])).is_some_and(|at| at < began - SKEW) {
        // It may still be waiting for the pause after that to end.
        return Ok(status["state"]["running"].is_object());
    }
    let restarts = status["restartCount"].as_i64().unwrap_or_default();
    let exit = ended.map(|end| {
        let code = end["exitCode"].as_i64().unwrap_or_default();
        let reason = end["reason"].as_str().filter(|reason| *reason != "Error" && *reason != "Completed");
        reason.map_or_else(|| format!("exit code {code}"), |reason| format!("{reason}, exit code {code}"))
    });
    if restarts > 0 || ended.is_some() {
        let again = match restarts {
            0 => String::new(),
            1 => " and was restarted once".to_owned(),
            restarts => format!(" and was restarted {restarts} times"),
        };
        return Err(format!("has ended ({}){again}", exit.as_deref().unwrap_or("unknown exit code")));
    }
    if HOPELESS.contains(&waiting) {
        return Err(format!("does not start ({waiting})"));
    }
    Ok(status["state"]["running"].is_object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const WEB: Workload<'_> = Workload { kind: Kind::Deployment, name: "web", uid: "u" };

    fn pod(owner: &str, created: &str, field: &str, status: Value) -> Value {
        let mut status = status;
        status["name"] = "ship".into();
        json!({
            "metadata": {"name": "p", "creationTimestamp": created, "labels": {"pod-template-hash": "abc"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": owner, "uid": "r", "controller": true}]},
            "status": {field: [status]},
        })
    }

    fn judged(status: Value) -> Health {
        health(&[pod("web-abc", "2026-01-01T00:00:00Z", "initContainerStatuses", status)], WEB, &["ship"], None, 0)
    }

    fn failing(cause: &str) -> Health {
        Health::Failing { container: "ship".into(), cause: format!("container ship in pod p {cause}") }
    }

    #[test]
    fn a_sidecar_fails_when_it_ends_or_cannot_start() {
        let table = [
            (json!({"state": {"running": {}}}), Health::Running),
            (json!({"state": {"waiting": {"reason": "PodInitializing"}}}), Health::Starting),
            (json!({"state": {"waiting": {"reason": "ErrImagePull"}}}), Health::Starting),
            (json!({"state": {"waiting": {"reason": "ImagePullBackOff"}}}), failing("does not start (ImagePullBackOff)")),
            (json!({"state": {"terminated": {"exitCode": 3, "reason": "Error"}}}), failing("has ended (exit code 3)")),
            (
                json!({"state": {"running": {}}, "restartCount": 1, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}),
                failing("has ended (OOMKilled, exit code 137) and was restarted once"),
            ),
        ];
        for (status, expected) in table {
            assert_eq!(judged(status.clone()), expected, "{status}");
        }
    }

    #[test]
    fn what_ended_before_it_began_says_nothing() {
        let ended = |state: Value| json!({"state": state, "restartCount": 3, "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}}});
        let at = |state: Value, began| {
            let pod = pod("web-abc", "2026-01-01T00:00:00Z", "containerStatuses", ended(state));
            health(&[pod], WEB, &["ship"], None, began)
        };
        let new_year = 1_767_225_600;
        assert_eq!(at(json!({"running": {}}), new_year), failing("has ended (exit code 1) and was restarted 3 times"));
        assert_eq!(at(json!({"running": {}}), new_year + 60), Health::Running);
        assert_eq!(at(json!({"waiting": {"reason": "CrashLoopBackOff"}}), new_year + 60), Health::Starting);
    }

    #[test]
    fn only_new_pods_of_the_workload_count() {
        let bad = || json!({"state": {"terminated": {"exitCode": 1}}});
        let at = |pods: &[Value], since| health(pods, WEB, &["ship"], since, 0);
        let old = pod("web-abc", "2026-01-01T00:00:00Z", "containerStatuses", bad());
        let since = created(&old);
        assert_eq!(at(std::slice::from_ref(&old), since), failing("has ended (exit code 1)"));
        assert_eq!(at(std::slice::from_ref(&old), since.map(|since| since + 1)), Health::Unseen);
        let others = pod("web-front-abc", "2026-01-01T00:00:00Z", "containerStatuses", bad());
        assert_eq!(at(&[others], None), Health::Unseen);
        let mut deleted = old;
        deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z".into();
        assert_eq!(at(&[deleted], None), Health::Unseen);
    }
}
