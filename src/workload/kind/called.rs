//! Kinds as people type them.

use super::{Kind, Kinds};

/// What kubectl calls some kinds for short.
const SHORT: [(&str, Kind); 7] = [
    ("deploy", Kind::Deployment),
    ("sts", Kind::StatefulSet),
    ("ds", Kind::DaemonSet),
    ("rs", Kind::ReplicaSet),
    ("rc", Kind::ReplicationController),
    ("cj", Kind::CronJob),
    ("po", Kind::Pod),
];

impl Kinds {
    /// The kind that somebody means as kubectl would understand him: singular, plural or short name in any case, with the group
    /// after a dot where it is needed. Kubernetes' own come first.
    #[must_use]
    pub fn called(&self, text: &str) -> Option<Kind> {
        let text = text.to_lowercase();
        let (name, group) = text.split_once('.').map_or((text.as_str(), None), |(name, group)| (name, Some(group)));
        if let (Some((_, kind)), None) = (SHORT.iter().find(|(short, _)| *short == name), group) {
            return Some(*kind);
        }
        self.all().find(|kind| {
            let is_named = kind.name().to_lowercase() == name || kind.resource().plural == name;
            is_named && group.is_none_or(|group| group == kind.group())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_called_as_kubectl_calls_them() {
        let kinds = Kinds::with(
            ["argoproj.io/v1alpha1/Rollout=/spec/template", "apps.kruise.io/v1beta1/StatefulSet=/spec/template"]
                .map(|text| text.parse().expect("a kind")),
        );
        let table = [
            ("deploy", Some("Deployment")),
            ("deployments", Some("Deployment")),
            ("Deployment", Some("Deployment")),
            ("deployments.apps", Some("Deployment")),
            ("sts", Some("StatefulSet")),
            ("statefulset.apps.kruise.io", Some("StatefulSet.apps.kruise.io")),
            ("ds", Some("DaemonSet")),
            ("daemonsets", Some("DaemonSet")),
            ("cj", Some("CronJob")),
            ("cronjob", Some("CronJob")),
            ("po", Some("Pod")),
            ("pods", Some("Pod")),
            ("job", Some("Job")),
            ("rollout", Some("Rollout.argoproj.io")),
            ("rollouts", Some("Rollout.argoproj.io")),
            ("service", None),
            ("deployments.batch", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(kinds.called(text).map(|kind| kind.to_string()).as_deref(), expected, "{text}");
        }
    }
}
