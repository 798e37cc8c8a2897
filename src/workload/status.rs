//! How the pods of a workload are doing, by its own status.
//!
//! Done means observed, and updated = replicas = available: `Available=True` alone also holds for a paused Deployment, and while
//! the old pods still run.

use std::time::Duration;

use serde_json::Value;

use crate::{
    api::Reason,
    workload::{kind::Kind, ledger::Before},
};

/// Kubernetes' own default for Deployments, in seconds; other kinds have none.
const DEADLINE: i64 = 600;

/// `progressDeadlineSeconds` of a Deployment without a deadline. The default counts instead, or it would keep its place forever.
const NEVER: i64 = 2_147_483_647;

fn deadline(written: i64) -> Duration {
    Duration::from_secs(u64::try_from(if written == NEVER { DEADLINE } else { written }).unwrap_or_default())
}

/// How far a workload is with replacing its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every pod is of the current template, and available.
    Done,
    /// Pods are being replaced, or start.
    Moving,
    /// Every pod is of the current template and was available once, and some are not any more.
    Degraded,
    /// It has given up: why.
    Stuck(Box<str>),
    /// Nothing happens before its owner does something: [`Reason::Paused`], [`Reason::OnDelete`] or [`Reason::Partitioned`].
    Held(Reason),
}

/// The rollout state of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadStatus {
    /// How far it is.
    pub progress: Progress,
    /// How many pods it is to have; those of a `CronJob` come and go by themselves: none.
    pub pods: u32,
    /// How many of them are of the current template, and how many are available, whichever template they are of.
    pub new: u32,
    /// See `new`.
    pub available: u32,
    /// How long it may make no progress.
    pub deadline: Duration,
    /// Whether a new pod has to start before an old one may go.
    pub surges: bool,
    /// Whether all of its pods stop before a new one starts.
    pub recreates: bool,
}

impl WorkloadStatus {
    /// Reads an object of that kind.
    #[must_use]
    pub fn of(kind: Kind, object: &Value) -> Self {
        const REPLICAS: (&str, &str) = ("updatedReplicas", "availableReplicas");
        let object = Object(object);
        let (pods, (new, available)) = match kind {
            Kind::CronJob => (0, REPLICAS),
            Kind::DaemonSet => {
                (object.number("/status/desiredNumberScheduled", 0), ("updatedNumberScheduled", "numberAvailable"))
            }
            Kind::Deployment
            | Kind::StatefulSet
            | Kind::ReplicaSet
            | Kind::ReplicationController
            | Kind::Job
            | Kind::Pod
            | Kind::PodTemplate
            | Kind::Custom(_) => (object.number("/spec/replicas", 1), REPLICAS),
        };
        let is_recreate = object.text("/spec/strategy/type") == "Recreate";
        let count = |number: i64| u32::try_from(number).unwrap_or_default();
        Self {
            progress: progress(kind, object),
            pods: count(pods),
            new: count(object.count(new)),
            available: count(object.count(available)),
            deadline: deadline(object.number("/spec/progressDeadlineSeconds", DEADLINE)),
            surges: matches!(kind, Kind::Deployment | Kind::Custom(_)) && !is_recreate && object.max_unavailable(pods) == 0,
            recreates: is_recreate,
        }
    }

    /// Its pods of the current template, and its available pods.
    #[must_use]
    pub const fn counts(&self) -> PodCounts {
        PodCounts { new: self.new, available: self.available }
    }

