//! The health of pods, container by container. Pure: pods in, findings out.
//!
//! The status of a workload is not enough: a native sidecar that crashes after 12 s has made its Deployment available after 3 s, and
//! one that cannot start shows in the workload only when its deadline has passed, ten minutes later.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::workload::{key::list, kind::Kind};

/// The reasons by which the kubelet says that a container will not run as things are. (The first failure to pull, `ErrImagePull`,
/// may be transient; it becomes `ImagePullBackOff`.)
const HOPELESS: [&str; 7] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// How far the clocks of a node and of this program may differ.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// The health of the sidecars in the pods of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SidecarHealth {
    /// A sidecar fails.
    Failing {
        /// The name of its container.
        container: String,
        /// In which pod, and how.
        cause: String,
    },
    /// There is no such pod.
    NoPods,
    /// Some do not run yet.
    Starting,
    /// All run, and none has ever restarted.
    Running,
}

/// The state of one container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerHealth {
    /// The name of the container.
    pub name: String,
    /// Its state.
    pub state: ContainerState,
}

/// Whether a container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// It runs and has not ended since the change began.
    Running,
    /// It does not run yet.
    Starting,
    /// It has ended, or will not start: how.
    Failed(String),
}

/// The workload whose pods are judged.
#[derive(Clone, Copy, Debug)]
pub struct PodOwner<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// Judges the sidecars with these container names.
///
/// `pods` are all that the selector of the workload finds, which may belong to others, too. `since` is when the template was written, by
/// the clock of the API server: older pods have the template before it, and say nothing. `None` where all pods are known to be new.
#[must_use]
pub fn sidecar_health(
    pods: &[Value],
    owner: PodOwner<'_>,
    sidecars: &[&str],
    since: Option<Timestamp>,
    began: Timestamp,
) -> SidecarHealth {
    let is_new = |pod: &&Value| since.is_none_or(|since| created(pod).is_none_or(|created| created >= since));
    let is_live = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null() && is_owned(pod, owner);
    let (mut all_run, mut any) = (true, false);
    for pod in pods.iter().filter(is_live).filter(is_new) {
        any = true;
        let containers = pod_health(pod, began);
        for name in sidecars {
            match containers.iter().find(|container| container.name == *name).map(|container| &container.state) {
                Some(ContainerState::Failed(how)) => {
                    let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
                    let cause = format!("container {name} in pod {pod} {how}");
                    return SidecarHealth::Failing { container: (*name).to_owned(), cause };
                }
                Some(ContainerState::Running) => {}
                Some(ContainerState::Starting) | None => all_run = false,
            }
        }
    }
    match (any, all_run) {
        (false, _) => SidecarHealth::NoPods,
        (true, true) => SidecarHealth::Running,
        (true, false) => SidecarHealth::Starting,
    }
}

/// The state of every container of a pod that has a status, init containers first. What ended before `began` does not count: an
/// earlier attempt, or a restart of the node, may have ended it.
#[must_use]
pub fn pod_health(pod: &Value, began: Timestamp) -> Vec<ContainerHealth> {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let statuses = lists.into_iter().flat_map(|field| list(&pod["status"], field));
    let health = |status: &Value| {
        let name = status["name"].as_str()?.to_owned();
        Some(ContainerHealth { name, state: container_state(status, began) })
    };
    statuses.filter_map(health).collect()
}

/// The pods of a Deployment are owned by a `ReplicaSet` that is named after it and the hash in their labels.
fn is_owned(pod: &Value, owner: PodOwner<'_>) -> bool {
    let Some(reference) = list(&pod["metadata"], "ownerReferences").find(|owner| owner["controller"] == true) else {
        return false;
    };
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    match owner.kind {
        Kind::StatefulSet | Kind::DaemonSet => text("uid") == owner.uid,
        Kind::Deployment => {
            let hash = pod.pointer("/metadata/labels/pod-template-hash").and_then(Value::as_str).unwrap_or_default();
            text("name").strip_suffix(hash).and_then(|name| name.strip_suffix('-')) == Some(owner.name)
        }
        // The controller of a custom resource may put objects with names of its own in between.
        Kind::Custom(_)
        | Kind::CronJob
        | Kind::Job
        | Kind::Pod
        | Kind::PodTemplate
        | Kind::ReplicaSet
        | Kind::ReplicationController => text("uid") == owner.uid || text("name").starts_with(&format!("{}-", owner.name)),
    }
}

fn created(pod: &Value) -> Option<Timestamp> {
    timestamp(&pod["metadata"]["creationTimestamp"])
}

fn timestamp(time: &Value) -> Option<Timestamp> {
    time.as_str()?.parse().ok()
}

