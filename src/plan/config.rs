//! The ConfigMap with a shipper's config: immutable, and named by what is in it, so that another config is another name and rolls
//! out like any other change, the same config never does, and a rollout that is undone finds the config that it had.

use serde_json::{Value, json};

use super::Refusal;
use crate::workload::normal::fingerprint;
use crate::{
    api::{Reason, SIDECAR_LABEL},
    shipper::{Error, engine::Config},
};

/// A ConfigMap that the sidecar of a `LogSidecar` mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMap {
    /// Its name: that of the `LogSidecar` and a digest of its content.
    pub name: String,
    /// The name of the `LogSidecar`.
    pub sidecar: String,
    /// The one file in it.
    pub config: Config,
}

impl ConfigMap {
    pub(super) fn new(sidecar: &str, config: Config) -> Self {
        Self { name: name(sidecar, &json!([config.file, config.text])), sidecar: sidecar.to_owned(), config }
    }

    /// The object.
    #[must_use]
    pub fn manifest(&self, namespace: Option<&str>) -> Value {
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name, "labels": {SIDECAR_LABEL: self.sidecar}},
            "immutable": true,
            "data": {self.config.file: self.config.text},
        });
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = namespace.into();
        }
        object
    }

    /// Whether an object is one that was made here: it is labelled so, and its name is that of its content.
    #[must_use]
    pub fn is_ours(object: &Value) -> bool {
        let Some(sidecar) = object["metadata"]["labels"][SIDECAR_LABEL].as_str() else { return false };
        let Some(data) = object["data"].as_object().filter(|data| data.len() == 1) else { return false };
        object["kind"] == "ConfigMap"
            && data.iter().any(|(file, text)| object["metadata"]["name"] == name(sidecar, &json!([file, text])))
    }
}

fn name(sidecar: &str, content: &Value) -> String {
    format!("{sidecar}-{}", &fingerprint(content)[..10])
}

pub(super) fn refusal(error: &Error) -> Refusal {
    let reason = match error {
        Error::Output(_) => Reason::OutputNotSupported,
        Error::Expression { .. } | Error::Field { .. } => Reason::ConfigInvalid,
    };
    Refusal::new(reason, error.to_string())
}
