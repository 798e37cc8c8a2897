//! What the watches have seen: the workloads and the LogSidecars, by namespace. Decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{ResourceExt, api::DynamicObject};

use crate::{
    decide::log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
    workload::{
        id::{WorkloadId, WorkloadKey},
        kind::Kind,
        snapshot::Workload,
    },
};

/// How many deleted LogSidecars are remembered: more than are deleted while an API server lags behind.
const REMEMBERED: usize = 1000;

/// The LogSidecars of a namespace, shared: most decisions read all of them and change none.
pub(super) type LogSidecars = Arc<[Arc<ValidatedLogSidecar>]>;

/// The version of a `LogSidecar` that another one has replaced, if there was one.
#[derive(Debug)]
pub(super) struct Replaced(pub Option<Arc<ValidatedLogSidecar>>);

/// Everything that the watches have seen.
#[derive(Debug, Default)]
pub(super) struct Store(Mutex<Objects>);

#[derive(Debug, Default)]
struct Objects {
    namespaces: BTreeMap<String, NamespaceContent>,
    /// The uids of the LogSidecars that were deleted last: a list of an API server that lags behind may still have them.
    deleted: VecDeque<String>,
}

#[derive(Debug, Default)]
struct NamespaceContent {
    workloads: BTreeMap<WorkloadId, Arc<Workload>>,
    log_sidecars: LogSidecars,
}

impl NamespaceContent {
    fn log_sidecar(&self, name: &str) -> Option<&Arc<ValidatedLogSidecar>> {
        self.log_sidecars.iter().find(|sidecar| sidecar.key.name == name)
    }

    fn is_empty(&self) -> bool {
        self.workloads.is_empty() && self.log_sidecars.is_empty()
    }
}

