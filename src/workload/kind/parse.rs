//! Parses kinds as users type them.

use super::{Kind, Kinds};

/// The short name that kubectl has for a kind.
const fn short_name(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Deployment => Some("deploy"),
        Kind::StatefulSet => Some("sts"),
        Kind::DaemonSet => Some("ds"),
        Kind::ReplicaSet => Some("rs"),
        Kind::ReplicationController => Some("rc"),
        Kind::CronJob => Some("cj"),
        Kind::Pod => Some("po"),
        Kind::Job | Kind::PodTemplate | Kind::Custom(_) => None,
    }
}

impl Kinds {
    /// Parses a kind as kubectl does: singular, plural or short name in any case, with the group after a dot if needed. Kinds of
    /// Kubernetes' own come first.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Kind> {
        let text = text.to_lowercase();
        let (name, group) = text.split_once('.').map_or((text.as_str(), None), |(name, group)| (name, Some(group)));
        self.all().find(|kind| {
            let is_short = group.is_none() && short_name(*kind) == Some(name);
            let is_named = kind.name().to_lowercase() == name || kind.resource().plural == name;
            is_short || (is_named && group.is_none_or(|group| group == kind.group()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_parsed_as_kubectl_does() {
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
            assert_eq!(kinds.parse(text).map(|kind| kind.to_string()).as_deref(), expected, "{text}");
        }
    }
}
