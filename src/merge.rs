//! Lays a user's partial `v1.Container` over one of ours, the way a strategic merge patch does.

use serde_json::{Map, Value};

/// Lists of a container that are merged by a key; all others are replaced as a whole.
/// <https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.35/#container-v1-core> ("patch merge key")
const KEYED: [(&str, &str); 3] = [("env", "name"), ("volumeMounts", "mountPath"), ("ports", "containerPort")];

/// Returns `base` with everything that `over` says.
///
/// Guarantees: what `over` does not mention stays; `null` in `over` takes a field away; merging twice equals merging once.
#[must_use]
pub fn overlay(base: Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = base;
    for (field, value) in over {
        match (merged.get_mut(field), value) {
            (_, Value::Null) => {
                merged.shift_remove(field);
            }
            (Some(Value::Object(old)), Value::Object(new)) => *old = overlay(std::mem::take(old), new),
            (Some(Value::Array(old)), Value::Array(new)) => match KEYED.iter().find(|(list, _)| list == field) {
                Some((_, key)) => merge_list(old, new, key),
                None => old.clone_from(new),
            },
            _ => {
                merged.insert(field.clone(), value.clone());
            }
        }
    }
    merged
}

fn merge_list(old: &mut Vec<Value>, new: &[Value], key: &str) {
    for item in new {
        match old.iter_mut().find(|old| old.get(key).is_some() && old.get(key) == item.get(key)) {
            // A variable's `value` and `valueFrom` exclude each other: an entry replaces its namesake.
            Some(old) => *old = item.clone(),
            None => old.push(item.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{DeepMerge, api::core::v1::Container};
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    #[test]
    fn agrees_with_kubernetes_own_merge() {
        let base = json!({
            "name": "ship", "image": "busybox:1.37.0", "command": ["sh"], "args": ["a", "b"],
            "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}},
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "securityContext": {"runAsUser": 1, "capabilities": {"drop": ["ALL"]}},
        });
        for over in [
            json!({"name": "ship"}),
            json!({"name": "ship", "image": "mirror/busybox"}),
            json!({"name": "ship", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}}),
            json!({"name": "ship", "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]}),
            json!({"name": "ship", "securityContext": {"runAsUser": 2, "readOnlyRootFilesystem": true}}),
        ] {
            let mut oracle: Container = serde_json::from_value(base.clone()).expect("a container");
            oracle.merge_from(serde_json::from_value(over.clone()).expect("a container"));
            let merged = overlay(map(base.clone()), &map(over.clone()));
            assert_eq!(serde_json::from_value::<Container>(Value::Object(merged.clone())).expect("a container"), oracle);
            assert_eq!(overlay(merged.clone(), &map(over)), merged);
        }
    }

    #[test]
    fn null_takes_away_and_atomic_lists_are_replaced() {
        let base = map(json!({"args": ["a"], "resources": {"requests": {"cpu": "5m"}}}));
        let merged = overlay(base, &map(json!({"args": ["b"], "resources": null})));
        assert_eq!(Value::Object(merged), json!({"args": ["b"]}));
    }
}
