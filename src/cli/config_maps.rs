//! The ConfigMaps that injected workloads in files need.

use serde_json::Value;

use super::input::{Input, Location};
use crate::{api::SIDECAR_LABEL, plan::ConfigMap};

/// The ConfigMaps that have to be applied before the workloads of a document, each with the index of the document.
#[derive(Debug, Default)]
pub(super) struct NeededConfigMaps(Vec<(usize, Value)>);

impl NeededConfigMaps {
    /// Adds what a workload needs; in the namespace that is written on the workload, if one is.
    pub fn add(&mut self, location: &Location, workload: &Value, needed: &[ConfigMap]) {
        let namespace = workload.pointer("/metadata/namespace").and_then(Value::as_str).filter(|name| !name.is_empty());
        for config in needed {
            let manifest = config.manifest(namespace);
            if !self.0.iter().any(|(_, known)| *known == manifest) {
                self.0.push((location.document, manifest));
            }
        }
    }

    /// Removes those that the files hold already, so that they are not printed twice.
    pub fn remove_present(&mut self, input: &Input) {
        let present: Vec<&Value> = input.configs.iter().map(|location| input.object(location)).collect();
        self.0.retain(|(_, config)| !present.iter().any(|present| is_same(present, config)));
    }

    /// Returns those in the files that the LogSidecars of these files no longer need.
    pub fn outdated(&self, input: &Input) -> Vec<Location> {
        let is_outdated = |location: &&Location| {
            let present = input.object(location);
            let label = &present["metadata"]["labels"][SIDECAR_LABEL];
            let is_of_these = input.sidecars.iter().any(|(at, sidecar)| {
                sidecar.metadata.name.as_deref() == label.as_str()
                    && input.namespace(input.object(at)) == input.namespace(present)
            });
            is_of_these && !self.0.iter().any(|(_, config)| is_same(present, config))
        };
        input.configs.iter().filter(is_outdated).cloned().collect()
    }

    /// Returns those that are printed before a document.
    pub fn before(&self, document: usize) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |(at, _)| *at == document).map(|(_, config)| config)
    }
}

/// The name of a ConfigMap contains a hash of its content.
fn is_same(one: &Value, other: &Value) -> bool {
    one["metadata"]["name"] == other["metadata"]["name"] && one["metadata"]["namespace"] == other["metadata"]["namespace"]
}