    /// The word for status.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self.progress {
            Progress::Done => Reason::Available,
            Progress::Moving | Progress::Degraded => Reason::RollingOut,
            Progress::Stuck(_) => Reason::RolloutFailed,
            Progress::Held(reason) => reason,
        }
    }

    /// How far it is, in a sentence.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.progress {
            Progress::Stuck(why) => String::from(&**why),
            Progress::Moving | Progress::Degraded | Progress::Held(_) if self.pods > 0 => {
                format!("{} of {} pods are new, {} available", self.new, self.pods, self.available)
            }
            Progress::Moving | Progress::Degraded | Progress::Held(_) | Progress::Done => String::new(),
        }
    }

    /// Returns the current health, to record it before a change.
    #[must_use]
    pub fn before(&self) -> Before {
        match self.progress {
            Progress::Done | Progress::Held(_) => Before::Well,
            Progress::Moving => Before::Moving,
            Progress::Stuck(_) | Progress::Degraded => Before::Broken,
        }
    }

    /// Whether what becomes of it says anything about a sidecar: it has pods, and they are available or on their way.
    #[must_use]
    pub fn is_conclusive(&self) -> bool {
        matches!(self.progress, Progress::Done | Progress::Moving) && self.pods > 0
    }
}

/// Pod counts that grow while a rollout makes progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodCounts {
    /// Pods of the current template.
    pub new: u32,
    /// Available pods, of whichever template.
    pub available: u32,
}

#[derive(Clone, Copy)]
struct Object<'a>(&'a Value);

impl Object<'_> {
    fn number(self, pointer: &str, default: i64) -> i64 {
        self.0.pointer(pointer).and_then(Value::as_i64).unwrap_or(default)
    }

    fn count(self, field: &str) -> i64 {
        self.number(&format!("/status/{field}"), 0)
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Some custom resources have it as text.
    fn is_observed(self) -> bool {
        let observed = self.0.pointer("/status/observedGeneration");
        let observed = observed.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
        observed.unwrap_or_default() >= self.number("/metadata/generation", 0)
    }

    fn condition(self, kind: &str) -> Option<&'static str> {
        let conditions = self.0.pointer("/status/conditions").and_then(Value::as_array);
        let condition = conditions.into_iter().flatten().find(|condition| condition["type"] == kind)?;
        Some(match (condition["status"].as_str(), condition["reason"].as_str()) {
            (Some("False"), _) => "False",
            (_, Some("NewReplicaSetAvailable")) => "complete",
            _ => "True",
        })
    }

    /// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#max-unavailable>: 25 %, rounded down.
    fn max_unavailable(self, pods: i64) -> i64 {
        let written = self.0.pointer("/spec/strategy/rollingUpdate/maxUnavailable");
        let share = |text: &str| text.strip_suffix('%').and_then(|percent| percent.parse::<i64>().ok());
        match written {
            Some(Value::Number(number)) => number.as_i64().unwrap_or_default(),
            Some(Value::String(text)) => pods * share(text).unwrap_or_default() / 100,
            _ => pods / 4,
        }
    }

    /// All pods there are, are new and available; otherwise some are still to be replaced, or are not available.
    fn replicas(self, wanted: i64) -> Progress {
        let (all, new) = (self.count("replicas"), self.count("updatedReplicas"));
        if all != wanted || new != wanted {
            Progress::Moving
        } else if self.count("availableReplicas") == wanted {
            Progress::Done
        } else {
            Progress::Degraded
        }
    }
}

fn progress(kind: Kind, object: Object<'_>) -> Progress {
    let is_paused = object.0.pointer("/spec/paused") == Some(&Value::Bool(true));
    match kind {
        // The next Job has the new template; those that run are left alone.
        Kind::CronJob => Progress::Done,
        Kind::Deployment | Kind::Custom(_) if is_paused => Progress::Held(Reason::Paused),
        // Its controller has written no status yet, and may not exist: there is nothing to wait for.
        Kind::Custom(_) if object.0.get("status").is_none_or(Value::is_null) => Progress::Done,
        _ if !object.is_observed() => Progress::Moving,
        Kind::DaemonSet => daemon_set(object),
        Kind::StatefulSet => stateful_set(object),
        Kind::Custom(_) => custom(object),
        Kind::Deployment | Kind::ReplicaSet | Kind::ReplicationController | Kind::Job | Kind::Pod | Kind::PodTemplate => {
            deployment(object)
        }
    }
}

