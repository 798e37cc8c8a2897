//! `spec.rollout`: how many workloads are changed at a time, who goes first, and what stops it.

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How the workloads of a `LogSidecar` are changed: when something is put in, changed or taken out.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// How many workloads replace their pods at a time: a number, or a percentage of those that match. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "share")]
    #[x_kube(validation = Rule::new("string(self).matches('^([1-9][0-9]*|([1-9][0-9]?|100)%)$')")
        .message("maxConcurrent must be a number from 1, or a percentage from 1% to 100%"))]
    pub max_concurrent: Option<IntOrString>,
    /// How long the sidecar has to run in all pods of a workload, without a restart, before the next workload may start: `15s`,
    /// `1m30s`. Default: `15s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("soak must be at most 24h"))]
    pub soak: Option<String>,
    /// Who goes first; the others wait until it has succeeded. Default: `count: 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// What happens to the workload at which the rollout fails. The others are not touched in either case.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// `Plan`: nothing is changed, what would be is told in status.
    #[serde(default)]
    pub mode: RolloutMode,
}

/// The workloads that go first.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.count) != has(self.selector)").message("write exactly one of count and selector"))]
pub struct Canary {
    /// So many, of those that are available; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub count: Option<u32>,
    /// Those with these labels of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)")
        .message("an empty selector would make every workload a canary: write matchLabels or matchExpressions"))]
    #[x_kube(validation = Rule::new("!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])")
        .message("operator must be one of In, NotIn, Exists, DoesNotExist"))]
    #[x_kube(validation = Rule::new("!has(self.matchExpressions) || self.matchExpressions.all(e, !(e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist']) || (e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))")
        .message("operators In and NotIn need values; Exists and DoesNotExist take none"))]
    pub selector: Option<LabelSelector>,
}

/// What happens to the workload at which a rollout fails.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It stays as it is, to be looked at.
    #[default]
    Halt,
    /// It gets back what it had before.
    Rollback,
}

/// Whether workloads are changed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RolloutMode {
    /// They are.
    #[default]
    Apply,
    /// What would be changed is told in status.
    Plan,
}

/// A number or a percentage; by hand, since what `IntOrString` brings along has no bounds.
fn share(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "How many workloads replace their pods at a time: a number, or a percentage of those that match. Default: 5.",
        "x-kubernetes-int-or-string": true,
        "maxLength": 4,
    })
}
