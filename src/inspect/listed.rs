//! A workload of a list.

use kube::api::DynamicObject;
use serde_json::Value;

use crate::workload::snapshot::Workload;
use crate::{
    api::{LogSidecarSpec, Reason},
    plan::claim::{Labelled, matches},
    workload::kind::Kind,
};

/// A workload, and what of it only matters to people.
pub(super) struct Listed {
    pub workload: Workload,
    /// Why its pods are not replaced by themselves.
    pub hold: Option<Reason>,
}

impl Listed {
    pub fn observe(kind: Kind, object: &DynamicObject) -> Option<Self> {
        let spec = |pointer: &str| object.data.pointer(pointer);
        let hold = if spec("/spec/paused") == Some(&Value::Bool(true)) {
            Some(Reason::Paused)
        } else if spec("/spec/updateStrategy/type").is_some_and(|strategy| strategy == "OnDelete") {
            Some(Reason::OnDelete)
        } else if spec("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64).is_some_and(|kept| kept > 0) {
            Some(Reason::Partitioned)
        } else {
            None
        };
        Some(Self { workload: Workload::observe(kind, object)?, hold })
    }
}

/// Whether a `LogSidecar` is for that workload.
pub(super) fn is_meant(spec: &LogSidecarSpec, workload: &Workload) -> bool {
    let target = &workload.key.target;
    matches(&spec.target, Labelled { kind: target.kind, name: &target.name, labels: &workload.labels() })
}
