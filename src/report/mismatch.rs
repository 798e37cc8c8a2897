//! Why a `LogSidecar` does not mean a workload: the first thing that differs.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::{
    api::Target,
    plan::target::{TargetMatcher, WorkloadLabels},
};

/// The first thing in which a workload differs from what a target asks for; `None` if it does not.
#[must_use]
pub fn mismatch(target: &Target, workload: WorkloadLabels<'_>) -> Option<String> {
    if TargetMatcher::new(target).matches(workload) {
        return None;
    }
    if !workload.kind.is_meant_by(target.api_group.as_deref(), &target.kind) {
        let group = target.api_group.as_ref().map(|group| format!(".{group}")).unwrap_or_default();
        return Some(format!("it is for kind {}{group}, this is a {}", target.kind, workload.kind));
    }
    let differs = match (&target.name, &target.selector) {
        (Some(name), _) => Some(format!("it is for the name {name}")),
        (None, Some(selector)) => label(selector, workload.labels),
        (None, None) => None,
    };
    Some(differs.unwrap_or_else(|| "its selector matches nothing".to_owned()))
}

fn label(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> Option<String> {
    let simple = selector.match_labels.iter().flatten().find_map(|(key, wanted)| {
        let has = labels.get(key);
        (has != Some(wanted)).then(|| format!("needs the label {key}={wanted}, {}", describe(key, has)))
    });
    let expressions = selector.match_expressions.iter().flatten();
    simple.or_else(|| expressions.into_iter().find_map(|expression| unmet(expression, labels)))
}

fn unmet(expression: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> Option<String> {
    let LabelSelectorRequirement { key, operator, values } = expression;
    let values = values.as_deref().unwrap_or_default();
    let has = labels.get(key);
    let is_one = has.is_some_and(|has| values.contains(has));
    let (holds, wanted) = match operator.as_str() {
        "In" => (is_one, format!("{key} in ({})", values.join(", "))),
        "NotIn" => (!is_one, format!("{key} not in ({})", values.join(", "))),
        "Exists" => (has.is_some(), key.clone()),
        "DoesNotExist" => (has.is_none(), format!("{key} to be absent")),
        _ => return None,
    };
    (!holds).then(|| format!("needs the label {wanted}, {}", describe(key, has)))
}

fn describe(key: &str, has: Option<&String>) -> String {
    has.map_or_else(|| "has none of that name".to_owned(), |value| format!("has {key}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::kind::Kind;
    use serde_json::{Value, json};

    #[test]
    fn the_first_thing_that_differs_is_named() {
        let labels = BTreeMap::from([("app".to_owned(), "api".to_owned())]);
        let table: [(Value, Option<&str>); 10] = [
            (json!({"name": "web"}), None),
            (json!({"kind": "StatefulSet", "name": "web"}), Some("it is for kind StatefulSet, this is a Deployment")),
            (
                json!({"kind": "Rollout", "apiGroup": "argoproj.io", "name": "web"}),
                Some("it is for kind Rollout.argoproj.io, this is a Deployment"),
            ),
            (json!({"name": "api"}), Some("it is for the name api")),
            (json!({"selector": {"matchLabels": {"app": "api"}}}), None),
            (json!({"selector": {"matchLabels": {"app": "web"}}}), Some("needs the label app=web, has app=api")),
            (
                json!({"selector": {"matchLabels": {"app": "api", "tier": "x"}}}),
                Some("needs the label tier=x, has none of that name"),
            ),
            (
                json!({"selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}}),
                Some("needs the label app in (a, b), has app=api"),
            ),
            (
                json!({"selector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}),
                Some("needs the label app to be absent, has app=api"),
            ),
            (json!({"selector": {}}), Some("its selector matches nothing")),
        ];
        for (target, expected) in table {
            let target: Target = serde_json::from_value(target).expect("a target");
            let workload = WorkloadLabels { kind: Kind::Deployment, name: "web", labels: &labels };
            assert_eq!(mismatch(&target, workload).as_deref(), expected, "{target:?}");
        }
    }
}
