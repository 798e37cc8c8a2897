//! The normal form of an item: what stays when the API server's defaults and spellings are taken away.
//!
//! Two items are the same for us if their normal forms are equal, so an item that we sent and the one that the API server
//! stored compare equal without a request. A default that is missing here costs one dry run for each workload after a restart, never a
//! write. A wrong one would hide a change, so only constant defaults are listed.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::key::Key;
use crate::quantity::Quantity;

/// The normal form of the item at `key`.
///
/// Guarantees: idempotent; equal for an item and for the same item as an API server returns it.
#[must_use]
pub fn normal(key: &Key, item: &Value) -> Value {
    let mut item = item.clone();
    drop_blank(&mut item);
    if let Some(map) = item.as_object_mut() {
        match key {
            Key::InitContainer(_) | Key::Container(_) => container(map),
            Key::Volume(_) => volume(map),
            Key::Mount { .. } => drop_if(map, "readOnly", &Value::Bool(false)),
        }
    }
    item
}

/// Sixteen hexadecimal digits that tell one normal form from another.
#[must_use]
pub fn digest(key: &Key, item: &Value) -> String {
    fingerprint(&normal(key, item))
}

/// Sixteen hexadecimal digits of any JSON value, whatever the order of its keys.
#[must_use]
pub fn fingerprint(value: &Value) -> String {
    let mut text = String::new();
    write_sorted(value, &mut text);
    Sha256::digest(text).iter().take(8).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in entries {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_sorted(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for value in list {
                write_sorted(value, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

/// `null`, `""` and `[]` are never stored by the API server in these types. `{}` is: `emptyDir: {}` means something.
fn drop_blank(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !is_blank(value));
            map.values_mut().for_each(drop_blank);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_blank),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(_) | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn drop_if(map: &mut Map<String, Value>, field: &str, default: &Value) {
    if map.get(field) == Some(default) {
        map.shift_remove(field);
    }
}

fn each<'a>(map: &'a mut Map<String, Value>, list: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn child<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    map.get_mut(field).and_then(Value::as_object_mut)
}

/// <https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/apis/core/v1/zz_generated.defaults.go>
fn container(map: &mut Map<String, Value>) {
    drop_if(map, "terminationMessagePath", &"/dev/termination-log".into());
    drop_if(map, "terminationMessagePolicy", &"File".into());
    let policy = default_pull_policy(map.get("image").and_then(Value::as_str).unwrap_or_default());
    drop_if(map, "imagePullPolicy", &policy.into());
    for flag in ["stdin", "stdinOnce", "tty"] {
        drop_if(map, flag, &Value::Bool(false));
    }
    each(map, "ports").for_each(|port| drop_if(port, "protocol", &"TCP".into()));
    each(map, "volumeMounts").for_each(|mount| drop_if(mount, "readOnly", &Value::Bool(false)));
    for variable in each(map, "env") {
        if let Some(field) = child(variable, "valueFrom").and_then(|from| child(from, "fieldRef")) {
            drop_if(field, "apiVersion", &"v1".into());
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        child(map, probe).into_iter().for_each(self::probe);
    }
    if let Some(lifecycle) = child(map, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            child(lifecycle, hook).into_iter().for_each(http_get);
        }
    }
    resources(map);
}

/// <https://kubernetes.io/docs/concepts/containers/images/#imagepullpolicy-defaulting>
fn default_pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let digested = name.contains('@');
    let tag = name.split('@').next().and_then(|name| name.split_once(':')).map(|(_, tag)| tag);
    match tag {
        Some("latest") => "Always",
        None if !digested => "Always",
        Some(_) | None => "IfNotPresent",
    }
}

fn probe(probe: &mut Map<String, Value>) {
    for (field, default) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
        drop_if(probe, field, &default.into());
    }
    drop_if(probe, "initialDelaySeconds", &0.into());
    http_get(probe);
}

fn http_get(handler: &mut Map<String, Value>) {
    if let Some(get) = child(handler, "httpGet") {
        drop_if(get, "path", &"/".into());
        drop_if(get, "scheme", &"HTTP".into());
    }
}

/// Requests follow limits where they are not given, and quantities have many spellings.
fn resources(map: &mut Map<String, Value>) {
    let Some(resources) = child(map, "resources") else { return };
    for list in ["limits", "requests"] {
        child(resources, list).into_iter().flat_map(Map::values_mut).for_each(quantity);
    }
    if let (Some(limits), Some(requests)) = (resources.get("limits").cloned(), child(resources, "requests")) {
        requests.retain(|name, quantity| limits.get(name) != Some(quantity));
    }
    resources.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    if resources.is_empty() {
        map.shift_remove("resources");
    }
}

fn volume(map: &mut Map<String, Value>) {
    if let Some(limit) = child(map, "emptyDir").and_then(|source| source.get_mut("sizeLimit")) {
        quantity(limit);
    }
    if let Some(claim) = child(map, "persistentVolumeClaim") {
        drop_if(claim, "readOnly", &Value::Bool(false));
    }
    for source in ["configMap", "secret"] {
        child(map, source).into_iter().for_each(|source| drop_if(source, "defaultMode", &0o644.into()));
    }
}

/// Replaces a quantity by the number of thousand-millionths that it is; leaves what is not a quantity as it is.
fn quantity(value: &mut Value) {
    if let Some(quantity) = Quantity::read(value) {
        *value = Value::String(format!("{}n", quantity.nano()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_api_server_stores_equals_what_was_sent() {
        let key = Key::Container("ship".into());
        let sent = json!({
            "name": "ship", "image": "busybox:1.36", "args": [], "tty": false,
            "ports": [{"containerPort": 80}],
            "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "livenessProbe": {"httpGet": {"port": 80}},
            "resources": {"limits": {"memory": "1024Mi", "cpu": 0.5}},
        });
        let stored = json!({
            "name": "ship", "image": "busybox:1.36", "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "env": [{"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
            "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
            "resources": {"limits": {"memory": "1Gi", "cpu": "500m"}, "requests": {"memory": "1Gi", "cpu": "500m"}},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        });
        assert_eq!(normal(&key, &sent), normal(&key, &stored));
        assert_eq!(digest(&key, &sent), digest(&key, &stored));
        assert_ne!(digest(&key, &sent), digest(&key, &json!({"name": "ship", "image": "busybox:1.37"})));
    }

    #[test]
    fn pull_policies_follow_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:0", "IfNotPresent"),
            ("nginx:latest@sha256:0", "Always"),
        ] {
            assert_eq!(default_pull_policy(image), policy, "{image}");
        }
    }
}
