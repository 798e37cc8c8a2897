//! The kinds of workload: the built-in ones that hold a pod template, and where it sits in each.

use kube::core::{ApiResource, GroupVersionKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A built-in kind with a pod template. Written as in `kind:`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `apps/v1`
    #[default]
    Deployment,
    /// `apps/v1`
    StatefulSet,
    /// `apps/v1`
    DaemonSet,
    /// `apps/v1`
    ReplicaSet,
    /// `v1`
    ReplicationController,
    /// `batch/v1`
    CronJob,
    /// `batch/v1`; its template is immutable
    Job,
    /// `v1`; the pod is its own template, and immutable
    Pod,
    /// `v1`
    PodTemplate,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::CronJob,
        Self::Job,
        Self::Pod,
        Self::PodTemplate,
    ];

    /// The kinds that the controller watches and patches.
    pub const IN_CLUSTER: [Self; 1] = [Self::Deployment];

    /// The kind as in `kind:`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::CronJob => "CronJob",
            Self::Job => "Job",
            Self::Pod => "Pod",
            Self::PodTemplate => "PodTemplate",
        }
    }

    /// The API group and version as in `apiVersion:`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::ReplicaSet => "apps/v1",
            Self::CronJob | Self::Job => "batch/v1",
            Self::ReplicationController | Self::Pod | Self::PodTemplate => "v1",
        }
    }

    /// Where the pod template (`metadata` and `spec` of the pods) is in an object of this kind, as a JSON pointer.
    #[must_use]
    pub const fn template(self) -> &'static str {
        match self {
            Self::Pod => "",
            Self::PodTemplate => "/template",
            Self::CronJob => "/spec/jobTemplate/spec/template",
            Self::Deployment
            | Self::StatefulSet
            | Self::DaemonSet
            | Self::ReplicaSet
            | Self::ReplicationController
            | Self::Job => "/spec/template",
        }
    }

    /// The kind of an object, if it is one of these in the version that we know.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let kind = object.get("kind")?.as_str()?;
        let version = object.get("apiVersion")?.as_str()?;
        Self::ALL.into_iter().find(|known| known.name() == kind && known.api_version() == version)
    }

    /// What a client needs to address objects of this kind.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        let (group, version) = self.api_version().split_once('/').unwrap_or(("", self.api_version()));
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, self.name()))
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_kind_is_told_by_kind_and_api_version() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(&json!({"kind": kind.name(), "apiVersion": kind.api_version()})), Some(kind));
        }
        assert_eq!(Kind::of(&json!({"kind": "Deployment", "apiVersion": "extensions/v1beta1"})), None);
        assert_eq!(Kind::of(&json!({"kind": "Deployment"})), None);
    }
}