fn container_state(status: &Value, began: Timestamp) -> ContainerState {
    let running = status["state"]["running"].is_object();
    let runs = if running { ContainerState::Running } else { ContainerState::Starting };
    let waiting = status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
    let ended = [&status["state"]["terminated"], &status["lastState"]["terminated"]].into_iter().find(|end| end.is_object());
    // In seconds: users may write any time into a status, and one near the end of time has no successor.
    let is_earlier = |at: Timestamp| at.as_second().saturating_add(CLOCK_SKEW.as_secs()) < began.as_second();
    if ended.and_then(|end| timestamp(&end["finishedAt"])).is_some_and(is_earlier) {
        // It may still be in the back-off after that.
        return runs;
    }
    let restarts = status["restartCount"].as_i64().unwrap_or_default();
    if restarts > 0 || ended.is_some() {
        return ContainerState::Failed(end_of(ended, restarts));
    }
    if HOPELESS.contains(&waiting) {
        return ContainerState::Failed(format!("does not start ({waiting})"));
    }
    runs
}

fn end_of(ended: Option<&Value>, restarts: i64) -> String {
    let exit = ended.map_or_else(
        || "unknown exit code".to_owned(),
        |end| {
            let code = end["exitCode"].as_i64().unwrap_or_default();
            let reason = end["reason"].as_str().filter(|reason| *reason != "Error" && *reason != "Completed");
            reason.map_or_else(|| format!("exit code {code}"), |reason| format!("{reason}, exit code {code}"))
        },
    );
    let again = match restarts {
        0 => String::new(),
        1 => " and was restarted once".to_owned(),
        restarts => format!(" and was restarted {restarts} times"),
    };
    format!("has ended ({exit}){again}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const WEB: PodOwner<'_> = PodOwner { kind: Kind::Deployment, name: "web", uid: "u" };

    fn pod(owner: &str, created: &str, field: &str, status: Value) -> Value {
        let mut status = status;
        status["name"] = "ship".into();
        json!({
            "metadata": {"name": "p", "creationTimestamp": created, "labels": {"pod-template-hash": "abc"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": owner, "uid": "r", "controller": true}]},
            "status": {field: [status]},
        })
    }

    fn judged(status: Value) -> SidecarHealth {
        let pod = pod("web-abc", "2026-01-01T00:00:00Z", "initContainerStatuses", status);
        sidecar_health(&[pod], WEB, &["ship"], None, Timestamp::UNIX_EPOCH)
    }

    fn failing(cause: &str) -> SidecarHealth {
        SidecarHealth::Failing { container: "ship".into(), cause: format!("container ship in pod p {cause}") }
    }

    #[test]
    fn sidecar_fails_when_it_ends_or_cannot_start() {
        let table = [
            (json!({"state": {"running": {}}}), SidecarHealth::Running),
            (json!({"state": {"waiting": {"reason": "PodInitializing"}}}), SidecarHealth::Starting),
            (json!({"state": {"waiting": {"reason": "ErrImagePull"}}}), SidecarHealth::Starting),
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
    fn every_container_of_a_pod_has_its_state() {
        let pod = json!({"status": {
            "initContainerStatuses": [{"name": "init", "state": {"terminated": {"exitCode": 0}}}],
            "containerStatuses": [{"name": "app", "state": {"running": {}}}, {"name": "db", "state": {}}],
        }});
        let state = |name: &str, state| ContainerHealth { name: name.into(), state };
        let expected = [
            state("init", ContainerState::Failed("has ended (exit code 0)".into())),
            state("app", ContainerState::Running),
            state("db", ContainerState::Starting),
        ];
        assert_eq!(pod_health(&pod, Timestamp::UNIX_EPOCH), expected);
    }

    #[test]
    fn what_ended_before_the_change_began_does_not_count() {
        let ended = |state: Value| json!({"state": state, "restartCount": 3, "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}}});
        let at = |state: Value, began: &str| {
            let pod = pod("web-abc", "2026-01-01T00:00:00Z", "containerStatuses", ended(state));
            sidecar_health(&[pod], WEB, &["ship"], None, began.parse().expect("a time"))
        };
        let (same, later) = ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z");
        assert_eq!(at(json!({"running": {}}), same), failing("has ended (exit code 1) and was restarted 3 times"));
        assert_eq!(at(json!({"running": {}}), later), SidecarHealth::Running);
        assert_eq!(at(json!({"waiting": {"reason": "CrashLoopBackOff"}}), later), SidecarHealth::Starting);
    }

    #[test]
    fn only_new_pods_of_the_workload_count() {
        let bad = || json!({"state": {"terminated": {"exitCode": 1}}});
        let at = |pods: &[Value], since| sidecar_health(pods, WEB, &["ship"], since, Timestamp::UNIX_EPOCH);
        let old = pod("web-abc", "2026-01-01T00:00:00Z", "containerStatuses", bad());
        let since = created(&old);
        assert_eq!(at(std::slice::from_ref(&old), since), failing("has ended (exit code 1)"));
        let later = since.map(|since| since + SignedDuration::from_secs(1));
        assert_eq!(at(std::slice::from_ref(&old), later), SidecarHealth::NoPods);
        let others = pod("web-front-abc", "2026-01-01T00:00:00Z", "containerStatuses", bad());
        assert_eq!(at(&[others], None), SidecarHealth::NoPods);
        let mut deleted = old;
        deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z".into();
        assert_eq!(at(&[deleted], None), SidecarHealth::NoPods);
    }
}
