//! Where things are in an object of a kind, in CEL and as JSON pointers; and how containers are found there.

use super::{cel::string, template_stub::Placeholders};
use crate::workload::kind::Kind;

/// Kubectl's annotation that says which container of a pod is meant where none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The pod template of a kind.
#[derive(Clone, Debug)]
pub(super) struct TemplatePlace {
    /// In CEL.
    pub template: String,
    /// Its spec as a JSON pointer.
    pub pointer: String,
}

impl TemplatePlace {
    pub fn of(kind: Kind) -> Self {
        Self { template: format!("object{}", kind.template().replace('/', ".")), pointer: format!("{}/spec", kind.template()) }
    }

    /// The containers of both lists.
    pub fn containers(&self) -> String {
        format!("({0}.spec.containers + {0}.spec.?initContainers.orValue([]))", self.template)
    }

    /// Whether it is clear which container is meant where none is named.
    pub fn is_clear(&self) -> String {
        let spec = format!("{}.spec", self.template);
        format!("({spec}.containers.size() == 1 || {} in {spec}.containers.map(c, c.name))", self.default_container())
    }

    /// The name of that container.
    pub fn unnamed(&self) -> String {
        let spec = format!("{}.spec", self.template);
        format!("({spec}.containers.size() == 1 ? {spec}.containers[0].name : {})", self.default_container())
    }

    /// The name of a container of the stand-in.
    pub fn name_of(&self, container: &str, placeholders: &Placeholders) -> String {
        if placeholders.container() == Some(container) { self.unnamed() } else { string(container) }
    }

    fn default_container(&self) -> String {
        format!("{}.?metadata.?annotations[?{}].orValue(\"\")", self.template, string(DEFAULT_CONTAINER))
    }
}