impl Store {
    fn content(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn workload(&self, key: &WorkloadKey) -> Option<Arc<Workload>> {
        self.content().namespaces.get(&key.namespace)?.workloads.get(&key.id).cloned()
    }

    pub fn log_sidecar(&self, key: &LogSidecarKey) -> Option<Arc<ValidatedLogSidecar>> {
        self.content().namespaces.get(&key.namespace)?.log_sidecar(&key.name).cloned()
    }

    /// All workloads of a namespace.
    pub fn workloads_in(&self, namespace: &str) -> Vec<Arc<Workload>> {
        let content = self.content();
        content.namespaces.get(namespace).into_iter().flat_map(|content| content.workloads.values().cloned()).collect()
    }

    /// All LogSidecars of a namespace, by name.
    pub fn log_sidecars_in(&self, namespace: &str) -> LogSidecars {
        self.content().namespaces.get(namespace).map(|content| content.log_sidecars.clone()).unwrap_or_default()
    }

    /// All LogSidecars.
    pub fn all_log_sidecars(&self) -> Vec<Arc<ValidatedLogSidecar>> {
        self.content().namespaces.values().flat_map(|content| content.log_sidecars.iter().cloned()).collect()
    }

    /// How many LogSidecars there are.
    pub fn count_log_sidecars(&self) -> usize {
        self.content().namespaces.values().map(|content| content.log_sidecars.len()).sum()
    }

    /// Whether this very version of a workload is stored.
    pub fn has(&self, kind: Kind, object: &DynamicObject) -> bool {
        let Ok(name) = object.name_any().parse() else { return false };
        let id = WorkloadId { kind, name };
        let stored = self.workload(&WorkloadKey { namespace: object.namespace().unwrap_or_default(), id });
        stored.is_some_and(|stored| {
            object.metadata.uid.as_ref() == Some(&stored.uid)
                && object.metadata.resource_version.as_ref() == Some(&stored.version)
        })
    }

    /// Stores a version of a workload that a watch has shown, unless a newer one is stored: the answer to a write of ours is often
    /// ahead of the watch.
    pub fn keep_workload(&self, workload: Workload) {
        let mut content = self.content();
        let workloads = &mut content.namespaces.entry(workload.key.namespace.clone()).or_default().workloads;
        let stored = workloads.get(&workload.key.id);
        if !stored.is_some_and(|stored| stored.uid == workload.uid && is_newer(&stored.version, &workload.version)) {
            workloads.insert(workload.key.id.clone(), Arc::new(workload));
        }
    }

    /// Stores the answer to a write, unless a watch has shown meanwhile that the workload is gone, another, or newer. Checks and stores
    /// in one step: a deletion in between would bring the workload back until the next list. Returns whether the workload is there.
    pub fn keep_answer(&self, answer: Workload) -> bool {
        let mut content = self.content();
        let Some(namespace) = content.namespaces.get_mut(&answer.key.namespace) else { return false };
        let Some(stored) = namespace.workloads.get_mut(&answer.key.id).filter(|stored| stored.uid == answer.uid) else {
            return false;
        };
        if !is_newer(&stored.version, &answer.version) {
            *stored = Arc::new(answer);
        }
        true
    }

    /// Stores a version of a `LogSidecar`; nothing is returned if a newer one is stored, or it is known to be deleted.
    pub fn keep_log_sidecar(&self, sidecar: ValidatedLogSidecar) -> Option<Replaced> {
        let mut content = self.content();
        if content.deleted.contains(&sidecar.uid) {
            return None;
        }
        let namespace = content.namespaces.entry(sidecar.key.namespace.clone()).or_default();
        let stored = namespace.log_sidecar(&sidecar.key.name).cloned();
        // Of another one of the same name, too: resource versions of one kind can be compared.
        if stored.as_ref().is_some_and(|stored| is_newer(&stored.version, &sidecar.version)) {
            return None;
        }
        let others = namespace.log_sidecars.iter().filter(|other| other.key.name != sidecar.key.name);
        let mut all: Vec<_> = others.cloned().collect();
        all.push(Arc::new(sidecar));
        all.sort_by(|one, other| one.key.name.cmp(&other.key.name));
        namespace.log_sidecars = all.into();
        Some(Replaced(stored))
    }

    /// Removes a workload.
    pub fn remove_workload(&self, key: &WorkloadKey) -> Option<Arc<Workload>> {
        let mut content = self.content();
        let removed = content.namespaces.get_mut(&key.namespace)?.workloads.remove(&key.id);
        content.forget_if_empty(&key.namespace);
        removed
    }

    /// Removes a `LogSidecar`.
    pub fn remove_log_sidecar(&self, key: &LogSidecarKey) -> Option<Arc<ValidatedLogSidecar>> {
        let mut content = self.content();
        let namespace = content.namespaces.get_mut(&key.namespace)?;
        let removed = namespace.log_sidecar(&key.name).cloned()?;
        namespace.log_sidecars = namespace.log_sidecars.iter().filter(|other| other.key != *key).cloned().collect();
        content.forget_if_empty(&key.namespace);
        Some(removed)
    }

    /// Remembers a `LogSidecar` that a watch has shown to be deleted: that says more than that it is missing from a list.
    pub fn remember_deleted(&self, uid: &str) {
        let mut content = self.content();
        content.deleted.push_back(uid.to_owned());
        if content.deleted.len() > REMEMBERED {
            content.deleted.pop_front();
        }
    }

    /// The workloads of a kind that are not in `seen`.
    pub fn workloads_not_in(&self, kind: Kind, seen: &BTreeSet<WorkloadKey>) -> Vec<WorkloadKey> {
        let content = self.content();
        let keys = content.namespaces.values().flat_map(|content| content.workloads.values().map(|workload| &workload.key));
        keys.filter(|key| key.id.kind == kind && !seen.contains(key)).cloned().collect()
    }

    /// The LogSidecars that are not in `seen`.
    pub fn log_sidecars_not_in(&self, seen: &BTreeSet<LogSidecarKey>) -> Vec<LogSidecarKey> {
        let content = self.content();
        let sidecars = content.namespaces.values().flat_map(|content| content.log_sidecars.iter());
        sidecars.map(|sidecar| &sidecar.key).filter(|key| !seen.contains(key)).cloned().collect()
    }
}

impl Objects {
    fn forget_if_empty(&mut self, namespace: &str) {
        if self.namespaces.get(namespace).is_some_and(NamespaceContent::is_empty) {
            self.namespaces.remove(namespace);
        }
    }
}

/// Whether the first of two resource versions of one object is newer. They are numbers that can be compared (KEP-5504); where
/// one is not, the later to arrive counts.
fn is_newer(one: &str, other: &str) -> bool {
    matches!((one.parse::<u64>(), other.parse::<u64>()), (Ok(one), Ok(other)) if one > other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn workload(version: &str) -> Workload {
        let object: Value = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": version},
            "spec": {"template": {"spec": {}}},
        });
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        Workload::observe(Kind::Deployment, &object).expect("a workload")
    }

    #[test]
    fn answer_to_a_write_does_not_bring_back_a_deleted_workload() {
        let store = Store::default();
        store.keep_workload(workload("1"));
        let key = workload("1").key;
        store.keep_answer(workload("2"));
        assert_eq!(store.workload(&key).map(|stored| stored.version.clone()).as_deref(), Some("2"));
        store.keep_workload(workload("1"));
        assert_eq!(store.workload(&key).map(|stored| stored.version.clone()).as_deref(), Some("2"));
        store.remove_workload(&key);
        store.keep_answer(workload("3"));
        assert_eq!(store.workload(&key), None);
    }
}
