//! What the watches have seen: the workloads and the LogSidecars, indexed the way planning asks for them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

use super::workload::{Workload, WorkloadKey};
use crate::{
    api::{DeletionPolicy, FINALIZER, LogSidecarSpec, LogSidecarStatus},
    plan::claim::{Known, Phase},
    rollout::{revision, settings::Settings},
    shipper::Images,
    status::Target,
    workload::kind::Kind,
};

/// The address of a `LogSidecar`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SidecarKey {
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for SidecarKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogSidecar {}/{}", self.namespace, self.name)
    }
}

/// One version of a `LogSidecar`.
#[derive(Debug)]
pub(super) struct Sidecar {
    pub key: SidecarKey,
    pub uid: String,
    pub version: String,
    pub generation: i64,
    /// RFC 3339, so that text order is age.
    pub created: String,
    pub phase: Phase,
    /// Read by itself, so that a `LogSidecar` that cannot be read otherwise can be deleted.
    pub deletion: DeletionPolicy,
    /// All finalizers, as a JSON patch has to know.
    pub finalizers: Vec<String>,
    /// Of the spec; empty if that cannot be read.
    pub revision: String,
    /// Why the spec cannot be read: an older controller must not act on half of a newer object.
    pub spec: Result<LogSidecarSpec, String>,
    pub status: LogSidecarStatus,
}

impl Sidecar {
    /// Takes from an object what is needed; reads it strictly.
    pub fn observe(object: &DynamicObject, images: &Images) -> Option<Self> {
        let metadata = &object.metadata;
        let finalizers = object.finalizers().to_vec();
        let phase = match (&metadata.deletion_timestamp, finalizers.iter().any(|name| name == FINALIZER)) {
            (Some(_), _) => Phase::Deleting,
            (None, true) => Phase::Live,
            (None, false) => Phase::New,
        };
        let part = |field: &str| object.data.get(field).cloned().unwrap_or(Value::Null);
        let spec: Result<LogSidecarSpec, String> = serde_json::from_value(part("spec")).map_err(|error| error.to_string());
        Some(Self {
            key: SidecarKey { namespace: object.namespace()?, name: metadata.name.clone()? },
            uid: metadata.uid.clone()?,
            version: metadata.resource_version.clone()?,
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
            phase,
            deletion: serde_json::from_value(part("spec")["deletionPolicy"].clone()).unwrap_or_default(),
            finalizers,
            revision: spec.as_ref().map(|spec| revision(spec, images)).unwrap_or_default(),
            spec,
            status: serde_json::from_value(part("status")).unwrap_or_default(),
        })
    }

    /// How it rolls out, if its spec can be read.
    pub fn settings(&self) -> Option<Settings> {
        self.spec.as_ref().ok().map(|spec| Settings::of(spec.rollout.as_ref()))
    }

    /// What planning needs to know of it.
    pub fn known(&self) -> Known<'_> {
        Known {
            name: &self.key.name,
            uid: Some(&self.uid),
            created: Some(&self.created),
            revision: Some(&self.revision),
            spec: self.spec.as_ref().ok(),
            deletion: self.deletion,
            phase: self.phase,
        }
    }
}

/// How many that were deleted are remembered: more than are deleted while an API server lags behind.
const REMEMBERED: usize = 1000;

/// The version of a `LogSidecar` that another one has taken the place of, if there was one.
#[derive(Debug)]
pub(super) struct Before(pub Option<Arc<Sidecar>>);

/// Both caches.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    workloads: BTreeMap<WorkloadKey, Arc<Workload>>,
    sidecars: BTreeMap<SidecarKey, Arc<Sidecar>>,
    /// The uids of the LogSidecars that were deleted last: a list of an API server that lags behind may still have them.
    deleted: VecDeque<String>,
}

impl Cache {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn workload(&self, key: &WorkloadKey) -> Option<Arc<Workload>> {
        self.content().workloads.get(key).cloned()
    }

    pub fn sidecar(&self, key: &SidecarKey) -> Option<Arc<Sidecar>> {
        self.content().sidecars.get(key).cloned()
    }

