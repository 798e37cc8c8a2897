//! What `managedFields` say that we own, reduced to the keys of items.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry, jiff::Timestamp};
use serde_json::Value;

use super::key::Key;
use crate::api::MANAGER;

/// The items of a pod template whose list key the manager `logsidecar` owns; volumes with the names of the fields of them that
/// it owns. In their order, and without room for more: there is one of these for every workload of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    items: Box<[(Key, Fields)]>,
    /// When we last wrote, as `managedFields` have it: to the second.
    at: Option<Timestamp>,
}

/// Names of fields.
type Fields = Box<[Box<str>]>;

impl Owned {
    /// Reads `metadata.managedFields` of a workload whose template is at that JSON pointer.
    #[must_use]
    pub fn read(managed_fields: &[ManagedFieldsEntry], template: &str) -> Self {
        let (mut items, mut at) = (BTreeMap::new(), None);
        for entry in managed_fields.iter().filter(|entry| entry.manager.as_deref() == Some(MANAGER)) {
            at = at.max(entry.time.as_ref().map(|time| time.0));
            let Some(fields) = entry.fields_v1.as_ref() else { continue };
            let spec = template.split('/').skip(1).chain(["spec"]).try_fold(&fields.0, |at, step| at.get(format!("f:{step}")));
            spec.into_iter().for_each(|spec| collect(spec, &mut items));
        }
        Self::new(items, at)
    }

    fn new(items: BTreeMap<Key, BTreeSet<Box<str>>>, at: Option<Timestamp>) -> Self {
        Self { items: items.into_iter().map(|(key, fields)| (key, fields.into_iter().collect())).collect(), at }
    }

    /// Just these items, with all of their fields.
    #[cfg(test)]
    pub(crate) fn of<'a>(items: impl IntoIterator<Item = (Key, &'a Value)>) -> Self {
        let fields = |item: &Value| item.as_object().into_iter().flatten().map(|(field, _)| field.as_str().into()).collect();
        let items = items.into_iter().map(|(key, item)| (key, fields(item))).collect();
        Self::new(items, "2026-01-01T00:00:00Z".parse().ok())
    }

    /// Whether our last write is not older than an object with this creation time (RFC 3339). `false` if no item is owned.
    #[must_use]
    pub fn is_written_since(&self, created: &str) -> bool {
        let created: Option<Timestamp> = created.parse().ok();
        !self.items.is_empty() && created.zip(self.at).is_some_and(|(created, at)| created.as_second() <= at.as_second())
    }

    /// When we last wrote, by the clock of the API server.
    #[must_use]
    pub const fn written_at(&self) -> Option<Timestamp> {
        self.at
    }

    /// Whether an item is still the one that we put in, changed as it may be.
    ///
    /// Another manager that applies its own volume under our name changes the source, and leaves the list key to us.
    #[must_use]
    pub fn holds(&self, key: &Key, item: &Value) -> bool {
        self.items.binary_search_by_key(&key, |(owned, _)| owned).is_ok_and(|at| {
            let fields = &self.items[at].1;
            let mut live = item.as_object().into_iter().flatten().map(|(field, _)| field.as_str());
            !matches!(key, Key::Volume(_)) || live.all(|field| field == "name" || fields.iter().any(|owned| &**owned == field))
        })
    }
}

fn collect(spec: &Value, items: &mut BTreeMap<Key, BTreeSet<Box<str>>>) {
    let mut add = |key: Key, fields: BTreeSet<Box<str>>| drop(items.insert(key, fields));
    owned(spec, "f:volumes", "name").for_each(|(name, fields)| add(Key::Volume(name), names(fields)));
    owned(spec, "f:containers", "name").for_each(|(name, _)| add(Key::Container(name), BTreeSet::new()));
    owned(spec, "f:initContainers", "name").for_each(|(name, _)| add(Key::InitContainer(name), BTreeSet::new()));
    for list in ["f:containers", "f:initContainers"] {
        for (container, fields) in entries(spec, list, "name") {
            let mounts = owned(fields, "f:volumeMounts", "mountPath");
            mounts.for_each(|(path, _)| add(Key::Mount { container: container.clone(), path }, BTreeSet::new()));
        }
    }
}

fn names(fields: &Value) -> BTreeSet<Box<str>> {
    fields.as_object().into_iter().flatten().filter_map(|(field, _)| field.strip_prefix("f:").map(Into::into)).collect()
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
        let expected = BTreeMap::from([
            (Key::InitContainer("ship".into()), BTreeSet::new()),
            (Key::Mount { container: "app".into(), path: "/l".into() }, BTreeSet::new()),
        ]);
        assert_eq!(Owned::read(&[entry(MANAGER)], "/spec/template"), Owned::new(expected, None));
        assert_eq!(Owned::read(&[entry("kubectl")], "/spec/template"), Owned::default());
    }

    #[test]
    fn a_volume_with_another_source_under_our_name_is_not_ours() {
        let key = Key::Volume("logs".into());
        let ours = json!({"name": "logs", "emptyDir": {}});
        let owned = Owned::of([(key.clone(), &ours)]);
        assert!(owned.holds(&key, &json!({"name": "logs", "emptyDir": {"medium": "Memory"}})));
        assert!(!owned.holds(&key, &json!({"name": "logs", "configMap": {"name": "his"}})));
        assert!(!owned.holds(&Key::Volume("other".into()), &ours));
    }
}
