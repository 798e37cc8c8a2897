//! Settings of the shippers.

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::LogVolume;

/// Settings of the `tail` shipper: none so far.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tail {}

/// Settings that Fluent Bit, Fluentd and the OpenTelemetry Collector have in common: a config made of `logs` and `outputs`, or one
/// of your own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.config) && has(self.configMapRef))").message("write at most one of config and configMapRef"))]
#[x_kube(validation = Rule::new("!(has(self.config) || has(self.configMapRef)) || !(has(self.bufferSize) || has(self.maxLineSize))")
    .message("a config of your own says itself how much is buffered: leave bufferSize and maxLineSize out"))]
pub struct Engine {
    /// The shipper's whole native config, passed on byte for byte, in place of one made of `logs[].parser`, `logs[].multiline`
    /// and `outputs`. The files are where `logs` says, the state directory is `/logsidecar/state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262_144))]
    pub config: Option<String>,
    /// A ConfigMap of yours with that config. Pods see a change of it only when they are restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKey>,
    /// The port on which the kubelet asks whether the shipper is alive; one that no other container of the pod listens on.
    /// Default: 2020 (Fluent Bit), 24220 (Fluentd), 13133 (collector).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The volume with read positions and unsent lines, mounted at `/logsidecar/state`. Default: an `emptyDir`, which outlives the
    /// container, but not the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<LogVolume>,
    /// How much may wait on the disk while a destination does not answer; then reading pauses, and the lines wait in their files.
    /// Default: `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "size")]
    pub buffer_size: Option<String>,
    /// Longer lines are cut (by Fluent Bit: left out). Default: `1Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "size")]
    pub max_line_size: Option<String>,
}

impl Engine {
    /// Whether the config is the user's own.
    #[must_use]
    pub const fn has_own_config(&self) -> bool {
        self.config.is_some() || self.config_map_ref.is_some()
    }
}

/// One key of a ConfigMap in the namespace of the `LogSidecar`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKey {
    /// The name of the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 8,
        "pattern": "^[1-9][0-9]{0,5}(Ki|Mi|Gi)$",
    })
}