fn deployment(object: Object<'_>) -> Progress {
    let wanted = object.number("/spec/replicas", 1);
    let progressing = object.condition("Progressing");
    match object.replicas(wanted) {
        Progress::Done => Progress::Done,
        _ if progressing == Some("False") => {
            let seconds = object.number("/spec/progressDeadlineSeconds", 600);
            Progress::Stuck(format!("its pods did not become available within progressDeadlineSeconds ({seconds} s)").into())
        }
        // Available once, and not any more; before that it is starting.
        Progress::Degraded if progressing == Some("complete") => Progress::Degraded,
        _ => Progress::Moving,
    }
}

fn custom(object: Object<'_>) -> Progress {
    if object.0.pointer("/status/controllerPause") == Some(&Value::Bool(true)) {
        return Progress::Held(Reason::Paused);
    }
    let counts = ["replicas", "updatedReplicas", "availableReplicas"];
    if !counts.iter().any(|field| object.0.pointer(&format!("/status/{field}")).is_some()) {
        return Progress::Done;
    }
    deployment(object)
}

fn stateful_set(object: Object<'_>) -> Progress {
    let wanted = object.number("/spec/replicas", 1);
    let (new, available) = (object.count("updatedReplicas"), object.count("availableReplicas"));
    let all_new = object.text("/status/currentRevision") == object.text("/status/updateRevision");
    if wanted == 0 || (all_new && object.count("replicas") == wanted && available == wanted) {
        return Progress::Done;
    }
    if object.text("/spec/updateStrategy/type") == "OnDelete" {
        // It never says that they are all new: `currentRevision` stays behind.
        return if new == wanted && available == wanted { Progress::Done } else { Progress::Held(Reason::OnDelete) };
    }
    let kept = object.number("/spec/updateStrategy/rollingUpdate/partition", 0).clamp(0, wanted);
    if kept > 0 && new >= wanted - kept && available == wanted {
        return Progress::Held(Reason::Partitioned);
    }
    if all_new && object.count("replicas") == wanted { Progress::Degraded } else { Progress::Moving }
}

