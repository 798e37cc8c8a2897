//! The ConfigMaps that go with injected workloads in files.

use serde_json::Value;

use super::files::{Input, Place};
use crate::{api::SIDECAR_LABEL, plan::ConfigMap};

/// What has to be applied before the workloads of a document.
#[derive(Debug, Default)]
pub(super) struct Configs(Vec<(usize, Value)>);

impl Configs {
    /// Notes what the workload at a place needs; in the namespace that is written on it, if one is.
    pub fn need(&mut self, place: &Place, workload: &Value, needed: &[ConfigMap]) {
        let namespace = workload.pointer("/metadata/namespace").and_then(Value::as_str).filter(|name| !name.is_empty());
        for config in needed {
            let manifest = config.manifest(namespace);
            if !self.0.iter().any(|(_, known)| *known == manifest) {
                self.0.push((place.document, manifest));
            }
        }
    }

    /// What the files hold already is not printed twice.
    pub fn leave_out_present(&mut self, input: &Input) {
        let present: Vec<&Value> = input.configs.iter().map(|place| input.object(place)).collect();
        self.0.retain(|(_, config)| !present.iter().any(|present| is_same(present, config)));
    }

    /// Those in the files that the LogSidecars of these files do not need any more.
    pub fn outdated(&self, input: &Input) -> Vec<Place> {
        let is_outdated = |place: &&Place| {
            let present = input.object(place);
            let label = &present["metadata"]["labels"][SIDECAR_LABEL];
            let is_of_these = input.sidecars.iter().any(|(at, sidecar)| {
                sidecar.metadata.name.as_deref() == label.as_str()
                    && input.namespace(input.object(at)) == input.namespace(present)
            });
            is_of_these && !self.0.iter().any(|(_, config)| is_same(present, config))
        };
        input.configs.iter().filter(is_outdated).cloned().collect()
    }

    /// What comes before a document.
    pub fn before(&self, document: usize) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |(at, _)| *at == document).map(|(_, config)| config)
    }
}

/// Their names are those of their content.
fn is_same(one: &Value, other: &Value) -> bool {
    one["metadata"]["name"] == other["metadata"]["name"] && one["metadata"]["namespace"] == other["metadata"]["namespace"]
}
