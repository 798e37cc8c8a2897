//! `status` of a `LogSidecar`: bounded, and a pure function of what was observed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Condition types, as kstatus reads them.
pub mod condition {
    /// Every target runs with what the spec asks for.
    pub const READY: &str = "Ready";
    /// Work is under way; waiting helps.
    pub const RECONCILING: &str = "Reconciling";
    /// Work has stopped; waiting does not help.
    pub const STALLED: &str = "Stalled";
    /// The spec can be acted upon.
    pub const ACCEPTED: &str = "Accepted";
}

/// What the controller last saw.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LogSidecarStatus {
    /// The `metadata.generation` that the rest describes; -1 before the first look.
    #[serde(default)]
    pub observed_generation: i64,
    /// `Ready`, `Reconciling`, `Stalled` (kstatus) and `Accepted`.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
    /// Workloads that the target matches.
    #[serde(default)]
    pub matched: u32,
    /// Of those, how many have the sidecar in their template.
    #[serde(default)]
    pub injected: u32,
    /// Of those, how many run with it in all pods.
    #[serde(default)]
    pub available: u32,
    /// Workloads that cannot be served, each for a reason.
    #[serde(default)]
    pub refused: u32,
    /// Workloads that are still to be looked at or tried again.
    #[serde(default)]
    pub pending: u32,
    /// Of those, how many wait because the rollout has been halted.
    #[serde(default)]
    pub halted: u32,
    /// Where the rollout is: what a controller that starts anew has to know.
    #[serde(default)]
    pub rollout: RolloutStatus,
    /// At most 20 workloads, those with problems first.
    #[serde(default)] // never left out: a merge patch without it would leave the old list
    #[schemars(length(max = 20))]
    pub targets: Vec<TargetStatus>,
}

/// One workload in [`LogSidecarStatus::targets`].
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The kind of workload.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// One word, see [`crate::api::Reason`].
    #[schemars(length(max = 64))]
    pub reason: String,
    /// A sentence, with what to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How far the rollout of one revision has come.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// A hash of everything that decides what is put into templates: what has been learnt is about this.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub revision: String,
    /// The `metadata.generation` at which it was halted, if it was: any change of the spec is another try.
    #[serde(default)]
    pub generation: i64,
    /// How far it has come.
    #[serde(default)]
    pub stage: Stage,
    /// How many workloads replace their pods for it right now.
    #[serde(default)]
    pub under_way: u32,
    /// The workload at which it was halted, or at which the try before was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted_at: Option<HaltedTarget>,
}

/// How far a rollout has come.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// The first workloads are being tried; the others wait.
    #[default]
    Canary,
    /// As many as `maxConcurrent` at a time.
    Rolling,
    /// It has failed, and waits for a change of the spec.
    Halted,
}

/// The workload at which a rollout was halted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HaltedTarget {
    /// The API group of its kind.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub api_group: String,
    /// Its kind.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// What has failed.
    #[schemars(length(max = 1024))]
    pub cause: String,
}
