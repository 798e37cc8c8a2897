//! A `LogSidecar`, validated and resolved once, when it is observed. No other code parses the JSON of a `LogSidecar`; the spec of an
//! earlier revision is parsed in `cluster/kept.rs`.

use std::sync::Arc;

use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

use crate::{
    api::{DeletionPolicy, FINALIZER, HaltedTarget, LogSidecarSpec, LogSidecarStatus, RolloutStatus, Stage},
    plan::{
        ResolvedSpec,
        claim::{Lifecycle, LogSidecarView},
    },
    rollout::{scheduler::RecordedRollout, settings::RolloutSettings},
    shipper::Images,
    workload::{
        id::{WorkloadId, WorkloadKey},
        kind::Kinds,
        name::ObjectName,
    },
};

/// The address of a `LogSidecar`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogSidecarKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: ObjectName,
}

impl std::fmt::Display for LogSidecarKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogSidecar {}/{}", self.namespace, self.name)
    }
}

/// One version of a `LogSidecar`.
#[derive(Clone, Debug)]
pub struct ValidatedLogSidecar {
    /// Its address.
    pub key: LogSidecarKey,
    /// Its uid.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp` in RFC 3339, so that text order is age.
    pub created: String,
    /// Whether it may be acted upon.
    pub lifecycle: Lifecycle,
    /// `spec.deletionPolicy`, read by itself: a `LogSidecar` that cannot be read otherwise can still be deleted.
    pub deletion: DeletionPolicy,
    /// All finalizers, as a JSON patch has to know.
    pub finalizers: Vec<String>,
    /// The spec, or why it cannot be read: an older controller must not act on half of a newer object.
    pub spec: Result<Arc<ResolvedSpec>, String>,
    /// How it rolls out; the defaults where the spec cannot be read.
    pub settings: RolloutSettings,
    /// Its status.
    pub status: LogSidecarStatus,
}

impl ValidatedLogSidecar {
    /// Reads an object strictly. `None` for an object without name, namespace, uid or version, which no API server sends.
    #[must_use]
    pub fn observe(object: &DynamicObject, images: &Images) -> Option<Self> {
        Self::observe_after(object, images, None)
    }

    /// The same, given the version that was observed before: a spec that has not changed is not resolved again.
    #[must_use]
    pub fn observe_after(object: &DynamicObject, images: &Images, before: Option<&Self>) -> Option<Self> {
        let metadata = &object.metadata;
        let finalizers = object.finalizers().to_vec();
        let lifecycle = match (&metadata.deletion_timestamp, finalizers.iter().any(|name| name == FINALIZER)) {
            (Some(_), _) => Lifecycle::Deleting,
            (None, true) => Lifecycle::Live,
            (None, false) => Lifecycle::New,
        };
        let part = |field: &str| object.data.get(field).cloned().unwrap_or(Value::Null);
        let name = metadata.name.clone()?;
        let identity = (metadata.uid.as_deref(), metadata.generation);
        let same = before.filter(|before| identity == (Some(&before.uid), Some(before.generation)));
        let resolve = || {
            let spec: LogSidecarSpec = serde_json::from_value(part("spec")).map_err(|error| error.to_string())?;
            Ok(Arc::new(ResolvedSpec::new(&name, spec, images)))
        };
        let spec: Result<Arc<ResolvedSpec>, String> = same.map_or_else(resolve, |same| same.spec.clone());
        let settings = RolloutSettings::of(spec.as_ref().ok().and_then(|spec| spec.spec().rollout.as_ref()));
        Some(Self {
            uid: metadata.uid.clone()?,
            version: metadata.resource_version.clone()?,
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
            lifecycle,
            deletion: serde_json::from_value(part("spec")["deletionPolicy"].clone()).unwrap_or_default(),
            finalizers,
            spec,
            settings,
            status: serde_json::from_value(part("status")).unwrap_or_default(),
            key: LogSidecarKey { namespace: object.namespace()?, name: name.parse().ok()? },
        })
    }

    /// The revision of the spec; empty if that cannot be read.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.spec.as_ref().map_or("", |spec| spec.revision())
    }

    /// The `LogSidecar` as far as planning needs to know it.
    #[must_use]
    pub fn view(&self) -> LogSidecarView<'_> {
        LogSidecarView {
            name: &self.key.name,
            uid: Some(&self.uid),
            created: Some(&self.created),
            revision: Some(self.revision()),
            spec: self.spec.as_deref().ok(),
            deletion: self.deletion,
            lifecycle: self.lifecycle,
        }
    }

    /// What its status says about its rollout, whoever wrote it. A generation that it has not reached is that of another object.
    #[must_use]
    pub fn recorded_rollout(&self, kinds: &Kinds) -> RecordedRollout<WorkloadKey> {
        let recorded = Some(&self.status.rollout).filter(|rollout| rollout.generation <= self.generation);
        let RolloutStatus { revision, generation, stage, halted_at, .. } = recorded.cloned().unwrap_or_default();
        let failed = halted_at.and_then(|HaltedTarget { api_group, kind, name, cause }| {
            let kind = kinds.meant_by(Some(&api_group), &kind)?;
            Some((
                WorkloadKey { namespace: self.key.namespace.clone(), id: WorkloadId { kind, name: name.parse().ok()? } },
                cause,
            ))
        });
        RecordedRollout { revision, generation, stage, failed }
    }

    /// Where its rollout was halted, if its status says that it still is: any change of the spec is another attempt.
    #[must_use]
    pub fn recorded_halt(&self) -> Option<&HaltedTarget> {
        let rollout = &self.status.rollout;
        let is_current = rollout.revision == self.revision() && rollout.generation == self.generation;
        rollout.halted_at.as_ref().filter(|_| rollout.stage == Stage::Halted && is_current)
    }
}
