//! What `managedFields` say that we own, reduced to the keys of items.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use super::Key;
use crate::api::MANAGER;

/// The items of a pod template whose list key the manager `logsidecar` owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned(BTreeSet<Key>);

impl Owned {
    /// Reads `metadata.managedFields` of a workload whose template is at that JSON pointer.
    #[must_use]
    pub fn read(managed_fields: &[ManagedFieldsEntry], template: &str) -> Self {
        let mut keys = BTreeSet::new();
        for entry in managed_fields.iter().filter(|entry| entry.manager.as_deref() == Some(MANAGER)) {
            let Some(fields) = entry.fields_v1.as_ref() else { continue };
            let spec = template.split('/').skip(1).chain(["spec"]).try_fold(&fields.0, |at, step| at.get(format!("f:{step}")));
            spec.into_iter().for_each(|spec| collect(spec, &mut keys));
        }
        Self(keys)
    }

    /// Just these items.
    #[cfg(test)]
    pub(super) fn of(keys: impl IntoIterator<Item = Key>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Whether we own the list key of that item.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.0.contains(key)
    }
}

fn collect(spec: &Value, keys: &mut BTreeSet<Key>) {
    keys.extend(owned(spec, "f:volumes", "name").map(|(name, _)| Key::Volume(name)));
    keys.extend(owned(spec, "f:containers", "name").map(|(name, _)| Key::Container(name)));
    keys.extend(owned(spec, "f:initContainers", "name").map(|(name, _)| Key::InitContainer(name)));
    for list in ["f:containers", "f:initContainers"] {
        for (container, fields) in entries(spec, list, "name") {
            keys.extend(
                owned(fields, "f:volumeMounts", "mountPath").map(|(path, _)| Key::Mount { container: container.clone(), path }),
            );
        }
    }
}

/// The entries of a list whose key itself is owned: `k:{"name":"x"}` with a `.` inside.
fn owned<'a>(at: &'a Value, list: &'a str, key: &'a str) -> impl Iterator<Item = (String, &'a Value)> {
    entries(at, list, key).filter(|(_, fields)| fields.get(".").is_some())
}

fn entries<'a>(at: &'a Value, list: &'a str, key: &'a str) -> impl Iterator<Item = (String, &'a Value)> {
    at.get(list).and_then(Value::as_object).into_iter().flatten().filter_map(move |(step, fields)| {
        let keys: Value = serde_json::from_str(step.strip_prefix("k:")?).ok()?;
        Some((keys.get(key)?.as_str()?.to_owned(), fields))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
    use serde_json::json;

    #[test]
    fn only_list_keys_of_our_manager_count() {
        let fields = json!({"f:spec": {"f:template": {"f:spec": {
            "f:containers": {"k:{\"name\":\"app\"}": {"f:volumeMounts": {"k:{\"mountPath\":\"/l\"}": {".": {}, "f:name": {}}}}},
            "f:initContainers": {".": {}, "k:{\"name\":\"ship\"}": {".": {}, "f:image": {}}},
            "f:volumes": {"k:{\"name\":\"logs\"}": {"f:emptyDir": {}}},
        }}}});
        let entry = |manager: &str| ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            fields_v1: Some(FieldsV1(fields.clone())),
            ..ManagedFieldsEntry::default()
        };
        let expected = [Key::InitContainer("ship".into()), Key::Mount { container: "app".into(), path: "/l".into() }];
        assert_eq!(Owned::read(&[entry(MANAGER)], "/spec/template"), Owned(expected.into()));
        assert_eq!(Owned::read(&[entry("kubectl")], "/spec/template"), Owned::default());
    }
}
