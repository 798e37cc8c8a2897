//! Takes items out of a template.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::workload::key;
use crate::workload::key::Key;

/// A template without some items; lists that were `blank` before are so again. A volume that somebody else mounts too stays.
pub(super) fn strip(template: &Value, keys: &BTreeSet<Key>, blank: &BTreeMap<String, Value>) -> Value {
    let mut pod = template.clone();
    let (volumes, others): (Vec<_>, Vec<_>) = keys.iter().partition(|key| matches!(key, Key::Volume(_)));
    let remove = |key: &Key, pod: &mut Value| key.remove(pod, blank.get(&key.list_path()));
    others.into_iter().for_each(|key| remove(key, &mut pod));
    let unused: Vec<&Key> = volumes.into_iter().filter(|key| !is_mounted(&pod, key)).collect();
    unused.into_iter().for_each(|key| remove(key, &mut pod));
    pod
}

fn is_mounted(pod: &Value, key: &Key) -> bool {
    let Key::Volume(name) = key else { return false };
    key::containers(pod).flat_map(|container| key::list(container, "volumeMounts")).any(|mount| mount["name"] == name.as_str())
}