fn daemon_set(object: Object<'_>) -> Progress {
    let wanted = object.count("desiredNumberScheduled");
    let (new, available) = (object.count("updatedNumberScheduled"), object.count("numberAvailable"));
    match (new == wanted, available == wanted) {
        (true, true) => Progress::Done,
        (false, _) if object.text("/spec/updateStrategy/type") == "OnDelete" => Progress::Held(Reason::OnDelete),
        (true, false) => Progress::Degraded,
        (false, _) => Progress::Moving,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(kind: Kind, spec: &Value, status: &Value) -> Progress {
        WorkloadStatus::of(kind, &json!({"metadata": {"generation": 3}, "spec": spec, "status": status})).progress
    }

    #[test]
    fn a_deployment_is_done_when_all_pods_are_new_and_available() {
        let status = |observed: i64, all: i64, new: i64, available: i64| json!({"observedGeneration": observed, "replicas": all, "updatedReplicas": new, "availableReplicas": available});
        let with = |mut status: Value, condition: Value| {
            status["conditions"] = json!([condition]);
            status
        };
        let timed_out = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"});
        let complete = json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"});
        let two = || json!({"replicas": 2});
        let table = [
            (two(), status(3, 2, 2, 2), Progress::Done),
            (two(), with(status(3, 2, 2, 2), timed_out.clone()), Progress::Done),
            (two(), status(2, 2, 2, 2), Progress::Moving),
            (two(), status(3, 3, 2, 2), Progress::Moving),
            (two(), status(3, 2, 2, 1), Progress::Moving),
            (two(), with(status(3, 2, 2, 1), complete), Progress::Degraded),
            (json!({"replicas": 0}), json!({"observedGeneration": 3}), Progress::Done),
            (json!({"paused": true}), status(3, 1, 0, 1), Progress::Held(Reason::Paused)),
            (
                json!({"progressDeadlineSeconds": 7}),
                with(status(3, 2, 1, 1), timed_out),
                Progress::Stuck("its pods did not become available within progressDeadlineSeconds (7 s)".into()),
            ),
        ];
        for (spec, status, expected) in table {
            assert_eq!(of(Kind::Deployment, &spec, &status), expected, "{spec} {status}");
        }
    }

    #[test]
    fn a_stateful_set_is_done_when_its_revision_is_and_held_by_its_owner_where_he_says_so() {
        let status = |current: &str, new: i64, available: i64| json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": new, "availableReplicas": available, "currentRevision": current, "updateRevision": "b"});
        let on_delete = json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}});
        let partitioned = json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}});
        let table = [
            (json!({"replicas": 3}), status("b", 3, 3), Progress::Done),
            (json!({"replicas": 3}), status("a", 2, 3), Progress::Moving),
            (json!({"replicas": 3}), status("a", 3, 3), Progress::Moving),
            (json!({"replicas": 3}), status("b", 3, 2), Progress::Degraded),
            (on_delete.clone(), status("a", 1, 3), Progress::Held(Reason::OnDelete)),
            (on_delete, status("a", 3, 3), Progress::Done),
            (partitioned.clone(), status("a", 0, 3), Progress::Moving),
            (partitioned.clone(), status("a", 1, 3), Progress::Held(Reason::Partitioned)),
            (partitioned, status("b", 3, 3), Progress::Done),
            (json!({"replicas": 0}), json!({"observedGeneration": 3}), Progress::Done),
        ];
        for (spec, status, expected) in table {
            assert_eq!(of(Kind::StatefulSet, &spec, &status), expected, "{spec} {status}");
        }
    }

    #[test]
    fn other_kinds_have_rules_of_their_own() {
        let daemons = |new: i64, available: i64| json!({"observedGeneration": 3, "desiredNumberScheduled": 2, "updatedNumberScheduled": new, "numberAvailable": available});
        assert_eq!(of(Kind::DaemonSet, &json!({}), &daemons(2, 2)), Progress::Done);
        assert_eq!(of(Kind::DaemonSet, &json!({}), &daemons(1, 2)), Progress::Moving);
        assert_eq!(of(Kind::DaemonSet, &json!({}), &daemons(2, 1)), Progress::Degraded);
        let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
        assert_eq!(of(Kind::DaemonSet, &on_delete, &daemons(1, 2)), Progress::Held(Reason::OnDelete));
        assert_eq!(of(Kind::CronJob, &json!({}), &Value::Null), Progress::Done);
        let rollout: crate::workload::kind::Custom = "argoproj.io/v1alpha1/Rollout=/spec/template".parse().expect("a kind");
        let kind = crate::workload::kind::Kinds::with([rollout]).in_cluster().last().expect("the kind");
        let counts = json!({"observedGeneration": "3", "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        assert_eq!(of(kind, &json!({}), &Value::Null), Progress::Done);
        assert_eq!(of(kind, &json!({}), &json!({"observedGeneration": "2"})), Progress::Moving);
        assert_eq!(of(kind, &json!({}), &json!({"observedGeneration": "3"})), Progress::Done);
        assert_eq!(of(kind, &json!({}), &counts), Progress::Done);
        assert_eq!(of(kind, &json!({"replicas": 2}), &counts), Progress::Moving);
        assert_eq!(
            of(kind, &json!({}), &json!({"observedGeneration": "3", "controllerPause": true})),
            Progress::Held(Reason::Paused)
        );
    }

    #[test]
    fn a_new_pod_has_to_start_first_where_no_old_one_may_go() {
        let surges = |spec: Value| WorkloadStatus::of(Kind::Deployment, &json!({"spec": spec})).surges;
        assert!(surges(json!({})) && surges(json!({"replicas": 3})));
        assert!(!surges(json!({"replicas": 4})));
        assert!(!surges(json!({"strategy": {"rollingUpdate": {"maxUnavailable": 1}}})));
        assert!(surges(json!({"replicas": 9, "strategy": {"rollingUpdate": {"maxUnavailable": "10%"}}})));
        assert!(!surges(json!({"strategy": {"type": "Recreate"}})));
    }
}
