//! The kinds of workload: those that hold a pod template, and where it sits in each.
//!
//! Kubernetes' own are known; others, such as Argo's `Rollout`, are configuration of whoever runs the program.

mod parse;

use std::str::FromStr;

use json_patch::jsonptr::Pointer;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// A kind with a pod template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    /// A custom resource. `'static`, so that `Kind` stays `Copy`.
    Custom(&'static Custom),
}

/// A custom kind, from an option.
///
/// Written `GROUP/VERSION/KIND=POINTER`, where the pointer (RFC 6901) says where the pod template is:
/// `argoproj.io/v1alpha1/Rollout=/spec/template`. A plural that does not follow from the kind comes after it:
/// `example.com/v1/Chef/chefs=/spec/template`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Custom {
    group: String,
    api_version: String,
    kind: String,
    plural: String,
    template: String,
}

/// The text does not say where the pod template of a kind is.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not GROUP/VERSION/KIND=POINTER, such as argoproj.io/v1alpha1/Rollout=/spec/template")]
pub struct ParseKindError(String);

impl FromStr for Custom {
    type Err = ParseKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseKindError(text.to_owned());
        let (name, template) = text.split_once('=').ok_or_else(error)?;
        let parts: Vec<&str> = name.split('/').collect();
        let (group, version, kind, plural) = match parts.as_slice() {
            [group, version, kind] => (*group, *version, *kind, None),
            [group, version, kind, plural] => (*group, *version, *kind, Some(*plural)),
            _ => return Err(error()),
        };
        let is_a_name = |part: &&str| !part.is_empty() && !part.contains(char::is_whitespace);
        if !parts.iter().all(is_a_name) || !is_pointer(template) || !group.contains('.') {
            return Err(error());
        }
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Ok(Self {
            group: group.to_owned(),
            api_version: format!("{group}/{version}"),
            kind: kind.to_owned(),
            plural: plural.map_or(resource.plural, str::to_owned),
            template: template.to_owned(),
        })
    }
}

/// Whether a text is a JSON pointer (RFC 6901) to something below the root.
fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && !text.ends_with('/') && Pointer::parse(text).is_ok()
}

impl Kind {
    /// Every kind that Kubernetes has.
    pub const BUILT_IN: [Self; 9] = [
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

    /// Of these, the ones that the controller watches and patches. The template of a Job or a Pod cannot change; a `ReplicaSet`
    /// and a `ReplicationController` do not replace their pods when it does.
    pub const IN_CLUSTER: [Self; 4] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::CronJob];

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
            Self::Custom(custom) => custom.kind.as_str(),
        }
    }

    /// The API group and version as in `apiVersion:`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::ReplicaSet => "apps/v1",
            Self::CronJob | Self::Job => "batch/v1",
            Self::ReplicationController | Self::Pod | Self::PodTemplate => "v1",
            Self::Custom(custom) => custom.api_version.as_str(),
        }
    }

    /// The API group; empty for Kubernetes' oldest kinds.
    #[must_use]
    pub fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
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
            Self::Custom(custom) => custom.template.as_str(),
        }
    }

    /// Whether a `target` with this `kind` and optional `apiGroup` means this kind.
    #[must_use]
    pub fn is_meant_by(self, group: Option<&str>, kind: &str) -> bool {
        let is_default = !matches!(self, Self::Custom(_));
        self.name() == kind && group.map_or(is_default, |group| group == self.group())
    }

    /// What a client needs to address objects of this kind.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        let (group, version) = self.api_version().split_once('/').unwrap_or(("", self.api_version()));
        let gvk = GroupVersionKind::gvk(group, version, self.name());
        match self {
            Self::Custom(custom) => ApiResource::from_gvk_with_plural(&gvk, &custom.plural),
            _ => ApiResource::from_gvk(&gvk),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        match self {
            // Only the group tells it from one of Kubernetes' own.
            Self::Custom(custom) => write!(f, ".{}", custom.group),
            _ => Ok(()),
        }
    }
}

/// The kinds that a program knows: Kubernetes' own, and those that it has been told of.
#[derive(Clone, Debug, Default)]
pub struct Kinds(Vec<Kind>);

impl Kinds {
    /// Adds custom kinds to Kubernetes' own. They are never freed: they are read once, at the start.
    #[must_use]
    pub fn with(custom: impl IntoIterator<Item = Custom>) -> Self {
        Self(custom.into_iter().map(|custom| Kind::Custom(Box::leak(Box::new(custom)))).collect())
    }

    /// Those that a controller watches and patches.
    pub fn in_cluster(&self) -> impl Iterator<Item = Kind> + use<'_> {
        Kind::IN_CLUSTER.into_iter().chain(self.0.iter().copied())
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = Kind> + use<'_> {
        Kind::BUILT_IN.into_iter().chain(self.0.iter().copied())
    }

    /// The kind of an object, if it is one of these in the version that is known.
    #[must_use]
    pub fn of(&self, object: &Value) -> Option<Kind> {
        let kind = object.get("kind")?.as_str()?;
        let version = object.get("apiVersion")?.as_str()?;
        self.all().find(|known| known.name() == kind && known.api_version() == version)
    }

    /// The kind that a `target` means, if a controller can act on it.
    #[must_use]
    pub fn meant_by(&self, group: Option<&str>, kind: &str) -> Option<Kind> {
        self.in_cluster().find(|known| known.is_meant_by(group, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_kind_is_told_by_kind_and_api_version() {
        let kinds = Kinds::with(["argoproj.io/v1alpha1/Rollout=/spec/template".parse().expect("a kind")]);
        assert_eq!(kinds.all().count(), 10);
        for kind in kinds.all() {
            assert_eq!(kinds.of(&json!({"kind": kind.name(), "apiVersion": kind.api_version()})), Some(kind));
            assert!(kind.is_meant_by(Some(kind.group()), kind.name()));
        }
        assert_eq!(kinds.of(&json!({"kind": "Deployment", "apiVersion": "extensions/v1beta1"})), None);
        assert_eq!(kinds.of(&json!({"kind": "Deployment"})), None);
        assert_eq!(Kinds::default().of(&json!({"kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1"})), None);
    }

    #[test]
    fn without_a_group_kubernetes_own_kind_is_meant() {
        let kinds = Kinds::with(["apps.kruise.io/v1beta1/StatefulSet=/spec/template".parse().expect("a kind")]);
        assert_eq!(kinds.meant_by(None, "StatefulSet"), Some(Kind::StatefulSet));
        assert_eq!(kinds.meant_by(Some("apps.kruise.io"), "StatefulSet").map(Kind::group), Some("apps.kruise.io"));
        assert_eq!(kinds.meant_by(None, "Pod"), None);
    }

    #[test]
    fn a_kind_is_read_from_its_text() {
        let read = |text: &str| text.parse::<Custom>().map(|custom| (custom.api_version, custom.plural, custom.template));
        let expected = |version: &str, plural: &str| (version.to_owned(), plural.to_owned(), "/spec/template".to_owned());
        let rollouts = read("argoproj.io/v1alpha1/Rollout=/spec/template").expect("a kind");
        assert_eq!(rollouts, expected("argoproj.io/v1alpha1", "rollouts"));
        let chefs = read("example.com/v1/Chef/cooks=/spec/template").expect("a kind");
        assert_eq!(chefs, expected("example.com/v1", "cooks"));
        for bad in [
            "",
            "Rollout",
            "v1/Pod=/spec",
            "a.b/v1/X=spec",
            "a.b/v1/X=/spec/",
            "a.b//X=/spec",
            "a.b/v1/X/y/z=/s",
            "a.b/v1/X=/spec/~2",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