    /// All workloads of a namespace.
    pub fn workloads_in(&self, namespace: &str) -> Vec<Arc<Workload>> {
        // The first of all kinds, in their order.
        let least = Target { kind: Kind::Deployment, name: String::new() };
        let from = WorkloadKey { namespace: namespace.to_owned(), target: least };
        let content = self.content();
        content.workloads.range(from..).take_while(|(key, _)| key.namespace == namespace).map(|(_, w)| w.clone()).collect()
    }

    /// All LogSidecars.
    pub fn all_sidecars(&self) -> Vec<Arc<Sidecar>> {
        self.content().sidecars.values().cloned().collect()
    }

    /// All LogSidecars of a namespace.
    pub fn sidecars_in(&self, namespace: &str) -> Vec<Arc<Sidecar>> {
        let from = SidecarKey { namespace: namespace.to_owned(), name: String::new() };
        let content = self.content();
        content.sidecars.range(from..).take_while(|(key, _)| key.namespace == namespace).map(|(_, s)| s.clone()).collect()
    }

    /// Whether this very version of a workload is here.
    pub fn has(&self, kind: Kind, object: &DynamicObject) -> bool {
        let target = Target { kind, name: object.name_any() };
        let kept = self.workload(&WorkloadKey { namespace: object.namespace().unwrap_or_default(), target });
        kept.is_some_and(|kept| {
            object.metadata.uid.as_ref() == Some(&kept.uid) && object.metadata.resource_version.as_ref() == Some(&kept.version)
        })
    }

    /// Keeps a version of a workload that a watch has shown, unless a newer one is here: an answer to our own write is often
    /// ahead of the watch.
    pub fn keep_workload(&self, workload: Workload) {
        let mut content = self.content();
        let newer = content
            .workloads
            .get(&workload.key)
            .is_some_and(|kept| kept.uid == workload.uid && is_newer(&kept.version, &workload.version));
        if !newer {
            content.workloads.insert(workload.key.clone(), Arc::new(workload));
        }
    }

    /// Keeps what a write was answered with, unless a watch has shown meanwhile that the workload is gone or another.
    pub fn keep_answer(&self, workload: Workload) {
        let kept = self.workload(&workload.key);
        if kept.is_some_and(|kept| kept.uid == workload.uid) {
            self.keep_workload(workload);
        }
    }

    /// Keeps a version of a `LogSidecar`, and returns the one before; nothing if a newer one is here, or it is known to be deleted.
    pub fn keep_sidecar(&self, sidecar: Sidecar) -> Option<Before> {
        let mut content = self.content();
        let kept = content.sidecars.get(&sidecar.key);
        // Of another one of the same name, too: resource versions of one kind can be compared.
        if kept.is_some_and(|kept| is_newer(&kept.version, &sidecar.version)) || content.deleted.contains(&sidecar.uid) {
            return None;
        }
        Some(Before(content.sidecars.insert(sidecar.key.clone(), Arc::new(sidecar))))
    }

    pub fn drop_workload(&self, key: &WorkloadKey) -> Option<Arc<Workload>> {
        self.content().workloads.remove(key)
    }

    pub fn drop_sidecar(&self, key: &SidecarKey) -> Option<Arc<Sidecar>> {
        self.content().sidecars.remove(key)
    }

    /// Remembers one of which a watch has told that it is deleted: more than that it is missing from a list.
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
        content.workloads.keys().filter(|key| key.target.kind == kind && !seen.contains(key)).cloned().collect()
    }

    /// The LogSidecars that are not in `seen`.
    pub fn sidecars_not_in(&self, seen: &BTreeSet<SidecarKey>) -> Vec<SidecarKey> {
        self.content().sidecars.keys().filter(|key| !seen.contains(key)).cloned().collect()
    }
}

/// Whether the first of two resource versions of one object is newer. They are numbers that can be compared (KEP-5504); where
/// one is not, the later to arrive counts.
fn is_newer(one: &str, other: &str) -> bool {
    matches!((one.parse::<u64>(), other.parse::<u64>()), (Ok(one), Ok(other)) if one > other)
}
